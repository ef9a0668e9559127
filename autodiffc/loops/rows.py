"""Row kernels: everything that a row needs, while the row is close (`schedule/rows.py`).

    for each row                                   in parallel, or a vector of rows at a time
        what one value a row needs no column for
        for each column, pass 0                    sums and extrema add up in registers
        what one value a row needs of pass 0
        for each column, pass 1
        …

A value at every point that only one pass needs is a variable there. What later passes need again
is read back, if it is a result; kept in a small array of the row, if it takes a function like `exp`
and there is room; else computed again. So no pass over memory is added, and each element's value is
the same whichever way it came. Where one vector holds a whole row there are no loops at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from autodiffc.graph.node import Node
from autodiffc.graph.scalars import (
    Call,
    Const,
    Scalar,
    args_used,
    replace_args,
    replace_indices,
    walk,
)
from autodiffc.loops.addresses import Scope
from autodiffc.loops.blocks import Body, in_vectors
from autodiffc.loops.ir import (
    Array,
    Block,
    FirstLanes,
    For,
    IntValue,
    LaneExtremum,
    LaneSum,
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
from autodiffc.loops.plain import nest_loops
from autodiffc.schedule.nest import Address, Nest
from autodiffc.schedule.rows import REDUCTIONS, Member, RowNest
from autodiffc.schedule.vectors import BYTES, has_math, lanes_for
from autodiffc.targets import Target

ROOM = 1 << 13  # bytes of a row that a kernel may keep on its stack


@dataclass(frozen=True)
class Names:
    """What a row kernel's text calls its values: variables, and results' buffers."""

    variables: Mapping[Node, str]
    results: Mapping[Node, str]
    buffers: Mapping[int, str]  # of sources outside, by the number that addresses carry
    fresh: Callable[[str], str]


def row_statements(rows: RowNest, nest: Nest, names: Names, target: Target | None) -> list[Stmt]:
    """The kernel of a row nest; `nest` is the nest with names that are free."""
    return _RowKernel(rows, nest, names, target).statements()


@dataclass
class _Here:
    """Where statements are being written: a scope, what is known in it, and how much of a vector.

    `count` is the number of lanes in use, where not all are; `number` the pass over the columns.
    """

    scope: Scope
    known: dict[Node, Scalar]
    count: Linear | None = None
    number: int = 0
    stmts: list[Stmt] = field(default_factory=list)

    def inner(self, scope: Scope) -> _Here:
        return _Here(scope, dict(self.known), self.count, self.number)

    def add(self, *stmts: Stmt) -> None:
        """Adds statements, after those that look up what they address."""
        self.stmts += [*self.scope.take_pending(), *stmts]


@dataclass(frozen=True)
class _Division:
    """The pass that writes a value at every point to a result or an array; others write nothing."""

    written: Mapping[Node, int]
    kept: Sequence[Node]  # in arrays


def _divide(rows: RowNest, stored: Collection[Node], room: int) -> _Division:
    """Which values at every point are read back in later passes; `room` is for so many arrays."""
    passes, _ = rows.passes()
    wanted: dict[Node, set[int]] = {m.node: set() for m in rows.members}
    written: dict[Node, int] = {}
    kept: list[Node] = []
    for member in reversed(rows.members):
        node, at = member.node, wanted[member.node]
        if member.kind in REDUCTIONS or node in stored:
            at = {passes[node]}
        elif len(at) > 1 and len(kept) < room and _is_dear(rows, member):
            at = {min(at)}
            kept.append(node)
        if member.kind == "point" and (node in stored or node in kept):
            (written[node],) = at
        if member.kind != "row":
            for source in rows.reads(member):
                wanted[source] |= at
    return _Division(written, kept[::-1])


def _is_dear(rows: RowNest, member: Member) -> bool:
    """Whether a value should rather be kept than computed again."""
    body = rows.nest.bodies[member.body]
    kinds = {m.node: m.kind for m in rows.members}
    divides = any(isinstance(part, Call) and part.function == "div" for part in walk(body))
    chained = any(kinds[n] == "point" for n in rows.reads(member))
    return member.node.dtype == rows.floats and (has_math(body) or divides or chained)


class _RowKernel:
    """Builds the statements of one kernel."""

    def __init__(self, rows: RowNest, nest: Nest, names: Names, target: Target | None) -> None:
        self.rows, self.nest, self.names = rows, nest, names
        self.vector = len(nest.extents) - 1  # the index that lanes walk through
        self.column = rows.column
        found = lanes_for(nest.extents[self.vector], rows.floats, target) if target else 0
        self.lanes = max(found, 1)
        self.along = self.lanes > 1 and not rows.across
        self.spread = self.lanes > 1 and any(has_math(body) for body in nest.bodies)
        self.members = {m.node: m for m in rows.members}
        self.passes, self.known = rows.passes()
        stored = {n for n in names.results if self.members[n].kind == "point"}
        self.single = self._is_single()
        room = 0 if self.single else ROOM // max(self._row_bytes(), 1)
        self.division = _divide(rows, stored, room)
        self._locals: dict[tuple[Node, str], str] = {}

    def _is_single(self) -> bool:
        """Whether one vector holds all columns: then values stay in registers from pass to pass."""
        width = self.nest.extents[self.column]
        return self.along and isinstance(width, int) and width <= self.lanes

    def _row_bytes(self) -> int:
        """The bytes of an array for one value at every column; too many where that is not known."""
        width = self.nest.extents[self.column]
        if not isinstance(width, int):
            return ROOM + 1
        elements = -(-width // self.lanes) * self.lanes if self.along else width * self.lanes
        return elements * BYTES[self.rows.floats]

    def _local(self, node: Node, what: str) -> str:
        """The name of something that belongs to a member: `softmax_row`."""
        if (node, what) not in self._locals:
            self._locals[node, what] = self.names.fresh(f"{self.names.variables[node]}_{what}")
        return self._locals[node, what]

    # --- Rows ---

    def statements(self) -> list[Stmt]:
        scope = Scope(self.names.buffers)
        kept = list(self.nest.kept)
        if not self.rows.across:
            return self._around(kept, scope, lambda s: self._row(_Here(s, {})))
        return self._around(kept[:-1], scope, self._vectors_of_rows)

    def _around(
        self, outer: Sequence[int], scope: Scope, inner: Callable[[Scope], list[Stmt]]
    ) -> list[Stmt]:
        deeper = [k for k in range(len(self.nest.extents)) if k not in outer]
        return nest_loops(self.nest, outer, scope, inner, parallel=len(outer), deeper=deeper)

    def _vectors_of_rows(self, scope: Scope) -> list[Stmt]:
        return self._blocks(
            self.vector,
            "parallel",
            lambda start, count: self._row(_Here(self._at(scope, self.vector, start), {}, count)),
        )

    def _at(self, scope: Scope, index: int, value: Linear) -> Scope:
        below = scope.child()
        below.values[index] = value
        return below

    def _blocks(self, index: int, mode: str, body: Body) -> list[Stmt]:
        extent = self.nest.extents[index]
        found = in_vectors(self.nest.names[index], extent, self.lanes, mode, body)
        # of an open extent the end is a variable, and the next pass over a row has it again
        return found if isinstance(extent, int) else [Block(tuple(found))]

    # --- One row, or one vector of rows ---

    def _row(self, row: _Here) -> list[Stmt]:
        size = self._row_bytes() // BYTES[self.rows.floats]
        kept = self.division.kept
        row.add(*(Array(self._local(n, "row"), self.rows.floats, size) for n in kept))
        for row.number in range(max(self.known.values()) + 1):
            self._row_values(row)
            self._pass(row)
        return row.stmts

    def _row_values(self, row: _Here) -> None:
        """What is known of a row after so many passes: the ends of reductions, values of them."""
        for member in self.rows.members:
            if member.kind == "point" or self.known[member.node] != row.number:
                continue
            if member.kind in REDUCTIONS:
                self._end_reduction(row, member)
            else:
                self._row_value(row, member.node, self._value(row, member.body))

    def _end_reduction(self, row: _Here, member: Member) -> None:
        node, reduced = member.node, row.known[member.node]
        if self.along:
            reduced = self._over_lanes(reduced, member)
        if member.finish is not None:
            if not isinstance(reduced, Name):
                reduced = self._let(row, self._local(node, "all"), self.rows.floats, reduced)
            reduced = self._value(row, member.finish, reduced)
        self._row_value(row, node, reduced)

    def _over_lanes(self, lanes: Scalar, member: Member) -> Scalar:
        assert isinstance(lanes, Name)
        if member.kind == "sum":
            return LaneSum(lanes.name, self.lanes)
        return LaneExtremum(lanes.name, self.lanes, member.kind)

    def _row_value(self, row: _Here, node: Node, value: Scalar) -> None:
        name = self.names.variables[node]
        row.known[node] = Name(name)
        if value != Name(name):
            self._let(row, name, node.dtype, value)
        if node in self.names.results:
            where, lanes = row.scope.index(self.nest.operands[0]), self._row_lanes
            count = integer(1) if self.along and lanes > 1 else row.count
            row.add(Store(self.names.results[node], where, Name(name), lanes, count))

    def _let(self, row: _Here, name: str, dtype: str, value: Scalar) -> Name:
        row.add(Let(name, dtype, value, self._row_lanes))
        return Name(name)

    @property
    def _row_lanes(self) -> int:
        """The lanes of one value a row: all hold the same, where functions want vectors."""
        return self.lanes if not self.along or self.spread else 1

    # --- Passes over the columns ---

    def _pass(self, row: _Here) -> None:
        sums = [m for m in self.rows.members if m.kind in REDUCTIONS]
        sums = [m for m in sums if self.passes[m.node] == row.number]
        points = [n for n, number in self.division.written.items() if number == row.number]
        if not sums and not points:
            return
        for member in sums:
            row.known[member.node] = self._accumulator(row, member)
        points.sort(key=list(self.members).index)
        if self.single:
            self._only_columns(row, sums, points)
        else:
            row.add(*self._column_loop(row, sums, points))

    def _only_columns(self, row: _Here, sums: Sequence[Member], points: Sequence[Node]) -> None:
        width = self.nest.extents[self.column]
        assert isinstance(width, int)
        row.scope.values[self.column] = integer(0)
        row.count = integer(width) if width < self.lanes else None
        self._columns(row, sums, points)
        row.count = None

    def _column_loop(
        self, row: _Here, sums: Sequence[Member], points: Sequence[Node]
    ) -> list[Stmt]:
        def body(start: Linear, count: Linear | None) -> list[Stmt]:
            here = row.inner(self._at(row.scope, self.column, start))
            here.count = count if self.along else row.count
            self._columns(here, sums, points)
            return here.stmts

        if self.along:
            return self._blocks(self.column, "serial", body)
        name = self.nest.names[self.column]
        stop = integer(self.nest.extents[self.column])
        return [For(name, integer(0), stop, tuple(body(variable(name), None)))]

    def _accumulator(self, row: _Here, member: Member) -> Name:
        """A variable that starts with the value of nothing."""
        name = self.names.variables[member.node]
        if self.along or member.finish is not None:
            name = self._local(member.node, "lanes" if self.along else member.kind)
        row.add(Var(name, self.rows.floats, self._nothing(member), self.lanes))
        return Name(name)

    def _nothing(self, member: Member) -> Const:
        start = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}[member.kind]
        return Const(start, self.rows.floats)

    def _columns(self, here: _Here, sums: Sequence[Member], points: Sequence[Node]) -> None:
        """One column, or one vector of columns, in one pass."""
        for member in sums:
            value = self._value(here, member.body)
            here.add(*self._combined(here, member, value))
        for node in points:
            value = self._point(here, node)
            where = here.scope.index(self.nest.out)
            if node in self.names.results:
                buffer = self.names.results[node]
                here.add(Store(buffer, where, value, self.lanes, here.count))
            else:
                here.add(Store(self._local(node, "row"), self._in_array(here), value, self.lanes))

    def _combined(self, here: _Here, member: Member, value: Scalar) -> list[Stmt]:
        """A term added, or compared; lanes beyond the row's end count as nothing."""
        total = here.known[member.node]
        assert isinstance(total, Name)
        if self.along and here.count is not None:
            value = FirstLanes(value, self.lanes, here.count, self._nothing(member))
        if member.kind == "sum":
            return [Set(total.name, Call("add", (total, value)))]
        term = Name(self._local(member.node, "term"))
        wins: Scalar = Call("gt" if member.kind == "max" else "lt", (term, total))
        wins = Call("or", (wins, Call("ne", (term, term))))
        return [
            Let(term.name, self.rows.floats, value, self.lanes),
            Set(total.name, Call("where", (wins, term, total))),
        ]

    def _point(self, here: _Here, node: Node) -> Scalar:
        """The value of a member at the present columns, computed or brought back if need be."""
        if node not in here.known:
            if self.division.written.get(node, here.number) < here.number:
                value: Scalar = self._brought_back(here, node)
            else:
                value = self._value(here, self.members[node].body)
            name = self.names.variables[node]
            here.add(Let(name, node.dtype, value, self.lanes))
            here.known[node] = Name(name)
        return here.known[node]

    def _brought_back(self, here: _Here, node: Node) -> Load:
        if node in self.names.results:
            where = here.scope.index(self.nest.out)
            return Load(self.names.results[node], where, self.lanes, count=here.count)
        return Load(self._local(node, "row"), self._in_array(here), self.lanes)

    def _in_array(self, here: _Here) -> Linear:
        column = here.scope.values[self.column]
        return column if self.along else column * self.lanes

    # --- Values ---

    def _value(self, here: _Here, number: int, reduced: Scalar | None = None) -> Scalar:
        """A body with members as variables and everything else as loads."""
        values = {k: self._operand(here, k, reduced) for k in args_used(self.nest.bodies[number])}
        body = replace_args(self.nest.bodies[number], values.__getitem__)
        return replace_indices(body, lambda k: self._int_value(here, k))

    def _operand(self, here: _Here, k: int, reduced: Scalar | None) -> Scalar:
        if k == 0:
            assert reduced is not None
            return reduced
        address = self.nest.operands[k]
        source = self.rows.sources[address.operand]
        member = self.members.get(source)
        if member is None:
            return self._load(here, address)
        return self._point(here, source) if member.kind == "point" else here.known[source]

    def _load(self, here: _Here, address: Address) -> Load:
        load = here.scope.load(address)
        if self.lanes == 1:
            return load
        if address.strides[self.vector] == 1:
            return Load(load.buffer, load.index, self.lanes, count=here.count)
        return Load(load.buffer, load.index, self.lanes, stride=0) if self.spread else load

    def _int_value(self, here: _Here, k: int) -> IntValue:
        return IntValue(here.scope.values[k], self.lanes if k == self.vector else 1)
