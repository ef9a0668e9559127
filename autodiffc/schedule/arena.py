"""The arena: one block of memory in which all intermediate values of a call live.

Two values may share bytes if they are never alive at the same time. Each value's life is an
interval of positions in the order of kernels; values are placed largest first, each at the lowest
offset that is free during its life. Offsets are multiples of a cache line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True)
class Life:
    """A value of `size` bytes, alive from position `start` to position `end`, both included."""

    size: int
    start: int
    end: int

    def meets(self, other: Life) -> bool:
        return self.start <= other.end and other.start <= self.end


def aligned(size: int) -> int:
    """`size` rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def pack(lives: Mapping[str, Life]) -> tuple[dict[str, int], int]:
    """Offsets by name, and the arena's size in bytes."""
    placed: list[tuple[int, Life]] = []
    offsets: dict[str, int] = {}
    for name in sorted(lives, key=lambda n: (-lives[n].size, lives[n].start, n)):
        life = lives[name]
        offset = _lowest_gap(life, [(o, p) for o, p in placed if p.meets(life)])
        placed.append((offset, life))
        offsets[name] = offset
    return offsets, max((o + aligned(p.size) for o, p in placed), default=0)


def _lowest_gap(life: Life, busy: list[tuple[int, Life]]) -> int:
    offset = 0
    for start, other in sorted(busy, key=lambda item: item[0]):
        if offset + aligned(life.size) <= start:
            break
        offset = max(offset, start + aligned(other.size))
    return offset
