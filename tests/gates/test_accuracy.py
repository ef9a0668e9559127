"""Sums against float64 NumPy: |error| <= 1e-5 Σ|terms| in float32, 1e-13 Σ|terms| in float64.

AUTODIFFC_TEST_PROBLEMS sets how many problems of a kind there are, AUTODIFFC_TEST_SEED which ones.
"""

from __future__ import annotations

import os
from functools import cache

import numpy as np
import pytest

from autodiffc.runtime.compiled import Compiled
from tests.gates.problems import (
    Problem,
    convolutions,
    long_reductions,
    matmuls,
    reductions,
    unread_tails,
)
from tests.harness import Case, compile_cases

BOUND = {"float32": 1e-5, "float64": 1e-13}
COUNT = int(os.environ.get("AUTODIFFC_TEST_PROBLEMS", "12"))
SEED = int(os.environ.get("AUTODIFFC_TEST_SEED", "0"))


def problems() -> dict[str, Problem]:
    rng = np.random.default_rng(SEED)
    found = [
        *matmuls(COUNT, rng),
        *convolutions(COUNT, rng),
        *reductions(COUNT, rng),
        *long_reductions(),
        *unread_tails(),
    ]
    return {p.title: p for p in found}


PROBLEMS = problems()


@cache
def compiled(dtype: str) -> dict[str, Compiled]:
    cases = [Case(title, problem.model) for title, problem in PROBLEMS.items()]
    return compile_cases(cases, dtype=dtype, library=f"accuracy_{dtype}")


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("title", PROBLEMS)
def test_error_is_small_beside_the_sum_of_magnitudes(title: str, dtype: str) -> None:
    problem, program = PROBLEMS[title], compiled(dtype)[title]
    arrays = {n: np.asarray(a, dtype) for n, a in problem.arrays.items()}
    out, gradients = program.value_and_grad(**arrays)
    got = {"y": out["y"], **{n: gradients[n] for n in problem.names}}
    for name, expected in problem.reference.items():
        error = np.abs(np.asarray(got[name], np.float64) - expected)
        bound = BOUND[dtype] * problem.magnitudes[name]
        assert np.shape(got[name]) == expected.shape
        assert (error <= bound).all(), (
            f"{name}: {(error / np.maximum(bound, 1e-300)).max()} × bound"
        )
