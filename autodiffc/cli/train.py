"""`autodiffc train`: epochs over a data set, and how well the model does afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autodiffc.cli.console import guarded, message, plain, table
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

if TYPE_CHECKING:
    from autodiffc.dsl.model import Model
    from autodiffc.training import History, Schedule


@guarded
def train_model(
    file: ModelFile,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="SET",
            help="mnist5k, digits, breast_cancer, idx:IMAGES,LABELS or npz:FILE.",
        ),
    ],
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.")] = 10,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Write the weights (safetensors)."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            metavar="N",
            help="Samples in a step, where the model leaves that open (--set batch=1..128).",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", min=0.0, help="Learning rate of the first epoch, falling to 0."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Start and order of samples.")] = 0,
    holdout: Annotated[
        float,
        typer.Option("--holdout", min=0.0, help="Share (below 1) or number of samples to test on."),
    ] = 0.2,
    sizes: Sizes = None,
    dtype: Dtype = "float32",
    target: TargetName = "native",
    threads: Threads = None,
    no_openmp: NoOpenMP = False,
    cc: CompilerCommand = None,
) -> None:
    """Train a model and print how well it does."""
    from autodiffc import pipeline
    from autodiffc.data import load
    from autodiffc.dsl.files import load_model
    from autodiffc.training import fit, progress_for_terminal

    model = load_model(file)
    schedule = _schedule(model, lr)
    if save is not None:
        _check_folder(save)
    dataset = load(data)
    compiled = pipeline.compile(
        model,
        dims=read_sizes(sizes),
        dtype=dtype,
        target=target,
        threads=threads,
        openmp=not no_openmp,
        cc=cc,
    )
    history = fit(
        compiled,
        dataset,
        epochs=epochs,
        batch=batch,
        schedule=schedule,
        seed=seed,
        progress=progress_for_terminal(),
        holdout=holdout if holdout < 1 else int(holdout),
        try_threads=threads is None,
    )
    table(("", ""), _results(history))
    if save is not None:
        compiled.save_weights(save)
        message(f"weights saved to {save}")


def _check_folder(save: Path) -> None:
    """Found out before the training, not after it."""
    from autodiffc.errors import ArgumentError

    if not save.parent.is_dir():
        raise ArgumentError(
            "the weights cannot be saved there",
            found=f"no folder {save.parent}",
            expected="--save FILE in a folder that exists",
        )


def _schedule(model: Model, lr: float | None) -> Schedule | None:
    """A learning rate that falls linearly, where the optimizer has one."""
    from autodiffc.errors import ArgumentError
    from autodiffc.training import LinearFall

    optimizer: Any = model.optimizer
    if optimizer is None:
        raise ArgumentError(
            f"the model {model.name} cannot be trained",
            found="no optimizer",
            expected='ad.Model(..., differentiate="loss", optimizer=ad.SGD(lr=0.05))',
            loc=model.loc,
        )
    rate = optimizer.scalars.get("lr") if lr is None else lr
    return None if rate is None else LinearFall(rate)


def _results(history: History) -> list[tuple[str, str]]:
    last = history.records[-1]
    rows = [("loss", f"{last.loss:.4f}")]
    if history.accuracy is not None:
        rows.append(("accuracy", f"{history.accuracy:.2%}"))
    rows.append(("seconds per epoch", f"{history.seconds / len(history.records):.3g}"))
    rows.append(("images per second", plain(f"{history.images_per_second:,.0f}")))
    return rows
