"""Operations on sliding windows: convolutions and pools, for any number of spatial axes.

A window at output position i reads position `stride*i + dilation*p - padding` for every offset p in
its kernel. That one affine row is all there is to a convolution; padding is a guard that keeps
reads inside, written down only where a read can leave the tensor.

Names, keywords and defaults are PyTorch's. Arrays are (batch, channels, *spatial), or one example
without the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, ShapeError
from autodiffc.graph.affine import Affine, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute, reshape
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.extents import ExtentLike, defaults, difference, shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, coerced_call, summands
from autodiffc.ops import window_references as references
from autodiffc.ops.apply import at_least
from autodiffc.ops.registry import operation, sample, tensor

Ints = int | Sequence[int]


# --- Windows along one axis ---


@dataclass(frozen=True)
class Window:
    """How windows lie along one axis of `extent` elements; `kernel` may be a dim.

    With `ceil`, a last window may reach beyond the padding, if it starts before the padding at the
    end; its kernel is an integer then.
    """

    extent: ExtentLike
    kernel: ExtentLike
    stride: int
    dilation: int
    before: int
    after: int
    ceil: bool = False

    @property
    def count(self) -> ExtentLike:
        """How many windows fit."""
        free = self.extent + (self.before + self.after) - self.span
        if self.ceil:  # rounded up; and the last one starts within `extent + before`
            beyond = difference(self.extent + (self.before - 1), free)
            assert beyond is not None
            free = free + min(self.stride - 1, beyond)
        return free // self.stride + 1

    @property
    def span(self) -> ExtentLike:
        """The number of positions from a window's first element to its last."""
        return (self.kernel - 1) * self.dilation + 1

    def row(self, rank: int, position: int, offset: int) -> Affine:
        """The element read at window `position` and kernel `offset`."""
        first = index(rank, position) * self.stride
        return first + index(rank, offset) * self.dilation - self.before

    def guards(self, row: Affine) -> list[Affine]:
        """What keeps `row` inside the tensor, where anything has to."""
        found = [row] if self.before else []
        return [*found, *self._guards_at_end(row, self.extent, self.after > 0 or self.ceil)]

    def padding_guards(self, row: Affine) -> list[Affine]:
        """What keeps `row` inside the padded tensor: without `ceil` every window lies in it."""
        return self._guards_at_end(row, self.extent + self.after, self.ceil)

    def _guards_at_end(self, row: Affine, end: ExtentLike, may_leave: bool) -> list[Affine]:
        last = (self.count - 1) * self.stride + (self.span - 1) - self.before
        room = difference(end - 1, last)
        return [-row + (end - 1)] if may_leave and (room is None or room < 0) else []

    def has_empty_window(self) -> bool:
        """Whether some window covers padding only; dims count with their defaults."""
        extent, kernel = defaults(self.extent), defaults(self.kernel)
        offsets = np.arange(kernel) * self.dilation - self.before
        starts = np.arange(defaults(self.count)) * self.stride
        places = starts[:, None] + offsets
        return bool((~((places >= 0) & (places < extent)).any(axis=1)).any())


def windows_of(
    what: str,
    extents: Sequence[ExtentLike],
    kernel: Sequence[ExtentLike],
    stride: Ints,
    padding: Any,
    dilation: Ints,
    ceil: bool = False,
) -> list[Window]:
    """The windows along every spatial axis; every number is checked."""
    n = len(extents)
    strides = each(stride, n, 1, "stride")
    dilations = each(dilation, n, 1, "dilation")
    pads = _padding(padding, kernel, strides, dilations)
    windows = [
        Window(e, k, s, d, before, after, ceil)
        for e, k, s, d, (before, after) in zip(
            extents, kernel, strides, dilations, pads, strict=True
        )
    ]
    for axis, w in enumerate(windows):
        if defaults(w.count) < 1:
            raise ShapeError(
                f"the window of {what} is larger than what it slides over",
                found=f"{w.span} positions on spatial axis {axis} of "
                f"{w.extent + (w.before + w.after)} with padding",
                expected="a smaller kernel or dilation, or more padding",
                loc=here(),
            )
    return windows


