"""Contractions: sums of products, each one formula.

`contract` takes a label for every axis and writes the formula down; matmul, einsum, linear and the
rest only choose the labels. A label in the result is a loop index of the result, every other one is
summed over; an axis of 1 stretches to the extent that its label has elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, ArgumentTypeError, ShapeError
from autodiffc.graph.affine import Affine, constant, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import (
    broadcast_shapes,
    compute,
    normalize_axis,
    same_extent,
)
from autodiffc.graph.expression import OPERATORS, Expression, as_node
from autodiffc.graph.extents import ExtentLike, shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Scalar, coerced_call, summands
from autodiffc.ops.registry import integers, operation, sample, tensor

Labels = tuple[Hashable, ...]


def contract(operands: Sequence[tuple[Node, Labels]], out: Labels, what: str) -> Node:
    """`out[labels] = sum of the product of the operands` over the labels not in `out`."""
    extents = _extents(operands, what)
    summed = [label for label in extents if label not in out]
    order = [*out, *summed]
    position = {label: k for k, label in enumerate(order)}
    factors: list[tuple[Scalar, str]] = [(Arg(k), n.dtype) for k, (n, _) in enumerate(operands)]
    if summed:
        factors = summands(*factors)
    body, dtype = factors[0]
    for factor in factors[1:]:
        body, dtype = coerced_call("mul", (body, dtype), factor)
    formula = Comprehension(
        Domain(tuple(extents[label] for label in order)),
        tuple(index(len(order), k) for k in range(len(out))),
        tuple(_access(k, operands[k], extents, position) for k in range(len(operands))),
        body,
        "sum" if summed else "set",
    )
    shape = tuple(extents[label] for label in out)
    return compute([node for node, _ in operands], [formula], shape, label=what)


def _extents(operands: Sequence[tuple[Node, Labels]], what: str) -> dict[Hashable, ExtentLike]:
    """What every label ranges over, in order of appearance."""
    extents: dict[Hashable, ExtentLike] = {}
    for node, labels in operands:
        for label, extent in zip(labels, node.shape, strict=True):
            known = extents.setdefault(label, extent)
            if known == 1:
                extents[label] = extent
            elif extent != 1 and not same_extent(known, extent):
                raise ShapeError(
                    f"the shapes of {what} do not fit",
                    found=" and ".join(shape_text(n.shape) for n, _ in operands),
                    expected=f"equal extents along {_label_text(label)}, not {known} and {extent}",
                    loc=here(),
                )
    return extents


def _label_text(label: Hashable) -> str:
    return f"index {label}" if isinstance(label, str) else "the axes that go together"


def _access(
    k: int,
    operand: tuple[Node, Labels],
    extents: dict[Hashable, ExtentLike],
    position: dict[Hashable, int],
) -> Access:
    node, labels = operand
    rank = len(position)

    def row(label: Hashable, extent: ExtentLike) -> Affine:
        stretched = extent == 1 and extents[label] != 1
        return constant(rank, 0) if stretched else index(rank, position[label])

    pairs = zip(labels, node.shape, strict=True)
    return Access(k, tuple(row(label, extent) for label, extent in pairs))


# --- Products of matrices ---


@operation(
    reference=np.matmul,
    samples=[
        sample(tensor(3, 4), tensor(4, 5)),
        sample(tensor(4), tensor(4)),
        sample(tensor(4), tensor(4, 5)),
        sample(tensor(2, 3, 4), tensor(4)),
        sample(tensor(2, 3, 4), tensor(2, 4, 5)),
        sample(tensor(6, 1, 3, 4), tensor(2, 4, 1)),
        sample(tensor(3, 0), tensor(0, 2)),
        sample(integers(2, 3), tensor(3, 2)),
        sample(tensor(2, 3, dtype="bool"), integers(3, 2)),
    ],
)
def matmul(x: Any, y: Any) -> Expression:
    """The matrix product over the last two axes; further axes broadcast, as `x @ y` in NumPy."""
    a, b = as_node(x), as_node(y)
    if not a.shape or not b.shape:
        raise ShapeError(
            "matmul does not take scalars",
            found=f"{shape_text(a.shape)} @ {shape_text(b.shape)}",
            expected="x * y, or tensors of at least one axis",
            loc=here(),
        )
    inner_a, inner_b = a.shape[-1], b.shape[-2 if len(b.shape) > 1 else 0]
    _check_inner("matmul", a, b, inner_a, inner_b)
    lead = len(broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    rows: Labels = ("m",) if len(a.shape) > 1 else ()
    columns: Labels = ("n",) if len(b.shape) > 1 else ()
    batch = tuple(range(lead))
    first = (*batch[lead - len(a.shape[:-2]) :], *rows, "k")
    second = (*batch[lead - len(b.shape[:-2]) :], "k", *columns)
    return Expression(contract([(a, first), (b, second)], (*batch, *rows, *columns), "matmul"))


def _check_inner(what: str, a: Node, b: Node, inner_a: ExtentLike, inner_b: ExtentLike) -> None:
    if not same_extent(inner_a, inner_b):
        raise ShapeError(
            f"the inner extents of {what} differ",
            found=f"{shape_text(a.shape)} and {shape_text(b.shape)}",
            expected=f"{inner_a} and {inner_b} to be equal",
            loc=here(),
        )


@operation(
    reference=lambda x, weight, bias=0.0: x @ weight.T + bias,
    samples=[
        sample(tensor(5, 3), tensor(4, 3), tensor(4)),
        sample(tensor(2, 5, 3), tensor(4, 3)),
        sample(tensor(3), tensor(1, 3), tensor(1)),
    ],
)
def linear(x: Any, weight: Any, bias: Any = None) -> Expression:
    """`x @ weight.T + bias` over the last axis, with `weight` of shape (out, in) as in PyTorch."""
    a, w = as_node(x), as_node(weight, "weight")
    if not a.shape or len(w.shape) != 2:
        raise ShapeError(
            "linear needs features and a matrix",
            found=f"x {shape_text(a.shape)}, weight {shape_text(w.shape)}",
            expected="x (..., in), weight (out, in)",
            loc=here(),
        )
    _check_inner("linear", a, w, a.shape[-1], w.shape[1])
    batch = tuple(range(len(a.shape) - 1))
    y = Expression(contract([(a, (*batch, "k")), (w, ("n", "k"))], (*batch, "n"), "linear"))
    if bias is None:
        return y
    _check_bias(as_node(bias, "bias"), w.shape[0])
    return y + Expression(as_node(bias))


def _check_bias(bias: Node, outputs: ExtentLike) -> None:
    if bias.shape != (outputs,):
        raise ShapeError(
            "the bias does not fit the weight",
            found=shape_text(bias.shape),
            expected=shape_text((outputs,)),
            loc=here(),
        )


@operation(reference=np.outer, samples=[sample(tensor(3), tensor(4)), sample(tensor(1), tensor(2))])
def outer(x: Any, y: Any) -> Expression:
    """`x[i]*y[j]` of two vectors."""
    a, b = as_node(x), as_node(y)
    if len(a.shape) != 1 or len(b.shape) != 1:
        raise ShapeError(
            "outer takes two vectors",
            found=f"{shape_text(a.shape)} and {shape_text(b.shape)}",
            expected="one axis each",
            loc=here(),
        )
    return Expression(contract([(a, ("i",)), (b, ("j",))], ("i", "j"), "outer"))


@operation(
    reference=np.dot,
    samples=[
        sample(tensor(4), tensor(4)),
        sample(tensor(2, 3, 4), tensor(4)),
        sample(tensor(3, 4), tensor(2, 4, 5)),
        sample(tensor(), tensor(2)),
    ],
)
def dot(x: Any, y: Any) -> Expression:
    """NumPy's dot: over the last axis of x and the last but one (or only) axis of y."""
    a, b = as_node(x), as_node(y)
    if not a.shape or not b.shape:
        return Expression(a) * Expression(b)
    inner = max(len(b.shape) - 2, 0)
    return _tensordot(a, b, (len(a.shape) - 1,), (inner,), "dot")


