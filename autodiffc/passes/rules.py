"""The algebra that `simplify` knows, as a table one can read aloud.

    x + 0 -> x          a rule: whatever matches the left becomes the right
    ... if integer      only where the operation works on integers

Letters `x y z` stand for any bodies (the same letter for equal ones), `c d` for numbers. A number
matches a constant of that value; on the right it takes the type that the operation works in.
The operands of commutative functions match in either order.

What a rule may change is stated once, here. Sums and products are never reassociated. NaN stays NaN
and infinities stay what they are: `x * 0` is 0 for integers only, and `x * where(c, 1, 0)` is no
`where(c, x, 0)`, which would turn an infinity that is masked out from NaN into 0. (Gradients are
born as selections, see `differentiate.chain.times`.) The sign of a zero may change (x + 0), and
rounding where the table says so.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import numpy as np

from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Number,
    Scalar,
    children,
    dtype_of,
    with_children,
)
from autodiffc.graph.types import is_float, is_integer

RULES = """
x * 1 -> x
x * -1 -> -x
x * 0 -> 0                                      if integer
x + 0 -> x                                      # -0 becomes 0
x - 0 -> x
0 - x -> -x                                     # 0 becomes -0
x - x -> 0                                      if integer
x / 1 -> x
x / -1 -> -x

-(-x) -> x
x + -y -> x - y
x - -y -> x + y
-x - y -> -(x + y)                              # 0 becomes -0
-(x - y) -> y - x                               # 0 becomes -0
-x * -y -> x * y
-x * c -> x * -c
-(x * c) -> x * -c
-x * y -> -(x * y)
-x / -y -> x / y
-x / c -> x / -c
-x / y -> -(x / y)
x / -y -> -(x / y)

x ** 1 -> x
x ** 0 -> 1
x ** 2 -> x * x
x ** 3 -> x * x * x                             # rounds twice
x ** -1 -> 1 / x
x ** -2 -> 1 / (x * x)                          # rounds twice
x ** -3 -> 1 / (x * x * x)                      # rounds twice
x ** -4 -> 1 / ((x * x) * (x * x))              # rounds twice

where(true, x, y) -> x
where(false, x, y) -> y
where(x, y, y) -> y
where(x, true, false) -> x
where(not_(x), y, z) -> where(x, z, y)
where(x, where(x, y, z), w) -> where(x, y, w)
where(x, y, where(x, z, w)) -> where(x, y, w)

x == x -> true                                  if integer
x != x -> false                                 if integer
x <= x -> true                                  if integer
x >= x -> true                                  if integer
x < x -> false
x > x -> false
not_(not_(x)) -> x                              if bool
not_(x == y) -> x != y
not_(x != y) -> x == y
not_(x < y) -> x >= y                           if integer
not_(x <= y) -> x > y                           if integer
not_(x > y) -> x <= y                           if integer
not_(x >= y) -> x < y                           if integer
and_(x, x) -> x
or_(x, x) -> x
and_(x, true) -> x
and_(x, false) -> false
or_(x, false) -> x
or_(x, true) -> true

