"""`autodiffc inspect`: what a model became: sizes, kernels with their formulas, flags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autodiffc.cli.console import guarded, message, plain, product, table
from autodiffc.cli.options import (
    CompilerCommand,
    Dtype,
    NoOpenMP,
    Sizes,
    TargetName,
    Threads,
    read_sizes,
)
from autodiffc.errors import ArgumentError

if TYPE_CHECKING:
    from autodiffc.dsl.model import Model
    from autodiffc.pipeline import BuildOptions

Manifest = Mapping[str, Any]


@guarded
def inspect_model(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.py|DIR", help="A model file, or what compile wrote.")
    ],
    sizes: Sizes = None,
    dtype: Dtype = "float32",
    target: TargetName = "native",
    threads: Threads = None,
    no_openmp: NoOpenMP = False,
    cc: CompilerCommand = None,
    graph: Annotated[
        Path | None,
        typer.Option("--graph", metavar="FILE.svg|.dot", help="Draw the graph into a file."),
    ] = None,
) -> None:
    """Sizes, kernels and flags of a model.

    Parameters, FLOPs, arena bytes, kernels with their formulas, flags.
    """
    if graph is not None:
        _check_graph(graph, model)
    if model.is_dir():
        from autodiffc.runtime.output import read_manifest

        _show(read_manifest(model))
        return
    from autodiffc.dsl.files import load_models
    from autodiffc.pipeline import BuildOptions, build

    options = BuildOptions.checked(
        dims=read_sizes(sizes),
        dtype=dtype,
        target=target,
        threads=threads,
        openmp=not no_openmp,
        cc=cc,
    )
    models = load_models(model)
    options.check_for(models)
    manifests = [build(each, options, only_c=True).manifest for each in models.values()]
    if graph is not None:
        _draw(models, graph)
    for manifest in manifests:
        _show({**manifest, "flags": _flags(options)})


def _flags(options: BuildOptions) -> str:
    """The compiler's command line, or why there is none."""
    from autodiffc.build import find_toolchain
    from autodiffc.errors import ToolchainError
    from autodiffc.targets import get_target

    try:
        toolchain = find_toolchain(options.cc)
    except ToolchainError as error:
        return f"none: {error.message}"
    flags = toolchain.compile_flags(get_target(options.target), openmp=options.openmp)
    return " ".join([*toolchain.command, *flags])


# --- Tables ---


def _show(manifest: Manifest) -> None:
    table(("", ""), [(key, plain(value)) for key, value in _facts(manifest)])
    for title, rows in (("inputs", "inputs"), ("outputs", "outputs")):
        _section(title, ("name", "shape", "dtype"), map(_typed, manifest[rows]))
    for title in ("params", "states"):
        _section(title, ("name", "shape", "elements"), map(_sized, manifest[title]))
    _section("kernels", ("name", "FLOPs", "formula"), _kernels(manifest["kernels"]))


def _section(title: str, headings: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
    listed = [tuple(plain(cell) for cell in row) for row in rows]
    if listed:
        product("")
        table(headings, listed, title=title)


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "model", f"{manifest['name']} ({manifest['dtype']})"
    for name, size in manifest["dims"].items():
        yield f"dim {name}", f"{size['low']}..{size['high']}" if size["open"] else size["value"]
    parameters = sum(p["size"] for p in manifest["params"])
    if parameters:
        yield "parameters", f"{parameters:,} in {len(manifest['params'])} tensors"
    if manifest.get("differentiate"):
        yield "gradient of", f"{manifest['differentiate']} by {', '.join(manifest['wrt'])}"
    for entry, count in manifest["flops"].items():
        yield f"FLOPs {entry}", _count(count)
    for entry, count in manifest["arena_bytes"].items():
        yield f"arena {entry}", f"{count:,} bytes"
    yield "entries", ", ".join(manifest["entries"])
    yield "target", manifest["target"]
    yield from _build_facts(manifest)


def _build_facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    if "flags" in manifest:
        yield "compiler", manifest["flags"]
    for command in manifest.get("commands", ()):
        yield "command", " ".join(command)
    if "openmp" in manifest:
        yield "OpenMP", "yes" if manifest["openmp"] else "no"
    for file in manifest.get("files", ()):
        yield "file", file


def _typed(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["name"], _shape(entry["shape"]), entry["dtype"]


def _sized(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["name"], _shape(entry["shape"]), f"{entry['size']:,}"


def _kernels(kernels: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """One row a formula; name and FLOPs stand at the first."""
    for kernel in kernels:
        name, flops = kernel["name"], _count(kernel["flops"])
        for formula in kernel["formulas"] or ("",):
            yield name, flops, formula
            name = flops = ""


def _count(count: int | str) -> str:
    """An expression where it depends on open dims."""
    return f"{count:,}" if isinstance(count, int) else count


def _shape(shape: Sequence[Any]) -> str:
    return "(" + ", ".join(_extent(e) for e in shape) + ("," if len(shape) == 1 else "") + ")"


def _extent(extent: Any) -> str:
    if isinstance(extent, int):
        return str(extent)
    factor = "" if extent["coefficient"] == 1 else f"{extent['coefficient']}*"
    constant = extent["constant"]
    rest = f" {'-' if constant < 0 else '+'} {abs(constant)}" if constant else ""
    return f"{factor}{extent['dim']}{rest}"


# --- The graph's file ---


def _check_graph(graph: Path, model: Path) -> None:
    from autodiffc.cli.drawing import SUFFIXES

    if graph.suffix not in SUFFIXES:
        raise ArgumentError(
            "the graph cannot be drawn into such a file",
            found=str(graph),
            expected="a name ending in " + " or ".join(SUFFIXES),
        )
    if not graph.parent.is_dir():
        raise ArgumentError(
            "the graph cannot be drawn there",
            found=f"no folder {graph.parent}",
            expected="--graph FILE in a folder that exists",
        )
    if model.is_dir():
        raise ArgumentError(
            "a compiled folder does not hold the graph any more",
            found=str(model),
            expected="--graph with the model file",
        )


def _draw(models: Mapping[str, Model], graph: Path) -> None:
    """One file a model; several have the model's name in theirs."""
    from autodiffc.cli.drawing import draw

    for name, model in models.items():
        path = graph if len(models) == 1 else graph.with_stem(f"{graph.stem}_{name}")
        _write(path, draw(model.graph, path.suffix, name))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ArgumentError(
            "the graph's file cannot be written",
            found=f"{path}: {error.strerror}",
            expected="a file that can be written",
        ) from error
    message(f"graph drawn into {path}")
