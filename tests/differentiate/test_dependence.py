"""Gradients by what a value does not depend on are refused, never silently zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.errors import DifferentiationError
from autodiffc.graph.expression import Expression
from tests.differentiate.finite import inputs, value

X = np.array([0.5, -1.0, 2.0])
Build = Callable[[Expression], Expression]
(i,) = ad.indices("i")


def refused(y: Expression, x: Expression | list[Expression]) -> str:
    with pytest.raises(DifferentiationError) as caught:
        ad.grad(y, x)
    return str(caught.value)


# --- Values that were not read ---


UNREAD: dict[str, Build] = {
    "input 'other'": lambda x: ad.input("other", (3,)),
    "this constant": lambda x: ad.constant(X),
    "this result of mul": lambda x: x * 2.0,
    "'t'": lambda x: ad.name(x * 2.0, "t"),
    "this result of sin": lambda x: ad.sin(x),
}


@pytest.mark.parametrize("described", UNREAD)
def test_what_is_not_read_is_refused(described: str) -> None:
    (x,) = inputs(x=X)
    h = x * 2.0
    y = ad.sum(h**2)
    other = UNREAD[described](x)
    for targets in (other, [x, other]):
        message = refused(y, targets)
        assert f"the differentiated value does not depend on {described}\n" in message
        assert "ad.grad(y, x)\n" in message  # the line of the call, and that of the value
        assert f"made at {other.node.loc}" in message


def test_a_formula_written_twice_is_explained() -> None:
    (x,) = inputs(x=X)
    assert "keep one in a variable" in refused(ad.sum((x * 2.0) ** 2), x * 2.0)


def test_constants_that_are_read_have_gradients() -> None:
    (x,) = inputs(x=X)
    c = ad.constant(X + 1)
    np.testing.assert_allclose(value(ad.grad(ad.sum(c * x), c), {"x": X}), X)


# --- Values that are read, but not smoothly ---

CUT: dict[str, Build] = {
    "stop_gradient": lambda x: ad.stop_gradient(x * x),
    "comparison": lambda x: ad.where(x > 0, 1.0, 2.0),
    "comparison_in_a_formula": lambda x: ad.compute((i,), ad.where(x[i] > 0, 1.0, 2.0)),
    "integers": lambda x: ad.astype(ad.astype(x, "int32"), "float64"),
    "argmax": lambda x: ad.astype(ad.argmax(x, axis=0), "float64"),
    "index": lambda x: ad.constant(X)[ad.astype(ad.relu(x), "int32")],
}
FLAT: dict[str, Build] = {
    "floor": ad.floor,
    "power": lambda x: x**0,
    "beside": lambda x: ad.stop_gradient(x) + ad.round(x),
}


@pytest.mark.parametrize("name", CUT)
def test_what_is_not_read_smoothly_is_refused(name: str) -> None:
    (x,) = inputs(x=X)
    message = refused(ad.sum(CUT[name](x)), x)
    assert "does not depend on input 'x' smoothly" in message
    assert "comparisons, integers and ad.stop_gradient do not pass gradients on" in message


@pytest.mark.parametrize("name", FLAT)
def test_step_functions_have_a_gradient_of_zeros(name: str) -> None:
    (x,) = inputs(x=X)
    assert value(ad.grad(ad.sum(FLAT[name](x)), x), {"x": X}).tolist() == [0, 0, 0]


# --- Gradients of gradients ---


def test_a_gradient_need_not_depend_on_what_its_function_does() -> None:
    """The gradient of x*z by x is z, and that by x again is zero."""
    x, z = inputs(x=np.array(2.0), z=np.array(3.0))
    at = {"x": np.array(2.0), "z": np.array(3.0)}
    first = ad.grad(x * z, x)
    assert value(ad.grad(first, x), at) == 0
    assert value(ad.grad(first, z), at) == 1
    assert value(ad.grad(ad.grad(ad.grad(first, x), x), z), at) == 0
    assert value(ad.grad(ad.exp(first) + 1.0, x), at) == 0
    assert "input 'q'" in refused(first, ad.input("q"))


def test_the_curvature_of_relu_is_zero() -> None:
    (x,) = inputs(x=X)
    slope = ad.sum(ad.grad(ad.sum(ad.relu(x)), x))
    assert value(ad.grad(slope, x), {"x": X}).tolist() == [0, 0, 0]


# --- Naming ---


def test_naming_keeps_the_value() -> None:
    """Whether the name comes before or after the use, both variables are one value."""
    (x,) = inputs(x=X)
    h = x * 2.0
    before = ad.sum(h**2)
    named = ad.name(h, "h")
    after = ad.sum(named**3)
    for y, wanted in ((before, 4 * X), (after, 12 * X**2), (before + after, 4 * X + 12 * X**2)):
        for by in (h, named):
            np.testing.assert_allclose(value(ad.grad(y, by), {"x": X}), wanted)
    assert [n.name for n in ad.Model("m", {"y": before}).graph.order][1] == "h"


def test_a_second_name_is_that_of_a_copy() -> None:
    (x,) = inputs(x=X)
    first = ad.name(ad.sin(x), "first")
    second = ad.name(first, "second")
    y = ad.sum(second * 2.0)
    assert (first.node.name, second.node.name) == ("first", "second")
    assert ad.name(first, "first").node is first.node
    for by in (first, second):
        assert value(ad.grad(y, by), {"x": X}).tolist() == [2, 2, 2]


# --- Models ---


def test_a_model_refuses_wrt_without_effect() -> None:
    x, v = ad.input("x", (3,)), ad.input("v", (3,))
    w = ad.param("w", (3,))
    outputs = {"loss": ad.sum(x * w), "other": ad.sum(v * x)}
    with pytest.raises(DifferentiationError, match="output 'loss' does not depend on input 'v'"):
        ad.Model("m", outputs, "loss", wrt=["w", "v"])
    assert ad.Model("m", outputs, wrt=["w", "v"]).wrt == ("w", "v")  # each by its own output


def test_parameters_of_another_head_have_a_gradient_of_zeros_by_default() -> None:
    x = ad.input("x", (3,))
    w, u = ad.param("w", (3,)), ad.param("u", (3,))
    outputs = {"loss": ad.sum(x * w), "other": ad.sum(u * x)}
    assert ad.Model("m", outputs, "loss").wrt == ("w", "u")


def test_a_loss_that_depends_on_nothing_by_default_is_refused() -> None:
    v = ad.input("v", (2, 3))
    loss = ad.mean(ad.astype(ad.argmax(v, axis=1), "float32"))
    with pytest.raises(DifferentiationError, match="output 'loss' does not depend on input 'v' sm"):
        ad.Model("m", {"loss": loss}, "loss")
