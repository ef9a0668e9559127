"""All workloads, one process after the other: `python -m benchmarks`.

    python -m benchmarks                          everything; some 20 minutes
    python -m benchmarks lenet5-32 matmul-512     some workloads
    python -m benchmarks --threads 1 --rounds 60  one thread, more rounds
    python -m benchmarks --list

The table goes to stdout; --output has results.json and table.md after each workload, the rooflines
at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    from benchmarks import report
    from benchmarks.workloads import WORKLOADS

    if chosen.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:<14} {workload.title} ({workload.dtype})")
        return 0
    names = _select(list(WORKLOADS), chosen.workloads)
    pairs = [
        (name, threads)
        for name in names
        for threads in WORKLOADS[name].threads
        if threads in chosen.threads
    ]
    found: list[dict[str, Any]] = []
    try:
        for each in _measure(pairs, chosen):
            found.append(each)
            report.write(report.whole(found), chosen.output)
    except KeyboardInterrupt:
        print(f"interrupted after {len(found)} of {len(pairs)}", file=sys.stderr)
    run = report.whole(found)
    written = [*report.write(run, chosen.output), *report.plots(run, chosen.output)]
    print(report.markdown(run), end="")
    for path in written:
        print(path, file=sys.stderr)
    return int(any("failed" in each for each in run["workloads"]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("workloads", nargs="*", help="names or patterns such as 'lenet5-*'")
    parser.add_argument("--list", action="store_true", help="name the workloads")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0, help="at most, for each workload")
    parser.add_argument("--sample-seconds", type=float, default=0.003)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "benchmarks")
    return parser


def _select(known: Sequence[str], patterns: Sequence[str]) -> list[str]:
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in known):
            raise SystemExit(f"no workload is called {pattern!r}: {', '.join(known)}")
    return [n for n in known if not patterns or any(fnmatch(n, p) for p in patterns)]


def _measure(
    pairs: Sequence[tuple[str, int]], chosen: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The findings of each; one that fails is told with the end of its output, and does not stop
    the others."""
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, threads) in enumerate(pairs):
            print(f"[{number + 1}/{len(pairs)}] {name}, {threads} thread(s)", file=sys.stderr)
            output = Path(folder) / f"{number}.json"
            options = {
                "threads": threads,
                "rounds": chosen.rounds,
                "seconds": chosen.seconds,
                "sample-seconds": chosen.sample_seconds,
            }
            flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
            command = [sys.executable, "-m", "benchmarks.worker", name, str(output), *flags]
            done = subprocess.run(
                command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                yield json.loads(output.read_text(encoding="utf-8"))
            else:
                yield _failed(name, threads, done.stderr)


def _failed(name: str, threads: int, output: str) -> dict[str, Any]:
    from benchmarks.workloads import WORKLOADS

    print(output, file=sys.stderr)
    lines = output.strip().splitlines() or ["no output"]
    return {
        "workload": name,
        "title": WORKLOADS[name].title,
        "dtype": WORKLOADS[name].dtype,
        "threads": threads,
        "aims": {},
        "skipped": f"failed: {lines[-1]}",
        "failed": True,
    }


if __name__ == "__main__":
    sys.exit(main())
