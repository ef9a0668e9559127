"""The manifest as data: what a compiled model takes, gives and holds.

An extent is an integer or an `OpenExtent`, `coefficient * dim + constant` of a dim whose value each
call chooses. A `Tensor` is a named thing with a shape of extents; a `Slot` is a tensor's place in a
buffer of parameters or states.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from autodiffc.errors import ModelFileError

ABI_VERSION = 1

C_TYPES: Mapping[str, str] = {
    "bool": "uint8_t",
    "uint8": "uint8_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
    "float64": "double",
}


class AxisSizes(NamedTuple):
    """The sizes that an axis may have in a call; `usual` is the model's own, or the nearest."""

    allowed: range
    usual: int


class TensorSpec(NamedTuple):
    """The shape and dtype of an input or output; None is an extent that each call chooses."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class OpenExtent:
    """`coefficient * dim + constant`."""

    dim: str
    coefficient: int
    constant: int

    def value(self, dims: Mapping[str, int]) -> int:
        return self.coefficient * dims[self.dim] + self.constant

    def solve(self, size: int) -> int | None:
        """The dim's value for which the extent is `size`, or None."""
        quotient, remainder = divmod(size - self.constant, self.coefficient)
        return None if remainder else quotient

    def __str__(self) -> str:
        product = self.dim if self.coefficient == 1 else f"{self.coefficient}*{self.dim}"
        if self.constant == 0:
            return product
        return f"{product} {'-' if self.constant < 0 else '+'} {abs(self.constant)}"


RuntimeExtent = int | OpenExtent


