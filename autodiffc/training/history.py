"""What a training run leaves behind: one record per epoch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the training samples.

    `loss` is the mean over the epoch's batches, taken while the weights change; `accuracy` the
    share of held-out samples classified right after it (None where nothing is held out);
    `seconds` and `images_per_second` count the training steps alone, not the evaluation.
    """

    epoch: int  # counts from 1
    loss: float
    accuracy: float | None
    seconds: float
    images_per_second: float
    learning_rate: float | None  # None: the model's own default


@dataclass(frozen=True)
class History:
    """The records of all epochs, and how many samples each epoch left out.

    `dropped` is what did not fill a batch in each epoch; a shuffle decides anew which samples these
    are.
    """

    records: tuple[EpochRecord, ...]
    dropped: int

    @property
    def losses(self) -> list[float]:
        return [record.loss for record in self.records]

    @property
    def accuracies(self) -> list[float | None]:
        return [record.accuracy for record in self.records]

    @property
    def accuracy(self) -> float | None:
        """The accuracy after the last epoch."""
        return self.records[-1].accuracy

    @property
    def seconds(self) -> float:
        """The time spent in training steps, all epochs together."""
        return sum(record.seconds for record in self.records)

    @property
    def images_per_second(self) -> float:
        """The throughput of the training steps over all epochs."""
        samples = sum(record.images_per_second * record.seconds for record in self.records)
        return samples / self.seconds
