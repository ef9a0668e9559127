"""Adjoints of formulas: every combiner and kind of access, twice, against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.differentiate import vjp
from autodiffc.errors import DifferentiationError, VerificationError
from autodiffc.graph.affine import Affine, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute, elementwise, leaf
from autodiffc.graph.dag import ancestors
from autodiffc.graph.expression import Expression
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Cast, Index
from tests.differentiate.finite import check, inputs, scalar, value


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def distinct(*shape: int) -> np.ndarray:
    """Numbers that are far apart, so that no step changes which one is greatest."""
    count = int(np.prod(shape))
    return np.random.default_rng(1).permutation(count).reshape(shape) / 4.0 - count / 8.0


# --- Sums of products, windows, views ---


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((), (2, 2))]
)
def test_broadcasting(shapes: tuple[tuple[int, ...], ...]) -> None:
    a, b = normal(*shapes[0]), normal(*shapes[1], seed=1)
    check(lambda x, y: x * y + ad.sin(x - y), x=a, y=b)


def test_matmul() -> None:
    check(lambda x, y: x @ y, x=normal(3, 4), y=normal(4, 2, seed=1))
    check(lambda x, y: x @ y, x=normal(2, 3, 4), y=normal(4, 2, seed=1))
    check(lambda x: x @ x, x=normal(3, 3))


@pytest.mark.parametrize("axis", [None, 0, (0, 2)])
def test_sums_and_means(axis: object) -> None:
    check(lambda x: ad.mean(x * x, axis=axis) * ad.sum(x, axis=axis), x=normal(2, 3, 4))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"padding": (2, 0), "dilation": (2, 1)},
        {"stride": (2, 1), "padding": 2, "dilation": 2},
        {"groups": 2, "padding": 1},
    ],
    ids=str,
)
def test_convolution(options: dict[str, object]) -> None:
    groups = options.get("groups", 1)
    weight = normal(4, 2 // groups, 3, 2, seed=1)  # type: ignore[operator]
    check(lambda x, w: ad.conv2d(x, w, **options), x=normal(2, 2, 6, 5), w=weight)


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"stride": 2, "padding": 1}], ids=str)
def test_pools(options: dict[str, int]) -> None:
    x = distinct(1, 2, 6, 5)
    check(lambda x: ad.max_pool2d(x, 3, **options), x=x)
    check(lambda x: ad.avg_pool2d(x, 3, **options), x=x)


def test_views() -> None:
    x = normal(4, 6)
    check(lambda x: x[1:3, ::2] * 2, x=x)
    check(lambda x: ad.flip(x, axis=1) * x, x=x)
    check(lambda x: ad.pad(x, ((1, 2), (0, 3))), x=x)
    check(lambda x, y: ad.concat([x, y, x], axis=0), x=x, y=normal(2, 6, seed=1))
    check(lambda x: ad.transpose(x) @ x, x=x)
    check(lambda x: ad.reshape(ad.sin(ad.reshape(x, (3, 8))), (2, 12)), x=x)


def test_gather_with_repeats() -> None:
    ids = ad.constant(np.array([2, 0, 2, 2]))
    check(lambda x: x[ids] * x[0], x=normal(4, 3))
    a, d = ad.indices("a d")
    check(lambda x: ad.compute((a, d), x[ids[a], d] * x[d, a]), x=normal(4, 4))


def test_skewed_diagonal_and_repeated_indices() -> None:
    i, j, k = ad.indices("i j k")
    check(lambda x: ad.compute((i,), x[i, i]), x=normal(4, 4))
    check(
        lambda x: ad.compute((k,), ad.sum_over((i,), x[i] * x[i + k]), extents={k: 3, i: 4}),
        x=normal(6),
    )
    check(
        lambda x: ad.compute((i,), ad.sum_over((j,), x[2 * i + j] ** 2), extents={j: 3}),
        x=normal(9),
    )
    check(lambda x: ad.compute((i, j), ad.where(j <= i, x[i, j] * i, 0)), x=normal(3, 3))


def test_indices_that_nothing_uses_still_count() -> None:
    i, j = ad.indices("i j")
    build = lambda x: ad.compute((i,), ad.sum_over((j,), x[i]), extents={j: 5})  # noqa: E731
    check(build, x=normal(3))
    (x,) = inputs(x=normal(3))
    assert value(ad.grad(ad.sum(build(x)), x), {"x": normal(3)}).tolist() == [5, 5, 5]


def test_guards_stay_where_an_operand_goes() -> None:
    """d(x + w)/dw reads no x, and yet has a point only where x could be read."""
    i, p = ad.indices("i p")
    inside = (i + p - 1 >= 0) & (i + p - 1 < 5)

    def build(x: Expression, w: Expression) -> Expression:
        body = ad.sum_over((p,), x[i + p - 1] + w[p], where=inside)
        return ad.compute((i,), body, extents={i: 5, p: 3})

    check(build, x=normal(5), w=normal(3))
    x, w = inputs(x=normal(5), w=normal(3))
    gradient = value(ad.grad(ad.sum(build(x, w)), w), {"x": normal(5), "w": normal(3)})
    assert gradient.tolist() == [4, 5, 4]


# --- Extrema ---


def test_extrema_over_axes() -> None:
    for reduce in (ad.max, ad.min):
        check(lambda x, reduce=reduce: reduce(x * x, axis=1), x=distinct(3, 4) + 0.3)
    i, j = ad.indices("i j")
    for over in (ad.max_over, ad.min_over):
        check(
            lambda x, over=over: ad.compute((i,), over((j,), x[i, j] * x[j, i])),
            x=distinct(4, 4) + 0.3,
        )


def gradient_of(build: Callable[[Expression], Expression], x: np.ndarray) -> np.ndarray:
    (leaf,) = inputs(x=x)
    return value(ad.grad(ad.sum(build(leaf)), leaf), {"x": x})


def test_ties_over_axes_are_shared() -> None:
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -1.0, 5.0]])
    expected = np.array([[0, 0.5, 0.5], [1 / 3] * 3, [0, 0, 1]])
    np.testing.assert_allclose(gradient_of(lambda x: ad.max(x, axis=1), x), expected)
    np.testing.assert_allclose(gradient_of(lambda x: ad.min(-x, axis=1), x), -expected)


def test_ties_in_windows_go_to_the_first() -> None:
    x = np.array([[[[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]]])
    # windows at columns 0 and 1; the first of each in row-major order wins
    expected = [[[[1, 1, 0], [0, 0, 0]]]]
    assert gradient_of(lambda x: ad.max_pool2d(x, 2, stride=1), x).tolist() == expected
    i, j = ad.indices("i j")
    y = np.array([[2.0, 5.0, 5.0], [1.0, 1.0, 1.0]])
    largest = gradient_of(lambda x: ad.compute((i,), ad.max_over((j,), x[i, j])), y)
    assert largest.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_ties_of_two_values_are_shared() -> None:
    x, y = inputs(x=np.ones(3), y=np.ones(3))
    arrays = {"x": np.array([1.0, 2, 3]), "y": np.array([1.0, 3, 2])}
    gx, gy = ad.grad(ad.sum(ad.maximum(x, y)), [x, y])
    assert value(gx, arrays).tolist() == [0.5, 0, 1]
    assert value(gy, arrays).tolist() == [0.5, 1, 0]


def test_nan_is_the_extremum_of_its_window_only() -> None:
    x = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0]])
    assert gradient_of(lambda x: ad.max(x, axis=1), x).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_positions_have_no_gradient() -> None:
    (x,) = inputs(x=normal(3, 4))
    y = ad.sum(x * ad.astype(ad.argmax(x, axis=1, keepdims=True), "real"))
    positions = np.argmax(normal(3, 4), axis=1)[:, None] * np.ones((3, 4))
    np.testing.assert_array_equal(value(ad.grad(y, x), {"x": normal(3, 4)}), positions)


# --- Products ---


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_products_with_zeros(zeros: int) -> None:
    x = np.array([[1.5, -2.0, 0.5, 3.0], [0.7, 1.1, -0.4, 2.0]])
    x[0, :zeros] = 0.0
    check(lambda x: ad.prod(x, axis=1), x=x, tolerance=1e-7)
    check(lambda x: ad.prod(ad.sin(x)), x=x)


def test_products_in_index_notation() -> None:
    i, j, k = ad.indices("i j k")
    inside = i + j < 4

    def build(x: Expression) -> Expression:
        body = ad.prod_over((j, k), x[i, j] + k * x[j, i], where=inside)
        return ad.compute((i,), body, extents={j: 4, k: 2, i: 4})

    check(build, x=normal(4, 4), tolerance=1e-7)


def test_empty_reductions() -> None:
    (x,) = inputs(x=np.zeros((0, 3)))
    for reduce in (ad.sum, ad.prod):
        gradient = ad.grad(ad.sum(reduce(x, axis=0)), x)
        assert value(gradient, {"x": np.zeros((0, 3))}).shape == (0, 3)


# --- The form of the result ---


def test_adjoints_swap_roles() -> None:
    x, w = inputs(x=normal(2, 3), w=normal(3, 4))
    y = (x @ w).node
    (dw,) = vjp([y], [leaf("input", "dy", y.shape, "real")], [w.node])
    forward, backward = y.formula, dw.formula
    assert backward.domain.extents == forward.domain.extents
    assert backward.out == forward.operands[1].rows
    assert [n.name for n in dw.inputs] == ["x", "dy"]  # no operand that nothing reads
    assert backward.combine == "sum"
    assert dw.loc == y.loc


def test_an_address_that_visits_no_element_twice_is_set() -> None:
    x, b = inputs(x=normal(4, 6), b=normal(6))
    dx, db = ad.grad(ad.sum(ad.sin(x[1:3, ::2] + b[::2])), [x, b])
    nodes = ancestors([dx.node, db.node])
    writes = {n.shape: n.formula.combine for n in nodes if n.op == "compute" and n.label != "sum"}
    assert writes[4, 6] == "set"
    assert writes[6,] == "set"  # of the slice; the broadcast before it is a sum of shape (3,)
    assert writes[3,] == "sum"


def test_the_result_is_reused_only_where_each_element_has_one_point() -> None:
    (x,) = inputs(x=normal(3))
    y = ad.exp(x)
    (dx,) = vjp([y.node], [leaf("input", "dy", (3,), "real")], [x.node])
    assert y.node in dx.inputs
    assert x.node not in dx.inputs
    rows = identity(1)
    body = replace(y.node.formula, combine="sum", out=(), operands=(Access(0, rows),))
    total = compute([x.node], [body], ())
    (dx,) = vjp([total], [leaf("input", "dy", (), "real")], [x.node])
    assert total not in dx.inputs


def test_an_element_read_twice_is_differentiated_once() -> None:
    (x,) = inputs(x=normal(3))
    y = x * x
    (dx,) = vjp([y.node], [leaf("input", "dy", (3,), "real")], [x.node])
    assert len(dx.formula.operands) == 2
    assert dx.op == "compute"
    assert [n.op for n in dx.inputs] == ["input", "input"]


def test_mixed_precision_comes_back_in_the_operands_type() -> None:
    x = ad.input("x", (3,), "float32")
    y = ad.sum(ad.astype(x, "float64") ** 2)
    gradient = ad.grad(y, x)
    assert gradient.dtype == "float32"
    got = value(gradient, {"x": np.array([1, 2, 3], "float32")})
    assert got.tolist() == [2, 4, 6]


# --- What has no adjoint ---


def _max_of(out: Affine) -> Node:
    x = leaf("input", "x", (3, 3), "real")
    formula = Comprehension(Domain((3, 3)), (out,), (Access(0, identity(2)),), Arg(0), "max")
    return compute([x], [formula], (5,), label="skewed")


def test_points_that_meet_in_a_skewed_way_are_refused() -> None:
    y = _max_of(Affine((1, 1)))
    with pytest.raises(DifferentiationError, match="skewed output"):
        vjp([y], [leaf("input", "dy", (5,), "real")], [y.inputs[0]])


def test_differentiation_comes_before_fusion() -> None:
    (x,) = inputs(x=normal(3))
    y = elementwise("exp", x.node)
    fused = renew(y, pieces=(replace(y.formula, finish=Arg(0)),))
    with pytest.raises(VerificationError, match="before fusion"):
        vjp([fused], [leaf("input", "dy", (3,), "real")], [x.node])


def test_a_scatter_is_differentiated_into_a_gather() -> None:
    """`out[2i] = i * x[i]`, whose other elements are zero."""
    x = leaf("input", "x", (3,), "real")
    body = Arg(0) * Cast("real", Index(0))
    formula = Comprehension(Domain((3,)), (index(1, 0) * 2,), (Access(0, identity(1)),), body)
    y = Expression(compute([x], [formula], (6,)))
    arrays = {"x": normal(3)}
    dx = ad.grad(scalar(y), Expression(x))
    weights = np.random.default_rng(7).uniform(0.5, 1.5, 6)
    expected = (np.cos(value(y, arrays)) * weights)[::2] * np.arange(3)
    np.testing.assert_allclose(value(dx, arrays), expected, rtol=1e-13)
