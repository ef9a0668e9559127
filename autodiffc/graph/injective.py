"""Does an address reach every element at most once?

Two points of the domain share an element when every row has the same value at both, that is, when
the *differences* d of their indices solve `sum(c[k] * d[k]) == 0` for each row, with
`|d[k]| <= extent[k] - 1`. The address is injective when only d = 0 does. Two sufficient tests are
tried, in turn:

    digits   in one row, a coefficient larger than all that the others can move the row forces its
             index to d = 0 (the leading digit of `10*i + j`, j < 10); what is forced drops out
    rank     what is left forces d = 0 where the rows' coefficients have full column rank

So `True` is certain, and `False` means "not known to be". Guards only take points away and
indirect rows only tell points apart, so leaving both out is safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Domain, Row
from autodiffc.graph.extents import ExtentLike


def is_injective(rows: Sequence[Row], domain: Domain, indices: Sequence[int] | None = None) -> bool:
    """Whether different points of the domain certainly have different addresses.

    `indices` restricts the question to points that differ in these indices alone: for a
    reduction, those that are not reduced.
    """
    if any(extent == 0 for extent in domain.extents):
        return True
    affine = [row.coefficients for row in rows if isinstance(row, Affine)]
    considered = range(domain.rank) if indices is None else indices
    unknown = {k for k in considered if domain.extents[k] != 1}
    while unknown:
        forced = {k for row in affine for k in _leading(row, unknown, domain.extents)}
        if not forced:
            return _rank([[row[k] for k in sorted(unknown)] for row in affine]) == len(unknown)
        unknown -= forced
    return True


def _leading(row: Sequence[int], unknown: set[int], extents: Sequence[ExtentLike]) -> list[int]:
    """The index whose step in this row is larger than all that the other unknown ones can move."""
    used = [k for k in unknown if row[k]]
    if not used:
        return []
    largest = max(used, key=lambda k: abs(row[k]))
    reach = 0
    for k in used:
        if k != largest:
            extent = extents[k]
            if not isinstance(extent, int):
                return []
            reach += abs(row[k]) * (extent - 1)
    return [largest] if abs(row[largest]) > reach else []


def _rank(matrix: Sequence[Sequence[int]]) -> int:
    """The rank of an integer matrix, by exact elimination."""
    rows = [[Fraction(x) for x in row] for row in matrix]
    rank = 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for r in range(rank + 1, len(rows)):
            factor = rows[r][column] / rows[rank][column]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[rank], strict=True)]
        rank += 1
    return rank