@dataclass(frozen=True)
class Tensor:
    """An input, output or gradient.

    `low` and `high` (exclusive) are an input's range as the model declares it; where its elements
    are used as indices, they lie in [0, extent) for each extent of `index_below`, or are among
    `index_ignored`, which count for nothing.
    """

    name: str
    shape: tuple[RuntimeExtent, ...]
    dtype: np.dtype[Any]
    low: float | None = None
    high: float | None = None
    needs: tuple[str, ...] = ()
    index_below: tuple[RuntimeExtent, ...] = ()
    index_ignored: tuple[int, ...] = ()

    @property
    def c_type(self) -> str:
        return C_TYPES[self.dtype.name]

    @property
    def fixed_shape(self) -> tuple[int, ...] | None:
        """The shape where no extent is open, else None."""
        fixed = tuple(e for e in self.shape if isinstance(e, int))
        return fixed if len(fixed) == len(self.shape) else None

    @property
    def dims(self) -> frozenset[str]:
        """The open dims in the shape."""
        return frozenset(e.dim for e in self.shape if isinstance(e, OpenExtent))

    def shape_for(self, dims: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(e if isinstance(e, int) else e.value(dims) for e in self.shape)

    def shape_text(self) -> str:
        inner = ", ".join(str(e) for e in self.shape)
        return f"({inner},)" if len(self.shape) == 1 else f"({inner})"

    def spec(self) -> TensorSpec:
        return TensorSpec(tuple(e if isinstance(e, int) else None for e in self.shape), self.dtype)


@dataclass(frozen=True)
class Slot:
    """A parameter or state: `size` elements of its dtype.

    It begins `offset` elements *of the build's dtype* after the start of its buffer.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    size: int
    init: Any
    optimizer: bool = False


@dataclass(frozen=True)
class OpenDim:
    """A dim that each call chooses, within `low` and `high`, both included.

    `default` is the model's own size, which may lie outside.
    """

    name: str
    low: int
    high: int
    default: int


@dataclass(frozen=True)
class Signature:
    """Everything the runtime knows of a compiled model."""

    name: str
    prefix: str
    dtype: np.dtype[Any]
    dims: Mapping[str, int | tuple[int, int]]
    dim_defaults: Mapping[str, int]  # of the open ones
    inputs: Mapping[str, Tensor]
    scalars: Mapping[str, float]
    scalar_limits: Mapping[str, float]  # the least value of each, -inf where there is none
    outputs: Mapping[str, Tensor]
    params: Mapping[str, Slot]
    states: Mapping[str, Slot]
    param_elements: int
    state_elements: int
    differentiate: str | None
    cotangents: Mapping[str, Tensor]
    wrt: tuple[str, ...]
    input_grads: Mapping[str, Tensor]
    entries: frozenset[str]

    @property
    def open_dims(self) -> dict[str, OpenDim]:
        return {
            name: OpenDim(name, *value, self.dim_defaults[name])
            for name, value in self.dims.items()
            if isinstance(value, tuple)
        }

    def axis_sizes(self, extent: RuntimeExtent) -> AxisSizes:
        """The sizes that `extent` may have."""
        if isinstance(extent, int):
            return AxisSizes(range(extent, extent + 1), extent)
        dim = self.open_dims[extent.dim]
        usual = min(max(dim.default, dim.low), dim.high)
        least, most, size = (extent.value({dim.name: n}) for n in (dim.low, dim.high, usual))
        return AxisSizes(range(least, most + 1, extent.coefficient), size)

    @property
    def has_variables(self) -> bool:
        return bool(self.params or self.states)


def read_signature(manifest: Mapping[str, Any]) -> Signature:
    """Reads a manifest; one of another version of the C interface is refused."""
    if manifest.get("abi_version") != ABI_VERSION:
        raise ModelFileError(
            "the compiled model has another version of the C interface",
            found=f"version {manifest.get('abi_version')}",
            expected=f"version {ABI_VERSION}",
            help="compile the model again",
        )
    try:
        return _read(manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(
            "the manifest of the compiled model is damaged",
            found=f"{type(error).__name__}: {error}",
            expected="what `autodiffc compile` wrote",
            help="compile the model again",
        ) from error


def _read(manifest: Mapping[str, Any]) -> Signature:
    dtype = np.dtype(manifest["dtype"])
    outputs = _by_name([_tensor(entry, dtype) for entry in manifest["outputs"]])
    return Signature(
        name=manifest["name"],
        prefix=manifest["prefix"],
        dtype=dtype,
        dims={name: _dim(entry) for name, entry in manifest["dims"].items()},
        dim_defaults={n: int(d["default"]) for n, d in manifest["dims"].items() if d["open"]},
        inputs=_by_name([_tensor(entry, dtype) for entry in manifest["inputs"]]),
        scalars={s["name"]: float(s["default"]) for s in manifest["scalars"]},
        scalar_limits={s["name"]: _limit(s.get("low")) for s in manifest["scalars"]},
        outputs=outputs,
        params=_by_name([_slot(entry, dtype) for entry in manifest["params"]]),
        states=_by_name([_slot(entry, dtype) for entry in manifest["states"]]),
        param_elements=int(manifest["param_elements"]),
        state_elements=int(manifest["state_elements"]),
        differentiate=manifest["differentiate"],
        cotangents={name: outputs[name] for name in manifest["cotangents"]},
        wrt=tuple(manifest["wrt"]),
        input_grads=_by_name([_tensor(entry, dtype) for entry in manifest["input_grads"]]),
        entries=frozenset(manifest["entries"]),
    )


def _limit(low: float | None) -> float:
    return -math.inf if low is None else float(low)


def _by_name(entries: Sequence[Any]) -> dict[str, Any]:
    return {entry.name: entry for entry in entries}


def _dim(entry: Mapping[str, Any]) -> int | tuple[int, int]:
    return (int(entry["low"]), int(entry["high"])) if entry["open"] else int(entry["value"])


def _tensor(entry: Mapping[str, Any], dtype: np.dtype[Any]) -> Tensor:
    return Tensor(
        entry["name"],
        tuple(_extent(e) for e in entry["shape"]),
        np.dtype(entry.get("dtype", dtype)),
        entry.get("low"),
        entry.get("high"),
        tuple(entry.get("needs", ())),
        tuple(_extent(e) for e in entry.get("index_below", ())),
        tuple(entry.get("index_ignored", ())),
    )


def _slot(entry: Mapping[str, Any], dtype: np.dtype[Any]) -> Slot:
    shape = tuple(int(e) for e in entry["shape"])
    size = int(entry["size"])
    if math.prod(shape) != size:
        raise ValueError(f"{entry['name']} has shape {shape} and {size} elements")
    return Slot(
        entry["name"],
        shape,
        np.dtype(entry.get("dtype", dtype)),
        int(entry["offset"]),
        size,
        entry["init"],
        bool(entry.get("optimizer", False)),
    )


def _extent(entry: Any) -> RuntimeExtent:
    if isinstance(entry, int):
        return entry
    return OpenExtent(entry["dim"], int(entry["coefficient"]), int(entry["constant"]))
