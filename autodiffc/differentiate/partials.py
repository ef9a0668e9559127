"""Partial derivatives of the scalar functions: stated by their stanza, or derived by SymPy.

SymPy differentiates the formula of a stanza once; the result is turned into a body and remembered.
The bodies of all functions of the vocabulary are also kept in `derived.json` beside this file, so
that compiling a model does not wait for SymPy's import; a test derives them anew and compares.

    python -m autodiffc.differentiate.partials      writes derived.json again

SymPy is asked for single functions of at most three variables and never for whole bodies: its
simplifications are right for real numbers and wrong for floating point (`(x + 1e20) - 1e20`), and
at kinks and removable singularities it gives a half or NaN. Stanzas override it there.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autodiffc.errors import DifferentiationError
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import Arg, Call, Const, Scalar, call, replace_args, rewrite
from autodiffc.ops.functions import partial as stated_partial

TABLE = Path(__file__).with_name("derived.json")
SYMBOLS = "xyz"


def partial(name: str, k: int, args: Sequence[Scalar], out: Scalar, dtype: str) -> Scalar | None:
    """The partial of a function in argument `k`, at `args`; None where it is zero.

    `out` is the function's value there, `dtype` the floating type in which the call works.
    """
    function = FUNCTIONS[name]
    if not function.differentiable:
        return None
    if function.partials is not None:
        return stated_partial(name, k, args, out, dtype)
    template = rewrite(derived(name, k), lambda s: _typed(s, dtype))
    return None if template == Const(0.0, dtype) else replace_args(template, lambda j: args[j])


def _typed(s: Scalar, dtype: str) -> Scalar:
    return Const(s.value, dtype) if isinstance(s, Const) and s.dtype == "real" else s


@functools.cache
def derived(name: str, k: int) -> Scalar:
    """The partial that follows from a function's SymPy formula, over `Arg`s, constants `real`."""
    kept = _table().get(f"{name}/{k}")
    return from_data(kept) if kept is not None else derive(name, k)


@functools.cache
def _table() -> dict[str, Any]:
    if not TABLE.exists():
        return {}
    found: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return found


def derive(name: str, k: int) -> Scalar:
    """Asks SymPy for the partial of a function in argument `k`."""
    import sympy

    function = FUNCTIONS[name]
    if function.sympy is None:
        raise DifferentiationError(
            f"the function {name} has no derivative",
            found="a stanza with neither a SymPy formula nor partials",
            help="ad.stop_gradient(...) takes a value as constant",
        )
    symbols = sympy.symbols(" ".join(SYMBOLS[: function.arity]), real=True, seq=True)
    names = {str(s): s for s in symbols}
    formula = sympy.sympify(function.sympy, locals=names)
    return from_sympy(sympy.diff(formula, symbols[k]), {s: j for j, s in enumerate(symbols)})


# --- SymPy to bodies ---

_NAMES = {"Abs": "abs", "ceiling": "ceil"}  # where SymPy's class is not called as the function


def from_sympy(expression: Any, positions: dict[Any, int]) -> Scalar:
    """A SymPy expression as a body; what has no counterpart is an error that shows it."""
    if expression in positions:
        return Arg(positions[expression])
    if expression.is_number:
        return Const(_number(expression), "real")
    if expression.is_Add:
        return _add(expression, positions)
    if expression.is_Mul:
        return _mul(expression, positions)
    if expression.is_Pow:
        base, exponent = (from_sympy(a, positions) for a in expression.args)
        return _power(base, expression.exp, exponent)
    name = type(expression).__name__
    name = _NAMES.get(name, name)
    if name not in FUNCTIONS or FUNCTIONS[name].arity != len(expression.args):
        raise _unknown(expression)
    return Call(name, tuple(from_sympy(a, positions) for a in expression.args))


def _number(expression: Any) -> float:
    """A constant such as `2/sqrt(pi)`, evaluated as a whole and rounded once."""
    value = expression.evalf(30)
    if not (value.is_real and value.is_finite):
        raise _unknown(expression)
    return float(value)


def _unknown(expression: Any) -> DifferentiationError:
    return DifferentiationError(
        "SymPy's derivative contains something that bodies do not have",
        found=str(expression),
        expected="real numbers, sums, products, powers and the functions of ops/functions.py",
        help="give the function's entry `partials` instead of a SymPy formula",
    )


def _add(expression: Any, positions: dict[Any, int]) -> Scalar:
    """A sum in SymPy's order of printing, subtracting terms with a minus sign."""
    total: Scalar | None = None
    for term in expression.as_ordered_terms():
        negative = term.could_extract_minus_sign()
        body = from_sympy(-term if negative else term, positions)
        if total is None:
            total = -body if negative else body
        else:
            total = total - body if negative else total + body
    assert total is not None
    return total


def _mul(expression: Any, positions: dict[Any, int]) -> Scalar:
    """A product as numerator over denominator."""
    if expression.could_extract_minus_sign():
        return -from_sympy(-expression, positions)
    number, rest = expression.as_independent(*positions, as_Add=False)
    numerator, denominator = rest.as_numer_denom()
    if denominator != 1:
        return from_sympy(number * numerator, positions) / from_sympy(denominator, positions)
    factors = [from_sympy(f, positions) for f in rest.as_ordered_factors()]
    if number != 1:
        factors.insert(0, from_sympy(number, positions))
    return functools.reduce(lambda a, b: a * b, factors)


def _power(base: Scalar, exponent: Any, exponent_body: Scalar) -> Scalar:
    """Small integer powers as products, halves as roots, anything else as `pow`."""
    if exponent.is_Rational and exponent < 0:
        return 1.0 / _power(base, -exponent, Const(-float(exponent), "real"))
    if exponent.is_Integer and exponent <= 4:
        total = base
        for _ in range(int(exponent) - 1):
            total = total * base
        return total
    if exponent.is_Rational and exponent.q == 2 and exponent.p == 1:
        return call("sqrt", base)
    return call("pow", base, exponent_body)


# --- Bodies to data and back ---


def to_data(body: Scalar) -> Any:
    """A body over floats as nested lists: 0 is Arg(0), {"c": 1.0} a constant."""
    if isinstance(body, Arg):
        return body.position
    if isinstance(body, Const):
        return {"c": body.value}
    assert isinstance(body, Call)
    return [body.function, *(to_data(a) for a in body.args)]


def from_data(data: Any) -> Scalar:
    if isinstance(data, int):
        return Arg(data)
    if isinstance(data, dict):
        return Const(data["c"], "real")
    return Call(data[0], tuple(from_data(a) for a in data[1:]))


def derive_all() -> dict[str, Any]:
    """Every partial that SymPy derives for the vocabulary."""
    return {
        f"{name}/{k}": to_data(derive(name, k))
        for name, function in sorted(FUNCTIONS.items())
        if function.differentiable and function.partials is None
        for k in range(function.arity)
    }


def write_table() -> None:
    """Writes `derived.json` anew."""
    lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in derive_all().items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write_table()
