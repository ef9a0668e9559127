"""Infinities and NaN come out of compiled models as they come out of the formulas.

Passes move values into one another, and each of these models tempts one of them to let a zero
win over an infinity, or over a zero that it is divided by.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.expression import Expression
from autodiffc.reference import evaluate
from tests.harness import Case, compile_cases

INF, NAN = np.inf, np.nan
X = np.array([1.0, 2.0, 3.0])
Z = np.array([0.0, 1.0, INF, NAN, -INF])
(i,) = ad.indices("i")


def padded(x: Expression) -> Expression:
    """Zeros around x, of the shape of z."""
    return ad.pad(x, 1)


def covering_three(x: Expression) -> Expression:
    return ad.compute((i,), x[i] * x[i], where=i < 3, extents={i: 5})


def of_zeros() -> Expression:
    return ad.compute((i,), 0.0, extents={i: 5})


def relu_gradient(x: Expression, z: Expression) -> Expression:
    return ad.grad(ad.sum(ad.relu(padded(x)) * z), x)


FORMULAS: dict[str, Callable[[Expression, Expression], Expression]] = {
    "padding_over": lambda x, z: padded(x) / z,
    "padding_times": lambda x, z: padded(x) * z,
    "padding_over_number": lambda x, z: padded(x) / 3.0 + 0.0 * z,
    "padding_times_infinity": lambda x, z: padded(x) * INF + 0.0 * z,
    "padding_over_zero": lambda x, z: padded(x) / 0.0 + 0.0 * z,
    "selected_over": lambda x, z: ad.where(z > 0, padded(x), 0.0) / z,
    "guarded_over": lambda x, z: covering_three(x) / z,
    "guarded_times": lambda x, z: covering_three(x) * z,
    "mask_times": lambda x, z: z * ad.where(z > 1.5, 1.0, 0.0) + 0.0 * x[0],
    "mask_minus_times": lambda x, z: z * ad.where(z > 1.5, -1.0, 0.0) + 0.0 * x[0],
    "zeros_times": lambda x, z: z * of_zeros() + 0.0 * x[0],
    "zeros_over": lambda x, z: of_zeros() / z + 0.0 * x[0],
    "minus_zeros_times": lambda x, z: z * -of_zeros() + 0.0 * x[0],
    "relu_gradient": relu_gradient,
}
VARIANTS = {"optimized": (), "without_fuse": ("fuse",), "without_simplify": ("simplify",)}


def model(formula: Callable[[Expression, Expression], Expression]) -> ad.Model:
    x, z = ad.input("x", (3,)), ad.input("z", (5,))
    y = formula(x, z)
    return ad.Model("infinities", {"y": y, "loss": ad.sum(y)}, "loss", wrt=["x", "z"])


@cache
def programs(variant: str) -> dict[str, Any]:
    cases = [Case(name, model(formula)) for name, formula in FORMULAS.items()]
    return compile_cases(cases, library=f"infinities_{variant}", without=VARIANTS[variant])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", FORMULAS)
def test_infinities_survive(name: str, variant: str) -> None:
    x, z = ad.input("x", (3,)), ad.input("z", (5,))
    y = FORMULAS[name](x, z)
    dx, dz = ad.grad(ad.sum(y), [x, z])
    nodes = {"y": y.node, "x": dx.node, "z": dz.node}
    wanted = evaluate(nodes, {"x": X, "z": Z})
    out, grads = programs(variant)[name].value_and_grad(x=X, z=Z)
    np.testing.assert_array_equal(out.y, wanted["y"])
    np.testing.assert_array_equal(grads["x"], wanted["x"])
    np.testing.assert_array_equal(grads["z"], wanted["z"])


def test_zero_over_zero_is_no_number() -> None:
    out = programs("optimized")["padding_over"].predict(x=X, z=Z)
    np.testing.assert_array_equal(out.y, [NAN, 1.0, 0.0, NAN, 0.0])


def test_infinity_times_the_zero_of_a_mask_is_no_number() -> None:
    out = programs("optimized")["mask_times"].predict(x=X, z=Z)
    np.testing.assert_array_equal(out.y, [0.0, 0.0, INF, NAN, NAN])
