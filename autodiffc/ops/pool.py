"""Pools: the extremum or the mean over sliding windows, with PyTorch's keywords and defaults.

The windows are those of `window`; padding counts as minus infinity for max_pool (guards leave it
out) and as zeros for avg_pool. With `ceil_mode` a last window may reach beyond the padding too;
what lies there counts for nothing, in the mean's divisor neither.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from autodiffc.errors import ArgumentError, ShapeError
from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute, elementwise, elementwise_body
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.extents import defaults
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Const
from autodiffc.ops import window_references as references
from autodiffc.ops.apply import as_real, at_least
from autodiffc.ops.registry import integers, operation, sample, tensor
from autodiffc.ops.window import (
    Ints,
    Window,
    each,
    in_batch,
    index_names,
    like_given,
    windows_of,
)


def _pool(what: str, x: Node, windows: list[Window], combine: str) -> Node:
    """out[n,c,i…] = combine over p… of x[n, c, stride*i + dilation*p - padding, …]."""
    spatial = len(windows)
    domain, at, reads = _loops(x.shape[:2], windows)
    access = Access(0, (at[0], at[1], *reads))
    formula = Comprehension(domain, at[: 2 + spatial], (access,), Arg(0), combine)
    shape = (*x.shape[:2], *(w.count for w in windows))
    return compute([x], [formula], shape, label=what)


def _loops(
    leading: tuple[Any, ...], windows: list[Window], *, padded: bool = False
) -> tuple[Domain, tuple[Affine, ...], list[Affine]]:
    """The loops over leading axes, positions and offsets; their indices; the rows read.

    They keep to elements, or with `padded` to elements and padding.
    """
    lead, spatial = len(leading), len(windows)
    rank = lead + 2 * spatial
    reads = [w.row(rank, lead + k, lead + spatial + k) for k, w in enumerate(windows)]
    positions, offsets = index_names(spatial)
    pairs = list(zip(windows, reads, strict=True))
    guards = [w.padding_guards(row) if padded else w.guards(row) for w, row in pairs]
    domain = Domain(
        (*leading, *(w.count for w in windows), *(w.kernel for w in windows)),
        tuple(g for several in guards for g in several),
        (*"nc"[:lead], *positions, *offsets),
    )
    return domain, identity(rank), reads


def _pool_windows(
    what: str,
    x: Node,
    spatial: int,
    kernel_size: Ints,
    stride: Any,
    padding: Any,
    dilation: Ints,
    ceil_mode: bool,
) -> list[Window]:
    kernel = each(kernel_size, spatial, 1, "kernel_size")
    pads = each(padding, spatial, 0, "padding")
    step = kernel if stride is None else stride
    windows = windows_of(what, x.shape[2:], kernel, step, pads, dilation, bool(ceil_mode))
    for size, w in zip(kernel, windows, strict=True):
        if w.before > (w.dilation * (size - 1) + 1) // 2:
            raise ArgumentError(
                f"the padding of {what} is more than half of its window",
                found=f"padding {w.before} for a window of {w.span} positions",
                expected=f"at most {(w.dilation * (size - 1) + 1) // 2}",
                loc=here(),
            )
    return windows


# --- The greatest element ---


def _max_pool(
    spatial: int,
    x: Any,
    kernel_size: Ints,
    stride: Any,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
) -> Expression:
    given, what = as_node(x), f"max_pool{spatial}d"
    node = in_batch(what, given, spatial)
    windows = _pool_windows(what, node, spatial, kernel_size, stride, padding, dilation, ceil_mode)
    for axis, w in enumerate(windows):
        if w.has_empty_window():
            raise ShapeError(
                f"a window of {what} covers nothing but padding",
                found=f"padding {w.before}, dilation {w.dilation} on spatial axis {axis} "
                f"of {w.extent}",
                expected="less padding or less dilation",
                loc=here(),
            )
    return like_given(_pool(what, node, windows, "max"), given, spatial)


_MAX1D = [
    sample(tensor(2, 3, 7), 2),
    sample(tensor(2, 3, 7), 3, stride=1, padding=1),
    sample(tensor(1, 2, 9), 2, stride=3, dilation=3),
    sample(integers(2, 2, 8), 4),
    sample(tensor(3, 7), 2, ceil_mode=True),  # one example alone
]
_MAX2D = [
    sample(tensor(2, 3, 4, 6), 2),
    sample(tensor(2, 1, 5, 7), 3, stride=2),
    sample(tensor(1, 2, 5, 6), (3, 2), stride=(1, 3), padding=(1, 0), dilation=(1, 2)),
    sample(tensor(1, 1, 3, 3), 1),
    sample(tensor(2, 1, 6, 8), 3, stride=2, padding=1, ceil_mode=True),
    sample(tensor(1, 1, 5, 4), 1, stride=3, ceil_mode=True),  # a window too few to round up to
    sample(tensor(2, 4, 6), 2),
]
_MAX3D = [sample(tensor(1, 2, 4, 3, 5), 2), sample(tensor(1, 1, 3, 3, 3), 3, stride=1, padding=1)]


@operation(reference=partial(references.max_pool, spatial=1), samples=_MAX1D)
def max_pool1d(
    x: Any,
    kernel_size: Ints,
    stride: Any = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Expression:
    """The greatest element in each window over (batch, channels, width); stride: the window's."""
    return _max_pool(1, x, kernel_size, stride, padding, dilation, ceil_mode)


