"""How many threads a training run uses, found out by its own first steps.

On an idle machine two threads halve the time of a step; on a busy one they wait for each other some
twenty times in it, and a step may take many times as long as on one thread. No rule knows which
machine it is. As results have the same bits for any number of threads, the first steps of a run
can try both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

WARM_UP = 2  # steps of each kind that are not counted
TRIALS = 4  # steps of each kind that are
ALL = 0  # OpenMP's choice


@runtime_checkable
class Threaded(Protocol):
    """A model whose calls may be told how many threads to use; 0 is OpenMP's choice."""

    threads: int


class ThreadTrial:
    """Runs steps, alternately on one thread and on all, until it knows which is faster."""

    def __init__(self, model: object, clock: Callable[[], float] = time.perf_counter) -> None:
        self._model = model if isinstance(model, Threaded) else None
        self._clock = clock
        self._seconds: dict[int, list[float]] = {1: [], ALL: []}

    def choice(self) -> int | None:
        """1 or 0 (all), once it is known."""
        if any(len(times) < WARM_UP + TRIALS for times in self._seconds.values()):
            return None
        one, many = (statistics.median(self._seconds[n][WARM_UP:]) for n in (1, ALL))
        return 1 if one <= many else ALL

    def run(self, step: Callable[[], float]) -> float:
        """One step, and its loss."""
        if self._model is None or self.choice() is not None:
            return step()
        threads = 1 if len(self._seconds[1]) <= len(self._seconds[ALL]) else ALL
        self._model.threads = threads
        started = self._clock()
        loss = step()
        self._seconds[threads].append(self._clock() - started)
        if (chosen := self.choice()) is not None:
            self._model.threads = chosen
        return loss