@operation(
    reference=np.tensordot,
    samples=[
        sample(tensor(2, 3, 4), tensor(3, 4, 5)),
        sample(tensor(2, 3), tensor(3, 2), axes=1),
        sample(tensor(2, 3), tensor(4), axes=0),
        sample(tensor(2, 3, 4), tensor(4, 5, 2), axes=((0, 2), (2, 0))),
    ],
)
def tensordot(x: Any, y: Any, axes: Any = 2) -> Expression:
    """The sum over pairs of axes: the last n of x and the first n of y, or those listed."""
    a, b = as_node(x), as_node(y)
    ranks = len(a.shape), len(b.shape)
    if isinstance(axes, int | np.integer):
        if not 0 <= axes <= min(ranks):
            raise ShapeError(
                "tensordot cannot sum over so many axes",
                found=f"axes={axes} of {ranks[0]} and {ranks[1]}",
                expected=f"at most {min(ranks)}",
                loc=here(),
            )
        pairs = (tuple(range(ranks[0] - axes, ranks[0])), tuple(range(axes)))
    else:
        listed = [(a_,) if isinstance(a_, int) else tuple(a_) for a_ in axes]
        pairs = (
            tuple(normalize_axis(k, ranks[0]) for k in listed[0]),
            tuple(normalize_axis(k, ranks[1]) for k in listed[1]),
        )
    return _tensordot(a, b, *pairs, "tensordot")


