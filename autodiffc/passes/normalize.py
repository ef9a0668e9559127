"""One canonical way to write each formula, so that later stages can tell what it is by looking.

indices   those that are a whole output row come first, in output order; then the other kept
          ones; then the reduced ones in the order they had (an argmax counts by it)
axes      an output axis of extent 1 has an index of its own; other indices of extent 1 are 0
guards    each once, divided by the common factor of its coefficients; what guards say about a
          single index moves into its range (i - 2 >= 0 becomes i' = i - 2), and what ranges
          imply is dropped
combine   without anything to reduce, and no two points on one element, it is `set`
empty     no points at all: zeros, or the combiner's identity
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import (
    Access,
    Comprehension,
    Domain,
    Indirect,
    out_indices,
)
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import Extent, ExtentLike
from autodiffc.graph.injective import is_injective
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Const, Scalar, dtype_of, replace_args
from autodiffc.graph.types import is_float
from autodiffc.passes.formulas import body_dtypes, fill_value, reindex, zeros

Shape = tuple[ExtentLike, ...]
POSITIONS = ("argmax", "argmin")


def normalize(graph: Graph) -> Graph:
    """The graph with every formula in canonical form."""
    return graph.rewrite(normalize_node)


def normalize_node(node: Node) -> Node:
    """The node with its formulas in canonical form; formulas without points are left out."""
    if node.op != "compute" or fill_value(node) is not None:
        return node
    results = [normalize_piece(node, p) for p in node.pieces]
    pieces = tuple(p for p in results if p is not None)
    if not pieces:
        return zeros(node)
    return node if pieces == node.pieces else renew(node, pieces=pieces)


def normalize_piece(node: Node, piece: Comprehension) -> Comprehension | None:
    """The canonical form of one of the node's formulas, None where it writes nothing."""
    current: Comprehension | None = piece
    while current is not None:
        piece = current
        for step in _STEPS:
            current = step(node, current)
            if current is None:
                return None
        if current == piece:
            return current
    return None


# --- Indices of extent 1 ---


def _drop_single(node: Node, piece: Comprehension) -> Comprehension:
    """Indices of extent 1 are 0, save those that are an output axis of extent 1."""
    axes = _single_axes(node.shape, piece)
    drop = [k for k, e in enumerate(piece.domain.extents) if e == 1 and k not in axes]
    if not drop:
        return piece
    return _select(piece, [k for k in range(piece.domain.rank) if k not in drop])


def _single_axes(shape: Shape, piece: Comprehension) -> set[int]:
    """Indices that are one output row of an axis of extent 1 and appear in no other row."""
    plain = [r.plain_index for r in piece.out if isinstance(r, Affine)]
    uses = [k for r in piece.out for k in out_indices((r,))]
    return {
        k
        for k, extent in zip(_plain(piece), shape, strict=True)
        if k is not None and extent == 1 and plain.count(k) == uses.count(k) == 1
    }


def _plain(piece: Comprehension) -> list[int | None]:
    return [r.plain_index if isinstance(r, Affine) else None for r in piece.out]


def _select(piece: Comprehension, order: Sequence[int]) -> Comprehension:
    """The formula over the indices in `order`; those left out are 0."""
    rank = len(order)
    inner = [constant(rank, 0)] * piece.domain.rank
    for new, old in enumerate(order):
        inner[old] = index(rank, new)
    extents = [piece.domain.extents[k] for k in order]
    return reindex(piece, inner, extents, [piece.domain.names[k] for k in order])


def _name_single_axes(node: Node, piece: Comprehension) -> Comprehension:
    """Gives an output axis of extent 1 whose row is the constant 0 an index of its own."""
    bare = [
        axis
        for axis, (row, extent) in enumerate(zip(piece.out, node.shape, strict=True))
        if extent == 1 and isinstance(row, Affine) and row.is_constant
    ]
    if not bare:
        return piece
    rank = piece.domain.rank + len(bare)
    names = [*piece.domain.names, *_fresh(piece.domain.names, len(bare))]
    wide = reindex(
        piece,
        identity(rank)[: piece.domain.rank],
        [*piece.domain.extents, *[1] * len(bare)],
        names,
    )
    out = list(wide.out)
    for k, axis in enumerate(bare):
        out[axis] = index(rank, piece.domain.rank + k)
    return replace(wide, out=tuple(out))


