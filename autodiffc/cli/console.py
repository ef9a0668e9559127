"""What goes where: the product to stdout, everything else to stderr.

`guarded` wraps a command, so that what the user can mend ends as a message and an exit code. What
he cannot, a bug of ours, ends as Python's traceback.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import ParamSpec, TextIO

import typer

from autodiffc.errors import AutodiffcError, CacheWarning, GradientCheckError

FAILED, MISUSED, INTERRUPTED = 1, 2, 130

Arguments = ParamSpec("Arguments")


def product(text: str) -> None:
    """What the command was asked for."""
    typer.echo(text)


def message(text: str) -> None:
    """What the command has to say about it."""
    typer.echo(text, err=True)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line, as `warnings.showwarning`. Where one of ours arose is no line of the user's."""
    place = "" if issubclass(category, CacheWarning) else f"{filename}:{lineno}: "
    typer.echo(f"warning: {place}{message}", err=True)


def guarded(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The command with its errors shown as messages and turned into exit codes."""

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = show_warning
                command(*args, **kwargs)
        except AutodiffcError as error:
            message(f"error: {error}")
            code = FAILED if isinstance(error, GradientCheckError) else MISUSED
            raise typer.Exit(code) from error
        except KeyboardInterrupt as error:
            message("interrupted")
            raise typer.Exit(INTERRUPTED) from error

    return run


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Aligned columns on stdout; cells may carry rich's markup, which only a terminal shows.

    Away from a terminal lines are as long as they need to be: nothing is wrapped or cut.
    """
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, show_header=any(headings), pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    on_terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, highlight=False, width=None if on_terminal else 10_000)
    with console.capture() as captured:
        if title:
            console.print(title, style="bold")
        console.print(grid)
    product("\n".join(line.rstrip() for line in captured.get().splitlines()))


def plain(text: object) -> str:
    """A cell's text with rich's markup signs as they are."""
    return str(text).replace("[", "\\[")


def file_size(count: int) -> str:
    """Bytes as a reader likes them: 512 B, 14.2 KiB, 3.1 MiB."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{size:.1f} {units[0]}"
