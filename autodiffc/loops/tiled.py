"""Register-tiled sums: straight-line vector code around one rolled reduction.

    for each block of kept indices            (the last block moved back inside the extent)
        sum_a_b_u = 0                         one accumulator for each element of the tile
        for each reduced index
            load every distinct operand element once
            sum_a_b_u += body                 for all a, b, u: straight-line
        store the sums, through the finish

The choice of vector index and tile is `schedule/tile.py`'s.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from autodiffc.graph.scalars import Call, Const, Scalar, call, replace_args
from autodiffc.loops.addresses import Scope, loop_bounds
from autodiffc.loops.ir import (
    Block,
    For,
    If,
    IntValue,
    LaneSum,
    Let,
    LetInt,
    Linear,
    Load,
    MaskFirst,
    MinOf,
    Name,
    Set,
    Stmt,
    Store,
    Var,
    integer,
    variable,
)
from autodiffc.loops.plain import (
    finish_store,
    finish_value,
    guarded,
    results_of,
)
from autodiffc.schedule.nest import Address, Nest
from autodiffc.schedule.order import exact
from autodiffc.schedule.tile import vectorizable, zero_preserving
from autodiffc.schedule.tiling import Tiling

SPARE = 2  # registers that neither sums nor loads of a tile should take


@dataclass(frozen=True)
class Element:
    """One accumulator of the tile: the offsets of the tiled indices, and which vector."""

    offsets: tuple[tuple[int, int], ...]
    unroll: int
    name: str


class TiledSum:
    """Builds the statements of one tiled nest."""

    def __init__(
        self,
        nest: Nest,
        tiling: Tiling,
        dtype: str,
        buffer: str,
        buffers: dict[int, str],
        taken: Collection[str],
    ) -> None:
        self.nest, self.tiling, self.dtype = nest, tiling, dtype
        self.buffer, self.buffers = buffer, buffers
        self.taken = {*taken, *nest.names}
        self.across = tiling.form == "across"
        # the longer side first: of the shorter one all operands are in registers at a time
        tiles = sorted(tiling.tiles, key=lambda tile: -tile[1])
        ranges = [[(k, o) for o in range(size)] for k, size in tiles]
        self.elements = [
            Element(
                offsets, u, self._fresh("_".join(map(str, ["sum", *(o for _, o in offsets), u])))
            )
            for offsets in itertools.product(*ranges)
            for u in range(tiling.unroll)
        ]
        self.taken |= {e.name for e in self.elements}
        self.own = [self._fresh(f"own_{u}") for u in range(tiling.unroll)]
        self.starts: dict[int, Linear] = {}  # of indices whose last block is moved back: its start

    def _fresh(self, name: str) -> str:
        """The name, with underscores behind it where a buffer or an index is called so."""
        while name in self.taken:
            name += "_"
        return name

    def statements(self) -> list[Stmt]:
        """The whole nest."""
        return self._blocks(self.tiling.order, Scope(self.buffers))

    # --- Loops over blocks of kept indices ---

    def _exact(self, k: int) -> bool:
        return exact(self.nest, self.tiling, k)

    def _blocks(self, order: Sequence[int], scope: Scope) -> list[Stmt]:
        if not order:
            return self._tile(scope)
        k, rest = order[0], order[1:]
        name, extent, width = self.nest.names[k], self.nest.extents[k], self.tiling.width(k)
        below = scope.child()
        if width == extent:
            below.values[k] = integer(0)
            return self._blocks(rest, below)
        below.values[k] = variable(name)
        if not self._exact(k):
            self.starts[k] = variable(f"{name}_block")
        body = self._blocks(rest, below)
        if self._exact(k):
            start, stop = loop_bounds(self.nest, k, scope, (*rest, *self.nest.reduced))
            return [For(name, start, stop, tuple(body), width, "parallel")]
        assert isinstance(extent, int)
        block = f"{name}_block"
        back = LetInt(name, MinOf((variable(block), integer(extent - width))))
        return [For(block, integer(0), integer(extent), (back, *body), width, "parallel")]

    # --- One tile ---

    def _tile(self, scope: Scope) -> list[Stmt]:
        lanes = self.tiling.lanes
        zero = Const(0.0, self.dtype)
        start: list[Stmt] = [Var(e.name, self.dtype, zero, lanes) for e in self.elements]
        order = [k for k in self.nest.reduced if k != self.tiling.vector]
        loops = self._reduce(order, scope.child())
        return [*start, *guarded(self.nest, loops), *self._finish(scope)]

    def _reduce(self, order: Sequence[int], scope: Scope) -> list[Stmt]:
        if not order:
            return self._add(scope) if self.across else self._along(scope)
        k, rest = order[0], order[1:]
        start, stop = loop_bounds(self.nest, k, scope, rest)
        below = scope.child()
        below.values[k] = variable(self.nest.names[k])
        return [For(self.nest.names[k], start, stop, tuple(self._reduce(rest, below)))]

    def _along(self, scope: Scope) -> list[Stmt]:
        """The innermost reduction, `lanes` terms at a time; the rest by one masked block."""
        vector, lanes = self.tiling.vector, self.tiling.lanes
        extent = self.nest.extents[vector]
        assert isinstance(extent, int)
        name, whole = self.nest.names[vector], extent - extent % lanes
        body = scope.child()
        body.values[vector] = variable(name) if whole > lanes else integer(0)
        stmts = self._add(body)
        if whole > lanes:
            stmts = [For(name, integer(0), integer(whole), tuple(stmts), lanes)]
        if extent != whole:
            last = scope.child()
            last.values[vector] = integer(extent - lanes)
            masked = Block(tuple(self._add(last, skip=lanes - extent % lanes)))
            stmts = [*(stmts if whole > lanes else [Block(tuple(stmts))]), masked]
        return stmts

    def _add(self, scope: Scope, skip: int = 0) -> list[Stmt]:
        """Adds every element's term; what terms share is loaded once.

        All loads come first where there are registers for them, which is the faster way; else each
        comes before the first term that reads it.
        """
        mask_loads = skip > 0 and zero_preserving(self.nest, self.tiling.vector)
        uses = self._uses(scope)
        loads: dict[Load, str] = {}
        stmts: list[Stmt] = []
        for element in self.elements:
            inner = self._at(scope, element)
            names: list[Scalar] = []
            for address in self.nest.operands:
                load = self._vector_load(inner, address)
                stmts += inner.take_pending()
                if load not in loads:
                    loads[load] = self._fresh(f"{load.buffer}_{len(loads)}")
                    stmts.append(self._load_once(loads[load], load, uses[load], mask_loads * skip))
                names.append(Name(loads[load]))
            term = replace_args(self.nest.body, lambda k, n=names: n[k])  # type: ignore[misc]
            if skip and not mask_loads:
                term = MaskFirst(term, self.tiling.lanes, skip)
            stmts.append(Set(element.name, call("add", Name(element.name), term)))
        if len(self.elements) + len(loads) + SPARE <= self.tiling.registers:
            stmts.sort(key=lambda s: isinstance(s, Set))
        return stmts

    def _load_once(self, name: str, load: Load, uses: int, skip: int) -> Let:
        """A constant with an element or a vector; what has several uses stays in a register."""
        if skip and load.lanes > 1:
            return Let(name, self.dtype, MaskFirst(load, load.lanes, skip), load.lanes)
        if uses == 1:
            return Let(name, self.dtype, load, load.lanes)
        lanes = self.tiling.lanes
        kept = replace(load, lanes=lanes, stride=int(load.lanes > 1), kept=True)
        return Let(name, self.dtype, kept, lanes)

    def _uses(self, scope: Scope) -> Counter[Load]:
        """How many terms of the tile read each element."""
        scopes = [self._at(scope, element) for element in self.elements]
        return Counter(self._vector_load(s, a) for s in scopes for a in self.nest.operands)

    def _at(self, scope: Scope, element: Element) -> Scope:
        """The scope of one element: tiled indices and the vector index moved by its offsets."""
        inner = scope.child()
        for k, offset in element.offsets:
            inner.values[k] = inner.values[k] + offset
        if self.across:
            vector = self.tiling.vector
            inner.values[vector] = inner.values[vector] + element.unroll * self.tiling.lanes
        return inner

    def _vector_load(self, scope: Scope, address: Address) -> Load:
        load = scope.load(address)
        if address.strides[self.tiling.vector] == 1:
            return Load(load.buffer, load.index, self.tiling.lanes)
        return load

    # --- Results ---

    def _finish(self, scope: Scope) -> list[Stmt]:
        elements = [s for e in self.elements for s in self._finish_element(self._at(scope, e), e)]
        return [*self._masks(scope), *_merged(elements)]

    def _masks(self, scope: Scope) -> Iterator[Stmt]:
        """In place: which lanes of each vector no earlier block has stored."""
        vector, lanes = self.tiling.vector, self.tiling.lanes
        if self.nest.in_place and vector in self.starts:
            for u, name in enumerate(self.own):
                lane = IntValue(scope.values[vector] + u * lanes, lanes)
                own = Call("ge", (lane, IntValue(self.starts[vector])))
                yield Let(name, "bool", own, lanes)

    def _finish_element(self, scope: Scope, element: Element) -> Iterator[Stmt]:
        stmts = tuple(self._results(scope, element))
        vector = self.tiling.vector
        moved = [k for k in self.starts if k != vector] if self.nest.in_place else []
        if moved:
            yield If(tuple(scope.values[k] - self.starts[k] for k in moved), stmts)
        else:
            yield from [Block(stmts)] if self.nest.results else stmts

    def _results(self, scope: Scope, element: Element) -> Iterator[Stmt]:
        """Stores one sum of the tile; in place only if no earlier block has done so."""
        lanes = self.tiling.lanes
        if not self.across:
            yield from finish_store(self.nest, self.buffer, scope, LaneSum(element.name, lanes))
            return
        where = scope.index(self.nest.out)
        if self._finish_is_vector():
            stmts = results_of(
                self.nest,
                self.buffer,
                where,
                lambda body: self._vector_value(body, scope, Name(element.name)),
                lanes,
            )
            yield from (self._own_lanes(s, element) if isinstance(s, Store) else s for s in stmts)
            return
        assert not self.nest.results
        assert not self.nest.in_place
        yield Store(self.buffer, where, Name(element.name), lanes)
        yield For("lane", integer(0), integer(lanes), tuple(self._lane_finish(scope)))

    def _own_lanes(self, store: Store, element: Element) -> Store:
        """In place, lanes that an earlier block has stored keep what is there."""
        if not self.nest.in_place or self.tiling.vector not in self.starts:
            return store
        own = Name(self.own[element.unroll])
        old = Load(store.buffer, store.index, store.lanes)
        return replace(store, value=Call("where", (own, store.value, old)))

    def _finish_is_vector(self) -> bool:
        finish, count = self.nest.finish, len(self.nest.finish_operands)
        return finish is None or vectorizable(finish, [self.dtype] * (1 + count))

    def _vector_value(self, body: Scalar, scope: Scope, reduced: Scalar) -> Scalar:
        operands = self.nest.finish_operands
        return replace_args(
            body,
            lambda k: reduced if k == 0 else self._vector_load(scope, operands[k - 1]),
        )

    def _lane_finish(self, scope: Scope) -> list[Stmt]:
        """Finishes the lanes of a vector that has been stored, one by one and in place."""
        assert self.nest.finish is not None
        lane = scope.child()
        vector = self.tiling.vector
        lane.values[vector] = lane.values[vector] + variable("lane")
        where: Linear = lane.index(self.nest.out)
        value = finish_value(self.nest, self.nest.finish, lane, Load(self.buffer, where))
        return [*lane.take_pending(), Store(self.buffer, where, value)]


def _merged(stmts: Sequence[Stmt]) -> Iterator[Stmt]:
    """One condition for all stores in a row that wait for it."""
    for conditions, found in itertools.groupby(stmts, lambda s: isinstance(s, If) and s.conditions):
        some = list(found)
        bodies = [s.body for s in some if isinstance(s, If)]
        if conditions and all(isinstance(s, Store) for body in bodies for s in body):
            yield If(conditions, tuple(itertools.chain(*bodies)))
        else:
            yield from some


def tiled_statements(
    nest: Nest,
    tiling: Tiling,
    dtype: str,
    buffer: str,
    buffers: dict[int, str],
    taken: Collection[str] = (),
) -> list[Stmt]:
    """The statements of a sum that `choose_tiling` gave a tiling; `taken` are names not to use."""
    return TiledSum(nest, tiling, dtype, buffer, buffers, taken).statements()
