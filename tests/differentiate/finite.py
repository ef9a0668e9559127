"""Finite differences through the NumPy interpreter: no compiled code takes part.

A directional derivative is a number: `(f(x + hv) - f(x - hv)) / 2h` for a random direction v. Two
steps and Richardson's extrapolation give it to about ten digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

import autodiffc as ad
from autodiffc.graph.expression import Expression
from autodiffc.reference import evaluate

Arrays = Mapping[str, np.ndarray]


def value(expression: Expression, arrays: Arrays, dtype: str = "float64") -> np.ndarray:
    return evaluate({"y": expression.node}, arrays, dtype=dtype)["y"]


def inputs(**arrays: np.ndarray) -> tuple[Expression, ...]:
    """An input for each array, of its shape."""
    return tuple(ad.input(name, np.shape(a)) for name, a in arrays.items())


def slope(f: Expression, arrays: Arrays, directions: Arrays, step: float = 1e-3) -> float:
    def at(h: float) -> float:
        return float(value(f, {n: a + h * directions.get(n, 0.0) for n, a in arrays.items()}))

    def central(h: float) -> float:
        return (at(h) - at(-h)) / (2 * h)

    return (4 * central(step / 2) - central(step)) / 3


def check_gradient(
    f: Expression, leaves: Mapping[str, Expression], arrays: Arrays, tolerance: float = 1e-8
) -> list[Expression]:
    """Compares the gradient of a scalar with its slopes along a random direction for each leaf."""
    rng = np.random.default_rng(len(leaves))
    gradients = ad.grad(f, list(leaves.values()))
    for name, gradient in zip(leaves, gradients, strict=True):
        got = value(gradient, arrays)
        assert got.shape == np.shape(arrays[name])
        direction = rng.uniform(0.5, 1.0, got.shape) * rng.choice([-1.0, 1.0], got.shape)
        expected = slope(f, arrays, {name: direction})
        scale = 1.0 + np.abs(got * direction).sum()
        assert abs((got * direction).sum() - expected) < tolerance * scale, name
    return gradients


def check(build: Callable[..., Expression], tolerance: float = 1e-8, **arrays: np.ndarray) -> None:
    """First and second derivatives of `build(*inputs)`, weighted into a scalar."""
    leaves = dict(zip(arrays, inputs(**arrays), strict=True))
    f = scalar(build(*leaves.values()))
    gradients = check_gradient(f, leaves, arrays, tolerance)
    total = scalar(gradients[0])
    for gradient in gradients[1:]:
        total = total + scalar(gradient)
    check_gradient(total, leaves, arrays, tolerance)


def scalar(y: Expression) -> Expression:
    """A sum in which no two elements count alike, and whose own derivative is not constant."""
    weights = np.random.default_rng(7).uniform(0.5, 1.5, y.shape)
    return ad.sum(ad.sin(y) * ad.constant(weights))
