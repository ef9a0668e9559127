"""Single kernels beside the machine's peak: `python -m benchmarks.kernels`.

Layers of LeNet-5 are taken from its whole step; others are models of one layer, whose forward, dX
and dW are timed one by one. A row's kernel is the one with the most operations that its pattern
finds; what else the call needs (layout changes, packing) is shown apart, as *beside*. The share is
that of `autodiffc bench`: the kernel's median over the median of a peak measured in between. The
share at best is that of the fastest sample: far above the other, it tells of a busy machine.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import autodiffc as ad
from autodiffc.bench import EntryResult, KernelResult, Result, measure
from autodiffc.bench.report import duration
from autodiffc.pipeline import BuildOptions
from benchmarks.networks import LENET5, model

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """`pattern` is searched in a kernel's name and formulas; `roof` judges by peak and DRAM."""

    name: str
    build: Callable[[], ad.Model]
    aim: float
    pattern: str = ""
    batch: int | None = None
    roof: bool = False


@dataclass(frozen=True)
class Layer:
    """A convolution of square images."""

    channels: int
    features: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    batch: int = 8

    def build(self, part: str) -> ad.Model:
        x = ad.input("x", (self.batch, self.channels, self.size, self.size))
        w = ad.input("w", (self.features, self.channels, self.kernel, self.kernel))
        y = ad.conv2d(x, w, stride=self.stride, padding=self.padding)
        g = ad.input("g", y.shape)
        if part == "forward":
            return ad.Model("layer", {"y": y})
        return ad.Model("layer", {part: ad.grad(ad.sum(y * g), x if part == "dX" else w)})

    @property
    def title(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        sizes = f"{self.channels}→{self.features} on {self.size}²"
        return f"{self.kernel}×{self.kernel}{stride} {sizes}"


def _layer(layer: Layer, **aims: float) -> Iterator[Row]:
    for part, aim in aims.items():
        yield Row(f"{layer.title} {part}", lambda part=part: layer.build(part), aim)  # type: ignore[misc]


def _lenet5() -> Iterator[Row]:
    """The kernels of the step, by what they compute from what."""
    patterns = {
        "LeNet-5 conv1 forward": r"^(?!kernel_d_).*layer0_weight.*\[",
        "LeNet-5 conv1 dW": r"^kernel_d_layer0_weight",
        "LeNet-5 conv2 forward": r"^(?!kernel_d_).*layer2_weight.*\[",
        "LeNet-5 conv2 dW": r"^kernel_d_layer2_weight",
        "LeNet-5 conv2 dX": r"^kernel_d_(?!layer).*layer2_weight.*\[",
    }
    for name, pattern in patterns.items():
        yield Row(name, _lenet5_model, 0.80, pattern, batch=64)


def _lenet5_model() -> ad.Model:
    return model(LENET5)


def _matmul(size: int, form: str) -> ad.Model:
    a, b = ad.input("a", (size, size)), ad.input("b", (size, size))
    t = ad.transpose
    return ad.Model("product", {"c": {"A·B": a @ b, "Aᵀ·B": t(a) @ b, "A·Bᵀ": a @ t(b)}[form]})


def _connected() -> ad.Model:
    x, w = ad.input("x", (32, 9216)), ad.param("w", (4096, 9216))
    return ad.Model("connected", {"y": x @ ad.transpose(w)})


def _rows() -> Iterator[Row]:
    yield from _lenet5()
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        layer = Layer(channels, channels, size, 3, padding=1)
        yield from _layer(layer, forward=0.90, dX=0.90, dW=0.82)
    yield from _layer(Layer(3, 64, 224, 11, stride=4, padding=2), forward=0.88, dW=0.88)
    yield from _layer(Layer(64, 192, 27, 5, padding=2), forward=0.88, dX=0.88, dW=0.88)
    yield from _layer(Layer(192, 384, 13, 3, padding=1), forward=0.88, dX=0.88, dW=0.88)
    yield from _layer(Layer(64, 128, 56, 3, stride=2, padding=1), dX=0.85)
    yield from _layer(Layer(256, 512, 14, 1, stride=2), forward=0.85, dW=0.85)
    for size in (512, 1024):
        for form in ("A·B", "Aᵀ·B", "A·Bᵀ"):
            build = lambda s=size, f=form: _matmul(s, f)  # noqa: E731
            yield Row(f"matrix product {size}³ {form}", build, 0.88)
    yield Row("fully connected 32×4096×9216 forward", _connected, 0.75, roof=True)


ROWS: tuple[Row, ...] = tuple(_rows())


# --- Measuring ---


def kernel_of(row: Row, entry: EntryResult) -> KernelResult:
    """The kernel that a row is about."""
    found = [
        k
        for k in entry.kernels
        if any(re.search(row.pattern, f"{k.name} {text}") for text in (*k.formulas, ""))
    ]
    if not found:
        raise LookupError(f"{row.name}: no kernel matches {row.pattern!r}")
    return max(found, key=lambda k: k.work.flops)


def plain_row(row: Row, result: Result) -> dict[str, Any]:
    """A row's findings as plain data."""
    (entry,) = result.entries
    kernel = kernel_of(row, entry)
    share = (result.roof_share if row.roof else result.peak_share)(kernel.work)
    beside = 0.0 if row.pattern else entry.kernel_seconds - kernel.work.seconds.median
    return {
        "name": row.name,
        "kernel": kernel.name,
        "formulas": list(kernel.formulas),
        "seconds": kernel.work.seconds.plain(),
        "flops": kernel.work.flops,
        "bytes": kernel.work.bytes,
        "flops_per_second": kernel.work.flops_per_second,
        "peak_flops_per_second": result.peak.plain(),
        "dram_bytes_per_second": result.bandwidth["DRAM"].plain(),
        "share": share,
        "share_of": "peak and DRAM" if row.roof else "peak",
        "aim": row.aim,
        "best_share": share * kernel.work.seconds.median / min(kernel.work.seconds.values),
        "processor_share": result.processor_share,
        "beside_seconds": beside,
    }


def measured(rows: Sequence[Row], threads: int, rounds: int | None) -> Iterator[dict[str, Any]]:
    """The findings of all rows; a model that several rows are about is measured once."""
    known: dict[Callable[[], ad.Model], Result] = {}
    for number, row in enumerate(rows, 1):
        print(f"[{number}/{len(rows)}] {row.name}", file=sys.stderr)
        if row.build not in known:
            known.clear()
            dims = {} if row.batch is None else {"batch": row.batch}
            options = BuildOptions.checked(threads=threads, dims=dims)
            known[row.build] = measure(row.build(), options, rounds=rounds)
        yield plain_row(row, known[row.build])


HEADINGS = ("kernel", "time", "±", "GFLOP/s", "share", "at best", "of", "aim", "beside")


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """The table."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for f in found:
        cells = (
            f["name"],
            duration(f["seconds"]["median"]),
            f"{f['seconds']['spread']:.0%}",
            f"{f['flops_per_second'] / 1e9:.1f}",
            f"{f['share']:.1%}",
            f"{f['best_share']:.1%}",
            f["share_of"],
            f"{f['aim']:.0%}",
            duration(f["beside_seconds"]) if f["beside_seconds"] else "",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("rows", nargs="*", help="patterns such as '3×3*' or '*dW'")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, help="default: some seconds of them")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "benchmarks")
    chosen = parser.parse_args(arguments)
    rows = [r for r in ROWS if not chosen.rows or any(fnmatch(r.name, p) for p in chosen.rows)]
    if not rows:
        parser.error("no kernel is called so: " + ", ".join(r.name for r in ROWS))
    found = list(measured(rows, chosen.threads, chosen.rounds))
    chosen.output.mkdir(parents=True, exist_ok=True)
    text = markdown(found)
    (chosen.output / "kernels.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (chosen.output / "kernels.md").write_text(text, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
