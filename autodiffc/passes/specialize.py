"""Fixes what a build decides: the integers that named dims stand for, and the floating type.

Afterwards no type says `real`, and every dim that is left occurs linearly and alone, as
`integer * dim + integer`, in extents that no window runs over. Shapes that only now turn out not to
fit (a kernel larger than the picture) are errors at the line of the node.
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
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Cast, Const, Scalar, Size, rewrite
from autodiffc.graph.types import TensorType


def specialize(graph: Graph, dims: Mapping[str, int], dtype: str) -> Graph:
    """The graph for these values of dims and this floating type ("float32" or "float64")."""
    build = _Build(dims, dtype)
    return graph.rewrite(build.node)


class _Build:
    def __init__(self, dims: Mapping[str, int], dtype: str) -> None:
        self._dims = dims
        self._real = dtype

    def node(self, node: Node) -> Node:
        type_ = TensorType(tuple(map(self._extent, node.shape)), self._dtype(node.dtype))
        pieces = tuple(self._piece(p) for p in node.pieces)
        attrs = {name: self._attr(value) for name, value in node.attrs.items()}
        if node.op == "constant":
            attrs["value"] = _cast_array(attrs["value"], type_.dtype)
        new = node
        if (type_, pieces, attrs) != (node.type, node.pieces, dict(node.attrs)):
            new = renew(node, type=type_, pieces=pieces, attrs=attrs)
        _check(new)
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


def _check(node: Node) -> None:
    for extent in _extents(node):
        _check_extent(node, extent)
    for piece in node.pieces:
        _check_windows(node, piece)
        _check_empty(node, piece)
        if not piece.domain.guards:
            _check_reads(node, piece)


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
            help=f"fix it, e.g. dims={{{names.split(', ')[0]!r}: 64}}",
            loc=node.loc,
        )
    if isinstance(extent, int) and extent < 0:
        raise ShapeError(
            f"an axis of {_title(node)} gets a negative extent",
            found=f"shape {shape_text(node.shape)} from {_operand_shapes(node)}",
            expected="extents of at least 0",
            help="the window, kernel or slice is larger than what it runs over",
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
                    help=f"fix it, e.g. dims={{{names!r}: 64}}",
                    loc=node.loc,
                )
            if extent == 0:
                raise ShapeError(
                    f"{_title(node)} has a window that fits nowhere",
                    found=f"shape {shape_text(node.shape)} from {_operand_shapes(node)}",
                    expected="a window no larger than what it runs over, padding included",
                    loc=node.loc,
                )


def _check_empty(node: Node, piece: Comprehension) -> None:
    if piece.combine not in ("max", "min", "argmax", "argmin"):
        return
    kept = [e for k, e in enumerate(piece.domain.extents) if k not in piece.reduced]
    if 0 not in kept and any(piece.domain.extents[k] == 0 for k in piece.reduced):
        raise ShapeError(
            f"{_title(node)} is the {piece.combine} of no elements",
            found=_operand_shapes(node),
            expected="at least one element to choose from",
            loc=node.loc,
        )


def _check_reads(node: Node, piece: Comprehension) -> None:
    if 0 in piece.domain.extents:
        return
    for access in piece.operands:
        shape = node.inputs[access.operand].shape
        for axis, (row, size) in enumerate(zip(access.rows, shape, strict=True)):
            if isinstance(row, Affine) and not _inside(row, piece.domain, size):
                raise ShapeError(
                    f"{_title(node)} reads outside its operand",
                    found=f"index {row.text(piece.domain.names)} on axis {axis} of extent {size}",
                    expected=f"0 <= index < {size}",
                    loc=node.loc,
                )


def _inside(row: Affine, domain: Domain, size: ExtentLike) -> bool:
    """False where the row certainly leaves `[0, size)` (or may, for some value of an open dim)."""
    low, high = row.bounds(domain.extents)
    room = size - 1 - high
    return _not_negative(low) and _not_negative(room)


def _not_negative(extent: ExtentLike) -> bool:
    if isinstance(extent, int):
        return extent >= 0
    linear = extent.linear()
    return linear is not None and linear[0] >= 0


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