def each(value: Any, n: int, least: int, what: str) -> tuple[int, ...]:
    """One integer for every spatial axis."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    values = tuple(value) if several else (value,) * n
    if len(values) != n:
        raise ShapeError(
            f"{what} needs a number for each spatial axis",
            found=value,
            expected=f"one number, or {n}",
            loc=here(),
        )
    return tuple(at_least(v, least, what) for v in values)


def _padding(
    padding: Any, kernel: Sequence[ExtentLike], strides: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]]:
    """Padding before and after every axis; `same` puts the odd one after."""
    if not isinstance(padding, str):
        return [(p, p) for p in each(padding, len(kernel), 0, "padding")]
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding != "same" or any(s != 1 for s in strides):
        raise ArgumentError(
            "padding that is a word is 'valid', or 'same' with stride 1",
            found=f"padding={padding!r}, stride={tuple(strides)}",
            expected="integers, 'valid' or 'same'",
            loc=here(),
        )
    totals = [d * (_known(k) - 1) for k, d in zip(kernel, dilations, strict=True)]
    return [(t // 2, t - t // 2) for t in totals]


def _known(kernel: ExtentLike) -> int:
    if isinstance(kernel, int):
        return kernel
    raise ShapeError(
        "padding='same' needs a kernel of known size",
        found=str(kernel),
        expected="an integer",
        loc=here(),
    )


def in_batch(what: str, x: Node, spatial: int) -> Node:
    """`x` as (batch, channels, *spatial); one example alone becomes a batch of one."""
    if len(x.shape) == spatial + 1:
        return reshape(x, (1, *x.shape))
    if len(x.shape) == spatial + 2:
        return x
    axes = ", ".join(("depth", "height", "width")[3 - spatial :])
    raise ShapeError(
        f"{what} does not take a tensor of {len(x.shape)} axes",
        found=shape_text(x.shape),
        expected=f"(batch, channels, {axes}), or (channels, {axes})",
        loc=here(),
    )


def like_given(y: Node, given: Node, spatial: int) -> Expression:
    """The result without the batch of one that `in_batch` made."""
    return Expression(y if len(given.shape) == spatial + 2 else reshape(y, y.shape[1:]))


def index_names(spatial: int) -> tuple[str, str]:
    """Letters for window positions and for kernel offsets."""
    return "ijk"[:spatial], "pqr"[:spatial]


# --- Convolutions ---


def _convolution(
    spatial: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Ints,
    padding: Any,
    dilation: Ints,
    groups: int,
) -> Expression:
    """out[n,o,i…] = Σ over c,p… of weight[o,c,p…] * x[n, c, stride*i + dilation*p - padding, …]."""
    what = f"conv{spatial}d"
    given, w = as_node(x), as_node(weight, "weight")
    a = in_batch(what, given, spatial)
    _check_weight(what, a, w, spatial, groups)
    windows = windows_of(what, a.shape[2:], w.shape[2:], stride, padding, dilation)
    y = _grouped(what, a, w, windows, groups) if groups > 1 else _ungrouped(what, a, w, windows)
    if bias is not None:
        y = _with_bias(what, y, as_node(bias, "bias"))
    return like_given(y, given, spatial)


def _check_weight(what: str, x: Node, weight: Node, spatial: int, groups: int) -> None:
    at_least(groups, 1, "groups")
    per_group = weight.shape[1] if len(weight.shape) == spatial + 2 else 0
    if per_group == 0 or per_group * groups != x.shape[1]:
        raise ShapeError(
            f"the weight of {what} does not fit its input",
            found=f"weight {shape_text(weight.shape)}, input {shape_text(x.shape)}, {groups=}",
            expected=f"a weight of {spatial + 2} axes, (out, in/groups, *kernel), "
            f"for {x.shape[1]} channels in",
            loc=here(),
        )
    outputs = weight.shape[0]
    if groups > 1 and not (isinstance(outputs, int) and isinstance(per_group, int)):
        raise ShapeError(
            "grouped channels must be known", found=shape_text(weight.shape), loc=here()
        )
    if groups > 1 and defaults(outputs) % groups:
        raise ShapeError(
            f"groups must divide the output channels of {what}",
            found=f"{outputs} channels, {groups=}",
            expected="a divisor",
            loc=here(),
        )


def _ungrouped(what: str, x: Node, weight: Node, windows: list[Window]) -> Node:
    """Loops: n, o, positions, c, offsets."""
    spatial = len(windows)
    rank = 3 + 2 * spatial
    at = identity(rank)
    n, o, c = at[0], at[1], at[2 + spatial]
    offsets = at[3 + spatial :]
    reads = [w.row(rank, 2 + k, 3 + spatial + k) for k, w in enumerate(windows)]
    counts = [w.count for w in windows]
    positions, letters = index_names(spatial)
    domain = Domain(
        (x.shape[0], weight.shape[0], *counts, x.shape[1], *weight.shape[2:]),
        tuple(g for w, row in zip(windows, reads, strict=True) for g in w.guards(row)),
        ("n", "o", *positions, "c", *letters),
    )
    accesses = (Access(0, (o, c, *offsets)), Access(1, (n, c, *reads)))
    out = at[: 2 + spatial]
    return _products(what, weight, x, domain, out, accesses, (x.shape[0], weight.shape[0], *counts))


def _grouped(what: str, x: Node, weight: Node, windows: list[Window], groups: int) -> Node:
    """Loops: n, g, o, positions, c, offsets; g numbers the groups, o and c count within one."""
    spatial = len(windows)
    rank = 4 + 2 * spatial
    at = identity(rank)
    channels_in, channels_out = weight.shape[1], defaults(weight.shape[0]) // groups
    outputs = at[1] * channels_out + at[2]
    inputs = at[1] * defaults(channels_in) + at[3 + spatial]
    offsets = at[4 + spatial :]
    reads = [w.row(rank, 3 + k, 4 + spatial + k) for k, w in enumerate(windows)]
    counts = [w.count for w in windows]
    positions, letters = index_names(spatial)
    domain = Domain(
        (x.shape[0], groups, channels_out, *counts, channels_in, *weight.shape[2:]),
        tuple(g for w, row in zip(windows, reads, strict=True) for g in w.guards(row)),
        ("n", "g", "o", *positions, "c", *letters),
    )
    accesses = (
        Access(0, (outputs, at[3 + spatial], *offsets)),
        Access(1, (at[0], inputs, *reads)),
    )
    out = (at[0], outputs, *at[3 : 3 + spatial])
    return _products(what, weight, x, domain, out, accesses, (x.shape[0], weight.shape[0], *counts))


def _products(
    what: str,
    weight: Node,
    x: Node,
    domain: Domain,
    out: tuple[Affine, ...],
    accesses: tuple[Access, ...],
    shape: tuple[ExtentLike, ...],
) -> Node:
    body, _ = coerced_call("mul", *summands((Arg(0), weight.dtype), (Arg(1), x.dtype)))
    formula = Comprehension(domain, out, accesses, body, "sum")
    return compute([weight, x], [formula], shape, label=what)


def _with_bias(what: str, y: Node, bias: Node) -> Node:
    if bias.shape != (y.shape[1],):
        raise ShapeError(
            f"the bias of {what} does not fit its weight",
            found=shape_text(bias.shape),
            expected=shape_text((y.shape[1],)),
            loc=here(),
        )
    rank = len(y.shape)
    body, _ = coerced_call("add", (Arg(0), y.dtype), (Arg(1), bias.dtype))
    accesses = (Access(0, identity(rank)), Access(1, (index(rank, 1),)))
    formula = Comprehension(Domain(y.shape), identity(rank), accesses, body)
    return compute([y, bias], [formula], y.shape, label=what)


_CONV1D = [
    sample(tensor(2, 3, 7), tensor(4, 3, 3), tensor(4)),
    sample(tensor(1, 2, 9), tensor(2, 2, 2), stride=3, padding=1, dilation=2),
    sample(tensor(2, 4, 5), tensor(6, 2, 3), padding="same", groups=2),
    sample(tensor(2, 4, 6), tensor(4, 1, 2), padding="same", groups=4),
    sample(tensor(0, 1, 3), tensor(1, 1, 1)),
]
_CONV2D = [
    sample(tensor(2, 3, 5, 6), tensor(4, 3, 3, 2), tensor(4)),
    sample(tensor(1, 2, 7, 9), tensor(2, 2, 3, 2), stride=(2, 3), padding=(1, 0), dilation=(1, 2)),
    sample(tensor(2, 4, 5, 4), tensor(6, 2, 1, 3), tensor(6), groups=2, padding="valid"),
    sample(tensor(1, 1, 4, 4), tensor(1, 1, 1, 1), stride=2),  # a stride beyond the kernel
    sample(tensor(1, 1, 3, 3), tensor(1, 1, 4, 4), padding="same"),
    sample(tensor(2, 4, 5), tensor(3, 2, 2, 3), tensor(3), stride=2),  # one example alone
]
_CONV3D = [
    sample(tensor(1, 2, 3, 4, 3), tensor(2, 2, 2, 2, 2), tensor(2)),
    sample(tensor(1, 2, 3, 3, 4), tensor(2, 1, 1, 2, 3), stride=2, padding=1, groups=2),
]


@operation(reference=partial(references.convolution, spatial=1), samples=_CONV1D)
def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Any = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Expression:
    """A convolution over (batch, channels, width); `weight` is (out, in/groups, width)."""
    return _convolution(1, x, weight, bias, stride, padding, dilation, groups)


@operation(reference=partial(references.convolution, spatial=2), samples=_CONV2D)
def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Any = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Expression:
    """A convolution over (batch, channels, height, width); padding also 'same' or 'valid'."""
    return _convolution(2, x, weight, bias, stride, padding, dilation, groups)


@operation(reference=partial(references.convolution, spatial=3), samples=_CONV3D)
def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Any = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Expression:
    """A convolution over (batch, channels, depth, height, width)."""
    return _convolution(3, x, weight, bias, stride, padding, dilation, groups)
