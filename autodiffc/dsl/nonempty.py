"""A maximum of nothing has no value: finding elements of max_over and min_over without a point.

The extents give an empty domain away at once. Guards are tried out: those that share reduced
indices form a group, and each group is evaluated at all values of the indices it mentions. Dims
take their defaults there; a range that is empty for other values is the same mistake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autodiffc.dsl.elements import Element, Index, IndexExpression, Reduction
from autodiffc.dsl.inference import Extents, Guards
from autodiffc.errors import IndexNotationError
from autodiffc.graph.extents import defaults

_MOST_POINTS = 20_000_000


def check_not_empty(element: Element, extents: Extents, guards: Guards = ()) -> None:
    """Raises an error for the first max_over or min_over with an element without a point."""
    if isinstance(element, Reduction):
        guards = (*guards, *element.guards)
        if element.combine in ("max", "min"):
            _check(element, extents, guards)
    for part in element.parts:
        check_not_empty(part, extents, guards)


def _check(reduction: Reduction, extents: Extents, guards: Guards) -> None:
    for index in reduction.indices:
        if defaults(extents[index]) <= 0:
            raise _empty(reduction, f"index {index.name} has extent {extents[index]}")
    for group in _groups(reduction.guards, reduction.indices):
        point = _outer_point_without(group, reduction, extents, guards)
        if point is not None:
            raise _empty(reduction, f"no point satisfies where= at {point}")


def _groups(guards: Guards, reduced: Sequence[Index]) -> list[list[IndexExpression]]:
    """The guards, those together that share reduced indices."""
    groups: list[tuple[set[Index], list[IndexExpression]]] = []
    for guard in guards:
        mine = guard.terms.keys() & set(reduced)
        touching = [g for g in groups if g[0] & mine]
        groups = [g for g in groups if not g[0] & mine]
        indices = mine.union(*(g[0] for g in touching))
        groups.append((indices, [*(x for g in touching for x in g[1]), guard]))
    return [group for _, group in groups]


def _outer_point_without(
    group: list[IndexExpression], reduction: Reduction, extents: Extents, guards: Guards
) -> str | None:
    """Values of the outer indices at which no reduced point satisfies the group, as text."""
    mentioned = list({i: None for guard in group for i in guard.terms})
    reduced = [i for i in mentioned if i in set(reduction.indices)]
    outer = [i for i in mentioned if i not in set(reduction.indices)]
    axes = [*outer, *reduced]
    lengths = [defaults(extents[i]) for i in axes]
    if math.prod(lengths) > _MOST_POINTS:
        return None
    grids = dict(zip(axes, np.ogrid[tuple(slice(n) for n in lengths)], strict=True))
    satisfied = _all_hold(group, grids, lengths).any(axis=tuple(range(len(outer), len(axes))))
    allowed = [g for g in guards if g.terms.keys() <= set(outer)]
    at_first = tuple([slice(None)] * len(outer) + [slice(0, 1)] * len(reduced))
    wanted = _all_hold(allowed, grids, lengths)[at_first].reshape(satisfied.shape)
    missing = np.argwhere(np.atleast_1d(wanted & ~satisfied))
    if not len(missing):
        return None
    return ", ".join(f"{i.name} = {v}" for i, v in zip(outer, missing[0], strict=False)) or "all"


def _all_hold(
    guards: Sequence[IndexExpression], grids: dict[Index, np.ndarray], lengths: list[int]
) -> np.ndarray:
    result = np.ones(lengths, bool)
    for guard in guards:
        value = sum((grids[i] * c for i, c in guard.terms.items()), np.zeros((), int))
        result = result & (value + defaults(guard.constant) >= 0)
    return result


def _empty(reduction: Reduction, found: str) -> IndexNotationError:
    return IndexNotationError(
        f"an empty {reduction.combine}_over has no value",
        found=found,
        expected="at least one point for every element",
        loc=reduction.loc,
    )
