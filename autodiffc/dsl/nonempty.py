"""A maximum of nothing has no value: refusing max_over and min_over without a point somewhere.

Guards, and other conditions on indices alone, are decided here, by the proofs and trials of
`graph.nonempty`; dims take their defaults (a build with other values looks again). The conditions
of a reduction itself say which points it has; those around it say which of its elements anybody
asks for. What depends on data cannot be decided before it is there: an element for which such a
condition never holds is the combiner's identity, -inf for a maximum of floats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from autodiffc.dsl.elements import (
    Apply,
    Convert,
    Element,
    Index,
    IndexExpression,
    Number,
    Reduction,
    free_indices,
    walk,
)
from autodiffc.dsl.inference import Extents, Guards
from autodiffc.errors import IndexNotationError
from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Domain
from autodiffc.graph.extents import ExtentLike, defaults, dims_of
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.nonempty import Condition, Empty, Grids, Predicate, Undecided, first_empty

Array = np.ndarray[Any, Any]


def check_not_empty(element: Element, extents: Extents, guards: Guards = ()) -> None:
    """Raises an error for the first max_over or min_over with an element without a point."""
    for reduction, around in _searches(element, guards):
        for index in reduction.indices:
            if defaults(extents[index]) <= 0:
                raise _empty(reduction, f"index {index.name} has extent {extents[index]}")
        search = _Search(reduction, extents, around)
        try:
            empty = search.first_empty()
        except Undecided:
            raise _undecided(reduction) from None
        if empty is not None:
            raise _empty(reduction, search.text(empty))


def may_be_empty(element: Element, extents: Extents) -> bool:
    """Whether a max_over or min_over in it has an element without a point, or might have one."""
    try:
        check_not_empty(element, extents)
    except IndexNotationError:
        return True
    return False


def _searches(element: Element, guards: Guards) -> Iterator[tuple[Reduction, Guards]]:
    """Every maximum and minimum in a formula, and the guards around it."""
    if isinstance(element, Reduction):
        if element.combine in ("max", "min"):
            yield element, guards
        guards = (*guards, *element.guards)
    for part in element.parts:
        yield from _searches(part, guards)


class _Search:
    """A reduction as a problem of `graph.nonempty`: its indices by position."""

    def __init__(self, reduction: Reduction, extents: Extents, around: Guards) -> None:
        self.reduction, self.extents = reduction, extents
        self.tests = [] if reduction.condition is None else list(_index_tests(reduction.condition))
        mentioned = [i for e in (*around, *reduction.guards, *self.tests) for i in free_indices(e)]
        self.axes = list(dict.fromkeys([*mentioned, *reduction.indices]))
        self.position = {index: k for k, index in enumerate(self.axes)}
        self.around = around

    def first_empty(self) -> Empty | None:
        lengths = tuple(defaults(self.extents[i]) for i in self.axes)
        domain = Domain(lengths, tuple(map(self.affine, self.around)))
        reduced = set(self.reduction.indices)  # not a tuple: `==` makes an element
        kept = [k for k, index in enumerate(self.axes) if index not in reduced]
        conditions: list[Condition] = [self.affine(g) for g in self.reduction.guards]
        return first_empty(domain, kept, [*conditions, *map(self.predicate, self.tests)])

    def affine(self, expression: IndexExpression) -> Affine:
        coefficients = tuple(expression.terms.get(i, 0) for i in self.axes)
        return Affine(coefficients, defaults(expression.constant))

    def predicate(self, test: Element) -> Predicate:
        uses = tuple(self.position[i] for i in free_indices(test))

        def holds(grids: Grids) -> Array:
            return _value(test, dict(zip(self.axes, grids, strict=True)))

        return Predicate(uses, holds)

    def text(self, empty: Empty) -> str:
        """Which points there are none of, and for which element."""
        names = ", ".join(i.name for i in self.reduction.indices)
        conditions = [f"{g} >= 0" for g in self.reduction.guards] + [str(t) for t in self.tests]
        place = ", ".join(f"{self.axes[k].name} = {value}" for k, value in empty.point.items())
        sizes = ", ".join(f"{name} = {value}" for name, value in self.dims().items())
        found = f"at {place} no {names} satisfies " if place else f"no {names} satisfies "
        return found + " and ".join(conditions) + (f", where {sizes}" if sizes else "")

    def dims(self) -> Mapping[str, int]:
        """The dims that the conditions or the ranges of their indices depend on."""
        sizes: list[ExtentLike] = [self.extents[i] for i in self.axes]
        sizes += [g.constant for g in (*self.around, *self.reduction.guards)]
        for part in (e for test in self.tests for e in walk(test)):
            sizes += [part.constant] if isinstance(part, IndexExpression) else []
        return {d.name: d.default for d in sorted(dims_of(tuple(sizes)))}


# --- Conditions that are not affine ---


def _index_tests(condition: Element) -> Iterator[Element]:
    """The parts of a conjunction that depend on indices alone."""
    if isinstance(condition, Apply) and condition.function == "and":
        for arg in condition.args:
            yield from _index_tests(arg)
    elif all(isinstance(e, IndexExpression | Number | Apply | Convert) for e in walk(condition)):
        yield condition


def _value(element: Element, grids: Mapping[Index, Array]) -> Array:
    """The values of an element without data."""
    if isinstance(element, IndexExpression):
        terms = [grids[i] * c for i, c in element.terms.items()]
        return np.asarray(sum(terms, np.asarray(defaults(element.constant))))
    if isinstance(element, Number):
        return np.asarray(element.value)
    args: Sequence[Array] = [_value(part, grids) for part in element.parts]
    if isinstance(element, Convert):
        return args[0].astype("float64" if element.target == "real" else element.target)
    assert isinstance(element, Apply)
    return np.asarray(FUNCTIONS[element.function].reference(*args))


# --- Messages ---


def _empty(reduction: Reduction, found: str) -> IndexNotationError:
    over = f"{reduction.combine}_over"
    return IndexNotationError(
        f"an empty {over} has no value",
        found=found,
        expected="at least one point for every element",
        help=f"widen where=; or choose a value for what it leaves out, ad.{over}(..., ad.where("
        "condition, element, value)); or leave the element out, ad.compute(..., where=...)",
        loc=reduction.loc,
    )


def _undecided(reduction: Reduction) -> IndexNotationError:
    over = f"{reduction.combine}_over"
    return IndexNotationError(
        f"whether each element of this {over} has a point takes too long to find out",
        found=" and ".join(f"{g} >= 0" for g in reduction.guards) or str(reduction.condition),
        expected="conditions that bound each index from either side, such as (0 <= k) & (k < i)",
        help=f"or choose a value for what they leave out: ad.{over}(..., "
        "ad.where(condition, element, value))",
        loc=reduction.loc,
    )
