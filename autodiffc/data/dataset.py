"""A data set: samples along the first axis, one integer class label for each.

The arrays are what training wants to index without a second thought: C-contiguous, in native byte
order, features floating, labels int32 counted from 0. `split` holds samples back for evaluation,
the same share of every class, the same samples for the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """`features` of shape (samples, …), float32 or float64; `labels` of shape (samples,), int32."""

    features: NDArray[np.floating[Any]]
    labels: NDArray[np.int32]
    name: str

    def __post_init__(self) -> None:
        _check_features(self.features, self.name)
        _check_labels(self.labels, self.name)
        if len(self.features) != len(self.labels):
            raise DataError(
                f"data set {self.name!r}: features and labels differ in number",
                found=f"{len(self.features)} samples, {len(self.labels)} labels",
                expected="one label for each sample",
            )

    @property
    def images(self) -> NDArray[np.floating[Any]]:
        """The features, under the name that suits pictures."""
        return self.features

    @property
    def classes(self) -> int:
        """How many classes there are: the largest label and one more."""
        return int(self.labels.max()) + 1

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.intp], name: str | None = None) -> Dataset:
        """The samples at these positions, in this order, as a data set of its own."""
        return Dataset(self.features[indices], self.labels[indices], name or self.name)

    def split(self, holdout: float | int = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Two data sets: for training, and held out, stratified (each class in proportion).

        `holdout` is a share of the samples where it is a float, a number of samples where it is an
        integer. The order of the samples within each part is that of the whole.
        """
        count = _holdout_count(holdout, len(self))
        held = np.zeros(len(self), dtype=bool)
        generator = np.random.default_rng(seed)
        members = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        quotas = _proportional_quotas([len(m) for m in members], count)
        for positions, quota in zip(members, quotas, strict=True):
            held[generator.permutation(positions)[:quota]] = True
        training, testing = np.flatnonzero(~held), np.flatnonzero(held)
        return self.take(training, f"{self.name}/train"), self.take(testing, f"{self.name}/test")


def _holdout_count(holdout: float | int, samples: int) -> int:
    count = holdout if isinstance(holdout, int) else round(holdout * samples)
    if 0 < count < samples:
        return count
    raise DataError(
        "the part to hold out must leave samples on both sides",
        found=f"holdout={holdout!r} of {samples} samples",
        expected=f"a share between 0 and 1, or a number from 1 to {samples - 1}",
    )


def _proportional_quotas(sizes: list[int], count: int) -> list[int]:
    """`count` shared out in proportion to `sizes`; the rest goes to the largest remainders."""
    total = sum(sizes)
    quotas = [count * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda k: -(count * sizes[k] % total))
    for k in by_remainder[: count - sum(quotas)]:
        quotas[k] += 1
    return quotas


def _check_features(features: NDArray[Any], name: str) -> None:
    if features.ndim < 1 or features.dtype not in (np.float32, np.float64):
        raise DataError(
            f"data set {name!r}: features of the wrong kind",
            found=f"shape {features.shape}, {features.dtype}",
            expected="shape (samples, …), float32 or float64",
        )


def _check_labels(labels: NDArray[Any], name: str) -> None:
    if labels.ndim != 1 or labels.dtype != np.int32:
        raise DataError(
            f"data set {name!r}: labels of the wrong kind",
            found=f"shape {labels.shape}, {labels.dtype}",
            expected="shape (samples,), int32",
        )
    if len(labels) == 0:
        raise DataError(f"data set {name!r} is empty", found="0 samples", expected="at least 1")
    if labels.min() < 0:
        raise DataError(
            f"data set {name!r}: a negative label",
            found=f"{labels.min()} at sample {labels.argmin()}",
            expected="classes counted from 0",
        )


def class_labels(values: NDArray[Any], source: str) -> NDArray[np.int32]:
    """`values` as int32 labels; refuses what is not integers, or does not fit."""
    if values.dtype.kind not in "iub":
        raise DataError(
            f"{source}: labels are no integers",
            found=f"dtype {values.dtype}",
            expected="an integer class number for each sample",
        )
    if values.size and int(values.max()) > np.iinfo(np.int32).max:
        raise DataError(
            f"{source}: a label is too large",
            found=str(values.max()),
            expected=f"at most {np.iinfo(np.int32).max}",
        )
    return np.ascontiguousarray(values, dtype=np.int32)
