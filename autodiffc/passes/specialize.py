"""Fixes what a build decides: the integers that named dims stand for, and the floating type.

Afterwards no type says `real`, and every dim that is left occurs linearly and alone, as
`integer * dim + integer`, in extents that no window runs over. Shapes that only now turn out not to
fit (a kernel larger than the picture) are errors at the line of the node; where a dim stays open,
they must fit for every value in its range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from autodiffc.errors import ShapeError
from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import (
    Access,
    Comprehension,
    Domain,
    Indirect,
    Row,
    map_access,
    map_rows,
)
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import Extent, ExtentLike, shape_text, substitute
from autodiffc.graph.inequalities import ANY_SIZE, Ranges, never_negative
from autodiffc.graph.node import Node, renew
from autodiffc.graph.nonempty import Undecided, first_empty
from autodiffc.graph.scalars import Cast, Const, Scalar, Size, rewrite
from autodiffc.graph.types import TensorType


def specialize(
    graph: Graph, dims: Mapping[str, int], dtype: str, ranges: Ranges = ANY_SIZE
) -> Graph:
    """The graph for these values of dims and this floating type ("float32" or "float64").

    `ranges` holds the least and the greatest value of dims that stay open; without one, from 1 on.
    """
    build = _Build(dims, dtype, ranges)
    return graph.rewrite(build.node)


class _Build:
    def __init__(self, dims: Mapping[str, int], dtype: str, ranges: Ranges) -> None:
        self._dims = dims
        self._real = dtype
        self._ranges = ranges

    def node(self, node: Node) -> Node:
        type_ = TensorType(tuple(map(self._extent, node.shape)), self._dtype(node.dtype))
        pieces = tuple(self._piece(p) for p in node.pieces)
        attrs = {name: self._attr(value) for name, value in node.attrs.items()}
        if node.op == "constant":
            attrs["value"] = _cast_array(attrs["value"], type_.dtype)
        new = node
        if (type_, pieces, attrs) != (node.type, node.pieces, dict(node.attrs)):
            new = renew(node, type=type_, pieces=pieces, attrs=attrs)
        _check(new, self._ranges)
        return new

    def _extent(self, extent: ExtentLike) -> ExtentLike:
        return substitute(extent, self._dims)

    def _dtype(self, dtype: str) -> str:
        return self._real if dtype == "real" else dtype

    def _attr(self, value: Any) -> Any:
        return self._extent(value) if isinstance(value, Extent) else value

    def _affine(self, affine: Affine) -> Affine:
        return Affine(affine.coefficients, self._extent(affine.constant))

    def _piece(self, piece: Comprehension) -> Comprehension:
        domain = piece.domain
        return replace(
            piece,
            domain=Domain(
                tuple(map(self._extent, domain.extents)),
                tuple(map(self._affine, domain.guards)),
                domain.names,
            ),
            out=map_rows(piece.out, self._affine),
            operands=tuple(map_access(a, self._affine) for a in piece.operands),
            body=rewrite(piece.body, self._scalar),
            finish=None if piece.finish is None else rewrite(piece.finish, self._scalar),
            finish_operands=tuple(map_access(a, self._affine) for a in piece.finish_operands),
        )

    def _scalar(self, scalar: Scalar) -> Scalar:
        if isinstance(scalar, Const) and scalar.dtype == "real":
            return Const(scalar.value, self._real)
        if isinstance(scalar, Cast) and scalar.dtype == "real":
            return Cast(self._real, scalar.x)
        if isinstance(scalar, Size):
            extent = self._extent(scalar.extent)
            return Const(extent, "int64") if isinstance(extent, int) else Size(extent)
        return scalar


def _cast_array(value: np.ndarray, dtype: str) -> np.ndarray:
    if str(value.dtype) == dtype:
        return value
    new = value.astype(dtype)
    new.setflags(write=False)
    return new


# --- What only shows once dims are fixed ---


def _check(node: Node, ranges: Ranges) -> None:
    for extent in _extents(node):
        _check_extent(node, extent)
    for piece in node.pieces:
        _check_windows(node, piece)
        _check_positions(node, piece)
    for extent in _extents(node):
        if not never_negative(Affine((), extent), Domain(()), ranges):
            raise _negative_extent(node, _open_text(extent, ranges))
    for piece in node.pieces:
        _check_empty(node, piece, ranges)
        _check_reads(node, piece, ranges)


def _extents(node: Node) -> Iterator[ExtentLike]:
    yield from node.shape
    for piece in node.pieces:
        yield from piece.domain.extents


def _check_extent(node: Node, extent: ExtentLike) -> None:
    if isinstance(extent, Extent) and extent.linear() is None:
        names = ", ".join(sorted(d.name for d in extent.dims()))
        raise ShapeError(
            f"the dim {names} cannot stay open in {_title(node)}",
            found=f"the extent {extent}",
            expected="an extent of the form integer * dim + integer",
            help=_fix_it(extent),
            loc=node.loc,
        )
    if isinstance(extent, int) and extent < 0:
        raise _negative_extent(node)


def _fix_it(extent: Extent) -> str:
    """With the sizes that the model's author had in mind."""
    sizes = ", ".join(f"{d.name!r}: {d.default}" for d in sorted(extent.dims()))
    return f"fix it, e.g. dims={{{sizes}}}"


