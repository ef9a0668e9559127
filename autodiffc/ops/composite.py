"""Operations made of others: softmax and the losses, with PyTorch's names and keywords.

Nothing here has a derivative of its own. What is written down is the form that neither overflows
nor cancels, and whose derivative by the ordinary rules does not either: logarithms of sums are
taken relative to the maximum, which is a constant to differentiation.

Losses give one value for each example (`reduction="none"`) unless asked for the mean or the sum.
The axis of classes is PyTorch's: 1 for a batch (N, C, …), 0 for a single example (C). A label of
`ignore_index` counts for nothing; where the labels' declared range excludes it, as -100 usually
is, nothing is computed for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError
from autodiffc.graph.construct import constant_node, normalize_axis, reshape
from autodiffc.graph.construct import stop_gradient as stopped
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.extents import shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.types import is_float, is_integer
from autodiffc.ops import loss_references as references
from autodiffc.ops import reduce, taught
from autodiffc.ops.apply import apply, as_real, choice, floating
from autodiffc.ops.elementwise import exp, log, log1p, maximum, square, where
from autodiffc.ops.index import picked, take
from autodiffc.ops.registry import integers, operation, sample, tensor


@operation(reference=lambda x: x, samples=[sample(tensor(2, 3))], differentiable=False)
def stop_gradient(x: Any) -> Expression:
    """x, taken as constant by differentiation."""
    return Expression(stopped(as_node(x)))


# --- Softmax ---

_LOGITS = [
    sample(tensor(4, 3)),
    sample(tensor(2, 3, 2), axis=1),
    sample(tensor(5), axis=0),
    sample(tensor(2, 3, low=900.0, high=1000.0)),
    sample(tensor(3, 1)),
    sample(tensor(2, 0)),
]


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - np.max(x, axis, keepdims=True, initial=-1e300))
    return np.asarray(e / np.sum(e, axis, keepdims=True))


@operation(reference=_softmax, samples=_LOGITS, taught=taught.softmax)
def softmax(x: Any, axis: int = -1) -> Expression:
    """exp(x) over its sum along an axis."""
    node = as_real(as_node(x))
    along = normalize_axis(axis, len(node.shape))
    e = exp(reduce.relative(node, (along,)))
    return e / reduce.sum(e, along, keepdims=True)


@operation(
    reference=lambda x, axis=-1: np.log(_softmax(x, axis)),
    samples=_LOGITS,
    taught=taught.log_softmax,
)
def log_softmax(x: Any, axis: int = -1) -> Expression:
    """log(softmax(x)), accurate where softmax underflows."""
    node = as_real(as_node(x))
    along = normalize_axis(axis, len(node.shape))
    shifted = reduce.relative(node, (along,))
    return shifted - log(reduce.sum(exp(shifted), along, keepdims=True))


# --- Classification ---

_IGNORED = -100  # PyTorch's default of `ignore_index`
_REDUCTIONS = ("none", "mean", "sum")


def _taught_cross_entropy(
    logits: Any,
    target: Any,
    reduction: str = "none",
    label_smoothing: float = 0.0,
    weight: Any = None,
    ignore_index: int = _IGNORED,
) -> Expression:
    """-ln(softmax(logits)[label]), or -Σ target·ln(softmax(logits))."""
    arguments = (logits, target, reduction, label_smoothing, weight, ignore_index)
    return _cross_entropy(*arguments, taught.log_softmax, _taught_label_loss)


def _taught_label_loss(
    x: Node, labels: _Labels, axis: int, smoothing: float, weights: Node | None
) -> Expression:
    loss = taught.label_loss(x, labels.node, axis)
    if labels.weight is not None:
        loss = labels.weight * loss
    if not smoothing:
        return loss
    logp = taught.log_softmax(x, axis)
    if weights is not None:
        logp = _along(weights, x, axis) * logp
    return (1.0 - smoothing) * loss - smoothing * reduce.mean(logp, axis)


@operation(
    reference=references.cross_entropy,
    samples=[
        sample(tensor(4, 3), integers(4, low=0, high=3)),
        sample(tensor(4, 3), integers(4, low=0, high=3, dtype="int64"), reduction="mean"),
        sample(tensor(4, 3), tensor(4, 3, low=0.0, high=1.0)),
        sample(tensor(4, 3), tensor(4, 3, low=0.0, high=1.0), reduction="mean"),
        sample(tensor(2, 3, 2), integers(2, 2, low=0, high=3), reduction="sum"),
        sample(tensor(5), integers(low=0, high=5)),
        sample(tensor(4, 3, low=800.0, high=900.0), integers(4, low=0, high=3)),
        sample(tensor(4, 3), integers(4, low=0, high=3), label_smoothing=0.1),
        sample(tensor(4, 3), tensor(4, 3, low=0.0, high=1.0), label_smoothing=0.2),
        sample(tensor(4, 3), np.array([2, -100, 0, 1]), reduction="mean"),
        sample(tensor(4, 3), integers(4, low=0, high=3), "mean", ignore_index=1),
        sample(tensor(2, 3, 2), integers(2, 2, low=0, high=3), weight=tensor(3, low=0.5)),
        sample(
            tensor(6, 3),
            integers(6, low=0, high=3),
            reduction="mean",
            label_smoothing=0.3,
            weight=tensor(3, low=0.5),
            ignore_index=0,
        ),
        sample(
            tensor(2, 3, 2),
            tensor(2, 3, 2, low=0.0, high=1.0),
            reduction="mean",
            label_smoothing=0.3,
            weight=tensor(3, low=0.5),
        ),
    ],
    taught=_taught_cross_entropy,
)
def cross_entropy(
    logits: Any,
    target: Any,
    reduction: str = "none",
    label_smoothing: float = 0.0,
    weight: Any = None,
    ignore_index: int = _IGNORED,
) -> Expression:
    """-log(softmax(logits)) at the label; or its sum weighted by given probabilities.

    `weight` has a number for each class; a mean divides by the weights of the labels, as PyTorch.
    """
    arguments = (logits, target, reduction, label_smoothing, weight, ignore_index)
    return _cross_entropy(*arguments, log_softmax, _label_loss)


def _cross_entropy(
    logits: Any,
    target: Any,
    reduction: str,
    label_smoothing: float,
    weight: Any,
    ignore_index: int,
    log_softmax: Callable[[Node, int], Expression],
    label_loss: Callable[[Node, _Labels, int, float, Node | None], Expression],
) -> Expression:
    x, t = floating(as_node(logits, "logits"), "cross_entropy"), as_node(target, "target")
    along = _class_axis("cross_entropy", x, t)
    smoothing = _share_of_one(label_smoothing, "label_smoothing")
    weights = _class_weights("cross_entropy", weight, x, along)
    if is_integer(t.dtype):
        labels = _Labels.of(t, ignore_index, weights)
        loss = label_loss(x, labels, along, smoothing, weights)
        return labels.reduced(loss, reduction)
    _refuse_ignoring(ignore_index)
    logp = log_softmax(x, along)
    if weights is not None:
        logp = _along(weights, logp, along) * logp
    loss = -reduce.sum(Expression(floating(t, "a target of probabilities")) * logp, along)
    if smoothing:
        loss = (1.0 - smoothing) * loss - smoothing * reduce.mean(logp, along)
    return _reduced(loss, reduction)


def _label_loss(
    x: Node, labels: _Labels, axis: int, smoothing: float, weights: Node | None
) -> Expression:
    """log(Σ exp z) - z[label] for z relative to the maximum, times the label's weight."""
    shifted = reduce.relative(x, (axis,))
    total = log(reduce.sum(exp(shifted), axis))
    loss = total - picked(shifted.node, labels.node, axis)
    if weights is not None:
        loss = labels.weight * loss
    if not smoothing:
        return loss
    if weights is None:
        uniform = total - reduce.mean(shifted, axis)
    else:
        uniform = -reduce.mean(_along(weights, x, axis) * log_softmax(x, axis), axis)
    return (1.0 - smoothing) * loss + smoothing * uniform


