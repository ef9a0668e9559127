"""The leaves of a model: what a caller hands in, what is learned, what is remembered, constants.

Shapes and ranges are checked here, where the user wrote them; names are checked by `Model`, which
sees all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from autodiffc.dsl.initializers import as_initializer
from autodiffc.errors import ArgumentError, ArgumentTypeError, DtypeError
from autodiffc.graph.construct import as_extent, leaf
from autodiffc.graph.expression import Expression, array_constant
from autodiffc.graph.extents import Extent, ExtentLike
from autodiffc.graph.extents import dim as make_dim
from autodiffc.graph.location import here
from autodiffc.graph.types import is_float, is_integer
from autodiffc.ops.apply import dtype_name

ShapeLike = ExtentLike | Sequence[ExtentLike]


def dim(name: str, default: int) -> Extent:
    """A named extent, such as a batch size; a build fixes it or leaves it open."""
    _check_string(name, "a dim")
    if isinstance(default, bool) or not isinstance(default, int | np.integer):
        raise ArgumentTypeError(
            f"the default of dim {name!r} must be an integer", found=repr(default), loc=here()
        )
    if default < 1:
        raise ArgumentError(
            f"the default of dim {name!r} must be positive", found=default, loc=here()
        )
    return make_dim(name, int(default))


def input(
    name: str,
    shape: ShapeLike = (),
    dtype: Any = None,
    low: float | None = None,
    high: float | None = None,
) -> Expression:
    """A tensor the caller hands in; its dtype is the build's float unless given.

    `low` and `high` (exclusive) are the range that gradient checks and examples draw from; for
    integers they are the valid range, which calls from Python hold their arrays to.
    """
    _check_string(name, "an input")
    dtype = "real" if dtype is None else dtype_name(dtype)
    _check_range(name, dtype, low, high)
    return Expression(leaf("input", name, as_shape(shape, name), dtype, low=low, high=high))


def param(name: str, shape: ShapeLike = (), init: Any = None, dtype: Any = None) -> Expression:
    """A tensor that is learned.

    `init` is a number, an array of the shape, or the name of an initializer of `torch.nn.init`;
    without it tensors of two or more axes start as PyTorch's layers do (kaiming_uniform with
    a=√5), others at zero.
    """
    _check_string(name, "a parameter")
    dtype = "real" if dtype is None else dtype_name(dtype)
    if not is_float(dtype):
        raise DtypeError(
            f"parameter {name!r} must be floating",
            found=dtype,
            expected="no dtype, float32 or float64",
            help="use ad.state for integers that a model keeps",
            loc=here(),
        )
    extents = as_shape(shape, name)
    return Expression(leaf("param", name, extents, dtype, init=as_initializer(init, extents)))


def state(name: str, shape: ShapeLike = (), init: Any = 0.0, dtype: Any = None) -> Expression:
    """A tensor that is kept between calls but not differentiated: running statistics, counters.

    What it becomes is said by `Model(updates=...)`.
    """
    _check_string(name, "a state")
    extents = as_shape(shape, name)
    dtype = "real" if dtype is None else dtype_name(dtype)
    return Expression(leaf("state", name, extents, dtype, init=as_initializer(init, extents)))


def constant(array: Any, dtype: Any = None) -> Expression:
    """A fixed tensor; floats take the build's type unless `dtype` is given."""
    if isinstance(array, Expression):
        raise ArgumentTypeError(
            "a constant must be made of numbers",
            found=repr(array),
            expected="a NumPy array, a list or a number",
            loc=here(),
        )
    values = np.asarray(array)
    if dtype is None:
        return Expression(array_constant(values))
    dtype = dtype_name(dtype)
    if values.dtype.kind not in "bifu":
        array_constant(values)  # raises, saying what it found
    if values.dtype.kind == "f" and not is_float(dtype):
        _check_whole(values, dtype)
    _check_fits(values, dtype)
    stored = values.astype("float64" if dtype == "real" else dtype)
    return Expression(array_constant(stored, dtype=dtype))


def as_shape(shape: Any, what: str) -> tuple[ExtentLike, ...]:
    """A shape as the user gave it: an extent alone is a vector's."""
    if isinstance(shape, int | np.integer | Extent):
        shape = (shape,)
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise ArgumentTypeError(
            f"the shape of {what!r} is not a shape",
            found=repr(shape),
            expected="a tuple of integers and dims, e.g. (batch, 28, 28)",
            loc=here(),
        )
    return tuple(as_extent(e, f"axis {k} of {what!r}") for k, e in enumerate(shape))


def _check_string(name: object, what: str) -> None:
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"the name of {what} must be a string", found=repr(name), loc=here()
        )


def _check_range(name: str, dtype: str, low: float | None, high: float | None) -> None:
    for label, bound in (("low", low), ("high", high)):
        number = isinstance(bound, int | float | np.integer | np.floating)
        if bound is not None and (isinstance(bound, bool) or not number or math.isnan(bound)):
            raise ArgumentTypeError(
                f"{label} of input {name!r} must be a number", found=repr(bound), loc=here()
            )
        if bound is not None and is_integer(dtype) and int(bound) != bound:
            raise ArgumentError(
                f"{label} of input {name!r} must be a whole number", found=bound, loc=here()
            )
    if dtype == "bool" and (low is not None or high is not None):
        raise ArgumentError(f"the bool input {name!r} takes neither low nor high", loc=here())
    if low is not None and high is not None and not low < high:
        raise ArgumentError(
            f"the range of input {name!r} is empty",
            found=f"low={low}, high={high}",
            expected="low < high (high is exclusive)",
            loc=here(),
        )


def _check_whole(values: np.ndarray, dtype: str) -> None:
    if not np.all(np.isfinite(values)) or np.any(values != np.trunc(values)):
        raise DtypeError(
            "the constant has elements that its dtype cannot hold",
            found=f"{values.dtype} with fractions",
            expected=f"whole numbers for dtype {dtype}",
            loc=here(),
        )


def _check_fits(values: np.ndarray, dtype: str) -> None:
    if not is_integer(dtype) or not values.size:
        return
    limits = np.iinfo(dtype)
    if values.min() < limits.min or values.max() > limits.max:
        raise DtypeError(
            "the constant has elements that its dtype cannot hold",
            found=f"values from {values.min()} to {values.max()}",
            expected=f"{dtype}: {limits.min} to {limits.max}",
            loc=here(),
        )
