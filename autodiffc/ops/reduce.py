"""Reductions over axes, with NumPy's names, `axis=` and `keepdims=`.

All are one comprehension over the whole input: the indices that the output does not mention are
those reduced. Averages and the like are compositions of sums.

This file gives NumPy's names to its functions; Python's own `sum`, `max`, `any` are not used here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autodiffc.errors import ShapeError
from autodiffc.graph.affine import constant, identity
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Row
from autodiffc.graph.construct import compute, elementwise_body, normalize_axis, view
from autodiffc.graph.construct import stop_gradient as stopped
from autodiffc.graph.expression import OPERATORS, Axes, Expression, as_node
from autodiffc.graph.extents import ExtentLike, shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Cast, Const, Scalar, Size, call, cast_to, select
from autodiffc.graph.types import is_float
from autodiffc.ops import taught
from autodiffc.ops.apply import as_real, at_least, dtype_name
from autodiffc.ops.elementwise import exp, isfinite, log, square, where
from autodiffc.ops.registry import integers, operation, sample, tensor

# --- The one formula ---


def normalized_axes(axis: Axes, rank: int) -> tuple[int, ...]:
    """The axes meant, ascending; None means all of them, one twice is an error."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, Sequence) else (axis,)
    axes = [normalize_axis(a, rank) for a in given]
    if len(set(axes)) != len(axes):
        raise ShapeError(
            "an axis is given twice", found=f"axis={axis}", expected="distinct axes", loc=here()
        )
    return tuple(sorted(axes))


def reduction(
    x: Node,
    combine: str,
    axes: Sequence[int],
    keepdims: bool,
    body: Scalar | None = None,
) -> Node:
    """`combine` over some axes of `x`, or of `body` applied to its elements."""
    rank = len(x.shape)
    rows: list[Row] = []
    shape: list[ExtentLike] = []
    for axis, row in enumerate(identity(rank)):
        if axis not in axes:
            rows.append(row)
            shape.append(x.shape[axis])
        elif keepdims:
            rows.append(constant(rank, 0))
            shape.append(1)
    access = Access(0, identity(rank))
    formula = Comprehension(Domain(x.shape), tuple(rows), (access,), body or Arg(0), combine)
    return compute([x], [formula], tuple(shape), label=combine)


def _counted(extents: Sequence[ExtentLike], dtype: str) -> Scalar:
    """The product of extents as a float."""
    total: ExtentLike = 1
    for extent in extents:
        total = total * extent
    return Const(float(total), dtype) if isinstance(total, int) else Cast(dtype, Size(total))


def _any_empty(x: Node, axes: Sequence[int]) -> bool:
    """Whether an axis among those has no elements."""
    return 0 in [x.shape[axis] for axis in axes]


def _not_empty(x: Node, axes: Sequence[int], what: str) -> None:
    for axis in axes:
        if x.shape[axis] == 0:
            raise ShapeError(
                f"{what} of no elements does not exist",
                found=f"axis {axis} of {shape_text(x.shape)}",
                expected="at least one element along each reduced axis",
                loc=here(),
            )


# --- Sums and products ---

_SHAPES = [
    sample(tensor(2, 3, 4)),
    sample(tensor(2, 3, 4), axis=1),
    sample(tensor(2, 3, 4), axis=(0, -1)),
    sample(tensor(2, 1, 4), axis=-2, keepdims=True),
    sample(tensor(2, 3), axis=None, keepdims=True),
]
_EMPTY = [sample(tensor(0, 3), axis=0), sample(tensor(0, 3), axis=1), sample(tensor())]


_COUNTED = [
    sample(integers(2, 3), axis=0),
    sample(integers(2, 3), axis=0, dtype="float64"),
    sample(integers(2, 3), dtype="int32"),
]


def _accumulated(x: Any, combine: str, axis: Axes, keepdims: bool, wanted: Any) -> Expression:
    """Sums and products of integers and truth values are taken in int64 unless `wanted`."""
    node = as_node(x)
    dtype = node.dtype if is_float(node.dtype) else "int64"
    if wanted is not None:
        dtype = dtype_name(wanted)
    axes = normalized_axes(axis, len(node.shape))
    return Expression(reduction(node, combine, axes, keepdims, cast_to(Arg(0), node.dtype, dtype)))


