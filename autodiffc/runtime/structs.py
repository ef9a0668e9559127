"""The C structs of a call, made once and refilled.

A `ReadStruct` holds pointers to what C reads (inputs, cotangents), a `WriteStruct` pointers to what
C writes (outputs, gradients of inputs). Scalars have a cell of their own inside, to which the
struct points while they are given, so that a call with numbers alone touches no array.

A struct belongs to one context (or bound call) and is used under that context's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc.runtime.arguments import Argument, Dims
from autodiffc.runtime.signature import Tensor

Array = NDArray[Any]


class ReadStruct:
    """`arguments` are all that the struct may ever point to."""

    def __init__(self, ffi: Any, c_type: str, arguments: Sequence[Argument]) -> None:
        self.struct = ffi.new(f"{c_type} *")
        self.address = int(ffi.cast("uintptr_t", self.struct))
        self.dims: Dims = {}
        self.values: dict[str, Any] = {}  # keeps the arrays alive that C points to
        self.cells: dict[str, Any] = {}
        self._without_cell: set[str] = set()  # scalars that were not given in the last call
        self._ffi = ffi
        self._array_types: dict[str, Any] = {}
        for argument in arguments:
            if argument.is_scalar:
                cell = self.cells[argument.name] = ffi.new(f"{argument.tensor.c_type} *")
                setattr(self.struct, argument.name, cell)
            self._array_types[argument.name] = ffi.typeof(f"{argument.tensor.c_type}[]")

    def load(
        self,
        arguments: Sequence[Argument],
        arrays: Mapping[str, Any],
        dims: Mapping[str, int] | None = None,
    ) -> None:
        """Checks all arrays, then points to them: an error leaves everything as it was.

        Numbers are copied, arrays are not. `dims` are extents that are settled already.
        """
        settled = {} if dims is None else dict(dims)
        values = {a.name: a.check(arrays[a.name], settled) for a in arguments}
        for name, value in values.items():
            if name in self.cells:
                self.cells[name][0] = value
            else:
                self._point_to(name, value)
        for name in self._without_cell.intersection(values):
            setattr(self.struct, name, self.cells[name])
            self._without_cell.remove(name)
        self.dims, self.values = settled, values

    def point_to_scalars(self, arguments: Sequence[Argument], arrays: Mapping[str, Any]) -> None:
        """After `load`: arrays of shape () are read where they lie, so that later writes are seen.

        Only a bound call wants that.
        """
        for argument in arguments:
            value = arrays[argument.name]
            if argument.is_scalar and isinstance(value, np.ndarray):
                self._point_to(argument.name, value)
                self.values[argument.name] = value

    def clear(self, names: Sequence[str]) -> None:
        """These are not given."""
        for name in names:
            setattr(self.struct, name, self._ffi.NULL)
        self._without_cell.update(name for name in names if name in self.cells)

    def store_dims(self, low: Mapping[str, int]) -> None:
        """Tells C the open dims; one that no array has settled takes its lowest value."""
        for name, least in low.items():
            setattr(self.struct, name, self.dims.setdefault(name, least))

    def _point_to(self, name: str, array: Array) -> None:
        setattr(self.struct, name, self._ffi.from_buffer(self._array_types[name], array))


class WriteStruct:
    """`tensors` are what a call asks for; all other members stay NULL, "do not compute"."""

    def __init__(self, ffi: Any, c_type: str, tensors: Sequence[Tensor]) -> None:
        self.struct = ffi.new(f"{c_type} *")
        self.cells: dict[str, Any] = {}
        self._without_cell: set[str] = set()  # scalars that were not given in the last call
        self._ffi = ffi
        self.tensors = list(tensors)
        self._names = [t.name for t in tensors]
        self._scalars = [(t.name, t.dtype) for t in tensors if t.shape == ()]
        # name, dtype, shape where it is fixed, the tensor where it is not
        self._tensors = [(t.name, t.dtype, t.fixed_shape, t) for t in tensors if t.shape != ()]
        self._array_types = {t.name: ffi.typeof(f"{t.c_type}[]") for t in tensors}
        self._arrays: dict[str, Array] = {}
        for tensor in tensors:
            if tensor.shape == ():
                self.cells[tensor.name] = ffi.new(f"{tensor.c_type} *")
                setattr(self.struct, tensor.name, self.cells[tensor.name])

    def prepare(self, dims: Mapping[str, int]) -> None:
        """Fresh arrays for the call to come."""
        arrays: dict[str, Array] = {}
        for name, dtype, shape, tensor in self._tensors:
            arrays[name] = np.empty(tensor.shape_for(dims) if shape is None else shape, dtype)
            self._point_to(name, arrays[name])
        self._arrays = arrays

    def collect(self) -> dict[str, Any]:
        """What the call wrote, in order; numbers as arrays of shape (). Hands the arrays over."""
        found: dict[str, Any] = self._arrays
        self._arrays = {}
        for name, dtype in self._scalars:
            found[name] = np.array(self.cells[name][0], dtype)
        if len(self._scalars) in (0, len(self._names)):
            return found
        return {name: found[name] for name in self._names}

    def bind(self, dims: Mapping[str, int]) -> dict[str, Array]:
        """Arrays that every call overwrites; numbers as arrays of shape ()."""
        self.prepare(dims)
        for name, dtype in self._scalars:
            self._arrays[name] = np.zeros((), dtype)
            self._point_to(name, self._arrays[name])
        return {name: self._arrays[name] for name in self._names}

    def _point_to(self, name: str, array: Array) -> None:
        setattr(self.struct, name, self._ffi.from_buffer(self._array_types[name], array))
