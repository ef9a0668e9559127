"""A sum is stored at every kept point; where guards on reduced indices leave nothing to add, its
address may lie outside the tensor. C must not write there, with and without the passes."""

from __future__ import annotations

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.lower import lower
from autodiffc.reference import evaluate
from tests.compiled.test_operations import PASSES
from tests.harness import Case, compile_cases

WITHOUT = pytest.mark.parametrize("without", [(), PASSES], ids=["passes", "plain"])

X = ad.input("x", (9,))
W = ad.input("w", (4,))
i, p, k = ad.indices("i p k")


def skewed() -> ad.Expression:
    """No k is left where i = p = 0, and there the gradient's address would be -1."""
    c = ad.constant(np.arange(1.0, 7.0).reshape(3, 2))
    inner = ad.sum_over((k,), X[3 * i + 2 * p - 1] * W[k], where=(k < 3 * i + 2 * p))
    return ad.sum(ad.compute((i, p), c[i, p] * inner))


def shifted() -> ad.Expression:
    """The last element has no point, although there are as many points as elements."""
    c = ad.constant(np.arange(1.0, 10.0))
    inner = ad.sum_over((k,), X[i - 1] * W[k], where=(k < i))
    return ad.sum(ad.compute((i,), c[i] * inner))


@WITHOUT
@pytest.mark.parametrize("loss", [skewed, shifted])
def test_gradients_stay_inside(loss, without: tuple[str, ...]) -> None:
    rng = np.random.default_rng(1)
    arrays = {"x": rng.normal(size=9), "w": rng.normal(size=4)}
    gradient = ad.grad(loss(), X)
    outputs = {"d": gradient, "tail": ad.exp(gradient)}
    case = Case("guarded", ad.Model("guarded", outputs, wrt=[]))
    program = compile_cases([case], library="guarded", without=without)["guarded"]
    got = program.forward(**{n: a for n, a in arrays.items() if n in program.inputs})
    expected = evaluate({n: e.node for n, e in outputs.items()}, arrays)
    np.testing.assert_allclose(got["d"], expected["d"], rtol=1e-13)
    np.testing.assert_allclose(got["tail"], expected["tail"], rtol=1e-13)


@WITHOUT
@pytest.mark.parametrize("loss", [skewed, shifted])
def test_a_tail_alone(loss, without: tuple[str, ...]) -> None:
    """Absorbed by the sum, it must still be applied to elements without a point."""
    rng = np.random.default_rng(2)
    arrays = {"x": rng.normal(size=9), "w": rng.normal(size=4)}
    tail = ad.exp(ad.grad(loss(), X))
    case = Case("tail", ad.Model("tail", {"y": tail}, wrt=[]))
    program = compile_cases([case], library="tail", without=without)["tail"]
    got = program.forward(**{n: a for n, a in arrays.items() if n in program.inputs})
    np.testing.assert_allclose(got["y"], evaluate({"y": tail.node}, arrays)["y"], rtol=1e-13)


@pytest.mark.parametrize("left_out", PASSES)
def test_a_tail_with_one_pass_left_out(left_out: str) -> None:
    arrays = {"w": np.arange(1.0, 5.0)}
    tail = ad.exp(ad.grad(shifted(), X) * 0.01)
    case = Case("one", ad.Model("one", {"y": tail}, wrt=[]))
    program = compile_cases([case], library="one", without=(left_out,))["one"]
    expected = evaluate({"y": tail.node}, arrays | {"x": np.zeros(9)})["y"]
    np.testing.assert_allclose(program.forward(**arrays)["y"], expected, rtol=1e-13)


@WITHOUT
def test_loops_begin_where_the_address_does(without: tuple[str, ...]) -> None:
    model = ad.Model("skew", {"loss": skewed()}, "loss", wrt=["x"])
    source = lower(model, dtype="float64", without=without).sources["skew.c"]
    assert "for (int64_t p = larger(0, ceil_div(-3 * i + 1, 2)); p < 2; ++p)" in source
