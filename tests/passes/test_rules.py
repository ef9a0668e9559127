"""Every line of the table of algebra, tried on all combinations of awkward numbers.

A rule must keep every value, infinities and NaN included. What its comment admits is allowed: a
zero of the other sign, and rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

import autodiffc.ops.functions  # noqa: F401  (fills the table of functions)
from autodiffc.errors import DtypeError
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Scalar,
    children,
    dtype_of,
    with_children,
)
from autodiffc.passes import rules
from autodiffc.passes.rules import simplify_body, typed

LINES = [line for line in rules.RULES.splitlines() if line.split("#")[0].strip()]
AWKWARD = (0.0, -0.0, 1.0, -1.5, 3.0, np.inf, -np.inf, np.nan)
WHOLE = (0, 1, -1, 3, -7)


def letters(pattern: Scalar) -> list[str]:
    if isinstance(pattern, rules._Any):
        return [pattern.name]
    return list(dict.fromkeys(n for k in children(pattern) for n in letters(k)))


def instance(pattern: Scalar, values: Mapping[str, Scalar], dtype: str) -> Scalar:
    if isinstance(pattern, rules._Any):
        return values[pattern.name]
    if isinstance(pattern, Const):
        return pattern if pattern.dtype == "bool" else typed(pattern.value, dtype)
    return with_children(pattern, tuple(instance(k, values, dtype) for k in children(pattern)))


def evaluate(body: Scalar) -> np.generic:
    if isinstance(body, Const):
        return np.asarray(body.value).astype(body.dtype)[()]
    assert isinstance(body, Call)
    with np.errstate(all="ignore"):
        return np.asarray(FUNCTIONS[body.function].reference(*map(evaluate, body.args)))[()]


def typings(pattern: Scalar, condition: str | None) -> Iterator[dict[str, str]]:
    """The types its letters may have for the pattern to be well typed."""
    number = "int64" if condition == "integer" else "float64"
    names = letters(pattern)
    for chosen in itertools.product((number, "bool"), repeat=len(names)):
        types = dict(zip(names, chosen, strict=True))
        sample = {n: typed(1, t) for n, t in types.items()}
        try:
            dtype_of(instance(pattern, sample, number), ())
        except DtypeError:
            continue
        yield types


@pytest.mark.parametrize("line", LINES)
def test_rule_keeps_values(line: str) -> None:
    text, _, comment = line.partition("#")
    formula, _, condition = text.strip().partition(" if ")
    left, right = (rules._parse(side) for side in formula.split("->"))
    number = "int64" if condition == "integer" else "float64"
    tried = 0
    for types in typings(left, condition or None):
        choices = [
            (False, True) if t == "bool" else WHOLE if t == "int64" else AWKWARD
            for t in types.values()
        ]
        for numbers in itertools.product(*choices):
            values = {n: Const(v, types[n]) for n, v in zip(types, numbers, strict=True)}
            a, b = (evaluate(instance(side, values, number)) for side in (left, right))
            tried += 1
            assert_allowed(a, b, comment, values)
    assert tried > 0


def assert_allowed(a: np.generic, b: np.generic, comment: str, values: dict[str, Const]) -> None:
    if "rounds" in comment:
        np.testing.assert_allclose(b, a, rtol=1e-14)
        return
    same = a == b or (a != a and b != b)
    assert same, (a, b, values)
    if "0 becomes" not in comment and a == a:
        assert np.signbit(float(a)) == np.signbit(float(b)), (a, b, values)


@pytest.mark.parametrize("line", LINES)
def test_rule_fires(line: str) -> None:
    """Each rule is reached: nothing before it in the table shadows it for plain letters."""
    formula, _, condition = line.partition("#")[0].strip().partition(" if ")
    left, right = (rules._parse(side) for side in formula.split("->"))
    number = "int64" if condition == "integer" else "float64"
    tried = 0
    for types in typings(left, condition or None):
        if condition == "bool" and number in types.values():
            continue
        plain = {n: Arg(k) for k, n in enumerate(types) if n not in ("c", "d")}
        numbers = {n: Const(2.5, t) for n, t in types.items() if n in ("c", "d")}
        body = instance(left, plain | numbers, number)
        dtypes = list(types.values())
        wanted = rules._fill(right, plain | numbers, dtype_of(body.args[-1], dtypes))  # type: ignore[attr-defined]
        assert rules._step(body, dtypes) == wanted
        tried += 1
    assert tried > 0


def test_a_product_with_a_mask_is_no_selection() -> None:
    """An infinity times a mask's zero is NaN."""
    mask = Call("gt", (Arg(1), Const(0.0, "float64")))
    ones = Call("where", (mask, Const(1.0, "float64"), Const(0.0, "float64")))
    assert simplify_body(Arg(0) * ones, ["float64", "float64"]) == Arg(0) * ones


def test_rules_follow_one_another() -> None:
    x, y = Arg(0), Arg(1)
    floats = ["float64", "float64"]
    minus = -(x * Const(1.0, "float64"))
    assert simplify_body(-minus, floats) == x
    assert simplify_body(x + -(y * Const(2.0, "float64")), floats) == x + y * Const(-2.0, "float64")
    assert simplify_body(x / Const(8.0, "float64"), floats) == x * Const(0.125, "float64")
    assert simplify_body(x / Const(3.0, "float64"), floats) == x / Const(3.0, "float64")


def test_sums_are_not_reassociated() -> None:
    big = Const(1e20, "float64")
    body = (Arg(0) + big) - big
    assert simplify_body(body, ["float64"]) == body


def test_constants_fold_in_their_type() -> None:
    """In float32 the sum is the number next to 0.3; its shortest decimal is taken."""
    tenth, fifth = Const(0.1, "float32"), Const(0.2, "float32")
    assert simplify_body(tenth + fifth, ()) == Const(0.3, "float32")
    assert simplify_body(Call("div", (Const(7.0, "float64"), Const(2.0, "float64"))), ()) == Const(
        3.5, "float64"
    )
    overflow = Call("exp", (Const(1000.0, "float64"),))
    assert simplify_body(overflow, ()) == overflow


def test_casts() -> None:
    twice = Cast("float32", Cast("float64", Arg(0)))
    assert simplify_body(twice, ["float32"]) == Arg(0)
    assert simplify_body(Cast("float64", Cast("int32", Arg(0))), ["float64"]) == Cast(
        "float64", Cast("int32", Arg(0))
    )
    assert simplify_body(Cast("bool", Const(2.5, "float64")), ()) == Const(True, "bool")


def test_comparisons_see_through_casts_that_lose_nothing() -> None:
    a, b = Cast("int64", Arg(0)), Cast("int64", Arg(1))
    assert simplify_body(Call("lt", (a, b)), ["int32", "int32"]) == Call("lt", (Arg(0), Arg(1)))
    seven, huge = Const(7, "int64"), Const(2**40, "int64")
    narrow = Call("ge", (Const(7, "int32"), Arg(0)))
    assert simplify_body(Call("ge", (seven, a)), ["int32"]) == narrow
    for body, dtypes in (
        (Call("lt", (a, huge)), ["int32"]),
        (Call("lt", (a, b)), ["int32", "uint8"]),
        (Call("lt", (Cast("float32", Arg(0)), Cast("float32", Arg(1)))), ["int32", "int32"]),
        (Call("eq", (Cast("float64", Arg(0)), Const(0.5, "float64"))), ["int32"]),
        (Call("eq", (Cast("bool", Arg(0)), Cast("bool", Arg(1)))), ["int32", "int32"]),
    ):
        assert simplify_body(body, dtypes) == body
