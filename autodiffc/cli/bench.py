"""`autodiffc bench`: how fast a model is, kernel by kernel, beside what the machine can do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autodiffc.cli.console import guarded, message, plain, product, table
from autodiffc.cli.options import (
    CompilerCommand,
    Dtype,
    ModelFile,
    NoOpenMP,
    Sizes,
    TargetName,
    Threads,
    read_sizes,
)
from autodiffc.errors import ArgumentError

if TYPE_CHECKING:
    from autodiffc.bench import Result


@guarded
def bench_model(
    file: ModelFile,
    sizes: Sizes = None,
    dtype: Dtype = "float32",
    target: TargetName = "native",
    threads: Threads = None,
    no_openmp: NoOpenMP = False,
    cc: CompilerCommand = None,
    entry: Annotated[
        str | None,
        typer.Option(
            "--entry",
            metavar="step|value_and_grad|forward|backward|predict|all",
            help="What to time (default: the first of these that the model has).",
        ),
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(
            "--repeat", min=1, metavar="N", help="Rounds (default: some seconds of them)."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every sample into a file.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png|.svg", help="Draw the roofline into a file."),
    ] = None,
) -> None:
    """Time, GFLOP/s and share of the machine's peak.

    Per kernel and in all; peak and memory bandwidth are measured in the same run, in between.
    """
    from autodiffc.bench import measure
    from autodiffc.dsl.files import load_models
    from autodiffc.pipeline import BuildOptions

    if plot is not None:
        from autodiffc.bench.plot import check_file

        check_file(plot)
    models = load_models(file)
    options = BuildOptions.checked(
        dims=read_sizes(sizes),
        dtype=dtype,
        target=target,
        threads=threads,
        openmp=not no_openmp,
        cc=cc,
    )
    options.check_for(models)
    results = {}
    for name, model in models.items():
        result = measure(model, options, entry=entry, rounds=repeat, progress=_progress)
        results[name] = result
        _show(result)
        if plot is not None:
            _plot(result, plot if len(models) == 1 else plot.with_stem(f"{plot.stem}_{name}"))
    if json_file is not None:
        _write(json_file, results)


def _progress(taken: int, limit: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if taken == limit else ""
        typer.echo(f"\rround {taken} of at most {limit}{end}", nl=False, err=True)


def _show(result: Result) -> None:
    from autodiffc.bench.report import HEADINGS, entry_rows, machine_rows

    if sys.stderr.isatty():
        typer.echo("\r\033[K", nl=False, err=True)
    dims = ", ".join(f"{n}={d.get('value', d.get('high'))}" for n, d in _dims(result).items())
    title = f"{result.manifest['name']} {result.manifest['dtype']} {dims}".rstrip()
    table(("", "", ""), [tuple(map(plain, row)) for row in machine_rows(result)], title=title)
    for entry in result.entries:
        product("")
        rows = [tuple(map(plain, row)) for row in entry_rows(result, entry)]
        table(HEADINGS, rows, title=f"{entry.entry}, medians of {result.rounds} rounds")


def _dims(result: Result) -> dict[str, Any]:
    dims: dict[str, Any] = result.manifest["dims"]
    return dims


def _plot(result: Result, path: Path) -> None:
    from autodiffc.bench.plot import plot_result

    plot_result(result, path)
    message(f"roofline drawn into {path}")


def _write(path: Path, results: dict[str, Result]) -> None:
    """One model's findings, or those of several by name."""
    from autodiffc.bench.report import plain_result

    found = {name: plain_result(result) for name, result in results.items()}
    listed = next(iter(found.values())) if len(found) == 1 else found
    try:
        path.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ArgumentError(
            "the findings cannot be written", found=f"{path}: {error.strerror}"
        ) from error
    message(f"findings written to {path}")
