"""The scalar functions, one stanza each: typing rule, NumPy meaning, derivative, C, display.

Read a stanza as a row of a table whose columns are explained at `graph.functions.Function`. Where
SymPy's derivative is right everywhere and computes well, the stanza gives the formula and nothing
else. Where it is not (a kink, a removable singularity, an overflow, or simply a cheaper form that
reuses the result), the stanza states the partials itself: each is a lambda of the arguments and
then of the result, here always called `out`.

Numbers inside `partials` and `expand` are written as plain Python numbers and become constants of
the build's type; `expansion` and `partial` give them the type that a call really works in.

NaN propagates: every comparison below is arranged so that a NaN argument reaches the result, and
that it lets the gradient pass.
Functions whose C is a `?:` in disguise are expansions into `where`, so that vector code needs to
know one kind of selection only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autodiffc.graph.functions import FUNCTIONS, Function, register
from autodiffc.graph.scalars import (
    Arg,
    Const,
    Scalar,
    call,
    const,
    replace_args,
    rewrite,
    select,
)
from autodiffc.graph.types import is_float

Range = tuple[float, float]


# --- How other stages use an entry ---


def expansion(name: str, args: Sequence[Scalar], dtype: str) -> Scalar:
    """The body that computes an `expand` function whose arguments have the type `dtype`."""
    expand = FUNCTIONS[name].expand
    assert expand is not None, f"{name} has no expansion"
    body = _retyped(expand(*(Arg(k) for k in range(len(args)))), dtype)
    return replace_args(body, lambda k: args[k])


def partial(name: str, k: int, args: Sequence[Scalar], out: Scalar, dtype: str) -> Scalar | None:
    """The stated partial in argument `k` where the call works in `dtype`; None for a zero one.

    For functions that state their partials; the others are derived from their SymPy formula.
    """
    function = FUNCTIONS[name]
    assert function.partials is not None, f"{name} leaves its partials to SymPy"
    rule = function.partials[k]
    if rule is None or not function.differentiable:
        return None
    body = _retyped(rule(*(Arg(j) for j in range(len(args) + 1))), dtype)
    return replace_args(body, lambda j: args[j] if j < len(args) else out)


def _retyped(body: Scalar, dtype: str) -> Scalar:
    """Constants of the build's type become constants of `dtype`."""

    def rule(s: Scalar) -> Scalar:
        if not isinstance(s, Const) or s.dtype != "real":
            return s
        return Const(float(s.value) if is_float(dtype) else int(s.value), dtype)

    return rewrite(body, rule)


# --- How the stanzas are shortened ---


def _function(name: str, rule: str, reference: Callable[..., Any], **fields: Any) -> None:
    """Registers a stanza; the arity follows from the samples, the display from the name."""
    arguments = ", ".join(f"{{{k}}}" for k in range(len(fields["samples"])))
    escaped = name.replace("_", r"\_")
    fields.setdefault("text", f"{name}({arguments})")
    fields.setdefault("latex", rf"\operatorname{{{{{escaped}}}}}\left({arguments}\right)")
    register(Function(name, len(fields["samples"]), rule, reference, **fields))


def _float(name: str, reference: Callable[..., Any], *samples: Range, **fields: Any) -> None:
    """A function of floats."""
    _function(name, "float", reference, samples=samples, **fields)


def _flat(name: str, reference: Callable[..., Any], libm: str, **fields: Any) -> None:
    """A step function of a float: its derivative is zero wherever it has one."""
    _float(name, reference, ANY, libm=libm, differentiable=False, **fields)


def _compare(name: str, reference: Callable[..., Any], symbol: str, latex: str) -> None:
    _function(
        name,
        "compare",
        reference,
        samples=(ANY, ANY),
        differentiable=False,
        operator=f"({{0}} {symbol} {{1}})",
        text=f"{{0}} {symbol} {{1}}",
        latex=f"{{0}} {latex} {{1}}",
    )


def _by_python(function: Callable[[float], float]) -> Callable[[Any], Any]:
    """A NumPy function from one of Python's `math` module."""
    each = np.vectorize(function, otypes=[np.float64])
    return lambda x: each(x).astype(np.asarray(x).dtype)


def _latex(name: str) -> str:
    return rf"\{name}\left({{0}}\right)"