@dataclass(frozen=True)
class _Labels:
    """Labels that can all be picked by: ignored ones, where `kept` does not hold, are 0 instead.

    `weight` is that of each label's class. Both are None where they would be 1 everywhere.
    """

    node: Node
    kept: Expression | None
    weight: Expression | None

    @staticmethod
    def of(target: Node, ignored: int, weights: Node | None) -> _Labels:
        node, kept = _without(target, ignored)
        weight = None if weights is None else Expression(take(weights, node, axis=0).node)
        return _Labels(node, kept, weight)

    def reduced(self, loss: Expression, reduction: str) -> Expression:
        """A mean divides by the weights of the labels that count."""
        how = choice(reduction, _REDUCTIONS, "reduction")
        if self.kept is not None:
            loss = where(self.kept, loss, 0.0)
        if how != "mean" or (self.kept is None and self.weight is None):
            return _reduced(loss, how)
        share = 1.0 if self.weight is None else self.weight
        if self.kept is not None:
            share = where(self.kept, share, 0.0)
        return reduce.sum(loss) / reduce.sum(share)


def _without(target: Node, ignored: int) -> tuple[Node, Expression | None]:
    """The labels with 0 in place of `ignored`, and where they are not, if they ever are."""
    if isinstance(ignored, bool) or not isinstance(ignored, int | np.integer):
        raise ArgumentTypeError(
            "ignore_index must be an integer", found=repr(ignored), expected="-100", loc=here()
        )
    if not _may_hold(target, int(ignored)):
        return target, None
    if target.op == "constant":
        labels = target.attrs["value"]
        kept = Expression(constant_node(labels != ignored, "bool"))
        return constant_node(np.where(labels == ignored, 0, labels), target.dtype), kept
    counted: Expression = Expression(target) != int(ignored)
    return where(counted, Expression(target), 0).node, counted


