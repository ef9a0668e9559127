"""Max-pools between convolutions: value and position from one scan, in every layout.

Values, and gradients through pool and activation, are compared with the interpreter, which knows
no layouts: windows that overlap, have padding or end within the tensor; ties, and NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.reference import evaluate
from tests.compiled.test_operations import PASSES
from tests.harness import Case, compile_cases
from tests.loops.kernels import plans_of

POOLS: dict[str, dict[str, Any]] = {
    "whole": {"kernel_size": 2},
    "overlapping": {"kernel_size": 3, "stride": 2},
    "padded": {"kernel_size": 3, "stride": 1, "padding": 1},
    "large": {"kernel_size": 16, "stride": 1},
}
BATCHES = {"plain": 3, "lanes": 16}
OPTIONS: dict[str, dict[str, Any]] = {
    "passes": {},
    "narrow": {"target": "x86-64-v3"},
    "loops": {"plain": True},
    "nothing": {"without": PASSES, "plain": True},
}


def layers(batch: int, channels: int = 3, **pool: Any) -> dict[str, ad.Expression]:
    """Convolution, activation, pool, and a convolution that wants zeros around the result."""
    x, w = ad.input("x", (batch, channels, 9, 9)), ad.input("w", (4, channels, 3, 3))
    v, skip = ad.input("v", (5, 4, 3, 3)), ad.input("skip", (batch, 4, 9, 9))
    h = ad.relu(ad.conv2d(x, w, padding=1) + skip)
    y = ad.max_pool2d(h, **pool)
    z = ad.conv2d(y, v, padding=1)
    loss = ad.sum(z * z)
    return {"y": y, "z": z, "dx": ad.grad(loss, x), "dw": ad.grad(loss, w), "dv": ad.grad(loss, v)}


def bare(batch: int, **pool: Any) -> dict[str, ad.Expression]:
    """A pool of what the caller gives, which may be NaN."""
    size = 19 if pool["kernel_size"] == 16 else 9
    x = ad.input("x", (batch, 3, size, size))
    y = ad.max_pool2d(ad.relu(x), **pool)
    v = ad.input("v", y.shape)
    return {"y": y, "dx": ad.grad(ad.sum(y * v), x)}


MAKERS: dict[str, Callable[..., dict[str, ad.Expression]]] = {"layers": layers, "bare": bare}
MODELS = {
    f"{maker}-{pool}-{batch}": make(BATCHES[batch], **options)
    for maker, make in MAKERS.items()
    for pool, options in POOLS.items()
    for batch in BATCHES
    if pool != "large" or maker == "bare"
}


def arrays_of(model: ad.Model, name: str) -> dict[str, np.ndarray]:
    """Quarters: sums are exact, and there are ties; without sums also NaN and infinities."""
    rng = np.random.default_rng(5)
    arrays = {str(n.name): rng.integers(-3, 4, n.shape) / 4.0 for n in model.inputs}
    if name.startswith("bare"):
        for value in (np.nan, np.inf, -np.inf):
            arrays["x"][rng.random(arrays["x"].shape) < 0.03] = value
    return arrays


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_pools_are_what_the_interpreter_says(options: dict[str, Any]) -> None:
    models = {name: ad.Model("m", made, wrt=[]) for name, made in MODELS.items()}
    cases = [Case(name, model) for name, model in models.items()]
    programs = compile_cases(cases, dtype="float32", library="pools", **options)
    for name, program in programs.items():
        arrays = arrays_of(models[name], name)
        expected = evaluate({k: e.node for k, e in MODELS[name].items()}, arrays)
        given = {k: a.astype(np.float32) for k, a in arrays.items() if k in program.inputs}
        found = program.forward(**given)
        for key, array in expected.items():
            if name.startswith("bare"):
                np.testing.assert_array_equal(found[key], array, err_msg=f"{name}: {key}")
            np.testing.assert_allclose(
                found[key], array, rtol=1e-5, atol=1e-3, err_msg=f"{name}: {key}"
            )


def test_a_pool_writes_its_result_between_zeros() -> None:
    """What the next convolution wants in a halo is not copied there, nor scanned twice."""
    made = layers(16, channels=16, kernel_size=2)
    calls = plans_of(ad.Model("m", made, wrt=[]), target="x86-64-v4")["predict"].calls
    names = [n for c in calls if c.group for n in c.group.nodes]
    (pool,) = [n for n in names if n.label == "max_pool2d"]
    assert pool.shape[2:4] != (4, 4)
    assert not [n for n in names if "halo" in str(n.label) and n.inputs[0] is pool]
    assert sum(c.group.kind == "extremum" for c in calls if c.group) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_searches_along_rows_end_within_a_vector(dtype: str) -> None:
    """Neighbouring columns are lanes; the last vector has fewer."""
    x, w = ad.input("x", (6, 37)), ad.input("w", (6, 37))
    made = {
        "largest": ad.max(x, axis=0),
        "least": ad.min(x * w, axis=0),
        "position": ad.argmax(x, axis=0),
        "count": ad.sum(ad.where(x > w, 1.0, 0.0) * w, axis=0),
    }
    arrays = {"x": np.random.default_rng(6).integers(-3, 4, (6, 37)) / 2.0, "w": np.ones((6, 37))}
    arrays["x"][2, 35] = arrays["x"][4, 35] = arrays["x"][1, 0] = np.nan
    arrays["x"][:, 36] = -np.inf
    expected = evaluate({k: e.node for k, e in made.items()}, arrays)
    case = Case("rows", ad.Model("m", made, wrt=[]))
    program = compile_cases([case], dtype=dtype, library=f"rows_{dtype}")["rows"]
    found = program.forward(**{k: a.astype(dtype) for k, a in arrays.items()})
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, err_msg=key)