ANY: Range = (-3.0, 3.0)
POSITIVE: Range = (0.2, 4.0)
UNIT: Range = (-0.9, 0.9)
ONE, ZERO = const(1.0), const(0.0)


# The stanzas are laid out as a table; the formatter would put each field on a line of its own.
# fmt: off

# --- Arithmetic. Partials this plain are stated, so that simple models never load SymPy. ---

_function("add", "numeric", np.add, samples=(ANY, ANY), operator="({0} + {1})", sympy="x + y",
          partials=(lambda x, y, out: ONE, lambda x, y, out: ONE),
          text="{0} + {1}", latex="{0} + {1}")
_function("sub", "numeric", np.subtract, samples=(ANY, ANY), operator="({0} - {1})", sympy="x - y",
          partials=(lambda x, y, out: ONE, lambda x, y, out: -ONE),
          text="{0} - {1}", latex="{0} - {1}")
_function("mul", "numeric", np.multiply, samples=(ANY, ANY), operator="({0} * {1})", sympy="x*y",
          partials=(lambda x, y, out: y, lambda x, y, out: x),
          text="{0}*{1}", latex=r"{0} \cdot {1}")
_function("div", "float", np.divide, samples=(ANY, POSITIVE), operator="({0} / {1})", sympy="x/y",
          partials=(lambda x, y, out: ONE / y, lambda x, y, out: -(out / y)),
          text="{0}/{1}", latex=r"\frac{{{0}}}{{{1}}}")
_function("neg", "numeric", np.negative, samples=(ANY,), operator="(-{0})", sympy="-x",
          partials=(lambda x, out: -ONE,), text="-{0}", latex="-{0}")

# x**y. In x: y*x**(y-1), and 0 for y = 0 also at x = 0. In y: log(x)*x**y, continued by 0 to
# x <= 0, where a real power has no derivative in its exponent; the inner `select` keeps log finite.
_float("pow", np.power, POSITIVE, ANY, libm="pow", sympy="x**y",
       partials=(lambda x, y, out: select(call("eq", y, 0.0), 0.0, y * call("pow", x, y - 1.0)),
                 lambda x, y, out: select(call("le", x, 0.0), 0.0, out * _log_where_positive(x))),
       text="{0}**{1}", latex="{{{0}}}^{{{1}}}")

# Division that rounds down. Floats go by fmod, as NumPy and Python do, since floor(x/y) may round
# up across an integer: 1 // 0.1 is 9. Integers: C truncates, traps on zero, overflows on y = -1.
_float("fmod", np.fmod, (0.3, 5.0), (0.7, 0.9), libm="fmod",
       partials=(lambda x, y, out: ONE, lambda x, y, out: -call("trunc", x / y)))
_float("floordiv", np.floor_divide, ANY, POSITIVE, differentiable=False,
       expand=lambda x, y: _float_floordiv(x, y),
       text="{0} // {1}", latex=r"\left\lfloor {0} / {1} \right\rfloor")
_float("mod", np.mod, (0.3, 0.6), (0.7, 0.9), expand=lambda x, y: _float_mod(x, y),
       partials=(lambda x, y, out: ONE, lambda x, y, out: -call("floordiv", x, y)),
       text="{0} % {1}", latex=r"{0} \bmod {1}")
_function("int_floordiv", "integer", np.floor_divide, samples=(ANY, POSITIVE), differentiable=False,
          operator="({1} == 0 ? 0 : {1} == -1 ? 0 - {0} : {0} / {1}"
                   " - (({0} % {1} != 0) & (({0} < 0) != ({1} < 0))))",
          text="{0} // {1}", latex=r"\left\lfloor {0} / {1} \right\rfloor")
_function("int_mod", "integer", np.mod, samples=(ANY, POSITIVE), differentiable=False,
          operator="({1} == 0 ? 0 : {1} == -1 ? 0 : {0} % {1}"
                   " + {1} * (({0} % {1} != 0) & (({0} < 0) != ({1} < 0))))",
          text="{0} % {1}", latex=r"{0} \bmod {1}")

# Powers of integers are integers, by squaring: exact wherever the power fits its type. A negative
# exponent gives 0 but for the bases 1 and -1, as in PyTorch.
_function("int_pow", "integer", lambda x, y: _integer_power(x, y), samples=(ANY, (-1.0, 4.0)),
          differentiable=False, expand=lambda x, y: _int_pow(x, y),
          text="{0}**{1}", latex="{{{0}}}^{{{1}}}")
