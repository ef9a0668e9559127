"""The training loop.

Each epoch visits the training samples in an order of its own, drawn from the seed, in full batches;
then the held-out samples are scored. The same seed gives the same run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autodiffc.data import Dataset
from autodiffc.errors import ArgumentError, DataError
from autodiffc.training.evaluate import Evaluation
from autodiffc.training.history import EpochRecord, History
from autodiffc.training.inputs import Feed, feed
from autodiffc.training.protocol import Progress, Silent, Trainable, TrainingPlan
from autodiffc.training.schedule import Schedule
from autodiffc.training.threads import ThreadTrial


def fit(
    compiled: Trainable,
    dataset: Dataset,
    *,
    epochs: int = 10,
    batch: int | None = None,
    schedule: Schedule | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    holdout: float | int = 0.2,
    output: str | None = None,
    initialize: bool = True,
    try_threads: bool = False,
) -> History:
    """Trains `compiled` on `dataset` and says how each epoch went.

    `batch` defaults to the size of the model's batch dim; where that is open, to its default
    within the range. With an open batch dim the last batch is smaller; samples that fill no batch
    of a size that the model takes are left out of the epoch (`History.dropped`, and told to
    `progress`). `schedule` gives each epoch's learning rate, through
    `set(lr=…)`; without one the model's own rate stays. `holdout` is the share (float) or number
    (integer) of samples kept for accuracy, stratified by class; 0 trains on everything. `output`
    names the output with the class scores. `initialize=False` goes on from the present weights.
    `try_threads=True` lets the first steps find out whether one thread or all of them are faster
    on this machine, now; results do not depend on it.
    """
    _check_epochs(epochs)
    training, held_out = dataset.split(holdout, seed) if holdout else (dataset, None)
    samples = feed(compiled, training)
    size = _batch_size(samples, batch)
    plan = _plan(dataset.name, epochs, size, samples, held_out)
    if initialize:
        compiled.init(seed=seed)
    evaluation = None
    if held_out is not None:
        evaluation = Evaluation(feed(compiled, held_out), size, output)
        evaluation.check(compiled)
    run = _Run(
        compiled, samples, plan, schedule, seed, progress or Silent(), evaluation, try_threads
    )
    return run.all_epochs()


class _Run:
    """One call of `fit`, everything decided."""

    def __init__(
        self,
        model: Trainable,
        samples: Feed,
        plan: TrainingPlan,
        schedule: Schedule | None,
        seed: int,
        progress: Progress,
        evaluation: Evaluation | None,
        try_threads: bool,
    ) -> None:
        self.model = model
        self.samples = samples
        self.plan = plan
        self.schedule = schedule
        self.seed = seed
        self.progress = progress
        self.evaluation = evaluation
        self.trial = ThreadTrial(model if try_threads else None)

    def all_epochs(self) -> History:
        records = []
        try:
            self.progress.start(self.plan)
            for epoch in range(self.plan.epochs):
                records.append(self.one_epoch(epoch))
                self.progress.epoch(records[-1])
        finally:
            self.progress.stop()
        return History(tuple(records), self.plan.dropped)

    def one_epoch(self, epoch: int) -> EpochRecord:
        rate = None if self.schedule is None else self.schedule(epoch, self.plan.epochs)
        if rate is not None:
            self.model.set(lr=rate)
        total, trained, started = 0.0, 0, time.perf_counter()
        for indices in self.batches(epoch):
            arrays = self.samples.batch(indices)
            loss = self.trial.run(lambda arrays=arrays: float(self.model.step(**arrays)))  # type: ignore[misc]
            self.progress.step(loss)
            total += loss * len(indices)
            trained += len(indices)
        seconds = time.perf_counter() - started
        accuracy = None if self.evaluation is None else self.evaluation.accuracy(self.model)
        return EpochRecord(epoch + 1, total / trained, accuracy, seconds, trained / seconds, rate)

    def batches(self, epoch: int) -> Iterator[NDArray[np.intp]]:
        """The positions of each batch's samples, in this epoch's order."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.samples))
        for start in range(0, len(order) - self.plan.dropped, self.plan.batch):
            yield order[start : start + self.plan.batch]


def _plan(
    name: str, epochs: int, batch: int, samples: Feed, held_out: Dataset | None
) -> TrainingPlan:
    rest = len(samples) % batch
    dropped = 0 if rest in samples.sizes else rest
    return TrainingPlan(
        dataset=name,
        epochs=epochs,
        batch=batch,
        steps_per_epoch=math.ceil((len(samples) - dropped) / batch),
        training_samples=len(samples),
        held_out_samples=0 if held_out is None else len(held_out),
        dropped=dropped,
    )


def _batch_size(samples: Feed, wanted: int | None) -> int:
    sizes = samples.sizes
    if wanted is not None and wanted not in sizes:
        raise ArgumentError(
            "this batch size cannot be trained with",
            found=f"batch={wanted}",
            expected=f"{_described(sizes)}, as the model was compiled",
        )
    size = samples.at_most(min(samples.usual, len(samples))) if wanted is None else wanted
    if size is None or size > len(samples):
        raise DataError(
            "too few samples for one batch",
            found=f"{len(samples)} samples to train with",
            expected=f"at least the batch of {size or sizes.start}",
        )
    return size


def _described(sizes: range) -> str:
    """ "64", "1 to 128", "2 to 8 in steps of 2"."""
    if len(sizes) == 1:
        return str(sizes.start)
    return f"{sizes.start} to {sizes[-1]}" + (f" in steps of {sizes.step}" * (sizes.step > 1))


def _check_epochs(epochs: int) -> None:
    if epochs < 1:
        raise ArgumentError(
            "training takes at least one epoch", found=f"epochs={epochs}", expected="1 or more"
        )
