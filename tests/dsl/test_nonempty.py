"""Maxima under guards: what is refused, what the messages advise, and what that computes."""

from __future__ import annotations

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.errors import IndexNotationError
from autodiffc.graph import nonempty
from tests.dsl.test_notation import array, check, filled
from tests.harness import Case, compile_cases

i, j, k, p, q = ad.indices("i j k p q")


def lower_maxima(A: np.ndarray, low: float = 0.0) -> np.ndarray:
    """The greatest of each row's elements before the diagonal; `low` where there is none."""
    return np.array([max(row[:k], default=low) for k, row in enumerate(A)])


@pytest.mark.parametrize("size", [4, 1])
def test_every_element_of_a_maximum_needs_a_point(size: int) -> None:
    a = ad.input("a", (4, 4))
    with pytest.raises(IndexNotationError, match="at i = 0 no k satisfies i - k - 1 >= 0"):
        ad.compute(i, ad.max_over(k, a[i, k], where=k < i), extents={i: size})


def test_a_value_for_what_a_maximum_leaves_out() -> None:
    """What the message advises."""
    A = array(4, 4) - 9
    a = ad.input("a", A.shape)
    y = ad.compute(i, ad.max_over(k, ad.where(k < i, a[i, k], -100.0)))
    check(y, lower_maxima(A, -100.0), a=A)


def test_a_guard_leaves_elements_of_a_maximum_out() -> None:
    A = array(4, 4) - 9
    a = ad.input("a", A.shape)
    largest = ad.max_over(k, a[i, k], where=k < i)
    check(ad.compute(i, largest, where=i >= 1), lower_maxima(A), a=A)
    check(ad.compute(i, largest * largest, where=i > 0), lower_maxima(A) ** 2, a=A)
    total = ad.sum_over(j, largest * a[i, j])
    check(ad.compute(i, total, where=i > 0), lower_maxima(A) * A.sum(axis=1), a=A)
    check(ad.compute(i, total + 0.0, where=i > 0), lower_maxima(A) * A.sum(axis=1), a=A)
    check(ad.compute((), ad.sum_over(i, largest, where=i > 0)), lower_maxima(A).sum(), a=A)


def test_a_maximum_left_out_by_guards_on_several_indices() -> None:
    A = array(4, 4)
    a = ad.input("a", A.shape)
    y = ad.compute(
        (i, j), ad.max_over(k, a[j, k], where=k < i), where=(j <= i) & (j >= 1), extents={i: 4}
    )
    expected = filled((4, 4), lambda i, j: A[j, :i].max() if 1 <= j <= i else 0)
    check(y, expected, a=A)
    with pytest.raises(IndexNotationError, match="at i = 0, j = 0 no k"):
        ad.compute((i, j), ad.max_over(k, a[j, k], where=k < i), where=j <= i, extents={i: 4})


def test_conditions_on_indices_that_are_no_guards_are_decided_too() -> None:
    A = array(4, 4)
    a = ad.input("a", A.shape)
    y = ad.compute(i, ad.max_over(k, a[i, k], where=(k != i) & (k <= 1)))
    check(y, filled((4,), lambda m: max(A[m, n] for n in (0, 1) if n != m)), a=A)
    with pytest.raises(IndexNotationError, match="at i = 0 no k satisfies -k >= 0 and k != i"):
        ad.compute(i, ad.max_over(k, a[i, k], where=(k != i) & (k <= 0)))
    with pytest.raises(IndexNotationError, match=r"i = 3 no k satisfies \(k > i\) | \(k < 0\)"):
        ad.compute(i, ad.max_over(k, a[i, k], where=(k > i) | (k < 0)))
    with pytest.raises(IndexNotationError, match="no k satisfies False"):
        ad.compute(i, ad.max_over(k, a[i, k], where=False))
    with pytest.raises(IndexNotationError, match=r"at i = 0 no k satisfies .* % 5"):
        ad.compute(i, ad.max_over(k, a[i, k], where=(i + k) % 5 == 4))


@pytest.mark.parametrize(("over", "nothing"), [("max_over", -np.inf), ("min_over", np.inf)])
def test_a_condition_on_data_may_leave_nothing(over: str, nothing: float) -> None:
    """Nobody can know before the data are there; the identity is what the documentation says."""
    A = np.array([[1.0, 2.0], [-1.0, -2.0]])
    a = ad.input("a", A.shape)
    y = ad.compute(i, getattr(ad, over)(k, a[i, k], where=a[i, k] > 0))
    check(y, np.array([2.0 if over == "max_over" else 1.0, nothing]), a=A)
    with pytest.raises(IndexNotationError, match="no k satisfies k - 3 >= 0"):
        ad.compute(i, getattr(ad, over)(k, a[i, k], where=(a[i, k] > 0) & (k >= 3)))


def test_maxima_over_huge_domains_are_decided_at_once() -> None:
    """Ten billion points: proved where they are there, and found where one is missing."""
    x = ad.input("x", (100_000,))
    at = i + p - 1
    window = ad.max_over(p, x[at], where=(at >= 0) & (at < 100_000))
    assert ad.compute(i, window, extents={i: 100_000, p: 100_000}).shape == (100_000,)
    with pytest.raises(IndexNotationError, match="at i = 99999 no p"):
        ad.compute(i, ad.max_over(p, x[p], where=p > i), extents={i: 100_000})


def test_undecided_maxima_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x = ad.input("x", (9,))
    both = ad.max_over((p, q), x[p] * x[q], where=2 * p + 3 * q == i + 2)
    assert ad.compute(i, both, extents={i: 9}).shape == (9,)
    monkeypatch.setattr(nonempty, "MOST_POINTS", 10)
    with pytest.raises(IndexNotationError, match="takes too long to find out"):
        ad.compute(i, both, extents={i: 9})


def test_extents_and_dims_of_an_empty_maximum_are_named() -> None:
    size = ad.dim("size", 3)
    x = ad.input("x", (size,))
    with pytest.raises(IndexNotationError, match="no k satisfies k - 3 >= 0, where size = 3"):
        ad.compute((), ad.max_over(k, x[k], where=k >= 3))
    with pytest.raises(IndexNotationError, match="index k has extent 0"):
        ad.compute((), ad.max_over(k, ad.input("e", (0,))[k]))


def test_compiled_maxima_leave_the_same_elements_out() -> None:
    a = ad.input("a", (4, 4))
    y = ad.compute(i, ad.max_over(k, a[i, k], where=k < i), where=i >= 1)
    model = ad.Model("left_out", {"y": y, "loss": ad.sum(y * y)}, "loss", wrt=["a"])
    program = compile_cases([Case("left_out", model)], library="left_out")["left_out"]
    A = array(4, 4) - 9
    np.testing.assert_allclose(program.forward(a=A)["y"], lower_maxima(A), rtol=1e-13)
    expected = np.zeros((4, 4))
    for row in range(1, 4):
        expected[row, A[row, :row].argmax()] = 2 * lower_maxima(A)[row]
    np.testing.assert_allclose(program.backward()["a"], expected, rtol=1e-13)
