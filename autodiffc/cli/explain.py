"""`autodiffc explain`: the forward and the backward column."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from autodiffc.cli.console import guarded, product
from autodiffc.cli.options import ModelFile


@guarded
def explain_model(
    file: ModelFile,
    format: Annotated[
        str, typer.Option("--format", metavar="text|latex|html", help="How to print it.")
    ] = "text",
) -> None:
    """The forward / backward table, formula by formula."""
    from autodiffc.dsl.files import load_models
    from autodiffc.explain import WIDTH, check_format, derive, render

    check_format(format)
    width = shutil.get_terminal_size((WIDTH, 0)).columns
    rendered = [render(derive(model), format, width) for model in load_models(file).values()]
    product("\n".join(rendered).rstrip("\n"))
