"""What several passes do to formulas: change their indices, tidy their operands, make zeros.

Each function takes a formula (or a node) and returns one with the same value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.comprehension import (
    Access,
    Comprehension,
    Domain,
    inputs_used,
    map_access,
    map_rows,
    renumber,
    renumber_rows,
)
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Index,
    Scalar,
    Size,
    args_used,
    replace_args,
    replace_indices,
)
from autodiffc.graph.types import is_float

# --- Change of indices ---


def affine_value(affine: Affine) -> Scalar:
    """An affine map as an int32 value of a body."""
    terms: list[Scalar] = []
    for k, coefficient in enumerate(affine.coefficients):
        if coefficient:
            scaled = Call("mul", (Index(k), Const(coefficient, "int32")))
            terms.append(Index(k) if coefficient == 1 else scaled)
    offset = affine.constant
    if not isinstance(offset, int):
        terms.append(Cast("int32", Size(offset)))
    elif offset or not terms:
        terms.append(Const(offset, "int32"))
    total = terms[0]
    for term in terms[1:]:
        total = Call("add", (total, term))
    return total


def substitute_indices(body: Scalar, inner: Sequence[Affine]) -> Scalar:
    """Replaces the value of index k by the value of `inner[k]`."""
    return replace_indices(body, lambda k: affine_value(inner[k]))


def reindex(
    piece: Comprehension,
    inner: Sequence[Affine],
    extents: Sequence[ExtentLike],
    names: Sequence[str],
    guards: Sequence[Affine] = (),
) -> Comprehension:
    """The formula over new indices, old index k being `inner[k]` of them; adds `guards`."""
    rank = len(extents)

    def change(affine: Affine) -> Affine:
        return affine.compose(inner, rank)

    kept_guards = tuple(change(g) for g in piece.domain.guards)
    return replace(
        piece,
        domain=Domain(tuple(extents), (*kept_guards, *guards), tuple(names)),
        out=map_rows(piece.out, change),
        operands=tuple(map_access(a, change) for a in piece.operands),
        body=substitute_indices(piece.body, inner),
        finish=None if piece.finish is None else substitute_indices(piece.finish, inner),
        finish_operands=tuple(map_access(a, change) for a in piece.finish_operands),
    )


# --- Types ---


def body_dtypes(node: Node, piece: Comprehension) -> list[str]:
    """The types of the elements that a formula's body reads."""
    return [node.inputs[a.operand].dtype for a in piece.operands]


# --- Operands ---


def tidy(node: Node) -> Node:
    """Merges equal accesses and equal inputs, drops those that nothing reads."""
    if node.op != "compute":
        return node
    first: dict[Node, int] = {}
    for operand in node.inputs:
        first.setdefault(operand, len(first))
    distinct = list(first)
    pieces = list(node.pieces)
    if len(distinct) < len(node.inputs):
        merged = [first[operand] for operand in node.inputs]
        pieces = [renumber_piece(p, merged.__getitem__) for p in pieces]
    pieces = [tidy_piece(p) for p in pieces]
    used = sorted({k for p in pieces for k in inputs_used(p)})
    if len(used) < len(distinct):
        position = {old: new for new, old in enumerate(used)}
        pieces = [renumber_piece(p, position.__getitem__) for p in pieces]
    inputs = tuple(distinct[k] for k in used)
    if inputs == node.inputs and tuple(pieces) == node.pieces:
        return node
    return renew(node, inputs=inputs, pieces=tuple(pieces))


def renumber_piece(piece: Comprehension, operand: Callable[[int], int]) -> Comprehension:
    """The formula over other input positions."""
    return replace(
        piece,
        out=renumber_rows(piece.out, operand),
        operands=tuple(renumber(a, operand) for a in piece.operands),
        finish_operands=tuple(renumber(a, operand) for a in piece.finish_operands),
    )


def tidy_piece(piece: Comprehension) -> Comprehension:
    """Merges equal accesses, drops those that nothing reads."""
    operands, body = merge_accesses(piece.operands, piece.body, 0)
    if piece.finish is None:
        same = body is piece.body and operands == piece.operands
        return piece if same else replace(piece, operands=operands, body=body)
    rest, finish = merge_accesses(piece.finish_operands, piece.finish, 1)
    return replace(piece, operands=operands, body=body, finish=finish, finish_operands=rest)


def merge_accesses(
    accesses: Sequence[Access], body: Scalar, first: int
) -> tuple[tuple[Access, ...], Scalar]:
    """Accesses without duplicates and without unread ones; `Arg(first)` reads the first access."""
    used = [k for k in args_used(body) if k >= first]
    kept: dict[Access, int] = {}
    for k in used:
        kept.setdefault(accesses[k - first], len(kept) + first)
    if len(kept) == len(accesses):
        return tuple(accesses), body

    def new(k: int) -> Scalar:
        return Arg(k) if k < first else Arg(kept[accesses[k - first]])

    return tuple(kept), replace_args(body, new)


# --- Constants as formulas ---


def fill_formula(shape: tuple[ExtentLike, ...], value: Const) -> Comprehension:
    """`out[i] = value` for every element."""
    return Comprehension(Domain(shape), identity(len(shape)), (), value)


def zeros(node: Node) -> Node:
    """The node with its value replaced by zeros."""
    formula = fill_formula(node.shape, zero(node.dtype))
    return renew(node, op="compute", inputs=(), pieces=(formula,), attrs={})


def zero(dtype: str) -> Const:
    return Const(0.0 if is_float(dtype) else False if dtype == "bool" else 0, dtype)


def fill_value(node: Node) -> Const | None:
    """The number that every element of a node is, where it is a formula that says so."""
    if node.op != "compute" or len(node.pieces) != 1:
        return None
    (piece,) = node.pieces
    if isinstance(piece.body, Const) and piece.is_elementwise and piece.finish is None:
        return piece.body if piece.domain.extents == node.shape else None
    return None
