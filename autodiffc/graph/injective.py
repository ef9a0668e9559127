"""Whether an address visits no element twice: a sound test that may say no too often."""

from __future__ import annotations

from collections.abc import Sequence

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Domain


def is_injective(rows: Sequence[Affine], domain: Domain) -> bool:
    """True only if distinct points of the domain's box have distinct rows.

    Each row settles the indices that it alone tells apart: with the settled indices known, a row
    `c0*i0 + c1*i1 + …` is a mixed-radix number if each coefficient exceeds the reach of the
    smaller ones.
    """
    relevant = {k for k, e in enumerate(domain.extents) if e != 1}
    settled: set[int] = set()
    progress = True
    while progress:
        progress = False
        for row in rows:
            unknown = [k for k in row.uses if k in relevant and k not in settled]
            if unknown and _is_mixed_radix(row, unknown, domain):
                settled.update(unknown)
                progress = True
    return relevant <= settled


def _is_mixed_radix(row: Affine, unknown: Sequence[int], domain: Domain) -> bool:
    reach = 0  # the greatest difference that the smaller digits can make
    ordered = sorted(unknown, key=lambda k: abs(row.coefficients[k]))
    for position, k in enumerate(ordered):
        step, extent = abs(row.coefficients[k]), domain.extents[k]
        if step <= reach:
            return False
        if not isinstance(extent, int):
            return position == len(ordered) - 1
        reach += step * (extent - 1)
    return True
