"""Layers: functions that make their parameters and apply an operation of the vocabulary.

Parameters are named `<layer>.weight` and `<layer>.bias`, have PyTorch's shapes and start as
PyTorch's do. `weight=` and `bias=` take expressions instead of making parameters, which is how
layers share them. A layer without `name=` takes the name of the variable that is assigned where it
is called; two layers of one name are refused by `Model`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from autodiffc.dsl.initializers import LAYER_WEIGHT, Initializer, layer_bias
from autodiffc.dsl.naming import variable_at
from autodiffc.errors import ArgumentError, ArgumentTypeError, ShapeError
from autodiffc.graph.construct import leaf
from autodiffc.graph.expression import Expression
from autodiffc.graph.extents import ExtentLike, defaults, shape_text
from autodiffc.graph.location import here
from autodiffc.ops import contract, window

Size = int | Sequence[int]


def linear(
    x: Expression,
    out_features: int,
    bias: bool | Expression = True,
    *,
    name: str | None = None,
    weight: Expression | None = None,
) -> Expression:
    """`x @ weight.T + bias` over the last axis, with `weight` of shape (out, in)."""
    _check_rank(x, "linear")
    _check_count(out_features, "out_features")
    features: ExtentLike = x.shape[-1]
    layer = _layer_name(name, "linear")
    weight = _weight(weight, layer, (out_features, features))
    return contract.linear(x, weight, _bias(bias, layer, out_features, features))


def conv1d(
    x: Expression,
    out_channels: int,
    kernel_size: Size,
    stride: Size = 1,
    padding: Any = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: bool | Expression = True,
    *,
    name: str | None = None,
    weight: Expression | None = None,
) -> Expression:
    """A convolution over (batch, channels, width)."""
    made = _conv_parameters("conv1d", 1, x, out_channels, kernel_size, groups, bias, name, weight)
    return window.conv1d(x, *made, stride, padding, dilation, groups)


def conv2d(
    x: Expression,
    out_channels: int,
    kernel_size: Size,
    stride: Size = 1,
    padding: Any = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: bool | Expression = True,
    *,
    name: str | None = None,
    weight: Expression | None = None,
) -> Expression:
    """A convolution over (batch, channels, height, width)."""
    made = _conv_parameters("conv2d", 2, x, out_channels, kernel_size, groups, bias, name, weight)
    return window.conv2d(x, *made, stride, padding, dilation, groups)


def conv3d(
    x: Expression,
    out_channels: int,
    kernel_size: Size,
    stride: Size = 1,
    padding: Any = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: bool | Expression = True,
    *,
    name: str | None = None,
    weight: Expression | None = None,
) -> Expression:
    """A convolution over (batch, channels, depth, height, width)."""
    made = _conv_parameters("conv3d", 3, x, out_channels, kernel_size, groups, bias, name, weight)
    return window.conv3d(x, *made, stride, padding, dilation, groups)


# --- Parameters ---


def _conv_parameters(
    kind: str,
    spatial: int,
    x: Expression,
    out_channels: int,
    kernel_size: Size,
    groups: int,
    bias: bool | Expression,
    name: str | None,
    weight: Expression | None,
) -> tuple[Expression, Expression | None]:
    """The weight, of shape (out, in / groups, *kernel), and the bias of a convolution."""
    _check_rank(x, kind, spatial)
    _check_count(out_channels, "out_channels")
    _check_count(groups, "groups")
    channels: ExtentLike = x.shape[-1 - spatial]
    per_group = channels // groups
    if per_group * groups != channels or out_channels % groups:
        raise ShapeError(
            f"groups must divide the channels of {kind}",
            found=f"groups={groups} for {channels} channels in and {out_channels} out",
            expected="a divisor of both",
            loc=here(),
        )
    shape = (out_channels, per_group, *_kernel(kernel_size, spatial))
    layer = _layer_name(name, kind)
    fan_in = per_group * math.prod(_kernel(kernel_size, spatial))
    return _weight(weight, layer, shape), _bias(bias, layer, out_channels, fan_in)


def _weight(shared: Expression | None, layer: str, shape: tuple[ExtentLike, ...]) -> Expression:
    if shared is None:
        return _param(f"{layer}.weight", shape, LAYER_WEIGHT)
    return _shared(shared, "weight", shape)


def _bias(
    bias: bool | Expression | None, layer: str, out: int, fan_in: ExtentLike
) -> Expression | None:
    if bias is None or isinstance(bias, bool | np.bool_):
        # a dim among the channels counts with its default
        return _param(f"{layer}.bias", (out,), layer_bias(defaults(fan_in))) if bias else None
    return _shared(bias, "bias", (out,))


def _param(name: str, shape: tuple[ExtentLike, ...], init: Initializer) -> Expression:
    return Expression(leaf("param", name, shape, "real", init=init))


def _shared(given: Any, what: str, shape: tuple[ExtentLike, ...]) -> Expression:
    if not isinstance(given, Expression):
        raise ArgumentTypeError(
            f"{what}= takes an expression",
            found=repr(given),
            expected="e.g. ad.param(...)",
            loc=here(),
        )
    if given.shape != shape:
        raise ShapeError(
            f"the given {what} does not have the layer's shape",
            found=shape_text(given.shape),
            expected=shape_text(shape),
            loc=here(),
        )
    return given


def _layer_name(name: str | None, kind: str) -> str:
    if name is not None:
        return name
    return variable_at(here()) or kind


def _kernel(kernel_size: Any, spatial: int) -> tuple[int, ...]:
    several = isinstance(kernel_size, Sequence) and not isinstance(kernel_size, str)
    sizes = tuple(kernel_size) if several else (kernel_size,) * spatial
    if len(sizes) != spatial:
        raise ShapeError(
            "kernel_size needs a number for each spatial axis",
            found=kernel_size,
            expected=f"one number, or {spatial}",
            loc=here(),
        )
    for size in sizes:
        _check_count(size, "kernel_size")
    return tuple(int(s) for s in sizes)


def _check_count(value: Any, what: str) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        error = ArgumentError if whole else ArgumentTypeError
        raise error(
            f"{what} must be {'positive' if whole else 'an integer'}",
            found=repr(value),
            expected="1 or more",
            loc=here(),
        )


def _check_rank(x: object, kind: str, spatial: int = 0) -> None:
    """A convolution takes a batch or one example, a linear layer any tensor of features."""
    if not isinstance(x, Expression):
        raise ArgumentTypeError(
            f"{kind} takes an expression", found=repr(x), expected="e.g. ad.input(...)", loc=here()
        )
    ranks = (spatial + 1, spatial + 2) if spatial else range(1, x.ndim + 1)
    if x.ndim not in ranks:
        axes = ", ".join(("depth", "height", "width")[3 - spatial :])
        raise ShapeError(
            f"{kind} does not take a tensor of {x.ndim} axes",
            found=shape_text(x.shape),
            expected=f"(batch, channels, {axes})" if spatial else "features",
            loc=here(),
        )
