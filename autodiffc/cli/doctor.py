"""`autodiffc doctor`: what the build finds on this machine."""

from __future__ import annotations

from autodiffc.cli.console import FAILED, guarded, plain, table
from autodiffc.cli.options import CompilerCommand

COLOURS = {"ok": "green", "warn": "yellow", "missing": "red"}


@guarded
def show_doctor(cc: CompilerCommand = None) -> None:
    """Look at compiler, OpenMP, SIMD and cache.

    What is there, what is missing, what to do. Exit code 1 if something is missing.
    """
    import typer

    from autodiffc.build.doctor import diagnose

    checks = diagnose(cc)
    rows = []
    for check in checks:
        colour = COLOURS[check.status]
        rows.append((plain(check.name), f"[{colour}]{check.status}[/]", plain(check.detail)))
        if check.advice:
            rows.append(("", "", plain(f"-> {check.advice}")))
    table(("", "", ""), rows)
    if any(check.status == "missing" for check in checks):
        raise typer.Exit(FAILED)
