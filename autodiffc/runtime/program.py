"""A loaded library together with its signature: the C functions, the structs, the error codes.

A `Program` never changes, so all contexts share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autodiffc.errors import (
    AutodiffcError,
    CallError,
    IndexRangeError,
    ModelFileError,
    StateError,
    VerificationError,
)
from autodiffc.runtime.arguments import Argument, make_argument
from autodiffc.runtime.direct import direct_type
from autodiffc.runtime.signature import Signature, Tensor, read_signature
from autodiffc.runtime.structs import ReadStruct, WriteStruct

# the status codes that a caller can cause; docs/c-abi.md has all of them
OK, E_INDEX, E_NO_FORWARD, E_DIM = 0, 1, 3, 5


class Program:
    """What cffi gave for a model, under the names of its C interface."""

    def __init__(self, ffi: Any, lib: Any, manifest: Mapping[str, Any]) -> None:
        self.ffi = ffi
        self.lib = lib
        self.manifest = manifest
        self.signature: Signature = read_signature(manifest)
        self.open_dims = self.signature.open_dims
        self.low = {dim.name: dim.low for dim in self.open_dims.values()}
        self.inputs = self._arguments("input", self.signature.inputs)
        self.cotangents = self._arguments("cotangent of output", self.signature.cotangents)
        self.workspace_bytes = self._function("workspace_bytes")
        self.strerror = self._function("strerror")
        self.direct_type = direct_type(ffi, lib)
        self.functions = {name: self._function(name) for name in sorted(self.signature.entries)}

    def new_inputs(self) -> ReadStruct:
        return ReadStruct(self.ffi, self._type("inputs"), list(self.inputs.values()))

    def new_cotangents(self) -> ReadStruct:
        return ReadStruct(self.ffi, self._type("cotangents"), list(self.cotangents.values()))

    def new_outputs(self, tensors: list[Tensor]) -> WriteStruct:
        return WriteStruct(self.ffi, self._type("outputs"), tensors)

    def new_input_grads(self) -> WriteStruct:
        tensors = list(self.signature.input_grads.values())
        return WriteStruct(self.ffi, self._type("input_grads"), tensors)

    def new_workspace(self) -> Any:
        return self.ffi.new(f"{self._type('workspace')} *")

    def failure(self, status: int, inputs: ReadStruct) -> AutodiffcError:
        """The error for a status code; `inputs` are those of the failed call."""
        text = self.ffi.string(self.strerror(status)).decode("ascii", "replace")
        name = self.signature.name
        if status == E_INDEX:
            return self._index_error(inputs)
        if status == E_NO_FORWARD:
            return no_forward(name)
        if status == E_DIM:
            return CallError(f"{name}: {text}", found=inputs.dims)
        return VerificationError(f"{name}: the compiled code returned status {status}: {text}")

    def _arguments(self, kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Argument]:
        return {
            name: make_argument(f"{kind} {name!r}", tensor, self.open_dims)
            for name, tensor in tensors.items()
        }

    def _type(self, name: str) -> str:
        return f"{self.signature.prefix}_{name}"

    def _function(self, name: str) -> Any:
        try:
            return getattr(self.lib, self._type(name))
        except AttributeError:
            raise ModelFileError(
                f"the compiled model {self.signature.name} lacks a function of its manifest",
                found=f"no {self._type(name)}",
                help="compile the model again",
            ) from None

    def _index_error(self, inputs: ReadStruct) -> IndexRangeError:
        """Names the first integer outside its input's range, if that is known.

        It is not where the model computes its indices from the input.
        """
        integers = {n: t for n, t in self.signature.inputs.items() if t.dtype.kind in "iu"}
        given = {n: np.asarray(v) for n, v in inputs.values.items() if n in integers}
        for name, values in given.items():
            low, high = self._range(integers[name], inputs.dims)
            ignored = integers[name].index_ignored
            position = _first_outside(values, low, high, ignored)
            if position is not None:
                where = f"[{', '.join(map(str, position))}]" if position else ""
                return IndexRangeError(
                    f"input {name!r} holds an index out of range",
                    found=f"{name}{where} = {values[position]}",
                    expected=_range_text(name, low, high)
                    + "".join(f", or {value}" for value in ignored),
                )
        return IndexRangeError(
            f"{self.signature.name}: an integer used as an index is out of range",
            found="; ".join(f"{n} from {v.min()} to {v.max()}" for n, v in given.items() if v.size)
            or None,
            expected="indices of at least 0 and below the extent of the axis that they pick from",
        )

    def _range(self, tensor: Tensor, dims: Mapping[str, int]) -> Range:
        """What is declared, and what the model's own use as an index allows."""
        extents = [e if isinstance(e, int) else e.value(dims) for e in tensor.index_below]
        lows = [tensor.low, 0 if extents else None]
        return (
            max((low for low in lows if low is not None), default=None),
            min((high for high in [tensor.high, *extents] if high is not None), default=None),
        )


Range = tuple[float | None, float | None]  # None: no limit


def _first_outside(
    values: Any, low: float | None, high: float | None, ignored: Sequence[int]
) -> tuple[int, ...] | None:
    outside = np.zeros(values.shape, bool)
    if low is not None:
        outside |= values < low
    if high is not None:
        outside |= values >= high
    outside &= ~np.isin(values, ignored)
    if not outside.any():
        return None
    return tuple(int(k) for k in np.unravel_index(np.argmax(outside), outside.shape))


def _range_text(name: str, low: float | None, high: float | None) -> str:
    least = "" if low is None else f"{int(low)} <= "
    most = "" if high is None else f" < {int(high)}"
    return f"{least}{name}{most}"


def no_forward(name: str) -> StateError:
    return StateError(
        f"backward of {name} needs a forward before it",
        found="no forward in this context, or a step or a failed call since",
        expected="out = model.forward(...), then grads = model.backward()",
        help="value_and_grad(...) does both",
    )
