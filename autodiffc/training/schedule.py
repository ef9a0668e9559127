"""Learning-rate schedules: functions from the epoch, counted from 0, to the epoch's rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from autodiffc.errors import ArgumentError


class Schedule(Protocol):
    def __call__(self, epoch: int, epochs: int) -> float:
        """The learning rate of epoch number `epoch` out of `epochs`."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same rate in every epoch."""

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, epoch: int, epochs: int) -> float:
        return self.rate


@dataclass(frozen=True)
class LinearFall:
    """From `start` in the first epoch down to `end`, which the epoch after the last would have."""

    start: float
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.start)
        _check_rate(self.end)

    def __call__(self, epoch: int, epochs: int) -> float:
        return self.start + (self.end - self.start) * epoch / epochs


def _check_rate(rate: float) -> None:
    if not (math.isfinite(rate) and rate >= 0):
        raise ArgumentError(
            "a learning rate must be a finite number, 0 or more", found=rate, expected="e.g. 0.05"
        )
