"""What the machine can do at most: multiply-adds from registers, reads from each kind of memory.

`templates/bench_machine.c` has the loops, compiled for the same target as the model. A `Machine`
takes one sample at a time, so that it can be asked between two samples of something else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from autodiffc.build import build_library, find_toolchain, load_module
from autodiffc.emit.resources import templates_directory
from autodiffc.targets import Target

CDEF = """
uint64_t bench_ticks(void);
int32_t bench_threads(void);
int64_t bench_flops_per_round(int32_t item_bytes);
uint64_t bench_flops_float32(int64_t rounds, int32_t threads);
uint64_t bench_flops_float64(int64_t rounds, int32_t threads);
uint64_t bench_read(const void *memory, int64_t bytes, int64_t rounds, int32_t threads);
"""
ITEM_BYTES = {"float32": 4, "float64": 8}
ROUNDS = 60_000  # of twelve multiply-adds each: some 200 µs
WARM_UP = ROUNDS // 10  # not counted: the first microseconds are slower
CACHED_BYTES = 1 << 22  # read in one sample from a cache
LEAST_DRAM_BYTES, MOST_DRAM_BYTES = 1 << 26, 1 << 29


class Clock:
    """What a tick of the bench clock is worth, from when it is made to when it is asked."""

    def __init__(self, ticks: Any) -> None:
        self._ticks = ticks
        self._start = self._now()

    def _now(self) -> tuple[int, int]:
        """Both clocks, read as close together as the best of some tries."""
        tries = []
        for _ in range(20):
            before = time.perf_counter_ns()
            ticks = self._ticks()
            after = time.perf_counter_ns()
            tries.append((after - before, ticks, (before + after) // 2))
        _, ticks, nanoseconds = min(tries)
        return ticks, nanoseconds

    @property
    def seconds_per_tick(self) -> float:
        ticks, nanoseconds = self._now()
        while nanoseconds - self._start[1] < 20_000_000:
            ticks, nanoseconds = self._now()
        return (nanoseconds - self._start[1]) * 1e-9 / (ticks - self._start[0])


class Machine:
    """Samples, in ticks of `clock`, of what `threads` threads can do at most."""

    def __init__(
        self, target: Target, dtype: str, *, threads: int | None, openmp: bool, cc: str | None
    ) -> None:
        library = build_library(
            "bench_machine",
            {name: _template(name) for name in ("bench_machine.c", "bench_clock.h")},
            toolchain=find_toolchain(cc),
            target=target,
            openmp=openmp,
            defines=(f"BENCH_VECTOR_BYTES={max(target.vector_bits, 128) // 8}",),
        )
        self._ffi, self._lib = load_module("_bench_machine", library, CDEF, mode="abi")
        available = int(self._lib.bench_threads())
        self.threads = available if threads is None else min(threads, available)
        self.flops = ROUNDS * self.threads * self._lib.bench_flops_per_round(ITEM_BYTES[dtype])
        self._multiply_add = getattr(self._lib, f"bench_flops_{dtype}")
        self.clock = Clock(self._lib.bench_ticks)
        self.memories = _sizes(target)
        largest = max(size for size, _ in self.memories.values()) * self.threads
        self._memory = np.ones(largest // 8 + 16, np.uint64)  # written: every page is there
        aligned = -self._memory.ctypes.data % 64 // 8
        self._pointer = self._ffi.cast("void *", self._memory[aligned:].ctypes.data)
        for name in self.memories:
            self.read(name)
        self.multiply_add()

    def multiply_add(self) -> int:
        """Ticks for `flops` operations."""
        self._multiply_add(WARM_UP, self.threads)
        return int(self._multiply_add(ROUNDS, self.threads))

    def read(self, memory: str) -> int:
        """Ticks for `bytes_of(memory)` bytes."""
        size, rounds = self.memories[memory]
        return int(self._lib.bench_read(self._pointer, size * self.threads, rounds, self.threads))

    def bytes_of(self, memory: str) -> int:
        size, rounds = self.memories[memory]
        return size * rounds * self.threads


def _sizes(target: Target) -> Mapping[str, tuple[int, int]]:
    """Bytes that a thread reads of each kind of memory, and how many times over."""
    far = min(max(4 * target.l3_bytes, LEAST_DRAM_BYTES), MOST_DRAM_BYTES)
    near = {"L1": target.l1_bytes // 2, "L2": (target.l1_bytes + target.l2_bytes) // 2}
    return {n: (s, -(-CACHED_BYTES // s)) for n, s in near.items()} | {"DRAM": (far, 1)}


def _template(name: str) -> str:
    return (templates_directory() / name).read_text(encoding="utf-8")
