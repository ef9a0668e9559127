"""`autodiffc check`: gradients against finite differences, compiled C against the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from autodiffc.cli.console import FAILED, guarded, message, plain, table
from autodiffc.cli.options import (
    CompilerCommand,
    ModelFile,
    Sizes,
    TargetName,
    read_sizes,
)

if TYPE_CHECKING:
    from autodiffc.cli.comparison import Finding


@guarded
def check_model(
    file: ModelFile,
    sizes: Sizes = None,
    target: TargetName = "native",
    cc: CompilerCommand = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random inputs.")] = 0,
) -> None:
    """Check gradients and compiled C.

    Gradients against finite differences, compiled C against the NumPy reference.

    Exit code 1 if anything is beyond its tolerance.
    """
    from autodiffc.dsl.files import load_models
    from autodiffc.pipeline import BuildOptions

    models = load_models(file)
    chosen = read_sizes(sizes)
    BuildOptions.checked(dims=chosen, target=target, cc=cc).check_for(models)
    from autodiffc.cli.comparison import compare_model

    findings: list[Finding] = []
    for name, model in models.items():
        own = {d.name: chosen[d.name] for d in model.dims if d.name in chosen}
        found = compare_model(model, dims=own, target=target, cc=cc, seed=seed)
        table(_HEADINGS, [_row(f) for f in found], title=name)
        findings += found
    failed = [f for f in findings if not f.passed]
    if failed:
        message(f"{len(failed)} of {len(findings)} checks failed")
        raise typer.Exit(FAILED)


_HEADINGS = ("what", "against", "dtype", "worst error", "tolerance", "")


def _row(finding: Finding) -> tuple[str, ...]:
    verdict = "[green]ok[/]" if finding.passed else "[red]FAILED[/]"
    if finding.note:
        verdict += f" {plain(finding.note)}"
    return (
        plain(finding.what),
        finding.against,
        finding.dtype,
        f"{finding.error:.1e}",
        f"{finding.tolerance:.0e}",
        verdict,
    )
