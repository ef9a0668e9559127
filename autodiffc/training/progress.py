"""A progress bar on the terminal: on stderr, and only where somebody watches.

The bar moves at most twenty times a second, so that drawing does not count in the timings. rich
honours NO_COLOR.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from autodiffc.training.history import EpochRecord
from autodiffc.training.protocol import Progress, Silent, TrainingPlan

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID

SECONDS_BETWEEN_UPDATES = 0.05


def progress_for_terminal(stream: TextIO | None = None) -> Progress:
    """A bar where `stream` (stderr unless given) is a terminal, else silence."""
    stream = sys.stderr if stream is None else stream
    return TerminalProgress(stream) if stream.isatty() else Silent()


class TerminalProgress:
    """One bar for the whole run, and a line for each finished epoch above it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.bar: RichBar | None = None
        self.task: TaskID | None = None
        self.epochs = 0
        self.pending = 0
        self.updated = 0.0

    def start(self, plan: TrainingPlan) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichBar

        self.epochs = plan.epochs
        self.bar = RichBar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]}"),
            console=Console(file=self.stream),
            transient=True,
        )
        self.bar.console.print(describe_plan(plan), highlight=False)
        total = plan.epochs * plan.steps_per_epoch
        self.task = self.bar.add_task("training", total=total, loss="…")
        self.bar.start()

    def step(self, loss: float) -> None:
        self.pending += 1
        now = time.monotonic()
        if now - self.updated >= SECONDS_BETWEEN_UPDATES:
            self._advance(f"{loss:.4f}")
            self.updated = now

    def epoch(self, record: EpochRecord) -> None:
        self._advance(f"{record.loss:.4f}")
        if self.bar is not None:
            self.bar.console.print(describe_epoch(record, self.epochs), highlight=False)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()

    def _advance(self, loss: str) -> None:
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, advance=self.pending, loss=loss)
            self.pending = 0


def describe_plan(plan: TrainingPlan) -> str:
    """One line, e.g. `digits: 1437 samples in 22 batches of 64 (29 left out), 360 held out`."""
    dropped = f" ({plan.dropped} left out of each epoch)" if plan.dropped else ""
    return (
        f"{plan.dataset}: {plan.training_samples} samples in {plan.steps_per_epoch} batches "
        f"of {plan.batch}{dropped}, {plan.held_out_samples} held out"
    )


def describe_epoch(record: EpochRecord, epochs: int) -> str:
    """One line, e.g. `epoch  3/10  loss 0.0831  accuracy 97.10 %  0.41 s  9800 images/s`."""
    accuracy = "" if record.accuracy is None else f"  accuracy {record.accuracy:6.2%}"
    return (
        f"epoch {record.epoch:{len(str(epochs))}}/{epochs}  loss {record.loss:.4f}{accuracy}  "
        f"{record.seconds:.2f} s  {record.images_per_second:,.0f} images/s"
    )
