"""An operand that its reader computes itself: what `fuse` does with views and cheap values.

The reader's access is composed with each of the operand's accesses, and the operand's body stands
where its element was read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autodiffc.graph.affine import Affine, constant
from autodiffc.graph.comprehension import Access, Comprehension, Indirect, Row, out_indices
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Scalar, dtype_of, indices_used, replace_args
from autodiffc.passes.formulas import body_dtypes, substitute_indices, tidy_piece
from autodiffc.passes.rules import calls_in, simplify_body

MOST_CALLS = 32  # in one body; larger formulas compile no better and read worse
MOST_OPERANDS = 12

Place = Callable[[int], int]  # where an input of the operand is among those of its reader


def substitute(reader: Node, x: Node) -> Node:
    """The reader computing operand `x` itself; unchanged where the result would be too large.

    It may keep inputs that nothing reads any more: several operands are inlined one by one, and
    then tidied together.
    """
    position = {node: k for k, node in reversed(list(enumerate(reader.inputs)))}
    inputs = list(reader.inputs)
    for node in x.inputs:
        if node not in position:
            position[node] = len(inputs)
            inputs.append(node)
    place = [position[node] for node in x.inputs].__getitem__
    wide, pieces = renew(reader, inputs=tuple(inputs)), []
    for piece in reader.pieces:
        values: list[Scalar] = []
        new = _inline_piece(reader, piece, x, place, values)
        if new is None:
            return reader
        simple = frozenset(id(v) for v in values if not indices_used(v))
        pieces.append(tidy_piece(_simple(wide, new, simple)) if values else new)
    return renew(wide, pieces=tuple(pieces))


def _inline_piece(
    reader: Node, piece: Comprehension, x: Node, place: Place, values: list[Scalar]
) -> Comprehension | None:
    """The formula without reads of `x`; adds to `values` what takes their place."""
    targets = frozenset(k for k, i in enumerate(reader.inputs) if i is x)
    done = _inline_body(piece.operands, piece.body, 0, piece, targets, x, place, values)
    if done is None:
        return None
    new = replace(piece, operands=done[0], body=done[1])
    if piece.finish is not None:
        accesses = piece.finish_operands
        rest = _inline_body(accesses, piece.finish, 1, piece, targets, x, place, values)
        if rest is None:
            return None
        new = replace(new, finish_operands=rest[0], finish=rest[1])
    return new


def _inline_body(
    accesses: Sequence[Access],
    body: Scalar,
    first: int,
    piece: Comprehension,
    targets: frozenset[int],
    x: Node,
    place: Place,
    values: list[Scalar],
) -> tuple[tuple[Access, ...], Scalar] | None:
    """Accesses and body with the reads of `x` replaced; `Arg(first)` reads the first access."""
    rank = piece.domain.rank
    new: dict[int, Scalar] = {}
    result = list(accesses)
    for position, access in enumerate(accesses):
        if access.operand not in targets:
            continue
        composed = [_look_through(a, access.rows, rank, place) for a in x.formula.operands]
        if any(c is None for c in composed) or not _indices_known(x, access.rows):
            return None
        start = len(result) + first
        result += [c for c in composed if c is not None]
        inner = [r if isinstance(r, Affine) else constant(rank, 0) for r in access.rows]
        value = x.formula.body
        if indices_used(value):
            value = substitute_indices(value, inner)
        new[position + first] = replace_args(value, _moved(start))
    if not new:
        return tuple(accesses), body
    values += new.values()
    body = replace_args(body, lambda k: new.get(k, Arg(k)))
    if calls_in(body) > MOST_CALLS or len(result) - len(new) > MOST_OPERANDS:
        return None
    return tuple(result), body


def _moved(start: int) -> Callable[[int], Scalar]:
    return lambda k: Arg(k + start)


def _indices_known(x: Node, rows: Sequence[Row]) -> bool:
    """Whether no index whose value the body of `x` uses is read through a look-up."""
    return all(isinstance(rows[k], Affine) for k in indices_used(x.formula.body))


def _look_through(access: Access, rows: Sequence[Row], rank: int, place: Place) -> Access | None:
    """An access of an operand as one of its reader, which reads the operand at `rows`."""
    found: list[Row] = []
    for row in access.rows:
        new = _look_through_row(row, rows, rank, place)
        if new is None:
            return None
        found.append(new)
    return Access(place(access.operand), tuple(found))


def _look_through_row(row: Row, rows: Sequence[Row], rank: int, place: Place) -> Row | None:
    """None where the row would need arithmetic on a looked-up index."""
    looked_up = [k for k in out_indices((row,)) if isinstance(rows[k], Indirect)]
    if looked_up:
        plain = row.plain_index if isinstance(row, Affine) else None
        return None if plain is None else rows[plain]
    inner = [r if isinstance(r, Affine) else constant(rank, 0) for r in rows]
    if isinstance(row, Indirect):
        return Indirect(place(row.operand), tuple(a.compose(inner, rank) for a in row.rows))
    return row.compose(inner, rank)


def _simple(node: Node, piece: Comprehension, simple: frozenset[int]) -> Comprehension:
    """The formula with its new bodies simplified; parts whose ids are `simple` are that already."""
    dtypes = body_dtypes(node, piece)
    new = replace(piece, body=simplify_body(piece.body, dtypes, simple))
    if piece.finish is None:
        return new
    reduced = dtype_of(piece.body, dtypes)
    rest = [node.inputs[a.operand].dtype for a in piece.finish_operands]
    return replace(new, finish=simplify_body(piece.finish, [reduced, *rest], simple))
