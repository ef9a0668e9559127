"""The scalar table: what functions compute, their stated partials, and where SymPy is wrong."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from autodiffc.graph.functions import FUNCTIONS, Function
from autodiffc.graph.scalars import Arg, Call, Cast, Const, Scalar
from autodiffc.ops.functions import expansion, partial

SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -1.5, 2.0]
INTEGER_ONLY = tuple(f.name for f in FUNCTIONS.values() if f.rule in ("logical", "integer"))


def value(body: Scalar, args: list[np.ndarray], dtype: str = "float64") -> np.ndarray:
    """A body's value: the plainest interpreter there is."""
    if isinstance(body, Arg):
        return args[body.position]
    if isinstance(body, Const):
        return np.asarray(body.value, dtype if body.dtype == "real" else body.dtype)
    if isinstance(body, Cast):
        return value(body.x, args, dtype).astype(body.dtype)
    assert isinstance(body, Call)
    with np.errstate(all="ignore"):
        return np.asarray(
            FUNCTIONS[body.function].reference(*(value(a, args, dtype) for a in body.args))
        )


def arguments(function: Function, count: int = 40, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    drawn: list[Any] = [rng.uniform(low, high, count) for low, high in function.samples]
    if function.rule == "select":
        drawn[0] = drawn[0] > 0.5
    if function.name in INTEGER_ONLY:
        drawn = [a > 0 if function.name == "not" else (3 * a).astype(np.int64) for a in drawn]
    return drawn


EXPANDED = [f for f in FUNCTIONS.values() if f.expand is not None]
STATED = [f for f in FUNCTIONS.values() if f.partials is not None]


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda f: f.name)
def test_stanza_is_complete(function: Function) -> None:
    assert len(function.samples) == function.arity
    names = ["a", "b", "c"][: function.arity]
    for shown in (function.text.format(*names), function.latex.format(*names)):
        assert all(name in shown for name in names)
    assert function.sympy or function.partials or not function.differentiable
    if function.partials is not None:
        assert len(function.partials) == function.arity
    if function.operator is not None:
        assert all(f"{{{k}}}" in function.operator for k in range(function.arity))


@pytest.mark.parametrize("function", EXPANDED, ids=lambda f: f.name)
def test_expansion_equals_the_reference(function: Function) -> None:
    drawn = arguments(function)
    dtype = "int64" if function.rule == "integer" else "float64"
    body = expansion(function.name, [Arg(k) for k in range(function.arity)], dtype)
    np.testing.assert_allclose(value(body, drawn), function.reference(*drawn), rtol=1e-14)


@pytest.mark.parametrize("name", ["minimum", "maximum", "relu", "sign", "floordiv", "mod"])
def test_expansion_at_special_values(name: str) -> None:
    """NaN propagates; infinities and zeros behave as in NumPy."""
    function = FUNCTIONS[name]
    points = np.array(list(itertools.product(SPECIAL, repeat=function.arity))).T
    body = expansion(name, [Arg(k) for k in range(function.arity)], "float64")
    with np.errstate(all="ignore"):
        expected = function.reference(*points)
    np.testing.assert_array_equal(value(body, list(points)), expected)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("name", ["relu", "minimum", "maximum", "sign"])
def test_expansion_works_in_the_type_of_its_arguments(name: str, dtype: str) -> None:
    function = FUNCTIONS[name]
    points = np.array(list(itertools.product([-2, 0, 3], repeat=function.arity)), dtype).T
    got = value(expansion(name, [Arg(k) for k in range(function.arity)], dtype), list(points))
    np.testing.assert_array_equal(got, function.reference(*points))
    assert got.dtype == dtype


def test_constants_of_arguments_keep_their_type() -> None:
    body = expansion("relu", [Cast("int32", Const(1.5, "real"))], "int32")
    assert Const(1.5, "real") in (b.x for b in body.args if isinstance(b, Cast))  # type: ignore[attr-defined]


@pytest.mark.parametrize("function", STATED, ids=lambda f: f.name)
def test_stated_partials_equal_finite_differences(function: Function) -> None:
    drawn = arguments(function)
    out = function.reference(*drawn)
    for k in range(function.arity):
        body = partial(function.name, k, [Arg(j) for j in range(function.arity)], Arg(3), "float64")
        if body is None:
            assert function.rule == "select"
            continue
        step = 1e-6
        above = [a + step * (j == k) if a.dtype != bool else a for j, a in enumerate(drawn)]
        below = [a - step * (j == k) if a.dtype != bool else a for j, a in enumerate(drawn)]
        slope = (function.reference(*above) - function.reference(*below)) / (2 * step)
        slots = [*drawn, *[np.zeros(1)] * (3 - function.arity), out]
        np.testing.assert_allclose(
            np.broadcast_to(value(body, slots), slope.shape), slope, rtol=2e-6, atol=2e-8
        )


def slopes(name: str, *point: float, dtype: str = "float64") -> list[float]:
    """The stated partials at one point."""
    args = [np.asarray(p, dtype) for p in point]
    with np.errstate(all="ignore"):
        out = np.asarray(FUNCTIONS[name].reference(*args))
    found = []
    for k in range(len(args)):
        body = partial(name, k, [Arg(j) for j in range(len(args))], Arg(len(args)), dtype)
        assert body is not None
        found.append(float(value(body, [*args, out], dtype)))
    return found


def test_kinks_have_the_documented_slope() -> None:
    assert slopes("relu", 0.0) == [0.0]
    assert slopes("abs", 0.0) == [0.0]
    assert slopes("maximum", 1.0, 1.0) == [0.5, 0.5]
    assert slopes("minimum", 1.0, 1.0) == [0.5, 0.5]
    assert slopes("maximum", 2.0, 1.0) == [1.0, 0.0]
    assert slopes("minimum", 2.0, 1.0) == [0.0, 1.0]


def test_powers_have_slopes_at_zero() -> None:
    assert slopes("pow", 0.0, 2.0) == [0.0, 0.0]
    assert slopes("pow", 0.0, 1.0) == [1.0, 0.0]
    assert slopes("pow", 0.0, 0.0) == [0.0, 0.0]
    assert slopes("pow", -2.0, 3.0) == [12.0, 0.0]


@pytest.mark.parametrize("x", [-100.0, 100.0])
def test_sigmoid_has_a_slope_in_float32_where_its_exponential_overflows(x: float) -> None:
    assert slopes("sigmoid", x, dtype="float32") == pytest.approx([0.0], abs=1e-30)


@pytest.mark.parametrize("name", ["floor", "ceil", "round", "trunc", "sign", "floordiv", "lt"])
def test_steps_are_flat(name: str) -> None:
    assert not FUNCTIONS[name].differentiable
