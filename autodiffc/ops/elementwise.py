"""Elementwise operations: the functions of the scalar table under their public names, and what
Python's operators mean.

Everything here takes expressions, arrays, Python numbers and elements of index notation alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, DtypeError
from autodiffc.graph.construct import cast, elementwise_body
from autodiffc.graph.expression import OPERATORS, Expression
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.location import here
from autodiffc.graph.scalars import Const, Scalar
from autodiffc.graph.types import is_float, is_integer
from autodiffc.ops import functions as _functions  # noqa: F401 - fills the table
from autodiffc.ops.apply import apply, dtype_name, is_element, operand
from autodiffc.ops.registry import P, Sample, integers, operation, sample, tensor

# --- Functions of the table ---


def _samples(name: str) -> list[Sample]:
    """The ranges that the table gives, over shapes that broadcast."""
    ranges = FUNCTIONS[name].samples
    first = [tensor(2, 3, low=a, high=b) for a, b in ranges]
    second = [tensor(*((3, 1), (2,))[k], low=a, high=b) for k, (a, b) in enumerate(ranges)]
    return [sample(*first), sample(*second), sample(*(tensor(0, low=a, high=b) for a, b in ranges))]


def _unary(name: str, doc: str) -> Callable[[Any], Expression]:
    def function(x: Any) -> Expression:
        return apply(name, x)

    _describe(function, name, doc)
    return _of_table(name)(function)


def _binary(name: str, doc: str) -> Callable[[Any, Any], Expression]:
    def function(x: Any, y: Any) -> Expression:
        return apply(name, x, y)

    _describe(function, name, doc)
    return _of_table(name)(function)


def _describe(function: Callable[..., Any], name: str, doc: str) -> None:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc


def _of_table(name: str) -> Callable[[Callable[P, Expression]], Callable[P, Expression]]:
    """The declaration of an operation that is a function of the table."""
    entry = FUNCTIONS[name]
    return operation(
        reference=entry.reference, samples=_samples(name), differentiable=entry.differentiable
    )


exp = _unary("exp", "The exponential, e**x.")
exp2 = _unary("exp2", "2**x.")
expm1 = _unary("expm1", "exp(x) - 1, accurate near 0.")
log = _unary("log", "The natural logarithm.")
log2 = _unary("log2", "The logarithm to base 2.")
log10 = _unary("log10", "The logarithm to base 10.")
log1p = _unary("log1p", "log(1 + x), accurate near 0.")
sqrt = _unary("sqrt", "The square root.")
rsqrt = _unary("rsqrt", "1/sqrt(x).")
cbrt = _unary("cbrt", "The cube root, also of negative numbers.")
sin = _unary("sin", "The sine of radians.")
cos = _unary("cos", "The cosine of radians.")
tan = _unary("tan", "The tangent of radians.")
asin = _unary("asin", "The inverse sine, in radians.")
acos = _unary("acos", "The inverse cosine, in radians.")
atan = _unary("atan", "The inverse tangent, in radians.")
sinh = _unary("sinh", "The hyperbolic sine.")
cosh = _unary("cosh", "The hyperbolic cosine.")
tanh = _unary("tanh", "The hyperbolic tangent.")
asinh = _unary("asinh", "The inverse hyperbolic sine.")
acosh = _unary("acosh", "The inverse hyperbolic cosine.")
atanh = _unary("atanh", "The inverse hyperbolic tangent.")
erf = _unary("erf", "The error function.")
erfc = _unary("erfc", "1 - erf(x), accurate for large x.")
sigmoid = _unary("sigmoid", "1/(1 + exp(-x)).")
relu = _unary("relu", "max(x, 0); its derivative at 0 is 0.")
isnan = _unary("isnan", "Whether an element is NaN.")
isfinite = _unary("isfinite", "Whether an element is neither infinite nor NaN.")
atan2 = _binary("atan2", "The angle of the point (y, x), as `math.atan2`.")
hypot = _binary("hypot", "sqrt(x**2 + y**2) without overflow.")
logaddexp = _binary("logaddexp", "log(exp(x) + exp(y)) without overflow.")
minimum = _binary("minimum", "The lesser element; NaN wins; equal ones share the gradient.")
maximum = _binary("maximum", "The greater element; NaN wins; equal ones share the gradient.")


@operation(
    reference=np.isinf,
    samples=[
        sample(np.array([1.0, np.inf, -np.inf, np.nan])),
        sample(tensor(2, 3)),
        sample(integers(3)),
    ],
    differentiable=False,
)
def isinf(x: Any) -> Expression:
    """Whether an element is infinite."""
    return apply("eq", apply("abs", x), math.inf)


# --- Arithmetic: Python's operators and NumPy's names for them ---

add = _binary("add", "x + y.")
mul = multiply = _binary("mul", "x*y.")
div = divide = _binary("div", "x/y, of integers too a float.")


@operation(reference=np.subtract, samples=_samples("sub"))
def sub(x: Any, y: Any) -> Expression:
    """x - y."""
    return apply("sub", x, y)


@operation(reference=np.negative, samples=[*_samples("neg"), sample(integers(4))])
def neg(x: Any) -> Expression:
    """-x."""
    x = operand(x)
    if x.dtype == "bool":
        raise DtypeError(
            "a truth value cannot be negated", found="-x of bool", expected="~x", loc=here()
        )
    return apply("neg", x)


_ROUNDING = [
    sample(tensor(2, 3), tensor(3, low=0.3)),
    sample(tensor(2, 3, low=-9.0, high=9.0), tensor(3, low=-2.0, high=-0.3)),
    sample(integers(2, 9, low=-9, high=10), integers(9, low=-4, high=-1)),
    sample(integers(2, 9, low=-9, high=10, dtype="int64"), 4),
    sample(np.array([1.0, -1.0, 0.3]), 0.1),
]


@operation(reference=np.floor_divide, samples=_ROUNDING, differentiable=False)
def floordiv(x: Any, y: Any) -> Expression:
    """x // y, rounded down as in Python; of integers an integer (0 where y is 0, as NumPy)."""
    return apply(_integer_or_float("floordiv", x, y), x, y)


