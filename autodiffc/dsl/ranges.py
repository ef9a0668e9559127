"""Proofs that affine expressions stay within bounds.

A read is safe where its subscript is at least 0 and less than the axis' extent for every value
that the loop indices take, guards respected. To prove `goal >= 0` we assume `goal <= -1` and
eliminate one variable after the other (Fourier and Motzkin's method over the rationals): a
contradiction means that no integer point violates the goal. Variables are the loop indices and,
for symbolic extents, the named dims; a floor division `q = n // d` takes part through
`d*q <= n <= d*q + d - 1`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence

from autodiffc.dsl.elements import Index, IndexExpression
from autodiffc.graph.extents import Dim, Extent, ExtentLike, FloorDiv, Monomial

Linear = dict[Hashable, int]  # variable -> coefficient; the key None holds the constant

_LIMIT = 4000  # constraints; beyond it a proof is given up, and the user asked for extents


def proves(
    goal: IndexExpression,
    extents: Mapping[Index, ExtentLike],
    guards: Sequence[IndexExpression] = (),
) -> bool:
    """Whether `goal >= 0` wherever indices are within their extents and the guards hold."""
    low = lower_bound(goal, extents)
    if isinstance(low, int) and low >= 0:
        return True
    if isinstance(low, int) and not guards:
        return _no_points(goal.indices, extents)
    constraints = [_linear(goal.times(-1).plus(IndexExpression({}, -1)))]
    constraints += [_linear(guard) for guard in _related(goal, guards)]
    indices = {i: None for c in constraints for i in c if isinstance(i, Index)}
    for index in indices:
        constraints.append({index: 1, None: 0})
        constraints.append(_linear(IndexExpression({index: -1}, extents[index] - 1)))
    return _contradictory([*constraints, *_extent_facts(constraints)])


def bounds(
    expression: IndexExpression, extents: Mapping[Index, ExtentLike]
) -> tuple[ExtentLike, ExtentLike]:
    """The least and the greatest value within the box of the extents."""
    return lower_bound(expression, extents), -lower_bound(expression.times(-1), extents)


def lower_bound(expression: IndexExpression, extents: Mapping[Index, ExtentLike]) -> ExtentLike:
    """The least value within the box of the extents."""
    low = expression.constant
    for index, coefficient in expression.terms.items():
        if coefficient < 0:
            low = low + (extents[index] - 1) * coefficient
    return low


def _no_points(indices: Iterable[Index], extents: Mapping[Index, ExtentLike]) -> bool:
    return any(extents[index] == 0 for index in indices)


def _related(goal: IndexExpression, guards: Sequence[IndexExpression]) -> list[IndexExpression]:
    """The guards that speak of the goal's indices, directly or through one another."""
    indices = set(goal.terms)
    chosen: dict[int, IndexExpression] = {}
    for _ in guards:
        for k, guard in enumerate(guards):
            if not guard.terms or indices & guard.terms.keys():
                chosen[k] = guard
                indices |= guard.terms.keys()
    return [chosen[k] for k in sorted(chosen)]


# --- Extents as linear forms ---


def _linear(expression: IndexExpression) -> Linear:
    form: Linear = {None: 0}
    form.update(expression.terms.items())
    constant = expression.constant
    for monomial, coefficient in constant.terms if isinstance(constant, Extent) else ():
        key: Hashable = monomial if monomial else None
        form[key] = form.get(key, 0) + coefficient
    if isinstance(constant, int):
        form[None] += constant
    return form


def _extent_facts(constraints: Sequence[Linear]) -> list[Linear]:
    """What is known of the dims and floor divisions that the constraints mention."""
    facts: list[Linear] = []
    pending = [v for c in constraints for v in c if isinstance(v, tuple)]
    done: set[Monomial] = set()
    while pending:
        monomial: Monomial = pending.pop()
        if monomial in done:
            continue
        done.add(monomial)
        if all(isinstance(atom, Dim) for atom in monomial):
            facts.append({monomial: 1, None: -1})
        elif len(monomial) == 1 and isinstance(monomial[0], FloorDiv):
            atom = monomial[0]
            numerator = _linear(IndexExpression({}, atom.numerator))
            remainder = {**numerator, monomial: -atom.divisor}
            facts.append(remainder)
            flipped = {v: -c for v, c in remainder.items()}
            facts.append({**flipped, None: flipped[None] + atom.divisor - 1})
            pending += [v for v in numerator if isinstance(v, tuple)]
    return facts


# --- Elimination ---


def _contradictory(constraints: Iterable[Linear]) -> bool:
    """Whether no point satisfies `form >= 0` for all of the forms."""
    system = _tidy(constraints)
    while system is not None:
        variables = {v for form in system for v in form if v is not None}
        if not variables or len(system) > _LIMIT:
            return False
        system = _tidy(_eliminate(system, _cheapest(system, variables)))
    return True


def _cheapest(system: Sequence[Linear], variables: Iterable[Hashable]) -> Hashable:
    return min(variables, key=lambda v: _cost(system, v))


def _cost(system: Sequence[Linear], variable: Hashable) -> tuple[int, str]:
    above = sum(form.get(variable, 0) > 0 for form in system)
    below = sum(form.get(variable, 0) < 0 for form in system)
    return above * below - above - below, str(variable)


def _eliminate(system: Sequence[Linear], variable: Hashable) -> list[Linear]:
    """Every pair of a lower and an upper bound of the variable, combined so that it cancels."""
    above = [form for form in system if form.get(variable, 0) > 0]
    below = [form for form in system if form.get(variable, 0) < 0]
    kept = [form for form in system if not form.get(variable)]
    for low in above:
        for high in below:
            a, b = low[variable], -high[variable]
            keys = low.keys() | high.keys()
            kept.append({v: low.get(v, 0) * b + high.get(v, 0) * a for v in keys})
    return kept


def _tidy(constraints: Iterable[Linear]) -> list[Linear] | None:
    """Without zeros, common factors and weaker duplicates; None for a contradiction.

    Dividing by the common factor rounds the constant down, since all variables are integers.
    """
    tightest: dict[frozenset[tuple[Hashable, int]], int] = {}
    for form in constraints:
        terms = {v: c for v, c in form.items() if v is not None and c}
        constant = form.get(None, 0)
        if not terms:
            if constant < 0:
                return None
            continue
        factor = math.gcd(*terms.values())
        key = frozenset((v, c // factor) for v, c in terms.items())
        constant = constant // factor
        tightest[key] = min(tightest.get(key, constant), constant)
    return [{**dict(key), None: constant} for key, constant in tightest.items()]