def _negative_extent(node: Node, where: str = "") -> ShapeError:
    return ShapeError(
        f"an axis of {_title(node)} gets a negative extent",
        found=f"shape {shape_text(node.shape)} from {_operand_shapes(node)}{where}",
        expected="extents of at least 0",
        help="the window, kernel or slice is larger than what it runs over" + _open_help(where),
        loc=node.loc,
    )


def _check_windows(node: Node, piece: Comprehension) -> None:
    """An index that shares a row or a guard with another one belongs to a window."""
    for affine in _maps(piece):
        if len(affine.uses) < 2:
            continue
        for k in affine.uses:
            extent = piece.domain.extents[k]
            if isinstance(extent, Extent):
                names = ", ".join(sorted(d.name for d in extent.dims()))
                raise ShapeError(
                    f"the dim {names} cannot stay open: {_title(node)} runs a window over it",
                    found=f"the index {affine.text(piece.domain.names)} with extent {extent}",
                    expected="a fixed extent",
                    help=_fix_it(extent),
                    loc=node.loc,
                )
            if extent == 0:
                raise ShapeError(
                    f"{_title(node)} has a window that fits nowhere",
                    found=f"shape {shape_text(node.shape)} from {_operand_shapes(node)}",
                    expected="a window no larger than what it runs over, padding included",
                    loc=node.loc,
                )


def _check_positions(node: Node, piece: Comprehension) -> None:
    """A position counts row-major: it needs the extent of every reduced index but the first."""
    for k in piece.reduced[1:] if piece.combine in ("argmax", "argmin") else ():
        extent = piece.domain.extents[k]
        if isinstance(extent, Extent):
            names = ", ".join(sorted(d.name for d in extent.dims()))
            raise ShapeError(
                f"the dim {names} cannot stay open: {_title(node)} counts positions over it",
                found=f"the index {piece.domain.names[k]} with extent {extent}, not the first "
                "of those that are reduced",
                expected="a fixed extent",
                help=_fix_it(extent),
                loc=node.loc,
            )


def _check_empty(node: Node, piece: Comprehension, ranges: Ranges) -> None:
    if piece.combine not in ("max", "min", "argmax", "argmin"):
        return
    domain, reduced = piece.domain, set(piece.reduced)
    points = [g for g in domain.guards if reduced & set(g.uses)]
    elements = replace(domain, guards=tuple(g for g in domain.guards if g not in points))
    kept = [k for k in range(domain.rank) if k not in reduced]
    try:
        empty = first_empty(elements, kept, points, ranges)
    except Undecided:
        raise _no_elements(node, piece, "too many points to try") from None
    if empty is not None:
        place = [f"{domain.names[k]} = {value}" for k, value in empty.point.items()]
        place += [f"{name} = {value}" for name, value in empty.dims.items()]
        raise _no_elements(node, piece, ", ".join(place))


def _no_elements(node: Node, piece: Comprehension, where: str) -> ShapeError:
    return ShapeError(
        f"{_title(node)} is the {piece.combine} of no elements",
        found=_operand_shapes(node) + (f": {where}" if where else ""),
        expected="at least one element to choose from, for every element of the result",
        loc=node.loc,
    )


def _check_reads(node: Node, piece: Comprehension, ranges: Ranges) -> None:
    for access in piece.operands:
        shape = node.inputs[access.operand].shape
        for axis, (row, size) in enumerate(zip(access.rows, shape, strict=True)):
            if isinstance(row, Affine) and not _inside(row, piece.domain, size, ranges):
                where = _open_text(row.constant + size, ranges)
                index = row.text(piece.domain.names)
                raise ShapeError(
                    f"{_title(node)} reads outside its operand",
                    found=f"index {index} on axis {axis} of extent {size}{where}",
                    expected=f"0 <= index < {size}",
                    help="the operand is too short" + _open_help(where) if where else None,
                    loc=node.loc,
                )


def _inside(row: Affine, domain: Domain, size: ExtentLike, ranges: Ranges) -> bool:
    """False where the row leaves `[0, size)`, for some value of an open dim at least.

    Guards of fixed extents were proved, whatever the dims, when the formula was made.
    """
    low, high = row.bounds(domain.extents)
    room = size - 1 - high
    if isinstance(low, int) and isinstance(room, int) and low >= 0 and room >= 0:
        return True
    sizes = (row.constant, size, *domain.extents, *(g.constant for g in domain.guards))
    if domain.guards and not any(isinstance(e, Extent) for e in sizes):
        return True
    return all(never_negative(side, domain, ranges) for side in (row, -row + (size - 1)))


def _open_text(extent: ExtentLike, ranges: Ranges) -> str:
    """The ranges of the dims that are still open in an extent."""
    names = sorted(d.name for d in extent.dims()) if isinstance(extent, Extent) else []
    pairs = [(name, *ranges.get(name, (1, None))) for name in names]
    texts = [f"{name} from {low} {f'to {high}' if high else 'on'}" for name, low, high in pairs]
    return f", with {', '.join(texts)}" if texts else ""


def _open_help(where: str) -> str:
    return ": fix the dim, or let its range start higher" if where else ""


def _maps(piece: Comprehension) -> Iterator[Affine]:
    yield from piece.domain.guards
    rows: list[Row] = list(piece.out)
    access: Access
    for access in (*piece.operands, *piece.finish_operands):
        rows += access.rows
    for row in rows:
        yield from row.rows if isinstance(row, Indirect) else (row,)


def _title(node: Node) -> str:
    return node.name or node.label or node.op


def _operand_shapes(node: Node) -> str:
    return ", ".join(shape_text(i.shape) for i in node.inputs) or "no operands"
