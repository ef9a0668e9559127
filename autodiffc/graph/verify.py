"""The grammar of graphs: what every stage may rely on, checked at its boundary.

`verify(graph, stage)` raises `VerificationError` with the node's name at the first rule that does
not hold. It is a check of the compiler, not of the user: whatever a user can get wrong is refused
where it is written. Rules for a formula (see `comprehension` for what the parts mean):

    combine    one of the combiners; argmax and argmin give int32, or uint8 where at most 256 points
               are searched; no sum or product of bools
    domain     no negative extent; guards, rows and names over as many indices as the domain has
    operands   positions of inputs; as many rows as the tensor has axes; indirect rows read integer
               tensors that a check_index vouches for
    body       typed, and of the node's type; arguments and indices exist
    finish     only for reductions; reads only at indices that are not reduced
    bounds     where the guards hold, every read and write is inside its tensor; a search writes at
               every kept point that guards on kept indices leave, a product at every kept point
               (it is 1 where nothing is left), a finish reads wherever there is an element
    one write  different points of a `set` write different elements; so do the kept points of a
               search or of a formula with `finish`; no two formulas of a node write the same one
    not empty  max, min, argmax, argmin have something to compare for every kept point that guards
               on kept indices leave

Calls: the subgraph keeps these rules, is closed, and agrees with inputs and result in type.

After `inline` no call is left. After `specialize`, besides: nothing is `real`, and extents are
integers or `integer * dim + integer`.

Rules that speak of addresses hold for all points, and are checked as follows. Before `specialize`,
dims count with their defaults: only then is it known which of them stay open. Afterwards they are
variables of the proofs (`inequalities`), so that a rule holds for every value in a dim's range,
or from 1 on where no range is given. Bounds and single writes must be proved. Two limits: that
formulas of a node stay apart is tried out up to `overlap.MOST_POINTS` points where there is no
proof, and empty elements are looked for up to `nonempty.MOST_POINTS`; beyond, nothing is said.
Where indirect rows write is left to the reference interpreter, which sees the data.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from autodiffc.errors import AutodiffcError
from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import (
    COMBINERS,
    Access,
    Comprehension,
    Domain,
    Indirect,
    Row,
    out_indices,
)
from autodiffc.graph.construct import result_dtype
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import (
    Extent,
    ExtentLike,
    difference,
    dims_of,
    product,
    shape_text,
)
from autodiffc.graph.inequalities import ANY_SIZE, Ranges, never_negative, told_apart
from autodiffc.graph.injective import is_injective
from autodiffc.graph.node import Node
from autodiffc.graph.nonempty import Empty, Undecided, first_empty
from autodiffc.graph.overlap import Written, shared_element
from autodiffc.graph.scalars import Arg, Cast, Const, Scalar, Size, args_used, indices_used, walk
from autodiffc.graph.types import is_integer
from autodiffc.graph.verify_nodes import WITH_CALLS, check_node, fail

OPEN_STAGES = (*WITH_CALLS, "inline")  # before `specialize`
SEARCHES = ("max", "min", "argmax", "argmin")


def verify(graph: Graph, stage: str = "graph", ranges: Ranges = ANY_SIZE) -> None:
    """Checks every node; `stage` is where the graph comes from: "graph", or a pass by name.

    `ranges` holds the least and the greatest value of the dims that stay open.
    """
    for node in graph.order:
        check_node(node, stage)
        if node.subgraph is not None:
            verify(node.subgraph, stage)
        known = _defaults(node) if stage in OPEN_STAGES else ranges
        pieces = [_Piece(node, p, f"formula {k}", stage, known) for k, p in enumerate(node.pieces)]
        for checked in pieces:
            for rule in _PIECE_RULES:
                rule(checked)
        _check_apart(pieces)
        if stage not in OPEN_STAGES:
            _check_specialized(node, stage)


# --- Formulas ---


@dataclass(frozen=True)
class _Piece:
    """A formula under examination."""

    node: Node
    piece: Comprehension
    title: str
    stage: str
    ranges: Ranges

    def fail(self, message: str, found: object = None, expected: object = None) -> NoReturn:
        fail(self.node, self.stage, f"{self.title}: {message}", found=found, expected=expected)

    @property
    def domain(self) -> Domain:
        return self.piece.domain

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(k for k in range(self.domain.rank) if k not in self.piece.reduced)

    def addresses(self) -> Iterator[tuple[str, tuple[Row, ...], tuple[ExtentLike, ...]]]:
        """Every address: what it is, its rows, the shape of its tensor."""
        yield "the output", self.piece.out, self.node.shape
        for title, accesses in (
            ("operand", self.piece.operands),
            ("finish operand", self.piece.finish_operands),
        ):
            for k, access in enumerate(accesses):
                yield f"{title} {k}", access.rows, self.node.inputs[access.operand].shape

    def indirect(self) -> Iterator[tuple[Indirect, ExtentLike]]:
        """Indirect rows, with the extent of the axis that they index."""
        for _, rows, shape in self.addresses():
            for row, extent in zip(rows, shape, strict=True):
                if isinstance(row, Indirect):
                    yield row, extent


def _check_combiner(at: _Piece) -> None:
    piece, node = at.piece, at.node
    if piece.combine not in COMBINERS:
        at.fail("unknown combiner", piece.combine, ", ".join(COMBINERS))
    if _is_position(piece):
        points = product(tuple(piece.domain.extents[k] for k in piece.reduced))
        bytes_do = isinstance(points, int) and points <= 256
        if node.dtype != "int32" and not (node.dtype == "uint8" and bytes_do):
            at.fail("a position is an int32, of few points a uint8", node.dtype, "int32")


def _is_position(piece: Comprehension) -> bool:
    return piece.combine in ("argmax", "argmin") and piece.finish is None


def _check_domain(at: _Piece) -> None:
    rank = at.domain.rank
    for extent in at.domain.extents:
        if isinstance(extent, int) and extent < 0:
            at.fail("negative extent", shape_text(at.domain.extents))
    if len(at.domain.names) != rank:
        at.fail("a name for every index", len(at.domain.names), rank)
    for guard in at.domain.guards:
        if len(guard.coefficients) != rank:
            at.fail("a guard over the domain's indices", len(guard.coefficients), rank)


def _check_operands(at: _Piece) -> None:
    for access in (*at.piece.operands, *at.piece.finish_operands):
        _check_position(at, access)
    for title, rows, shape in at.addresses():
        if len(rows) != len(shape):
            at.fail(f"{title} needs a row for every axis", len(rows), shape_text(shape))
        for row in rows:
            for affine in row.rows if isinstance(row, Indirect) else (row,):
                if len(affine.coefficients) != at.domain.rank:
                    at.fail(
                        f"{title} is addressed over other indices than the domain's",
                        f"{len(affine.coefficients)} coefficients",
                        at.domain.rank,
                    )
    for row, extent in at.indirect():
        _check_indirect(at, row, extent)


def _check_position(at: _Piece, access: Access | Indirect) -> None:
    if not 0 <= access.operand < len(at.node.inputs):
        at.fail("reads an input that is not there", access.operand, f"< {len(at.node.inputs)}")


def _check_indirect(at: _Piece, row: Indirect, extent: ExtentLike) -> None:
    _check_position(at, row)
    ids = at.node.inputs[row.operand]
    if not is_integer(ids.dtype):
        at.fail("an index tensor holds integers", str(ids.type))
    if len(row.rows) != len(ids.shape):
        at.fail("an indirect row needs a row for every axis", len(row.rows), str(ids.type))
    vouched = _vouched_extent(ids)
    if vouched is None:
        at.fail("an index tensor without check_index", repr(ids))
    slack = difference(extent, vouched)
    if slack is not None and slack < 0:
        at.fail("check_index allows more than the axis has", vouched, extent)


def _vouched_extent(ids: Node) -> ExtentLike | None:
    """What a check_index says of the elements, seen through views (that may put in zeros)."""
    while ids.op != "check_index":
        copies = all(p.combine == "set" and p.body == Arg(0) for p in ids.pieces)
        if ids.op not in ("reshape", "stop_gradient") and not (ids.pieces and copies):
            return None
        sources = {ids.inputs[p.operands[0].operand] for p in ids.pieces} or {ids.inputs[0]}
        if len(sources) != 1:
            return None
        (ids,) = sources
    extent: ExtentLike = ids.attrs["extent"]
    return extent


def _check_body(at: _Piece) -> None:
    piece, node = at.piece, at.node
    _check_positions(at, "body", piece.body, len(piece.operands), range(at.domain.rank))
    if piece.finish is not None:
        count = len(piece.finish_operands) + 1
        _check_positions(at, "finish", piece.finish, count, at.kept)
    dtypes = [node.inputs[a.operand].dtype for a in piece.operands]
    if piece.combine in ("sum", "prod") and dtypes and set(dtypes) == {"bool"}:
        bare = Comprehension(at.domain, piece.out, piece.operands, piece.body)
        if _dtype(at, bare) == "bool":
            at.fail(f"a {piece.combine} of truth values", "bool", "a cast to an integer")
    found, in_bytes = _dtype(at, piece), _is_position(piece) and node.dtype == "uint8"
    if found != node.dtype and not in_bytes:  # of positions `_check_combiner` knows which may be
        at.fail("the body has another type than the node", found, node.dtype)


def _dtype(at: _Piece, piece: Comprehension) -> str:
    try:
        return result_dtype(at.node.inputs, piece)
    except AutodiffcError as error:
        at.fail(f"the body is not typed: {error.message}", error.found, error.expected)


def _check_positions(
    at: _Piece, title: str, body: Scalar, count: int, indices: Sequence[int]
) -> None:
    for position in args_used(body):
        if not 0 <= position < count:
            at.fail(f"the {title} reads an operand that is not there", position, f"< {count}")
    for k in indices_used(body):
        if k not in indices:
            at.fail(f"the {title} uses an index that it does not have", k, list(indices))


def _check_finish(at: _Piece) -> None:
    piece = at.piece
    if piece.finish is None:
        if piece.finish_operands:
            at.fail("finish operands without a finish")
        return
    if piece.combine == "set":
        at.fail("a finish needs a reduction", "set")
    for access in piece.finish_operands:
        loose = sorted(out_indices(access.rows) & set(piece.reduced))
        if loose:
            names = ", ".join(at.domain.names[k] for k in loose)
            at.fail("finish reads at a reduced index", names)


# --- Bounds ---


def _check_bounds(at: _Piece) -> None:
    for title, rows, shape in at.addresses():
        domain = _visited(at, title)
        for axis, (row, extent) in enumerate(zip(rows, shape, strict=True)):
            if isinstance(row, Indirect):
                ids = at.node.inputs[row.operand]
                for inner, size in zip(row.rows, ids.shape, strict=True):
                    _check_row(at, f"an index of {title}", inner, size, domain)
            else:
                _check_row(at, f"axis {axis} of {title}", row, extent, domain)


def _visited(at: _Piece, title: str) -> Domain:
    """The points at which an address is used."""
    if title.startswith("finish"):
        return _finished_points(at)
    box = _kept_domain(at)
    if title == "the output" and at.piece.combine in SEARCHES:
        return replace(box, guards=_kept_guards(at))
    return box if title == "the output" and at.piece.combine == "prod" else at.domain


def _finished_points(at: _Piece) -> Domain:
    """The kept points whose element is in the output."""
    inside: list[Affine] = []
    for row, extent in zip(at.piece.out, at.node.shape, strict=True):
        if isinstance(row, Affine):
            inside += [row, -row + (extent - 1)]
    return replace(_kept_domain(at), guards=tuple(inside))


def _kept_domain(at: _Piece) -> Domain:
    """The box of the kept indices, the reduced ones being 0."""
    reduced = at.piece.reduced
    extents = tuple(1 if k in reduced else e for k, e in enumerate(at.domain.extents))
    return Domain(extents, (), at.domain.names)


def _kept_guards(at: _Piece) -> tuple[Affine, ...]:
    """Guards over kept indices alone: they leave out elements, not only points."""
    return tuple(g for g in at.domain.guards if not set(g.uses) & set(at.piece.reduced))


def _check_row(at: _Piece, title: str, row: Affine, extent: ExtentLike, domain: Domain) -> None:
    sides = (row, -row + (extent - 1))
    if not all(never_negative(side, domain, at.ranges) for side in sides):
        names = domain.names
        guards = [f"{g.text(names)} >= 0" for g in domain.guards]
        where = ", ".join(
            [*(f"{n} < {e}" for n, e in zip(names, domain.extents, strict=True)), *guards]
        )
        at.fail(
            f"{title} may be out of bounds",
            f"{row.text(names)} where {where}",
            f"0 <= index < {extent}",
        )


def _check_one_write(at: _Piece) -> None:
    """Two points of one element: for a `set` any, else any that differ in a kept index."""
    piece = at.piece
    rows = tuple(r for r in piece.out if isinstance(r, Affine))
    if piece.combine == "set":
        domain = at.domain
    elif piece.combine in ("argmax", "argmin") or piece.finish is not None:
        domain = _kept_domain(at)
    else:
        return
    if not is_injective(rows, domain) and not told_apart(rows, domain, at.ranges):
        text = ", ".join(r.text(at.domain.names) for r in rows)
        at.fail(
            "two points may write one element",
            f"[{text}] over {shape_text(domain.extents)}",
            "an output address that tells the points apart",
        )


def _check_apart(pieces: Sequence[_Piece]) -> None:
    """No two formulas of a node write one element."""
    written = [(at, found) for at in pieces if (found := _written(at)) is not None]
    for (at, mine), (other, theirs) in itertools.combinations(written, 2):
        element = shared_element(mine, theirs, at.ranges)
        if element is not None:
            at.fail(f"writes an element that {other.title} writes too", shape_text(element))


def _written(at: _Piece) -> Written | None:
    """The elements that a formula may store; a reduction stores those without a point, too."""
    rows = tuple(r for r in at.piece.out if isinstance(r, Affine))
    if len(rows) < len(at.piece.out):
        return None
    if at.piece.combine == "set":
        return Written(rows, at.domain)
    inside = _finished_points(at)
    if at.piece.combine == "prod" or at.piece.finish is not None:
        return Written(rows, inside)
    return Written(rows, replace(inside, guards=(*inside.guards, *_kept_guards(at))))


def _check_not_empty(at: _Piece) -> None:
    if at.piece.combine not in SEARCHES:
        return
    guards = _kept_guards(at)
    elements = replace(at.domain, guards=guards)
    conditions = [g for g in at.domain.guards if g not in guards]
    with contextlib.suppress(Undecided):
        empty = first_empty(elements, at.kept, conditions, at.ranges)
        if empty is not None:
            found = _empty_text(at, empty)
            at.fail(f"{at.piece.combine} over no element at all", found, "a point for each element")


def _empty_text(at: _Piece, empty: Empty) -> str:
    names = at.domain.names
    where = [f"{names[k]} = {value}" for k, value in empty.point.items()]
    where += [f"{name} = {value}" for name, value in empty.dims.items()]
    guards = [f"{c.text(names)} >= 0" for c in empty.conditions if isinstance(c, Affine)]
    return f"no point at {', '.join(where) or 'any element'} with {' and '.join(guards)}"


_PIECE_RULES: tuple[Callable[[_Piece], None], ...] = (
    _check_combiner,
    _check_domain,
    _check_operands,
    _check_body,
    _check_finish,
    _check_bounds,
    _check_one_write,
    _check_not_empty,
)


# --- After specialize ---


def _check_specialized(node: Node, stage: str) -> None:
    for dtype in _dtypes(node):
        if dtype == "real":
            fail(node, stage, "`real` is still there", found=dtype, expected="float32 or float64")
    for extent in _extents(node):
        if isinstance(extent, Extent) and extent.linear() is None:
            fail(
                node,
                stage,
                "an extent is not linear in one dim",
                found=extent,
                expected="integer * dim + integer",
            )


def _defaults(node: Node) -> Ranges:
    """Every dim of the node and its inputs at its default."""
    extents = [*_extents(node), *(e for i in node.inputs for e in i.shape)]
    for piece in node.pieces:
        extents += [guard.constant for guard in piece.domain.guards]
        accesses = (*piece.operands, *piece.finish_operands)
        for row in (*piece.out, *(r for a in accesses for r in a.rows)):
            extents += [r.constant for r in (row.rows if isinstance(row, Indirect) else (row,))]
    return {d.name: (d.default, d.default) for d in dims_of(tuple(extents))}


def _dtypes(node: Node) -> Iterator[str]:
    yield node.dtype
    for body in _bodies(node):
        yield from (s.dtype for s in walk(body) if isinstance(s, Const | Cast))


def _extents(node: Node) -> Iterator[Any]:
    yield from node.shape
    if "extent" in node.attrs:
        yield node.attrs["extent"]
    for piece in node.pieces:
        yield from piece.domain.extents
    for body in _bodies(node):
        yield from (s.extent for s in walk(body) if isinstance(s, Size))


def _bodies(node: Node) -> Iterator[Scalar]:
    for piece in node.pieces:
        yield piece.body
        if piece.finish is not None:
            yield piece.finish
