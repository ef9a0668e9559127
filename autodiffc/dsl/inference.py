"""How far each index runs: the extents of a formula in index notation.

An index that stands alone on an axis has that axis' extent. Any other index gets the largest extent
that keeps every unguarded read inside, computed once the other indices of those reads are known.
What `extents=` gives is taken as it is. Whatever the way, every read is then proved to be in range.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autodiffc.dsl.elements import (
    Element,
    Index,
    IndexExpression,
    Read,
    Reduction,
    tensor_text,
)
from autodiffc.dsl.ranges import bounds, lower_bound, proves
from autodiffc.errors import IndexNotationError, SourceLocation
from autodiffc.graph.construct import same_extent
from autodiffc.graph.extents import ExtentLike, difference

Extents = dict[Index, ExtentLike]
Guards = tuple[IndexExpression, ...]


@dataclass(frozen=True)
class Use:
    """An affine subscript on one axis of a read, and the guards under which it is read."""

    read: Read
    axis: int
    subscript: IndexExpression
    guards: Guards

    @property
    def extent(self) -> ExtentLike:
        extent: ExtentLike = self.read.node.shape[self.axis]
        return extent

    @property
    def is_guarded(self) -> bool:
        """Whether a guard speaks of an index of this subscript."""
        return any(guard.terms.keys() & self.subscript.terms.keys() for guard in self.guards)


def uses(element: Element, guards: Guards = ()) -> Iterator[Use]:
    """Every affine subscript in a formula."""
    if isinstance(element, Read):
        for axis, subscript in enumerate(element.subscripts):
            if isinstance(subscript, IndexExpression):
                yield Use(element, axis, subscript, guards)
    if isinstance(element, Reduction):
        guards = (*guards, *element.guards)
    for part in element.parts:
        yield from uses(part, guards)


def infer_extents(
    indices: Iterable[Index],
    all_uses: Sequence[Use],
    given: Mapping[Index, ExtentLike],
    loc: SourceLocation | None,
) -> Extents:
    """The extent of every index; `given` is keyed by the indices the user made."""
    wanted = list(indices)
    extents: Extents = {i: given[i.origin] for i in wanted if i.origin in given}
    _take_whole_axes(extents, all_uses, given)
    unknown = {i: None for i in wanted if i not in extents}
    while unknown:
        ready = [i for i in unknown if _is_determined(i, unknown, all_uses)]
        if not ready:
            raise _ambiguous(unknown, all_uses, loc)
        found = {i: _largest(i, all_uses, extents, loc) for i in ready}
        extents |= found
        unknown = {i: None for i in unknown if i not in found}
    return extents


def check_reads(all_uses: Iterable[Use], extents: Extents) -> None:
    """Raises an error for the first read that may leave its tensor."""
    for use in all_uses:
        if not is_in_range(use, extents):
            raise _out_of_range(use, extents)


def is_in_range(use: Use, extents: Extents) -> bool:
    below = IndexExpression({}, use.extent - 1).plus(use.subscript, -1)
    return proves(use.subscript, extents, use.guards) and proves(below, extents, use.guards)


# --- The two rules ---


def _take_whole_axes(
    extents: Extents, all_uses: Sequence[Use], given: Mapping[Index, ExtentLike]
) -> None:
    first: dict[Index, Use] = {}
    for use in all_uses:
        index = use.subscript.plain
        if index is None or index.origin in given:
            continue
        earlier = first.setdefault(index, use)
        if not same_extent(earlier.extent, use.extent):
            raise IndexNotationError(
                f"index {index.name} would have two extents",
                found=f"{use.extent} from {use.read}, but {earlier.extent} from {earlier.read}",
                expected="the same extent on every axis where the index stands alone",
                help=f"give the extent: extents={{{index.name}: ...}}",
                loc=use.read.loc,
            )
        extents[index] = use.extent


def _limits(index: Index, all_uses: Sequence[Use]) -> list[Use]:
    """The reads that limit an index: the unguarded ones."""
    return [u for u in all_uses if index in u.subscript.terms and not u.is_guarded]


def _is_determined(index: Index, unknown: Mapping[Index, None], all_uses: Sequence[Use]) -> bool:
    limits = _limits(index, all_uses)
    others = {i for use in limits for i in use.subscript.terms if i is not index}
    return bool(limits) and not others & unknown.keys()


def _largest(
    index: Index, all_uses: Sequence[Use], extents: Extents, loc: SourceLocation | None
) -> ExtentLike:
    """The largest extent at which every limiting read stays inside."""
    best: tuple[ExtentLike, Use] | None = None
    for use in _limits(index, all_uses):
        coefficient = use.subscript.terms[index]
        rest = use.subscript.plus(IndexExpression({index: coefficient}), -1)
        low, high = bounds(rest, extents)
        room = use.extent - 1 - high if coefficient > 0 else low
        candidate = room // abs(coefficient) + 1
        if isinstance(candidate, int) and candidate < 1:
            raise _no_room(index, use, extents)
        if best is None or _is_smaller(candidate, best[0], index, loc):
            best = (candidate, use)
    assert best is not None
    return best[0]


def _is_smaller(a: ExtentLike, b: ExtentLike, index: Index, loc: SourceLocation | None) -> bool:
    gap = difference(a, b)
    if gap is not None:
        return gap < 0
    if proves(IndexExpression({}, a - b), {}):
        return False
    if proves(IndexExpression({}, b - a), {}):
        return True
    raise IndexNotationError(
        f"the extent of index {index.name} is ambiguous",
        found=f"the smaller of {a} and {b}, which depends on the dims",
        expected=f"extents={{{index.name}: ...}}",
        loc=loc,
    )


# --- Errors ---


def _ambiguous(
    unknown: Mapping[Index, None], all_uses: Sequence[Use], loc: SourceLocation | None
) -> IndexNotationError:
    index = next((i for i in unknown if not _limits(i, all_uses)), next(iter(unknown)))
    mentions = [u for u in all_uses if index in u.subscript.terms]
    if not mentions:
        found = f"no subscript uses {index.name}"
    elif not _limits(index, all_uses):
        found = f"{index.name} is read only under a guard: {mentions[0].read}"
    else:
        names = " and ".join(i.name for i in unknown)
        found = f"{mentions[0].read}, where {names} could share the axis in many ways"
    return IndexNotationError(
        f"the extent of index {index.name} is ambiguous",
        found=found,
        expected=f"the extent given: extents={{{index.name}: ...}}",
        help="or let the index stand alone on an axis",
        loc=mentions[0].read.loc if mentions else loc,
    )


def _no_room(index: Index, use: Use, extents: Extents) -> IndexNotationError:
    reach = lower_bound(use.subscript.times(-1), {**extents, index: 1})
    return IndexNotationError(
        f"no value of index {index.name} keeps the subscript {use.subscript} in range",
        found=f"{use.read}: at {index.name} = 0 it reaches {-reach}",
        expected=f"0 to {use.extent - 1} on axis {use.axis} of {tensor_text(use.read.node)}",
        loc=use.read.loc,
    )


def _out_of_range(use: Use, extents: Extents) -> IndexNotationError:
    low, high = bounds(use.subscript, extents)
    span = str(low) if low == high else f"{low} to {high}"
    ranges = ", ".join(f"{i.name} < {extents[i]}" for i in use.subscript.terms)
    return IndexNotationError(
        f"the subscript {use.subscript} is out of range",
        found=f"{use.read}: {span}"
        + (f" ({ranges})" if ranges else "")
        + (", and the guards do not keep it inside" if use.is_guarded else ""),
        expected=f"0 to {use.extent - 1} on axis {use.axis} of {tensor_text(use.read.node)}",
        help="guard the read with where=, or give smaller extents=",
        loc=use.read.loc,
    )