_function("int_pow_step", "integer", lambda power, x: power * power * x, samples=(ANY, ANY),
          differentiable=False, expand=lambda power, x: power * power * x)

# --- Exponentials and logarithms ---

_float("exp", np.exp, ANY, libm="exp", sympy="exp(x)", partials=(lambda x, out: out,),
       latex="e^{{{0}}}")
_float("exp2", np.exp2, ANY, libm="exp2", sympy="2**x",
       partials=(lambda x, out: out * math.log(2.0),), latex="2^{{{0}}}")
_float("expm1", np.expm1, ANY, libm="expm1", sympy="exp(x) - 1",
       partials=(lambda x, out: out + 1.0,), latex="e^{{{0}}} - 1")
_float("log", np.log, POSITIVE, libm="log", sympy="log(x)", latex=_latex("ln"),
       partials=(lambda x, out: ONE / x,))
_float("log2", np.log2, POSITIVE, libm="log2", sympy="log(x)/log(2)",
       partials=(lambda x, out: (1.0 / math.log(2.0)) / x,), latex=r"\log_2\left({0}\right)")
_float("log10", np.log10, POSITIVE, libm="log10", sympy="log(x)/log(10)",
       partials=(lambda x, out: (1.0 / math.log(10.0)) / x,), latex=r"\log_{{10}}\left({0}\right)")
_float("log1p", np.log1p, (-0.6, 3.0), libm="log1p", sympy="log(1 + x)",
       latex=r"\ln\left(1 + {0}\right)")
_float("sqrt", np.sqrt, POSITIVE, libm="sqrt", sympy="sqrt(x)",
       partials=(lambda x, out: 0.5 / out,), latex=r"\sqrt{{{0}}}")
_float("rsqrt", lambda x: 1 / np.sqrt(x), POSITIVE, sympy="1/sqrt(x)",
       expand=lambda x: 1.0 / call("sqrt", x),
       partials=(lambda x, out: -0.5 * out / x,), latex=r"\frac{{1}}{{\sqrt{{{0}}}}}")
_float("cbrt", np.cbrt, POSITIVE, libm="cbrt",  # SymPy's x**(1/3) is complex for x < 0
       partials=(lambda x, out: 1.0 / (3.0 * out * out),), latex=r"\sqrt[3]{{{0}}}")

# --- Trigonometric and hyperbolic ---

_float("sin", np.sin, ANY, libm="sin", sympy="sin(x)", latex=_latex("sin"))
_float("cos", np.cos, ANY, libm="cos", sympy="cos(x)", latex=_latex("cos"))
_float("tan", np.tan, (-1.2, 1.2), libm="tan", sympy="tan(x)", latex=_latex("tan"),
       partials=(lambda x, out: out * out + 1.0,))
_float("asin", np.arcsin, UNIT, libm="asin", sympy="asin(x)", latex=_latex("arcsin"))
_float("acos", np.arccos, UNIT, libm="acos", sympy="acos(x)", latex=_latex("arccos"))
_float("atan", np.arctan, ANY, libm="atan", sympy="atan(x)", latex=_latex("arctan"))
_float("sinh", np.sinh, ANY, libm="sinh", sympy="sinh(x)", latex=_latex("sinh"))
_float("cosh", np.cosh, ANY, libm="cosh", sympy="cosh(x)", latex=_latex("cosh"))
_float("tanh", np.tanh, ANY, libm="tanh", sympy="tanh(x)", latex=_latex("tanh"),
       partials=(lambda x, out: 1.0 - out * out,))
_float("asinh", np.arcsinh, ANY, libm="asinh", sympy="asinh(x)")
_float("acosh", np.arccosh, (1.2, 4.0), libm="acosh", sympy="acosh(x)")
_float("atanh", np.arctanh, UNIT, libm="atanh", sympy="atanh(x)")
_float("atan2", np.arctan2, ANY, POSITIVE, libm="atan2", sympy="atan2(x, y)")
_float("hypot", np.hypot, POSITIVE, POSITIVE, libm="hypot", sympy="sqrt(x**2 + y**2)",
       partials=(lambda x, y, out: x / out, lambda x, y, out: y / out))
