"""What a statement reads and writes, to see where threads must wait for each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autodiffc.graph.scalars import Scalar, walk
from autodiffc.loops.ir import (
    Let,
    LetInt,
    LetPointer,
    Load,
    Set,
    Stmt,
    Store,
    Transpose,
    Var,
    Zero,
    statements,
)


@dataclass(frozen=True)
class Traffic:
    """The buffers that a statement reads, writes, and sets to zero; a pointer is its buffer.

    Two statements that store in one buffer are formulas of one tensor, which never meet at an
    element, unless they read what they add to.
    """

    read: frozenset[str]
    written: frozenset[str]
    zeroed: frozenset[str]

    @classmethod
    def of(cls, stmt: Stmt, pointers: Iterable[LetPointer] = ()) -> Traffic:
        """`pointers` are those that were made before the statement."""
        parts = list(statements((stmt,)))
        buffers: dict[str, str] = {}
        for pointer in (*pointers, *(s for s in parts if isinstance(s, LetPointer))):
            buffers[pointer.name] = buffers.get(pointer.buffer, pointer.buffer)
        values: list[Scalar] = [s.value for s in parts if isinstance(s, Let | Var | Set | Store)]
        values += [s.value for s in parts if isinstance(s, LetInt) and isinstance(s.value, Load)]
        copies = [s for s in parts if isinstance(s, Transpose)]
        values += [s.source for s in copies]
        read = {part.buffer for value in values for part in walk(value) if isinstance(part, Load)}
        zeroed = {s.buffer for s in parts if isinstance(s, Zero)}
        written = {s.buffer for s in parts if isinstance(s, Store)} | zeroed
        written |= {s.result.buffer for s in copies}
        return cls(
            *(frozenset(buffers.get(b, b) for b in some) for some in (read, written, zeroed))
        )

    def meets(self, other: Traffic) -> bool:
        """Whether what one writes must be there, or must not yet be, when the other runs."""
        return bool(
            self.read & other.written
            or self.written & other.read
            or self.zeroed & other.written
            or self.written & other.zeroed
        )
