"""Parameters, states and run-time scalars: what all contexts of a compiled model share.

Parameters lie in one contiguous buffer aligned to 64 bytes, states (the model's, then the
optimizer's) in another; `params` and `states` are views into them. C reads and writes the same
memory.

`version` counts changes of the parameters made by `init`, `load_weights` and `step`, so that a
`backward` after one of them can be refused. `writer` is held by whoever changes parameters or
states; it is never waited for.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc.errors import ArgumentError, ArgumentTypeError, NameNotFoundError, StateError
from autodiffc.runtime.initial import initial_values
from autodiffc.runtime.named import NamedArrays
from autodiffc.runtime.signature import Signature, Slot

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register

Array = NDArray[Any]


class Variables:
    """The shared memory of one compiled model."""

    def __init__(self, ffi: Any, signature: Signature) -> None:
        self.signature = signature
        c_type = "float*" if signature.dtype == np.float32 else "double*"
        self.param_buffer, self.param_pointer = make_buffer(
            ffi, c_type, signature.param_elements, signature.dtype
        )
        self.state_buffer, self.state_pointer = make_buffer(
            ffi, c_type, signature.state_elements, signature.dtype
        )
        self.params = NamedArrays(views(self.param_buffer, signature.params), "parameter")
        self.states = NamedArrays(views(self.state_buffer, signature.states), "state")
        self.scalars = {name: ffi.new(c_type, value) for name, value in signature.scalars.items()}
        self.initialized = not signature.has_variables
        self.versions = [0]  # a list of one, which direct calls read
        self.writer = threading.Lock()

    @property
    def version(self) -> int:
        return self.versions[0]

    def init(self, seed: int) -> None:
        """Every parameter and state at its start."""
        check_seed(seed)
        # Drawn first and stored after: an initializer that fails changes nothing.
        params = self._initial(self.signature.params, seed)
        states = self._initial(self.signature.states, seed)
        self.store({**params, **states})

    def store(self, values: Mapping[str, Array]) -> None:
        """Overwrites the named parameters and states; states left out keep what they have."""
        with self.writing():
            for name, value in values.items():
                view = self.params[name] if name in self.params else self.states[name]
                view[...] = value
            self.initialized = True
            self.versions[0] += 1

    def initial_states(self, *, optimizer: bool) -> dict[str, Array]:
        """The starting values of the optimizer's or of the model's states."""
        slots = {n: s for n, s in self.signature.states.items() if s.optimizer == optimizer}
        return self._initial(slots, 0)

    def set_scalars(self, values: Mapping[str, object]) -> None:
        checked = {name: self._check_scalar(name, value) for name, value in values.items()}
        for name, number in checked.items():
            self.scalars[name][0] = number

    def scalar(self, name: str) -> float:
        return float(self.scalars[name][0])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Excludes other writers; raises at once where there is one."""
        self.start_writing()
        try:
            yield
        finally:
            self.writer.release()

    def start_writing(self) -> None:
        """Takes `writer`, without waiting."""
        if not self.writer.acquire(blocking=False):
            raise StateError(
                f"{self.signature.name} is being changed by another thread",
                found="a step, init or load_weights at work",
                expected="one at a time: contexts share parameters and states",
                help="let one thread train; others may call predict in contexts of their own",
            )

    def _initial(self, slots: Mapping[str, Slot], seed: int) -> dict[str, Array]:
        return {s.name: initial_values(s.init, s.name, s.shape, seed) for s in slots.values()}

    def _check_scalar(self, name: str, value: object) -> float:
        if name not in self.scalars:
            raise NameNotFoundError(
                f"{self.signature.name} has no run-time scalar of this name",
                found=repr(name),
                expected=f"one of {', '.join(map(repr, self.scalars))}"
                if self.scalars
                else "none: it was compiled without an optimizer",
            )
        if isinstance(value, bool | np.bool_) or not isinstance(
            value, int | float | np.integer | np.floating
        ):
            raise ArgumentTypeError(
                f"{name} must be a number", found=f"{value!r} ({type(value).__name__})"
            )
        return self._in_range(name, value)

    def _in_range(self, name: str, value: Any) -> float:
        """As a float of the build's type, not below what the optimizer takes."""
        least = self.signature.scalar_limits[name]
        with np.errstate(over="ignore"):  # said below
            stored = float(self.signature.dtype.type(value))
        if not math.isfinite(stored) or stored < least:
            finite = f"a finite number in {self.signature.dtype}"
            raise ArgumentError(
                f"{name} cannot have this value",
                found=value,
                expected=finite if least == -math.inf else f"{finite}, at least {least:g}",
            )
        return float(value)


def aligned_zeros(elements: int, dtype: np.dtype[Any]) -> Array:
    """A zeroed array whose memory begins at a multiple of ALIGNMENT."""
    size = elements * dtype.itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype)


def make_buffer(ffi: Any, c_type: str, elements: int, dtype: np.dtype[Any]) -> tuple[Array, Any]:
    """A buffer and its address, which is valid also where there are no elements.

    The address does not keep the buffer alive; whoever keeps the one keeps the other.
    """
    memory = aligned_zeros(max(elements, 1), dtype)
    return memory[:elements], ffi.cast(c_type, memory.ctypes.data)


def views(buffer: Array, slots: Mapping[str, Slot]) -> dict[str, Array]:
    """Each slot's part of the buffer, in its dtype and shape."""
    memory = buffer.view(np.uint8)
    found = {}
    for slot in slots.values():
        start = slot.offset * buffer.itemsize
        part = memory[start : start + slot.size * slot.dtype.itemsize]
        found[slot.name] = part.view(slot.dtype).reshape(slot.shape)
    return found


def check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ArgumentTypeError(
            "seed must be an integer", found=f"{seed!r} ({type(seed).__name__})"
        )
    if not 0 <= seed < 2**64:
        raise ArgumentError("seed is out of range", found=seed, expected="0 <= seed < 2**64")
