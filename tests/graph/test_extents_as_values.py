"""Dims in arithmetic: an extent where the result is one, else a scalar value like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.errors import ShapeError, TruthValueError
from autodiffc.graph.expression import Expression
from autodiffc.graph.extents import Extent, defaults
from autodiffc.reference.interpreter import evaluate

B = ad.dim("B", 6)


@pytest.mark.parametrize(
    "formula",
    [
        lambda b: b**2,
        lambda b: b**0,
        lambda b: (2 * b + 7) % 4,
        lambda b: (2 * b + 3) % 2,
        lambda b: b**2 - b * b,
    ],
    ids=range(5),
)
def test_results_that_are_extents(formula: Callable[[Any], Any]) -> None:
    result = formula(B)
    assert isinstance(result, int | Extent)
    assert defaults(result) == formula(6)


@pytest.mark.parametrize(
    "formula",
    [
        lambda b: 0.5 * b,
        lambda b: b * 0.5,
        lambda b: b / 2,
        lambda b: 1.0 / b,
        lambda b: b / (b + 1),
        lambda b: b - 0.5,
        lambda b: 0.5 - b,
        lambda b: b + np.float64(0.25),
        lambda b: np.float64(0.25) * b,
        lambda b: 13 // b,
        lambda b: 13 % b,
        lambda b: b % 2.5,
        lambda b: 2**b,
        lambda b: b**0.5,
        lambda b: np.array([1.0, 2.0]) * b,
        lambda b: b - np.array([1, 2]),
        lambda b: b < 7,
        lambda b: b >= 7,
        lambda b: b >= 6,
    ],
    ids=range(19),
)
def test_results_that_are_values(formula: Callable[[Any], Any]) -> None:
    result = formula(B)
    assert isinstance(result, Expression)
    got = evaluate({"y": result.node}, {}, dtype="float64")["y"]
    np.testing.assert_allclose(got, formula(6), rtol=1e-15)


def test_a_comparison_of_dims_has_no_truth_value() -> None:
    with pytest.raises(TruthValueError):
        bool(B > 3)


def test_an_extent_is_divided_by_positive_integers_only() -> None:
    with pytest.raises(ShapeError, match="positive integer"):
        B // 2.5  # type: ignore[operator]
