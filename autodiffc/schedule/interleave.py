"""Interleaved layouts: an axis cut into blocks of `lanes` elements that lie next to each other.

    plain         x[n, c, h, w]
    interleaved   x[n // L, c, h, w, n % L]        as a tensor of its own, [N/L, C, H, W, L]

In an interleaved tensor neighbouring elements belong to different `n`, so a loop over the lanes is
contiguous whatever the other indices do: strides, windows and guards cost a vector nothing. A
formula that walks through `n` with one index runs over two indices instead, `n = L*block + lane`.

This file changes graphs; which nodes to interleave is decided in `schedule/layout.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from autodiffc.graph.affine import Affine, identity, index
from autodiffc.graph.comprehension import (
    Access,
    Comprehension,
    Domain,
    Row,
    out_indices,
)
from autodiffc.graph.construct import compute
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, indices_used
from autodiffc.graph.types import TensorType
from autodiffc.passes.formulas import reindex

Axis = tuple[Node, int]


# --- Which axes belong together ---


@dataclass
class AxisClasses:
    """Axes of tensors that are walked through by one index somewhere, as disjoint sets."""

    parent: dict[Axis, Axis] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph) -> AxisClasses:
        classes = cls()
        for node in graph.order:
            for group in _joined(node):
                first, *rest = group
                for axis in rest:
                    classes.union(first, axis)
        return classes

    def find(self, axis: Axis) -> Axis:
        root = axis
        while (above := self.parent.get(root, root)) != root:
            root = above
        while axis != root:  # so that the next search is short
            above = self.parent.get(axis, axis)
            self.parent[axis] = root
            axis = above
        return root

    def union(self, a: Axis, b: Axis) -> None:
        for axis in (a, b):
            self.parent.setdefault(axis, axis)
        self.parent[self.find(b)] = self.find(a)

    def sets(self) -> list[dict[Node, int]]:
        """Each class as nodes with their axis; without those in which a tensor has two."""
        found: dict[Axis, list[Axis]] = {}
        for axis in self.parent:
            found.setdefault(self.find(axis), []).append(axis)
        return [dict(axes) for axes in found.values() if len(dict(axes)) == len(axes)]


def _joined(node: Node) -> Iterator[list[Axis]]:
    """Groups of axes that a node walks through together."""
    if node.op == "reshape":
        (source,) = node.inputs
        for axis in range(min(len(source.shape), len(node.shape))):
            if source.shape[: axis + 1] != node.shape[: axis + 1]:
                break
            yield [(source, axis), (node, axis)]
    for piece in node.pieces:
        for k, extent in enumerate(piece.domain.extents):
            group = [
                (tensor, axis)
                for tensor, rows in _accesses(node, piece)
                for axis, row in enumerate(rows)
                if isinstance(row, Affine) and row.plain_index == k and tensor.shape[axis] == extent
            ]
            if group:
                yield group


def _accesses(node: Node, piece: Comprehension) -> Iterator[tuple[Node, tuple[Row, ...]]]:
    yield node, piece.out
    for access in (*piece.operands, *piece.finish_operands):
        yield node.inputs[access.operand], access.rows


def class_index(node: Node, piece: Comprehension, axes: Mapping[Node, int]) -> int | None:
    """The index that walks through a class of axes, where it can be cut in two; else None.

    It must do nothing else: appear in no guard, no value, no other row of these tensors; and not be
    the position that an argmax reports.
    """
    found: set[int] = set()
    for tensor, rows in _accesses(node, piece):
        axis = axes.get(tensor)
        row = rows[axis] if axis is not None else None
        if row is None:
            continue
        k = row.plain_index if isinstance(row, Affine) else None
        if k is None:
            return None
        found.add(k)
    if len(found) != 1:
        return None
    (k,) = found
    return k if _walks_only(node, piece, k, axes) else None


def _walks_only(node: Node, piece: Comprehension, k: int, axes: Mapping[Node, int]) -> bool:
    bodies = [piece.body, *([] if piece.finish is None else [piece.finish])]
    if any(k in indices_used(body) for body in bodies) or any(
        k in guard.uses for guard in piece.domain.guards
    ):
        return False
    if piece.combine not in ("set", "sum") and k in piece.reduced:
        return False
    for tensor, rows in _accesses(node, piece):
        for axis, row in enumerate(rows):
            if axis == axes.get(tensor):
                if tensor.shape[axis] != piece.domain.extents[k]:
                    return False
            elif k in out_indices((row,)) and (tensor in axes or not isinstance(row, Affine)):
                return False
    return True


# --- The change ---


def interleaved_shape(
    shape: tuple[ExtentLike, ...], axis: int, lanes: int
) -> tuple[ExtentLike, ...]:
    extent = shape[axis]
    assert isinstance(extent, int)
    assert extent % lanes == 0
    return (*shape[:axis], extent // lanes, *shape[axis + 1 :], lanes)


@dataclass(frozen=True)
class Interleaved:
    """A rewritten graph; `plain` has what is left of the old nodes, or copied back."""

    graph: Graph
    plain: Mapping[Node, Node]

    def axes(self, old: Mapping[Node, int]) -> dict[Node, int]:
        """Another class of axes in the new graph. What is interleaved once is so for good."""
        return {self.plain[node]: axis for node, axis in old.items() if node in self.plain}


# By node: operands that it must have interleaved (True) or plain (False). It can do with either
# form of the others.
Needs = Mapping[Node, Mapping[Node, bool]]


def interleave(
    graph: Graph,
    axes: Mapping[Node, int],
    chosen: Collection[Node],
    lanes: int,
    needs: Needs | None = None,
) -> Interleaved:
    """The graph with the `chosen` nodes over interleaved tensors, and copies in between.

    `axes` is the class: for each of its tensors the axis that is cut. Outputs stay plain. Without
    `needs` a chosen node needs all its operands interleaved.
    """
    change = _Interleaver(axes, lanes)
    for node in graph.order:
        wanted = None if needs is None else needs.get(node)
        change.add(node, node in chosen, wanted)
    new = Graph({name: change.plain(node) for name, node in graph.outputs.items()})
    return Interleaved(new, change.plain_nodes)


class _Interleaver:
    """Rewrites nodes in order; for each it knows the plain or the interleaved value, or both."""

    def __init__(self, axes: Mapping[Node, int], lanes: int) -> None:
        self._axes, self._lanes = axes, lanes
        self.plain_nodes: dict[Node, Node] = {}
        self._interleaved: dict[Node, Node] = {}

    def add(self, node: Node, chosen: bool, wanted: Mapping[Node, bool] | None) -> None:
        if not chosen:
            inputs = tuple(self.plain(i) for i in node.inputs)
            same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
            self.plain_nodes[node] = node if same else renew(node, inputs=inputs)
            return
        wanted = None if node.op == "reshape" else wanted
        cut = frozenset(i for i in node.inputs if i in self._axes and self._cuts(i, wanted))
        inputs = tuple(self.interleaved(i) if i in cut else self.plain(i) for i in node.inputs)
        new = changed(node, inputs, self._axes, self._lanes, cut)
        (self._interleaved if node in self._axes else self.plain_nodes)[node] = new

    def _cuts(self, operand: Node, wanted: Mapping[Node, bool] | None) -> bool:
        """Whether an operand is read interleaved; one that is not mentioned is read as it is."""
        if wanted is None:
            return True
        return wanted.get(operand, operand not in self.plain_nodes)

    def plain(self, node: Node) -> Node:
        if node not in self.plain_nodes:
            source = self._interleaved[node]
            self.plain_nodes[node] = converted(
                node, source, self._axes[node], self._lanes, interleave=False
            )
        return self.plain_nodes[node]

    def interleaved(self, node: Node) -> Node:
        if node not in self._interleaved:
            source = self.plain_nodes[node]
            self._interleaved[node] = converted(
                node, source, self._axes[node], self._lanes, interleave=True
            )
        return self._interleaved[node]


def changed(
    node: Node,
    inputs: tuple[Node, ...],
    axes: Mapping[Node, int],
    lanes: int,
    cut: Collection[Node],
) -> Node:
    """A node over operands of which those in `cut` are interleaved; so is it, if of the class."""
    axis = axes.get(node)
    shape = node.shape if axis is None else interleaved_shape(node.shape, axis, lanes)
    type_ = TensorType(shape, node.dtype)
    if node.op == "reshape":
        return renew(node, inputs=inputs, type=type_)
    pieces = tuple(interleaved_piece(node, p, axes, lanes, cut) for p in node.pieces)
    return renew(node, inputs=inputs, pieces=pieces, type=type_)


def preview(node: Node, axes: Mapping[Node, int], lanes: int, cut: Collection[Node]) -> Node:
    """What a node would be if it were interleaved: over stand-ins for its operands."""

    def stand_in(operand: Node) -> Node:
        if operand not in cut:
            return operand
        shape = interleaved_shape(operand.shape, axes[operand], lanes)
        return renew(operand, type=TensorType(shape, operand.dtype))

    return changed(node, tuple(stand_in(i) for i in node.inputs), axes, lanes, cut)


def interleaved_piece(
    node: Node,
    piece: Comprehension,
    axes: Mapping[Node, int],
    lanes: int,
    cut: Collection[Node],
) -> Comprehension:
    """The formula with its class index cut into a block and a lane, the lane last."""
    k = class_index(node, piece, axes)
    assert k is not None
    rank = piece.domain.rank
    extent = piece.domain.extents[k]
    assert isinstance(extent, int)
    extents = [*piece.domain.extents, lanes]
    extents[k] = extent // lanes
    names = [*piece.domain.names, f"{piece.domain.names[k]}l"]
    names[k] = f"{piece.domain.names[k]}b"
    inner = [index(rank + 1, j) for j in range(rank)]
    inner[k] = inner[k] * lanes + index(rank + 1, rank)
    new = reindex(piece, inner, extents, names)
    block, lane = index(rank + 1, k), index(rank + 1, rank)

    def moved(axis: int, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        return (*rows[:axis], block, *rows[axis + 1 :], lane)

    def access(a: Access) -> Access:
        tensor = node.inputs[a.operand]
        return Access(a.operand, moved(axes[tensor], a.rows)) if tensor in cut else a

    return replace(
        new,
        out=moved(axes[node], new.out) if node in axes else new.out,
        operands=tuple(access(a) for a in new.operands),
        finish_operands=tuple(access(a) for a in new.finish_operands),
    )


def converted(node: Node, source: Node, axis: int, lanes: int, *, interleave: bool) -> Node:
    """A copy of a value in the other layout; where the order is the same, a view."""
    shape = node.shape
    cut = interleaved_shape(shape, axis, lanes)
    name = node.name or node.label or node.op
    if axis == len(shape) - 1:
        target = cut if interleave else shape
        view = Node("reshape", (source,), TensorType(target, node.dtype), label=name, loc=node.loc)
        return renew(view, serial=node.serial)
    rank = len(shape)
    rows = identity(rank + 1)
    plain = tuple(rows[a] * lanes + rows[rank] if a == axis else rows[a] for a in range(rank))
    domain = Domain(cut)
    out, read = (rows, plain) if interleave else (plain, rows)
    formula = Comprehension(domain, out, (Access(0, read),), Arg(0))
    label = f"{name}_{'lanes' if interleave else 'plain'}"
    copy = compute([source], [formula], cut if interleave else shape, label=label, loc=node.loc)
    return renew(copy, serial=node.serial)
