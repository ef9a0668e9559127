"""Operations that use integer tensors as positions, or positions as values.

Where an integer tensor's element addresses another tensor, the formula has an `Indirect` row and a
`check_index` node stands before it; where it is only compared with a loop index (one_hot), all
stays affine, but what is out of range is refused all the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, ShapeError
from autodiffc.graph.affine import identity
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect, Row
from autodiffc.graph.construct import (
    as_extent,
    broadcast_rows,
    broadcast_shapes,
    check_index,
    compute,
    normalize_axis,
    same_extent,
)
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.extents import Extent, ExtentLike, defaults, shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Cast, Const, Index, Scalar, Size, cast_to, coerced_call
from autodiffc.ops.apply import dtype_name
from autodiffc.ops.positions import positions
from autodiffc.ops.registry import integers, operation, sample, tensor
from autodiffc.ops.view import reshape


@operation(
    reference=lambda labels, num_classes, dtype="int64": np.eye(num_classes, dtype=dtype)[labels],
    samples=[
        sample(integers(5, low=0, high=4), 4),
        sample(integers(2, 3, low=0, high=3), 3, dtype="float64"),
        sample(integers(low=0, high=2), 2),
    ],
    differentiable=False,
)
def one_hot(labels: Any, num_classes: Any, dtype: Any = "int64") -> Expression:
    """A last axis of `num_classes` with 1 at the label and 0 elsewhere."""
    classes = as_extent(num_classes, "num_classes")
    node = check_index(as_node(labels, "labels"), classes)
    rank = len(node.shape) + 1
    body = cast_to(at_label(rank - 1, Arg(0), node.dtype), "bool", dtype_name(dtype))
    access = Access(0, identity(rank)[:-1])
    formula = Comprehension(Domain((*node.shape, classes)), identity(rank), (access,), body)
    return Expression(compute([node], [formula], (*node.shape, classes), label="one_hot"))


def at_label(position: int, label: Scalar, dtype: str) -> Scalar:
    """Whether the loop index at `position` is the label, an integer of type `dtype`."""
    return coerced_call("eq", (Index(position), "int32"), (label, dtype))[0]


def _take(x: np.ndarray, indices: Any, axis: int | None = None) -> np.ndarray:
    return np.asarray(np.take(x, indices, axis))


@operation(
    reference=_take,
    samples=[
        sample(tensor(4, 3), integers(5, low=0, high=4), axis=0),
        sample(tensor(2, 4), integers(2, 3, low=0, high=4), axis=1),
        sample(tensor(2, 3), integers(4, low=0, high=6)),
        sample(tensor(4, 3), integers(low=0, high=4), axis=0),
        sample(tensor(4, 3), [0, -1, 2], axis=0),
        sample(tensor(4, 3), np.array([[-4, 3]]), axis=0),
        sample(tensor(4, 3), -2, axis=1),
    ],
)
def take(x: Any, indices: Any, axis: int | None = None) -> Expression:
    """The elements, or the slices along an axis, at the positions `indices`."""
    node = as_node(x) if axis is not None else reshape(x, -1).node
    along = normalize_axis(0 if axis is None else axis, len(node.shape))
    ids = positions(indices, node.shape[along], "take")
    shape = (*node.shape[:along], *ids.shape, *node.shape[along + 1 :])
    rows = identity(len(shape))
    width = len(ids.shape)
    found = Indirect(1, rows[along : along + width])
    access = Access(0, (*rows[:along], found, *rows[along + width :]))
    formula = Comprehension(Domain(shape), identity(len(shape)), (access,), Arg(0))
    return Expression(compute([node, ids], [formula], shape, label="take"))


@operation(
    reference=lambda ids, weight: weight[ids],
    samples=[
        sample(integers(2, 3, low=0, high=5), tensor(5, 4)),
        sample(integers(low=0, high=5), tensor(5, 4)),
    ],
)
def embedding(ids: Any, weight: Any) -> Expression:
    """The rows of `weight` that `ids` name."""
    table = as_node(weight, "weight")
    if len(table.shape) != 2:
        raise ShapeError(
            "the weight of an embedding is a matrix",
            found=shape_text(table.shape),
            expected="(number of rows, features)",
            loc=here(),
        )
    return take(table, ids, axis=0)


def _gather(x: np.ndarray, index: np.ndarray, axis: int = 0) -> np.ndarray:
    cut = tuple(slice(None) if k == axis % x.ndim else slice(n) for k, n in enumerate(index.shape))
    return np.asarray(np.take_along_axis(x[cut], index.astype(np.int64), axis))


@operation(
    reference=_gather,
    samples=[
        sample(tensor(4, 3), integers(2, 3, low=0, high=4)),
        sample(tensor(4, 3), integers(4, 5, low=0, high=3), axis=1),
        sample(tensor(4, 3), integers(2, 1, low=0, high=3), axis=-1),
        sample(tensor(3), integers(5, low=0, high=3)),
    ],
)
def gather(x: Any, index: Any, axis: Any = 0) -> Expression:
    """PyTorch's gather: `y[i, j] = x[index[i, j], j]` for axis 0.

    `gather(x, axis, index)`, PyTorch's order of arguments, is understood as well.
    """
    if isinstance(index, int) and not isinstance(axis, int):
        index, axis = axis, index
    node = as_node(x)
    along = normalize_axis(axis, len(node.shape))
    ids = check_index(as_node(index, "index"), node.shape[along])
    _check_gather(node, ids, along)
    rank = len(ids.shape)
    rows: list[Row] = list(identity(rank))
    rows[along] = Indirect(1, identity(rank))
    formula = Comprehension(Domain(ids.shape), identity(rank), (Access(0, tuple(rows)),), Arg(0))
    return Expression(compute([node, ids], [formula], ids.shape, label="gather"))


def _check_gather(x: Node, ids: Node, along: int) -> None:
    fits = len(x.shape) == len(ids.shape) and all(
        k == along or same_extent(a, b) or (defaults(b) <= defaults(a) and isinstance(a, int))
        for k, (a, b) in enumerate(zip(x.shape, ids.shape, strict=True))
    )
    if not fits:
        raise ShapeError(
            "the index of gather does not fit",
            found=f"index {shape_text(ids.shape)}, x {shape_text(x.shape)}",
            expected=f"as many axes, and no more elements along those other than {along}",
            help="ad.take(x, ids, axis) selects whole slices",
            loc=here(),
        )


@operation(
    reference=np.take_along_axis,
    samples=[
        sample(tensor(4, 3), integers(4, 2, low=0, high=3, dtype="int64"), -1),
        sample(tensor(4, 5), np.array([[0], [1], [-1], [0]]), axis=0),
        sample(tensor(1, 5), integers(3, 2, low=0, high=5, dtype="int64"), axis=1),
        sample(tensor(2, 1, 4), integers(1, 3, 2, low=0, high=4, dtype="int64")),
    ],
)
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Expression:
    """The elements of slices along an axis at positions of their own; other axes broadcast."""
    node = as_node(x)
    along = normalize_axis(axis, len(node.shape))
    ids = positions(indices, node.shape[along], "take_along_axis")
    if len(ids.shape) != len(node.shape):
        raise ShapeError(
            "take_along_axis needs indices with as many axes as x",
            found=f"indices {shape_text(ids.shape)}, x {shape_text(node.shape)}",
            expected=f"{len(node.shape)} axes",
            help="ad.take(x, indices, axis) selects whole slices",
            loc=here(),
        )
    others = tuple(1 if k == along else extent for k, extent in enumerate(node.shape))
    shape = broadcast_shapes(others, ids.shape)
    rows: list[Row] = list(broadcast_rows(node.shape, shape))
    rows[along] = Indirect(1, broadcast_rows(ids.shape, shape))
    formula = Comprehension(Domain(shape), identity(len(shape)), (Access(0, tuple(rows)),), Arg(0))
    return Expression(compute([node, ids], [formula], shape, label="take_along_axis"))


def _arange(*bounds: Any, dtype: Any = None) -> np.ndarray:
    return np.arange(*bounds, dtype=dtype)


@operation(
    reference=_arange,
    samples=[
        sample(5),
        sample(2, 9, 3),
        sample(4, 0, -1),
        sample(3, 3),
        sample(4, dtype="int32"),
        sample(0.5, 2, 0.25),
        sample(1, 0, -0.3),
        sample(2.5),
        sample(3, dtype="float64"),
    ],
    differentiable=False,
)
def arange(start: Any, stop: Any = None, step: float = 1, dtype: Any = None) -> Expression:
    """Numbers from start (0) to stop, exclusive: integers if all are; stop may be a dim."""
    low, high = (0, start) if stop is None else (start, stop)
    if any(isinstance(n, float | np.floating) for n in (low, high, step)):
        return _float_range(low, high, step, "real" if dtype is None else dtype_name(dtype))
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or step == 0:
        raise ArgumentError(
            "arange needs an integer step other than 0", found=repr(step), loc=here()
        )
    length = _length(low, high, int(step))
    first: Scalar = Size(low) if isinstance(low, Extent) else Const(int(low), "int64")
    body = first + Cast("int64", Index(0)) * Const(int(step), "int64")
    body = cast_to(body, "int64", "int64" if dtype is None else dtype_name(dtype))
    formula = Comprehension(Domain((length,)), identity(1), (), body)
    return Expression(compute([], [formula], (length,), label="arange"))


def _float_range(low: Any, high: Any, step: Any, dtype: str) -> Expression:
    """start + k*step for every k that stays before stop, counted as NumPy does."""
    for bound in (low, high, step):
        real = isinstance(bound, int | float | np.number) and not isinstance(bound, bool)
        if not real or not math.isfinite(bound):
            raise ArgumentError(
                "arange takes numbers",
                found=repr(bound),
                expected="e.g. 0.5; dims among integers only",
                loc=here(),
            )
    if step == 0:
        raise ArgumentError("arange needs a step other than 0", found=repr(step), loc=here())
    length = max(math.ceil((high - low) / step), 0)
    body = Const(float(low), "real") + Cast("real", Index(0)) * Const(float(step), "real")
    formula = Comprehension(Domain((length,)), identity(1), (), cast_to(body, "real", dtype))
    return Expression(compute([], [formula], (length,), label="arange"))


def _length(low: Any, high: Any, step: int) -> ExtentLike:
    for bound in (low, high):
        if not isinstance(bound, int | np.integer | Extent):
            raise ArgumentError(
                "arange takes integers", found=repr(bound), expected="e.g. 5", loc=here()
            )
    distance = high - low if step > 0 else low - high
    length = (distance + (abs(step) - 1)) // abs(step)
    return length if defaults(length) > 0 else 0


# --- Picking by label ---


def picked(x: Node, labels: Node, axis: int) -> Expression:
    """`x` at the label along an axis: the sum over k of `x[k]` where k is the label.

    As a selection all addresses stay affine, and what is not selected cannot make NaN of 0*inf.
    """
    rank = len(x.shape)
    checked = check_index(labels, x.shape[axis])
    at = identity(rank)
    kept = (*at[:axis], *at[axis + 1 :])
    zero = Const(0.0, x.dtype)
    chosen = at_label(axis, Arg(1), checked.dtype)
    body, _ = coerced_call("where", (chosen, "bool"), (Arg(0), x.dtype), (zero, x.dtype))
    accesses = (Access(0, at), Access(1, kept))
    formula = Comprehension(Domain(x.shape), kept, accesses, body, "sum")
    return Expression(compute([x, checked], [formula], labels.shape, label="pick"))
