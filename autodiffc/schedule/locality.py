"""What a tiled sum waits for its caches: the lines that each level must fetch, by counting.

A loop nest reuses what its inner loops touched, as long as that fits the cache. So for each level
one looks for the innermost loops whose footprint fits; one loop further out everything is fetched
anew, each line once. With the loops listed from the innermost outwards:

    footprint(k)  distinct lines that the k innermost loops touch
    fits(k)       footprint(k) <= capacity
    fetched       footprint(k + 1) each time that loop k + 1 runs, for the last k that fits

Addresses are sums of strided indices, so distinct lines are counted from strides and trips alone
(`footprint`). Rows that lie a multiple of a page apart share few sets of the first cache, which
then holds less; and each page needs an entry of the first translation buffer, which is one more
cache, of long lines. (Wolf and Lam, "A data locality optimizing algorithm", 1991; Goto and van de
Geijn, "Anatomy of high-performance matrix multiplication", 2008.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autodiffc.targets import Target

LINE = 64  # bytes
PAGE = 4096  # bytes
WAYS = 8  # lines of the same set that a cache holds
ENTRIES, MORE_ENTRIES = 64, 1536  # pages that the two translation buffers know
FULL = 0.75  # the share of a cache that one kernel may count on

# Multiply-adds that could run while a line (the address of a page) comes, measured and rounded
FROM_L2 = 1.5
FROM_L3 = 3.0
FROM_DRAM = 12.0
TRANSLATION = 0.8
PAGE_WALK = 20.0

Walk = tuple[int, int]  # a stride in bytes, and a number of trips
Runs = tuple[Walk, ...]


@dataclass(frozen=True)
class Stream:
    """One operand: what an iteration of the innermost loop touches, and the loops' strides.

    Strides are in bytes, from the innermost loop outwards.
    """

    tile: Runs
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Footprint:
    """Lines and pages that some inner loops touch.

    `in_l1` are the lines with the room that they leave empty in the sets of the first cache. (The
    sets of larger caches are chosen by physical addresses, which are as good as random.)
    """

    lines: float
    pages: float
    in_l1: float

    def __add__(self, other: Footprint) -> Footprint:
        return Footprint(
            self.lines + other.lines, self.pages + other.pages, self.in_l1 + other.in_l1
        )


def waiting(
    streams: Sequence[Stream], trips: Sequence[int], item: int, target: Target
) -> tuple[float, float]:
    """The multiply-adds that one innermost iteration could do meanwhile: near and far memory.

    `trips` are those of the loops from the innermost outwards, `item` the bytes of an element.
    """
    feet = _footprints(streams, trips, item, target)

    def missing(fits: Callable[[Footprint], bool]) -> tuple[Footprint, int]:
        depth = next((k for k, foot in enumerate(feet) if not fits(foot)), len(feet) - 1)
        return feet[depth], math.prod(trips[: depth + 1])

    def lines(fits: Callable[[Footprint], bool]) -> float:
        foot, iterations = missing(fits)
        return foot.lines / iterations

    def pages(entries: int) -> float:
        foot, iterations = missing(lambda f: f.pages <= entries)
        return foot.pages / iterations

    near = FROM_L2 * lines(lambda f: f.in_l1 <= FULL * target.l1_bytes / LINE)
    near += FROM_L2 * _thrashing(streams, item, target)
    near += FROM_L3 * lines(lambda f: f.lines <= FULL * target.l2_bytes / LINE)
    near += TRANSLATION * pages(ENTRIES) + PAGE_WALK * pages(MORE_ENTRIES)
    return near, FROM_DRAM * lines(lambda f: f.lines <= FULL * target.l3_bytes / LINE)


def _thrashing(streams: Sequence[Stream], item: int, target: Target) -> float:
    """Lines of a single iteration that drive each other out of the first cache."""
    feet = [footprint(runs(s.tile), item, target.l1_bytes) for s in streams]
    return sum(f.lines for f in feet if f.in_l1 > target.l1_bytes / LINE)


def _footprints(
    streams: Sequence[Stream], trips: Sequence[int], item: int, target: Target
) -> list[Footprint]:
    """Of the innermost loop, the two innermost ones, and so on."""
    found = []
    walked = [runs(s.tile) for s in streams]
    for depth, count in enumerate(trips):
        for k, stream in enumerate(streams):
            stride = stream.strides[depth]
            if stride and count > 1:
                walked[k] = runs((*walked[k], (stride, count)))
        feet = [footprint(walk, item, target.l1_bytes) for walk in walked]
        found.append(sum(feet[1:], feet[0]))
    return found


@functools.lru_cache(maxsize=1 << 15)
def runs(walks: Runs) -> Runs:
    """The walks as few as possible, shortest stride first, with what overlaps counted once.

    Two walks are one where the longer stride is a multiple of the shorter one and within its reach.
    """
    found: list[Walk] = []
    for stride, trips in sorted((abs(s), t) for s, t in walks if s and t > 1):
        if found:
            small, count = found[-1]
            if stride % small == 0 and stride // small <= count:
                found[-1] = (small, count + stride // small * (trips - 1))
                continue
        found.append((stride, trips))
    return tuple(found)


@functools.lru_cache(maxsize=1 << 15)
def footprint(walk: Runs, item: int, l1_bytes: int) -> Footprint:
    """What the runs of items touch, neighbouring ones taken together."""
    stretches, length = _cover(walk, item, LINE)
    groups, reach = _cover(walk, item, PAGE)
    lines = stretches * max(1.0, length / LINE)
    far = [(s, t) for s, t in walk if s > max(length, LINE / 2)]
    room = _room(lines, far, length, l1_bytes // WAYS)
    return Footprint(lines, groups * max(1.0, reach / PAGE), room)


def _room(lines: float, far: Sequence[Walk], length: float, way: int) -> float:
    """How many lines of a cache are taken, with those of sets that must stay empty.

    Addresses `way` bytes apart share a set of a few lines, so rows a multiple of that apart soon
    drive each other out.
    """
    sets = max(1.0, length / LINE)
    for stride, trips in far:
        sets *= min(trips, max(1, way // math.gcd(stride, way)))
    return lines if lines <= WAYS * sets else lines * max(1.0, way / LINE / sets)


def _cover(walk: Runs, item: int, line: int) -> tuple[float, float]:
    """How many stretches of neighbouring lines the runs touch, and the length of each."""
    length, count = float(item), 1.0
    for stride, trips in walk:
        if stride <= max(length, line / 2):
            length += stride * (trips - 1)
        else:
            count *= trips
    return count, length
