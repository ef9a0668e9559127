"""What the guards of a domain imply: small proofs about linear inequalities over integers.

A claim such as "this row never leaves its axis" is proved by showing that its opposite, together
with everything that is known, has no solution. Solutions are ruled out by eliminating one variable
after another (Fourier-Motzkin): of two inequalities that bound it from either side, a combination
without it follows. Dividing by common factors and rounding down makes use of integers, so that
`2*i - 1 >= 0` says `i >= 1`. A proof is certain; where none is found, nothing is known.

Dims that are open are variables like the indices, so a proof holds for every value in their
ranges. To look at the two ends of a range would not do: with guards, the least value of a row
need not be at an end. Products of dims and floor divisions count as variables of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from autodiffc.graph.affine import Affine, index
from autodiffc.graph.comprehension import Domain
from autodiffc.graph.extents import Dim, Extent, ExtentLike, FloorDiv, Monomial, substitute

Inequality = tuple[tuple[int, ...], int]  # coefficients and constant: their sum is >= 0
System = dict[tuple[int, ...], int]  # the constant for each row of coefficients
Ranges = Mapping[str, tuple[int, int | None]]  # the least and greatest value of a dim, by name

MOST = 500  # inequalities to look at before giving up
ANY_SIZE: Ranges = {}  # dims that are not in the ranges are at least 1


def never_negative(claim: Affine, domain: Domain, ranges: Ranges = ANY_SIZE) -> bool:
    """Whether the map is certainly >= 0 at every point of the guarded domain."""
    return not solvable(known([-claim - 1, *facts(domain)], ranges))


def told_apart(rows: Sequence[Affine], domain: Domain, ranges: Ranges = ANY_SIZE) -> bool:
    """Whether different points of the guarded domain certainly differ in some row."""
    rank = domain.rank
    both = [twin for fact in facts(domain) for twin in (_first(fact, rank), _second(rank, fact))]
    for row in rows:
        difference = _first(row, rank) - _second(rank, row)
        both += [difference, -difference]
    larger = [index(2 * rank, k) - index(2 * rank, rank + k) - 1 for k in range(rank)]
    return not any(solvable(known([claim, *both], ranges)) for claim in larger)


def disjoint(
    rows: Sequence[Affine],
    domain: Domain,
    other_rows: Sequence[Affine],
    other: Domain,
    ranges: Ranges = ANY_SIZE,
) -> bool:
    """Whether no point of one domain certainly has the same rows as a point of the other."""
    forms = [_first(fact, other.rank) for fact in facts(domain)]
    forms += [_second(domain.rank, fact) for fact in facts(other)]
    for row, other_row in zip(rows, other_rows, strict=True):
        difference = _first(row, other.rank) - _second(domain.rank, other_row)
        forms += [difference, -difference]
    return not solvable(known(forms, ranges))


def may_have_points(domain: Domain, ranges: Ranges = ANY_SIZE) -> bool:
    """False only where the guards leave nothing of the box."""
    return solvable(known(facts(domain), ranges))


def facts(domain: Domain) -> list[Affine]:
    """The box and the guards, as maps that are >= 0."""
    found: list[Affine] = []
    for k, extent in enumerate(domain.extents):
        found += [index(domain.rank, k), -index(domain.rank, k) + (extent - 1)]
    return [*found, *domain.guards]


def _first(affine: Affine, more: int) -> Affine:
    """The map over the indices of two domains, of which the first is its own."""
    return Affine((*affine.coefficients, *[0] * more), affine.constant)


def _second(before: int, affine: Affine) -> Affine:
    return Affine((*[0] * before, *affine.coefficients), affine.constant)


# --- Dims as variables ---


def known(forms: Sequence[Affine], ranges: Ranges) -> list[Inequality]:
    """Maps that are >= 0 as inequalities over their indices and dims, with the dims' ranges."""
    fixed = {name: low for name, (low, high) in ranges.items() if low == high}
    forms = [Affine(f.coefficients, substitute(f.constant, fixed)) for f in forms]
    monomials: dict[Monomial, None] = {}
    for form in forms:
        _collect(form.constant, monomials)
    if not monomials:
        return [(f.coefficients, f.constant) for f in forms if isinstance(f.constant, int)]
    rank = len(forms[0].coefficients)
    every = [*forms, *(Affine((0,) * rank, e) for e in _about_dims(monomials, ranges))]
    return [_inequality(form, list(monomials)) for form in every]


def _collect(extent: ExtentLike, found: dict[Monomial, None]) -> None:
    """Every product of dims and floor divisions in an extent, those inside divisions too."""
    for monomial, _ in extent.terms if isinstance(extent, Extent) else ():
        if monomial and monomial not in found:
            found[monomial] = None
            for atom in monomial:
                if isinstance(atom, FloorDiv):
                    _collect(atom.numerator, found)


def _inequality(form: Affine, monomials: Sequence[Monomial]) -> Inequality:
    constant = form.constant
    terms: dict[Monomial, int] = (
        dict(constant.terms) if isinstance(constant, Extent) else {(): constant}
    )
    return (*form.coefficients, *(terms.get(m, 0) for m in monomials)), terms.get((), 0)


def _about_dims(monomials: Iterable[Monomial], ranges: Ranges) -> list[ExtentLike]:
    """What is known of the dims: extents that are >= 0."""
    found: list[ExtentLike] = []
    for monomial in monomials:
        value = Extent(((monomial, 1),))
        dims = [ranges.get(a.name, (1, None)) for a in monomial if isinstance(a, Dim)]
        if len(dims) == len(monomial):
            found.append(value - math.prod(low for low, _ in dims))
            highs = [high for _, high in dims if high is not None]
            found += [math.prod(highs) - value] if len(highs) == len(dims) else []
        elif len(monomial) == 1 and isinstance(monomial[0], FloorDiv):
            rest = monomial[0].numerator - value * monomial[0].divisor
            found += [rest, -rest + (monomial[0].divisor - 1)]
    return found


# --- Elimination ---


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
