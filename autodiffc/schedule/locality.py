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
ENTRIES = 64  # pages that the first translation buffer knows
FULL = 0.75  # the share of a cache that one kernel may count on

# Multiply-adds that could run while a line (the address of a page) comes, measured and rounded
FROM_L2 = 1.5
FROM_L3 = 3.0
FROM_DRAM = 12.0
TRANSLATION = 0.8
EXPOSED = 0.1  # of work and waiting the shorter overlaps with the longer, but for this share

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
    """Lines and pages that some inner loops touch; `crowded` are lines with the sets left empty."""

    lines: float
    crowded: float
    pages: float


def waiting(
    streams: Sequence[Stream], trips: Sequence[int], item: int, target: Target
) -> tuple[float, float]:
    """The multiply-adds that one innermost iteration could do meanwhile: near and far memory.

    `trips` are those of the loops from the innermost outwards, `item` the bytes of an element.
    """
    feet = _footprints(streams, trips, item)

    def missing(fits: Callable[[Footprint], bool]) -> tuple[Footprint, int]:
        depth = next((k for k, foot in enumerate(feet) if not fits(foot)), len(feet) - 1)
        return feet[depth], math.prod(trips[: depth + 1])

    def lines(capacity: int) -> float:
        foot, iterations = missing(lambda f: f.lines <= FULL * capacity / LINE)
        return foot.lines / iterations

    near, iterations = missing(lambda f: f.crowded <= FULL * target.l1_bytes / LINE)
    pages, turns = missing(lambda f: f.pages <= ENTRIES)
    idle = FROM_L2 * near.lines / iterations + TRANSLATION * pages.pages / turns
    return idle + FROM_L3 * lines(target.l2_bytes), FROM_DRAM * lines(target.l3_bytes)


def _footprints(streams: Sequence[Stream], trips: Sequence[int], item: int) -> list[Footprint]:
    """Of the innermost loop, the two innermost ones, and so on."""
    found = []
    walked = [runs(s.tile) for s in streams]
    for depth, count in enumerate(trips):
        for k, stream in enumerate(streams):
            stride = stream.strides[depth]
            if stride and count > 1:
                walked[k] = runs((*walked[k], (stride, count)))
        feet = [footprint(walk, item) for walk in walked]
        found.append(
            Footprint(
                sum(f.lines for f in feet), sum(f.crowded for f in feet), sum(f.pages for f in feet)
            )
        )
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
def footprint(walk: Runs, item: int) -> Footprint:
    """What the runs of items touch, neighbouring ones taken together.

    Rows that lie far apart, by multiples of a page or nearly, share few sets of the first cache.
    """
    lines, length = _cover(walk, item, LINE)
    pages, reach = _cover(walk, item, PAGE)
    sets = max(1.0, length / LINE)
    for stride, trips in walk:
        if stride > max(length, LINE / 2):
            sets *= min(trips, PAGE // math.gcd(stride, PAGE))
    count = lines * max(1.0, length / LINE)
    return Footprint(count, count * max(1.0, PAGE / LINE / sets), pages * max(1.0, reach / PAGE))


def _cover(walk: Runs, item: int, line: int) -> tuple[float, float]:
    """How many stretches of neighbouring lines the runs touch, and the length of each."""
    length, count = float(item), 1.0
    for stride, trips in walk:
        if stride <= max(length, line / 2):
            length += stride * (trips - 1)
        else:
            count *= trips
    return count, length
