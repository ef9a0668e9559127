"""Plain loops: elementwise clusters, copies into place, and reductions with one accumulator.

The loops over kept indices come first, in the order in which the result lies in memory; reduced
indices inside; loops over kept indices are parallel (see `team.py`). Guards become loop bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from autodiffc.graph.affine import Affine
from autodiffc.graph.extents import product
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Const,
    Scalar,
    call,
    replace_args,
    replace_indices,
)
from autodiffc.graph.types import is_float
from autodiffc.loops.addresses import Scope, affine_value, free_guards, loop_bounds
from autodiffc.loops.ir import (
    For,
    If,
    IntValue,
    Let,
    Linear,
    Load,
    Name,
    Set,
    Stmt,
    Store,
    Var,
    integer,
    variable,
)
from autodiffc.schedule.nest import Address, Nest, memory_order

WINDOW = 16  # points that the C compiler unrolls within a vectorized loop
SHORT = 4  # trips of a loop that the C compiler unrolls within a vectorized one
Inner = Callable[[Scope], list[Stmt]]


def nest_loops(
    nest: Nest,
    order: Sequence[int],
    scope: Scope,
    inner: Inner,
    *,
    parallel: int = 0,
    simd: bool = False,
    deeper: Sequence[int] = (),
    backwards: bool = False,
) -> list[Stmt]:
    """Loops over `order`, outermost first; the first `parallel` of them are parallel.

    `deeper` are indices whose loops `inner` makes itself: guards on them wait until then.
    """
    if not order:
        body = inner(scope)
        return scope.take_pending() + body
    index, rest = order[0], order[1:]
    start, stop = loop_bounds(nest, index, scope, (*rest, *deeper))
    below = scope.child()
    below.values[index] = variable(nest.names[index])
    body = nest_loops(
        nest,
        rest,
        below,
        inner,
        parallel=parallel - 1,
        simd=simd,
        deeper=deeper,
        backwards=backwards,
    )
    mode = ("parallel " if parallel > 0 else "") + ("simd" if simd and not rest else "")
    mode = mode.strip() or "serial"
    step = -1 if backwards else 1
    return [*scope.take_pending(), For(nest.names[index], start, stop, tuple(body), step, mode)]


def guarded(nest: Nest, body: list[Stmt]) -> list[Stmt]:
    """Puts guards that no loop can take before the loops."""
    conditions = free_guards(nest)
    return [If(conditions, tuple(body))] if conditions else body


def body_value(body: Scalar, operands: Sequence[Address], scope: Scope) -> Scalar:
    """A body with its accesses as loads and its indices as integers."""
    loaded = replace_args(body, lambda k: scope.load(operands[k]))
    return replace_indices(loaded, lambda k: IntValue(scope.values[k]))


# --- Elementwise ---


def cluster_statements(
    nest: Nest,
    results: Sequence[tuple[str, str, str | None]],
    buffers: dict[int, str],
) -> list[Stmt]:
    """One loop nest that computes each body in turn.

    `results` are, for each body, the variable's name, its type, and the buffer to store it in
    (None: only later bodies use it, as `Name`).
    """

    def inner(scope: Scope) -> list[Stmt]:
        stmts: list[Stmt] = []
        stores: list[Stmt] = []
        for body, (name, dtype, buffer) in zip(nest.bodies, results, strict=True):
            value = body_value(body, nest.operands, scope)
            if buffer is not None and len(nest.bodies) == 1:
                stores.append(Store(buffer, scope.index(nest.out), value))
                continue
            stmts.append(Let(name, dtype, value))
            if buffer is not None:
                stores.append(Store(buffer, scope.index(nest.out), Name(name)))
        return stmts + stores

    order = memory_order(nest)
    simd = bool(order) and is_contiguous(nest, order[-1])
    return nest_loops(nest, order, Scope(buffers), inner, parallel=len(order), simd=simd)


def place_statements(nest: Nest, buffer: str, buffers: dict[int, str]) -> list[Stmt]:
    """A `set` piece with any output address: paddings, concatenations, strided scatters."""

    def inner(scope: Scope) -> list[Stmt]:
        value = body_value(nest.body, nest.operands, scope)
        return [Store(buffer, scope.index(nest.out), value)]

    order = [*memory_order(nest), *nest.reduced]
    simd = bool(order) and is_contiguous(nest, order[-1])
    if len(order) > 1 and not nest.guards and _is_short(nest, order[-1]):
        return _interleaved(nest, order, Scope(buffers), inner)
    loops = nest_loops(nest, order, Scope(buffers), inner, parallel=len(nest.kept), simd=simd)
    return guarded(nest, loops)


def _is_short(nest: Nest, index: int) -> bool:
    extent = nest.extents[index]
    return isinstance(extent, int) and extent <= SHORT


def _interleaved(nest: Nest, order: Sequence[int], scope: Scope, inner: Inner) -> list[Stmt]:
    """Where the innermost loop has a few trips, the one around it is the one for vectors."""

    def innermost(outer: Scope) -> list[Stmt]:
        return nest_loops(nest, order[-1:], outer, inner)

    around = order[:-1]
    return nest_loops(
        nest, around, scope, innermost, parallel=len(nest.kept), simd=True, deeper=order[-1:]
    )


def scatter_statements(
    nest: Nest, buffer: str, buffers: dict[int, str], safe: Sequence[int]
) -> list[Stmt]:
    """A sum whose points collide: added one by one, in loop order, into a zeroed buffer.

    The indices in `safe` never collide with each other: the outermost of them is parallel.
    """

    def inner(scope: Scope) -> list[Stmt]:
        value = body_value(nest.body, nest.operands, scope)
        where = scope.index(nest.out)
        return [Store(buffer, where, call("add", Load(buffer, where), value))]

    order = [*safe[:1], *(k for k in range(len(nest.extents)) if k not in safe[:1])]
    loops = nest_loops(nest, order, Scope(buffers), inner, parallel=int(bool(safe)))
    return guarded(nest, loops)


def is_contiguous(nest: Nest, index: int) -> bool:
    """Whether a loop over the index touches neighbouring or constant elements only."""
    return all(
        a.strides[index] in (0, 1) and not any(x.uses(index) for _, x in a.indirect)
        for a in nest.addresses
    )


# --- Reductions ---


def sum_statements(nest: Nest, dtype: str, buffer: str, buffers: dict[int, str]) -> list[Stmt]:
    """`sum` and `prod` with one accumulator a result."""
    function, start = ("add", 0) if nest.combine == "sum" else ("mul", 1)
    outer = _kept_guards(nest) if function == "mul" else ()  # an empty product is 1, not skipped
    nest = replace(nest, guards=tuple(g for g in nest.guards if g not in outer))

    def inner(scope: Scope) -> list[Stmt]:
        def add(below: Scope) -> list[Stmt]:
            value = body_value(nest.body, nest.operands, below)
            return [Set("acc", Call(function, (Name("acc"), value)))]

        order = _reduction_order(nest)
        simd = bool(order) and function == "add" and is_contiguous(nest, order[-1])
        loops = nest_loops(nest, order, scope.child(), add, simd=simd)
        if simd:
            loops = [_with_sum(s) for s in loops]
        if outer:
            loops = [If(tuple(affine_value(g, scope.values) for g in outer), tuple(loops))]
        acc = Var("acc", dtype, Const(float(start) if is_float(dtype) else start, dtype))
        return [acc, *guarded(nest, loops), *finish_store(nest, buffer, scope, Name("acc"))]

    order = memory_order(nest)
    return nest_loops(
        nest,
        order,
        Scope(buffers),
        inner,
        parallel=len(order),
        simd=_short_windows(nest, order),
        deeper=nest.reduced,
    )


def _kept_guards(nest: Nest) -> tuple[Affine, ...]:
    """The guards that depend on kept indices alone."""
    return tuple(
        g for g in nest.guards if not g.is_constant and all(k in nest.kept for k in g.uses)
    )


def _short_windows(nest: Nest, order: Sequence[int]) -> bool:
    """Whether neighbouring results are computed side by side, each from a small window."""
    extents = [nest.extents[k] for k in nest.reduced]
    points = product(tuple(extents))
    small = isinstance(points, int) and points <= WINDOW
    return bool(order) and small and not nest.guards and nest.out.strides[order[-1]] == 1


def _reduction_order(nest: Nest) -> list[int]:
    """Reduced indices, one that is contiguous everywhere last."""
    order = list(nest.reduced)
    best = [k for k in order if is_contiguous(nest, k) and not nest.guarded(k)]
    if best and best[-1] != order[-1] and not any(nest.guarded(k) for k in order):
        order.remove(best[-1])
        order.append(best[-1])
    return order


def _with_sum(stmt: Stmt) -> Stmt:
    """Tells the innermost simd loop that it adds into the accumulator."""
    if not isinstance(stmt, For):
        return stmt
    body = tuple(_with_sum(s) for s in stmt.body)
    sums = ("acc",) if stmt.mode == "simd" else ()
    return For(stmt.variable, stmt.start, stmt.stop, body, stmt.step, stmt.mode, sums)


def finish_store(nest: Nest, buffer: str, scope: Scope, reduced: Scalar) -> list[Stmt]:
    """Stores a reduced value, through the nest's finish where it has one, or its results."""
    where = scope.index(nest.out)
    stmts = results_of(nest, buffer, where, lambda body: finish_value(nest, body, scope, reduced))
    return [*scope.take_pending(), *stmts]


