"""How long the whole `autodiffc compile` takes with a cold cache, on one processor.

    python benchmarks/compile_time.py                        LeNet-5, five times
    python benchmarks/compile_time.py examples/quiz.py 9     another model, nine times

Prints seconds by the clock and seconds of processor time: where they differ, others were using the
machine, and the least of the processor times is the figure to trust.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def compile_once(model: Path, folder: Path) -> tuple[float, float]:
    """Seconds by the clock, and of processor time."""
    settings = {"AUTODIFFC_CACHE": str(folder / "cache"), "AUTODIFFC_VERIFY": "0"}
    command = (sys.executable, "-m", "autodiffc", "compile", str(model), "-o", str(folder / "out"))
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, **settings}, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


def main(model: str = "examples/lenet5.py", times: str = "5") -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as root:
        compile_once(ROOT / model, Path(root) / "warm")  # bytecode of Python's modules
        found = [compile_once(ROOT / model, Path(root) / str(k)) for k in range(int(times))]
    for name, values in zip(("clock", "processor"), zip(*found, strict=True), strict=True):
        median = statistics.median(values)
        print(
            f"{name:10} least {min(values):.2f} s  median {median:.2f} s  most {max(values):.2f} s"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
