"""What convolutions and pools mean, as plain NumPy over padded copies: the tests' references."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
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


def _batched(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """One example alone is a batch of one; `spatial` says how many axes a window has."""

    @functools.wraps(function)
    def call(x: np.ndarray, *args: Any, spatial: int, **kwargs: Any) -> np.ndarray:
        if x.ndim == spatial + 1:
            return np.asarray(function(x[None], *args, **kwargs)[0])
        return function(x, *args, **kwargs)

    return call


@_batched
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


def _beyond(size: int, kernel: int, stride: int, padding: int) -> int:
    """By how much ceil_mode extends an axis, so that its last window fits."""
    starts = [k for k in range(-padding, size) if (k + padding) % stride == 0]
    rounded = -(-(size + 2 * padding - kernel) // stride) + 1
    last = starts[:rounded][-1]
    return max(last + kernel - (size + padding), 0)


def _extended(
    x: np.ndarray, spans: list[int], stride: Any, padding: Any, fill: float, ceil_mode: bool
) -> np.ndarray:
    """`x` within its padding, and beyond it with `ceil_mode`, filled with `fill`."""
    pads = _each(padding, len(spans))
    sizes = zip(x.shape[2:], spans, _each(stride, len(spans)), pads, strict=True)
    more = [_beyond(*each) if ceil_mode else 0 for each in sizes]
    widths = [(p, p + m) for p, m in zip(pads, more, strict=True)]
    return np.pad(x, [(0, 0), (0, 0), *widths], constant_values=fill)


@_batched
def max_pool(
    x: np.ndarray,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The greatest of all patches."""
    kernel = _each(kernel_size, x.ndim - 2)
    step = kernel if stride is None else stride
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    spans = [d * (k - 1) + 1 for d, k in zip(_each(dilation, len(kernel)), kernel, strict=True)]
    padded = _extended(x, spans, step, padding, lowest, ceil_mode)
    patches = _patches(padded, kernel, step, 0, dilation, lowest)
    return np.asarray(np.max([patch for _, patch in patches], axis=0))


@_batched
def avg_pool(
    x: np.ndarray,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The sum of all patches over the count of what they cover."""
    kernel = _each(kernel_size, x.ndim - 2)
    step = kernel if stride is None else stride
    pads = [(p, p) for p in _each(padding, len(kernel))]
    inside = np.pad(
        np.ones_like(x), [(0, 0), (0, 0), *pads], constant_values=float(count_include_pad)
    )
    padded = _extended(x, kernel, step, padding, 0.0, ceil_mode)
    more = [(0, a - b) for a, b in zip(padded.shape, inside.shape, strict=True)]
    counted = np.pad(inside, more)
    total = sum(patch for _, patch in _patches(padded, kernel, step, 0, 1, 0.0))
    count = sum(patch for _, patch in _patches(counted, kernel, step, 0, 1, 0.0))
    return np.asarray(total / (divisor_override or count))
