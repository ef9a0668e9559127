"""The roofline plot: operations a second over operations a byte.

No kernel can be above the roofs: the horizontal one is what multiply-adds from registers reach, the
slopes are what each kind of memory can feed. A kernel's bytes are those of its operands and
results, each once; where they come from a cache, it may stand above the slope of DRAM.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodiffc.bench.measure import EntryResult, Result
from autodiffc.errors import ArgumentError, ToolchainError

SUFFIXES = (".png", ".svg")
LABELLED = 15  # of the marks with a name, those that take the most time
DPI = 150


@dataclass(frozen=True)
class Point:
    """One kernel: what it did, in how many seconds, and how large its mark is."""

    name: str
    flops: float
    bytes: float
    seconds: float
    share: float
    group: str = ""


def check_file(path: Path) -> None:
    """Refuses a file that cannot be a plot before anything is measured."""
    if path.suffix not in SUFFIXES:
        raise ArgumentError(
            "the plot cannot be drawn into such a file",
            found=str(path),
            expected="a name ending in " + " or ".join(SUFFIXES),
        )
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise ToolchainError(
            "a plot needs matplotlib",
            found="no module matplotlib",
            help="pip install 'autodiffc[plot]'",
        ) from None


def points_of(entry: EntryResult) -> list[Point]:
    """The kernels of an entry that compute something, longest first."""
    total = entry.kernel_seconds or 1.0
    return [
        Point(
            k.name.removeprefix("kernel_"),
            k.work.flops,
            k.work.bytes,
            k.work.seconds.median,
            k.work.seconds.median / total,
            entry.entry,
        )
        for k in entry.kernels
        if k.work.flops and k.work.bytes and k.work.seconds.median
    ]


def plot_result(result: Result, path: Path) -> None:
    """All kernels of all entries."""
    points = [p for e in result.entries for p in points_of(e)]
    slopes = {name: s.median for name, s in result.bandwidth.items()}
    title = f"{result.manifest['name']}, {result.manifest['dtype']}, {result.threads} thread(s)"
    plot_points(points, result.peak.median, slopes, title, [path])


def plot_points(
    points: Iterable[Point],
    peak: float,
    slopes: Mapping[str, float],
    title: str,
    paths: Iterable[Path],
) -> None:
    """The points under their roofs, into each of the files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = list(points)
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _roofs(axes, peak, slopes, points)
    for group in dict.fromkeys(p.group for p in points):
        members = [p for p in points if p.group == group]
        axes.scatter(
            [p.flops / p.bytes for p in members],
            [p.flops / p.seconds for p in members],
            s=[20 + 600 * p.share for p in members],
            alpha=0.6,
            label=group or None,
        )
    _labels(axes, points)
    axes.set(xscale="log", yscale="log", title=title)
    axes.set(xlabel="operations a byte of operands and results", ylabel="operations a second")
    axes.grid(which="both", alpha=0.2)
    if any(p.group for p in points):
        axes.legend(loc="lower right")
    for path in paths:
        # without a date, so that the same figures give the same file
        metadata = {"Date": None} if path.suffix == ".svg" else None
        try:
            figure.savefig(path, dpi=DPI, metadata=metadata)
        except OSError as error:
            raise ArgumentError(
                "the plot cannot be written", found=f"{path}: {error.strerror}"
            ) from error


def _roofs(axes: Any, peak: float, slopes: Mapping[str, float], points: list[Point]) -> None:
    densities = [p.flops / p.bytes for p in points] or [1.0]
    left, right = min(*densities, 0.1) / 2, max(*densities, 100.0) * 2
    for name, slope in slopes.items():
        corner = peak / slope
        axes.plot([left, corner], [left * slope, peak], color="grey", linewidth=1)
        axes.annotate(
            f"{name} {slope / 1e9:.0f} GB/s",
            (left, left * slope),
            textcoords="offset points",
            xytext=(4, 6),
            fontsize=8,
            color="grey",
        )
    start = min(peak / s for s in slopes.values()) if slopes else left
    axes.plot([start, right], [peak, peak], color="black", linewidth=1)
    axes.annotate(
        f"multiply-add {peak / 1e9:.0f} GFLOP/s",
        (right, peak),
        textcoords="offset points",
        xytext=(-4, 4),
        ha="right",
        fontsize=8,
    )


def _labels(axes: Any, points: list[Point]) -> None:
    """Numbers beside the marks of the longest, what they mean beside the axes."""
    longest = sorted((p for p in points if p.name), key=lambda p: -p.seconds)[:LABELLED]
    for number, point in enumerate(longest, 1):
        axes.annotate(
            str(number),
            (point.flops / point.bytes, point.flops / point.seconds),
            textcoords="offset points",
            xytext=(7, 4),
            fontsize=8,
        )
    listed = "\n".join(f"{n}  {p.name}" for n, p in enumerate(longest, 1))
    axes.text(1.02, 1.0, listed, transform=axes.transAxes, va="top", fontsize=8, linespacing=1.5)
