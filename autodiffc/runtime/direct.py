"""Calls of little work that go straight from Python to C.

Checking and converting arguments in Python takes microseconds; a scalar function takes a tenth of
one. The Python module of a model therefore has a C type (`templates/direct_call.c.j2`) that does
both without running any Python code. It keeps the GIL, which is right for work that is over before
another thread could have taken it; larger calls release it, and go the way of `context.py`.

A direct call is made from the same plan as any other call, with structs of its own. It knows of the
rest through shared objects alone: the context's lock (it only looks whether somebody holds it), the
list that holds the context's last forward, the list that holds the parameters' version. Whatever is
unusual it leaves to the way through Python, errors above all. Where the type is not there (ABI
mode, a Python without a GIL) that is the only way.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from autodiffc.runtime.named import NamedArrays
from autodiffc.runtime.signature import Tensor
from autodiffc.runtime.structs import ReadStruct, WriteStruct

if TYPE_CHECKING:
    from autodiffc.runtime.context import Context
    from autodiffc.runtime.program import Program

MOST_OPERATIONS = 10_000  # some microseconds
MOST_ELEMENTS = 10_000  # of everything that a call reads or writes
MOST_TENSORS = 16  # MOST_TENSORS of the C
ENTRIES = {"predict": 1, "forward": 2, "backward": 4, "value_and_grad": 6}
PROBE = np.zeros((2, 3))  # by which the C sees whether NumPy's arrays are what it takes them for


class Objects(NamedTuple):
    """What the C type is given, in its order."""

    locked: Callable[[], bool]
    last: list[Any]
    versions: list[int]
    forward_type: Any
    inputs: ReadStruct | None
    entry: str
    fallback: Callable[[], None] | None  # of a bound call
    out: Any  # of a bound call the arrays, else what the mapping calls them
    grads: Any
    values: dict[str, Any]
    named: Any
    empty: Any
    array_type: Any
    kept: tuple[Any, ...] = ()  # what owns the memory at the addresses
    input_tensors: tuple[Any, ...] = ()
    out_tensors: tuple[Any, ...] = ()
    grad_tensors: tuple[Any, ...] = ()


def direct_type(ffi: Any, lib: Any) -> Any:
    """The C type of a model's module, or None."""
    find = getattr(lib, "autodiffc_direct_type", None)
    address = 0 if find is None else int(ffi.cast("uintptr_t", find()))
    return ctypes.cast(address, ctypes.py_object).value if address else None


def bound_call(
    context: Context,
    entry: str,
    run: Callable[[], None],
    structs: Sequence[Any],
    out: NamedArrays,
    grads: NamedArrays,
) -> Any:
    """A bound call as a C object, None where it cannot be one.

    `structs` are the call's inputs, outputs, cotangents and gradients of inputs, each or None.
    """
    if not _can_be_direct(context, entry):
        return None
    inputs = structs[0]
    objects = _shared(context, entry, inputs)._replace(fallback=run, out=out, grads=grads)
    return _make(context, entry, structs, objects)


def call_by_name(context: Context, entry: str) -> Any:
    """A call with a dict of all inputs that gives what `entry` returns, or NotImplemented.

    None where there cannot be one. The call before was a success, so that all is in place.
    """
    program = context._program
    if not _can_be_direct(context, entry) or not _has_plain_inputs(program):
        return None
    forward = "forward" if entry == "value_and_grad" else entry
    request = context._new_request(forward, program.signature.inputs)
    inputs = context._new_inputs(context._training_inputs.struct.seed)
    grads = program.new_input_grads() if entry == "value_and_grad" else None
    gradients = context._named_grads(dict.fromkeys(program.signature.input_grads)) if grads else {}
    lists = (
        tuple(_input(program, inputs, a.tensor) for a in program.inputs.values()),
        tuple(_result(program, request.outputs, t) for t in request.outputs.tensors),
        tuple(_gradient(program, grads, name, array) for name, array in gradients.items()),
    )
    if max(map(len, lists)) > MOST_TENSORS:
        return None
    objects = _shared(context, entry, inputs)._replace(
        input_tensors=lists[0], out_tensors=lists[1], grad_tensors=lists[2]
    )
    return _make(context, entry, (inputs, request.outputs, None, grads), objects)


# --- Which calls can be direct ---


def has_small_calls(manifest: Mapping[str, Any]) -> bool:
    """Whether a model is worth the C type in its module, which takes time to compile."""
    return any(is_small(manifest, entry) for entry in ENTRIES)


