"""Formulas that walk through the same rows, computed together: one pass over memory, one kernel.

    softmax and its gradient, for every row n:
        m = max over j of x[n,j]                        a reduction over the columns j
        e[n,j] = exp(x[n,j] - m)                        a value at every point
        s = sum over j of e[n,j]
        r = 1/s                                         one value a row
        y[n,j] = e[n,j]*r

A *frame* is the axes of such a tensor in the order in which it lies in memory, each of them a row
axis or a column axis. What belongs together is told by addresses, not by names: a member is
elementwise over the whole frame ("point"), elementwise over the rows ("row"), or a reduction of the
columns ("sum", "max", "min"), and reads other members only at the point where it is itself. A
tensor of 64 rows and one of 4 blocks of 16 rows are the same memory, and so the same rows.

The last axis of the frame is the one for vectors. Where it is a column, lanes are neighbouring
columns of one row; where it is a row axis, as in interleaved tensors, lanes are neighbouring rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autodiffc.graph.comprehension import Comprehension
from autodiffc.graph.extents import ExtentLike, product
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Const,
    Index,
    Scalar,
    args_used,
    dtype_of,
    indices_used,
    replace_args,
    replace_indices,
)
from autodiffc.schedule.kernels import is_elementwise, storage
from autodiffc.schedule.nest import Address, Nest, build_nest, collapse, row_major
from autodiffc.schedule.vectors import on_vectors, only_float

REDUCTIONS = ("sum", "max", "min")
MOST_COLUMNS = 1 << 15  # longer rows are few: their kernels would find no work for threads
ALONE = 1 << 12  # columns of a single row, which one thread computes
SLAB = 1 << 15  # bytes of a row of vectors: what the columns of neighbouring rows lie apart
MOST_LANES = 1 << 6  # rows side by side in a slab that is larger

Place = Mapping[int, ExtentLike]  # an index as a sum over axes of the frame: axis -> coefficient


@dataclass(frozen=True)
class Frame:
    """Axes longer than 1 in memory order; `columns` are the positions of those reduced."""

    names: tuple[str, ...]
    extents: tuple[ExtentLike, ...]
    columns: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(k for k in range(len(self.extents)) if k not in self.columns)

    @property
    def width(self) -> ExtentLike:
        """The columns of a row."""
        return product(tuple(self.extents[k] for k in self.columns))

    @property
    def is_across(self) -> bool:
        """Whether vectors hold neighbouring rows."""
        return len(self.extents) - 1 not in self.columns

    def strides(self, axes: Sequence[int]) -> tuple[ExtentLike, ...]:
        """The address of a tensor that has these axes alone."""
        dense = row_major([self.extents[k] for k in axes])
        found = dict(zip(axes, dense, strict=True))
        return tuple(found.get(k, 0) for k in range(len(self.extents)))


@dataclass(frozen=True)
class Member:
    """One node of a row kernel; `body` and `finish` are positions in the nest's bodies.

    In bodies `Arg(k)` is the nest's operand k; in a finish `Arg(0)` is the reduced value.
    """

    node: Node
    kind: str  # "point", "row", or how it reduces
    body: int
    finish: int | None


@dataclass(frozen=True)
class RowNest:
    """Members in order of computation over one nest, whose kept indices are the rows.

    The nest's `out` is the address of a value at every point, its operand 0 that of a value a row.
    `sources` are the nodes behind the numbers that addresses carry.
    """

    members: tuple[Member, ...]
    sources: tuple[Node, ...]
    nest: Nest
    floats: str
    across: bool

    @property
    def column(self) -> int:
        """The index of the columns."""
        (index,) = self.nest.reduced
        return index

    def reads(self, member: Member) -> list[Node]:
        """The members that a member's body reads."""
        return self._members_in(member.body)

    def _members_in(self, body: int) -> list[Node]:
        inside = {m.node for m in self.members}
        positions = [k for k in args_used(self.nest.bodies[body]) if k > 0]
        sources = (self.sources[self.nest.operands[k].operand] for k in positions)
        return [s for s in sources if s in inside]

    def passes(self) -> tuple[dict[Node, int], dict[Node, int]]:
        """The first pass over the columns that can compute a member's body; how many passes have
        to be over before its value is known (a value at every point is known in its pass)."""
        first: dict[Node, int] = {}
        known: dict[Node, int] = {}
        for member in self.members:
            node = member.node
            first[node] = max((known[s] for s in self.reads(member)), default=0)
            known[node] = first[node] + (member.kind in REDUCTIONS)
            if member.finish is not None:
                late = [known[s] for s in self._members_in(member.finish)]
                known[node] = max(known[node], *late, 0)
        return first, known


