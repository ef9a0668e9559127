"""The form of one tiled sum, as `schedule/tile.py` chooses it and `loops/tiled.py` writes it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tiling:
    """`tiles` are (kept index, size), the vector index not among them; `lanes` by `unroll` is its.

    `registers` is how many vectors the target holds, `order` the kept indices from the outermost
    block loop inwards, and `cost` the expected time of a point of the domain, in multiply-adds;
    `work` is the part that is not waiting for memory.
    """

    form: str
    vector: int
    lanes: int
    unroll: int
    tiles: tuple[tuple[int, int], ...]
    cost: float
    registers: int
    order: tuple[int, ...] = ()
    work: float = 0.0

    def size(self, index: int) -> int:
        """How many values of a kept index a tile has, lanes aside."""
        return dict(self.tiles).get(index, 1)

    def width(self, index: int) -> int:
        """By how much a block of an index moves on."""
        return self.lanes * self.unroll if index == self.vector else self.size(index)

    @property
    def accumulators(self) -> int:
        """Vectors of sums."""
        return self.unroll * math.prod(size for _, size in self.tiles)
