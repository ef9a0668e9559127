"""Scatters become plain reductions, so that no two threads write one element.

The adjoint of a windowed read adds into rows such as `s*i + p`: different points meet at one
element. Each such row is *pivoted* on one index: solve for it, and loop over the row's value.

    dx[s*i + d*p - pad] += …      becomes, for every phase rho in 0 … s-1,
    dx[s*h + rho]       =  sum over p' of …      with p = (s/g)*p' + p0,  g = gcd(s, d),
                                                 i = h - (d/g)*p' + (rho + pad - d*p0)/s

A row's *phases* are its residues modulo the pivot's coefficient; splitting the other indices of the
row by residues as well leaves no division in any loop. At most one residue p0 fits a phase (else
another pivot is tried), so the phases are disjoint and each is one plain reduction. What remains of
the pivot is its range, as guards, which `normalize` tightens.

In order of preference: a formula whose points never collide stays a scatter (`set`, into zeros
where it does not cover); then pivoting; what no pivot resolves, and indirect rows, stay as they are
with the attribute `scatter: "serial"`. Such a sum adds point after point into zeros, in loop order:
only an index whose values never meet at one element may run in parallel, outermost. So it, too, has
the same bits each time. Buffers of their own for parts of the points, added up in a fixed order,
would let threads share the rest; but each is as large as the result, and where addresses are looked
up, that is mostly much larger than what is added into it (a table of rows, of which a batch touches
few): zeroing and adding up the copies would cost more than the sum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import Comprehension, Indirect
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import defaults
from autodiffc.graph.node import Node, renew
from autodiffc.passes.formulas import reindex, zeros
from autodiffc.passes.normalize import normalize_piece, writes_once

MOST_PHASES = 64  # of one node; every phase is a kernel of its own


def gather(graph: Graph) -> Graph:
    """The graph without colliding writes, as far as affine maps can tell."""
    return graph.rewrite(gather_node)


def gather_node(node: Node) -> Node:
    """The node with its sums in race-free form."""
    if node.op != "compute" or all(_is_plain(p) for p in node.pieces):
        return node
    pieces: list[Comprehension] = []
    stubborn = False
    for piece in node.pieces:
        phases = None if _is_plain(piece) else _gather_piece(node, piece)
        stubborn |= phases is None and not _is_plain(piece)
        pieces += [piece] if phases is None else phases
    if not pieces:
        return zeros(node)
    attrs = dict(node.attrs) | ({"scatter": "serial"} if stubborn else {})
    if tuple(pieces) == node.pieces and attrs == node.attrs:
        return node
    return renew(node, pieces=tuple(pieces), attrs=attrs)


def _is_plain(piece: Comprehension) -> bool:
    return piece.combine != "sum" or writes_once(piece)


# --- One formula ---


def _gather_piece(node: Node, piece: Comprehension) -> list[Comprehension] | None:
    """The phases of a formula, None where no choice of pivots makes its points distinct."""
    if piece.finish is not None or any(isinstance(r, Indirect) for r in piece.out):
        return None
    normal = normalize_piece(node, piece)
    if normal is None:
        return []
    work = [_Phase(normal, frozenset(_single_rows(normal)))]
    for axis in range(len(node.shape)):
        pivoted = [_pivot_row(node, phase, axis) for phase in work]
        if any(p is None for p in pivoted):
            return None
        work = [phase for phases in pivoted if phases is not None for phase in phases]
        if len(work) > MOST_PHASES:
            return None
    results = [normalize_piece(node, phase.piece) for phase in work]
    pieces = [p for p in results if p is not None]
    return pieces if all(_is_plain(p) for p in pieces) else None


@dataclass(frozen=True)
class _Phase:
    """A formula on the way; `claimed` are the indices that settle an output row already."""

    piece: Comprehension
    claimed: frozenset[int]


def _single_rows(piece: Comprehension) -> Iterator[int]:
    """Indices that are an output row by themselves, up to a factor and a shift."""
    for row in piece.out:
        if isinstance(row, Affine) and len(row.uses) == 1:
            yield row.uses[0]


def _pivot_row(node: Node, phase: _Phase, axis: int) -> list[_Phase] | None:
    """The phases after one output row was settled, None where it cannot be."""
    row = phase.piece.out[axis]
    assert isinstance(row, Affine)
    free = [k for k in row.uses if k not in phase.claimed]
    size = node.shape[axis]
    if not free:
        return [phase]
    if not isinstance(size, int) or not isinstance(row.constant, int):
        return None
    if any(not isinstance(phase.piece.domain.extents[k], int) for k in row.uses):
        return None
    for pivot in sorted(free, key=lambda k: _cost(phase.piece, row, k)):
        phases = _split(phase, axis, row, pivot, size)
        if phases is not None and len(phases) <= MOST_PHASES:
            return phases
    return None


def _cost(piece: Comprehension, row: Affine, pivot: int) -> tuple[float, int]:
    """Points visited for one value of the row: the taps that are left of the other indices."""
    step = abs(row.coefficients[pivot])
    taps = 1.0
    for k in row.uses:
        if k != pivot:
            period = step // math.gcd(step, row.coefficients[k])
            taps *= math.ceil(defaults(piece.domain.extents[k]) / period)
    return taps, pivot


# --- One pivot ---


def _split(phase: _Phase, axis: int, row: Affine, pivot: int, size: int) -> list[_Phase] | None:
    """One phase for each residue of the row and of the claimed indices in it.

    None where a reduced index has several residues for one phase.
    """
    step = abs(row.coefficients[pivot])
    others = [k for k in row.uses if k != pivot]
    periods = [step // math.gcd(step, row.coefficients[k]) for k in others]
    if math.prod(periods) > MOST_PHASES**2:
        return None
    chosen: dict[tuple[int, ...], list[int]] = {}
    for residues in itertools.product(*(range(p) for p in periods)):
        offset = row.constant + sum(
            row.coefficients[k] * r for k, r in zip(others, residues, strict=True)
        )
        assert isinstance(offset, int)
        rho = offset % step
        kept = tuple(r for k, r in zip(others, residues, strict=True) if k in phase.claimed)
        if (rho, *kept) in chosen:
            return None
        chosen[(rho, *kept)] = list(residues)
    phases = []
    for (rho, *_), fitting in sorted(chosen.items()):
        new = _phase(phase, axis, row, pivot, size, rho, dict(zip(others, fitting, strict=True)))
        if new is not None:
            phases.append(new)
    return phases


def _phase(
    phase: _Phase,
    axis: int,
    row: Affine,
    pivot: int,
    size: int,
    rho: int,
    residues: dict[int, int],
) -> _Phase | None:
    """The formula over `step*h + rho = row`: the pivot's place is taken by h."""
    piece = phase.piece
    domain = piece.domain
    rank = domain.rank
    step = abs(row.coefficients[pivot])
    inner = list(identity(rank))
    extents = list(domain.extents)
    for k, residue in residues.items():
        period = step // math.gcd(step, row.coefficients[k])
        inner[k] = index(rank, k) * period + residue
        extents[k] = -((residue - defaults(extents[k])) // period)  # how many are left, rounded up
    extents[pivot] = -((rho - size) // step)
    if any(isinstance(e, int) and e <= 0 for e in extents):
        return None
    value = index(rank, pivot) * step + rho
    rest = constant(rank, row.constant)
    for k in residues:
        rest = rest + inner[k] * row.coefficients[k]
    sign = 1 if row.coefficients[pivot] > 0 else -1
    solved = _divide(value - rest, step) * sign
    inner[pivot] = solved
    last = defaults(domain.extents[pivot]) - 1
    new = reindex(piece, inner, extents, domain.names, (solved, -solved + last))
    out = list(new.out)
    out[axis] = value
    names = _renamed(domain.names, pivot)
    new = replace(new, out=tuple(out), domain=replace(new.domain, names=names))
    return _Phase(new, phase.claimed | {pivot})


def _divide(affine: Affine, step: int) -> Affine:
    """An affine map whose coefficients and constant are multiples of `step`, divided by it."""
    assert isinstance(affine.constant, int)
    assert all(c % step == 0 for c in (*affine.coefficients, affine.constant))
    return Affine(tuple(c // step for c in affine.coefficients), affine.constant // step)


def _renamed(names: Sequence[str], pivot: int) -> tuple[str, ...]:
    """The pivot's successor is named after what it is now: a coordinate of the result."""
    new = next(
        n for n in ("h", "w", "d", "y", "x", *(f"h{k}" for k in range(99))) if n not in names
    )
    return tuple(new if k == pivot else name for k, name in enumerate(names))
