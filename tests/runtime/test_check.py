"""The gradient check: right gradients pass, wrong ones are named."""

from __future__ import annotations

import numpy as np
import pytest

from autodiffc.errors import ArgumentError, ArgumentTypeError, GradientCheckError, StateError
from autodiffc.runtime.check import ENTRIES, check_gradients, entries_to_check, random_input
from autodiffc.runtime.signature import Tensor
from tests.runtime.conftest import Build, Handwritten


@pytest.mark.parametrize("seed", range(5))
def test_right_gradients_pass(handwritten_quiz: Handwritten, seed: int) -> None:
    assert 0 < check_gradients(handwritten_quiz.compiled(), seed=seed) < 1e-7


def test_right_gradients_of_cotangents_pass(handwritten_quiz: Handwritten) -> None:
    assert check_gradients(handwritten_quiz.compiled(differentiate=None)) < 1e-7


def test_parameters_and_inputs_are_checked(handwritten_logistic: Handwritten) -> None:
    """The model is float32, so that only the entries' rounding is found, in the first parameter."""
    model = handwritten_logistic.compiled()
    with pytest.raises(GradientCheckError, match=r"the gradient of weight\[0\]"):
        check_gradients(model, tolerance=1e-9)
    assert np.isfinite(check_gradients(model, tolerance=1e9))


@pytest.mark.parametrize("slope", ["0", "1.0001", "(0.0 / 0.0)"])
def test_a_wrong_gradient_is_named(build: Build, slope: str) -> None:
    model = build("quiz", defines=(f"SLOPE={slope}",)).compiled()
    with pytest.raises(GradientCheckError) as caught:
        check_gradients(model)
    message = str(caught.value)
    assert message.startswith("the gradient of x differs from finite differences\n  found:")
    assert "tolerance 1e-05" in message


def test_entries_of_a_sparse_gradient_are_not_all_zeros() -> None:
    grad = np.zeros((50, 40))
    grad[7, 3], grad[49, 39], grad[0, 1] = 2.0, np.nan, -1.0
    entries = list(entries_to_check(grad, np.random.default_rng(0)))
    assert {(7, 3), (49, 39), (0, 1)} <= set(entries)
    assert len(entries) == len(set(entries)) == 3 + ENTRIES  # wrong zeros must be found, too
    assert entries == sorted(entries)


def test_few_entries_are_all_checked() -> None:
    rng = np.random.default_rng(0)
    assert list(entries_to_check(np.array(0.0), rng)) == [()]
    assert list(entries_to_check(np.array([1.0, 0.0]), rng)) == [(0,), (1,)]
    assert len(list(entries_to_check(np.ones(100), rng))) == ENTRIES


def test_what_cannot_be_checked(handwritten_quiz: Handwritten) -> None:
    with pytest.raises(StateError, match="has no backward"):
        check_gradients(handwritten_quiz.compiled(entries=["predict", "forward"]))
    with pytest.raises(ArgumentError, match="tolerance"):
        check_gradients(handwritten_quiz.compiled(), tolerance=0)
    with pytest.raises(ArgumentTypeError, match="tolerance"):
        check_gradients(handwritten_quiz.compiled(), tolerance="small")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dtype", "low", "high", "least", "greatest"),
    [
        ("float64", None, None, -10, 10),
        ("float32", 1.5, 3, 1.5, 3),
        ("float64", 5, None, 5, 6),
        ("float64", None, -5, -6, -5),
        ("int32", None, None, 0, 1),
        ("int32", 0, 10, 0, 9),
        ("int64", 7, None, 7, 8),
        ("int32", None, 3, 0, 2),
        ("int32", None, -3, -5, -4),
        ("bool", None, None, 0, 1),
    ],
)
def test_random_inputs_stay_in_their_range(
    dtype: str, low: float | None, high: float | None, least: float, greatest: float
) -> None:
    tensor = Tensor("x", (1000,), np.dtype(dtype), low, high)
    values = random_input(tensor, (1000,), np.random.default_rng(0))
    assert values.dtype == dtype
    assert least <= values.min() < values.max() <= greatest
