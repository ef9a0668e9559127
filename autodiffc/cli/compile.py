"""`autodiffc compile`: a model file to C, a library and a Python module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autodiffc.cli.console import file_size, guarded, message, product
from autodiffc.cli.options import (
    CompilerCommand,
    Dtype,
    ModelFile,
    NoOpenMP,
    Prefix,
    Sizes,
    TargetName,
    Threads,
    read_sizes,
)

DEFAULT_FOLDER = "build"


@guarded
def compile_model(
    file: ModelFile,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Where to write (default: build/NAME)."),
    ] = None,
    sizes: Sizes = None,
    dtype: Dtype = "float32",
    target: TargetName = "native",
    threads: Threads = None,
    no_openmp: NoOpenMP = False,
    cc: CompilerCommand = None,
    prefix: Prefix = None,
    emit: Annotated[
        str, typer.Option("--emit", metavar="c|lib|module|all", help="What to write.")
    ] = "all",
) -> None:
    """Compile a model to C, a library and a Python module."""
    from autodiffc import pipeline
    from autodiffc.dsl.files import load_models

    _check_emit(emit)
    options = pipeline.BuildOptions.checked(
        dims=read_sizes(sizes),
        dtype=dtype,
        target=target,
        threads=threads,
        openmp=not no_openmp,
        cc=cc,
        prefix=prefix,
    )
    models = load_models(file)
    options.check_for(models)
    for name, model in models.items():
        built = pipeline.build(model, options, only_c=emit == "c")
        for path in pipeline.write(built, _folder(output, name, several=len(models) > 1), emit):
            product(f"{path}  {file_size(path.stat().st_size)}")
        if built.library is not None and not built.library.openmp and not no_openmp:
            message("note: built without OpenMP, `autodiffc doctor` says why")


def _check_emit(emit: str) -> None:
    from autodiffc.errors import ArgumentError
    from autodiffc.runtime.output import EMIT

    if emit not in EMIT:
        raise ArgumentError(
            "there is no such kind of output",
            found=repr(emit),
            expected="one of " + ", ".join(EMIT),
        )


def _folder(output: Path | None, name: str, *, several: bool) -> Path:
    if output is None:
        return Path(DEFAULT_FOLDER) / name
    return output / name if several else output
