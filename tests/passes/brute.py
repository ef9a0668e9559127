"""The meaning of graphs, point by point: slow and obvious, to compare passes by.

A formula is evaluated by visiting every point of its box in row-major order. Shares no code with
the passes, nor with the reference interpreter, whose vectorized answer it also stands in for.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

import autodiffc.ops.functions  # noqa: F401  (fills the table of functions)
from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Access, Comprehension, Indirect
from autodiffc.graph.dag import Graph
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Call, Cast, Const, Index, Scalar

START = {"set": 0.0, "sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}


def evaluate(graph: Graph, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs, given the leaves by name; all dims must be fixed."""
    done: dict[Node, np.ndarray] = {}
    for node in graph.order:
        done[node] = _node(node, [done[i] for i in node.inputs], values)
        assert done[node].shape == node.shape, node
    return {name: done[node] for name, node in graph.outputs.items()}


def _node(node: Node, inputs: list[np.ndarray], values: Mapping[str, np.ndarray]) -> np.ndarray:
    if node.op == "constant":
        return np.asarray(node.attrs["value"]).astype(numpy_dtype(node.dtype))
    if node.op in ("input", "param", "state"):
        return np.asarray(values[str(node.name)]).astype(numpy_dtype(node.dtype))
    if node.op == "compute":
        return _compute(node, inputs)
    return inputs[0].reshape(node.shape)


def _compute(node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    result = np.zeros(node.shape, numpy_dtype(node.dtype))
    written = np.zeros(node.shape, bool)
    for piece in node.pieces:
        for at, value in _points(piece, inputs, node.shape).items():
            assert not written[at], f"{node}: two formulas write element {at}"
            written[at] = True
            result[at] = value
    return result


def _points(
    piece: Comprehension, inputs: list[np.ndarray], shape: tuple[Any, ...]
) -> dict[tuple[int, ...], Any]:
    """The value of each element that has a kept point."""
    reduced = piece.reduced
    found: dict[tuple[int, ...], Any] = {}
    kept_at: dict[tuple[int, ...], tuple[int, ...]] = {}
    position: dict[tuple[int, ...], int] = {}
    best: dict[tuple[int, ...], Any] = {}
    extents = [int(e) for e in piece.domain.extents]
    # an empty reduction still has its kept points
    box = [max(e, 1) if k in reduced else e for k, e in enumerate(extents)]
    for i in itertools.product(*map(range, box)):
        kept = tuple(0 if k in reduced else v for k, v in enumerate(i))
        inside = all(_affine(g, i) >= 0 for g in piece.domain.guards)
        inside &= all(v < e for v, e in zip(i, extents, strict=True))
        at = tuple(_row(r, i, inputs) for r in piece.out)
        if piece.combine != "set" and all(0 <= a < n for a, n in zip(at, shape, strict=True)):
            kept_at[at] = kept
            found.setdefault(at, START.get(piece.combine, 0))
        if not inside:
            continue
        kept_at[at] = kept
        value = _scalar(piece.body, i, [_read(a, i, inputs) for a in piece.operands])
        if piece.combine == "set":
            assert at not in found, f"set writes {at} twice"
            found[at] = value
        elif piece.combine == "sum":
            found[at] = found.get(at, 0) + value
        elif piece.combine == "prod":
            found[at] = found[at] * value
        elif piece.combine in ("max", "min"):
            pick = np.maximum if piece.combine == "max" else np.minimum
            found[at] = pick(found[at], value)
        else:
            wins = value > best[at] if piece.combine == "argmax" and at in best else True
            if piece.combine == "argmin" and at in best:
                wins = value < best[at]
            if wins:
                best[at] = value
                position[at] = _row_major(piece, i)
                found[at] = position[at]
    if piece.finish is not None:
        for at, value in found.items():
            i = kept_at[at]
            rest = [_read(a, i, inputs) for a in piece.finish_operands]
            found[at] = _scalar(piece.finish, i, [value, *rest])
    return found


def _row_major(piece: Comprehension, i: tuple[int, ...]) -> int:
    position = 0
    for k in piece.reduced:
        position = position * int(piece.domain.extents[k]) + i[k]
    return position


def _affine(affine: Affine, i: tuple[int, ...]) -> int:
    assert isinstance(affine.constant, int)
    return sum(c * v for c, v in zip(affine.coefficients, i, strict=True)) + affine.constant


def _row(row: Affine | Indirect, i: tuple[int, ...], inputs: list[np.ndarray]) -> int:
    if isinstance(row, Indirect):
        return int(inputs[row.operand][tuple(_affine(r, i) for r in row.rows)])
    return _affine(row, i)


def _read(access: Access, i: tuple[int, ...], inputs: list[np.ndarray]) -> Any:
    at = tuple(_row(r, i, inputs) for r in access.rows)
    array = inputs[access.operand]
    assert all(0 <= a < n for a, n in zip(at, array.shape, strict=True)), (at, array.shape)
    return array[at]


def _scalar(body: Scalar, i: tuple[int, ...], args: list[Any]) -> Any:
    if isinstance(body, Arg):
        return args[body.position]
    if isinstance(body, Index):
        return np.int32(i[body.position])
    if isinstance(body, Const):
        return np.asarray(body.value).astype(numpy_dtype(body.dtype))[()]
    if isinstance(body, Cast):
        return np.asarray(_scalar(body.x, i, args)).astype(numpy_dtype(body.dtype))[()]
    assert isinstance(body, Call), body
    values = [_scalar(a, i, args) for a in body.args]
    with np.errstate(all="ignore"):
        return np.asarray(FUNCTIONS[body.function].reference(*values))[()]


def numpy_dtype(dtype: str) -> str:
    return "float64" if dtype == "real" else dtype
