"""Elementwise clusters a vector at a time.

    for each whole block of lanes along the last index
        load, compute, store
    the rest, if there is one: the same, with loads and stores of as many lanes as are left

The rest runs through the same vector code as every block, so an element has the same bits wherever
it lies. Nothing outside the array is touched, and no element is computed twice, so a result may
take the place of an operand.

A block with several of the longer functions (exp, log, sin) is one chain of operations, each of
which waits for the one before, and so long that the processor does not see far enough ahead to
begin the next block. There the loop takes two blocks at a time, statement by statement in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.scalars import Arg, Scalar, replace_args, replace_indices, rewrite, walk
from autodiffc.loops.addresses import Scope
from autodiffc.loops.blocks import in_vectors, remainder
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
from autodiffc.schedule.vectors import has_math, lanes_for, math_calls
from autodiffc.targets import Target

SHORT = 4  # a loop this short is left to plain code, unless libm would be called in it
PAIRED = 3  # from so many of the longer functions on, blocks go in pairs
PAIRS = 4  # if there are at least so many pairs
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
        extent, long = nest.extents[self.index], sum(map(math_calls, nest.bodies)) >= PAIRED
        few = isinstance(extent, int) and extent < 2 * PAIRS * lanes
        self.pairs = long and not few and len(nest.bodies) > 1
        named = [*self.names.values(), *(name for name, _, _ in results)] if self.pairs else []
        self.second = {name: fresh(f"{name}_next") for name in named}  # in a pair's second block

    def statements(self) -> list[Stmt]:
        if not self.around:
            return self._blocks(Scope(self.buffers))
        return nest_loops(
            self.nest,
            self.around,
            Scope(self.buffers),
            self._blocks,
            parallel=len(self.around),
            deeper=[self.index],
        )

    def _blocks(self, scope: Scope) -> list[Stmt]:
        name, extent = self.nest.names[self.index], self.nest.extents[self.index]

        def vector(start: Linear, count: Linear | None) -> tuple[Stmt, ...]:
            return self._block(scope, start, count=count)

        if not self.pairs:
            return in_vectors(name, extent, self.lanes, "parallel", vector)
        if isinstance(extent, int):
            return self._fixed_pairs(scope, name, extent)
        return [*self._open_pairs(scope, name, extent), remainder(name, extent, self.lanes, vector)]

    def _fixed_pairs(self, scope: Scope, name: str, extent: int) -> list[Stmt]:
        """Two vectors at a time, one more if there is an odd number, and the rest."""
        rest, step = extent % self.lanes, 2 * self.lanes
        whole, end = extent - rest, extent - extent % step
        body = self._block(scope, variable(name), variable(name) + self.lanes)
        stmts: list[Stmt] = [For(name, integer(0), integer(end), body, step, "parallel")]
        if end != whole:
            stmts.append(Block(self._block(scope, integer(end))))
        if rest:
            stmts.append(Block(self._block(scope, integer(whole), count=integer(rest))))
        return stmts

    def _open_pairs(self, scope: Scope, name: str, extent: ExtentLike) -> list[Stmt]:
        pair, pairs = f"{name}_pair", FloorDiv(integer(extent), 2 * self.lanes)
        first = Linear(((2 * self.lanes, pair),))
        odd = If((integer(extent) - first - self.lanes,), self._block(scope, first))
        body = self._block(scope, first, first + self.lanes)
        loop = For(pair, integer(0), pairs, body, 1, "parallel")
        return [loop, Block((LetInt(pair, pairs), odd))]

    def _block(
        self, outer: Scope, *starts: Linear, count: Linear | None = None
    ) -> tuple[Stmt, ...]:
        """A vector of each body from each of the starts; all loads come before the stores, as in
        place they must."""
        scope = outer.child()
        parts = [self._part(scope, start, count, k) for k, start in enumerate(starts)]
        loads, lets, stores = zip(*parts, strict=True)
        in_turn = [let for both in zip(*lets, strict=True) for let in both]
        return (*scope.take_pending(), *chain(*loads), *in_turn, *chain(*stores))

    def _part(
        self, scope: Scope, start: Linear, count: Linear | None, copy: int
    ) -> tuple[list[Stmt], list[Stmt], list[Stmt]]:
        """Loads, values and stores of one vector; a second `copy` has names of its own."""
        scope.values[self.index] = start
        where = scope.index(self.nest.out)
        loads = self._named_loads(scope, count, copy)
        lets: list[Stmt] = []
        stores: list[Stmt] = []
        for body, (result, dtype, buffer) in zip(self.nest.bodies, self.results, strict=True):
            name, value = self._name(result, copy), self._value(body, scope, count, copy)
            if buffer is not None and len(self.nest.bodies) == 1:
                stores.append(Store(buffer, where, value, self.lanes, count))
                continue
            lets.append(Let(name, dtype, value, self.lanes))
            if buffer is not None:
                stores.append(Store(buffer, where, Name(name), self.lanes, count))
        return loads, lets, stores

    def _name(self, name: str, copy: int) -> str:
        return self.second.get(name, name) if copy else name

    def _value(self, body: Scalar, scope: Scope, count: Linear | None, copy: int) -> Scalar:
        """A body with its operands as vectors."""

        def renamed(part: Scalar) -> Scalar:
            return Name(self._name(part.name, copy)) if isinstance(part, Name) else part

        def operand(k: int) -> Scalar:
            address = self.nest.operands[k]
            if address in self.names:
                return Name(self._name(self.names[address], copy))
            return self._load(address, scope, count)

        body = rewrite(body, renamed) if copy else body
        return replace_indices(replace_args(body, operand), lambda k: self._int_value(k, scope))

    def _named_loads(self, scope: Scope, count: Linear | None, copy: int) -> list[Stmt]:
        lets: list[Stmt] = []
        for k, address in enumerate(self.nest.operands):
            name = self.names.get(address)
            if name and address not in self.nest.operands[:k]:
                load = self._load(address, scope, count)
                lets.append(Let(self._name(name, copy), self.dtypes[k], load, load.lanes))
        return lets

    def _load(self, address: Address, scope: Scope, count: Linear | None) -> Load:
        """What is the same for all lanes stays a scalar, unless libm would be called with it."""
        load = scope.load(address)
        if address.strides[self.index] == 1:
            return Load(load.buffer, load.index, self.lanes, count=count)
        return Load(load.buffer, load.index, self.lanes, stride=0) if self.spread else load

    def _int_value(self, k: int, scope: Scope) -> IntValue:
        return IntValue(scope.values[k], self.lanes if k == self.index else 1)