_float("logaddexp", np.logaddexp, ANY, ANY, expand=lambda x, y: _log_add_exp(x, y),
       partials=(lambda x, y, out: call("sigmoid", x - y),
                 lambda x, y, out: call("sigmoid", y - x)))

# --- The error function ---

_float("erf", _by_python(math.erf), ANY, libm="erf", sympy="erf(x)")
_float("erfc", _by_python(math.erfc), ANY, libm="erfc", sympy="erfc(x)")

# --- Steps and kinks ---

# SymPy's abs'(0) is undefined and its Max'(0) is 1/2; here abs'(0) = relu'(0) = 0.
_float("abs", np.abs, POSITIVE, libm="fabs", partials=(lambda x, out: call("sign", x),),
       text="|{0}|", latex=r"\left|{0}\right|")
_function("sign", "numeric", np.sign, samples=(POSITIVE,), differentiable=False,
          expand=lambda x: select(call("gt", x, 0.0), 1.0, select(call("lt", x, 0.0), -1.0, x)))
_flat("floor", np.floor, libm="floor", latex=r"\left\lfloor {0} \right\rfloor")
_flat("ceil", np.ceil, libm="ceil", latex=r"\left\lceil {0} \right\rceil")
_flat("round", np.rint, libm="rint", doc="Halves go to the even neighbour.")
_flat("trunc", np.trunc, libm="trunc")
_function("relu", "numeric", lambda x: np.maximum(x, 0), samples=(POSITIVE,),
          expand=lambda x: select(call("lt", x, 0.0), 0.0, x),
          partials=(lambda x, out: select(call("le", x, 0.0), 0.0, 1.0),))
# `x != x` holds for NaN alone, also where the arguments are integers and isnan is not allowed.
_function("minimum", "numeric", np.minimum, samples=((0.2, 1.0), (1.1, 2.0)),
          expand=lambda x, y: select(call("or", call("lt", x, y), call("ne", x, x)), x, y),
          partials=(lambda x, y, out: _share(y, x), lambda x, y, out: _share(x, y)),
          text="min({0}, {1})", latex=r"\min\left({0}, {1}\right)")
_function("maximum", "numeric", np.maximum, samples=((0.2, 1.0), (1.1, 2.0)),
          expand=lambda x, y: select(call("or", call("gt", x, y), call("ne", x, x)), x, y),
          partials=(lambda x, y, out: _share(x, y), lambda x, y, out: _share(y, x)),
          text="max({0}, {1})", latex=r"\max\left({0}, {1}\right)")
_function("where", "select", np.where, samples=((0.0, 1.0), ANY, ANY), operator="({0} ? {1} : {2})",
          partials=(None, lambda c, x, y, out: select(c, 1.0, 0.0),
                    lambda c, x, y, out: select(c, 0.0, 1.0)),
          latex=r"\begin{{cases}}{1} & {0}\\{2} & \text{{else}}\end{{cases}}")

# --- Comparisons and logic ---

_compare("lt", np.less, "<", "<")
_compare("le", np.less_equal, "<=", r"\le")
_compare("gt", np.greater, ">", ">")
_compare("ge", np.greater_equal, ">=", r"\ge")
_compare("eq", np.equal, "==", "=")
_compare("ne", np.not_equal, "!=", r"\ne")
_function("and", "logical", np.bitwise_and, samples=(ANY, ANY), differentiable=False,
          operator="({0} & {1})", text="{0} & {1}", latex=r"{0} \land {1}")
_function("or", "logical", np.bitwise_or, samples=(ANY, ANY), differentiable=False,
          operator="({0} | {1})", text="{0} | {1}", latex=r"{0} \lor {1}")
_function("xor", "logical", np.bitwise_xor, samples=(ANY, ANY), differentiable=False,
          operator="({0} ^ {1})", text="{0} ^ {1}", latex=r"{0} \oplus {1}")
_function("not", "logical", np.logical_not, samples=(ANY,), differentiable=False,
          operator="(!{0})", text="~{0}", latex=r"\lnot {0}",
          doc="Of truth values; the complement of an integer is `xor` with all ones.")
_function("isnan", "predicate", np.isnan, samples=(ANY,), differentiable=False,
          operator="({0} != {0})")
