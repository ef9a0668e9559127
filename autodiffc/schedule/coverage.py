"""Which elements the formulas of a node write: all of them, none twice, none outside.

A kernel needs to know before it stores anything whether points may meet at one element (then it
adds them up one by one), whether a sum is stored outside its tensor (then it needs guards), and
whether elements are left over (then they are zeroed first).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Comprehension, Domain, Indirect, out_indices
from autodiffc.graph.extents import ExtentLike, product
from autodiffc.graph.inequalities import never_negative
from autodiffc.graph.injective import is_injective
from autodiffc.graph.node import Node


def collides(piece: Comprehension) -> bool:
    """Whether different kept points may meet at one element: then it is a scatter."""
    if any(isinstance(r, Indirect) for r in piece.out):
        return True
    kept = sorted(out_indices(piece.out))
    return not is_injective(_kept_rows(piece, kept), _kept_domain(piece, kept))


def inside(piece: Comprehension, shape: Sequence[ExtentLike]) -> Comprehension:
    """The formula with a guard wherever a sum might be stored outside its tensor.

    A sum is stored at every kept point, also where guards on reduced indices leave nothing to add.
    They say nothing of the address there, so what they implied for live points is added as guards
    on the kept indices. A guard that is implied by the others is left out; over named dims, whose
    sizes are not known, only an index that walks the whole axis is.
    """
    if piece.combine != "sum" or collides(piece):
        return piece
    kept = out_indices(piece.out)
    guards = tuple(g for g in piece.domain.guards if set(g.uses) <= kept)
    known = replace(piece.domain, guards=guards)
    new: list[Affine] = []
    for row, extent in zip(piece.out, shape, strict=True):
        assert isinstance(row, Affine)  # looked-up addresses collide
        if row.plain_index is None or piece.domain.extents[row.plain_index] != extent:
            sides = (row, -row + (extent - 1))
            new += [g for g in sides if g not in guards and not _implied(g, known)]
    return replace(piece, domain=replace(piece.domain, guards=(*piece.domain.guards, *new)))


def _implied(guard: Affine, domain: Domain) -> bool:
    """Whether a guard follows from the extents and guards that are known numbers."""

    def known(claim: Affine) -> bool:
        numbers = (claim.constant, *(domain.extents[k] for k in claim.uses))
        return all(isinstance(n, int) for n in numbers)

    if not known(guard):
        return False
    extents = tuple(e if isinstance(e, int) else 1 for e in domain.extents)  # no claim has others
    return never_negative(guard, Domain(extents, tuple(filter(known, domain.guards))))


def _kept_rows(piece: Comprehension, kept: Sequence[int]) -> tuple[Affine, ...]:
    rows = [r for r in piece.out if isinstance(r, Affine)]
    return tuple(Affine(tuple(r.coefficients[k] for k in kept), r.constant) for r in rows)


def _kept_domain(piece: Comprehension, kept: Sequence[int]) -> Domain:
    return Domain(tuple(piece.domain.extents[k] for k in kept))


def covers(node: Node) -> bool:
    """Whether the pieces certainly write every element: they are disjoint, so counting will do."""
    total: ExtentLike = 0
    for piece in (inside(p, node.shape) for p in node.pieces):
        if collides(piece):
            return False
        kept = out_indices(piece.out)
        if any(set(g.uses) <= kept for g in piece.domain.guards):
            return False
        total = total + product(tuple(e for k, e in enumerate(piece.domain.extents) if k in kept))
    return total == product(node.shape)
