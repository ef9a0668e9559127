"""A halo of zeros instead of guards on the contiguous axis.

A guarded read such as `x[n, c, i+p-1, j+q-1]` with `0 <= j+q-1 < W` keeps a sum from being computed
a vector of `j` at a time. Where the body is zero wherever that operand is zero, the operand can be
copied into a tensor with zeros around it once, and the guards on that row are gone:

    x_halo[n, c, h, w+1] = x[n, c, h, w]          y = Σ … x_halo[n, c, i+p-1, j+q]

Only rows of the last axis are treated, and only where an index walks through them with stride 1;
guards on other rows become bounds of loops, which cost nothing. Copies of one operand with one
padding are shared by the pass `share`. (An infinite factor makes NaN out of a zero of the halo,
as it does in any library that pads with zeros.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Call, Const, Scalar, indices_used
from autodiffc.graph.types import is_float

SHORTEST = 4  # elements of a row that are worth a vector


@dataclass(frozen=True)
class Padding:
    """Zeros before and after the last axis of an operand."""

    before: int
    after: int


def halo(graph: Graph) -> Graph:
    """The graph with padded copies in place of guards on contiguous rows."""
    return graph.rewrite(_padded)


def _padded(node: Node) -> Node:
    if node.op != "compute" or not any(p.domain.guards for p in node.pieces):
        return node
    inputs = list(node.inputs)
    pieces = []
    for piece in node.pieces:
        for row in _candidates(node, piece):
            piece = _without_guards(inputs, piece, row)
        pieces.append(piece)
    if tuple(pieces) == node.pieces:
        return node
    return renew(node, inputs=tuple(inputs), pieces=tuple(pieces))


def _candidates(node: Node, piece: Comprehension) -> list[Affine]:
    """Rows of last axes that are guarded and contiguous in some index."""
    if piece.combine != "sum" or not _is_vector_work(node, piece):
        return []
    found: dict[Affine, None] = {}
    for access in piece.operands:
        row = access.rows[-1] if access.rows else None
        if not isinstance(row, Affine):
            continue
        size = node.inputs[access.operand].shape[-1]
        walks = any(
            c == 1 and isinstance(piece.domain.extents[k], int) and _at_least(piece, k)
            for k, c in enumerate(row.coefficients)
        )
        if walks and _guards_of(piece, row, size):
            found.setdefault(row)
    return list(found)


def _is_vector_work(node: Node, piece: Comprehension) -> bool:
    """Whether the sum is one of floats alone; others are not computed in vectors."""
    floats = all(is_float(node.inputs[a.operand].dtype) for a in piece.operands)
    return floats and not indices_used(piece.body)


def _at_least(piece: Comprehension, k: int) -> bool:
    extent = piece.domain.extents[k]
    return isinstance(extent, int) and extent >= SHORTEST


def _guards_of(piece: Comprehension, row: Affine, size: ExtentLike) -> list[Affine]:
    """The guards that say `0 <= row` and `row < size`."""
    bounds = (row, -row + (size - 1))
    return [g for g in piece.domain.guards if g in bounds]


def _without_guards(inputs: list[Node], piece: Comprehension, row: Affine) -> Comprehension:
    """Pads every operand that `row` addresses, if that makes the guards on it superfluous."""
    readers = [
        k for k, access in enumerate(piece.operands) if access.rows and access.rows[-1] == row
    ]
    sizes = {inputs[piece.operands[k].operand].shape[-1] for k in readers}
    padding = _padding(piece, row, sizes)
    if padding is None or not is_zero(piece.body, set(readers)):
        return piece
    (size,) = sizes
    dropped = _guards_of(piece, row, size)
    kept = tuple(g for g in piece.domain.guards if g not in dropped)
    if any(_needs(piece, access, dropped, row) for access in piece.operands):
        return piece
    operands = list(piece.operands)
    for k in readers:
        source = inputs[operands[k].operand]
        inputs.append(_with_halo(source, padding))
        rows = (*operands[k].rows[:-1], row + padding.before)
        operands[k] = Access(len(inputs) - 1, rows)
    domain = Domain(piece.domain.extents, kept, piece.domain.names)
    return replace(piece, domain=domain, operands=tuple(operands))


def _padding(piece: Comprehension, row: Affine, sizes: set[ExtentLike]) -> Padding | None:
    if len(sizes) != 1:
        return None
    (size,) = sizes
    low, high = row.bounds(piece.domain.extents)
    if not (isinstance(low, int) and isinstance(high, int) and isinstance(size, int)):
        return None
    return Padding(max(0, -low), max(0, high - size + 1))


def _needs(piece: Comprehension, access: Access, dropped: list[Affine], row: Affine) -> bool:
    """Whether another row of an operand depends on the guards that would be dropped."""
    mentioned = {k for g in dropped for k in g.uses}
    others = [r for r in access.rows if isinstance(r, Affine) and r != row]
    return any(len(mentioned & set(r.uses)) > 1 for r in others)


def _with_halo(source: Node, padding: Padding) -> Node:
    """A copy of `source` with zeros at both ends of the last axis."""
    rows = identity(len(source.shape))
    shape = (*source.shape[:-1], source.shape[-1] + padding.before + padding.after)
    formula = Comprehension(
        Domain(source.shape), (*rows[:-1], rows[-1] + padding.before), (Access(0, rows),), Arg(0)
    )
    name = source.name or source.label or source.op
    node = compute([source], [formula], shape, label=f"{name}_halo", loc=source.loc)
    return renew(node, serial=source.serial)


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
