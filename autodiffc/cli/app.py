"""The commands in the order of the help text, and the ways a run ends.

Exit code 0: done. 1: a check failed. 2: wrong usage or a failed build. 130: interrupted.
"""

from __future__ import annotations

import typer

from autodiffc.cli.bench import bench_model
from autodiffc.cli.check import check_model
from autodiffc.cli.compile import compile_model
from autodiffc.cli.doctor import show_doctor
from autodiffc.cli.explain import explain_model
from autodiffc.cli.inspect import inspect_model
from autodiffc.cli.train import train_model

# Plain help texts: rich's take longer to import than everything else together.
app = typer.Typer(
    name="autodiffc",
    help="A symbolic autodiff compiler: formulas in Python, gradients and kernels in plain C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from autodiffc.version import __version__

        typer.echo(f"autodiffc {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Options before the command."""


for _name, _command in (
    ("compile", compile_model),
    ("explain", explain_model),
    ("check", check_model),
    ("train", train_model),
    ("bench", bench_model),
    ("inspect", inspect_model),
    ("doctor", show_doctor),
):
    app.command(_name)(_command)