@operation(reference=np.mod, samples=_ROUNDING)
def mod(x: Any, y: Any) -> Expression:
    """x % y with the sign of y, as in Python."""
    return apply(_integer_or_float("mod", x, y), x, y)


def _integer_or_float(name: str, *operands: Any) -> str:
    """Division that rounds, and powers, have a form of their own for integers."""
    if any(is_element(o) for o in operands):
        return name
    integer = not any(is_float(operand(o).dtype) for o in operands)
    return f"int_{name}" if integer else name


_POWERS = [2, 3, 1, 0, -1, -2, 5, 9, 0.5, -0.5, 1.7]


@operation(
    reference=np.power,
    samples=[
        *_samples("pow"),
        *(sample(tensor(2, 3, low=0.3), n) for n in _POWERS),
        sample(2.0, tensor(3)),
        sample(integers(4), 3),
        sample(integers(4), 6),
        sample(integers(4), 2.0),
        sample(integers(3, 4), integers(4, low=0, high=7)),
        sample(integers(3, 1, dtype="int64"), np.arange(8)),
        sample(2, integers(4, low=0, high=31)),
        sample(integers(4, low=0, high=4, dtype="uint8"), integers(4, low=0, high=6)),
        sample(1.5, integers(4)),
    ],
)
def pow(x: Any, y: Any) -> Expression:
    """x**y, of integers an integer; positive whole numbers become products, 0.5 a square root."""
    if isinstance(y, bool | int | float | np.number) and not is_element(x):
        return _literal_power(operand(x), y.item() if isinstance(y, np.number) else y)
    return apply(_integer_or_float("pow", x, y), x, y)


