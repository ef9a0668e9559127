"""One workload with one number of threads, in a process of its own; the findings go to a file.

A process of its own, because packages fix their number of threads when they are imported: OpenBLAS
reads its variable, XLA counts the processors that the process may use. So this process is held to
as many processors as it shall have threads before any peer is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload")
    parser.add_argument("output", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--sample-seconds", type=float, default=0.003)
    chosen = parser.parse_args(arguments)
    _limit_threads(chosen.threads)
    from benchmarks.harness import Limits

    limits = Limits(chosen.rounds, chosen.seconds, chosen.sample_seconds)
    found = measure(chosen.workload, chosen.threads, limits)
    chosen.output.write_text(json.dumps(found), encoding="utf-8")


def _limit_threads(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, available[:threads])
    if "numpy" in sys.modules:
        raise RuntimeError("NumPy has been imported before its threads were limited")


def measure(name: str, threads: int, limits: Any) -> dict[str, Any]:
    """The findings of one workload, as plain data."""
    from autodiffc.bench.machine import Machine
    from autodiffc.targets import get_target
    from benchmarks.harness import NotThere, check, race
    from benchmarks.workloads import WORKLOADS

    workload = WORKLOADS[name]
    found: dict[str, Any] = {
        "workload": name,
        "title": workload.title,
        "dtype": workload.dtype,
        "threads": threads,
        "aims": dict(workload.aims),
    }
    try:
        entered = workload.enter(threads)
    except NotThere as reason:
        return found | {"skipped": str(reason)}
    check(entered.contestants, workload.tolerance)
    target = get_target("native")
    machine = Machine(target, workload.dtype, threads=threads, openmp=True, cc=None)
    outcome = race(entered.contestants, machine, limits)
    ours = outcome.seconds[entered.contestants[0].name]
    contestants = [
        {
            "name": c.name,
            "version": c.version,
            "threads": c.threads,
            "seconds": outcome.seconds[c.name].plain(),
            "processors": outcome.processors[c.name].median,
            "ratio": outcome.seconds[c.name].median / ours.median,
            "ratio_spread": outcome.seconds[c.name].per(ours).spread,
        }
        for c in entered.contestants
    ]
    return found | {
        "rounds": len(ours.values),
        "flops": entered.flops,
        "bytes": entered.bytes,
        "peak_flops_per_second": outcome.peak.plain(),
        "dram_bytes_per_second": outcome.bandwidth.plain(),
        "contestants": contestants,
        "absent": entered.absent,
    }


if __name__ == "__main__":
    main()
