"""Repeated timings of one thing: the median, and how far they differ."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Values of one quantity, in the order in which they were taken."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Samples:
        return cls(tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half the range of the middle half of all values, as a share of the median."""
        if len(self.values) < 2 or self.median == 0:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return (high - low) / 2 / self.median

    def per(self, other: Samples) -> Samples:
        """The quotients of values taken in the same round."""
        return Samples(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def plain(self) -> dict[str, float | list[float]]:
        return {
            "median": self.median,
            "spread": self.spread,
            "least": min(self.values),
            "most": max(self.values),
            "samples": list(self.values),
        }
