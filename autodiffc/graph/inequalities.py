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
System = dict[tuple[int, ...], int]  # the constant for each row of coefficients

MOST = 500  # inequalities to look at before giving up


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
    while system and len(system) <= MOST:
        if _contradictory(system):
            return False
        system = {row: constant for row, constant in system.items() if any(row)}
        if system:
            pivot = _equation(system)
            smaller = _substituted(system, *pivot) if pivot else _eliminated(system)
            system = _tightened(smaller)
    return True


def _contradictory(system: System) -> bool:
    """Whether an inequality and its mirror image leave nothing in between."""
    return any(
        constant + system.get(_negated(row), math.inf) < 0 if any(row) else constant < 0
        for row, constant in system.items()
    )


def _tightened(inequalities: Iterable[Inequality]) -> System:
    """Without common factors; of those with equal coefficients, the strongest."""
    strongest: System = {}
    for row, constant in inequalities:
        factor = math.gcd(*row)
        if factor > 1:
            row, constant = tuple(c // factor for c in row), constant // factor
        strongest[row] = min(constant, strongest.get(row, constant))
    return strongest


def _negated(row: Sequence[int]) -> tuple[int, ...]:
    return tuple(-c for c in row)


def _equation(system: System) -> tuple[tuple[int, ...], int] | None:
    """An inequality that holds with equality, and a variable with coefficient 1 in it."""
    for row, constant in system.items():
        if 1 in row and system.get(_negated(row)) == -constant:
            return row, row.index(1)
    return None


def _substituted(system: System, equation: tuple[int, ...], k: int) -> Iterable[Inequality]:
    """Puts the equation's variable k into all the others; nothing is lost, nothing grows."""
    constant = system[equation]
    for row, other in system.items():
        factor = row[k]
        if row not in (equation, _negated(equation)):
            pairs = zip(row, equation, strict=True)
            yield tuple(a - factor * b for a, b in pairs), other - factor * constant


def _eliminated(system: System) -> Iterable[Inequality]:
    """Combines every lower bound of the cheapest variable with every upper bound."""
    k = _cheapest(system)
    lower = [q for q in system.items() if q[0][k] > 0]
    upper = [q for q in system.items() if q[0][k] < 0]
    yield from (q for q in system.items() if not q[0][k])
    for low, low_constant in lower:
        for high, high_constant in upper:
            a, b = -high[k], low[k]
            row = tuple(a * x + b * y for x, y in zip(low, high, strict=True))
            yield row, a * low_constant + b * high_constant


def _cheapest(system: System) -> int:
    """The variable whose elimination leaves the fewest inequalities."""

    def cost(column: tuple[int, ...]) -> int:
        lower, upper = sum(c > 0 for c in column), sum(c < 0 for c in column)
        return lower * upper - lower - upper

    columns = list(zip(*system, strict=True))
    return min(
        (k for k, column in enumerate(columns) if any(column)), key=lambda k: cost(columns[k])
    )