def _may_hold(labels: Node, value: int) -> bool:
    """Whether an element may be `value`, by what is known of the labels."""
    limits = np.iinfo(labels.dtype)
    if labels.op == "constant":
        return bool((labels.attrs["value"] == value).any())
    low, high = labels.attrs.get("low"), labels.attrs.get("high")
    above = value >= (limits.min if low is None else low)
    return bool(above and value < (limits.max + 1 if high is None else high))


def _class_weights(what: str, weight: Any, x: Node, axis: int) -> Node | None:
    """A number for each class, of the logits' kind."""
    if weight is None:
        return None
    node = as_real(as_node(weight, "weight"))
    if node.shape != (x.shape[axis],):
        raise ShapeError(
            f"the weight of {what} needs a number for each class",
            found=shape_text(node.shape),
            expected=shape_text((x.shape[axis],)),
            loc=here(),
        )
    return node


def _along(weights: Node, like: Expression | Node, axis: int) -> Expression:
    """A vector laid along one axis, so that it broadcasts against `like`."""
    behind = len(like.shape) - axis - 1
    return Expression(reshape(weights, (*weights.shape, *[1] * behind)))


def _share_of_one(value: Any, what: str) -> float:
    """A number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ArgumentTypeError(
            f"{what} must be a number", found=repr(value), expected="from 0 to 1", loc=here()
        )
    if not 0.0 <= value <= 1.0:
        raise ArgumentError(f"{what} is out of range", found=value, expected="0 to 1", loc=here())
    return float(value)


def _refuse_ignoring(ignore_index: int) -> None:
    if ignore_index != _IGNORED:
        raise ArgumentError(
            "ignore_index says which label to ignore, but the target holds probabilities",
            found=f"{ignore_index=}",
            expected="integer labels, or no ignore_index",
            loc=here(),
        )


def _class_axis(what: str, x: Node, target: Node) -> int:
    """The axis of classes; a target that fits neither as labels nor as probabilities is refused."""
    if not x.shape:
        raise ShapeError(f"{what} needs an axis of classes", found="a scalar", loc=here())
    along = 1 if len(x.shape) > 1 else 0
    labels = (*x.shape[:along], *x.shape[along + 1 :])
    expected = labels if is_integer(target.dtype) else x.shape
    if target.dtype == "bool":
        raise DtypeError(
            f"{what} takes no truth values",
            found=str(target.type),
            expected="integer labels or probabilities",
            loc=here(),
        )
    if target.shape != expected:
        kind = "integer labels" if is_integer(target.dtype) else "probabilities"
        raise ShapeError(
            f"the target of {what} does not fit",
            found=f"{kind} {shape_text(target.shape)} for {shape_text(x.shape)}",
            expected=shape_text(expected),
            loc=here(),
        )
    return along


@operation(
    reference=references.nll_loss,
    samples=[
        sample(tensor(4, 3), integers(4, low=0, high=3)),
        sample(tensor(2, 3, 2), integers(2, 2, low=0, high=3), reduction="mean"),
        sample(tensor(4, 3), integers(4, low=0, high=3), "mean", weight=tensor(3, low=0.5)),
        sample(tensor(3, 4), integers(3, low=0, high=4), "sum", ignore_index=2),
        sample(tensor(3), np.array(-7), ignore_index=-7),
    ],
)
def nll_loss(
    log_probabilities: Any,
    target: Any,
    reduction: str = "none",
    weight: Any = None,
    ignore_index: int = _IGNORED,
) -> Expression:
    """The negative log probability at the label, times the weight of its class."""
    x = floating(as_node(log_probabilities), "nll_loss")
    t = as_node(target, "target")
    if not is_integer(t.dtype):
        raise DtypeError(
            "nll_loss takes integer labels", found=str(t.type), expected="int32", loc=here()
        )
    along = _class_axis("nll_loss", x, t)
    labels = _Labels.of(t, ignore_index, _class_weights("nll_loss", weight, x, along))
    loss = -picked(x, labels.node, along)
    return labels.reduced(loss if weight is None else labels.weight * loss, reduction)


@operation(
    reference=references.bce_with_logits,
    samples=[
        sample(tensor(4, 3), tensor(4, 3, low=0.0, high=1.0)),
        sample(tensor(4, low=-900.0, high=900.0), tensor(4, low=0.0, high=1.0), reduction="mean"),
        sample(tensor(4, 2), tensor(4, 2, low=0.0, high=1.0), pos_weight=tensor(2, low=0.5)),
        sample(tensor(4), tensor(4, dtype="bool")),
        sample(tensor(4, 2), tensor(4, 2, low=0.0, high=1.0), "mean", weight=tensor(4, 1)),
    ],
)
def bce_with_logits(
    logits: Any, target: Any, reduction: str = "none", pos_weight: Any = None, weight: Any = None
) -> Expression:
    """Binary cross entropy of sigmoid(logits): -t*log(s) - (1 - t)*log(1 - s).

    As t*softplus(-x) + (1 - t)*softplus(x) it is a sum of what is positive, so nothing cancels.
    """
    x = Expression(floating(as_node(logits, "logits"), "bce_with_logits"))
    t = Expression(as_real(as_node(target, "target")))
    positive = t * apply("softplus", -x)
    if pos_weight is not None:
        positive = positive * Expression(as_node(pos_weight, "pos_weight"))
    return _reduced(_weighted(positive + (1.0 - t) * apply("softplus", x), weight), reduction)


binary_cross_entropy_with_logits = bce_with_logits


@operation(
    reference=references.binary_cross_entropy,
    samples=[
        sample(tensor(4, low=0.05, high=0.95), tensor(4, low=0.0, high=1.0)),
        sample(np.array([0.0, 1.0, 0.5]), np.array([0.0, 1.0, 1.0]), reduction="sum"),
        sample(np.array([0.0, 1.0]), np.array([1.0, 0.0])),
        sample(tensor(2, low=0.1, high=0.9), tensor(2, low=0.0, high=1.0), weight=tensor(2)),
    ],
)
def binary_cross_entropy(
    probabilities: Any, target: Any, reduction: str = "none", weight: Any = None
) -> Expression:
    """-t*log(p) - (1 - t)*log(1 - p), logarithms not below -100 as in PyTorch."""
    p = Expression(floating(as_node(probabilities), "binary_cross_entropy"))
    t = Expression(as_real(as_node(target, "target")))
    yes = where(p > 0.0, maximum(log(where(p > 0.0, p, 1.0)), -100.0), -100.0)
    no = where(p < 1.0, maximum(log1p(-where(p < 1.0, p, 0.0)), -100.0), -100.0)
    return _reduced(_weighted(-(t * yes + (1.0 - t) * no), weight), reduction)


def _weighted(loss: Expression, weight: Any) -> Expression:
    """Each value times its weight; a mean still divides by the number of values, as PyTorch."""
    return loss if weight is None else Expression(as_node(weight, "weight")) * loss


# --- Regression ---

_PAIRS = [
    sample(tensor(4, 3), tensor(4, 3)),
    sample(tensor(4, 3), tensor(4, 3), reduction="mean"),
    sample(tensor(4), tensor(4), reduction="sum"),
]


def _difference(input: Any, target: Any, what: str) -> Expression:
    x, t = as_node(input), as_node(target, "target")
    if not is_float(x.dtype) and not is_float(t.dtype):
        floating(x, what)
    return Expression(x) - Expression(t)


@operation(reference=references.mse, samples=_PAIRS)
def mse(input: Any, target: Any, reduction: str = "none") -> Expression:
    """The squared difference."""
    return _reduced(square(_difference(input, target, "mse")), reduction)


mse_loss = mse


@operation(reference=references.l1_loss, samples=_PAIRS)
def l1_loss(input: Any, target: Any, reduction: str = "none") -> Expression:
    """The absolute difference."""
    return _reduced(apply("abs", _difference(input, target, "l1_loss")), reduction)


@operation(
    reference=references.smooth_l1_loss,
    samples=[*_PAIRS, sample(tensor(4), tensor(4), beta=0.3), sample(tensor(3), tensor(3), beta=0)],
)
def smooth_l1_loss(
    input: Any, target: Any, reduction: str = "none", beta: float = 1.0
) -> Expression:
    """Half the squared difference over beta where it is below beta, beyond linear."""
    e = _difference(input, target, "smooth_l1_loss")
    size = apply("abs", e)
    if beta == 0:
        return _reduced(size, reduction)
    return _reduced(where(size < beta, (0.5 / beta) * square(e), size - 0.5 * beta), reduction)


@operation(
    reference=references.huber_loss, samples=[*_PAIRS, sample(tensor(4), tensor(4), delta=0.3)]
)
def huber_loss(input: Any, target: Any, reduction: str = "none", delta: float = 1.0) -> Expression:
    """Half the squared difference where it is at most delta, beyond linear."""
    e = _difference(input, target, "huber_loss")
    size = apply("abs", e)
    inner, outer = 0.5 * square(e), delta * (size - 0.5 * delta)
    return _reduced(where(size <= delta, inner, outer), reduction)


def _reduced(loss: Expression, reduction: str) -> Expression:
    how = choice(reduction, _REDUCTIONS, "reduction")
    if how == "none":
        return loss
    return reduce.mean(loss) if how == "mean" else reduce.sum(loss)
