"""What convolutions and pools mean, as plain NumPy over padded copies: the tests' references."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np


def _each(value: Any, n: int) -> list[int]:
    return [value] * n if isinstance(value, int) else list(value)


def _patches(
    x: np.ndarray, kernel: list[int], stride: Any, padding: Any, dilation: Any, fill: float
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """For each kernel offset, the elements of `x` that all windows read there."""
    n = len(kernel)
    strides, dilations = _each(stride, n), _each(dilation, n)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    if padding == "same":
        pads = [((s - 1) // 2, s - 1 - (s - 1) // 2) for s in spans]
    else:
        pads = [(p, p) for p in _each(0 if padding == "valid" else padding, n)]
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    for offset in itertools.product(*map(range, kernel)):
        cuts = [
            slice(d * p, size - span + d * p + 1, s)
            for d, p, s, span, size in zip(
                dilations, offset, strides, spans, padded.shape[2:], strict=True
            )
        ]
        yield offset, padded[(slice(None), slice(None), *cuts)]


def convolution(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> np.ndarray:
    """One matrix product over the channels for each group and kernel offset."""
    results = []
    parts = np.split(x, groups, axis=1), np.split(weight, groups, axis=0)
    for part, kernels in zip(*parts, strict=True):
        patches = _patches(part, list(weight.shape[2:]), stride, padding, dilation, 0.0)
        terms = [
            np.tensordot(patch, np.moveaxis(kernels, (0, 1), (-2, -1))[offset], axes=(1, 1))
            for offset, patch in patches
        ]
        results.append(np.moveaxis(np.sum(terms, axis=0), -1, 1))
    y = np.concatenate(results, axis=1)
    return y if bias is None else np.asarray(y + bias.reshape(-1, *[1] * (x.ndim - 2)))


def max_pool(
    x: np.ndarray, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1
) -> np.ndarray:
    """The greatest of all patches."""
    kernel = _each(kernel_size, x.ndim - 2)
    step = kernel if stride is None else stride
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    patches = _patches(x, kernel, step, padding, dilation, lowest)
    return np.asarray(np.max([patch for _, patch in patches], axis=0))


def avg_pool(
    x: np.ndarray,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    count_include_pad: bool = True,
) -> np.ndarray:
    """The sum of all patches over the count of what they cover."""
    kernel = _each(kernel_size, x.ndim - 2)
    step = kernel if stride is None else stride
    fill = 1.0 if count_include_pad else 0.0
    total = sum(patch for _, patch in _patches(x, kernel, step, padding, 1, 0.0))
    count = sum(patch for _, patch in _patches(np.ones_like(x), kernel, step, padding, 1, fill))
    return np.asarray(total / count)
