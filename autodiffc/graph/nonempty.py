"""Which elements of a maximum have nothing to choose from: there is no value to give them.

An element is a point of the kept indices, and needs a point of the reduced ones at which all
conditions hold. Conditions that share no reduced index do not meddle with each other, so they are
looked at in groups, each over the indices it mentions. For a group, in this order:

1. *Proof.* Its reduced indices are eliminated (of two inequalities that bound one from either side,
   what keeps an integer in between, the "dark shadow" of the Omega test). If what is left can be
   proved for every kept point, there is a point everywhere, whatever the extents.
2. *Trial.* The kept points are tried in row-major order, a block at a time, until one is found
   without a point. One reduced index is not tried but solved for: the guards say from where to
   where it goes. Beyond `MOST_POINTS` that is given up with `Undecided`.

Open dims take part in proofs over their whole range. Where there is no proof, both ends of the
range are tried.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiffc.graph.affine import Affine, constant, index
from autodiffc.graph.comprehension import Domain
from autodiffc.graph.extents import defaults, dims_of, substitute
from autodiffc.graph.inequalities import ANY_SIZE, Ranges, never_negative

Array = np.ndarray[Any, Any]
Grids = Sequence[Array]  # the values of every index, in arrays that broadcast to the block tried

MOST_POINTS = 100_000_000
_BLOCK = 1_000_000
_MOST_INEQUALITIES = 200


@dataclass(frozen=True)
class Predicate:
    """A condition on indices that is not affine: which it uses, and where it holds."""

    uses: tuple[int, ...]
    holds: Callable[[Grids], Array]


Condition = Affine | Predicate  # an affine one holds where it is >= 0


@dataclass(frozen=True)
class Empty:
    """The first element without a point: values of the kept indices that matter, and the dims."""

    point: dict[int, int]
    conditions: tuple[Condition, ...]
    dims: dict[str, int]


class Undecided(Exception):
    """Neither proved nor tried: too many points."""


def first_empty(
    domain: Domain,
    kept: Iterable[int],
    conditions: Sequence[Condition] = (),
    ranges: Ranges = ANY_SIZE,
) -> Empty | None:
    """The first kept point at which nothing satisfies the conditions; None if there is none.

    The domain's guards, on kept indices alone, say which elements matter; the conditions say
    which points do. Raises `Undecided` where that takes too long to find out.
    """
    problem = _Problem(domain, tuple(kept), ranges)
    mentioned = {k for c in conditions for k in c.uses}
    free = [domain.extents[k] for k in problem.reduced if k not in mentioned]
    conditions = [*conditions, *(constant(domain.rank, extent - 1) for extent in free)]
    unproved = [g for g in _groups(conditions, problem.reduced) if not problem.proves(g)]
    for dims in _ends(domain, conditions, ranges) if unproved else ():
        fixed = problem.at(dims)
        found = [e for g in unproved if (e := fixed.tried(_fixed(g, dims), dims))]
        if found:
            return min(found, key=lambda e: [e.point.get(k, 0) for k in problem.kept])
    return None


def _groups(conditions: Sequence[Condition], reduced: Iterable[int]) -> list[list[Condition]]:
    """The conditions, those together that share reduced indices."""
    groups: list[tuple[set[int], list[Condition]]] = []
    for condition in conditions:
        mine = set(condition.uses) & set(reduced)
        touching = [g for g in groups if g[0] & mine]
        groups = [g for g in groups if not g[0] & mine]
        merged = mine.union(*(g[0] for g in touching))
        groups.append((merged, [*(c for g in touching for c in g[1]), condition]))
    return [group for _, group in groups]


def _ends(
    domain: Domain, conditions: Sequence[Condition], ranges: Ranges
) -> Iterator[dict[str, int]]:
    """The least and the greatest values of the open dims; the default where there is no greatest.

    That decides ranges whose guards bound an index from each side by one affine map: the room in
    between is affine in a dim, and so is its least value over a box.
    """
    maps = [*domain.guards, *(c for c in conditions if isinstance(c, Affine))]
    dims = sorted(dims_of((*domain.extents, *(m.constant for m in maps))))
    values = [(d.name, ranges.get(d.name, (1, None)), d.default) for d in dims]
    ends = [
        [(name, low), (name, max(default, low) if high is None else high)]
        for name, (low, high), default in values
    ]
    yield from map(dict, dict.fromkeys(itertools.product(*ends)))


def _fixed(conditions: Sequence[Condition], dims: dict[str, int]) -> list[Condition]:
    return [_at(c, dims) if isinstance(c, Affine) else c for c in conditions]


def _at(affine: Affine, dims: dict[str, int]) -> Affine:
    return Affine(affine.coefficients, defaults(substitute(affine.constant, dims)))


@dataclass(frozen=True)
class _Problem:
    domain: Domain
    kept: tuple[int, ...]
    ranges: Ranges

    @property
    def reduced(self) -> tuple[int, ...]:
        return tuple(k for k in range(self.domain.rank) if k not in self.kept)

    def at(self, dims: dict[str, int]) -> _Problem:
        extents = tuple(defaults(substitute(e, dims)) for e in self.domain.extents)
        guards = tuple(_at(g, dims) for g in self.domain.guards)
        return _Problem(Domain(extents, guards, self.domain.names), self.kept, self.ranges)

    # --- Proof ---

    def proves(self, group: Sequence[Condition]) -> bool:
        """Whether there certainly is a point for every kept point, and every value of the dims."""
        affine = [c for c in group if isinstance(c, Affine)]
        if len(affine) < len(group):
            return False
        rank, extents = self.domain.rank, self.domain.extents
        reduced = {k for c in affine for k in c.uses} & set(self.reduced)
        for k in reduced:
            affine += [index(rank, k), -index(rank, k) + (extents[k] - 1)]
        while reduced:
            k = min(reduced, key=lambda k: (_pairs(affine, k), k))
            affine = _shadow(affine, k)
            reduced.discard(k)
            if len(affine) > _MOST_INEQUALITIES:
                return False
        box = tuple(1 if k in self.reduced else e for k, e in enumerate(extents))
        elements = Domain(box, self.domain.guards)
        return all(never_negative(claim, elements, self.ranges) for claim in affine)

    # --- Trial ---

    def tried(self, group: Sequence[Condition], dims: dict[str, int]) -> Empty | None:
        """The first kept point without a point; extents and guards are integers here."""
        if any(self.domain.extents[k] == 0 for k in self.kept):
            return None  # no element asks for a value
        uses = {k for c in group for k in c.uses}
        guards = self._related(uses)
        outer = sorted((uses | {k for g in guards for k in g.uses}) & set(self.kept))
        inner = sorted(uses & set(self.reduced))
        solved = self._solved_index(group, inner)
        for block in self._blocks(outer, [k for k in inner if k != solved]):
            alive = _all_hold(guards, block)
            missing = alive & ~self._some_point(group, solved, block)
            if missing.any():
                first = int(np.argwhere(missing.ravel())[0, 0])
                point = {
                    k: int(np.broadcast_to(block[k], missing.shape).flat[first]) for k in outer
                }
                return Empty(point, tuple(group), dims)
        return None

    def _related(self, uses: Iterable[int]) -> list[Affine]:
        """The domain's guards that speak of these kept indices, directly or through one another."""
        found: dict[Affine, None] = {}
        reach = set(uses) & set(self.kept)
        for _ in self.domain.guards:
            for guard in self.domain.guards:
                if not guard.uses or reach & set(guard.uses):
                    found[guard] = None
                    reach |= set(guard.uses)
        return list(found)

    def _solved_index(self, group: Sequence[Condition], inner: Sequence[int]) -> int | None:
        """The longest reduced index, where the conditions are affine."""
        if not inner or not all(isinstance(c, Affine) for c in group):
            return None
        return max(inner, key=self._length)

    def _length(self, k: int) -> int:
        return defaults(self.domain.extents[k])

    def _blocks(self, outer: Sequence[int], inner: Sequence[int]) -> Iterator[list[Array]]:
        """The indices' values: outer points in row-major order down the first axis, a block at a
        time; an axis for each inner index; any other index is 0."""
        lengths, width = [self._length(k) for k in outer], math.prod(map(self._length, inner))
        total, rank = math.prod(lengths), 1 + len(inner)
        if total * width > MOST_POINTS or width > 10 * _BLOCK:
            raise Undecided
        size = max(1, _BLOCK // max(width, 1))
        for start in range(0, total, size):
            block: list[Array] = [np.zeros((1,) * rank, np.int64)] * self.domain.rank
            numbers = np.arange(start, min(start + size, total))
            places = np.unravel_index(numbers, lengths) if outer else ()
            for k, values in zip(outer, places, strict=True):
                block[k] = values.reshape(-1, *(1,) * len(inner))
            for axis, k in enumerate(inner, 1):
                shape = [-1 if a == axis else 1 for a in range(rank)]
                block[k] = np.arange(self._length(k)).reshape(shape)
            yield block

    def _some_point(self, group: Sequence[Condition], solved: int | None, block: Grids) -> Array:
        """Where, along the block's first axis, some reduced point satisfies the group."""
        inner = tuple(range(1, block[0].ndim))
        if solved is None:
            return _any(_all_hold(group, block), inner)
        length = self._length(solved)
        low, high = np.zeros((), np.int64), np.full((), length - 1)
        others = [c for c in group if not (isinstance(c, Affine) and c.coefficients[solved])]
        for guard in group:
            if isinstance(guard, Affine) and guard.coefficients[solved]:
                step, rest = guard.coefficients[solved], _value(guard, block)
                if step > 0:
                    low = np.maximum(low, -(rest // step))
                else:
                    high = np.minimum(high, rest // -step)
        return _any(_all_hold(others, block) & (low <= high), inner)


def _pairs(forms: Sequence[Affine], k: int) -> int:
    """How many inequalities the elimination of index k leaves, and how many it takes away."""
    above = sum(f.coefficients[k] > 0 for f in forms)
    below = sum(f.coefficients[k] < 0 for f in forms)
    return above * below - above - below


def _shadow(forms: Sequence[Affine], k: int) -> list[Affine]:
    """What without index k makes sure that there is an integer for it between all its bounds."""
    found = {f: None for f in forms if not f.coefficients[k]}
    for low in (f for f in forms if f.coefficients[k] > 0):
        for high in (f for f in forms if f.coefficients[k] < 0):
            a, b = low.coefficients[k], -high.coefficients[k]
            found[low * b + high * a - (a - 1) * (b - 1)] = None
    return [f for f in found if not _is_clear(f)]


def _is_clear(form: Affine) -> bool:
    return form.is_constant and isinstance(form.constant, int) and form.constant >= 0


def _all_hold(conditions: Iterable[Condition], block: Grids) -> Array:
    result: Array = np.ones((1,) * block[0].ndim, bool)
    for condition in conditions:
        if isinstance(condition, Affine):
            result = result & (_value(condition, block) >= 0)
        else:
            result = result & condition.holds(block)
    return result


def _any(where: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(where.any(axis=axes, keepdims=True))


def _value(affine: Affine, block: Grids) -> Array:
    total: Array = np.full((1,) * block[0].ndim, affine.constant)
    for coefficient, values in zip(affine.coefficients, block, strict=True):
        if coefficient:
            total = total + coefficient * values
    return total
