"""NumPy, whose matrix product is OpenBLAS's. The worker sets OPENBLAS_NUM_THREADS."""

from __future__ import annotations

import os

import numpy as np

from benchmarks.harness import Contestant


def matmul(a: np.ndarray, b: np.ndarray) -> Contestant:
    """A matrix product into memory that is there already."""
    out = np.empty((a.shape[0], b.shape[1]), a.dtype)

    def call() -> np.ndarray:
        return np.matmul(a, b, out=out)

    threads = int(os.environ.get("OPENBLAS_NUM_THREADS", "0"))
    return Contestant("NumPy", np.__version__, threads, call, lambda: {"c": call()})
