"""`Compiled`: a model as a Python object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from autodiffc.errors import ArgumentTypeError
from autodiffc.runtime.context import Context
from autodiffc.runtime.program import Program
from autodiffc.runtime.signature import Slot
from autodiffc.runtime.variables import Variables
from autodiffc.runtime.weights import load_weights, match, save_weights


class Compiled(Context):
    """A compiled model; what `ad.compile` and `ad.load` return.

    It is the first of its contexts. `manifest` is what the compiler says of the model: shapes,
    offsets, FLOPs, arena bytes, flags.
    """

    def __init__(self, ffi: Any, lib: Any, manifest: Mapping[str, Any]) -> None:
        program = Program(ffi, lib, manifest)
        super().__init__(program, Variables(ffi, program.signature))
        self.manifest = manifest

    def __repr__(self) -> str:
        signature = self._program.signature
        inputs = ", ".join(f"{n} {t.shape_text()}" for n, t in signature.inputs.items())
        outputs = ", ".join(f"{n} {t.shape_text()}" for n, t in signature.outputs.items())
        size = sum(slot.size for slot in signature.params.values())
        parameters = f"; {size:,} parameters" if size else ""
        return f"<Compiled {self.name} {signature.dtype}: {inputs} -> {outputs}{parameters}>"

    def init(self, seed: int = 0) -> Self:
        """Parameters, states and optimizer at their start; the same seed gives the same values.

        Run-time scalars stay as they were set.
        """
        self._variables.init(seed)
        self._seed(int(seed))
        return self

    def set(self, /, *positional: float, **scalars: float) -> Self:
        """Run-time scalars, such as `lr`, for the steps to come, in all contexts."""
        if positional:
            raise ArgumentTypeError(
                "set takes run-time scalars by name only",
                found=", ".join(map(repr, positional)),
                expected="set(" + ", ".join(f"{n}=..." for n in self.scalars or ("name",)) + ")",
            )
        self._variables.set_scalars(scalars)
        return self

    @property
    def scalars(self) -> dict[str, float]:
        """The run-time scalars as they are now."""
        return {name: self._variables.scalar(name) for name in self._variables.scalars}

    def context(self) -> Context:
        """Calls for another thread: shared parameters and states, its own workspace and gradients.

        Several threads may predict, or compute gradients, at the same time; one may step, while no
        other thread's results depend on which parameters they saw.
        """
        context = Context(self._program, self._variables)
        context._seed(self._training_inputs.struct.seed)
        return context

    def save_weights(self, path: str | Path, optimizer: bool = False) -> None:
        """Parameters and the model's states, with `optimizer=True` also the optimizer's."""
        self._need_init()
        slots = self._weight_slots(optimizer=optimizer)
        arrays = {**self.params, **self.states}
        with self._variables.writing():  # no step halfway through
            tensors = {name: arrays[name] for name in slots}
            save_weights(path, tensors, {"model": self.name, "format": "autodiffc"})

    def load_weights(self, path: str | Path) -> Self:
        """What `save_weights` wrote; a file that does not fit changes nothing.

        A file without the optimizer's states leaves those as they are, or, before `init`, at their
        start.
        """
        tensors, _ = load_weights(path)
        everything = self._weight_slots(optimizer=True)
        without = self._weight_slots(optimizer=False)
        has_optimizer = any(name in tensors for name in everything.keys() - without.keys())
        slots = everything if has_optimizer else without
        values = match({name: (slot.shape, slot.dtype) for name, slot in slots.items()}, tensors)
        if not has_optimizer and not self._variables.initialized:
            values |= self._variables.initial_states(optimizer=True)
        self._variables.store(values)
        return self

    def _weight_slots(self, *, optimizer: bool) -> dict[str, Slot]:
        signature = self._program.signature
        states = {n: s for n, s in signature.states.items() if optimizer or not s.optimizer}
        return {**signature.params, **states}

    @property
    def dtype(self) -> np.dtype[Any]:
        """The floating type of the build."""
        return self._program.signature.dtype