# --- One node in a frame ---


@dataclass(frozen=True)
class _Placed:
    """A node's formula with the axes of a frame for indices."""

    kind: str
    operands: tuple[Address, ...]
    finish_operands: tuple[Address, ...]
    body: Scalar
    finish: Scalar | None


def frame_of(node: Node) -> Frame | None:
    """The frame in which a reduction walks through one of its operands; None if it does not."""
    formula = _reduction(node)
    if formula is None:
        return None
    nest = build_nest(node, formula, merge=False)
    order = _walk(nest)
    if order is None:
        return None
    frame = Frame(
        tuple(nest.names[k] for k in order),
        tuple(nest.extents[k] for k in order),
        tuple(p for p, k in enumerate(order) if k in nest.reduced),
    )
    return frame if _is_suited(frame, node.dtype) else None


def _reduction(node: Node) -> Comprehension | None:
    """The formula of a node that reduces without guards."""
    if node.op != "compute" or len(node.pieces) != 1:
        return None
    formula = node.formula
    if formula.combine not in REDUCTIONS or formula.domain.guards:
        return None
    return formula


def _walk(nest: Nest) -> list[int] | None:
    """The indices in the order in which some operand's elements lie one after the other."""
    orders = (dense_order(a, nest.extents) for a in nest.operands)
    return next((order for order in orders if order is not None), None)


def dense_order(address: Address, extents: Sequence[ExtentLike]) -> list[int] | None:
    """The indices longer than 1, outermost first, if the points lie one after the other."""
    if address.indirect or address.offset != 0:
        return None
    left = [k for k, extent in enumerate(extents) if extent != 1]
    order: list[int] = []
    size: ExtentLike = 1
    while left:
        index = next((k for k in left if address.strides[k] == size), None)
        if index is None:
            return None
        left.remove(index)
        order.insert(0, index)
        size = size * extents[index]
    return order


def _is_suited(frame: Frame, dtype: str) -> bool:
    """Whether columns lie together, and rows are short enough, or enough, for one kernel."""
    columns, last = frame.columns, len(frame.extents) - 1
    if not columns or columns[-1] - columns[0] != len(columns) - 1 or last - columns[-1] > 1:
        return False
    height = product(tuple(frame.extents[k] for k in frame.rows))
    most = ALONE if height == 1 else MOST_COLUMNS
    if isinstance(frame.width, int) and frame.width > most:
        return False
    if not frame.is_across:
        return height != 1 or isinstance(frame.width, int)
    lanes = frame.extents[last]
    if not isinstance(lanes, int) or not isinstance(frame.width, int):
        return False
    return lanes <= MOST_LANES or lanes * frame.width * (8 if dtype == "float64" else 4) <= SLAB


def _place(node: Node, frame: Frame) -> _Placed | None:
    """A node as a member of a frame, if it is one by itself."""
    if is_elementwise(node) and node.formula.finish is None:
        return _place_elementwise(node, frame)
    formula = _reduction(node)
    return None if formula is None else _place_reduction(node, formula, frame)


def _place_elementwise(node: Node, frame: Frame) -> _Placed | None:
    nest = build_nest(node, node.formula, merge=False)
    order = [k for k, extent in enumerate(nest.extents) if extent != 1]
    for kind, axes in (("point", range(len(frame.extents))), ("row", frame.rows)):
        places = _match([nest.extents[k] for k in order], frame, axes)
        if places is not None:
            return _moved(nest, kind, dict(zip(order, places, strict=True)), frame)
    return None


