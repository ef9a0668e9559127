"""Operands copied into the order in which a tiled sum reads them.

    c[m, n] = Σ_k a[m, k] * b[k, n]    becomes    b_packed[j, k, l] = b[k, 32*j + l]
                                               c[m, 32*j + l] = Σ_k a[m, k] * b_packed[j, k, l]

The rows of a large matrix lie pages apart: each step of `k` needs another page's address, no
prefetcher follows, and rows a power of two apart share few sets of a cache. In a panel as wide as
the tile everything that the innermost loops read is one stretch of memory. An operand that the
vector index runs along is cut by that, one whose elements are broadcast by an index of the tile;
the weights of a convolution can be packed like any other. What is left behind the last whole panel
is a piece of its own, over the operand as it was.
(Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.)

Whether it pays is `schedule/tile.py`'s cost, waiting for memory included, against the copy's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from autodiffc.graph.affine import Affine, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, dtype_of
from autodiffc.passes.formulas import reindex, tidy
from autodiffc.schedule.cost import COPY, elements, piece_cost
from autodiffc.schedule.coverage import collides
from autodiffc.schedule.nest import Address, build_nest
from autodiffc.schedule.tile import choose_tiling
from autodiffc.schedule.tiling import Tiling
from autodiffc.targets import Target

WAITS = 1.08  # times the work: a sum that waits less for memory is left as it is
WORTHWHILE = 0.97  # of the cost: what packing must stay below
REUSE = 16  # how often an element must be read at least


def pack(graph: Graph, target: Target) -> Graph:
    """The graph with packed copies of operands where they save more time than they take."""
    copies = {n for n in graph.order if _is_copy(n) and len(graph.users(n)) == 1}
    return graph.rewrite(lambda node: _packed(node, target, copies))


def _packed(node: Node, target: Target, copies: Collection[Node]) -> Node:
    if node.op != "compute":
        return node
    inputs, pieces = list(node.inputs), []
    for piece in node.pieces:
        found = _best(renew(node, inputs=tuple(inputs)), piece, target, copies)
        if found is None:
            pieces.append(piece)
            continue
        inputs.append(found.copy)
        pieces += found.pieces
    if len(inputs) == len(node.inputs):
        return node
    return tidy(renew(node, inputs=tuple(inputs), pieces=tuple(pieces)))


@dataclass(frozen=True)
class Packing:
    """A copy, and the pieces that take the place of one: they read it as the last operand.

    `instead` is the operand that they no longer read, where nothing is left at the end.
    """

    copy: Node
    instead: Node
    pieces: tuple[Comprehension, ...]
    cost: float


def _best(
    node: Node, piece: Comprehension, target: Target, copies: Collection[Node]
) -> Packing | None:
    tiling = _waiting(node, piece, target)
    if tiling is None:
        return None
    before = piece_cost(node, piece, target)
    found = []
    for packing in _packings(node, piece, tiling, target):
        gone = COPY * elements(packing.instead.shape) if packing.instead in copies else 0.0
        if packing.cost - gone < WORTHWHILE * before:
            found.append(packing)
    return min(found, key=lambda p: p.cost, default=None)


def _waiting(node: Node, piece: Comprehension, target: Target) -> Tiling | None:
    """The tiling of a sum of products that waits for memory, over the formula's own indices."""
    if piece.combine != "sum" or len(piece.operands) < 2 or collides(piece):
        return None
    dtypes = [node.inputs[a.operand].dtype for a in piece.operands]
    if dtype_of(piece.body, dtypes) != node.dtype:
        return None
    collapsed = choose_tiling(build_nest(node, piece), dtypes, target)
    if collapsed is None or collapsed.cost < WAITS * collapsed.work:
        return None
    tiling = choose_tiling(build_nest(node, piece, merge=False), dtypes, target)
    return tiling if tiling is not None and tiling.form == "across" else None


def _packings(
    node: Node, piece: Comprehension, tiling: Tiling, target: Target
) -> Iterator[Packing]:
    nest = build_nest(node, piece, merge=False)
    extents = piece.domain.extents
    for position, access in enumerate(piece.operands):
        rows = [row for row in access.rows if isinstance(row, Affine)]
        used = [k for k in range(len(extents)) if any(row.coefficients[k] for row in rows)]
        cut = _cut(nest.operands[position], tiling)
        if (
            cut is not None
            and len(rows) == len(access.rows)
            and elements([extents[k] for k in used]) * REUSE <= elements(extents)
            and _stays_inside(rows, extents, node.inputs[access.operand].shape)
        ):
            yield _packing(node, piece, position, cut, tiling, target)


def _cut(address: Address, tiling: Tiling) -> int | None:
    """The index that panels of an operand are cut along: the vector's, or that of most broadcasts.

    None where vectors would not be contiguous, or a tile reads one element at a time.
    """
    if address.strides[tiling.vector] == 1:
        return tiling.vector
    sizes = [(size, k) for k, size in tiling.tiles if address.strides[k] != 0]
    if address.strides[tiling.vector] != 0 or not sizes:
        return None
    return max(sizes)[1]


