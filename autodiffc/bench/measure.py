"""One benchmark: machine, model and kernels sampled in turn.

A round is one sample of everything: multiply-adds, each kind of memory, then for each entry the
call as users make it and the call with timers, each after a call that is not counted, since reading
memory has emptied the caches. Every figure is the median over all rounds; a share of the machine's
best is the quotient of two medians of the same run.
"""

from __future__ import annotations

import ast
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autodiffc.bench.machine import Machine
from autodiffc.bench.samples import Samples
from autodiffc.bench.subject import Subject, chosen_entries, subjects
from autodiffc.dsl.model import Model
from autodiffc.pipeline import BuildOptions
from autodiffc.targets import get_target

SAMPLE_SECONDS = 5e-4  # short calls are repeated until a sample takes so long
MOST_REPEATS = 100_000
BUDGET_SECONDS = 5.0  # for all rounds together, where their number is not given
LEAST_ROUNDS, MOST_ROUNDS = 10, 200

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Work:
    """What was done in a time: operations of floats, and bytes of operands and results."""

    seconds: Samples
    flops: float
    bytes: float

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds.median if self.seconds.median else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds.median if self.seconds.median else 0.0


@dataclass(frozen=True)
class KernelResult:
    """All calls of one kernel in one call of the entry."""

    name: str
    kind: str
    formulas: tuple[str, ...]
    calls: float
    work: Work


@dataclass(frozen=True)
class EntryResult:
    """One call of an entry, as users make it, and what its kernels take of it."""

    entry: str
    work: Work
    profiled: Samples  # seconds of the call with timers
    kernels: tuple[KernelResult, ...]

    @property
    def kernel_seconds(self) -> float:
        return sum(k.work.seconds.median for k in self.kernels)


@dataclass(frozen=True)
class Result:
    """`peak` in operations, `bandwidth` in bytes a second, by kind of memory.

    `processor_share` is the processor time of all threads over the time that went by: with one
    thread, less than 1 where others wanted the processor too.
    """

    manifest: dict[str, Any]
    options: BuildOptions
    threads: int
    rounds: int
    processor_share: float
    peak: Samples
    bandwidth: dict[str, Samples]
    entries: tuple[EntryResult, ...]

    def peak_share(self, work: Work) -> float:
        return work.flops_per_second / self.peak.median

    def bandwidth_share(self, work: Work) -> float:
        return work.bytes_per_second / self.bandwidth["DRAM"].median

    def roof_share(self, work: Work) -> float:
        """The time that peak and DRAM bandwidth, added, would take, over the time taken."""
        least = work.flops / self.peak.median + work.bytes / self.bandwidth["DRAM"].median
        return least / work.seconds.median if work.seconds.median else 0.0


