"""Index notation, executed by the reference interpreter, against loops written in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.dsl.elements import DEEPEST
from autodiffc.errors import IndexNotationError
from autodiffc.graph.comprehension import Indirect
from autodiffc.graph.extents import substitute
from autodiffc.graph.node import Node
from autodiffc.reference.interpreter import evaluate

b, c, d, i, j, k, l, n, o, p, q, t = ad.indices("b c d i j k l n o p q t")
RNG = np.random.default_rng(11)


def array(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def value(expression: ad.Expression, **arrays: Any) -> np.ndarray:
    assert isinstance(expression, ad.Expression)
    return np.asarray(evaluate({"out": expression.node}, arrays)["out"])


def filled(shape: tuple[int, ...], element: Callable[..., Any]) -> np.ndarray:
    """The array whose element at each position is what the function says."""
    return np.array([element(*at) for at in np.ndindex(*shape)], float).reshape(shape)


def check(expression: ad.Expression, expected: np.ndarray, **arrays: np.ndarray) -> None:
    assert expression.shape == expected.shape
    np.testing.assert_allclose(value(expression, **arrays), expected, rtol=1e-12, atol=1e-12)


def nodes(expression: ad.Expression) -> list[Node]:
    from autodiffc.graph.dag import Graph

    return [m for m in Graph({"y": expression.node}).order if m.op == "compute"]


# --- reductions ---


def test_a_matrix_product_with_a_bias() -> None:
    A, B, C = array(3, 4), array(4, 5), array(5)
    a, bb, cc = ad.input("a", (3, 4)), ad.input("b", (4, 5)), ad.input("c", (5,))
    y = ad.compute((i, j), ad.sum_over(k, a[i, k] * bb[k, j]) + cc[j])
    check(y, A @ B + C, a=A, b=B, c=C)
    assert [m.formula.combine for m in nodes(y)] == ["sum", "set"]
    assert nodes(y)[0].formula.domain.names == ("i", "j", "k")


def test_a_reduction_alone_is_one_comprehension() -> None:
    A, B = array(3, 4), array(4, 5)
    a, bb = ad.input("a", (3, 4)), ad.input("b", (4, 5))
    y = ad.compute((i, j), ad.sum_over(k, a[i, k] * bb[k, j]))
    check(y, A @ B, a=A, b=B)
    assert len(nodes(y)) == 1


def test_a_strided_dilated_convolution() -> None:
    W, X = array(4, 3, 2, 3), array(2, 3, 9, 10)
    w, x = ad.input("w", W.shape), ad.input("x", X.shape)
    y = ad.compute(
        (n, o, i, j),
        ad.sum_over((c, p, q), w[o, c, p, q] * x[n, c, 2 * i + 3 * p, j + 2 * q]),
    )
    assert y.shape == (2, 4, 3, 6)
    expected = filled(
        (2, 4, 3, 6),
        lambda n, o, i, j: (W[o] * X[n, :, 2 * i : 2 * i + 4 : 3, j : j + 5 : 2]).sum(),
    )
    check(y, expected, w=W, x=X)


def test_a_padded_convolution_by_guards() -> None:
    W, X = array(4, 3, 3, 3), array(2, 3, 7, 8)
    w, x = ad.input("w", W.shape), ad.input("x", X.shape)
    row, column = 2 * i + p - 1, 2 * j + q - 1
    inside = (row >= 0) & (row < 7) & (column >= 0) & (column < 8)
    y = ad.compute(
        (n, o, i, j),
        ad.sum_over((c, p, q), w[o, c, p, q] * x[n, c, row, column], where=inside),
        extents={i: 4, j: 4},
    )
    padded = np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = filled(
        (2, 4, 4, 4),
        lambda n, o, i, j: (W[o] * padded[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]).sum(),
    )
    check(y, expected, w=W, x=X)
    assert len(nodes(y)[0].formula.domain.guards) == 4


@pytest.mark.parametrize(("over", "numpy"), [("max_over", np.max), ("min_over", np.min)])
def test_max_and_min_over_windows(over: str, numpy: Callable[..., Any]) -> None:
    X = array(3, 6, 7)
    element = ad.input("x", X.shape)[k, 2 * i + p, 2 * j + q]
    y = ad.compute((k, i, j), getattr(ad, over)((p, q), element), extents={p: 2, q: 3})
    expected = filled((3, 3, 3), lambda k, i, j: numpy(X[k, 2 * i : 2 * i + 2, 2 * j : 2 * j + 3]))
    check(y, expected, x=X)


def test_a_padded_maximum_by_guards() -> None:
    X = array(9)
    x = ad.input("x", (9,))
    y = ad.compute(
        i,
        ad.max_over(p, x[2 * i + p - 1], where=(2 * i + p >= 1) & (2 * i + p - 1 < 9)),
        extents={i: 5, p: 3},
    )
    check(y, filled((5,), lambda i: X[max(0, 2 * i - 1) : 2 * i + 2].max()), x=X)


def test_a_product() -> None:
    X = array(3, 4)
    check(ad.compute(i, ad.prod_over(j, ad.input("x", (3, 4))[i, j])), X.prod(1), x=X)


def test_everything_down_to_a_scalar() -> None:
    X = array(3, 4)
    x = ad.input("x", (3, 4))
    check(ad.compute((), ad.sum_over((i, j), x[i, j] ** 2)), np.sum(X**2), x=X)


def test_an_empty_sum_is_0_and_an_empty_product_1() -> None:
    x = ad.input("x", (3,))
    nothing = k > 5
    check(ad.compute((), ad.sum_over(k, x[k], where=nothing)), np.array(0.0), x=array(3))
    check(ad.compute((), ad.prod_over(k, x[k], where=nothing)), np.array(1.0), x=array(3))


def test_counts_are_int64() -> None:
    x = ad.input("x", (4,), "int32")
    y = ad.compute((), ad.sum_over(i, x[i]))
    assert y.dtype == "int64"
    assert value(y, x=np.array([1, 2, 3, 4], "int32")) == 10


# --- nested reductions ---


def test_softmax_written_out() -> None:
    X = array(3, 5)
    x = ad.input("x", X.shape)
    top = ad.max_over(l, x[i, l])
    y = ad.compute((i, j), ad.exp(x[i, j] - top) / ad.sum_over(k, ad.exp(x[i, k] - top)))
    e = np.exp(X - X.max(1, keepdims=True))
    check(y, e / e.sum(1, keepdims=True), x=X)
    assert [m.shape for m in nodes(y)].count((3,)) == 2  # the maximum is computed once


def test_a_reduction_in_a_reduction() -> None:
    A, B = array(3, 4), array(4, 5)
    a, bb = ad.input("a", A.shape), ad.input("b", B.shape)
    y = ad.compute((), ad.sum_over(i, ad.max_over(k, a[i, k] * ad.sum_over(j, bb[k, j]))))
    check(y, np.max(A * B.sum(1), axis=1).sum(), a=A, b=B)


def test_one_letter_in_two_sums_of_different_extent() -> None:
    A, B = array(3, 4), array(3, 6)
    a, bb = ad.input("a", A.shape), ad.input("b", B.shape)
    y = ad.compute(i, ad.sum_over(k, a[i, k]) * ad.sum_over(k, bb[i, k]))
    check(y, A.sum(1) * B.sum(1), a=A, b=B)


def test_a_letter_reused_in_an_inner_sum() -> None:
    A, B = array(3), array(3)
    a, bb = ad.input("a", (3,)), ad.input("b", (3,))
    y = ad.compute((), ad.sum_over(k, a[k] * ad.sum_over(k, bb[k])))
    check(y, A.sum() * B.sum(), a=A, b=B)


def test_a_nested_reduction_takes_the_guards_it_needs() -> None:
    X, W = array(6), array(3)
    x, w = ad.input("x", (6,)), ad.input("w", (3,))
    smooth = ad.sum_over(p, w[p] * x[i + p - 1])
    y = ad.compute(i, ad.exp(smooth), extents={i: 6}, where=(i >= 1) & (i < 5))
    expected = np.zeros(6)
    expected[1:5] = [np.exp(W @ X[i - 1 : i + 2]) for i in range(1, 5)]
    check(y, expected, x=X, w=W)


def test_a_nested_reduction_leaves_guards_it_does_not_need() -> None:
    A = array(4, 5)
    a = ad.input("a", A.shape)
    y = ad.compute((i, j), a[i, j] / ad.sum_over(k, ad.exp(a[i, k])), where=j <= i)
    check(y, np.tril(A / np.exp(A).sum(1, keepdims=True)), a=A)
    assert nodes(y)[0].shape == (4,)


# --- guards and conditions ---


def test_a_guarded_tensor_is_0_elsewhere() -> None:
    A = array(4, 4)
    a = ad.input("a", A.shape)
    check(ad.compute((i, j), a[i, j], where=j <= i), np.tril(A), a=A)
    check(ad.compute((i, j), a[i, j] + 1, where=i == j), np.diag(np.diag(A) + 1), a=A)


def test_guards_around_a_product_leave_0_not_1() -> None:
    A = array(4, 3)
    a = ad.input("a", A.shape)
    y = ad.compute(i, ad.prod_over(k, a[i, k]), where=i >= 2)
    check(y, np.concatenate([[0, 0], A[2:].prod(1)]), a=A)


CONDITIONS: list[tuple[Any, Callable[[int, int], bool]]] = [
    (k != i, lambda i, k: k != i),
    ((k < i) | (k > i), lambda i, k: k != i),
    (~(k < i), lambda i, k: k >= i),
    (~((k == i) | (k == 0)), lambda i, k: not (k == i or k == 0)),
    ((k <= i) & (k != 1), lambda i, k: k <= i and k != 1),
    (k % 2 == 0, lambda i, k: k % 2 == 0),
    (i * k > 2, lambda i, k: i * k > 2),
    ((k >= 1) ^ (i >= 2), lambda i, k: (k >= 1) != (i >= 2)),
]


@pytest.mark.parametrize(("condition", "python"), CONDITIONS)
def test_conditions_of_all_kinds(condition: Any, python: Callable[[int, int], bool]) -> None:
    A = array(4, 4)
    a = ad.input("a", A.shape)
    kept = filled((4, 4), python) > 0
    check(ad.compute(i, ad.sum_over(k, a[i, k], where=condition)), (A * kept).sum(1), a=A)
    product = np.where(kept, A, 1).prod(1)
    check(ad.compute(i, ad.prod_over(k, a[i, k], where=condition)), product, a=A)


def test_a_condition_on_data() -> None:
    A = array(4, 6)
    a = ad.input("a", A.shape)
    positive = np.where(A > 0, A, 0).sum(1)
    check(ad.compute(i, ad.sum_over(k, a[i, k], where=a[i, k] > 0)), positive, a=A)
    largest = np.where(A < 0, A, -np.inf).max(1)
    check(ad.compute(i, ad.max_over(k, a[i, k], where=a[i, k] < 0)), largest, a=A)
    smallest = np.where(A > 0, A, np.inf).min(1)
    check(ad.compute(i, ad.min_over(k, a[i, k], where=a[i, k] > 0)), smallest, a=A)


def test_negated_comparisons_are_guards() -> None:
    a = ad.input("a", (4, 4))
    y = ad.compute(i, ad.sum_over(k, a[i, k], where=~(k < i)))
    assert len(nodes(y)[0].formula.domain.guards) == 1


def test_a_guard_makes_a_read_safe_that_is_not_safe_alone() -> None:
    X = array(6)
    x = ad.input("x", (6,))
    y = ad.compute(i, x[i] - x[i - 1], where=i >= 1)
    check(y, np.concatenate([[0], np.diff(X)]), x=X)


def test_guards_that_only_together_keep_a_read_inside() -> None:
    X = array(4)
    x = ad.input("x", (4,))
    y = ad.compute((i, j), x[i + j], extents={i: 4, j: 6}, where=(j <= 2) & (i + 2 <= 3))
    check(y, filled((4, 6), lambda i, j: X[i + j] if j <= 2 and i <= 1 else 0), x=X)


# --- subscripts of all kinds ---


def test_indices_as_values() -> None:
    A = array(4, 4)
    a = ad.input("a", A.shape)
    check(ad.compute((i, j), ad.where(j <= i, a[i, j], 0)), np.tril(A), a=A)
    check(
        ad.compute((i, j), a[i, j] * (i + 2 * j - 1)),
        filled(A.shape, lambda i, j: A[i, j] * (i + 2 * j - 1)),
        a=A,
    )
    check(
        ad.compute((i, j), a[i, j] + (i // 2) * (j % 3)),
        filled(A.shape, lambda i, j: A[i, j] + (i // 2) * (j % 3)),
        a=A,
    )
    check(ad.compute((i,), 1 / (i + 1), extents={i: 3}), np.array([1, 1 / 2, 1 / 3]))


def test_repeated_and_skewed_indices() -> None:
    A, X = array(5, 5), array(9)
    a, x = ad.input("a", A.shape), ad.input("x", X.shape)
    check(ad.compute(i, a[i, i]), np.diag(A), a=A)
    check(ad.compute((), ad.sum_over(i, a[i, i])), np.trace(A), a=A)
    skewed = ad.compute((i, j), a[i + j, i - j + 2], extents={i: 3, j: 3})
    check(skewed, filled((3, 3), lambda i, j: A[i + j, i - j + 2]), a=A)
    auto = ad.compute(t, ad.sum_over(n, x[n] * x[n + t]), extents={n: 6})
    check(auto, np.array([X[:6] @ X[t : t + 6] for t in range(4)]), x=X)


def test_reversal_and_strides() -> None:
    X = array(9)
    x = ad.input("x", (9,))
    check(ad.compute(i, x[8 - i]), X[::-1], x=X)
    check(ad.compute(i, x[2 * i + 1]), X[1::2], x=X)
    check(ad.compute(i, x[8 - 3 * i]), X[8::-3], x=X)


def test_constants_among_the_subscripts() -> None:
    A = array(4, 5)
    a = ad.input("a", A.shape)
    check(ad.compute(i, a[i, 0] - a[i, -1]), A[:, 0] - A[:, -1], a=A)


def test_an_integer_tensor_as_an_index() -> None:
    table, ids = array(7, 3), RNG.integers(0, 7, (2, 4)).astype("int32")
    e, at = ad.input("e", table.shape), ad.input("ids", ids.shape, "int32")
    y = ad.compute((n, t, d), e[at[n, t], d])
    check(y, table[ids], e=table, ids=ids)
    row = nodes(y)[0].formula.operands[0].rows[0]
    assert isinstance(row, Indirect)
    assert nodes(y)[0].inputs[row.operand].op == "check_index"


def test_an_index_through_two_tensors() -> None:
    X, first, second = array(5), np.array([2, 0, 1], "int32"), np.array([4, 3, 0], "int32")
    x = ad.input("x", (5,))
    f, s = ad.input("f", (3,), "int32"), ad.input("s", (3,), "int32")
    check(ad.compute(n, x[s[f[n]]]), X[second[first]], x=X, f=first, s=second)


def test_a_scalar_tensor_as_an_index_and_as_a_factor() -> None:
    A = array(4, 5)
    a, at, scale = ad.input("a", A.shape), ad.input("at", (), "int32"), ad.input("scale")
    y = ad.compute(j, scale * a[at, j] + scale)
    check(y, 3.0 * A[2] + 3.0, a=A, at=np.int32(2), scale=np.float64(3.0))


def test_functions_of_elements() -> None:
    X = np.abs(array(4)) + 0.1
    x = ad.input("x", (4,))
    check(ad.compute(i, ad.exp(x[i]) * ad.log(x[i]) + abs(-x[i])), np.exp(X) * np.log(X) + X, x=X)
    check(ad.compute(i, ad.sigmoid(x[i])), 1 / (1 + np.exp(-X)), x=X)
    check(ad.compute(i, ad.maximum(x[i], 0.5)), np.maximum(X, 0.5), x=X)
    check(ad.compute(i, ad.relu(x[i] - 0.5)), np.maximum(X - 0.5, 0), x=X)
    check(ad.compute(i, ad.clip(x[i], 0.3, 0.6)), np.clip(X, 0.3, 0.6), x=X)
    check(ad.compute(i, x[i] ** 3 + 2 ** x[i] + x[i] ** -0.5), X**3 + 2**X + X**-0.5, x=X)
    check(ad.compute(i, 7 // (x[i] + 1) + 7 % (x[i] + 1)), 7 // (X + 1) + 7 % (X + 1), x=X)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 7, -1, -2, 0.5, -0.5, 1.7])
def test_powers_of_elements(exponent: float) -> None:
    X = np.abs(array(4)) + 0.1
    y = ad.compute(i, ad.input("x", (4,))[i] ** exponent)
    assert y.dtype == "real"
    check(y, X**exponent, x=X)


def test_whole_numbers_stay_whole() -> None:
    y = ad.compute((i, j), abs(i - j), extents={i: 3, j: 4})
    assert y.dtype == "int64"
    check(y, filled((3, 4), lambda i, j: abs(i - j)))


def test_elements_convert() -> None:
    X = array(4) * 3
    y = ad.compute(i, ad.astype(ad.input("x", (4,))[i], "int32"))
    assert y.dtype == "int32"
    check(y, X.astype("int32").astype(float), x=X)


def test_messages_show_how_indices_are_grouped() -> None:
    i, k = ad.indices("i k")
    assert str((i + k) % 5) == "(i + k) % 5"
    assert str((2 * i) // 3) == "(2*i) // 3"
    assert str(i % 5 + 1) == "(i % 5) + 1"
    assert str(-(i % 5)) == "-(i % 5)"


def test_a_formula_that_is_too_deep_says_so() -> None:
    i = ad.indices("i")
    x = ad.input("x", (3,))
    deep = x[i]
    for _ in range(DEEPEST):
        deep = deep * 0.5
    with pytest.raises(IndexNotationError, match="nested too deeply") as caught:
        deep + 1
    assert caught.value.loc is not None
    assert evaluate({"y": ad.compute((i,), deep).node}, {"x": np.ones(3)})["y"][0] == 0.5**DEEPEST


# --- extents ---


def test_the_largest_extent_that_keeps_every_read_inside() -> None:
    x, w = ad.input("x", (10,)), ad.input("w", (3,))
    assert ad.compute(i, ad.sum_over(p, x[i + p] * w[p])).shape == (8,)
    assert ad.compute(i, ad.sum_over(p, x[2 * i + p] * w[p])).shape == (4,)
    assert ad.compute(i, x[3 * i + 2] + x[i + 1]).shape == (3,)
    assert ad.compute((i, j), x[j] * w[i]).shape == (3, 10)


def test_extents_with_dims_stay_symbolic() -> None:
    size = ad.dim("size", 10)
    x, w = ad.input("x", (size,)), ad.input("w", (3,))
    assert ad.compute(i, ad.sum_over(p, x[i + p] * w[p])).shape == (size - 2,)
    (strided,) = ad.compute(i, ad.sum_over(p, x[2 * i + p] * w[p])).shape
    assert all(substitute(strided, {"size": s}) == (s - 3) // 2 + 1 for s in range(3, 12))
    assert ad.compute(i, x[size - 1 - i]).shape == (size,)
    guarded = ad.compute(i, x[i] - x[i - 1], where=i >= 1)
    assert guarded.shape == (size,)


def test_guards_with_dims_are_proved() -> None:
    height = ad.dim("height", 8)
    x, w = ad.input("x", (height,)), ad.input("w", (3,))
    at = i + p - 1
    y = ad.compute(
        i, ad.sum_over(p, w[p] * x[at], where=(at >= 0) & (at < height)), extents={i: height}
    )
    assert y.shape == (height,)


def test_given_extents_win() -> None:
    X = array(5)
    x = ad.input("x", (5,))
    check(ad.compute(i, x[i], extents={i: 3}), X[:3], x=X)
    check(ad.compute((i, j), x[i] * 1.0, extents={j: 2}), np.stack([X, X], 1), x=X)


def test_equal_names_of_different_indices_are_told_apart() -> None:
    other = ad.indices("i")
    A = array(3, 4)
    y = ad.compute((i, other), ad.input("a", A.shape)[i, other])
    check(y, A, a=A)
    assert nodes(y)[0].formula.domain.names == ("i", "i2")


def test_indices_come_one_or_many() -> None:
    (single,) = ad.indices("m")
    assert str(single) == "m"
    assert str(ad.indices("m")) == "m"
    assert [str(x) for x in ad.indices("i, j k")] == ["i", "j", "k"]
