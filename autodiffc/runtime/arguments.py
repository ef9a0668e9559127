"""One argument of a call: is it what the C code will read?

C reads the caller's memory as it is, so an array must have the exact dtype, native byte order, the
shape and C order; nothing is converted in silence. Only a scalar may be a Python number.

`check` comes in two speeds: a few attribute tests that a right array passes, and, where one of them
fails, `_refuse`, which finds out what is wrong and says so. Open dims are inferred: `dims` holds
those that earlier arguments of the same call have settled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc.errors import AutodiffcError, CallError, CallTypeError
from autodiffc.runtime.signature import OpenDim, OpenExtent, Tensor

Array = NDArray[Any]
Dims = dict[str, int]

_NEVER_SEEN: tuple[tuple[str | None, int], ...] = ((None, 0),)


class Argument:
    """An array with at least one axis. `title` is what messages call it: "input 'images'"."""

    is_scalar = False

    def __init__(self, title: str, tensor: Tensor, open_dims: dict[str, OpenDim]) -> None:
        self.title = title
        self.tensor = tensor
        self.name = tensor.name
        self.dtype = tensor.dtype
        self.shape = tensor.fixed_shape
        self.open_dims = open_dims
        self.least, self.most = _declared_range(tensor)
        self.is_limited = (self.least, self.most) != (None, None)
        # What a shape that was right once says of the open dims. As many as there are extents.
        self._settled: dict[tuple[int, ...], tuple[tuple[str | None, int], ...]] = {}

    def check(self, value: Any, dims: Dims) -> Any:
        """The value, fit for C; raises an error that says what is wrong with it."""
        if (
            type(value) is np.ndarray
            and value.dtype == self.dtype
            and (value.shape == self.shape or (self.shape is None and self._infer(value, dims)))
            and value.flags.carray
        ):
            if self.is_limited:
                self._check_range(value)
            return value
        return self.examine(value, dims)

    def examine(self, value: Any, dims: Dims) -> Array:
        """`check` without its fast path: also takes read-only arrays and subclasses."""
        if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
            raise self._not_an_array(value)
        if value.dtype != self.dtype:
            raise self._wrong_dtype(value)
        if value.shape != self.shape and not (self.shape is None and self._infer(value, dims)):
            raise self._wrong_shape(value.shape)
        if not value.flags.c_contiguous:
            raise CallError(
                f"{self.title} is not laid out in C order",
                found=f"strides {value.strides} for shape {value.shape}",
                expected="a C-contiguous array",
                help=f"pass np.ascontiguousarray({self.name})",
            )
        if not value.flags.aligned:
            raise CallError(
                f"{self.title} is not aligned in memory",
                found=f"address {value.ctypes.data:#x}",
                expected=f"a multiple of {self.dtype.alignment}",
                help=f"pass {self.name}.copy()",
            )
        if self.is_limited:
            self._check_range(value)
        return value

    def _check_range(self, value: Array) -> None:
        """Integers stay in the range that their input declares."""
        if not value.size:
            return
        low = self.least is not None and value.min() < self.least
        high = self.most is not None and value.max() > self.most
        if low or high:
            raise self._out_of_range(value.min() if low else value.max())

    def _out_of_range(self, found: Any) -> AutodiffcError:
        least = "" if self.least is None else f"{self.least} <= "
        most = "" if self.most is None else f" < {self.most + 1}"
        return CallError(
            f"{self.title} holds an integer outside the range that it declares",
            found=found,
            expected=f"{least}{self.name}{most}",
        )

    def _infer(self, value: Array, dims: Dims) -> bool:
        """Settles open dims from the array's shape; False where the rank or a fixed extent differs.

        A dim that does not fit is an error of its own.
        """
        shape = value.shape
        for dim, size in self._settled.get(shape, _NEVER_SEEN):
            if dim is None or dims.setdefault(dim, size) != size:
                return self._infer_anew(shape, dims)
        return True

    def _infer_anew(self, shape: tuple[int, ...], dims: Dims) -> bool:
        if len(shape) != len(self.tensor.shape):
            return False
        for extent, size in zip(self.tensor.shape, shape, strict=True):
            if isinstance(extent, int):
                if extent != size:
                    return False
            elif dims.get(extent.dim) is None or extent.value(dims) != size:
                self._settle(extent, size, dims, shape)
        self._settled[shape] = tuple((dim, dims[dim]) for dim in sorted(self.tensor.dims))
        return True

    def _settle(self, extent: OpenExtent, size: int, dims: Dims, shape: tuple[int, ...]) -> None:
        known = dims.get(extent.dim)
        if known is not None:
            raise CallError(
                f"{self.title} does not agree with the other arrays on {extent.dim}",
                found=f"shape {shape}",
                expected=f"{self.tensor.shape_text()} with {extent.dim} = {known}",
            )
        solved = extent.solve(size)
        limits = self.open_dims[extent.dim]
        if solved is None or not limits.low <= solved <= limits.high:
            raise CallError(
                f"{self.title} has an extent outside what the model was compiled for",
                found=f"shape {shape}",
                expected=f"{self.tensor.shape_text()} with {extent.dim} from {limits.low} "
                f"to {limits.high}",
                help=f"ad.compile(..., dims={{{extent.dim!r}: (low, high)}}) sets the range",
            )
        dims[extent.dim] = solved

    def _wrong_shape(self, found: tuple[int, ...]) -> AutodiffcError:
        return CallError(
            f"{self.title} has the wrong shape",
            found=found,
            expected=self.tensor.shape_text(),
            help=_shape_help(self.name, found, self.shape),
        )

    def _wrong_dtype(self, value: Array | np.generic) -> AutodiffcError:
        if value.dtype.newbyteorder("=") == self.dtype:
            return CallError(
                f"{self.title} has the wrong byte order",
                found=f"dtype {value.dtype.str}",
                expected=f"{self.dtype.name} in this machine's byte order",
                help=f"pass {self.name}.astype({_spelled(self.dtype)})",
            )
        return CallTypeError(
            f"{self.title} has the wrong dtype",
            found=value.dtype,
            expected=self.dtype,
            help=f"pass {self.name}.astype({_spelled(self.dtype)})",
        )

    def _not_an_array(self, value: object) -> AutodiffcError:
        example = f"np.asarray({self.name}, dtype={_spelled(self.dtype)})"
        return CallTypeError(
            f"{self.title} is not a NumPy array",
            found=_kind(value),
            expected=f"a NumPy array of {self.dtype} and shape {self.tensor.shape_text()}",
            help=f"pass {example}" if isinstance(value, list | tuple | int | float) else None,
        )


class ScalarArgument(Argument):
    """A number: Python's, NumPy's, or an array of shape ()."""

    is_scalar = True

    def __init__(self, title: str, tensor: Tensor, open_dims: dict[str, OpenDim]) -> None:
        super().__init__(title, tensor, open_dims)
        # What is stored without a look: float for floats, int for integers, bool for bool.
        self.python_type = {"f": float, "b": bool}.get(self.dtype.kind, int)
        self.takes_integers = self.dtype.kind == "f"

    def check(self, value: Any, dims: Dims) -> Any:
        if type(value) is self.python_type and self.takes_integers:
            return value
        return self._number(value)

    def _number(self, value: Any) -> bool | int | float:
        if isinstance(value, np.ndarray):
            if value.shape != ():
                raise self._wrong_shape(value.shape)
            value = value[()]
        if isinstance(value, np.generic) and not isinstance(value, float):
            if value.dtype != self.dtype:
                raise self._wrong_dtype(value)
            value = value.item()
        if isinstance(value, bool) != (self.python_type is bool):
            raise self._not_a_number(value)
        if isinstance(value, self.python_type):
            return value if self.python_type is float else self._in_range(value)
        if self.takes_integers and isinstance(value, int):
            return self._as_float(value)
        raise self._not_a_number(value)

    def _in_range(self, value: Any) -> Any:
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            if not limits.min <= value <= limits.max:
                raise CallError(
                    f"{self.title} does not fit its dtype",
                    found=value,
                    expected=f"{self.dtype}: {limits.min} to {limits.max}",
                )
            if self.is_limited:
                self._check_range(np.asarray(value, self.dtype))
        return value

    def _as_float(self, value: int) -> float:
        try:
            return float(value)
        except OverflowError:
            raise CallError(
                f"{self.title} does not fit its dtype",
                found=f"an integer of {value.bit_length()} bits",
                expected=self.dtype,
            ) from None

    def _not_a_number(self, value: object) -> AutodiffcError:
        kind = {"f": "a number", "b": "True or False"}.get(self.dtype.kind, "an integer")
        return CallTypeError(
            f"{self.title} is not {kind}",
            found=_kind(value),
            expected=f"{kind}, or an array of {self.dtype} and shape ()",
        )


def _declared_range(tensor: Tensor) -> tuple[int | None, int | None]:
    """The least and the greatest value of an integer input, None where nothing is to be checked.

    Nothing is where the input only picks elements and declares what the axis allows: C checks that.
    """
    picks = tensor.low == 0 and any(extent == tensor.high for extent in tensor.index_below)
    if tensor.dtype.kind not in "iu" or picks:
        return None, None
    return (
        None if tensor.low is None else int(tensor.low),
        None if tensor.high is None else int(tensor.high) - 1,
    )


def make_argument(title: str, tensor: Tensor, open_dims: dict[str, OpenDim]) -> Argument:
    """The check for one tensor."""
    kind = ScalarArgument if tensor.shape == () else Argument
    return kind(title, tensor, open_dims)


def _spelled(dtype: np.dtype[Any]) -> str:
    return "bool" if dtype == np.bool_ else f"np.{dtype.name}"


def _kind(value: object) -> str:
    if isinstance(value, int | float | complex | str | None):
        return f"{value!r} ({type(value).__name__})"
    return f"an object of type {type(value).__module__}.{type(value).__qualname__}"


def _shape_help(name: str, found: tuple[int, ...], wanted: tuple[int, ...] | None) -> str | None:
    """Advice for the two usual slips: a missing axis of one, and a flattened array."""
    if wanted is None or np.prod(found, dtype=np.int64) != np.prod(wanted, dtype=np.int64):
        return None
    return f"pass {name}.reshape({wanted})"