def measure(
    model: Model,
    options: BuildOptions,
    *,
    entry: str | None = None,
    rounds: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Builds the model and times it; `entry` is one, `all`, or None for what the model is for."""
    plain, timed = subjects(model, options)
    entries = chosen_entries(plain.manifest, entry)
    machine = Machine(
        get_target(options.target),
        options.dtype,
        threads=options.threads,
        openmp=options.openmp,
        cc=options.cc,
    )
    run = _Run(machine, plain, timed, entries)
    share = _take_rounds(run, rounds, progress)
    return run.result(options, share)


class _Entry:
    """One entry of one build, ready to be called."""

    def __init__(self, subject: Subject, entry: str, arrays: Mapping[str, Any]) -> None:
        self.subject = subject
        # a step or another forward may have come between, so a backward gets one of its own
        self.before = subject.call("forward", arrays) if entry == "backward" else None
        self.call = subject.call(entry, arrays)

    def ticks(self, repeat: int) -> float:
        """Of one call, in a row of `repeat`."""
        self.subject.set_repeat(1)
        if self.before is not None:
            self.before()
        self.call()  # brings code and data into the caches
        self.subject.set_repeat(repeat)
        self.subject.take_ticks()
        if self.subject.has_timers:
            self.subject.take_timers()
        self.call()
        return self.subject.take_ticks() / repeat


class _EntryRun:
    """One entry of both builds, and the samples taken of it, in ticks."""

    def __init__(self, entry: str, plain: _Entry, timed: _Entry) -> None:
        self.entry, self.plain, self.timed = entry, plain, timed
        self.repeat = 1
        self.whole: list[float] = []
        self.profiled: list[float] = []
        self.timers: dict[str, list[float]] = {n: [] for n in timed.subject.timer_names}
        self.calls: dict[str, float] = {}

    def choose_repeat(self, seconds_per_tick: float) -> None:
        """So many calls a sample that the clock's grain does not matter."""
        once = min(self.plain.ticks(1) for _ in range(3)) * seconds_per_tick
        self.repeat = max(1, min(MOST_REPEATS, int(SAMPLE_SECONDS / max(once, 1e-9))))

    def sample(self) -> None:
        self.whole.append(self.plain.ticks(self.repeat))
        self.profiled.append(self.timed.ticks(self.repeat))
        for timer in self.timed.subject.take_timers():
            self.timers[timer.name].append(timer.ticks / self.repeat)
            self.calls[timer.name] = timer.calls / self.repeat


class _Run:
    """All samples of a benchmark, in ticks."""

    def __init__(
        self, machine: Machine, plain: Subject, timed: Subject, entries: Sequence[str]
    ) -> None:
        self.machine, self.manifest = machine, plain.manifest
        self.dims = plain.dims
        self.multiply_adds: list[float] = []
        self.reads: dict[str, list[float]] = {name: [] for name in machine.memories}
        arrays = plain.ready(), timed.ready()
        self.entries = [
            _EntryRun(e, _Entry(plain, e, arrays[0]), _Entry(timed, e, arrays[1])) for e in entries
        ]
        for entry in self.entries:
            entry.choose_repeat(machine.clock.seconds_per_tick)

    def round(self) -> None:
        """One sample of everything."""
        for entry in self.entries:
            for name in self.machine.memories:
                self.reads[name].append(self.machine.read(name))
            self.multiply_adds.append(self.machine.multiply_add())
            entry.sample()
            self.multiply_adds.append(self.machine.multiply_add())

    def result(self, options: BuildOptions, processor_share: float) -> Result:
        """What the samples say, in seconds."""
        tick = self.machine.clock.seconds_per_tick
        read = {
            name: Samples.of([self.machine.bytes_of(name) / (t * tick) for t in ticks])
            for name, ticks in self.reads.items()
        }
        return Result(
            manifest=self.manifest,
            options=options,
            threads=self.machine.threads,
            rounds=len(self.entries[0].whole),
            processor_share=processor_share,
            peak=Samples.of([self.machine.flops / (t * tick) for t in self.multiply_adds]),
            bandwidth=read,
            entries=tuple(self._entry(run, tick) for run in self.entries),
        )

    def _entry(self, run: _EntryRun, tick: float) -> EntryResult:
        known = {k["name"]: k for k in self.manifest["kernels"]}
        kernels = [
            self._kernel(known.get(name), run, name, tick)
            for name, calls in run.calls.items()
            if calls
        ]
        flops = sum(k.work.flops for k in kernels)
        moved = sum(k.work.bytes for k in kernels)
        return EntryResult(
            run.entry,
            Work(_seconds(run.whole, tick), flops, moved),
            _seconds(run.profiled, tick),
            tuple(sorted(kernels, key=lambda k: -k.work.seconds.median)),
        )

    def _kernel(
        self, known: Mapping[str, Any] | None, run: _EntryRun, name: str, tick: float
    ) -> KernelResult:
        calls, seconds = run.calls[name], _seconds(run.timers[name], tick)
        if known is None:
            return KernelResult(name, "copy", (), calls, Work(seconds, 0, 0))
        flops, moved = (calls * evaluate(known[what], self.dims) for what in ("flops", "bytes"))
        work = Work(seconds, flops, moved)
        return KernelResult(name, known["kind"], tuple(known["formulas"]), calls, work)


def _seconds(ticks: Sequence[float], tick: float) -> Samples:
    return Samples.of([t * tick for t in ticks])


def _take_rounds(run: _Run, wanted: int | None, progress: Progress | None) -> float:
    """Rounds as many as wanted, or as fit the budget; the processor's share of the time."""
    start, used, taken = time.perf_counter(), time.process_time(), 0
    limit = wanted or MOST_ROUNDS
    while taken < limit:
        run.round()
        taken += 1
        if progress is not None:
            progress(taken, limit)
        late = time.perf_counter() - start > BUDGET_SECONDS
        if wanted is None and taken >= LEAST_ROUNDS and late:
            break
    return (time.process_time() - used) / (time.perf_counter() - start)


# --- Counts with open dims ---

_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def evaluate(count: int | str, dims: Mapping[str, int]) -> int:
    """A count of the manifest, an expression such as `842343*batch + 1`, at sizes of open dims."""
    return count if isinstance(count, int) else _value(ast.parse(count, mode="eval").body, dims)


def _value(node: ast.AST, dims: Mapping[str, int]) -> int:
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, dims), _value(node.right, dims))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, dims)
    if isinstance(node, ast.Name):
        return dims[node.id]
    assert isinstance(node, ast.Constant), ast.dump(node)
    return int(node.value)  # type: ignore[arg-type]