maximum(x, x) -> x
minimum(x, x) -> x
abs_(-x) -> abs_(x)
abs_(abs_(x)) -> abs_(x)
relu(relu(x)) -> relu(x)
relu(x) > 0 -> x > 0
relu(x) <= 0 -> x <= 0
"""

COMMUTATIVE = frozenset(["add", "mul", "maximum", "minimum", "and", "or", "xor", "eq", "ne"])

# an inner cast that loses nothing may be skipped: (from, to)
EXACT_CASTS = frozenset(
    [("bool", d) for d in ("uint8", "int32", "int64", "float32", "float64")]
    + [("uint8", d) for d in ("int32", "int64", "float32", "float64")]
    + [("int32", "int64"), ("int32", "float64"), ("float32", "float64")]
)


# --- Patterns ---


@dataclass(frozen=True)
class _Any(Scalar):
    """A letter of a pattern."""

    name: str

    @property
    def numeric(self) -> bool:
        return self.name in ("c", "d")


@dataclass(frozen=True)
class _Rule:
    pattern: Call
    result: Scalar
    condition: str | None
    heads: tuple[str | None, ...]  # what the arguments start with, None for anything


_OPERATORS: dict[type, str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}


def _parse(text: str) -> Scalar:
    return _build(ast.parse(text.strip(), mode="eval").body)


def _build(tree: ast.expr) -> Scalar:
    if isinstance(tree, ast.Name):
        if tree.id in ("true", "false"):
            return Const(tree.id == "true", "bool")
        return _Any(tree.id)
    if isinstance(tree, ast.Constant):
        return Const(tree.value, "number")  # type: ignore[arg-type]
    if isinstance(tree, ast.UnaryOp):
        if isinstance(tree.operand, ast.Constant):
            return Const(-tree.operand.value, "number")  # type: ignore[operator,arg-type]
        return Call("neg", (_build(tree.operand),))
    if isinstance(tree, ast.BinOp):
        return Call(_OPERATORS[type(tree.op)], (_build(tree.left), _build(tree.right)))
    if isinstance(tree, ast.Compare):
        sides = (_build(tree.left), _build(tree.comparators[0]))
        return Call(_OPERATORS[type(tree.ops[0])], sides)
    assert isinstance(tree, ast.Call)
    assert isinstance(tree.func, ast.Name)
    return Call(tree.func.id.rstrip("_"), tuple(_build(a) for a in tree.args))


def _read_table() -> dict[str, tuple[_Rule, ...]]:
    table: dict[str, list[_Rule]] = {}
    for line in RULES.splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        formula, _, condition = text.partition(" if ")
        left, right = formula.split("->")
        pattern = _parse(left)
        assert isinstance(pattern, Call)
        rule = _Rule(pattern, _parse(right), condition.strip() or None, _heads(pattern))
        table.setdefault(pattern.function, []).append(rule)
    return {name: tuple(rules) for name, rules in table.items()}


def _heads(body: Call) -> tuple[str | None, ...]:
    """The function that each argument calls, or "number"; None for what may be anything."""
    return tuple(_head(a) for a in body.args)


def _head(scalar: Scalar) -> str | None:
    if isinstance(scalar, Call):
        return scalar.function
    number = scalar.numeric if isinstance(scalar, _Any) else isinstance(scalar, Const)
    return "number" if number else None


_TABLE = _read_table()


def _may_match(rule: _Rule, heads: tuple[str | None, ...]) -> bool:
    """Whether a call whose arguments have these heads may match: a look before the real thing."""
    return _agree(rule.heads, heads) or (
        rule.pattern.function in COMMUTATIVE and _agree(rule.heads, heads[::-1])
    )


def _agree(wanted: tuple[str | None, ...], heads: tuple[str | None, ...]) -> bool:
    return all(w is None or w == h for w, h in zip(wanted, heads, strict=True))


def _match(pattern: Scalar, scalar: Scalar, found: dict[str, Scalar]) -> dict[str, Scalar] | None:
    """The bodies that the pattern's letters stand for, None where it does not match."""
    if isinstance(pattern, _Any):
        known = found.get(pattern.name)
        if known is not None:
            return found if known == scalar else None
        if pattern.numeric and not isinstance(scalar, Const):
            return None
        return {**found, pattern.name: scalar}
    if isinstance(pattern, Const):
        return found if isinstance(scalar, Const) and _same_number(pattern, scalar) else None
    assert isinstance(pattern, Call)
    if not isinstance(scalar, Call) or scalar.function != pattern.function:
        return None
    result = _match_all(pattern.args, scalar.args, found)
    if result is None and pattern.function in COMMUTATIVE:
        result = _match_all(pattern.args, scalar.args[::-1], found)
    return result


def _match_all(
    patterns: Sequence[Scalar], scalars: Sequence[Scalar], found: dict[str, Scalar]
) -> dict[str, Scalar] | None:
    result: dict[str, Scalar] | None = found
    for pattern, scalar in zip(patterns, scalars, strict=True):
        if result is None:
            return None
        result = _match(pattern, scalar, result)
    return result


def _same_number(pattern: Const, scalar: Const) -> bool:
    if pattern.dtype == "bool" or scalar.dtype == "bool":
        return pattern.dtype == scalar.dtype and pattern.value == scalar.value
    return pattern.value == scalar.value


def _fill(result: Scalar, found: dict[str, Scalar], dtype: str) -> Scalar:
    """The right side with its letters replaced and its numbers typed."""
    if isinstance(result, _Any):
        return found[result.name]
    if isinstance(result, Const):
        return result if result.dtype == "bool" else typed(result.value, dtype)
    assert isinstance(result, Call)
    args = tuple(_fill(a, found, dtype) for a in result.args)
    if result.function == "neg" and isinstance(args[0], Const):
        return typed(-args[0].value, args[0].dtype)
    return Call(result.function, args)


def typed(value: Number, dtype: str) -> Const:
    """A constant whose Python value is of the kind that its type has."""
    convert = float if is_float(dtype) else bool if dtype == "bool" else int
    return Const(convert(value), dtype)


# --- One step ---


def simplify_body(
    body: Scalar, dtypes: Sequence[str], simple: Container[int] = frozenset()
) -> Scalar:
    """The body after every rule of the table was applied until none fits.

    `dtypes` are the types of the elements that the body reads; `simple` the ids of parts that need
    no look any more.
    """
    if id(body) in simple:
        return body
    kids = children(body)
    if kids:
        body = with_children(body, tuple([simplify_body(k, dtypes, simple) for k in kids]))
    changed = _step(body, dtypes)
    # a right side is made of parts that are simple already, but may match further rules
    return body if changed is None else simplify_body(changed, dtypes, simple)


