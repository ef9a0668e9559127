"""The shell's `autodiffc`: one file a command.

    app        the commands, and what happens to errors and Ctrl-C
    options    the options that several commands share
    console    what goes to stdout and what to stderr

A command imports what it needs when it runs, so that `autodiffc --help` is there at once.
"""

from __future__ import annotations

import gc
import io
import sys

FEW_COLLECTIONS = 100_000  # objects; what a command makes is mostly there to stay


def main() -> None:
    """The entry point of `autodiffc` and of `python -m autodiffc`."""
    gc.set_threshold(FEW_COLLECTIONS)
    from autodiffc.cli.app import app

    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without Σ shows its number
        sys.stdout.reconfigure(errors="backslashreplace")
    app(prog_name="autodiffc")
