"""What training asks of a model, and what it tells a progress display.

A compiled model satisfies `Trainable`; so does any object with these calls, such as the NumPy
stand-in of the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray

from autodiffc.training.history import EpochRecord

Shape = tuple[int | None, ...]  # None: an extent that stays open, chosen at each call
InputSpec = tuple[Shape, DTypeLike]


class Trainable(Protocol):
    """A model with parameters and an optimizer, as `fit` uses it."""

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """Each input's shape and dtype, under its name, in order of creation."""
        ...

    def axis_sizes(self, name: str, axis: int = 0) -> tuple[range, int]:
        """The sizes that an axis of an input may have, and the model's own among them."""
        ...

    def init(self, *, seed: int) -> object:
        """Sets parameters, states and optimizer to their start."""
        ...

    def step(self, **arrays: NDArray[Any]) -> float:
        """Forward, backward and update as one; the loss."""
        ...

    def predict(self, **arrays: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """Every output whose inputs are all given, under its name."""
        ...

    def set(self, *, lr: float) -> object:
        """Sets the learning rate of the steps to come."""
        ...


@dataclass(frozen=True)
class TrainingPlan:
    """What is about to run: told to the progress display before the first step."""

    dataset: str
    epochs: int
    batch: int
    steps_per_epoch: int
    training_samples: int
    held_out_samples: int
    dropped: int  # samples that fill no batch, left out of each epoch


class Progress(Protocol):
    """Hears how training goes. `stop` is called in any case, also after an error or Ctrl-C."""

    def start(self, plan: TrainingPlan) -> None: ...

    def step(self, loss: float) -> None: ...

    def epoch(self, record: EpochRecord) -> None: ...

    def stop(self) -> None: ...


class Silent:
    """A progress display that shows nothing."""

    def start(self, plan: TrainingPlan) -> None:
        pass

    def step(self, loss: float) -> None:
        pass

    def epoch(self, record: EpochRecord) -> None:
        pass

    def stop(self) -> None:
        pass
