"""Elementwise clusters a vector at a time.

    for each whole block of lanes along the last index      in parallel, where that is outermost
        load, compute, store
    the rest, if there is one: the same, with loads and stores of as many lanes as are left

The rest runs through the same vector code as every block, so an element has the same bits wherever
it lies. Nothing outside the array is touched, and no element is computed twice, so a result may
take the place of an operand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.scalars import Arg, Scalar, replace_args, replace_indices, walk
from autodiffc.loops.addresses import Scope
from autodiffc.loops.ir import (
    Block,
    FloorDiv,
    For,
    If,
    IntValue,
    Let,
    LetInt,
    Linear,
    Load,
    Name,
    Stmt,
    Store,
    integer,
    variable,
)
from autodiffc.loops.plain import is_contiguous, nest_loops
from autodiffc.schedule.nest import Address, Nest, memory_order
from autodiffc.schedule.vectors import has_math, lanes_for
from autodiffc.targets import Target

SHORT = 4  # a loop this short is left to plain code, unless libm would be called in it
Result = tuple[str, str, str | None]


def vector_lanes(nest: Nest, floats: str, target: Target) -> int:
    """The lanes of a cluster that works in one float type; 0 where it has to be plain loops."""
    order = memory_order(nest)
    if not order or not is_contiguous(nest, order[-1]) or nest.out.strides[order[-1]] != 1:
        return 0
    extent = nest.extents[order[-1]]
    short = isinstance(extent, int) and extent < SHORT
    if short and not any(has_math(body) for body in nest.bodies):
        return 0
    return lanes_for(extent, floats, target)


def vector_statements(
    nest: Nest,
    results: Sequence[Result],
    dtypes: Sequence[str],
    buffers: Mapping[int, str],
    lanes: int,
    fresh: Callable[[str], str],
) -> list[Stmt]:
    """What `plain.cluster_statements` does, `lanes` elements at a time.

    `dtypes` are the operands' types; `fresh` makes a name that no other variable has.
    """
    return _VectorCluster(nest, results, dtypes, buffers, lanes, fresh).statements()


class _VectorCluster:
    """Builds the statements of one nest."""

    def __init__(
        self,
        nest: Nest,
        results: Sequence[Result],
        dtypes: Sequence[str],
        buffers: Mapping[int, str],
        lanes: int,
        fresh: Callable[[str], str],
    ) -> None:
        self.nest, self.results, self.dtypes = nest, results, dtypes
        self.buffers, self.lanes = buffers, lanes
        *self.around, self.index = memory_order(nest)
        uses = Counter(
            nest.operands[part.position]
            for body in nest.bodies
            for part in walk(body)
            if isinstance(part, Arg)
        )
        # operands used more than once are loaded once, into variables
        self.names = {a: fresh(f"{buffers[a.operand]}_0") for a, n in uses.items() if n > 1}
        self.spread = any(has_math(body) for body in nest.bodies)

    def statements(self) -> list[Stmt]:
        if not self.around:
            return self._blocks(Scope(self.buffers), "parallel")
        return nest_loops(
            self.nest,
            self.around,
            Scope(self.buffers),
            lambda scope: self._blocks(scope, "serial"),
            parallel=1,
            deeper=[self.index],
        )

    def _blocks(self, scope: Scope, mode: str) -> list[Stmt]:
        extent = self.nest.extents[self.index]
        if isinstance(extent, int):
            return self._fixed_blocks(scope, extent, mode)
        return self._open_blocks(scope, extent, mode)

    def _fixed_blocks(self, scope: Scope, extent: int, mode: str) -> list[Stmt]:
        name, rest = self.nest.names[self.index], extent % self.lanes
        whole = extent - rest
        if whole == 0:
            return list(self._block(scope, integer(0), integer(rest)))
        if extent == self.lanes:
            return list(self._block(scope, integer(0)))
        stmts: list[Stmt] = []
        if whole > self.lanes:
            body = self._block(scope, variable(name))
            stmts.append(For(name, integer(0), integer(whole), body, self.lanes, mode))
        else:
            stmts.append(Block(self._block(scope, integer(0))))
        if rest:
            stmts.append(Block(self._block(scope, integer(whole), integer(rest))))
        return stmts

    def _open_blocks(self, scope: Scope, extent: ExtentLike, mode: str) -> list[Stmt]:
        """Where the extent is known in a call only, blocks are counted."""
        block = f"{self.nest.names[self.index]}_block"
        blocks = FloorDiv(integer(extent), self.lanes)
        start = Linear(((self.lanes, block),))
        rest = integer(extent) - start
        last = self._block(scope, start, rest)
        return [
            For(block, integer(0), blocks, self._block(scope, start), 1, mode),
            Block((LetInt(block, blocks), If((rest - 1,), last))),
        ]

    def _block(self, outer: Scope, start: Linear, count: Linear | None = None) -> tuple[Stmt, ...]:
        """One vector of each body; all loads come before the stores, as in place they must."""
        scope = outer.child()
        scope.values[self.index] = start
        where = scope.index(self.nest.out)
        lets: list[Stmt] = self._named_loads(scope, count)
        stores: list[Stmt] = []
        for body, (name, dtype, buffer) in zip(self.nest.bodies, self.results, strict=True):
            value = self._value(body, scope, count)
            if buffer is not None and len(self.nest.bodies) == 1:
                stores.append(Store(buffer, where, value, self.lanes, count))
                continue
            lets.append(Let(name, dtype, value, self.lanes))
            if buffer is not None:
                stores.append(Store(buffer, where, Name(name), self.lanes, count))
        return (*scope.take_pending(), *lets, *stores)

    def _value(self, body: Scalar, scope: Scope, count: Linear | None) -> Scalar:
        """A body with its operands as vectors."""

        def operand(k: int) -> Scalar:
            address = self.nest.operands[k]
            if address in self.names:
                return Name(self.names[address])
            return self._load(address, scope, count)

        return replace_indices(replace_args(body, operand), lambda k: self._int_value(k, scope))

    def _named_loads(self, scope: Scope, count: Linear | None) -> list[Stmt]:
        lets: list[Stmt] = []
        for k, address in enumerate(self.nest.operands):
            name = self.names.get(address)
            if name and address not in self.nest.operands[:k]:
                load = self._load(address, scope, count)
                lets.append(Let(name, self.dtypes[k], load, load.lanes))
        return lets

    def _load(self, address: Address, scope: Scope, count: Linear | None) -> Load:
        """What is the same for all lanes stays a scalar, unless libm would be called with it."""
        load = scope.load(address)
        if address.strides[self.index] == 1:
            return Load(load.buffer, load.index, self.lanes, count=count)
        return Load(load.buffer, load.index, self.lanes, stride=0) if self.spread else load

    def _int_value(self, k: int, scope: Scope) -> IntValue:
        return IntValue(scope.values[k], self.lanes if k == self.index else 1)
