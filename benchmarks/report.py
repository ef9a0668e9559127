"""The table, the JSON file and the roofline of a whole run."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autodiffc.bench.report import duration, plain_machine
from autodiffc.version import __version__

Found = Mapping[str, Any]
ROOT = Path(__file__).resolve().parents[1]


def whole(found: Sequence[Found]) -> dict[str, Any]:
    """Everything, with where and when it was measured."""
    return {
        "autodiffc": __version__,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": plain_machine("native", None, True),
        "versions": versions(found),
        "workloads": list(found),
    }


def commit() -> str | None:
    """The commit that the working tree stands on, with a mark where it has changed since."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def versions(found: Sequence[Found]) -> dict[str, str]:
    """The version of each package that took part."""
    packages: dict[str, str] = {}
    for each in found:
        for contestant in each.get("contestants", ()):
            packages[package_of(contestant["name"])] = contestant["version"]
    return packages


def package_of(name: str) -> str:
    """The package of a contestant: the first word of its name."""
    return str(name).replace(",", " ").split()[0]


# --- The table ---


def markdown(run: Mapping[str, Any]) -> str:
    """The whole run as a page: where, when, the ratios, every time."""
    machine = run["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    lines = [
        f"{machine['processor']} ({machine['processors']} processors), {machine['system']}, "
        f"{machine['compiler']}; commit {run['commit']}, {run['date']}.",
        f"Versions: {packages}; Python {machine['python']}.",
        "",
        *_grid(_RATIO_HEADINGS, _ratio_rows(run["workloads"])),
        "",
        *_grid(_TIME_HEADINGS, _time_rows(run["workloads"])),
    ]
    notes = list(_notes(run["workloads"]))
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


_RATIO_HEADINGS = (
    *("work", "type", "threads", "autodiffc", "of peak", "best peer", "its time", "ratio", "±"),
    "aim",
)
_TIME_HEADINGS = (
    "work",
    "threads",
    "contestant",
    "its threads",
    "processors",
    "time",
    "±",
    "ratio",
)


def _grid(headings: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _ratio_rows(found: Sequence[Found]) -> Iterator[Sequence[str]]:
    for each in found:
        contestants = each.get("contestants", ())
        for package, aim in each["aims"].items() if contestants else ():
            yield _ratio_row(each, package, aim)


def _ratio_row(each: Found, package: str, aim: float) -> Sequence[str]:
    ours, *others = each["contestants"]
    peers = [c for c in others if package in ("any", package_of(c["name"]))]
    seconds = ours["seconds"]["median"]
    share = each["flops"] / seconds / each["peak_flops_per_second"]["median"]
    start = (each["title"], each["dtype"], str(each["threads"]), duration(seconds), f"{share:.0%}")
    if not peers:
        return (*start, "none", "", "", "", f"{aim:.2g}")
    best = min(peers, key=lambda c: float(c["seconds"]["median"]))
    return (
        *start,
        best["name"],
        duration(best["seconds"]["median"]),
        f"{best['ratio']:.2f}",
        f"{best['ratio_spread']:.0%}",
        f"{aim:.2g}",
    )


def _time_rows(found: Sequence[Found]) -> Iterator[Sequence[str]]:
    for each in found:
        for c in each.get("contestants", ()):
            yield (
                each["title"],
                str(each["threads"]),
                c["name"],
                str(c["threads"]),
                f"{c['processors']:.2f}",
                duration(c["seconds"]["median"]),
                f"{c['seconds']['spread']:.0%}",
                f"{c['ratio']:.2f}",
            )


def _notes(found: Sequence[Found]) -> Iterator[str]:
    """Who did not take part, and why."""
    reasons: dict[str, None] = {}
    for each in found:
        title = f"{each['title']}, {each['dtype']}"
        if "skipped" in each:
            reasons[f"- {title}: {each['skipped']}"] = None
        for name, reason in each.get("absent", {}).items():
            reasons[f"- {title}: without {name}: {reason}"] = None
    yield from reasons


# --- Files ---


def write(run: Mapping[str, Any], folder: Path) -> list[Path]:
    """results.json and table.md."""
    folder.mkdir(parents=True, exist_ok=True)
    results, table = folder / "results.json", folder / "table.md"
    results.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    table.write_text(markdown(run), encoding="utf-8")
    return [results, table]


def plots(run: Mapping[str, Any], folder: Path) -> list[Path]:
    """One roofline for each type and number of threads, as PNG and SVG; none without matplotlib."""
    found: Sequence[Found] = run["workloads"]
    kinds = dict.fromkeys((f["dtype"], f["threads"]) for f in found if f.get("contestants"))
    written = []
    for dtype, threads in kinds:
        chosen = [
            f
            for f in found
            if f.get("contestants") and (f["dtype"], f["threads"]) == (dtype, threads)
        ]
        stem = f"roofline_{dtype}_{threads}"
        paths = [folder / f"{stem}.png", folder / f"{stem}.svg"]
        if not _plot(chosen, f"{dtype}, {threads} thread{'s' * (threads > 1)}", paths):
            return []
        written += paths
    return written


def _plot(found: Sequence[Found], title: str, paths: Sequence[Path]) -> bool:
    from autodiffc.bench.plot import Point, plot_points

    points = [
        Point(
            each["workload"] if number == 0 else "",
            each["flops"],
            each["bytes"],
            c["seconds"]["median"],
            0.1,
            package_of(c["name"]),
        )
        for each in found
        for number, c in enumerate(each["contestants"])
        if each["flops"] and each["bytes"]
    ]
    peak = max(each["peak_flops_per_second"]["median"] for each in found)
    dram = max(each["dram_bytes_per_second"]["median"] for each in found)
    try:
        plot_points(points, peak, {"DRAM": dram}, title, paths)
    except ModuleNotFoundError:
        return False
    return True
