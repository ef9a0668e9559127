"""Long sums are cut into chunks of fixed length.

    y[o] = Σ_n f(o, n)     becomes     part[o, c] = Σ_{n'} f(o, L*c + n'),   y[o] = Σ_c part[o, c]

Two reasons. One accumulator over a million float32 terms loses digits that chunks keep. And where
few results have many terms (a loss, the gradient of a bias), chunks are what threads can share; as
their length depends on the extents alone, the result is the same for any number of threads.
"""

from __future__ import annotations

from dataclasses import replace

from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect
from autodiffc.graph.construct import compute
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import ExtentLike, defaults, product
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg
from autodiffc.passes.formulas import reindex

LONG = 32768  # terms that one accumulator should not add up alone
CHUNK = 8192  # terms a chunk has at most, unless one step of the outer index has more
FEW = 16  # results that are too few to share among threads
STEP = 64  # terms that each step of an open extent must have, to be a chunk
MANY = 1024  # results with a part for each step of an open extent


def split(graph: Graph) -> Graph:
    """The graph with long sums in two stages."""
    return graph.rewrite(_in_two_stages)


def _in_two_stages(node: Node) -> Node:
    if node.op != "compute" or len(node.pieces) != 1:
        return node
    piece = node.formula
    found = _chunks(node, piece)
    if found is None:
        return node
    k, length = found
    return _sum_of_parts(node, piece, _parts(node, piece, k, length))


def _chunks(node: Node, piece: Comprehension) -> tuple[int, int] | None:
    """The reduced index to cut and the chunks' length, or None where the sum is short."""
    if piece.combine != "sum" or not _leads(piece) or not piece.reduced:
        return None
    if any(isinstance(row, Indirect) for a in piece.finish_operands for row in a.rows):
        return None
    extents = [piece.domain.extents[k] for k in piece.reduced]
    if not all(isinstance(e, int) for e in extents):
        return _open_chunks(node, piece)
    terms, results = product(tuple(extents)), product(node.shape)
    assert isinstance(terms, int)
    few = isinstance(results, int) and results <= FEW and terms > 2 * CHUNK
    if terms <= LONG and not few:
        return None
    k = max(piece.reduced, key=lambda r: (piece.domain.extents[r], -r))
    extent = piece.domain.extents[k]
    assert isinstance(extent, int)
    length = max(1, CHUNK // (terms // extent))
    return (k, length) if length < extent else None


def _open_chunks(node: Node, piece: Comprehension) -> tuple[int, int] | None:
    """The same where one extent is open, such as the batch: each of its steps is a chunk.

    Only for few results, since every one of them has a part for each step.
    """
    opened = [k for k in piece.reduced if not isinstance(piece.domain.extents[k], int)]
    known = [e for k in piece.reduced if isinstance(e := piece.domain.extents[k], int)]
    results, terms = product(node.shape), product(tuple(known))
    if len(opened) != 1 or not (isinstance(results, int) and isinstance(terms, int)):
        return None
    (k,) = opened
    total = terms * defaults(piece.domain.extents[k])
    return (k, 1) if terms >= STEP and results <= MANY and total > LONG else None


def _leads(piece: Comprehension) -> bool:
    """Whether the output's rows are the first indices, in order."""
    rank = piece.domain.rank
    return all(row == index(rank, axis) for axis, row in enumerate(piece.out))


def _parts(node: Node, piece: Comprehension, k: int, length: int) -> Node:
    """The partial sums, with an axis for the chunks behind the result's axes."""
    extent = piece.domain.extents[k]
    if isinstance(extent, int):
        whole, rest = divmod(extent, length)
        pieces = [_chunk_piece(piece, k, length, whole, length, None)]
        if rest:
            pieces.append(_chunk_piece(piece, k, length, 1, rest, whole))
        shape = (*node.shape, whole + (rest > 0))
    else:  # open, in chunks of one
        pieces = [_chunk_piece(piece, k, length, extent, length, None)]
        shape = (*node.shape, extent)
    name = node.name or node.label or node.op
    parts = compute(node.inputs, pieces, shape, label=f"{name}_parts", loc=node.loc)
    return renew(parts, serial=node.serial)


def _chunk_piece(
    piece: Comprehension, k: int, length: int, chunks: ExtentLike, size: int, last: int | None
) -> Comprehension:
    """The formula for `chunks` chunks of `size` terms; `last`: for the chunk of that number."""
    rank = len(piece.out)
    old = piece.domain
    inserted = last is None  # the shorter chunk at the end needs no index of its own
    new_rank = old.rank + inserted

    def moved(position: int) -> int:
        return position + (inserted and position >= rank)

    inner = [index(new_rank, moved(j)) for j in range(old.rank)]
    if inserted:
        step = index(new_rank, rank) * length
        inner[k] = inner[k] + step
        chunk: Affine = index(new_rank, rank)
    else:
        assert last is not None
        inner[k] = inner[k] + last * length
        chunk = constant(new_rank, last)
    extents, names = list(old.extents), list(old.names)
    extents[k] = size
    if inserted:
        extents.insert(rank, chunks)
        names.insert(rank, f"{old.names[k]}_chunk")
    bare = replace(piece, finish=None, finish_operands=())
    cut = reindex(bare, inner, extents, names)
    return replace(cut, out=(*cut.out, chunk))


def _sum_of_parts(node: Node, piece: Comprehension, parts: Node) -> Node:
    """The result from the partial sums, through the finish of the original formula."""
    rank = len(piece.out)
    names = (*piece.domain.names[:rank], "chunk")
    domain = Domain(parts.shape, (), names)
    inputs = [parts]
    finish_operands = []
    for access in piece.finish_operands:
        inputs.append(node.inputs[access.operand])
        rows = tuple(_widened(row, rank) for row in access.rows if isinstance(row, Affine))
        finish_operands.append(Access(len(inputs) - 1, rows))
    formula = Comprehension(
        domain,
        identity(rank + 1)[:rank],
        (Access(0, identity(rank + 1)),),
        Arg(0),
        "sum",
        piece.finish,
        tuple(finish_operands),
    )
    return renew(node, inputs=tuple(inputs), pieces=(formula,))


def _widened(row: Affine, rank: int) -> Affine:
    """A map of the kept indices as a map of the kept indices and the chunk."""
    return Affine((*row.coefficients[:rank], 0), row.constant)
