"""Contestants take turns: one sample of each in every round, who begins changes.

Machines change their speed from second to second, so times are compared within a run alone: the
ratio of two contestants is the ratio of their medians over the same rounds, and its spread that of
the rounds' own ratios. Before anything is timed, every contestant's result is compared with ours.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np

from autodiffc.bench.machine import Machine
from autodiffc.bench.samples import Samples

OURS = "autodiffc"
# between contestants: threads of the last one must be asleep; OpenBLAS' look for work for 2^26
# cycles, some 20 ms, in which they would take the next one's processors
PAUSE = 0.05
MOST_CALLS = 1_000_000

Arrays = Mapping[str, Any]


class NotThere(Exception):
    """Why a contestant cannot take part: not installed, or not able to."""


@dataclass(frozen=True)
class Contestant:
    """`call` does the work once, to the end; `result` does it once and returns what came out.

    `result` is called first and once: a training step's is the step from the common start.
    """

    name: str
    version: str
    threads: int
    call: Callable[[], object]
    result: Callable[[], Arrays]


@dataclass(frozen=True)
class Limits:
    """How long to take: `seconds` is for all rounds of one workload."""

    rounds: int = 30
    seconds: float = 60.0
    sample_seconds: float = 0.003  # within a scheduler's time slice, should others wait


@dataclass
class Timed:
    """A contestant's samples, in seconds a call."""

    contestant: Contestant
    calls: int = 1
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)  # processors had, in the mean of a sample

    def sample(self) -> None:
        call = self.contestant.call
        call()  # brings its code and data into the caches, its threads to life
        used, start = time.process_time(), time.perf_counter()
        for _ in repeat(None, self.calls):
            call()
        taken = time.perf_counter() - start
        self.processor.append((time.process_time() - used) / taken)
        self.seconds.append(taken / self.calls)

    def choose_calls(self, sample_seconds: float) -> None:
        """So many calls that a sample takes as long as wanted."""
        for _ in range(3):
            self.sample()
        once = min(self.seconds)
        self.calls = max(1, min(MOST_CALLS, int(sample_seconds / max(once, 1e-9))))
        self.seconds.clear()
        self.processor.clear()


@dataclass(frozen=True)
class Outcome:
    """What one workload gave: samples by contestant, and the machine's best in between."""

    seconds: dict[str, Samples]
    processors: dict[str, Samples]  # had by each: less than its threads where others wanted them
    peak: Samples  # operations a second
    bandwidth: Samples  # bytes a second, of DRAM


def check(contestants: Sequence[Contestant], tolerance: float) -> None:
    """Compares everyone's result with ours; a contestant that computes something else is an error.

    Errors count relative to the largest element of the array.
    """
    expected = {name: np.array(a) for name, a in contestants[0].result().items()}
    for contestant in contestants[1:]:
        found = contestant.result()
        if set(found) != set(expected):
            raise AssertionError(f"{contestant.name} returns {sorted(found)}")
        for name, array in expected.items():
            other = np.asarray(found[name])
            if other.shape != array.shape:
                raise AssertionError(f"{contestant.name}: {name} has the shape {other.shape}")
            scale = max(float(np.abs(array).max()), 1e-30)
            error = float(np.abs(other - array).max()) / scale
            if not error <= tolerance:
                raise AssertionError(f"{contestant.name}: {name} differs from ours by {error:.1e}")


def race(contestants: Sequence[Contestant], machine: Machine, limits: Limits) -> Outcome:
    """Rounds until there are enough, or time is up; three at least."""
    timed = [Timed(c) for c in contestants]
    for each in timed:
        each.choose_calls(limits.sample_seconds)
    peak: list[int] = []
    read: list[int] = []
    start = time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for number in range(limits.rounds):
            if number >= 3 and time.perf_counter() - start > limits.seconds:
                break
            shift = number % len(timed)
            for each in (*timed[shift:], *timed[:shift]):
                time.sleep(PAUSE)
                each.sample()
            time.sleep(PAUSE)
            machine.multiply_add()  # wakes its threads
            peak.append(machine.multiply_add())
            read.append(machine.read("DRAM"))
    finally:
        gc.enable()
    tick = machine.clock.seconds_per_tick
    return Outcome(
        {t.contestant.name: Samples.of(t.seconds) for t in timed},
        {t.contestant.name: Samples.of(t.processor) for t in timed},
        Samples.of([machine.flops / (t * tick) for t in peak]),
        Samples.of([machine.bytes_of("DRAM") / (t * tick) for t in read]),
    )