@operation(reference=partial(references.max_pool, spatial=2), samples=_MAX2D)
def max_pool2d(
    x: Any,
    kernel_size: Ints,
    stride: Any = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Expression:
    """The greatest element in each window; its gradient goes to the first of equal ones."""
    return _max_pool(2, x, kernel_size, stride, padding, dilation, ceil_mode)


@operation(reference=partial(references.max_pool, spatial=3), samples=_MAX3D)
def max_pool3d(
    x: Any,
    kernel_size: Ints,
    stride: Any = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Expression:
    """The greatest element in each window over (batch, channels, depth, height, width)."""
    return _max_pool(3, x, kernel_size, stride, padding, dilation, ceil_mode)


# --- The mean ---


def _avg_pool(
    spatial: int,
    x: Any,
    kernel_size: Ints,
    stride: Any,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Expression:
    given, what = as_real(as_node(x)), f"avg_pool{spatial}d"
    node = in_batch(what, given, spatial)
    windows = _pool_windows(what, node, spatial, kernel_size, stride, padding, 1, ceil_mode)
    total = _pool(what, node, windows, "sum")
    if divisor is None:
        count = _counts(windows, node.dtype, padded=count_include_pad)
    else:
        count = float(at_least(divisor, 1, "divisor_override"))
    if isinstance(count, float):
        size = Const(count, node.dtype)
        y = elementwise_body((total,), lambda b: b[0] / size, node.dtype, label=what)
    else:
        y = elementwise("div", total, count)
    return like_given(y, given, spatial)


def _counts(windows: list[Window], dtype: str, *, padded: bool) -> float | Node:
    """How many elements each window covers, padding counted or not: one number, or a sum of ones.

    What lies beyond the padding never counts.
    """
    domain, at, _ = _loops((), windows, padded=padded)
    if not domain.guards:
        return float(math.prod(int(defaults(w.kernel)) for w in windows))
    formula = Comprehension(domain, at[: len(windows)], (), Const(1.0, dtype), "sum")
    return compute([], [formula], tuple(w.count for w in windows))


_AVG1D = [
    sample(tensor(2, 3, 7), 2),
    sample(tensor(2, 3, 7), 3, stride=1, padding=1),
    sample(tensor(2, 3, 7), 3, stride=2, padding=1, count_include_pad=False),
    sample(tensor(3, 8), 3, ceil_mode=True),
]
_AVG2D = [
    sample(tensor(2, 3, 4, 6), 2),
    sample(tensor(1, 2, 5, 6), (3, 2), stride=(1, 3), padding=(1, 0)),
    sample(tensor(1, 2, 5, 6), 3, stride=1, padding=1, count_include_pad=False),
    sample(tensor(1, 1, 7, 7), 1, stride=2),
    sample(tensor(1, 2, 6, 8), 3, stride=2, padding=1, ceil_mode=True),
    sample(tensor(1, 2, 6, 8), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    sample(tensor(2, 5, 6), (2, 3), divisor_override=4),
]
_AVG3D = [
    sample(tensor(1, 2, 4, 3, 5), 2),
    sample(tensor(1, 1, 3, 3, 3), 3, stride=1, padding=1, count_include_pad=False),
]


@operation(reference=partial(references.avg_pool, spatial=1), samples=_AVG1D)
def avg_pool1d(
    x: Any,
    kernel_size: Ints,
    stride: Any = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Expression:
    """The mean of each window over (batch, channels, width); padding counts as zeros."""
    counts = count_include_pad, None
    return _avg_pool(1, x, kernel_size, stride, padding, ceil_mode, *counts)


@operation(reference=partial(references.avg_pool, spatial=2), samples=_AVG2D)
def avg_pool2d(
    x: Any,
    kernel_size: Ints,
    stride: Any = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Expression:
    """The mean of each window; `count_include_pad=False` leaves padding out of the count."""
    counts = count_include_pad, divisor_override
    return _avg_pool(2, x, kernel_size, stride, padding, ceil_mode, *counts)


@operation(reference=partial(references.avg_pool, spatial=3), samples=_AVG3D)
def avg_pool3d(
    x: Any,
    kernel_size: Ints,
    stride: Any = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Expression:
    """The mean of each window over (batch, channels, depth, height, width)."""
    counts = count_include_pad, divisor_override
    return _avg_pool(3, x, kernel_size, stride, padding, ceil_mode, *counts)
