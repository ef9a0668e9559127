"""Fix dims and the floating type.

After this pass extents are integers, or `integer * dim + integer` in a dim that stays open, and no
`real` is left: a build knows what it computes in. A dim that a window slides over (its extent
appears under a floor division) cannot stay open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from autodiffc.errors import ShapeError
from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import (
    Access,
    Comprehension,
    Domain,
    map_access,
    map_rows,
)
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import Extent, ExtentLike, substitute
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Cast, Const, Scalar, Size, rewrite
from autodiffc.graph.types import TensorType


def specialize(graph: Graph, dims: Mapping[str, int], dtype: str) -> Graph:
    """The graph with the named dims fixed and `real` replaced by `dtype`."""
    return graph.rewrite(_Specializer(dims, dtype).node)


class _Specializer:
    def __init__(self, dims: Mapping[str, int], dtype: str) -> None:
        self.dims, self.dtype = dims, dtype

    def node(self, node: Node) -> Node:
        shape = tuple(self._extent(e, node) for e in node.shape)
        attrs = dict(node.attrs)
        if "extent" in attrs:
            attrs["extent"] = self._extent(attrs["extent"], node)
        type_ = TensorType(shape, self._dtype(node.dtype))
        if node.op == "constant":
            attrs["value"] = _frozen(node.attrs["value"], type_.dtype)
        pieces = tuple(self._piece(p, node) for p in node.pieces)
        return renew(node, type=type_, attrs=attrs, pieces=pieces)

    def _dtype(self, dtype: str) -> str:
        return self.dtype if dtype == "real" else dtype

    def _extent(self, extent: ExtentLike, node: Node) -> ExtentLike:
        value = substitute(extent, self.dims)
        if isinstance(value, int):
            if value < 0:
                raise ShapeError(
                    "a window does not fit into its input",
                    found=f"an extent of {value} ({extent})",
                    expected="a kernel at most as large as the padded input",
                    loc=node.loc,
                )
            return value
        if value.linear() is None:
            names = ", ".join(sorted(d.name for d in value.dims()))
            raise ShapeError(
                f"the dim {names} cannot stay open here",
                found=f"an extent of {value}",
                expected="integer * dim + integer in one open dim",
                help="fix it, e.g. dims={...} with an integer",
                loc=node.loc,
            )
        return value

    def _piece(self, piece: Comprehension, node: Node) -> Comprehension:
        domain = Domain(
            tuple(self._extent(e, node) for e in piece.domain.extents),
            tuple(self._affine(g) for g in piece.domain.guards),
            piece.domain.names,
        )
        return replace(
            piece,
            domain=domain,
            out=map_rows(piece.out, self._affine),
            operands=self._accesses(piece.operands),
            body=self._body(piece.body),
            finish=None if piece.finish is None else self._body(piece.finish),
            finish_operands=self._accesses(piece.finish_operands),
        )

    def _accesses(self, accesses: tuple[Access, ...]) -> tuple[Access, ...]:
        return tuple(map_access(a, self._affine) for a in accesses)

    def _affine(self, affine: Affine) -> Affine:
        if isinstance(affine.constant, Extent):
            return Affine(affine.coefficients, substitute(affine.constant, self.dims))
        return affine

    def _body(self, body: Scalar) -> Scalar:
        return rewrite(body, self._scalar)

    def _scalar(self, s: Scalar) -> Scalar:
        if isinstance(s, Const) and s.dtype == "real":
            return Const(s.value, self.dtype)
        if isinstance(s, Cast) and s.dtype == "real":
            return Cast(self.dtype, s.x)
        if isinstance(s, Size):
            value = substitute(s.extent, self.dims)
            return Const(value, "int64") if isinstance(value, int) else Size(value)
        return s


def _frozen(value: np.ndarray, dtype: str) -> np.ndarray:
    cast = np.array(value, dtype=dtype, order="C")
    cast.setflags(write=False)
    return cast
