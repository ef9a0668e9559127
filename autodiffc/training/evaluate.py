"""Accuracy on held-out samples: the share whose predicted class is the label.

Class scores are an output with one number per sample and class, where the largest wins, or, for two
classes, with one number per sample: a logit (above 0 is class 1) or a probability (above ½ is).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc.errors import DataError
from autodiffc.training.inputs import Feed
from autodiffc.training.protocol import Trainable

THRESHOLDS = {
    "logits": 0.0,
    "logit": 0.0,
    "probabilities": 0.5,
    "probability": 0.5,
    "p": 0.5,
}


@dataclass(frozen=True)
class Evaluation:
    """How to score one model on one set of held-out samples."""

    feed: Feed
    batch: int
    output: str | None = None

    def accuracy(self, model: Trainable) -> float:
        """The last batch is filled up with repeated samples where it is too small for the model."""
        right = 0
        for start in range(0, len(self.feed), self.batch):
            wanted = np.arange(start, min(start + self.batch, len(self.feed)))
            predicted = self._classes(model, wanted)
            right += int(np.sum(predicted == self.feed.labels[wanted].reshape(-1)))
        return right / len(self.feed)

    def check(self, model: Trainable) -> None:
        """Fails now, and not after an epoch, where the model has no class scores."""
        self._classes(model, np.arange(min(self.batch, len(self.feed))))

    def _classes(self, model: Trainable, wanted: NDArray[np.intp]) -> NDArray[Any]:
        padded = np.resize(wanted, self.feed.enough_for(len(wanted)))
        outputs = model.predict(**{self.feed.features_name: self.feed.features[padded]})
        name = self._output_name(outputs, len(padded))
        return _decide(name, outputs[name])[: len(wanted)]

    def _output_name(self, outputs: Mapping[str, NDArray[Any]], samples: int) -> str:
        usable = [name for name in outputs if _holds_scores(name, outputs[name], samples)]
        if self.output in usable:
            return self.output
        if self.output is None and "logits" in usable:
            return "logits"
        if self.output is None and len(usable) == 1:
            return usable[0]
        shapes = ", ".join(f"{name} {outputs[name].shape}" for name in outputs)
        raise DataError(
            "no output to take the predicted class from"
            if self.output is None
            else f"output {self.output!r} holds no class scores",
            found=shapes or "no output that needs the features alone",
            expected="an output 'logits' of shape (batch, classes), or the only one of such shape; "
            f"for two classes of shape (batch,) and named {', '.join(THRESHOLDS)}",
        )


def _holds_scores(name: str, values: NDArray[Any], samples: int) -> bool:
    if values.dtype.kind != "f" or values.ndim == 0 or len(values) != samples:
        return False
    if values.shape in ((samples,), (samples, 1)):
        return name in THRESHOLDS
    return values.ndim == 2


def _decide(name: str, scores: NDArray[Any]) -> NDArray[Any]:
    if scores.ndim == 2 and scores.shape[1] > 1:
        return np.asarray(scores.argmax(axis=1))
    return np.asarray(scores.reshape(-1) > THRESHOLDS[name], dtype=np.int32)