def _place_reduction(node: Node, formula: Comprehension, frame: Frame) -> _Placed | None:
    nest = build_nest(node, formula, merge=False)
    order = _walk(nest)
    if order is None:
        return None
    places = _match([nest.extents[k] for k in order], frame, range(len(frame.extents)))
    if places is None:
        return None
    at = dict(zip(order, places, strict=True))
    sides = {k: frame.columns if k in nest.reduced else frame.rows for k in order}
    if not all(set(place) <= set(sides[k]) for k, place in at.items()):
        return None
    if _relocated(nest.out, at, frame).strides != frame.strides(frame.rows):
        return None
    return _moved(nest, nest.combine, at, frame)


def _match(
    extents: Sequence[ExtentLike], frame: Frame, axes: Sequence[int]
) -> list[dict[int, ExtentLike]] | None:
    """Each index as one axis, or several together; None if the extents do not go together."""
    left = list(axes)
    found: list[dict[int, ExtentLike]] = []
    for extent in reversed(extents):
        place: dict[int, ExtentLike] = {}
        size: ExtentLike = 1
        while size != extent:
            if not left:
                return None
            axis = left.pop()
            place[axis] = size
            size = size * frame.extents[axis]
        found.insert(0, place)
    return None if left else found


def _moved(nest: Nest, kind: str, at: Mapping[int, Place], frame: Frame) -> _Placed | None:
    """The formula over the frame's axes."""
    bodies = [nest.body, *([] if nest.finish is None else [nest.finish])]
    used = {k for body in bodies for k in indices_used(body)}
    if any(not isinstance(c, int) for k in used for c in at.get(k, {}).values()):
        return None

    def moved(body: Scalar) -> Scalar:
        return replace_indices(body, lambda k: _index_value(at.get(k, {})))

    return _Placed(
        kind,
        tuple(_relocated(a, at, frame) for a in nest.operands),
        tuple(_relocated(a, at, frame) for a in nest.finish_operands),
        moved(nest.body),
        None if nest.finish is None else moved(nest.finish),
    )


def _index_value(place: Place) -> Scalar:
    """An index in terms of the frame's."""
    total: Scalar | None = None
    for axis, coefficient in place.items():
        term: Scalar = Index(axis)
        if coefficient != 1:
            assert isinstance(coefficient, int)
            term = Call("mul", (Const(coefficient, "int32"), term))
        total = term if total is None else Call("add", (total, term))
    return Const(0, "int32") if total is None else total


def _relocated(address: Address, at: Mapping[int, Place], frame: Frame) -> Address:
    strides: list[ExtentLike] = [0] * len(frame.extents)
    for k, place in at.items():
        for axis, coefficient in place.items():
            strides[axis] = strides[axis] + address.strides[k] * coefficient
    indirect = tuple((stride, _relocated(inner, at, frame)) for stride, inner in address.indirect)
    return replace(address, strides=tuple(strides), indirect=indirect)


# --- Nodes together ---


def rows_of(nodes: Sequence[Node]) -> RowNest:
    """The nest of nodes that were joined."""
    for node in nodes:
        frame = frame_of(node)
        found = Rows(frame).nest(nodes) if frame else None
        if found is not None:
            return found
    raise AssertionError("these nodes were never joined")


