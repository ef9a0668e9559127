"""Tensors made of nothing but a shape: formulas without operands.

Shapes may mention dims, so the tensors are formulas rather than stored constants; passes fold them
into what reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentTypeError
from autodiffc.graph.affine import identity
from autodiffc.graph.comprehension import Comprehension, Domain
from autodiffc.graph.construct import as_extent, compute, number_of
from autodiffc.graph.expression import Expression
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.location import here
from autodiffc.graph.scalars import Cast, Const, Index, Scalar, call, cast_to
from autodiffc.graph.types import promote_weak
from autodiffc.ops.apply import dtype_name
from autodiffc.ops.registry import operation, sample


def _filled(shape: tuple[ExtentLike, ...], body: Scalar, label: str) -> Expression:
    formula = Comprehension(Domain(shape), identity(len(shape)), (), body)
    return Expression(compute([], [formula], shape, label=label))


def _shape(shape: Any) -> tuple[ExtentLike, ...]:
    extents = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    return tuple(as_extent(e, "an extent") for e in extents)


@operation(
    reference=np.full,
    samples=[
        sample((2, 3), 1.5),
        sample(3, 2),
        sample((), -0.5),
        sample((0, 2), True),
        sample(2, 7, dtype="float64"),
    ],
    differentiable=False,
)
def full(shape: Any, fill_value: float, dtype: Any = None) -> Expression:
    """A tensor of one number, of the number's kind unless `dtype` is given."""
    if isinstance(fill_value, np.generic):
        fill_value = fill_value.item()
    if not isinstance(fill_value, bool | int | float):
        raise ArgumentTypeError(
            "full takes a number",
            found=repr(fill_value),
            expected="e.g. 0.5",
            help="ad.broadcast_to(x, shape) repeats a tensor",
            loc=here(),
        )
    kind = promote_weak("bool", fill_value)
    body = number_of(fill_value, kind)
    wanted = kind if dtype is None else dtype_name(dtype)
    return _filled(_shape(shape), cast_to(body, kind, wanted), "full")


@operation(
    reference=np.zeros,
    samples=[sample((2, 3)), sample(3, dtype="int32"), sample((), "bool")],
    differentiable=False,
)
def zeros(shape: Any, dtype: Any = None) -> Expression:
    """A tensor of zeros, of the build's float unless `dtype` is given."""
    return full(shape, 0.0, "real" if dtype is None else dtype)


@operation(
    reference=np.ones,
    samples=[sample((2, 3)), sample(3, dtype="int64"), sample((), "bool")],
    differentiable=False,
)
def ones(shape: Any, dtype: Any = None) -> Expression:
    """A tensor of ones, of the build's float unless `dtype` is given."""
    return full(shape, 1.0, "real" if dtype is None else dtype)


@operation(
    reference=lambda n, m=None, k=0, dtype=float: np.eye(n, m, k, dtype),
    samples=[sample(3), sample(2, 4, 1), sample(4, 2, k=-2, dtype="int32"), sample(2, dtype=bool)],
    differentiable=False,
)
def eye(n: Any, m: Any = None, k: int = 0, dtype: Any = None) -> Expression:
    """A matrix of n rows and m columns (n), with 1 on the k-th diagonal and 0 elsewhere."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise ArgumentTypeError("a diagonal is an integer", found=repr(k), loc=here())
    wanted = "real" if dtype is None else dtype_name(dtype)
    row, column = Cast("int64", Index(0)), Cast("int64", Index(1))
    holds = call("eq", row + Const(int(k), "int64"), column)
    return _filled(_shape((n, n if m is None else m)), cast_to(holds, "bool", wanted), "eye")