def _stays_inside(
    rows: Sequence[Affine], extents: Sequence[ExtentLike], shape: Sequence[ExtentLike]
) -> bool:
    """Whether all of the box may be read, not only what the guards leave of it."""
    for row, size in zip(rows, shape, strict=True):
        low, high = row.bounds(tuple(extents))
        if not (isinstance(low, int) and isinstance(high, int) and isinstance(size, int)):
            return False
        if low < 0 or high >= size:
            return False
    return True


def _packing(
    node: Node, piece: Comprehension, position: int, cut: int, tiling: Tiling, target: Target
) -> Packing:
    """One operand in panels as wide as the tile along an index, in the order of the loops."""
    width, extent = tiling.width(cut), piece.domain.extents[cut]
    assert isinstance(extent, int)
    whole, rest = divmod(extent, width)
    panels = _panels(piece, cut, width, whole)
    rank = panels.domain.rank
    order = [k for k in (*tiling.order, *piece.reduced) if k < rank - 1]
    access = panels.operands[position]
    used = [k for k in order if any(_coefficient(row, k) for row in access.rows)] + [rank - 1]
    copy = _copy(node.inputs[access.operand], access, panels, used)
    read = Access(len(node.inputs), tuple(index(rank, k) for k in used))
    operands = (*panels.operands[:position], read, *panels.operands[position + 1 :])
    pieces = [replace(panels, operands=operands)]
    if rest:
        pieces.append(_rest(piece, cut, whole * width, rest))
    packed = renew(node, inputs=(*node.inputs, copy), pieces=tuple(pieces))
    cost = sum(piece_cost(packed, p, target) for p in pieces) + COPY * elements(copy.shape)
    return Packing(copy, node.inputs[access.operand], tuple(pieces), cost)


def _coefficient(row: object, k: int) -> object:
    return row.coefficients[k] if isinstance(row, Affine) else 0


def _panels(piece: Comprehension, cut: int, width: int, count: int) -> Comprehension:
    """The formula over `count` panels: an index cut in two, its inner part the last."""
    rank = piece.domain.rank
    inner = [index(rank + 1, k) for k in range(rank)]
    inner[cut] = inner[cut] * width + index(rank + 1, rank)
    extents = [*piece.domain.extents, width]
    extents[cut] = count
    names = [*piece.domain.names, f"{piece.domain.names[cut]}l"]
    names[cut] = f"{piece.domain.names[cut]}b"
    return reindex(piece, inner, extents, names)


def _rest(piece: Comprehension, cut: int, start: int, count: int) -> Comprehension:
    """The formula for what is left behind the panels."""
    rank = piece.domain.rank
    inner = list(identity(rank))
    inner[cut] = inner[cut] + start
    extents = [*piece.domain.extents]
    extents[cut] = count
    return reindex(piece, inner, extents, piece.domain.names)


def _copy(source: Node, access: Access, piece: Comprehension, used: Sequence[int]) -> Node:
    """What an access reads, as a tensor with an axis for each index that it uses."""
    name = source.name or source.label or source.op
    rank = len(used)
    place = {k: axis for axis, k in enumerate(used)}
    inner = [
        index(rank, place[k]) if k in place else Affine((0,) * rank, 0)
        for k in range(piece.domain.rank)
    ]
    rows = [row.compose(inner, rank) for row in access.rows if isinstance(row, Affine)]
    source, rows = _origin(source, rows)
    extents = tuple(piece.domain.extents[k] for k in used)
    formula = Comprehension(Domain(extents), identity(rank), (Access(0, tuple(rows)),), Arg(0))
    copy = compute([source], [formula], extents, label=f"{name}_packed", loc=source.loc)
    return renew(copy, serial=source.serial)


def _origin(source: Node, rows: list[Affine]) -> tuple[Node, list[Affine]]:
    """Looks through copies: what they were copied from, and where it lies there."""
    while _is_copy(source) and rows:
        (access,) = source.formula.operands
        rank = len(rows[0].coefficients)
        rows = [row.compose(rows, rank) for row in access.rows if isinstance(row, Affine)]
        source = source.inputs[access.operand]
    return source, rows


def _is_copy(node: Node) -> bool:
    """Whether a node only changes the layout of its operand."""
    if node.op != "compute" or len(node.pieces) != 1:
        return False
    piece = node.formula
    return (
        piece.combine == "set"
        and piece.body == Arg(0)
        and piece.finish is None
        and len(piece.operands) == 1
        and not piece.domain.guards
        and piece.domain.extents == node.shape
        and piece.out == identity(len(node.shape))
        and all(isinstance(row, Affine) for row in piece.operands[0].rows)
    )
