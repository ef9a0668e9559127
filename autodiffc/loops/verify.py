"""The rules of the loop IR, checked: names before use, none hidden by another, sane vectors.

`verify(kernel)` raises VerificationError with the kernel's name. Where verification is wanted (see
`lower`), as in all tests, every kernel goes through it before its C is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autodiffc.errors import VerificationError
from autodiffc.graph.scalars import Scalar, walk
from autodiffc.loops.ir import (
    Array,
    Block,
    CeilDiv,
    FailUnless,
    First,
    FirstLanes,
    FloorDiv,
    For,
    If,
    Int,
    IntValue,
    Kernel,
    LaneExtremum,
    LaneSum,
    Let,
    LetInt,
    LetPointer,
    Linear,
    Load,
    MaxOf,
    MinOf,
    Name,
    Param,
    Set,
    Stmt,
    Store,
    Transpose,
    Var,
    Wait,
    Zero,
    statements,
)
from autodiffc.loops.traffic import Traffic


def verify(kernel: Kernel) -> None:
    """Raises VerificationError where a kernel breaks a rule of the grammar."""
    _Verifier(kernel).block(kernel.body, frozenset(kernel.dims), frozenset(), frozenset())


class _Verifier:
    """Walks statements with three sets of names: integers, values, and values that may be set."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.buffers = {p.name: p for p in kernel.params}

    def fail(self, message: str) -> None:
        raise VerificationError(f"kernel {self.kernel.name}: {message}")

    def block(
        self,
        body: Sequence[Stmt],
        integers: frozenset[str],
        values: frozenset[str],
        settable: frozenset[str],
    ) -> None:
        outer = dict(self.buffers)
        self._waits(body)
        for stmt in body:
            if isinstance(stmt, For):
                self._int(stmt.start, integers)
                self._int(stmt.stop, integers)
                self._shared(stmt)
                self._declare(stmt.variable, integers | values)
                self.block(stmt.body, integers | {stmt.variable}, values, settable)
            elif isinstance(stmt, If | Block | First):
                for condition in getattr(stmt, "conditions", ()):
                    self._int(condition, integers)
                self.block(stmt.body, integers, values, settable)
            elif isinstance(stmt, Let | Var):
                self._value(stmt.value, integers, values)
                self._declare(stmt.name, integers | values)
                values |= {stmt.name}
                settable |= {stmt.name} if isinstance(stmt, Var) else frozenset()
            elif isinstance(stmt, LetInt):
                self._let_int(stmt, integers, values)
                self._declare(stmt.name, integers | values)
                integers |= {stmt.name}
            elif isinstance(stmt, LetPointer):
                self._pointer(stmt, integers | values, integers)
            elif isinstance(stmt, Set):
                self._value(stmt.value, integers, values)
                if stmt.name not in settable:
                    self.fail(f"{stmt.name} is set but no variable")
            elif isinstance(stmt, Store):
                self._store(stmt, integers, values)
            elif isinstance(stmt, Zero):
                self._written(stmt.buffer)
            elif isinstance(stmt, Transpose):
                self._written(stmt.result.buffer)
                self._value(stmt.source, integers, values)
                self._int(stmt.result.index, integers)
            elif isinstance(stmt, Array):
                self._declare(stmt.name, integers | values)
                self.buffers[stmt.name] = Param(stmt.name, stmt.dtype, written=True)
            elif isinstance(stmt, FailUnless):
                self._check(stmt, integers)
        self.buffers = outer  # arrays and pointers end with their block

    def _pointer(self, stmt: LetPointer, known: frozenset[str], integers: frozenset[str]) -> None:
        if stmt.written:
            self._written(stmt.buffer)
        self._value(Load(stmt.buffer, stmt.index), integers, frozenset())
        self._declare(stmt.name, known)
        buffer = self.buffers[stmt.buffer]
        self.buffers[stmt.name] = replace(buffer, name=stmt.name, written=stmt.written)

    def _shared(self, loop: For) -> None:
        """Every thread comes to what it has a part in: not within its part of something else."""
        if "shared" not in loop.mode:
            return
        if not self.kernel.team:
            self.fail(f"loop {loop.variable} is shared, but there is no team")
        for inner in statements(loop.body):
            if isinstance(inner, Wait) or (isinstance(inner, For) and "shared" in inner.mode):
                self.fail(f"loop {loop.variable} is shared: nothing within it may be")

    def _waits(self, body: Sequence[Stmt]) -> None:
        """In a sequence that all threads run nothing meets what came before without a wait.

        Within what one thread runs for itself there is nothing to wait for.
        """
        if not self.kernel.team or not any(isinstance(s, Wait) or _is_shared(s) for s in body):
            return
        pointers: list[LetPointer] = []
        since: list[Traffic] = []
        for stmt in body:
            traffic = Traffic.of(stmt, pointers)
            if isinstance(stmt, Wait):
                since = []
            elif isinstance(stmt, LetPointer):
                pointers.append(stmt)
            elif any(traffic.meets(earlier) for earlier in since):
                self.fail("a statement meets what other threads may not have finished")
            since.append(traffic)

    def _check(self, stmt: FailUnless, integers: frozenset[str]) -> None:
        for condition in stmt.conditions:
            self._int(condition, integers)
        if not self.kernel.can_fail:
            self.fail("a check in a kernel that cannot fail")

    def _let_int(self, stmt: LetInt, integers: frozenset[str], values: frozenset[str]) -> None:
        if isinstance(stmt.value, Load):
            self._value(stmt.value, integers, values)
        else:
            self._int(stmt.value, integers)

    def _declare(self, name: str, known: frozenset[str]) -> None:
        """No name hides another one: what an inner block means must not depend on its place."""
        if name in known or name in self.buffers:
            self.fail(f"{name} is declared twice")

    def _store(self, stmt: Store, integers: frozenset[str], values: frozenset[str]) -> None:
        self._written(stmt.buffer)
        self._int(stmt.index, integers)
        self._count(stmt, integers)
        self._value(stmt.value, integers, values)

    def _count(self, part: Load | Store, integers: frozenset[str]) -> None:
        """Where part of a vector is read or written it is neither nothing nor all of it."""
        if part.count is None:
            return
        self._int(part.count, integers)
        count = part.count.constant
        if not part.count.terms and isinstance(count, int) and not 0 < count < part.lanes:
            self.fail(f"{part.buffer}: {count} of {part.lanes} lanes")

    def _written(self, buffer: str) -> None:
        if buffer not in self.buffers or not self.buffers[buffer].written:
            self.fail(f"{buffer} is written but no result")

    def _int(self, value: Int, integers: frozenset[str]) -> None:
        if isinstance(value, MaxOf | MinOf):
            for item in value.items:
                self._int(item, integers)
            return
        linear = value.value if isinstance(value, CeilDiv | FloorDiv) else value
        assert isinstance(linear, Linear)
        for _, name in linear.terms:
            if name not in integers:
                self.fail(f"the integer {name} is used before it is known")

    def _value(self, value: Scalar, integers: frozenset[str], values: frozenset[str]) -> None:
        for part in walk(value):
            if isinstance(part, FirstLanes):
                self._int(part.count, integers)
                self._value(part.value, integers, values)
            if isinstance(part, Name | LaneSum | LaneExtremum) and part.name not in values:
                self.fail(f"the value {part.name} is used before it is known")
            if isinstance(part, IntValue):
                self._int(part.value, integers)
            if isinstance(part, Load):
                if part.buffer not in self.buffers:
                    self.fail(f"{part.buffer} is read but no parameter")
                self._int(part.index, integers)
                self._count(part, integers)


def _is_shared(stmt: Stmt) -> bool:
    """Whether threads have parts in a statement."""
    return any(
        (isinstance(s, For) and "shared" in s.mode) or (isinstance(s, Zero) and s.shared)
        for s in statements((stmt,))
    )
