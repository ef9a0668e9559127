"""A library with an open batch gives, for any batch in its range, what the fixed build gives."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from autodiffc.runtime.compiled import Compiled
from tests.gates.models import digits, lenet5, mlp
from tests.harness import Case, compile_cases

RANGE = (1, 128)
MODELS = {"lenet5": (lenet5, (1, 17, 128)), "mlp": (mlp, (1, 2, 3, 15, 16, 17, 64, 127, 128))}
PAIRS = [(name, batch) for name, (_, batches) in MODELS.items() for batch in batches]
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}


def arrays(name: str, batch: int, dtype: str) -> dict[str, np.ndarray]:
    if name == "lenet5":
        found = digits(batch, seed=batch)
        return {"images": found["images"].astype(dtype), "labels": found["labels"]}
    rng = np.random.default_rng(batch)
    labels = rng.integers(0, 5, batch, dtype=np.int32)
    return {"x": rng.standard_normal((batch, 30)).astype(dtype), "labels": labels}


@cache
def compiled(dtype: str) -> dict[str, Compiled]:
    cases = [
        Case(f"{name} {size}", make(), dims={"batch": size})
        for name, (make, batches) in MODELS.items()
        for size in (RANGE, *batches)
    ]
    return compile_cases(cases, dtype=dtype, library=f"open_{dtype}")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("name", "batch"), PAIRS)
def test_any_batch_equals_the_fixed_build(name: str, batch: int, dtype: str) -> None:
    programs = [compiled(dtype)[f"{name} {size}"].init(seed=4) for size in (RANGE, batch)]
    given = arrays(name, batch, dtype)
    (out, gradients), (fixed, expected) = [p.value_and_grad(**given) for p in programs]
    assert out.keys() == fixed.keys()
    assert set(gradients) == set(expected)
    for key in out:
        close(out[key], fixed[key], TOLERANCE[dtype])
    for key in gradients:
        close(gradients[key], expected[key], TOLERANCE[dtype])


def close(got: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert np.shape(got) == np.shape(expected)
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(scale, 1e-3))


@pytest.mark.parametrize("batch", [0, 129])
def test_other_batches_are_refused(batch: int) -> None:
    program = compiled("float32")[f"mlp {RANGE}"].init(seed=4)
    with pytest.raises(ValueError, match="128"):
        program.forward(**arrays("mlp", batch, "float32"))
