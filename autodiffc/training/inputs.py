"""Which input gets the features, which the labels.

A model's inputs have names of the user's choosing, so they are told apart by kind: labels go to the
one integer input, features to the one floating input. Where there is no integer input (logistic
regression takes its labels as floats), labels go to the floating input that holds one number a
sample, features to the other. Features are reshaped where the number of values fits: 8×8 pictures
serve an input of 64 numbers. Whatever is left in doubt is an error that names the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc.data import Dataset
from autodiffc.errors import DataError
from autodiffc.training.protocol import InputSpec, Trainable


@dataclass(frozen=True)
class Feed:
    """A data set in the model's own terms: arrays ready to be cut into batches."""

    features_name: str
    labels_name: str
    features: NDArray[Any]
    labels: NDArray[Any]
    sizes: range  # that a batch may have
    usual: int  # the model's own

    def __len__(self) -> int:
        return len(self.labels)

    def enough_for(self, samples: int) -> int:
        """The least size of a batch that holds this many."""
        return self.sizes[max(0, -((self.sizes.start - samples) // self.sizes.step))]

    def at_most(self, samples: int) -> int | None:
        """The greatest size of a batch that this many fill, None where there is none."""
        last = min((samples - self.sizes.start) // self.sizes.step, len(self.sizes) - 1)
        return self.sizes[last] if last >= 0 else None

    def batch(self, indices: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """The arguments of `step` for these samples."""
        return {
            self.features_name: self.features[indices],
            self.labels_name: self.labels[indices],
        }


def feed(model: Trainable, dataset: Dataset) -> Feed:
    """Matches the data set's arrays to the model's inputs, in the dtypes the model wants."""
    inputs = model.inputs
    features_name, labels_name = _match_names(inputs)
    features_shape, features_dtype = inputs[features_name]
    labels_shape, labels_dtype = inputs[labels_name]
    if features_shape[:1] != labels_shape[:1]:
        raise _misfit(inputs, "features and labels with the same batch extent")
    return Feed(
        features_name,
        labels_name,
        _features(features_name, features_shape, np.dtype(features_dtype), dataset),
        dataset.labels.astype(labels_dtype).reshape(-1, *labels_shape[1:]),
        *model.axis_sizes(features_name),
    )


def _match_names(inputs: Mapping[str, InputSpec]) -> tuple[str, str]:
    """The names of the features' and of the labels' input."""
    floating = [name for name, (_, dtype) in inputs.items() if np.dtype(dtype).kind == "f"]
    integer = [name for name, (_, dtype) in inputs.items() if np.dtype(dtype).kind in "iu"]
    single = [name for name in integer or floating if _numbers_per_sample(inputs[name]) == 1]
    others = [name for name in floating if name not in single] if not integer else floating
    if len(inputs) == 2 and len(single) == 1 and len(others) == 1:
        return others[0], single[0]
    raise _misfit(
        inputs,
        "two inputs: a floating one for the features, an integer one for the labels (or a floating "
        "one with a single number a sample)",
    )


def _numbers_per_sample(spec: InputSpec) -> int | None:
    """None for an input without a batch axis, or with another open extent."""
    shape, _ = spec
    rest = [extent for extent in shape[1:] if extent is not None]
    return math.prod(rest) if shape and len(rest) == len(shape) - 1 else None


def _features(
    name: str, shape: tuple[int | None, ...], dtype: np.dtype[Any], dataset: Dataset
) -> NDArray[Any]:
    sample = tuple(extent for extent in shape[1:] if extent is not None)
    found = dataset.features.shape[1:]
    if len(sample) != len(shape) - 1 or math.prod(sample) != math.prod(found):
        raise DataError(
            f"data set {dataset.name!r} does not fit the model's input {name!r}",
            found=f"samples of shape {found}, {math.prod(found)} numbers each",
            expected=f"shape {sample} for each sample",
        )
    return np.ascontiguousarray(dataset.features.reshape(-1, *sample), dtype=dtype)


def _misfit(inputs: Mapping[str, InputSpec], expected: str) -> DataError:
    described = ", ".join(
        f"{name}: {np.dtype(dtype)} {list(shape)}" for name, (shape, dtype) in inputs.items()
    )
    return DataError(
        "the model's inputs cannot be matched to features and labels",
        found=described or "no inputs",
        expected=expected,
    )
