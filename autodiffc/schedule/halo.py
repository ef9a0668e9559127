"""A halo of zeros instead of guards.

A guarded read such as `x[n, c, i+p-1, j+q-1]` with `0 <= j+q-1 < W` keeps a sum from being computed
in tiles of `j`. Where the body is zero wherever that operand is zero, the operand can lie in a
larger tensor with zeros around it, and the guards on that row are gone:

    x[n, c, h, w+1] in a tensor of W+2        y = Σ … x[n, c, i+p-1, j+q]

The kernel that computes `x` writes it there, if all its readers can follow; otherwise a copy is
made, which the sums that want it share. Guards stay where they save more points than tiles gain
time (a wide window on a small image). (An infinite factor makes NaN out of a zero of the halo, as
it does in any library that pads with zeros.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Row
from autodiffc.graph.construct import compute
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.inequalities import never_negative
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Call, Const, Scalar, indices_used
from autodiffc.graph.types import TensorType, is_float
from autodiffc.schedule.cost import SMOOTH, elements, piece_cost, subsets
from autodiffc.targets import Target

MOST_ROWS = 3  # guarded rows of a formula that are looked at

Padding = tuple[int, int]  # zeros before and after an axis
Paddings = Mapping[int, Padding]  # by axis


@dataclass(frozen=True)
class Removal:
    """Guards that zeros in some operands would make superfluous; `readers`: (access, axis)."""

    guards: tuple[Affine, ...]
    readers: tuple[tuple[int, int], ...]
    padding: Padding


def halo(graph: Graph, target: Target) -> Graph:
    """The graph with zeros in place of those guards that cost more than they save."""
    chosen = {n: _chosen(n, target) for n in graph.order if _may_gain(n)}
    wanted = _wanted(chosen)
    if not wanted:
        return graph
    return _Padder(graph, chosen, wanted).graph()


def cost_with_halo(node: Node, target: Target) -> float:
    """The cost of a node whose operands may be given halos."""
    return sum(cost for cost, _ in _choices(node, target))


# --- Which guards go ---


def _may_gain(node: Node) -> bool:
    return node.op == "compute" and any(p.domain.guards and p.combine == "sum" for p in node.pieces)


def _chosen(node: Node, target: Target) -> list[tuple[Removal, ...]]:
    """For each piece the guards to remove."""
    return [some for _, some in _choices(node, target)]


Choice = tuple[float, tuple[Removal, ...]]  # the cost of a piece, and the guards to remove


def _choices(node: Node, target: Target) -> tuple[Choice, ...]:
    types = tuple(i.type for i in node.inputs)
    return choices_of(node.pieces, node.type, types, target)


@functools.lru_cache(maxsize=1 << 14)
def choices_of(
    pieces: tuple[Comprehension, ...],
    result: TensorType,
    operands: tuple[TensorType, ...],
    target: Target,
) -> tuple[Choice, ...]:
    """The best choice for each piece; equal formulas come up in every entry's graph."""
    inputs = tuple(Node("input", (), t, serial=0) for t in operands)
    node = Node("compute", inputs, result, pieces=pieces, serial=0)
    return tuple(_best(node, piece, target) for piece in pieces)


def _best(node: Node, piece: Comprehension, target: Target) -> Choice:
    found = list(removals(node, piece))[:MOST_ROWS]
    options: list[Choice] = [(piece_cost(node, piece, target), ())]
    for subset in subsets(len(found))[1:]:
        some = tuple(found[k] for k in subset)
        changed, padded = _preview(node, piece, some)
        if is_sound(padded, changed, piece):
            copies = sum(elements(padded.inputs[k].shape) for k in {*_padded_operands(piece, some)})
            options.append((piece_cost(padded, changed, target) + SMOOTH * copies, some))
    return min(options, key=lambda option: option[0])


def _padded_operands(piece: Comprehension, some: Sequence[Removal]) -> Iterator[int]:
    for removal in some:
        for position, _ in removal.readers:
            yield piece.operands[position].operand


def removals(node: Node, piece: Comprehension) -> Iterator[Removal]:
    """Rows of operands whose guards zeros could replace."""
    if piece.combine != "sum" or not piece.domain.guards or not _is_vector_work(node, piece):
        return
    seen: set[tuple[Affine, ExtentLike]] = set()
    for access in piece.operands:
        shape = node.inputs[access.operand].shape
        for axis, row in enumerate(access.rows):
            if not isinstance(row, Affine) or (row, shape[axis]) in seen:
                continue
            seen.add((row, shape[axis]))
            removal = _removal(node, piece, row, shape[axis])
            if removal is not None:
                yield removal