def finish_value(nest: Nest, body: Scalar, scope: Scope, reduced: Scalar) -> Scalar:
    """The finish, or the body of a result, at one element."""
    operands = nest.finish_operands
    loaded = replace_args(body, lambda k: reduced if k == 0 else scope.load(operands[k - 1]))
    return replace_indices(loaded, lambda k: IntValue(scope.values[k]))


def results_of(
    nest: Nest, buffer: str, where: Linear, value: Callable[[Scalar], Scalar], lanes: int = 1
) -> list[Stmt]:
    """Stores what a nest makes of a reduced element; `value` says what a body means there.

    All values are known before the first is stored, which may overwrite what they were made from.
    """
    if not nest.results:
        return [Store(buffer, where, value(nest.finish or Arg(0)), lanes)]
    lets = [Let(r.name, r.dtype, value(r.body), lanes) for r in nest.results]
    stored = [r for r in nest.results if r.buffer is not None]
    return [*lets, *(Store(str(r.buffer), where, Name(r.name), lanes) for r in stored)]


@dataclass(frozen=True)
class Scan:
    """The search for the first extremum: NaN wins and stays.

    A scan for a position runs backwards, so that the last point to win is the first of its equals:
    one comparison, where a forward scan would have to remember more.
    """

    nest: Nest
    dtype: str
    track: bool

    @property
    def _larger(self) -> bool:
        return self.nest.combine in ("max", "argmax")

    def start(self, lanes: int = 1) -> list[Stmt]:
        """The variables before the first point."""
        worst = float("-inf") if self._larger else float("inf")
        best = Var("best", self.dtype, _start(self.dtype, worst), lanes)
        return [best, *([Var("at", "int32", Const(0, "int32"), lanes)] if self.track else [])]

    def step(self, value: Scalar, scope: Scope, lanes: int = 1) -> list[Stmt]:
        """What one point changes."""
        v, best = Name("v"), Name("best")
        better = "g" if self._larger else "l"
        better += "e" if self.track else "t"
        wins: Scalar = Call(better, (v, best))
        if is_float(self.dtype):
            wins = Call("or", (wins, Call("ne", (v, v))))
        if not self.track:
            better_value = Set("best", Call("where", (wins, v, best)))
            return [Let("v", self.dtype, value, lanes), better_value]
        here = IntValue(_position(self.nest, scope))
        return [
            Let("v", self.dtype, value, lanes),
            Let("wins", "bool", wins, lanes),
            Set("best", Call("where", (Name("wins"), v, best))),
            Set("at", Call("where", (Name("wins"), here, Name("at")))),
        ]


