"""Algebra: scalar bodies by the table in `rules`, and what follows for whole nodes.

    copies            a formula that is its operand is the operand
    constants         an operand that is one number everywhere becomes that number in the body
    sums of the same  an index that only repeats the same summand becomes a factor
    views             a reshape of a reshape is one; stop_gradient is a copy by now

All of it holds for infinities and NaN too: `x * zeros` stays a product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from autodiffc.graph.affine import constant, identity, index
from autodiffc.graph.comprehension import Comprehension, indices_mentioned
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Const,
    Scalar,
    dtype_of,
    replace_args,
)
from autodiffc.graph.types import TensorType, is_float
from autodiffc.passes.formulas import body_dtypes, fill_value, reindex, tidy, zeros
from autodiffc.passes.rules import simplify_body, typed


def simplify(graph: Graph) -> Graph:
    """The graph with every rule applied, operands first."""
    return graph.rewrite(simplify_node)


def simplify_node(node: Node) -> Node:
    """The simplest node with the same value, given that its operands are simple."""
    rule = _BY_OPERATION.get(node.op)
    return node if rule is None else rule(node)


# --- Views and copies ---


def _simplify_reshape(node: Node) -> Node:
    (x,) = node.inputs
    if x.shape == node.shape:
        return x
    if x.op == "reshape":
        return _simplify_reshape(renew(node, inputs=x.inputs))
    value = fill_value(x)
    if value is not None:
        return _fill(node, value)
    if x.op == "constant" and all(isinstance(e, int) for e in node.shape):
        array = x.attrs["value"].reshape(node.shape)
        return renew(x, type=TensorType(node.shape, x.dtype), attrs={"value": array})
    return node


def _simplify_check(node: Node) -> Node:
    (x,) = node.inputs
    if x.op == "check_index" and x.attrs["extent"] == node.attrs["extent"]:
        return x
    return node


def _fill(node: Node, value: Const) -> Node:
    filled = zeros(node)
    return renew(filled, pieces=(replace(filled.formula, body=value),))


# --- Formulas ---


def _simplify_compute(node: Node) -> Node:
    if fill_value(node) is not None:
        return node
    node = _inline_numbers(tidy(node))  # equal operands first: where(c, x, x) -> x
    pieces = tuple(_simplify_piece(node, p) for p in node.pieces)
    kept = tuple(p for p in pieces if not _adds_nothing(p))
    if not kept:
        return zeros(node)
    if kept != node.pieces:
        node = renew(node, pieces=kept)
    node = tidy(node)
    return node.inputs[0] if _is_copy(node) else node


def _is_copy(node: Node) -> bool:
    """Whether a node is its input element by element."""
    if len(node.pieces) != 1 or len(node.inputs) != 1:
        return False
    piece, x = node.formula, node.inputs[0]
    return (
        piece.is_elementwise
        and piece.finish is None
        and piece.body == Arg(0)
        and x.type == node.type
        and piece.domain.extents == node.shape
        and piece.operands[0].rows == identity(len(node.shape))
    )


def _adds_nothing(piece: Comprehension) -> bool:
    """Whether a formula only writes zeros, which every element holds anyway."""
    body = piece.body
    return (
        piece.combine in ("set", "sum")
        and piece.finish is None
        and isinstance(body, Const)
        and body.value == 0
    )


def _simplify_piece(node: Node, piece: Comprehension) -> Comprehension:
    dtypes = body_dtypes(node, piece)
    piece = replace(piece, body=simplify_body(piece.body, dtypes))
    piece = _multiply_repeats(piece, dtypes)
    if piece.finish is None:
        return piece
    reduced = dtype_of(piece.body, dtypes)
    if piece.combine in ("argmax", "argmin"):
        reduced = "int32"
    rest = [node.inputs[a.operand].dtype for a in piece.finish_operands]
    finish = simplify_body(piece.finish, [reduced, *rest])
    if finish == Arg(0):
        return replace(piece, finish=None, finish_operands=())
    return replace(piece, finish=finish)


def _multiply_repeats(piece: Comprehension, dtypes: Sequence[str]) -> Comprehension:
    """`sum_k f = n*f` where f does not mention k; a maximum does not even get the factor."""
    if piece.combine not in ("sum", "max", "min"):
        return piece
    mentioned = indices_mentioned(piece) | {k for g in piece.domain.guards for k in g.uses}
    for k in piece.reduced:
        extent = piece.domain.extents[k]
        if k in mentioned or not isinstance(extent, int) or extent < 1:
            continue
        factor = typed(extent, dtype_of(piece.body, dtypes))
        smaller = _without_index(piece, k)
        if piece.combine == "sum":
            body = simplify_body(Call("mul", (smaller.body, factor)), dtypes)
            smaller = replace(smaller, body=body, combine=_combiner(smaller))
        return _multiply_repeats(smaller, dtypes)
    return piece


def _combiner(piece: Comprehension) -> str:
    """`set` where nothing is left to sum."""
    alone = piece.out == identity(piece.domain.rank) and not piece.domain.guards
    return "set" if alone and piece.finish is None else piece.combine


def _without_index(piece: Comprehension, k: int) -> Comprehension:
    domain = piece.domain
    rank = domain.rank - 1
    inner = [constant(rank, 0) if j == k else index(rank, j - (j > k)) for j in range(domain.rank)]
    extents = [e for j, e in enumerate(domain.extents) if j != k]
    return reindex(piece, inner, extents, [n for j, n in enumerate(domain.names) if j != k])


# --- Operands that are numbers ---


def _inline_numbers(node: Node) -> Node:
    """Replaces operands that are one number everywhere by the number."""
    numbers = {k: v for k, x in enumerate(node.inputs) if (v := _number(x)) is not None}
    if not numbers:
        return node
    return renew(node, pieces=tuple(_with_numbers(node, p, numbers) for p in node.pieces))


def _number(x: Node) -> Const | None:
    if x.op != "constant":
        return fill_value(x)
    array: np.ndarray = x.attrs["value"]
    if array.size == 0 or not np.isfinite(array.flat[0]):
        return None
    if array.size > 1 and not (array == array.flat[0]).all():
        return None
    value = array.flat[0]
    # the shortest decimal that means the number in its type
    return typed(float(str(value)) if is_float(x.dtype) else value.item(), x.dtype)


def _with_numbers(node: Node, piece: Comprehension, numbers: dict[int, Const]) -> Comprehension:
    operands = [a.operand for a in piece.operands]

    def value(at: Callable[[int], int | None]) -> Callable[[int], Scalar]:
        def new(k: int) -> Scalar:
            operand = at(k)
            return Arg(k) if operand is None or operand not in numbers else numbers[operand]

        return new

    body = replace_args(piece.body, value(lambda k: operands[k]))
    finish = piece.finish
    if finish is not None:
        rest = [None, *(a.operand for a in piece.finish_operands)]
        finish = replace_args(finish, value(lambda k: rest[k]))
    return replace(piece, body=body, finish=finish)


_BY_OPERATION: dict[str, Callable[[Node], Node]] = {
    "compute": _simplify_compute,
    "reshape": _simplify_reshape,
    "stop_gradient": lambda node: node.inputs[0],
    "check_index": _simplify_check,
}