def _removal(node: Node, piece: Comprehension, row: Affine, size: ExtentLike) -> Removal | None:
    bounds = (row, -row + (size - 1))
    guards = tuple(g for g in piece.domain.guards if g in bounds)
    low, high = row.bounds(piece.domain.extents)
    if not guards or not (isinstance(size, int) and isinstance(low, int) and isinstance(high, int)):
        return None
    readers = tuple(
        (k, axis)
        for k, access in enumerate(piece.operands)
        for axis, r in enumerate(access.rows)
        if r == row and node.inputs[access.operand].shape[axis] == size
    )
    if not is_zero(piece.body, {k for k, _ in readers}):
        return None
    return Removal(guards, readers, (max(0, -low), max(0, high - size + 1)))


def _is_vector_work(node: Node, piece: Comprehension) -> bool:
    """Whether the sum is one of floats alone; others are not computed in vectors."""
    floats = all(is_float(node.inputs[a.operand].dtype) for a in piece.operands)
    return floats and not indices_used(piece.body)


def is_sound(node: Node, changed: Comprehension, piece: Comprehension) -> bool:
    """Whether every address that the guards kept in range stays there without them."""
    gone = {k for g in piece.domain.guards if g not in changed.domain.guards for k in g.uses}
    accesses = [(node.shape, changed.out)]
    for a in (*changed.operands, *changed.finish_operands):
        accesses.append((node.inputs[a.operand].shape, a.rows))
    for shape, rows in accesses:
        for row, size in zip(rows, shape, strict=True):
            if not isinstance(row, Affine):
                if any(k in gone for inner in row.rows for k in inner.uses):
                    return False
            elif any(k in gone for k in row.uses):
                sides = (row, -row + (size - 1))
                if not all(never_negative(side, changed.domain) for side in sides):
                    return False
    return True


def is_zero(body: Scalar, zeros: set[int]) -> bool:
    """Whether a body is zero when the operands in `zeros` are (and the others are finite)."""
    if isinstance(body, Arg):
        return body.position in zeros
    if isinstance(body, Const):
        return body.value == 0
    if not isinstance(body, Call):
        return False
    if body.function == "mul":
        return any(is_zero(a, zeros) for a in body.args)
    if body.function == "where":
        return all(is_zero(a, zeros) for a in body.args[1:])
    return body.function in ("neg", "add", "sub") and all(is_zero(a, zeros) for a in body.args)


# --- Padded tensors ---


def _union(a: Paddings, b: Paddings) -> dict[int, Padding]:
    none = (0, 0)
    return {
        axis: (
            max(a.get(axis, none)[0], b.get(axis, none)[0]),
            max(a.get(axis, none)[1], b.get(axis, none)[1]),
        )
        for axis in sorted({*a, *b})
    }


def _wanted(chosen: Mapping[Node, list[tuple[Removal, ...]]]) -> dict[Node, dict[int, Padding]]:
    """The padding of each tensor: as wide as any of its readers wants."""
    found: dict[Node, dict[int, Padding]] = {}
    for node, pieces in chosen.items():
        for piece, some in zip(node.pieces, pieces, strict=True):
            for removal in some:
                for position, axis in removal.readers:
                    tensor = node.inputs[piece.operands[position].operand]
                    wish = {axis: removal.padding}
                    found[tensor] = _union(found.get(tensor, {}), wish)
    return found


def padded_shape(shape: Sequence[ExtentLike], padding: Paddings) -> tuple[ExtentLike, ...]:
    none = (0, 0)
    return tuple(e + sum(padding.get(axis, none)) for axis, e in enumerate(shape))


def shifted(rows: Sequence[Row], padding: Paddings) -> tuple[Row, ...]:
    """An address in the padded tensor."""
    return tuple(
        row + padding[axis][0] if axis in padding and isinstance(row, Affine) else row
        for axis, row in enumerate(rows)
    )


