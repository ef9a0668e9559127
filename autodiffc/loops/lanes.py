"""Reductions whose neighbouring results are the lanes of a vector.

    for each whole block of lanes along the last kept index
        acc = {0}                          or the worst value there is, and position 0
        for each reduced index             guards on other indices bound these loops
            acc += body                    or: compare, and select value and position
        store
    the rest, if there is one: the same with as many lanes as are left

What register tiles do not take, since it compares positions, counts indices or searches: the scan
of a max-pool, and the way back, which hands a window's gradient to its winner. All lanes go through
the same points in the same order as plain loops would, so the results have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autodiffc.graph.scalars import Const, Scalar, call, replace_args, replace_indices
from autodiffc.loops.addresses import Scope
from autodiffc.loops.blocks import in_vectors
from autodiffc.loops.ir import (
    IntValue,
    Linear,
    Load,
    Name,
    Set,
    Stmt,
    Store,
    Var,
)
from autodiffc.loops.plain import Scan, guarded, nest_loops
from autodiffc.schedule.nest import Address, Nest, memory_order
from autodiffc.schedule.vectors import lanes_for, on_vectors, only_float
from autodiffc.targets import Target


def reduction_lanes(nest: Nest, dtypes: Sequence[str], target: Target, *results: Address) -> int:
    """The lanes in which neighbouring results of a nest can be computed; 0 if they cannot.

    `dtypes` are those of the operands, then of the result; `results` are further addresses that are
    written.
    """
    order = memory_order(nest)
    floats = only_float(dtypes)
    if not order or floats is None or floats != dtypes[-1]:
        return 0
    if nest.results or nest.in_place or nest.finish_operands or _looks_up(nest):
        return 0
    last, extent = order[-1], nest.extents[order[-1]]
    if not isinstance(extent, int) or nest.guarded(last):
        return 0
    if any(a.strides[last] != 1 for a in (nest.out, *results)):
        return 0
    if any(a.strides[last] not in (0, 1) for a in nest.operands):
        return 0
    able = on_vectors(nest.body, dtypes, floats) and (
        nest.finish is None or on_vectors(nest.finish, [floats], floats)
    )
    lanes = lanes_for(extent, floats, target) if able else 0
    return lanes if lanes <= extent else 0


def _looks_up(nest: Nest) -> bool:
    return any(a.indirect for a in nest.addresses)


@dataclass
class LaneReduction:
    """Builds the statements of one nest."""

    nest: Nest
    buffers: Mapping[int, str]
    lanes: int

    def sum(self, dtype: str, buffer: str) -> list[Stmt]:
        """A sum."""

        def block(scope: Scope, count: Linear | None) -> list[Stmt]:
            def add(below: Scope) -> list[Stmt]:
                return [Set("acc", call("add", Name("acc"), self._value(below, count)))]

            loops = nest_loops(self.nest, list(self.nest.reduced), scope.child(), add)
            start = Var("acc", dtype, Const(0.0, dtype), self.lanes)
            return [start, *guarded(self.nest, loops), self._store(buffer, scope, count, "acc")]

        return self._blocks(block)

    def extremum(
        self, scan: Scan, value_buffer: str | None, position_buffer: str | None, position: Address
    ) -> list[Stmt]:
        """A search; see `plain.extremum_statements`."""

        def block(scope: Scope, count: Linear | None) -> list[Stmt]:
            def step(below: Scope) -> list[Stmt]:
                return scan.step(self._value(below, count), below, self.lanes)

            order = list(self.nest.reduced)
            loops = nest_loops(self.nest, order, scope.child(), step, backwards=scan.track)
            stmts = [*scan.start(self.lanes), *guarded(self.nest, loops)]
            if value_buffer is not None:
                stmts.append(self._store(value_buffer, scope, count, "best"))
            if position_buffer is not None:
                where = scope.index(position)
                stmts.append(Store(position_buffer, where, Name("at"), self.lanes, count))
            return stmts

        return self._blocks(block)

    # --- Blocks ---

    def _blocks(self, block: Callable[[Scope, Linear | None], list[Stmt]]) -> list[Stmt]:
        *around, last = memory_order(self.nest)

        def blocks(outer: Scope) -> list[Stmt]:
            def vector(start: Linear, count: Linear | None) -> list[Stmt]:
                scope = outer.child()
                scope.values[last] = start
                return block(scope, count)

            name, extent = self.nest.names[last], self.nest.extents[last]
            return in_vectors(name, extent, self.lanes, "parallel", vector)

        deeper = [last, *self.nest.reduced]
        scope = Scope(self.buffers)
        return nest_loops(self.nest, around, scope, blocks, parallel=len(around), deeper=deeper)

    # --- Values ---

    def _value(self, scope: Scope, count: Linear | None) -> Scalar:
        last = memory_order(self.nest)[-1]

        def operand(k: int) -> Scalar:
            address = self.nest.operands[k]
            load = scope.load(address)
            if address.strides[last] != 1:
                return load
            return Load(load.buffer, load.index, self.lanes, count=count)

        return self._with_positions(replace_args(self.nest.body, operand), scope)

    def _with_positions(self, value: Scalar, scope: Scope) -> Scalar:
        """A value with its indices as integers: of the last one, as many as there are lanes."""
        last = memory_order(self.nest)[-1]
        return replace_indices(
            value, lambda k: IntValue(scope.values[k], self.lanes if k == last else 1)
        )

    def _store(self, buffer: str, scope: Scope, count: Linear | None, name: str) -> Store:
        finish = self.nest.finish
        value: Scalar = Name(name)
        if finish is not None:
            value = self._with_positions(replace_args(finish, lambda _: Name(name)), scope)
        return Store(buffer, scope.index(self.nest.out), value, self.lanes, count)
