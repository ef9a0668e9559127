"""Operations made of others: softmax and the losses, with PyTorch's names and keywords.

Nothing here has a derivative of its own. What is written down is the form that neither overflows
nor cancels, and whose derivative by the ordinary rules does not either: logarithms of sums are
taken relative to the maximum, which is a constant to differentiation.

Losses give one value for each example (`reduction="none"`) unless asked for the mean or the sum.
The axis of classes is PyTorch's: 1 for a batch (N, C, …), 0 for a single example (C).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autodiffc.errors import DtypeError, ShapeError
from autodiffc.graph.construct import normalize_axis
from autodiffc.graph.construct import stop_gradient as stopped
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.extents import shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.types import is_float, is_integer
from autodiffc.ops import loss_references as references
from autodiffc.ops import reduce
from autodiffc.ops.apply import apply, as_real, choice, floating
from autodiffc.ops.elementwise import exp, log, log1p, maximum, square, where
from autodiffc.ops.index import picked
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
]


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - np.max(x, axis, keepdims=True))
    return np.asarray(e / np.sum(e, axis, keepdims=True))


@operation(reference=_softmax, samples=_LOGITS)
def softmax(x: Any, axis: int = -1) -> Expression:
    """exp(x) over its sum along an axis."""
    node = as_real(as_node(x))
    along = normalize_axis(axis, len(node.shape))
    e = exp(Expression(node) - reduce.shift(node, (along,)))
    return e / reduce.sum(e, along, keepdims=True)


@operation(reference=lambda x, axis=-1: np.log(_softmax(x, axis)), samples=_LOGITS)
def log_softmax(x: Any, axis: int = -1) -> Expression:
    """log(softmax(x)), accurate where softmax underflows."""
    node = as_real(as_node(x))
    along = normalize_axis(axis, len(node.shape))
    shifted = Expression(node) - reduce.shift(node, (along,))
    return shifted - log(reduce.sum(exp(shifted), along, keepdims=True))


# --- Classification ---


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
    ],
)
def cross_entropy(
    logits: Any, target: Any, reduction: str = "none", label_smoothing: float = 0.0
) -> Expression:
    """-log(softmax(logits)) at the label; or its sum weighted by given probabilities."""
    x, t = floating(as_node(logits, "logits"), "cross_entropy"), as_node(target, "target")
    along = _class_axis("cross_entropy", x, t)
    if is_integer(t.dtype):
        loss = _label_loss(x, t, along, label_smoothing)
    else:
        wanted = Expression(floating(t, "a target of probabilities"))
        logp = log_softmax(x, along)
        loss = -reduce.sum(wanted * logp, along)
        if label_smoothing:
            uniform = -reduce.mean(logp, along)
            loss = (1.0 - label_smoothing) * loss + label_smoothing * uniform
    return _reduced(loss, reduction)


def _label_loss(x: Node, labels: Node, axis: int, smoothing: float) -> Expression:
    """log(Σ exp z) - z[label] for z relative to the maximum."""
    shifted = Expression(x) - reduce.shift(x, (axis,))
    total = log(reduce.sum(exp(shifted), axis))
    loss = total - picked(shifted.node, labels, axis)
    if not smoothing:
        return loss
    return (1.0 - smoothing) * loss + smoothing * (total - reduce.mean(shifted, axis))


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
    ],
)
def nll_loss(log_probabilities: Any, target: Any, reduction: str = "none") -> Expression:
    """The negative log probability at the label."""
    x = floating(as_node(log_probabilities), "nll_loss")
    t = as_node(target, "target")
    if not is_integer(t.dtype):
        raise DtypeError(
            "nll_loss takes integer labels", found=str(t.type), expected="int32", loc=here()
        )
    return _reduced(-picked(x, t, _class_axis("nll_loss", x, t)), reduction)


@operation(
    reference=references.bce_with_logits,
    samples=[
        sample(tensor(4, 3), tensor(4, 3, low=0.0, high=1.0)),
        sample(tensor(4, low=-900.0, high=900.0), tensor(4, low=0.0, high=1.0), reduction="mean"),
        sample(tensor(4, 2), tensor(4, 2, low=0.0, high=1.0), pos_weight=tensor(2, low=0.5)),
        sample(tensor(4), tensor(4, dtype="bool")),
    ],
)
def bce_with_logits(
    logits: Any, target: Any, reduction: str = "none", pos_weight: Any = None
) -> Expression:
    """Binary cross entropy of sigmoid(logits): -t*log(s) - (1 - t)*log(1 - s).

    As t*softplus(-x) + (1 - t)*softplus(x) it is a sum of what is positive, so nothing cancels.
    """
    x = Expression(floating(as_node(logits, "logits"), "bce_with_logits"))
    t = Expression(as_real(as_node(target, "target")))
    positive = t * apply("softplus", -x)
    if pos_weight is not None:
        positive = positive * Expression(as_node(pos_weight, "pos_weight"))
    return _reduced(positive + (1.0 - t) * apply("softplus", x), reduction)


binary_cross_entropy_with_logits = bce_with_logits


@operation(
    reference=references.binary_cross_entropy,
    samples=[
        sample(tensor(4, low=0.05, high=0.95), tensor(4, low=0.0, high=1.0)),
        sample(np.array([0.0, 1.0, 0.5]), np.array([0.0, 1.0, 1.0]), reduction="sum"),
        sample(np.array([0.0, 1.0]), np.array([1.0, 0.0])),
    ],
)
def binary_cross_entropy(probabilities: Any, target: Any, reduction: str = "none") -> Expression:
    """-t*log(p) - (1 - t)*log(1 - p), logarithms not below -100 as in PyTorch."""
    p = Expression(floating(as_node(probabilities), "binary_cross_entropy"))
    t = Expression(as_real(as_node(target, "target")))
    yes = where(p > 0.0, maximum(log(where(p > 0.0, p, 1.0)), -100.0), -100.0)
    no = where(p < 1.0, maximum(log1p(-where(p < 1.0, p, 0.0)), -100.0), -100.0)
    return _reduced(-(t * yes + (1.0 - t) * no), reduction)


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
    how = choice(reduction, ("none", "mean", "sum"), "reduction")
    if how == "none":
        return loss
    return reduce.mean(loss) if how == "mean" else reduce.sum(loss)