def _tensordot(
    a: Node, b: Node, axes_a: tuple[int, ...], axes_b: tuple[int, ...], what: str
) -> Expression:
    if len(axes_a) != len(axes_b) or len(set(axes_a)) != len(axes_a):
        raise ShapeError(
            f"{what} pairs distinct axes",
            found=f"{axes_a} and {axes_b}",
            expected="as many of each",
            loc=here(),
        )
    for k, m in zip(axes_a, axes_b, strict=True):
        _check_inner(what, a, b, a.shape[k], b.shape[m])
    first: list[Hashable] = [("a", k) for k in range(len(a.shape))]
    second: list[Hashable] = [("b", k) for k in range(len(b.shape))]
    for k, m in zip(axes_a, axes_b, strict=True):
        second[m] = first[k]
    kept = [x for x in first if x not in second] + [x for x in second if x not in first]
    return Expression(contract([(a, tuple(first)), (b, tuple(second))], tuple(kept), what))


# --- Einstein's convention ---


@operation(
    reference=np.einsum,
    samples=[
        sample("ij,jk->ik", tensor(2, 3), tensor(3, 4)),
        sample("ij,jk", tensor(2, 3), tensor(3, 4)),
        sample("ii->i", tensor(3, 3)),
        sample("ii", tensor(3, 3)),
        sample("ba", tensor(2, 3)),
        sample("...ij,...jk->...ik", tensor(5, 1, 2, 3), tensor(2, 3, 4)),
        sample("...i->...", tensor(2, 3)),
        sample("i,j,k->ijk", tensor(2), tensor(3), tensor(1)),
        sample("ab,bc,cd,de->ae", tensor(2, 3), tensor(3, 4), tensor(4, 2), tensor(2, 5)),
        sample("bij, bjk, bk -> bi", tensor(2, 3, 4), tensor(2, 4, 3), tensor(2, 3)),
        sample("ij,ij->", tensor(2, 3), tensor(2, 3)),
        sample("iij,jk->k", tensor(2, 2, 3), tensor(3, 4)),
        sample("ij->i", tensor(2, 0)),
        sample("i,->i", tensor(2), tensor()),
    ],
)
def einsum(subscripts: str, *operands: Any) -> Expression:
    """Einstein's summation as in NumPy, with implicit results, diagonals and `...`.

    More than two operands are multiplied two at a time from the left, each product already summed
    over what nothing later needs: as one formula, a chain of n matrices would cost the product of
    all n + 1 extents.
    """
    if not isinstance(subscripts, str):
        raise ArgumentTypeError(
            "einsum starts with its subscripts",
            found=repr(subscripts),
            expected="e.g. 'ij,jk->ik'",
            loc=here(),
        )
    nodes = [as_node(o) for o in operands]
    inputs, out = _parse(subscripts, nodes)
    pending = list(zip(nodes, inputs, strict=True))
    while len(pending) > 2:
        (a, first), (b, second), *rest = pending
        needed = set(out).union(*(labels for _, labels in rest))
        kept = tuple(x for x in dict.fromkeys(first + second) if x in needed)
        pending = [(contract([(a, first), (b, second)], kept, "einsum"), kept), *rest]
    return Expression(contract(pending, out, "einsum"))


def _parse(subscripts: str, nodes: Sequence[Node]) -> tuple[list[Labels], Labels]:
    """Labels of every operand and of the result."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(nodes) or not nodes:
        _refuse(subscripts, f"{len(nodes)} operands for {len(terms)} terms", "one term an operand")
    inputs = [_term(t, len(n.shape), subscripts) for t, n in zip(terms, nodes, strict=True)]
    dots = max((x for labels in inputs for x in labels if isinstance(x, int)), default=-1) + 1
    ellipsis = tuple(range(dots - 1, -1, -1))
    used = [x for labels in inputs for x in labels if isinstance(x, str)]
    if not arrow:
        return inputs, (*ellipsis, *sorted(x for x in set(used) if used.count(x) == 1))
    before, has_dots, after = right.partition("...")
    out = (*before, *(ellipsis if has_dots else ()), *after)
    named = [*before, *after]
    if len(set(named)) != len(named) or not set(named) <= set(used):
        _refuse(subscripts, f"the result {right!r}", "distinct indices of the operands")
    return inputs, out


def _term(term: str, rank: int, subscripts: str) -> Labels:
    """An operand's labels; those of an ellipsis are numbers counted from its right end."""
    before, has_dots, after = term.partition("...")
    named = [*before, *after]
    if not all(x.isascii() and x.isalpha() for x in named):
        _refuse(subscripts, f"the term {term!r}", "letters, and ... at most once")
    covered = rank - len(named)
    if covered < 0 or (covered and not has_dots):
        raise ShapeError(
            "einsum needs an index for each axis",
            found=f"{term!r} for {rank} axes",
            expected=f"{rank} letters, or ... for some",
            loc=here(),
        )
    return (*before, *range(covered - 1, -1, -1), *after)


def _refuse(subscripts: str, found: str, expected: str) -> None:
    raise ArgumentError(
        f"einsum does not understand {subscripts!r}", found=found, expected=expected, loc=here()
    )


OPERATORS["matmul"] = matmul
