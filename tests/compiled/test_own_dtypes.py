"""Inputs whose dtype is not the build's: their gradients have the input's dtype."""

from __future__ import annotations

import numpy as np
import pytest

import autodiffc as ad

OTHER = {"float64": "float32", "float32": "float64"}


def model(own: str) -> ad.Model:
    x, s = ad.input("x", (2,), own), ad.input("s", (), own)
    y = ad.input("y", (2,))
    loss = ad.sum(x * x * y) + s * s
    return ad.Model("own", {"loss": loss}, "loss", wrt=["x", "y", "s"])


@pytest.mark.parametrize("own", OTHER)
def test_gradients_have_the_dtype_of_their_input(own: str) -> None:
    build = OTHER[own]
    compiled = ad.compile(model(own), dtype=build)
    x, y = np.array([1.0, 2.0], own), np.array([3.0, 5.0], build)
    compiled.forward(x=x, y=y, s=7.0)
    called = compiled.backward()
    bound = compiled.bind("value_and_grad", x=x, y=y, s=7.0)
    bound()
    for grads in (called, bound.grads):
        assert {name: grads[name].dtype.name for name in grads} == {"x": own, "y": build, "s": own}
        np.testing.assert_array_equal(grads["x"], [6.0, 20.0])
        np.testing.assert_array_equal(grads["y"], [1.0, 4.0])
        assert grads["s"] == 14.0


@pytest.mark.parametrize("own", OTHER)
def test_they_pass_the_gradient_check(own: str) -> None:
    assert ad.check_grads(model(own)) < (1e-7 if own == "float64" else 1e-2)
