"""The findings as plain data (`--json`) and as the rows of a table.

The plain data has every sample, so that other statistics than medians can be made of it.
"""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterator
from typing import Any

from autodiffc.bench.measure import EntryResult, KernelResult, Result, Work
from autodiffc.build import find_toolchain
from autodiffc.targets import cpu_description, get_target
from autodiffc.version import __version__

CALM = 0.95  # the least share of a processor with which medians are to be trusted
FORMAT = 1  # raise it when the meaning of a key changes
HEADINGS = ("kernel", "calls", "time", "±", "of all", "GFLOP/s", "of peak", "GB/s", "of DRAM")
Row = tuple[str, ...]


# --- Plain data ---


def plain_result(result: Result) -> dict[str, Any]:
    """Everything, as JSON can hold it."""
    return {
        "format": FORMAT,
        "autodiffc": __version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": plain_machine(result.options.target, result.options.cc, result.options.openmp),
        "model": result.manifest["name"],
        "dtype": result.manifest["dtype"],
        "dims": {n: d.get("value", d.get("high")) for n, d in result.manifest["dims"].items()},
        "threads": result.threads,
        "rounds": result.rounds,
        "processor_share": result.processor_share,
        "peak_flops_per_second": result.peak.plain(),
        "bytes_per_second": {name: s.plain() for name, s in result.bandwidth.items()},
        "entries": {e.entry: _entry(result, e) for e in result.entries},
    }


def plain_machine(target_name: str, cc: str | None, openmp: bool) -> dict[str, Any]:
    """Where it was measured, and with which compiler."""
    target, toolchain = get_target(target_name), find_toolchain(cc)
    return {
        "processor": cpu_description(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "vector_bits": target.vector_bits,
        "cache_bytes": {"L1": target.l1_bytes, "L2": target.l2_bytes, "L3": target.l3_bytes},
        "compiler": toolchain.describe(),
        "flags": list(toolchain.compile_flags(target, openmp=openmp)),
    }


def _entry(result: Result, entry: EntryResult) -> dict[str, Any]:
    return {
        **_work(result, entry.work),
        "profiled_seconds": entry.profiled.plain(),
        "kernel_seconds": entry.kernel_seconds,
        "kernels": [_kernel(result, k) for k in entry.kernels],
    }


def _kernel(result: Result, kernel: KernelResult) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "kind": kernel.kind,
        "formulas": list(kernel.formulas),
        "calls": kernel.calls,
        **_work(result, kernel.work),
    }


def _work(result: Result, work: Work) -> dict[str, Any]:
    return {
        "seconds": work.seconds.plain(),
        "flops": work.flops,
        "bytes": work.bytes,
        "flops_per_second": work.flops_per_second,
        "bytes_per_second": work.bytes_per_second,
        "peak_share": result.peak_share(work),
        "bandwidth_share": result.bandwidth_share(work),
        "roof_share": result.roof_share(work),
    }


# --- Tables ---


def machine_rows(result: Result) -> Iterator[Row]:
    """What the machine can do, as measured in between."""
    dtype, threads = result.manifest["dtype"], result.threads
    yield "processor", cpu_description(), ""
    yield "threads", str(threads), ""
    peak = result.peak
    yield f"multiply-add {dtype}", f"{peak.median / 1e9:.1f} GFLOP/s", f"± {peak.spread:.0%}"
    for name, samples in result.bandwidth.items():
        yield f"read {name}", f"{samples.median / 1e9:.1f} GB/s", f"± {samples.spread:.0%}"
    busy = "others wanted the processor, too" if is_disturbed(result) else ""
    yield "processor time", f"{result.processor_share:.0%} of the time", busy


def is_disturbed(result: Result) -> bool:
    """Whether one thread did not have a processor for itself; of several, waiting is no sign."""
    return result.threads == 1 and result.processor_share < CALM


def entry_rows(result: Result, entry: EntryResult) -> Iterator[Row]:
    """The whole call, its kernels by time, and what lies between them."""
    yield _row(result, entry.entry, "", entry.work, "")
    for kernel in entry.kernels:
        share = kernel.work.seconds.median / entry.profiled.median
        yield _row(result, kernel.name, f"{kernel.calls:g}", kernel.work, f"{share:.1%}")
    between = entry.profiled.median - entry.kernel_seconds
    share = between / entry.profiled.median
    yield ("between kernels", "", duration(between), "", f"{share:.1%}", "", "", "", "")


def _row(result: Result, name: str, calls: str, work: Work, share: str) -> Row:
    flops, moved = work.flops_per_second, work.bytes_per_second
    return (
        name,
        calls,
        duration(work.seconds.median),
        f"{work.seconds.spread:.0%}",
        share,
        f"{flops / 1e9:.1f}" if flops else "",
        f"{result.peak_share(work):.1%}" if flops else "",
        f"{moved / 1e9:.1f}" if moved else "",
        f"{result.bandwidth_share(work):.0%}" if moved else "",
    )


def duration(seconds: float) -> str:
    """Three digits and a unit: 12.9 ns, 871 µs."""
    value, unit = seconds * 1e9, "ns"
    for larger in ("µs", "ms", "s"):
        if abs(value) < 999.5:
            break
        value, unit = value / 1e3, larger
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"