@operation(reference=np.sum, samples=[*_SHAPES, *_EMPTY, *_COUNTED])
def sum(x: Any, axis: Axes = None, keepdims: bool = False, dtype: Any = None) -> Expression:
    """The sum over some axes; of no elements 0."""
    return _accumulated(x, "sum", axis, keepdims, dtype)


@operation(reference=np.prod, samples=[*_SHAPES, *_EMPTY, *_COUNTED])
def prod(x: Any, axis: Axes = None, keepdims: bool = False, dtype: Any = None) -> Expression:
    """The product over some axes; of no elements 1."""
    return _accumulated(x, "prod", axis, keepdims, dtype)


@operation(reference=np.mean, samples=[*_SHAPES, sample(integers(2, 3), axis=0), sample(tensor())])
def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> Expression:
    """The arithmetic mean over some axes, of integers too a float."""
    node = as_real(as_node(x))
    axes = normalized_axes(axis, len(node.shape))
    count = _counted([node.shape[a] for a in axes], node.dtype)
    total = reduction(node, "sum", axes, keepdims)
    return Expression(elementwise_body((total,), lambda b: b[0] / count, total.dtype, label="mean"))


@operation(reference=np.var, samples=[*_SHAPES, sample(tensor(5), ddof=1)])
def var(x: Any, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Expression:
    """The variance over some axes: squared distances from the mean, over their count - ddof."""
    node = as_real(as_node(x))
    axes = normalized_axes(axis, len(node.shape))
    squares = square(Expression(node) - mean(node, axes, keepdims=True)).node
    count = _counted([node.shape[a] for a in axes], node.dtype)
    divisor = count - Const(float(at_least(ddof, 0, "ddof")), node.dtype) if ddof else count
    total = reduction(squares, "sum", axes, keepdims)
    return Expression(elementwise_body((total,), lambda b: b[0] / divisor, node.dtype, label="var"))


@operation(reference=np.std, samples=[*_SHAPES, sample(tensor(5), ddof=1)])
def std(x: Any, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Expression:
    """The standard deviation, sqrt(var(x)); where it is 0, so is its gradient."""
    node = var(x, axis, keepdims, ddof).node
    dtype = node.dtype
    return Expression(elementwise_body((node,), lambda b: _root(b[0], dtype), dtype, label="std"))


def _root(x: Scalar, dtype: str) -> Scalar:
    """sqrt(x) whose derivative is finite at 0, where that of x itself is 0 for a variance."""
    return select(call("eq", x, Const(0.0, dtype)), x, call("sqrt", x))


# --- Extrema ---


def _extremum(x: Any, combine: str, axis: Axes, keepdims: bool) -> Expression:
    """Equal extrema share the gradient: the attribute `ties` tells differentiation so."""
    node = as_node(x)
    axes = normalized_axes(axis, len(node.shape))
    _not_empty(node, axes, combine)
    return Expression(
        renew(reduction(node, combine, axes, keepdims), attrs={"ties": "shared"}) if axes else node
    )


_EXTREMA = [*_SHAPES, sample(tensor(0, 3), axis=1), sample(integers(3, 4), axis=1)]


@operation(reference=np.max, samples=_EXTREMA)
def max(x: Any, axis: Axes = None, keepdims: bool = False) -> Expression:
    """The greatest element over some axes; NaN wins; equal ones share the gradient."""
    return _extremum(x, "max", axis, keepdims)


@operation(reference=np.min, samples=_EXTREMA)
def min(x: Any, axis: Axes = None, keepdims: bool = False) -> Expression:
    """The least element over some axes; NaN wins; equal ones share the gradient."""
    return _extremum(x, "min", axis, keepdims)


amax, amin = max, min


def _position(x: Any, combine: str, axis: int | None, keepdims: bool) -> Expression:
    node = as_node(x)
    rank = len(node.shape)
    axes = tuple(range(rank)) if axis is None else (normalize_axis(axis, rank),)
    _not_empty(node, axes, combine)
    return Expression(reduction(node, combine, axes, keepdims))


def _int32(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: np.asarray(function(*args, **kwargs)).astype("int32")


_POSITIONS = [
    sample(tensor(2, 3, 4)),
    sample(tensor(2, 3, 4), axis=1),
    sample(tensor(2, 3, 4), axis=-1, keepdims=True),
    sample(integers(4, 9, low=0, high=3), axis=1),  # ties
]


@operation(reference=_int32(np.argmax), samples=_POSITIONS, differentiable=False)
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Expression:
    """Where the first greatest element is, as int32; without `axis` in the flattened tensor."""
    return _position(x, "argmax", axis, keepdims)


@operation(reference=_int32(np.argmin), samples=_POSITIONS, differentiable=False)
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Expression:
    """Where the first least element is, as int32; without `axis` in the flattened tensor."""
    return _position(x, "argmin", axis, keepdims)


# --- Truth values ---

_TRUTHS = [
    sample(tensor(2, 3, dtype="bool"), axis=1),
    sample(tensor(2, 3, dtype="bool")),
    sample(tensor(0, 3, dtype="bool"), axis=0),
    sample(integers(3, 2, low=0, high=2), axis=0, keepdims=True),
]


@operation(reference=np.any, samples=_TRUTHS, differentiable=False)
def any(x: Any, axis: Axes = None, keepdims: bool = False) -> Expression:
    """Whether an element over some axes is not 0; of no elements False."""
    holds: Expression = Expression(as_node(x)) != 0
    return sum(holds, axis, keepdims) > 0


@operation(reference=np.all, samples=_TRUTHS, differentiable=False)
def all(x: Any, axis: Axes = None, keepdims: bool = False) -> Expression:
    """Whether all elements over some axes are not 0; of no elements True."""
    fails: Expression = Expression(as_node(x)) == 0
    result: Expression = sum(fails, axis, keepdims) == 0
    return result


# --- Without overflow ---


def greatest(x: Node, axes: Sequence[int]) -> Expression:
    """The maximum over axes, kept as axes of 1, which exponentials are taken relative to.

    It is a constant to differentiation, since results do not depend on it; of no elements it is 0.
    """
    if _any_empty(x, axes):
        return Expression(reduction(x, "sum", axes, True))
    return Expression(stopped(_extremum(x, "max", axes, True).node))


def relative(x: Node, axes: Sequence[int]) -> Expression:
    """x less its maximum over axes; NaN in all of a row whose maximum is infinite."""
    return Expression(x) - greatest(x, axes)


def _taught_logsumexp(x: Any, axis: Axes = None, keepdims: bool = False) -> Expression:
    node = as_real(as_node(x))
    return taught.logsumexp(node, normalized_axes(axis, len(node.shape)), keepdims)


@operation(
    reference=lambda x, axis=None, keepdims=False: np.log(
        np.sum(np.exp(x), axis=axis, keepdims=keepdims)
    ),
    samples=[*_SHAPES, sample(tensor(2, 0), axis=1), sample(tensor(0, 2), axis=1)],
    taught=_taught_logsumexp,
)
def logsumexp(x: Any, axis: Axes = None, keepdims: bool = False) -> Expression:
    """log(sum(exp(x))) over some axes, without overflow; of no elements -inf."""
    node = as_real(as_node(x))
    axes = normalized_axes(axis, len(node.shape))
    top = greatest(node, axes)
    top = where(isfinite(top), top, 0.0)  # inf - inf would be NaN
    total = log(sum(exp(Expression(node) - top), axes, keepdims))
    return total + (top if keepdims else _without_axes(top, axes))


def _without_axes(x: Expression, axes: Sequence[int]) -> Expression:
    """`x` without axes that have one element."""
    kept = [k for k in range(x.ndim) if k not in axes]
    shape = tuple(x.shape[k] for k in kept)
    zero = constant(len(kept), 0)

    def rows(indices: Sequence[Row]) -> list[Row]:
        return [indices[kept.index(k)] if k in kept else zero for k in range(x.ndim)]

    return Expression(view(x.node, shape, rows, label="squeeze"))


OPERATORS.update({"sum": sum, "prod": prod, "mean": mean, "max": max, "min": min, "argmax": argmax})