def _literal_power(x: Expression, exponent: float) -> Expression:
    """The forms that a reader of the exponent would choose."""
    if isinstance(exponent, float) and not is_float(x.dtype):
        x = Expression(cast(x.node, "real"))
    if exponent in (0.5, -0.5):
        return apply("sqrt" if exponent > 0 else "rsqrt", x)
    if is_float(x.dtype) and exponent not in range(-1, 9):
        # not 1/(x*x): its gradient at 0 and at infinity would be infinity times 0
        return apply("pow", x, float(exponent))
    if exponent >= 0:
        return _product_power(x, int(exponent))
    if not is_float(x.dtype):
        raise DtypeError(
            "a power of integers would not be an integer",
            found=f"{x.dtype} to the power of {exponent}",
            expected="a floating base, e.g. ad.astype(x, 'float32')",
            loc=here(),
        )
    return apply("div", 1.0, x)


def _product_power(x: Expression, exponent: int) -> Expression:
    """x*x*…: up to the cube in one formula, beyond by halves."""
    if exponent > 3:
        half = _product_power(x, exponent // 2)
        square_ = apply("mul", half, half)
        return apply("mul", square_, x) if exponent % 2 else square_
    if exponent == 1:
        return x
    if exponent == 0 and is_float(x.dtype):
        return apply("pow", x, 0.0)  # 1, but it reads x: the gradient is zero, not missing
    node = cast(x.node, "int64") if x.dtype == "bool" else x.node

    def body(bodies: Any) -> Scalar:
        result: Scalar = Const(1, node.dtype) if exponent == 0 else bodies[0]
        for _ in range(exponent - 1):
            result = result * bodies[0]
        return result

    return Expression(elementwise_body((node,), body, node.dtype, label="pow"))


@operation(reference=np.abs, samples=[sample(tensor(2, 3)), sample(integers(4)), sample(tensor(0))])
def abs(x: Any) -> Expression:
    """|x|; its derivative at 0 is 0."""
    if is_element(x) or is_float(operand(x).dtype):
        return apply("abs", x)
    x = operand(x)
    return x if x.dtype in ("bool", "uint8") else where(x < 0, -x, x)


@operation(
    reference=np.sign,
    samples=[sample(tensor(2, 3)), sample(integers(4)), sample(np.array([0.0, -1.5]))],
    differentiable=False,
)
def sign(x: Any) -> Expression:
    """-1, 0 or 1."""
    return apply("sign", x)


def _rounding(name: str, doc: str) -> Callable[[Any], Expression]:
    def function(x: Any) -> Expression:
        integer = not is_element(x) and not is_float(operand(x).dtype)
        return operand(x) if integer else apply(name, x)

    _describe(function, name, doc)
    samples = [sample(tensor(3, 5, low=-4.0, high=4.0)), sample(np.arange(-3.0, 3.5, 0.5))]
    reference = FUNCTIONS[name].reference
    return operation(reference=reference, samples=samples, differentiable=False)(function)


floor = _rounding("floor", "The greatest integer not above x, as a float.")
ceil = _rounding("ceil", "The least integer not below x, as a float.")
round = _rounding("round", "The nearest integer, as a float; halves go to the even neighbour.")
trunc = _rounding("trunc", "x without its fraction.")


@operation(reference=np.square, samples=[sample(tensor(2, 3)), sample(integers(3))])
def square(x: Any) -> Expression:
    """x*x."""
    return apply("mul", x, x) if is_element(x) else _product_power(operand(x), 2)


@operation(reference=np.reciprocal, samples=[sample(tensor(2, 3, low=0.3))])
def reciprocal(x: Any) -> Expression:
    """1/x."""
    return apply("div", 1.0, x)


@operation(
    reference=np.where,
    samples=[
        sample(tensor(2, 3, dtype="bool"), tensor(3), tensor(2, 1)),
        sample(tensor(2, dtype="bool"), 1.0, tensor(2)),
    ],
)
def where(condition: Any, x: Any, y: Any) -> Expression:
    """x where the condition holds, else y; the gradient goes to the chosen one."""
    return apply("where", condition, x, y)


@operation(
    reference=lambda x, min=None, max=None, a_min=None, a_max=None: np.clip(
        x, min if a_min is None else a_min, max if a_max is None else a_max
    ),
    samples=[
        sample(tensor(2, 3), -0.5, 0.5),
        sample(tensor(2, 3), min=0.1),
        sample(tensor(2, 3), max=tensor(3)),
        sample(integers(5), -2, 2),
        sample(tensor(2, 3), a_min=-0.5, a_max=0.5),
    ],
)
def clip(
    x: Any, min: Any = None, max: Any = None, *, a_min: Any = None, a_max: Any = None
) -> Expression:
    """x limited to [min, max]; the gradient passes through at the limits themselves.

    `a_min` and `a_max` are NumPy's older names.
    """
    min, max = a_min if min is None else min, a_max if max is None else max
    if min is None and max is None:
        raise ArgumentError(
            "clip needs a limit", found="neither min nor max", expected="clip(x, 0, 1)", loc=here()
        )
    x = operand(x)
    if min is not None:
        x = limited(x, min, "lt", "ge")
    return x if max is None else limited(x, max, "gt", "le")


def limited(x: Expression, limit: Any, beyond: str, within: str) -> Expression:
    """x, or the limit where x is beyond it; NaN without a gradient where one of them is NaN."""
    inside = where(apply(within, x, limit), x, math.nan) if is_float(x.dtype) else x
    return where(apply(beyond, x, limit), limit, inside)


@operation(
    reference=lambda x, dtype: x.astype(dtype),
    samples=[
        sample(tensor(2, 3), "int32"),
        sample(integers(3), "float64"),
        sample(tensor(3), "bool"),
        sample(tensor(3, dtype="bool"), "int64"),
    ],
)
def astype(x: Any, dtype: Any) -> Expression:
    """x converted to another element type; floats to integers truncate."""
    if is_element(x):
        element: Expression = x.__autodiffc_cast__(dtype_name(dtype))
        return element
    return Expression(cast(operand(x).node, dtype_name(dtype)))


# --- Comparisons and logic ---

lt = less = _binary("lt", "x < y.")
le = less_equal = _binary("le", "x <= y.")
gt = greater = _binary("gt", "x > y.")
ge = greater_equal = _binary("ge", "x >= y.")
eq = equal = _binary("eq", "x == y, elementwise.")
ne = not_equal = _binary("ne", "x != y, elementwise.")

_TRUTHS = [tensor(2, 3, dtype="bool"), tensor(3, dtype="bool")]
_LOGIC = [sample(*_TRUTHS), sample(integers(4), integers(4))]


@operation(reference=np.bitwise_and, samples=_LOGIC, differentiable=False)
def logical_and(x: Any, y: Any) -> Expression:
    """x & y: of truth values the conjunction, of integers bit by bit."""
    return apply("and", x, y)


@operation(reference=np.bitwise_or, samples=_LOGIC, differentiable=False)
def logical_or(x: Any, y: Any) -> Expression:
    """x | y: of truth values the disjunction, of integers bit by bit."""
    return apply("or", x, y)


@operation(reference=np.bitwise_xor, samples=_LOGIC, differentiable=False)
def logical_xor(x: Any, y: Any) -> Expression:
    """x ^ y: whether exactly one holds; of integers bit by bit."""
    return apply("xor", x, y)


@operation(
    reference=np.invert, samples=[sample(_TRUTHS[0]), sample(integers(4))], differentiable=False
)
def logical_not(x: Any) -> Expression:
    """~x: of truth values the negation, of integers the complement."""
    if not is_element(x) and is_integer(operand(x).dtype):
        return apply("xor", x, 255 if operand(x).dtype == "uint8" else -1)
    return apply("not", x)


OPERATORS.update(
    {
        "add": add,
        "sub": sub,
        "mul": mul,
        "div": div,
        "floordiv": floordiv,
        "mod": mod,
        "pow": pow,
        "neg": neg,
        "abs": abs,
        "astype": astype,
        "lt": lt,
        "le": le,
        "gt": gt,
        "ge": ge,
        "eq": eq,
        "ne": ne,
        "and": logical_and,
        "or": logical_or,
        "xor": logical_xor,
        "not": logical_not,
    }
)
