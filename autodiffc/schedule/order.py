"""The loops around a register tile: their order, and what the tile waits for memory in it.

The reduction runs inside a tile, so the only freedom is the order of the blocks of kept indices.
It decides which operand stays in a cache while others stream past: in a matrix product of size
1024 a panel of B of 128 KiB serves all rows of A if the loop over the rows is inside that over the
panels, and comes anew from the third cache for every few rows if it is outside.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from autodiffc.graph.extents import defaults
from autodiffc.schedule.locality import Stream, waiting
from autodiffc.schedule.nest import Nest, memory_order
from autodiffc.schedule.tiling import Tiling
from autodiffc.targets import Target

NEGLIGIBLE = 0.03  # of the time: waiting that no other order is tried for
MANY = 8  # trips of a loop that threads can share evenly enough
MOST_LOOPS = 4  # whose orders are all tried


def exact(nest: Nest, tiling: Tiling, k: int) -> bool:
    """Whether blocks of a kept index never overlap, so that they may run in parallel."""
    extent, width = nest.extents[k], tiling.width(k)
    return width == 1 or (isinstance(extent, int) and extent % width == 0)


def trips(nest: Nest, tiling: Tiling, k: int) -> int:
    """How many blocks of an index there are; an open dim has its default, at least."""
    return max(1, -(-defaults(nest.extents[k]) // tiling.width(k)))


def plain_order(nest: Nest, tiling: Tiling) -> tuple[int, ...]:
    """Kept indices in memory order, the vector's block last, one that may be parallel first."""
    order = [k for k in memory_order(nest) if k != tiling.vector]
    order += [tiling.vector] if tiling.form == "across" else []
    for first in shareable(nest, tiling, order)[:1]:
        order.remove(first)
        order.insert(0, first)
    return tuple(order)


def shareable(nest: Nest, tiling: Tiling, order: Sequence[int]) -> list[int]:
    """The loops that threads can share: without overlaps, and with trips enough if any has them."""
    safe = [k for k in order if exact(nest, tiling, k) and trips(nest, tiling, k) > 1]
    long = [k for k in safe if trips(nest, tiling, k) >= MANY]
    return long or sorted(safe, key=lambda k: -trips(nest, tiling, k))


def orders(nest: Nest, tiling: Tiling) -> Iterator[tuple[int, ...]]:
    """Other orders than the plain one, with as much for threads to share."""
    plain = plain_order(nest, tiling)
    single = tuple(k for k in plain if trips(nest, tiling, k) == 1)
    loops = [k for k in plain if k not in single]
    outer = shareable(nest, tiling, loops) or loops
    if len(loops) > MOST_LOOPS:
        found = [(*loops[:k], *loops[k + 1 :], loops[k]) for k in range(len(loops) - 1)]
        found += [(loops[k], *loops[:k], *loops[k + 1 :]) for k in range(1, len(loops))]
    else:
        found = list(itertools.permutations(loops))
    for order in found:
        if order and order[0] in outer:
            yield (*order, *single)


class Memory:
    """What tilings of one nest cost with the time that they wait for memory."""

    def __init__(self, nest: Nest, item: int, target: Target) -> None:
        self._nest, self._item, self._target = nest, item, target
        self._extents = [int(defaults(e)) for e in nest.extents]
        self._strides = [
            [int(defaults(s)) * item for s in a.strides] for a in (*nest.operands, nest.out)
        ]

    def best(self, tilings: Sequence[Tiling]) -> Tiling | None:
        """The cheapest in its plain order; they come in the order of their costs without memory."""
        best: Tiling | None = None
        for tiling in tilings:
            if best is not None and tiling.cost >= best.cost:
                break
            order = plain_order(self._nest, tiling)
            cost = self._cost(tiling, order)
            if best is None or cost < best.cost:
                best = replace(tiling, cost=cost, order=order, work=tiling.cost)
        return best

    def in_best_order(self, tiling: Tiling) -> Tiling:
        """The tiling with the order of loops in which it waits least."""
        best = tiling
        if best.cost > tiling.work * (1 + NEGLIGIBLE):
            plain = replace(tiling, cost=tiling.work)
            for order in orders(self._nest, tiling):
                cost = self._cost(plain, order)
                if cost < best.cost * (1 - NEGLIGIBLE / 3):
                    best = replace(tiling, cost=cost, order=order)
        return best

    def _cost(self, tiling: Tiling, order: tuple[int, ...]) -> float:
        loops = list(self._loops(tiling, order)) or [(0, 1, 1)]
        inside = [(tiling.vector, tiling.lanes * tiling.unroll), *tiling.tiles]
        streams = [
            Stream(
                tuple((strides[k], size) for k, size in inside),
                tuple(strides[k] * width for k, _, width in loops),
            )
            for strides in self._strides
        ]
        near, far = waiting(streams, [n for _, n, _ in loops], self._item, self._target)
        points = tiling.accumulators * tiling.lanes  # that one iteration adds
        work, idle = tiling.cost, near / points
        return math.hypot(work, idle) + far / points

    def _loops(self, tiling: Tiling, order: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
        """Index, trips and step of each loop, from the innermost outwards."""
        inner = [k for k in reversed(self._nest.reduced) if k != tiling.vector]
        along = [tiling.vector] if tiling.form == "along" else []
        for k in (*along, *inner, *reversed(order)):
            width = tiling.lanes if k in along else tiling.width(k)
            count = -(-self._extents[k] // width)
            if count > 1:
                yield k, count, width
