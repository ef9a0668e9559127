"""Whether two formulas of one node write the same element, which would leave its value to chance.

What a formula writes is given as the rows of its output over a domain. Most pairs are told apart by
the ranges of a row (the parts of a concatenation) or by a proof (the residues of a gathered
gradient). For what is left the elements are listed and compared, up to `MOST_POINTS` points a
formula; larger ones count as apart, since nothing is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Domain, out_indices
from autodiffc.graph.extents import Extent, defaults
from autodiffc.graph.inequalities import Ranges, disjoint

MOST_POINTS = 200_000


@dataclass(frozen=True)
class Written:
    """The elements `rows` of all points of a guarded domain."""

    rows: tuple[Affine, ...]
    domain: Domain


def shared_element(a: Written, b: Written, ranges: Ranges) -> tuple[int, ...] | None:
    """An element that both write; None where there is none, or none is known.

    Proofs hold for all values of open dims; elements are listed for their defaults.
    """
    if _far_apart(a, b):
        return None
    for one, other in ((_outline(a), _outline(b)), (a, b)):
        if disjoint(one.rows, one.domain, other.rows, other.domain, ranges):
            return None
    if max(_size(a.domain), _size(b.domain)) > MOST_POINTS:
        return None
    shared = sorted(_elements(a) & _elements(b))
    return shared[0] if shared else None


def _far_apart(a: Written, b: Written) -> bool:
    """Whether a row of one ends before the other's begins."""
    for row, other in zip(a.rows, b.rows, strict=True):
        low, high = row.bounds(a.domain.extents)
        other_low, other_high = other.bounds(b.domain.extents)
        gaps = (other_low - high, low - other_high)
        if any(not isinstance(gap, Extent) and gap > 0 for gap in gaps):
            return True
    return False


def _outline(written: Written) -> Written:
    """Without reduced indices and what guards say of them: more points, never fewer."""
    kept = out_indices(written.rows)
    domain = written.domain
    extents = tuple(e if k in kept else 1 for k, e in enumerate(domain.extents))
    guards = tuple(g for g in domain.guards if set(g.uses) <= kept)
    return replace(written, domain=Domain(extents, guards, domain.names))


def _size(domain: Domain) -> int:
    return math.prod(map(defaults, domain.extents))


def _elements(written: Written) -> set[tuple[int, ...]]:
    points = np.indices([defaults(e) for e in written.domain.extents]).reshape(
        written.domain.rank, _size(written.domain)
    )
    for guard in written.domain.guards:
        points = points[:, _values(guard, points) >= 0]
    count = points.shape[1]
    rows = [np.broadcast_to(_values(row, points), count).tolist() for row in written.rows]
    return set(zip(*rows, strict=True)) if rows else {()} if count else set()


def _values(affine: Affine, points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    total = np.array(affine.coefficients, np.int64) @ points
    return np.asarray(total + defaults(affine.constant))
