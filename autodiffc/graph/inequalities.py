"""What the guards of a domain imply: small proofs about linear inequalities over integers.

A claim such as "this row never leaves its axis" is proved by showing that its opposite, together
with everything that is known, has no solution. Solutions are ruled out by eliminating one variable
after another (Fourier-Motzkin): of two inequalities that bound it from either side, a combination
without it follows. Dividing by common factors and rounding down makes use of integers, so that
`2*i - 1 >= 0` says `i >= 1`. A proof is certain; where none is found, nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Domain
from autodiffc.graph.extents import defaults

Inequality = tuple[tuple[int, ...], int]  # coefficients and constant: their sum is >= 0

MOST = 3000  # inequalities to look at before giving up


def never_negative(claim: Affine, domain: Domain) -> bool:
    """Whether the map is certainly >= 0 at every point of the guarded domain.

    Named dims count with their defaults.
    """
    opposite = (tuple(-c for c in claim.coefficients), -defaults(claim.constant) - 1)
    return not solvable([opposite, *facts(domain)])


def told_apart(rows: Sequence[Affine], domain: Domain) -> bool:
    """Whether different points of the guarded domain certainly differ in some row."""
    rank = domain.rank
    nothing = (0,) * rank
    pairs: list[Inequality] = []
    for coefficients, constant in facts(domain):
        pairs += [((*coefficients, *nothing), constant), ((*nothing, *coefficients), constant)]
    for row in rows:
        difference = (*row.coefficients, *(-c for c in row.coefficients))
        pairs += [(difference, 0), (tuple(-c for c in difference), 0)]
    for k in range(rank):
        larger = [0] * (2 * rank)
        larger[k], larger[rank + k] = 1, -1
        if solvable([(tuple(larger), -1), *pairs]):
            return False
    return True


def may_have_points(domain: Domain) -> bool:
    """False only where the guards leave nothing of the box."""
    return solvable(facts(domain))


def facts(domain: Domain) -> list[Inequality]:
    """The box and the guards."""
    found: list[Inequality] = []
    for k, extent in enumerate(domain.extents):
        index = tuple(int(j == k) for j in range(domain.rank))
        found += [(index, 0), (tuple(-c for c in index), defaults(extent) - 1)]
    return found + [(g.coefficients, defaults(g.constant)) for g in domain.guards]


def solvable(inequalities: Iterable[Inequality]) -> bool:
    """False only where no integers satisfy all of them."""
    system = _tightened(inequalities)
    while system:
        if any(constant < 0 and not any(row) for row, constant in system):
            return False
        system = {q for q in system if any(q[0])}
        if not system:
            return True
        variable = _cheapest(system)
        system = _tightened(_eliminated(system, variable))
        if len(system) > MOST:
            return True
    return True


def _tightened(inequalities: Iterable[Inequality]) -> set[Inequality]:
    """Without common factors; of those with equal coefficients, the strongest."""
    strongest: dict[tuple[int, ...], int] = {}
    for row, constant in inequalities:
        factor = math.gcd(*row)
        if factor > 1:
            row, constant = tuple(c // factor for c in row), constant // factor
        strongest[row] = min(constant, strongest.get(row, constant))
    return set(strongest.items())


def _cheapest(system: set[Inequality]) -> int:
    """The variable whose elimination leaves the fewest inequalities."""

    def cost(k: int) -> tuple[int, int]:
        lower = sum(row[k] > 0 for row, _ in system)
        upper = sum(row[k] < 0 for row, _ in system)
        return lower * upper - lower - upper, k

    return min((k for k in range(len(next(iter(system))[0])) if _occurs(system, k)), key=cost)


def _occurs(system: set[Inequality], k: int) -> bool:
    return any(row[k] for row, _ in system)


def _eliminated(system: set[Inequality], k: int) -> Iterable[Inequality]:
    lower = [q for q in system if q[0][k] > 0]
    upper = [q for q in system if q[0][k] < 0]
    yield from (q for q in system if not q[0][k])
    for low, low_constant in lower:
        for high, high_constant in upper:
            a, b = -high[k], low[k]
            row = tuple(a * x + b * y for x, y in zip(low, high, strict=True))
            yield row, a * low_constant + b * high_constant