def extremum_statements(
    nest: Nest,
    scan: Scan,
    value_buffer: str | None,
    position_buffer: str | None,
    position_out: Address,
    buffers: dict[int, str],
) -> list[Stmt]:
    """A scan for the first extremum: its value, its position (at `position_out`), or both."""

    def inner(scope: Scope) -> list[Stmt]:
        def step(below: Scope) -> list[Stmt]:
            return scan.step(body_value(nest.body, nest.operands, below), below)

        order = list(nest.reduced)
        loops = nest_loops(nest, order, scope.child(), step, backwards=scan.track)
        tail: list[Stmt] = []
        if value_buffer is not None:
            tail += finish_store(nest, value_buffer, scope, Name("best"))
        if position_buffer is not None:
            tail.append(Store(position_buffer, scope.index(position_out), Name("at")))
        return [*scan.start(), *guarded(nest, loops), *tail]

    order = memory_order(nest)
    return nest_loops(
        nest,
        order,
        Scope(buffers),
        inner,
        parallel=len(order),
        simd=_short_windows(nest, order),
        deeper=nest.reduced,
    )


def _start(dtype: str, worst: float) -> Const:
    """Where a scan starts: an infinity, or the end of an integer type's range."""
    if is_float(dtype):
        return Const(worst, dtype)
    low, high = {
        "bool": (0, 1),
        "uint8": (0, 255),
        "int32": (-(2**31), 2**31 - 1),
        "int64": (-(2**63), 2**63 - 1),
    }[dtype]
    return Const(low if worst < 0 else high, dtype)


def _position(nest: Nest, scope: Scope) -> Linear:
    """The row-major position of the current point among the reduced indices."""
    total = integer(0)
    for place, k in enumerate(nest.reduced):
        if place > 0:  # the first index counts whole rows: its extent may stay open
            extent = nest.extents[k]
            assert isinstance(extent, int)
            total = total * extent
        total = total + scope.values[k]
    return total
