"""Every operation's first and second derivatives against finite differences, in float64.

Directional derivatives: along a random direction v, `(f(x + hv) - f(x - hv)) / 2h` against the
gradient's product with v. The NumPy interpreter evaluates both, so no compiled code takes part.
"""

from __future__ import annotations

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.expression import Expression
from autodiffc.reference import evaluate
from tests.samples import Sampled, all_samples

# No derivative to compare with: cut off on purpose; infinite padding.
EXCEPT = {"stop_gradient_0", "pad_2"}
SAMPLES = [s for s in all_samples() if s.loss is not None and s.floating and s.title not in EXCEPT]
STEP = 1e-5


def value(expression: Expression, arrays: dict[str, np.ndarray]) -> np.ndarray:
    return evaluate({"y": expression.node}, arrays)["y"]


def check(f: Expression, sample: Sampled, seed: int) -> list[Expression]:
    """Compares the gradient of the scalar `f` by every leaf; returns the gradients."""
    rng = np.random.default_rng(seed)
    names = sample.floating
    gradients = ad.grad(f, [sample.leaves[n] for n in names])
    values = evaluate({n: g.node for n, g in zip(names, gradients, strict=True)}, sample.arrays)
    for name in names:
        x = sample.arrays[name]
        direction = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape)
        high = value(f, sample.arrays | {name: x + STEP * direction})
        low = value(f, sample.arrays | {name: x - STEP * direction})
        slope = (high - low) / (2 * STEP)
        assert values[name].shape == x.shape
        size = np.abs(values[name] * direction).sum() + abs(high)
        got = (values[name] * direction).sum()
        assert got == pytest.approx(slope, rel=1e-6, abs=1e-8 + 1e-7 * size)
    return gradients


def test_the_exceptions_are_samples() -> None:
    assert {s.title for s in all_samples()} >= EXCEPT


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.title)
def test_first_and_second_derivatives(sample: Sampled) -> None:
    assert sample.loss is not None
    gradients = check(sample.loss, sample, seed=1)
    rng = np.random.default_rng(2)
    total: Expression | None = None
    for gradient in gradients:
        term = ad.sum(gradient * ad.constant(rng.uniform(0.5, 1.5, gradient.shape)))
        total = term if total is None else total + term
    assert total is not None
    check(total, sample, seed=3)