def _preview(
    node: Node, piece: Comprehension, some: Sequence[Removal]
) -> tuple[Comprehension, Node]:
    """A piece without guards, and its node over stand-ins for padded operands."""
    paddings: dict[int, dict[int, Padding]] = {}
    for removal in some:
        for position, axis in removal.readers:
            operand = piece.operands[position].operand
            wish = {axis: removal.padding}
            paddings[operand] = _union(paddings.get(operand, {}), wish)
    inputs = tuple(
        renew(x, type=TensorType(padded_shape(x.shape, paddings.get(k, {})), x.dtype))
        for k, x in enumerate(node.inputs)
    )
    changed = _without(piece, some, lambda k: paddings.get(k, {}))
    return changed, renew(node, inputs=inputs, pieces=(changed,))


def _without(
    piece: Comprehension, some: Sequence[Removal], padding: Callable[[int], Paddings]
) -> Comprehension:
    """The piece without the guards of `some`; `padding(k)`: of its node's operand k."""
    dropped = {g for removal in some for g in removal.guards}
    guards = tuple(g for g in piece.domain.guards if g not in dropped)

    def moved(access: Access) -> Access:
        return Access(access.operand, shifted(access.rows, padding(access.operand)))

    return replace(
        piece,
        domain=Domain(piece.domain.extents, guards, piece.domain.names),
        operands=tuple(moved(a) for a in piece.operands),
        finish_operands=tuple(moved(a) for a in piece.finish_operands),
    )


class _Padder:
    """Rewrites a graph in order; knows for each tensor where it lies now, and with what padding."""

    def __init__(
        self,
        graph: Graph,
        chosen: Mapping[Node, list[tuple[Removal, ...]]],
        wanted: Mapping[Node, dict[int, Padding]],
    ) -> None:
        self._graph, self._chosen, self._wanted = graph, chosen, wanted
        self._outputs = set(graph.outputs.values())
        self._new: dict[Node, Node] = {}  # in its own shape
        self._padded: dict[Node, Node] = {}

    def graph(self) -> Graph:
        for node in self._graph.order:
            self._add(node)
        return Graph({name: self._new[node] for name, node in self._graph.outputs.items()})

    def _add(self, node: Node) -> None:
        if node.op != "compute":
            inputs = tuple(self._new[i] for i in node.inputs)
            same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
            self._new[node] = node if same else renew(node, inputs=inputs)
        else:
            new = self._computed(node)
            if node in self._wanted and self._moves(node):
                self._padded[node] = in_halo(new, self._wanted[node])
                return
            self._new[node] = new
        if node in self._wanted:
            self._padded[node] = with_halo(self._new[node], self._wanted[node])

    def _moves(self, node: Node) -> bool:
        """Whether a tensor may lie in its halo alone: nobody needs it in its own shape."""
        return (
            node not in self._outputs
            and all(user.op == "compute" for user in self._graph.users(node))
            and all(p.combine in ("set", "sum", "max", "min") for p in node.pieces)
            and all(isinstance(row, Affine) for p in node.pieces for row in p.out)
        )

    def _computed(self, node: Node) -> Node:
        """A node over new operands, without the guards that were chosen to go."""
        per_piece = self._chosen.get(node, [()] * len(node.pieces))
        needs = {
            node.inputs[p.operands[position].operand]
            for p, some in zip(node.pieces, per_piece, strict=True)
            for removal in some
            for position, _ in removal.readers
        }
        in_padding = [i in needs or i not in self._new for i in node.inputs]
        inputs = tuple(
            self._padded[i] if padded else self._new[i]
            for i, padded in zip(node.inputs, in_padding, strict=True)
        )
        if all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
            return node

        def padding(k: int) -> Paddings:
            return self._wanted[node.inputs[k]] if in_padding[k] else {}

        pieces = tuple(
            _without(p, some, padding) for p, some in zip(node.pieces, per_piece, strict=True)
        )
        return renew(node, inputs=inputs, pieces=pieces)


def with_halo(source: Node, padding: Paddings) -> Node:
    """A copy of `source` with zeros around it."""
    rows = identity(len(source.shape))
    name = source.name or source.label or source.op
    formula = Comprehension(Domain(source.shape), rows, (Access(0, rows),), Arg(0))
    copy = compute([source], [formula], source.shape, label=f"{name}_halo", loc=source.loc)
    return in_halo(renew(copy, serial=source.serial), padding)


def in_halo(node: Node, padding: Paddings) -> Node:
    """A computed node that lies in a larger tensor: elements without a point are zero."""
    shape = padded_shape(node.shape, padding)
    pieces = tuple(replace(p, out=shifted(p.out, padding)) for p in node.pieces)
    return renew(node, pieces=pieces, type=TensorType(shape, node.dtype))