_function("isfinite", "predicate", np.isfinite, samples=(ANY,), differentiable=False,
          operator="({0} - {0} == 0)", doc="The difference of an infinity with itself is NaN.")

# --- Activations ---

# The partial through the result is exact at -100 too, where exp(100)/(1 + exp(100))**2 is not.
_float("sigmoid", lambda x: 1 / (1 + np.exp(-x)), ANY, sympy="1/(1 + exp(-x))",
       expand=lambda x: 1.0 / (1.0 + call("exp", -x)),
       partials=(lambda x, out: out * (1.0 - out),), latex=r"\sigma\left({0}\right)")
# One rounding less than x*sigmoid(x), and right where the sigmoid is denormal.
_float("silu", lambda x: x / (1 + np.exp(-x)), ANY, sympy="x/(1 + exp(-x))",
       expand=lambda x: x / (1.0 + call("exp", -x)),
       partials=(lambda x, out: call("sigmoid", x) + out * (1.0 - call("sigmoid", x)),))
_float("softplus", lambda x: np.logaddexp(0, x), ANY, sympy="log(1 + exp(x))",
       expand=lambda x: call("relu", x) + call("log1p", call("exp", -call("abs", x))),
       partials=(lambda x, out: call("sigmoid", x),))

# fmt: on

# --- Bodies that the stanzas name ---


def _log_where_positive(x: Scalar) -> Scalar:
    return call("log", select(call("le", x, 0.0), 1.0, x))


def _share(larger: Scalar, smaller: Scalar) -> Scalar:
    """The partial of an extremum in the argument that wins where `larger > smaller`.

    Where one is NaN neither loses, and both get the whole gradient, as in PyTorch.
    """
    wins = select(call("eq", larger, smaller), 0.5, 1.0)
    return select(call("lt", larger, smaller), 0.0, wins)


def _rounds_away(remainder: Scalar, y: Scalar) -> Scalar:
    """Whether truncated division must step down: a remainder of another sign than the divisor."""
    signs = call("ne", call("lt", remainder, 0.0), call("lt", y, 0.0))
    return call("and", call("ne", remainder, 0.0), signs)


def _float_mod(x: Scalar, y: Scalar) -> Scalar:
    remainder = call("fmod", x, y)
    return select(_rounds_away(remainder, y), remainder + y, remainder)


def _float_floordiv(x: Scalar, y: Scalar) -> Scalar:
    """`(x - fmod(x, y))/y` is an integer but for rounding, so `round` finds it."""
    remainder = call("fmod", x, y)
    quotient = call("round", (x - remainder) / y)
    stepped = select(_rounds_away(remainder, y), quotient - 1.0, quotient)
    return select(call("eq", y, 0.0), x / y, stepped)


def _integer_power(x: Any, y: Any) -> Any:
    power = np.power(x, np.maximum(y, 0))
    return np.where(y < 0, np.where(np.abs(x) == 1, np.power(x, y & 1), 0), power)


def _int_pow(x: Scalar, y: Scalar) -> Scalar:
    """From the exponent's highest bit down: square, and multiply by x where the bit is set.

    Of an exponent above 63 only its parity matters, since the base is 0, 1 or -1 then.
    """
    odd = call("and", y, 1.0)
    exponent = select(call("gt", y, 63.0), odd + 62.0, y)
    power: Scalar = ONE
    for bit in (32.0, 16.0, 8.0, 4.0, 2.0, 1.0):
        factor = select(call("ne", call("and", exponent, bit), 0.0), x, 1.0)
        power = factor if power is ONE else call("int_pow_step", power, factor)
    minus_one = call("and", call("lt", x, 0.0), call("eq", x + 1.0, 0.0))
    unit = call("or", call("eq", x, 1.0), minus_one)
    reciprocal = select(unit, select(call("ne", odd, 0.0), x, 1.0), 0.0)
    return select(call("lt", y, 0.0), reciprocal, power)


def _log_add_exp(x: Scalar, y: Scalar) -> Scalar:
    """The larger and what the smaller adds; equal infinities have no distance of NaN."""
    distance = select(call("eq", x, y), 0.0, call("abs", x - y))
    return call("maximum", x, y) + call("log1p", call("exp", -distance))
