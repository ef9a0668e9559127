"""How an elementwise operation reaches its operands, whatever they are.

Operands are expressions, arrays, Python numbers (weak: they never widen a tensor of their kind),
dims, or elements of index notation. The last kind brings its own way of applying functions
(`__autodiffc_elementwise__`), which is why `ad.exp(x[i, j])` works inside `ad.compute`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, ArgumentTypeError, DtypeError
from autodiffc.graph.comprehension import Comprehension, Domain
from autodiffc.graph.construct import cast, compute, elementwise
from autodiffc.graph.expression import OPERATORS, Expression, as_node, as_value
from autodiffc.graph.extents import Extent
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Size
from autodiffc.graph.types import DTYPES, is_float


def apply(function: str, *operands: Any) -> Expression:
    """`function` of the scalar table, element by element, with broadcasting and promotion."""
    for operand in operands:
        if is_element(operand):
            element: Expression = operand.__autodiffc_elementwise__(function, operands)
            return element
    values = [as_value(o, f"an operand of {function}") for o in operands]
    try:
        return Expression(elementwise(function, *values))
    except DtypeError as error:
        error.loc = error.loc or here()
        raise


def is_element(value: object) -> bool:
    """Whether a value belongs to index notation."""
    return hasattr(type(value), "__autodiffc_elementwise__")


def operand(value: Any, what: str = "operand") -> Expression:
    """An expression for whatever can be one.

    Elements of index notation stay what they are; they have an expression's operators.
    """
    if isinstance(value, Extent):
        return Expression(size_of(value))
    result: Expression = value if is_element(value) else Expression(as_node(value, what))
    return result


def floating(x: Node, what: str) -> Node:
    """`x`; an error where it does not hold floats."""
    if not is_float(x.dtype):
        raise DtypeError(
            f"{what} needs floating elements",
            found=str(x.type),
            expected="e.g. ad.astype(x, 'float32')",
            loc=here(),
        )
    return x


def as_real(x: Node) -> Node:
    """Floats as they are, integers and truth values as the build's floats."""
    return x if is_float(x.dtype) else cast(x, "real")


def dtype_name(dtype: Any) -> str:
    """The name of an element type given as a string, a NumPy dtype or a Python type.

    Python's `float` means the build's type, which is called `real` within the compiler.
    """
    names: dict[Any, str] = {float: "real", int: "int64", bool: "bool"}
    try:
        name = dtype if isinstance(dtype, str) else names.get(dtype) or str(np.dtype(dtype))
    except TypeError:
        name = repr(dtype)
    if name not in DTYPES:
        known = ", ".join(d for d in DTYPES if d != "real")
        raise DtypeError("unknown dtype", found=name, expected=known, loc=here())
    return name


def size_of(extent: Extent) -> Node:
    """A dim as a value: a scalar of type int64."""
    return compute([], [Comprehension(Domain(()), (), (), Size(extent))], (), label="size")


def at_least(value: Any, least: int, what: str) -> int:
    """An integer not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ArgumentTypeError(
            f"{what} must be an integer", found=repr(value), expected=f"{least} or more", loc=here()
        )
    if value < least:
        raise ArgumentError(
            f"{what} is too small", found=int(value), expected=f"{least} or more", loc=here()
        )
    return int(value)


def choice(value: Any, options: tuple[str, ...], what: str) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in options:
        expected = " or ".join(map(repr, options))
        raise ArgumentError(f"unknown {what}", found=repr(value), expected=expected, loc=here())
    return str(value)


OPERATORS["size"] = size_of
