"""The memory that C works in: one block for each context and mode, grown when a call needs more.

It also holds what `forward` leaves for `backward`, which is why training and prediction have a
block each.

OpenMP's runtime hangs in a process forked from one that has used it, so there calls run on one
thread: `limit_threads_after_fork` sees to that.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

import numpy as np

from autodiffc.runtime.program import Program
from autodiffc.runtime.structs import ReadStruct
from autodiffc.runtime.variables import aligned_zeros

_BYTE = np.dtype(np.uint8)
_workspaces: weakref.WeakSet[Workspace] = weakref.WeakSet()
_forked = False


class Workspace:
    """The C struct and the memory it points to."""

    def __init__(self, program: Program, *, training: bool) -> None:
        self.struct = program.new_workspace()
        self.struct.threads = 1 if _forked else 0  # 0: OpenMP's choice
        self._program = program
        self._training = int(training)
        self._memory: Any = None
        self._enough_for: set[tuple[int, ...]] = set()
        _workspaces.add(self)

    def use_threads(self, count: int) -> None:
        """How many the calls may use; after a fork there is one, whatever is asked for."""
        self.struct.threads = 1 if _forked else count

    def reserve(self, inputs: ReadStruct) -> None:
        """Makes sure that there is room for a call with these inputs."""
        sizes = tuple(inputs.dims.values())
        if sizes not in self._enough_for:
            self._grow(self._program.workspace_bytes(inputs.struct, self._training))
            self._enough_for.add(sizes)

    def _grow(self, needed: int) -> None:
        if self._memory is not None and needed <= self.struct.bytes:
            return
        self._memory = aligned_zeros(max(needed, 1), _BYTE)  # zeroed: no forward has been done
        self.struct.memory = self._program.ffi.cast("void *", self._memory.ctypes.data)
        self.struct.bytes = self._memory.nbytes


def limit_threads_after_fork() -> None:
    """Runs in the child of a fork."""
    global _forked
    _forked = True
    for workspace in _workspaces:
        workspace.struct.threads = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=limit_threads_after_fork)