def _step(body: Scalar, dtypes: Sequence[str]) -> Scalar | None:
    """The result of the first rule that fits, None where none does."""
    if isinstance(body, Cast):
        return _cast(body, dtypes)
    if not isinstance(body, Call):
        return None
    folded = _fold(body)
    if folded is not None:
        return folded
    heads = _heads(body)
    for rule in _TABLE.get(body.function, ()):
        if not _may_match(rule, heads):
            continue
        found = _match(rule.pattern, body, {})
        if found is not None and _holds(rule.condition, body, dtypes):
            return _fill(rule.result, found, dtype_of(body.args[-1], dtypes))
    return _power_of_two(body) or _narrow(body, dtypes)


def _holds(condition: str | None, body: Call, dtypes: Sequence[str]) -> bool:
    if condition is None:
        return True
    operand = body.args[0]
    while isinstance(operand, Call) and FUNCTIONS[operand.function].rule == "compare":
        operand = operand.args[0]  # what a negated comparison compares
    dtype = dtype_of(operand, dtypes)
    return dtype == "bool" if condition == "bool" else is_integer(dtype) or dtype == "bool"


def _cast(body: Cast, dtypes: Sequence[str]) -> Scalar | None:
    """Casts of constants, to the type a body has already, and over casts that lose nothing."""
    x = body.x
    if isinstance(x, Const):
        return _evaluate(lambda v: v, (x,), body.dtype)
    inner = dtype_of(x, dtypes)
    if inner == body.dtype:
        return x
    if isinstance(x, Cast):
        source = dtype_of(x.x, dtypes)
        if (source, x.dtype) in EXACT_CASTS:
            return Cast(body.dtype, x.x)
    return None


# --- Constants ---


def _fold(body: Call) -> Const | None:
    """The value of a call over constants, where it is finite."""
    if not all(isinstance(a, Const) for a in body.args):
        return None
    function = FUNCTIONS[body.function]
    dtype = dtype_of(body, ())
    args = tuple(a for a in body.args if isinstance(a, Const))
    return _evaluate(function.reference, args, dtype)


def _evaluate(function: Callable[..., object], args: Sequence[Const], dtype: str) -> Const | None:
    """NumPy's answer in the types of the arguments, None where it is no finite number."""
    with np.errstate(all="ignore"):
        values = [np.asarray(a.value).astype(_numpy(a.dtype)) for a in args]
        result = np.asarray(function(*values)).astype(_numpy(dtype))
    if is_float(dtype):
        # the shortest decimal that means this number in its type
        value = float(str(result[()]))
        return Const(value, dtype) if math.isfinite(value) else None
    return typed(result.item(), dtype)


def _numpy(dtype: str) -> str:
    return "float64" if dtype == "real" else dtype


def _power_of_two(body: Call) -> Scalar | None:
    """`x / 2**n -> x * 2**-n`: exact, and a multiplication is cheaper."""
    if body.function != "div" or not isinstance(body.args[1], Const):
        return None
    divisor = body.args[1]
    fraction, exponent = math.frexp(float(divisor.value))
    if abs(fraction) != 0.5 or abs(exponent) > 100:
        return None
    return Call("mul", (body.args[0], Const(1.0 / float(divisor.value), divisor.dtype)))


def _narrow(body: Call, dtypes: Sequence[str]) -> Call | None:
    """`cast(x) < cast(y) -> x < y` where the casts lose nothing; a number may be on one side."""
    if FUNCTIONS[body.function].rule != "compare":
        return None
    casts = [a for a in body.args if isinstance(a, Cast)]
    sources = {dtype_of(c.x, dtypes) for c in casts}
    if len(sources) != 1:
        return None
    (source,) = sources
    if any((source, c.dtype) not in EXACT_CASTS for c in casts):
        return None
    args = [a.x if isinstance(a, Cast) else _as_exactly(a, source) for a in body.args]
    return None if None in args else Call(body.function, tuple(a for a in args if a is not None))


def _as_exactly(body: Scalar, dtype: str) -> Const | None:
    """A number of another type that means the same."""
    if not isinstance(body, Const) or not (is_integer(body.dtype) and is_integer(dtype)):
        return None
    limits = np.iinfo(dtype)
    return Const(body.value, dtype) if limits.min <= body.value <= limits.max else None


def calls_in(body: Scalar) -> int:
    """How many functions a body calls."""
    count, stack = 0, [body]
    while stack:
        scalar = stack.pop()
        count += isinstance(scalar, Call)
        stack.extend(children(scalar))
    return count


def reads(body: Scalar, position: int) -> bool:
    """Whether a body reads the access at a position."""
    stack = [body]
    while stack:
        scalar = stack.pop()
        if isinstance(scalar, Arg) and scalar.position == position:
            return True
        stack.extend(children(scalar))
    return False