class Rows:
    """What fits into one frame; each node is looked at once."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self._placed: dict[Node, _Placed | None] = {}

    def place(self, node: Node) -> _Placed | None:
        """The node as a member by itself, if it is one."""
        if node not in self._placed:
            self._placed[node] = _place(node, self.frame)
        return self._placed[node]

    def nest(self, nodes: Sequence[Node]) -> RowNest | None:
        """All nodes as one nest, operands before users; None if they do not go together."""
        if any(self.place(n) is None for n in nodes):
            return None
        found = _Joint(self, nodes).build()
        floats = only_float(s.dtype for s in (*found.sources, *nodes))
        if floats is None or found.floats != floats:
            return None
        fits = len(found.nest.reduced) == 1 and self._is_contiguous(found)
        return found if fits and _vectors_can(found) else None

    def _is_contiguous(self, rows: RowNest) -> bool:
        """Whether vectors find neighbouring or equal elements, and members what is there."""
        nest, last = rows.nest, len(rows.nest.extents) - 1
        kinds = {m.node: m.kind for m in rows.members}
        for address in nest.operands[1:]:
            source = rows.sources[address.operand]
            if source in kinds:
                own = nest.out if kinds[source] == "point" else nest.operands[0]
                if address.strides != own.strides or address.offset != 0 or address.indirect:
                    return False
            if address.strides[last] not in (0, 1) or any(
                a.uses(last) for _, a in address.indirect
            ):
                return False
        return all(s not in kinds for a in nest.operands for s in _looked_up(a, rows.sources))


def _looked_up(address: Address, sources: Sequence[Node]) -> Iterator[Node]:
    for _, inner in address.indirect:
        yield sources[inner.operand]
        yield from _looked_up(inner, sources)


def _vectors_can(rows: RowNest) -> bool:
    """Whether vectors can compute all bodies, in the types that reductions keep."""
    nest = rows.nest
    dtypes = [rows.sources[a.operand].dtype for a in nest.operands]
    for member in rows.members:
        body = nest.bodies[member.body]
        kept = rows.floats if member.kind in REDUCTIONS else member.node.dtype
        if dtype_of(body, dtypes) != kept or not on_vectors(body, dtypes, rows.floats):
            return False
        if member.kind in REDUCTIONS and member.node.dtype != rows.floats:
            return False
        if member.finish is not None:
            finish = nest.bodies[member.finish]
            if not on_vectors(finish, [rows.floats, *dtypes[1:]], rows.floats):
                return False
    return True


class _Joint:
    """Puts placed formulas into one nest, with one list of operands."""

    def __init__(self, rows: Rows, nodes: Sequence[Node]) -> None:
        self.rows, self.nodes = rows, nodes
        self.sources: list[Node] = []
        self.bodies: list[Scalar] = []
        frame = rows.frame
        first = Address(self._number(nodes[0]), frame.strides(frame.rows))
        self.operands: list[Address] = [first]

    def build(self) -> RowNest:
        frame = self.rows.frame
        members = tuple(self._member(n) for n in self.nodes)
        nest = Nest(
            names=frame.names,
            extents=frame.extents,
            guards=(),
            kept=frame.rows,
            reduced=frame.columns,
            out=Address(-1, frame.strides(range(len(frame.extents)))),
            operands=tuple(self.operands),
            bodies=tuple(self.bodies),
            combine="sum",
        )
        floats = next(m.node.dtype for m in members if m.kind in REDUCTIONS)
        return RowNest(members, tuple(self.sources), collapse(nest), floats, frame.is_across)

    def _member(self, node: Node) -> Member:
        placed = self.rows.place(node)
        assert placed is not None
        self.bodies.append(self._body(node, placed.body, placed.operands, 0))
        body, finish = len(self.bodies) - 1, None
        if placed.finish is not None:
            self.bodies.append(self._body(node, placed.finish, placed.finish_operands, 1))
            finish = len(self.bodies) - 1
        return Member(node, placed.kind, body, finish)

    def _body(self, node: Node, body: Scalar, operands: Sequence[Address], first: int) -> Scalar:
        """A body over the joint operands; its first arguments are no operands."""
        at = [self._operand(self._renumbered(node, a)) for a in operands]
        return replace_args(body, lambda k: Arg(at[k - first]) if k >= first else Arg(0))

    def _operand(self, address: Address) -> int:
        for k, known in enumerate(self.operands[1:], 1):
            if known == address:
                return k
        self.operands.append(address)
        return len(self.operands) - 1

    def _renumbered(self, node: Node, address: Address) -> Address:
        indirect = tuple((s, self._renumbered(node, inner)) for s, inner in address.indirect)
        number = self._number(storage(node.inputs[address.operand]))
        return replace(address, operand=number, indirect=indirect)

    def _number(self, source: Node) -> int:
        if source not in self.sources:
            self.sources.append(source)
        return self.sources.index(source)
