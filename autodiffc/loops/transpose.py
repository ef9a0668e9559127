"""Copies whose two sides are contiguous in different indices, block by block.

    y[j, i] = x[i, j]        for each block of 16 by 16: read 16 rows of x as vectors, exchange
                             elements between registers, write 16 rows of y as vectors

One element after the other, such a copy uses a line of one side, 16 elements, for a single one of
them, and has lost it from the cache before the next. With blocks whole lines are used on both
sides. Layouts are changed by such copies, and matrices packed into panels. (The innermost loop
goes along the rows that are read: those the processor fetches ahead.)

Elements that do not fill a block are copied one by one, so nothing is written twice, and blocks may
run in parallel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autodiffc.graph.scalars import Arg
from autodiffc.loops.addresses import Scope
from autodiffc.loops.ir import For, Load, Stmt, Store, Transpose, integer, variable
from autodiffc.schedule.nest import Address, Nest, memory_order
from autodiffc.schedule.order import MANY
from autodiffc.schedule.plan import ITEM_BYTES
from autodiffc.targets import Target

LEAST = 4  # lanes of a block
SMALL = 1024  # elements; below, blocks are only more code


@dataclass(frozen=True)
class Blocks:
    """`along` is contiguous where elements are read, `across` where they are written."""

    along: int
    across: int
    lanes: int


def transposition(nest: Nest, dtypes: Sequence[str], target: Target) -> Blocks | None:
    """The blocks of a copy that is a transposition; `dtypes`: of its operands and the result."""
    if not _is_copy(nest, dtypes):
        return None
    (source,) = nest.operands
    along, across = _contiguous(nest, source), _contiguous(nest, nest.out)
    if along is None or across is None or along == across:
        return None
    if source.strides[across] == 0 or nest.out.strides[along] == 0:
        return None
    lanes = target.lanes(ITEM_BYTES[dtypes[0]])
    shorter = min(_extent(nest, along), _extent(nest, across))
    while lanes > shorter:
        lanes //= 2
    return Blocks(along, across, lanes) if lanes >= LEAST else None


def _is_copy(nest: Nest, dtypes: Sequence[str]) -> bool:
    """Whether elements move, unchanged, from known places to known ones, enough of them."""
    if len(set(dtypes)) != 1 or ITEM_BYTES[dtypes[0]] < 4 or nest.guards or nest.reduced:
        return False
    if (
        nest.combine != "set"
        or nest.in_place
        or nest.bodies != (Arg(0),)
        or len(nest.operands) != 1
    ):
        return False
    if any(a.indirect for a in nest.addresses):
        return False
    numbers = [*nest.extents, *(s for a in nest.addresses for s in a.strides)]
    known = all(isinstance(n, int) for n in numbers)
    return known and isinstance(nest.points, int) and nest.points >= SMALL


def _contiguous(nest: Nest, address: Address) -> int | None:
    return next((k for k in nest.kept if address.strides[k] == 1), None)


def _extent(nest: Nest, index: int) -> int:
    extent = nest.extents[index]
    assert isinstance(extent, int)
    return extent


def transpose_statements(
    nest: Nest, blocks: Blocks, dtype: str, buffer: str, buffers: Mapping[int, str]
) -> list[Stmt]:
    """The loops over blocks, and over the elements beside them."""
    return _Copy(nest, blocks, dtype, buffer).loops(_order(nest, blocks), Scope(buffers), ())


def _order(nest: Nest, blocks: Blocks) -> list[int]:
    """The result's order, blocks last; first a loop that threads can share."""
    inner = [blocks.across, blocks.along]
    order = [*(k for k in memory_order(nest) if k not in inner), *inner]

    def trips(k: int) -> int:
        return _extent(nest, k) // (blocks.lanes if k in inner else 1)

    first = next((k for k in order if trips(k) >= MANY), max(order, key=trips))
    order.remove(first)
    return [first, *order]


@dataclass(frozen=True)
class _Copy:
    """Writes the loops of one transposition."""

    nest: Nest
    blocks: Blocks
    dtype: str
    buffer: str

    def loops(
        self, order: Sequence[int], scope: Scope, blocked: tuple[int, ...], *, single: bool = False
    ) -> list[Stmt]:
        """Loops over `order`; of the indices in `blocked` the scope has the start of a block.

        Beside the blocks of one index (`single`), the other one has none.
        """
        if not order:
            return self._innermost(scope, blocked)
        k, rest = order[0], order[1:]
        extent, lanes = _extent(self.nest, k), self.blocks.lanes
        if single or k not in (self.blocks.along, self.blocks.across):
            body = self.loops(rest, self._below(scope, k), blocked, single=single)
            return [self._for(k, 0, extent, 1, body)]
        whole = extent - extent % lanes
        inside = scope.child()
        inside.values[k] = integer(0) if whole == lanes else variable(self.nest.names[k])
        stmts = self.loops(rest, inside, (*blocked, k))
        if whole > lanes:
            stmts = [self._for(k, 0, whole, lanes, stmts)]
        if extent > whole:
            body = self.loops(rest, self._below(scope, k), blocked, single=True)
            stmts.append(self._for(k, whole, extent, 1, body))
        return stmts

    def _below(self, scope: Scope, k: int) -> Scope:
        below = scope.child()
        below.values[k] = variable(self.nest.names[k])
        return below

    def _for(self, k: int, start: int, stop: int, step: int, body: Sequence[Stmt]) -> For:
        name = self.nest.names[k]
        return For(name, integer(start), integer(stop), tuple(body), step, "parallel")

    def _innermost(self, scope: Scope, blocked: tuple[int, ...]) -> list[Stmt]:
        """A block; a row of one, element by element; or a single element."""
        lanes = self.blocks.lanes
        if len(blocked) == 2:
            return [self._block(scope)]
        if blocked:
            (k,) = blocked
            lane = scope.child()
            lane.values[k] = lane.values[k] + variable("lane")
            return [For("lane", integer(0), integer(lanes), (self._element(lane),))]
        return [self._element(scope)]

    def _element(self, scope: Scope) -> Stmt:
        (source,) = self.nest.operands
        return Store(self.buffer, scope.index(self.nest.out), scope.load(source))

    def _block(self, scope: Scope) -> Stmt:
        (source,) = self.nest.operands
        load, where = scope.load(source), Load(self.buffer, scope.index(self.nest.out))
        steps = source.strides[self.blocks.across], self.nest.out.strides[self.blocks.along]
        return Transpose(self.dtype, self.blocks.lanes, load, where, *map(integer, steps))
