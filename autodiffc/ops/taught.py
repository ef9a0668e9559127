"""Composites as a lecture writes them: `-ln(softmax(z)[n,y[n]])`, and the gradient known for it.

What an operation computes is written so that nothing overflows: relative to a maximum, with guards.
That is no help to a reader, so a stanza may say, with `taught=`, what the same value is on a slide.
These nodes are for `explain` alone and never compiled:

    op "applied"         softmax(z), named by its text; attrs: function (of `OPERATIONS`), axis
    attrs["adjoint"]     adjoint(node, target, dout), the contribution to the gradient of `target`,
                         for a formula over such a value
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from autodiffc.graph.affine import constant, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect, Row
from autodiffc.graph.construct import compute, leaf, normalize_axis
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Call, Index, Scalar, call, coerced_call, select
from autodiffc.ops.apply import as_real

Adjoint = Callable[[Node, Node, Node], Node]


def softmax(x: Any, axis: int = -1) -> Expression:
    """q[j] = softmax(z)[j], with dq[j]/dz[k] = q[j]·([j = k] - q[k])."""
    node, along = _along(x, axis)
    at = identity(len(node.shape))
    return _formula(_softmax(node, along), at, Arg(0), _softmax_adjoint(along))


def log_softmax(x: Any, axis: int = -1) -> Expression:
    """l[j] = ln(softmax(z)[j]), with dl[j]/dz[k] = [j = k] - softmax(z)[k]."""
    node, along = _along(x, axis)
    at = identity(len(node.shape))
    return _formula(_softmax(node, along), at, Call("log", (Arg(0),)), _log_softmax_adjoint(along))


def label_loss(x: Node, labels: Node, axis: int) -> Expression:
    """l = -ln(softmax(z)[label]), with dl/dz[k] = softmax(z)[k] - [k = label]."""
    q = _softmax(x, axis)
    at = identity(len(labels.shape))
    rows: tuple[Row, ...] = (*at[:axis], Indirect(1, at), *at[axis:])
    body = -call("log", Arg(0))
    piece = Comprehension(Domain(labels.shape), at, (Access(0, rows),), body)

    def adjoint(node: Node, target: Node, dout: Node) -> Node:
        q, labels = node.inputs
        at = identity(len(target.shape))
        kept = (*at[:axis], *at[axis + 1 :])
        chosen, _ = coerced_call("eq", (Index(axis), "int32"), (Arg(2), labels.dtype))
        body = Arg(0) * (Arg(1) - select(chosen, 1.0, 0.0))
        accesses = (Access(0, kept), Access(1, at), Access(2, kept))
        return _contribution((dout, q, labels), target, accesses, body, target.shape)

    node = compute([q, labels], [piece], labels.shape)
    return Expression(renew(node, attrs={"adjoint": adjoint}))


def logsumexp(x: Node, axes: Sequence[int], keepdims: bool) -> Expression:
    """s = ln(Σ exp(z[k])), with ds/dz[k] = exp(z[k] - s)."""
    at = identity(len(x.shape))
    zero = constant(len(at), 0)
    rows = tuple(zero if k in axes else at[k] for k in range(len(at)) if keepdims or k not in axes)
    shape = tuple(1 if k in axes else n for k, n in enumerate(x.shape) if keepdims or k not in axes)
    body, finish = call("exp", Arg(0)), call("log", Arg(0))
    piece = Comprehension(Domain(x.shape), rows, (Access(0, at),), body, "sum", finish)

    def adjoint(node: Node, target: Node, dout: Node) -> Node:
        accesses = (Access(0, rows), Access(1, at), Access(2, rows))
        body = Arg(0) * call("exp", Arg(1) - Arg(2))
        return _contribution((dout, target, node), target, accesses, body, target.shape)

    node = compute([x], [piece], shape)
    return Expression(renew(node, attrs={"adjoint": adjoint}))


# --- The parts ---


def _along(x: Any, axis: int) -> tuple[Node, int]:
    node = as_real(as_node(x))
    return node, normalize_axis(axis, len(node.shape))


def _softmax(x: Node, axis: int) -> Node:
    """The value `softmax(x)`, which no row of a table defines."""
    stand_in = leaf("input", "softmax", x.shape, x.dtype, function="softmax", axis=axis)
    return renew(stand_in, op="applied", inputs=(x,))


def _formula(q: Node, at: tuple[Row, ...], body: Scalar, adjoint: Adjoint) -> Expression:
    piece = Comprehension(Domain(q.shape), at, (Access(0, at),), body)
    return Expression(renew(compute([q], [piece], q.shape), attrs={"adjoint": adjoint}))


def _softmax_adjoint(axis: int) -> Adjoint:
    def adjoint(node: Node, target: Node, dout: Node) -> Node:
        own, other, same = _two_points(len(target.shape), axis)
        accesses = (Access(0, other), Access(1, other), Access(1, own))
        body = Arg(0) * (Arg(1) * (select(same, 1.0, 0.0) - Arg(2)))
        return _contribution((dout, node), target, accesses, body, _doubled(target, axis))

    return adjoint


def _log_softmax_adjoint(axis: int) -> Adjoint:
    def adjoint(node: Node, target: Node, dout: Node) -> Node:
        own, other, same = _two_points(len(target.shape), axis)
        accesses = (Access(0, other), Access(1, own))
        body = Arg(0) * (select(same, 1.0, 0.0) - Arg(1))
        return _contribution((dout, node.inputs[0]), target, accesses, body, _doubled(target, axis))

    return adjoint


def _two_points(rank: int, axis: int) -> tuple[tuple[Row, ...], tuple[Row, ...], Scalar]:
    """An element, another one along the axis (its position is a further index), and j == k."""
    own = tuple(index(rank + 1, k) for k in range(rank))
    other = (*own[:axis], index(rank + 1, rank), *own[axis + 1 :])
    return own, other, Call("eq", (Index(rank), Index(axis)))


def _doubled(x: Node, axis: int) -> tuple[Any, ...]:
    return (*x.shape, x.shape[axis])


def _contribution(
    inputs: Sequence[Node],
    target: Node,
    accesses: tuple[Access, ...],
    body: Scalar,
    extents: tuple[Any, ...],
) -> Node:
    """`dtarget[i] += body` over a domain that starts with the target's own indices."""
    rank, own = len(extents), len(target.shape)
    out = tuple(index(rank, k) for k in range(own))
    combine = "set" if rank == own else "sum"
    piece = Comprehension(Domain(extents), out, accesses, body, combine)
    return compute(inputs, [piece], target.shape, label=f"d_{target.name}")