def is_small(manifest: Mapping[str, Any], entry: str) -> bool:
    """Whether a call takes so little time that the GIL may be kept, whatever it is called with."""
    if any(dim["open"] for dim in manifest["dims"].values()):
        return False
    done = ("forward", "backward") if entry == "value_and_grad" else (entry,)
    counts = manifest.get("flops", {})
    operations = sum(float(counts.get(name, math.inf)) for name in done)
    return operations <= MOST_OPERATIONS and _elements(manifest) <= MOST_ELEMENTS


def _elements(manifest: Mapping[str, Any]) -> float:
    """Of all arrays, and of what the workspace holds."""
    sizes = sum(math.prod(t["shape"]) for kind in ("inputs", "outputs") for t in manifest[kind])
    arena = max(manifest.get("arena_bytes", {"": 0}).values()) / 8
    return float(sizes + manifest["param_elements"] + manifest["state_elements"] + arena)


def _can_be_direct(context: Context, entry: str) -> bool:
    program = context._program
    writes = context._forward_writes and entry != "predict"
    known = program.direct_type is not None and entry in ENTRIES
    return known and not writes and is_small(program.manifest, entry)


def _has_plain_inputs(program: Program) -> bool:
    """Whether numbers are floats, and no range of integers is to be checked."""
    return all(
        a.dtype.kind == "f" if a.is_scalar else not a.is_limited for a in program.inputs.values()
    )


# --- What the C type is given ---


def _shared(context: Context, entry: str, inputs: ReadStruct | None) -> Objects:
    from autodiffc.runtime.context import Forward

    return Objects(
        locked=context._lock.locked,
        last=context._last,
        versions=context._variables.versions,
        forward_type=Forward,
        inputs=inputs,
        entry=entry,
        fallback=None,
        out="output",
        grads="gradient",
        values={} if inputs is None else inputs.values,
        named=NamedArrays,
        empty=np.empty,
        array_type=np.ndarray,
    )


def _make(context: Context, entry: str, structs: Sequence[Any], objects: Objects) -> Any:
    program, variables = context._program, context._variables
    inputs, outputs, cotangents, grads = (None if s is None else s.struct for s in structs)
    workspace = context._prediction if entry == "predict" else context._training
    if objects.inputs is not None:
        workspace.reserve(objects.inputs)
    pointers = (
        inputs,
        variables.param_pointer,
        variables.state_pointer,
        outputs,
        workspace.struct,
        context._grad_pointer,
        cotangents,
        grads,
    )
    addresses = tuple(0 if p is None else _address(program, p) for p in pointers)
    objects = objects._replace(kept=(*structs, variables, workspace, context._grad_buffer))
    try:
        return program.direct_type(ENTRIES[entry], addresses, tuple(objects), PROBE)
    except RuntimeError:  # built for arrays that look different
        return None


def _input(program: Program, inputs: ReadStruct, tensor: Tensor) -> tuple[Any, ...]:
    cell = inputs.cells.get(tensor.name)
    return _tensor(program, inputs, tensor, None, 0 if cell is None else _address(program, cell))


def _result(program: Program, results: WriteStruct, tensor: Tensor) -> tuple[Any, ...]:
    return _tensor(program, results, tensor, None, 0)


def _gradient(program: Program, grads: Any, name: str, array: Any) -> tuple[Any, ...]:
    """Of an input a fresh array, of a parameter the view that there is."""
    if array is None:
        return _result(program, grads, program.signature.input_grads[name])
    return (name, (), None, array, 0, 0, False)


def _tensor(
    program: Program, struct: ReadStruct | WriteStruct, tensor: Tensor, array: Any, cell: int
) -> tuple[Any, ...]:
    """Name, shape, dtype, a lasting array, the struct's member, a number's cell, float64 or not."""
    place = _address(program, program.ffi.addressof(struct.struct[0], tensor.name))
    wide = tensor.dtype.itemsize == 8
    return (tensor.name, tensor.fixed_shape, tensor.dtype, array, place, cell, wide)


def _address(program: Program, pointer: Any) -> int:
    return int(program.ffi.cast("uintptr_t", pointer))


Direct = Callable[[Mapping[str, Any]], Any]


def not_direct(inputs: Mapping[str, Any]) -> Any:
    """Stands for a call that has to go the long way."""
    return NotImplemented
