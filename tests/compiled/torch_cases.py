"""Random calls of operations that PyTorch has too, each with its counterpart there.

A `Comparison` is one call: arrays, what we make of them, what PyTorch makes of them. Floating
arrays are differentiated by, others are not. Everything is drawn from generators with fixed seeds,
one a family, so that a failing title always names the same call. Shapes are small and odd on
purpose: extents of 1, windows that overlap or miss the end, groups, repeated indices, ties.

Here is what calls are made of; the families are in `torch_sums` (windows, contractions, reductions,
losses) and `torch_elements` (functions, look-ups, views).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import autodiffc as ad

Array = np.ndarray
Shape = tuple[int, ...]
Keywords = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """One call here and there; `operation` is its name in our vocabulary."""

    operation: str
    arrays: Sequence[Array]
    ours: Callable[..., Any]
    theirs: Callable[..., Any]


class Draw:
    """What cases are made of, from a seed."""

    def __init__(self, family: str) -> None:
        self.rng = np.random.default_rng(zlib.crc32(family.encode()))

    def integer(self, low: int, high: int) -> int:
        """One of low … high, both included."""
        return int(self.rng.integers(low, high + 1))

    def integers(self, count: int, low: int, high: int) -> list[int]:
        return [self.integer(low, high) for _ in range(count)]

    def flag(self) -> bool:
        return bool(self.rng.integers(2))

    def one(self, *choices: Any) -> Any:
        return choices[self.integer(0, len(choices) - 1)]

    def shape(self, rank: int, high: int = 4) -> Shape:
        return tuple(self.integers(rank, 1, high))

    def normal(self, *shape: int) -> Array:
        return self.rng.normal(size=shape)

    def uniform(self, low: float, high: float, shape: Shape) -> Array:
        return self.rng.uniform(low, high, shape)

    def tied(self, *shape: int) -> Array:
        """Few different values, so that extrema are reached more than once."""
        return self.rng.integers(-2, 3, shape).astype(np.float64)

    def labels(self, count: int, shape: Shape) -> Array:
        return self.rng.integers(0, count, shape)

    def some(self, items: Sequence[Any], least: int = 1) -> list[Any]:
        """A few of the items, in random order."""
        count = self.integer(least, len(items))
        return [items[k] for k in self.rng.permutation(len(items))[:count]]


def same_name(name: str, place: Any, arrays: Sequence[Array], **keywords: Any) -> Comparison:
    """An operation that is called alike in both libraries."""
    ours, theirs = getattr(ad, name), getattr(place, name)
    return Comparison(
        name, arrays, lambda *xs: ours(*xs, **keywords), lambda *xs: theirs(*xs, **keywords)
    )