def _fresh(taken: Sequence[str], count: int) -> list[str]:
    names: list[str] = []
    number = 0
    while len(names) < count:
        if f"one{number}" not in taken:
            names.append(f"one{number}")
        number += 1
    return names


# --- Guards ---


def _canonical_guards(node: Node, piece: Comprehension) -> Comprehension:
    """Guards without common factors, without duplicates, without those that ranges imply."""
    domain = piece.domain
    guards = dict.fromkeys(_divided(g) for g in domain.guards)
    kept = tuple(g for g in guards if not _certain(g.bounds(domain.extents)[0]))
    kept = _strongest(kept)
    if kept == domain.guards:
        return piece
    return replace(piece, domain=replace(domain, guards=kept))


def _divided(guard: Affine) -> Affine:
    """`4*i - 6*p - 3 >= 0` says `2*i - 3*p - 2 >= 0`."""
    factor = math.gcd(*guard.coefficients) if guard.coefficients else 0
    if factor < 2 or not isinstance(guard.constant, int):
        return guard
    return Affine(tuple(c // factor for c in guard.coefficients), guard.constant // factor)


def _strongest(guards: tuple[Affine, ...]) -> tuple[Affine, ...]:
    """Of guards that differ by a known constant, the one with the smaller constant."""
    best: dict[tuple[int, ...], Affine] = {}
    others = []
    for guard in guards:
        if not isinstance(guard.constant, int):
            others.append(guard)
            continue
        known = best.get(guard.coefficients)
        if known is None or guard.constant < known.constant:
            best[guard.coefficients] = guard
    return (*best.values(), *others)


def _certain(low: ExtentLike) -> bool:
    """Whether a bound is at least 0 for every value of the open dims."""
    if isinstance(low, Extent):
        return all(c >= 0 for _, c in low.terms)
    return low >= 0


def _tighten(node: Node, piece: Comprehension) -> Comprehension | None:
    """Shrinks index ranges to what guards leave of them; None where that is nothing."""
    domain = piece.domain
    if not domain.guards:
        return piece
    ranges = _ranges(piece)
    if any(high <= low for low, high in ranges.values()):
        return _without_points(node, piece)
    shift = {k: low for k, (low, _) in ranges.items()}
    inner = [row + shift.get(k, 0) for k, row in enumerate(identity(domain.rank))]
    extents = [
        ranges[k][1] - ranges[k][0] if k in ranges else extent
        for k, extent in enumerate(domain.extents)
    ]
    if tuple(extents) == domain.extents:
        return piece
    return reindex(piece, inner, extents, domain.names)


def _ranges(piece: Comprehension) -> dict[int, tuple[int, int]]:
    """The half-open range of each index that may shrink, after all guards had their say."""
    domain = piece.domain
    ranges = {k: (0, e) for k, e in enumerate(domain.extents) if isinstance(e, int)}
    may_shrink = [k for k in ranges if _may_shrink(piece, k)]
    changed = True
    while changed:
        changed = False
        for guard in domain.guards:
            for k in guard.uses:
                if k not in may_shrink:
                    continue
                new = _limited(guard, k, ranges)
                if new is not None and new != ranges[k]:
                    ranges[k] = new
                    changed = new[0] < new[1]
                    if not changed:
                        return {k: new}
    return {k: ranges[k] for k in may_shrink}


def _may_shrink(piece: Comprehension, k: int) -> bool:
    """Whether points that guards exclude may leave the box: not where their absence is a value.

    A kept index counts elements: those without a point become 0, which is right for `set` and for a
    plain `sum`. The extents of an argmax' reduced indices are part of its result.
    """
    if k in piece.reduced:
        return piece.combine not in POSITIONS
    return piece.combine in ("set", "sum") and piece.finish is None


def _limited(guard: Affine, k: int, ranges: dict[int, tuple[int, int]]) -> tuple[int, int] | None:
    """The range of index k that the guard allows for the best choice of the other indices."""
    if not isinstance(guard.constant, int):
        return None
    rest = guard.constant
    for j in guard.uses:
        if j == k:
            continue
        if j not in ranges:
            return None
        coefficient = guard.coefficients[j]
        rest += coefficient * (ranges[j][1] - 1 if coefficient > 0 else ranges[j][0])
    low, high = ranges[k]
    coefficient = guard.coefficients[k]
    if coefficient > 0:
        return max(low, -(rest // coefficient)), high
    return low, min(high, rest // -coefficient + 1)


# --- No points ---


def _resolve_empty(node: Node, piece: Comprehension) -> Comprehension | None:
    """A box with an extent of 0, or a guard that never holds, has no points."""
    domain = piece.domain
    if 0 in domain.extents:
        return _without_points(node, piece)
    if any(isinstance(h := g.bounds(domain.extents)[1], int) and h < 0 for g in domain.guards):
        return _without_points(node, piece)
    return piece


def _without_points(node: Node, piece: Comprehension) -> Comprehension | None:
    """What is left of a formula without points: its identity at each kept point, or nothing."""
    if piece.combine == "set" or any(piece.domain.extents[k] == 0 for k in _kept(piece)):
        return None
    if piece.combine == "sum" and piece.finish is None:
        return None
    if piece.combine not in ("sum", "prod") or not writes_once(piece):
        return piece
    kept = _kept(piece)
    bare = _select(
        replace(piece, domain=replace(piece.domain, guards=()), operands=(), body=Arg(0)), kept
    )
    dtype = dtype_of(piece.body, body_dtypes(node, piece))
    one = 0 if piece.combine == "sum" else 1
    return replace(bare, body=Const(float(one) if is_float(dtype) else one, dtype))


def _kept(piece: Comprehension) -> list[int]:
    reduced = piece.reduced
    return [k for k in range(piece.domain.rank) if k not in reduced]


# --- Order ---


def _order(node: Node, piece: Comprehension) -> Comprehension:
    """Output order first, reduced indices last."""
    order: dict[int, None] = {}
    for k in _plain(piece):
        if k is not None:
            order.setdefault(k)
    for row in piece.out:
        for k in sorted(out_indices((row,))):
            order.setdefault(k)
    for k in range(piece.domain.rank):
        order.setdefault(k)
    positions = list(order)
    return piece if positions == sorted(positions) else _select(piece, positions)


# --- Combiners ---


def _as_set(node: Node, piece: Comprehension) -> Comprehension:
    """A reduction over one point an element is that point's value."""
    if piece.combine == "set" or piece.reduced:
        return piece
    if piece.combine in POSITIONS or (piece.domain.guards and not _zero_without_point(piece)):
        return piece
    if not writes_once(piece):
        return piece
    if piece.combine != "sum" and not _covers(node.shape, piece):
        return piece
    body, operands = piece.body, piece.operands
    if piece.finish is not None:
        body, operands = _finished(piece)
    return replace(
        piece, combine="set", body=body, operands=operands, finish=None, finish_operands=()
    )


def _zero_without_point(piece: Comprehension) -> bool:
    return piece.combine == "sum" and piece.finish is None


def _finished(piece: Comprehension) -> tuple[Scalar, tuple[Access, ...]]:
    assert piece.finish is not None
    shift = len(piece.operands) - 1
    body = replace_args(piece.finish, lambda k: Arg(k + shift) if k else piece.body)
    return body, (*piece.operands, *piece.finish_operands)


def writes_once(piece: Comprehension) -> bool:
    """Whether different kept points certainly write different elements."""
    if any(isinstance(r, Indirect) for r in piece.out):
        return False
    kept = _kept(piece)
    plain = [k for k in _plain(piece) if k is not None]
    if set(plain) == set(kept):
        return True
    rows = tuple(
        Affine(tuple(r.coefficients[k] for k in kept), r.constant)
        for r in piece.out
        if isinstance(r, Affine)
    )
    return is_injective(rows, Domain(tuple(piece.domain.extents[k] for k in kept)))


def _covers(shape: Shape, piece: Comprehension) -> bool:
    """Whether every element has a point: each axis is walked by an index of its own."""
    plain = _plain(piece)
    return (
        None not in plain
        and len(set(plain)) == len(plain)
        and all(
            piece.domain.extents[k] == e for k, e in zip(plain, shape, strict=True) if k is not None
        )
    )


_STEPS = (
    _drop_single,
    _canonical_guards,
    _tighten,
    _resolve_empty,
    _name_single_axes,
    _order,
    _as_set,
)
