"""Runs a graph in NumPy, formula by formula, point by point.

This is the meaning that compiled code is checked against, so it shares nothing with the way that
code is made: it imports NumPy and the graph only. A formula is evaluated over its whole domain at
once: index grids that broadcast against each other, addresses as integer arrays, operands picked
with them, the body computed elementwise, and the values thrown together by the combiner.

Sums of float32 are accumulated in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from autodiffc.errors import (
    ArgumentError,
    IndexRangeError,
    NameNotFoundError,
    ShapeError,
    VerificationError,
)
from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Access, Comprehension, Indirect, Row
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import ExtentLike, defaults, substitute
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Call, Cast, Const, Index, Scalar, Size

Array = np.ndarray[Any, Any]

EXTREMA = ("max", "min", "argmax", "argmin")
POINTS_AT_ONCE = 4_000_000  # larger domains are cut along their first index


def evaluate(
    outputs: Mapping[str, Node] | Graph,
    env: Mapping[Any, Any],
    *,
    dtype: str = "float64",
    dims: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """The outputs' values, by name.

    `env` gives the leaves, by name or node; `dtype` is what `real` means. Dims not in `dims` are
    read off the shapes of the given arrays, or take their defaults.
    """
    graph = outputs if isinstance(outputs, Graph) else Graph(dict(outputs))
    interpreter = _Interpreter(graph, env, dtype, dict(dims or {}))
    with np.errstate(all="ignore"):
        return {name: interpreter.value(node) for name, node in graph.outputs.items()}


class _Interpreter:
    def __init__(
        self, graph: Graph, env: Mapping[Any, Any], dtype: str, dims: dict[str, int]
    ) -> None:
        self.dtype, self.dims = dtype, dims
        self.values: dict[Node, Array] = {}
        given = {n: _given(n, env) for n in graph.order if n.op in ("input", "param", "state")}
        self._bind_dims(given)
        for node in graph.order:
            with np.errstate(all="ignore"):
                self.values[node] = self._node(node, given)

    def value(self, node: Node) -> Array:
        return self.values[node]

    # --- Leaves ---

    def _bind_dims(self, given: Mapping[Node, Array]) -> None:
        for node, array in given.items():
            for extent, size in zip(node.shape, array.shape, strict=False):
                linear = None if isinstance(extent, int) else extent.linear()
                if linear and linear[1].name not in self.dims:
                    coefficient, dim, constant = linear
                    self.dims[dim.name] = (size - constant) // coefficient

    def _size(self, extent: ExtentLike) -> int:
        return defaults(substitute(extent, self.dims))

    def _shape(self, node: Node) -> tuple[int, ...]:
        return tuple(self._size(e) for e in node.shape)

    def _dtype(self, dtype: str) -> Any:
        return np.dtype(self.dtype if dtype == "real" else dtype)

    def _leaf(self, node: Node, array: Array) -> Array:
        if array.shape != self._shape(node):
            raise ShapeError(
                f"the array for {node.name!r} has the wrong shape",
                found=array.shape,
                expected=self._shape(node),
            )
        return array.astype(self._dtype(node.dtype))

    # --- Nodes ---

    def _node(self, node: Node, given: Mapping[Node, Array]) -> Array:
        if node in given:
            return self._leaf(node, given[node])
        if node.op == "constant":
            value: Array = node.attrs["value"].astype(self._dtype(node.dtype))
            return value
        if node.op == "reshape":
            return self.values[node.inputs[0]].reshape(self._shape(node))
        if node.op == "stop_gradient":
            return self.values[node.inputs[0]]
        if node.op == "check_index":
            return self._checked(node)
        return self._compute(node)

    def _checked(self, node: Node) -> Array:
        values, extent = self.values[node.inputs[0]], self._size(node.attrs["extent"])
        if values.size and not (values.min() >= 0 and values.max() < extent):
            raise IndexRangeError(
                "an index is out of range",
                found=f"from {values.min()} to {values.max()}",
                expected=f"0 <= index < {extent}",
                loc=node.loc,
            )
        return values

    def _compute(self, node: Node) -> Array:
        shape, dtype = self._shape(node), self._dtype(node.dtype)
        result: Array = np.zeros(shape, dtype)
        written = np.zeros(shape, np.int64)
        for piece in node.pieces:
            value, count = _Piece(self, node, piece, shape).run()
            if piece.combine == "set" and int((written + count).max(initial=0)) > 1:
                raise VerificationError(f"{node!r}: an element is set twice", loc=node.loc)
            result = np.where(count > 0, value.astype(dtype), result)
            if piece.combine not in ("set", "sum") and len(node.pieces) == 1:
                result = value.astype(dtype)
            written += count
        return result


def _given(node: Node, env: Mapping[Any, Any]) -> Array:
    for key in (node, node.name):
        if key in env:
            return np.asarray(env[key])
    raise NameNotFoundError(
        f"no array for {node.op} {node.name!r}", expected=f"one of {sorted(map(str, env))}"
    )


class _Piece:
    """One formula of a node: its result, and how many points met at each element."""

    def __init__(
        self, interpreter: _Interpreter, node: Node, piece: Comprehension, shape: tuple[int, ...]
    ) -> None:
        self.up, self.node, self.piece, self.shape = interpreter, node, piece, shape
        self.extents = tuple(interpreter._size(e) for e in piece.domain.extents)

    def run(self) -> tuple[Array, Array]:
        """Values (in the accumulator's type) and counts, both of the output's shape."""
        size = int(np.prod(self.shape, dtype=np.int64))
        count: Array = np.zeros(size, np.int64)
        total = self._start(size)
        scanned: list[tuple[Array, Array, Array]] = []
        for grid in self._grids():
            where, values, mask = self._points(grid)
            at, picked = where[mask], values[mask]
            np.add.at(count, at, 1)
            if self.piece.combine in EXTREMA:
                scanned.append((at, picked, self._positions(grid)[mask]))
            else:
                self._combine(total, at, picked)
        if self.piece.combine in EXTREMA:
            if (count == 0).any():
                raise ArgumentError(
                    f"{self.piece.combine} over no element at all", loc=self.node.loc
                )
            total = self._extremum(total, scanned)
        return self._finished(total.reshape(self.shape)), count.reshape(self.shape)

    def _grids(self) -> Iterator[list[Array]]:
        """Index arrays that broadcast to the domain, in blocks of the first index."""
        rank = len(self.extents)
        rest = int(np.prod(self.extents[1:], dtype=np.int64)) if rank else 1
        step = max(1, POINTS_AT_ONCE // max(rest, 1))
        first = self.extents[0] if rank else 1
        for start in range(0, max(first, 1), step):
            ranges = [np.arange(e) for e in self.extents]
            if rank:
                ranges[0] = ranges[0][start : start + step]
            yield [
                r.reshape([-1 if j == k else 1 for j in range(rank)]) for k, r in enumerate(ranges)
            ]

    def _block(self, grid: list[Array]) -> tuple[int, ...]:
        return tuple(g.size for g in grid)

    def _affine(self, affine: Affine, grid: list[Array]) -> Array:
        total: Array = np.asarray(self.up._size(affine.constant))
        for coefficient, index in zip(affine.coefficients, grid, strict=True):
            if coefficient:
                total = total + coefficient * index
        return total

    def _row(self, row: Row, grid: list[Array]) -> Array:
        if isinstance(row, Indirect):
            ids = self.up.values[self.node.inputs[row.operand]]
            return _pick(ids, [self._affine(a, grid) for a in row.rows]).astype(np.int64)
        return self._affine(row, grid)

    def _read(self, access: Access, grid: list[Array]) -> Array:
        tensor = self.up.values[self.node.inputs[access.operand]]
        return _pick(tensor, [self._row(r, grid) for r in access.rows])

    def _points(self, grid: list[Array]) -> tuple[Array, Array, Array]:
        """For a block of the domain: flat output addresses, body values, which points count."""
        block = self._block(grid)
        mask: Array = np.ones(block, bool)
        for guard in self.piece.domain.guards:
            mask = mask & (self._affine(guard, grid) >= 0)
        operands = [self._read(a, grid) for a in self.piece.operands]
        values = np.broadcast_to(self._body(self.piece.body, operands, grid), block)
        return self._addresses(grid, mask), values, mask

    def _addresses(self, grid: list[Array], mask: Array) -> Array:
        flat: Array = np.zeros((), np.int64)
        for row, size in zip(self.piece.out, self.shape, strict=True):
            at = np.broadcast_to(self._row(row, grid), mask.shape)
            if not ((at >= 0) & (at < size))[mask].all():
                raise VerificationError(f"{self.node!r} writes outside its shape")
            flat = flat * size + at
        return np.broadcast_to(flat, mask.shape)

    def _positions(self, grid: list[Array]) -> Array:
        """The row-major position among the reduced indices, for every point of a block."""
        position: Array = np.zeros((), np.int64)
        for k in self.piece.reduced:
            position = position * self.extents[k] + grid[k]
        return np.broadcast_to(position, self._block(grid))

    def _body(self, body: Scalar, operands: list[Array], grid: list[Array]) -> Array:
        if isinstance(body, Arg):
            return operands[body.position]
        if isinstance(body, Index):
            return grid[body.position].astype(np.int32)
        if isinstance(body, Const):
            return np.asarray(body.value, self.up._dtype(body.dtype))
        if isinstance(body, Size):
            return np.asarray(self.up._size(body.extent), np.int64)
        if isinstance(body, Cast):
            return _cast(self._body(body.x, operands, grid), self.up._dtype(body.dtype))
        assert isinstance(body, Call)
        args = [self._body(a, operands, grid) for a in body.args]
        function = FUNCTIONS[body.function]
        found = np.asarray(function.reference(*args))
        predicate = function.rule in ("compare", "predicate")
        return found.astype(bool if predicate else args[-1].dtype)

    # --- Combiners ---

    def _start(self, size: int) -> Array:
        combine, dtype = self.piece.combine, self._accumulator()
        if combine in ("set", "sum"):
            return np.zeros(size, dtype)
        if combine == "prod":
            return np.ones(size, dtype)
        lowest = combine in ("max", "argmax")
        if dtype.kind == "f":
            return np.full(size, -np.inf if lowest else np.inf, dtype)
        if dtype.kind == "b":
            return np.full(size, not lowest, dtype)
        info = np.iinfo(dtype)
        return np.full(size, info.min if lowest else info.max, dtype)

    def _accumulator(self) -> Any:
        dtypes = [self.up.values[self.node.inputs[a.operand]] for a in self.piece.operands]
        with np.errstate(all="ignore"):
            probe = self._body(
                self.piece.body,
                [np.ones((), v.dtype) for v in dtypes],
                [np.zeros((), np.int64) for _ in self.extents],
            )
        if self.piece.combine in ("sum", "prod") and probe.dtype == np.float32:
            return np.dtype(np.float64)
        return probe.dtype

    def _combine(self, total: Array, at: Array, values: Array) -> None:
        if self.piece.combine == "set":
            total[at] = values
        elif self.piece.combine == "sum":
            np.add.at(total, at, values)
        else:
            np.multiply.at(total, at, values)

    def _extremum(self, total: Array, scanned: list[tuple[Array, Array, Array]]) -> Array:
        """The extremum of each element, NaN if there is one; or the first point that has it."""
        at, values, positions = (np.concatenate(x) for x in zip(*scanned, strict=True))
        larger = self.piece.combine in ("max", "argmax")
        (np.maximum if larger else np.minimum).at(total, at, values)
        if self.piece.combine in ("max", "min"):
            return total
        best = total[at]
        same = (values == best) | (_isnan(values) & _isnan(best))
        first: Array = np.full(total.shape, np.iinfo(np.int64).max, np.int64)
        np.minimum.at(first, at[same], positions[same])
        return first

    # --- Finish ---

    def _finished(self, reduced: Array) -> Array:
        piece = self.piece
        if piece.finish is None:
            return reduced
        typed = reduced.astype(self.up._dtype(self._body_dtype()))
        rank = len(self.extents)
        kept = [k for k in range(rank) if k not in piece.reduced]
        grid = [
            np.arange(e if k in kept else 1).reshape([-1 if j == k else 1 for j in range(rank)])
            for k, e in enumerate(self.extents)
        ]
        block = self._block(grid)
        at = self._addresses(grid, np.ones(block, bool))
        operands = [typed.reshape(-1)[at], *(self._read(a, grid) for a in piece.finish_operands)]
        values = np.broadcast_to(self._body(piece.finish, operands, grid), block)
        result: Array = np.zeros(typed.size, values.dtype)
        result[at] = values
        return result.reshape(self.shape)

    def _body_dtype(self) -> str:
        if self.piece.combine in ("argmax", "argmin"):
            return "int32"
        accumulator = self._accumulator()
        narrow = [self.up.values[self.node.inputs[a.operand]].dtype for a in self.piece.operands]
        if accumulator == np.float64 and narrow and all(d != np.float64 for d in narrow):
            return "float32"
        return str(accumulator)


def _pick(tensor: Array, rows: list[Array]) -> Array:
    """`tensor[rows]`, with addresses outside clipped: guards make sure those are not used."""
    if not rows:
        return tensor
    if 0 in tensor.shape:
        shape = np.broadcast_shapes(*(np.shape(r) for r in rows))
        return np.zeros(shape, tensor.dtype)
    clipped = [np.clip(r, 0, n - 1) for r, n in zip(rows, tensor.shape, strict=True)]
    return np.asarray(tensor[tuple(clipped)])


def _cast(values: Array, dtype: Any) -> Array:
    return np.asarray(values != 0) if dtype == np.bool_ else values.astype(dtype)


def _isnan(values: Array) -> Array:
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
