"""The interpreter against loops written by hand, and what it refuses."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import autodiffc.ops.functions  # noqa: F401 - fills the table of functions
from autodiffc.errors import (
    ArgumentError,
    IndexRangeError,
    VerificationError,
)
from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect
from autodiffc.graph.construct import (
    check_index,
    compute,
    constant_node,
    elementwise,
    leaf,
    reshape,
    stop_gradient,
)
from autodiffc.graph.extents import dim
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Cast, Index, Scalar, Size, call
from autodiffc.graph.types import TensorType
from autodiffc.reference import evaluate, formula
from autodiffc.reference.formula import split

i, j = identity(2)
X = leaf("input", "x", (4, 5), "real")
VALUE = Arg(0)
VALUES = np.random.default_rng(0).standard_normal((4, 5))


@pytest.fixture(params=[1, 3, 7, 1_000_000], ids=lambda n: f"blocks of {n}", autouse=True)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with domains cut into small blocks too."""
    monkeypatch.setattr(formula, "POINTS_AT_ONCE", request.param)


def run(node: Node, dtype: str = "float64", **env: Any) -> np.ndarray:
    return evaluate({"y": node}, env, dtype=dtype)["y"]


def over_rows(combine: str, body: Scalar = VALUE, x: Node = X, **changes: Any) -> Node:
    """y[i] combine= body(x[i, j])."""
    shape = tuple(int(e) for e in x.shape)
    piece = Comprehension(Domain(shape), (i,), (Access(0, (i, j)),), body, combine)
    return compute([x], [replace(piece, **changes)], (shape[0],))


# --- Combiners ---


def by_hand(combine: str, rows: np.ndarray) -> list[Any]:
    results: list[Any] = []
    for row in rows.tolist():
        best, place, total, product = row[0], 0, 0.0, 1.0
        for position, value in enumerate(row):
            total += value
            product *= value
            larger = value > best if combine.endswith("max") else value < best
            if position and (larger or (math.isnan(value) and not math.isnan(best))):
                best, place = value, position
        kinds = {"sum": total, "prod": product, "max": best, "min": best}
        results.append(kinds.get(combine, place))
    return results


@pytest.mark.parametrize("combine", ["sum", "prod", "max", "min", "argmax", "argmin"])
def test_reductions(combine: str) -> None:
    found = run(over_rows(combine), x=VALUES)
    np.testing.assert_allclose(found, by_hand(combine, VALUES), rtol=1e-14)
    assert found.dtype == ("int32" if combine.startswith("arg") else "float64")


@pytest.mark.parametrize("combine", ["max", "min", "argmax", "argmin"])
def test_nan_is_the_extremum(combine: str) -> None:
    x = np.array([[1, np.nan, 3, np.nan, 2], [np.inf, 1, -np.inf, 1, np.inf]] * 2)
    np.testing.assert_array_equal(run(over_rows(combine), x=x), by_hand(combine, x))


@pytest.mark.parametrize("combine", ["max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, 0.0])
def test_extrema_of_equals(combine: str, value: float) -> None:
    expected = 0 if combine.startswith("arg") else value
    assert (run(over_rows(combine), x=np.full((4, 5), value)) == expected).all()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
@pytest.mark.parametrize("combine", ["max", "min", "argmax", "argmin"])
def test_extrema_of_integers_and_bools(dtype: str, combine: str) -> None:
    x = leaf("input", "x", (4, 5), dtype)
    values = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 200, (4, 5))
    found = run(over_rows(combine, x=x), x=values)
    assert found.dtype == ("int32" if combine.startswith("arg") else dtype)
    np.testing.assert_array_equal(found, by_hand(combine, values))


def test_positions_are_row_major_over_the_reduced_indices() -> None:
    """y[j] = argmax over (i, k) of x[i, j, k]: the position is i * K + k."""
    a, b, c = identity(3)
    x = leaf("input", "x", (3, 2, 4), "real")
    piece = Comprehension(Domain((3, 2, 4)), (b,), (Access(0, (a, b, c)),), Arg(0), "argmax")
    values = np.random.default_rng(2).integers(0, 3, (3, 2, 4)).astype(float)
    expected = values.transpose(1, 0, 2).reshape(2, 12).argmax(axis=1)
    np.testing.assert_array_equal(run(compute([x], [piece], (2,)), x=values), expected)


@pytest.mark.parametrize("combine", ["argmax", "argmin"])
def test_positions_count_guarded_points(combine: str) -> None:
    """Guards exclude points; they do not renumber the others."""
    node = over_rows(combine, domain=Domain((4, 5), (j - 2,)))
    expected = getattr(VALUES[:, 2:], combine)(axis=1) + 2
    np.testing.assert_array_equal(run(node, x=VALUES), expected)
    worst = np.full((4, 5), -np.inf if combine == "argmax" else np.inf)
    assert (run(node, x=worst) == 2).all()  # the guarded infinities do not count as equals


def test_set_leaves_zeros_elsewhere() -> None:
    piece = Comprehension(Domain((4, 5)), (i * 2 + 1, j), (Access(0, (i, j)),), Arg(0), "set")
    expected = np.zeros((9, 5))
    expected[1:8:2] = VALUES
    np.testing.assert_array_equal(run(compute([X], [piece], (9, 5)), x=VALUES), expected)


def test_set_keeps_the_sign_of_zero() -> None:
    node = elementwise("neg", X)
    assert np.signbit(run(node, x=np.zeros((4, 5)))).all()


def test_sums_may_collide() -> None:
    """y[i + j] += x[i, j]: the diagonals."""
    piece = Comprehension(Domain((4, 5)), (i + j,), (Access(0, (i, j)),), Arg(0), "sum")
    expected = np.zeros(8)
    for a, b in itertools.product(range(4), range(5)):
        expected[a + b] += VALUES[a, b]
    np.testing.assert_allclose(run(compute([X], [piece], (8,)), x=VALUES), expected, rtol=1e-14)


@pytest.mark.parametrize(("combine", "expected"), [("sum", 0.0), ("prod", 1.0)])
def test_empty_reductions(combine: str, expected: float) -> None:
    x = leaf("input", "x", (4, 0), "real")
    assert (run(over_rows(combine, x=x), x=np.ones((4, 0))) == expected).all()
    guarded = over_rows(combine, domain=Domain((4, 5), (i - 2,)))
    full = VALUES.sum(1) if combine == "sum" else VALUES.prod(1)
    np.testing.assert_allclose(run(guarded, x=VALUES), [expected, expected, *full[2:]])


@pytest.mark.parametrize("combine", ["max", "min", "argmax", "argmin"])
def test_extrema_of_nothing_are_refused(combine: str) -> None:
    x = leaf("input", "x", (4, 0), "real")
    with pytest.raises(ArgumentError, match=f"{combine} over no element at all"):
        run(over_rows(combine, x=x), x=np.ones((4, 0)))
    with pytest.raises(ArgumentError, match="nothing to compare for 2 elements"):
        run(over_rows(combine, domain=Domain((4, 5), (j - i - 3,))), x=VALUES)


@pytest.mark.parametrize("combine", ["max", "min", "argmax", "argmin"])
def test_guards_on_kept_indices_leave_elements_of_extrema_out(combine: str) -> None:
    """What no formula writes is 0; with a `finish`, too."""
    left = over_rows(combine, domain=Domain((4, 5), (i - 2,)))
    expected = [0, 0, *by_hand(combine, VALUES)[2:]]
    np.testing.assert_array_equal(run(left, x=VALUES), expected)
    if not combine.startswith("arg"):
        finished = renew(left, pieces=(replace(left.formula, finish=Arg(0) - 1.0),))
        expected = [n - 1.0 if k >= 2 else 0 for k, n in enumerate(expected)]
        np.testing.assert_array_equal(run(finished, x=VALUES), expected)


def test_no_indices_at_all() -> None:
    x = leaf("input", "x", (), "real")
    assert run(elementwise("mul", x, 3.0), x=2.0) == 6.0


# --- Types ---


def test_sums_of_float32_are_rounded_once() -> None:
    x = leaf("input", "x", (1, 10_001), "float32")
    values = np.full((1, 10_001), 1e-4, "float32")
    values[0, 0] = 1e4
    found = run(over_rows("sum", x=x), x=values)
    assert found.dtype == np.float32
    assert found[0] == np.float32(values.astype("float64").sum())


def test_real_is_what_the_caller_says() -> None:
    node = elementwise("div", X, 3.0)
    for dtype in ("float32", "float64"):
        found = run(node, dtype, x=VALUES)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, VALUES.astype(dtype) / np.dtype(dtype).type(3))


@pytest.mark.parametrize("combine", ["sum", "prod"])
def test_integers_wrap_as_in_c(combine: str) -> None:
    x = leaf("input", "x", (4, 5), "int32")
    values = np.full((4, 5), 2**30 + 1, "int64")
    exact = 5 * (2**30 + 1) if combine == "sum" else (2**30 + 1) ** 5
    wrapped = (exact + 2**31) % 2**32 - 2**31
    assert (run(over_rows(combine, x=x), x=values) == wrapped).all()


@pytest.mark.parametrize(
    ("values", "source", "target", "expected"),
    [
        ([2.7, -2.7, -0.2], "real", "int32", [2, -2, 0]),
        ([0.5, 0.0, np.nan], "real", "bool", [True, False, True]),
        ([3, 0, -1], "int64", "bool", [True, False, True]),
        ([True, False, True], "bool", "real", [1.0, 0.0, 1.0]),
        ([257, 255, -1], "int32", "uint8", [1, 255, 255]),
    ],
)
def test_casts(values: list[Any], source: str, target: str, expected: list[Any]) -> None:
    x = leaf("input", "x", (3,), source)
    k = index(1, 0)
    piece = Comprehension(Domain((3,)), (k,), (Access(0, (k,)),), Cast(target, Arg(0)))
    found = run(compute([x], [piece], (3,)), x=np.array(values))
    assert found.dtype == (target if target != "real" else "float64")
    np.testing.assert_array_equal(found, expected)


def test_indices_and_sizes_as_values() -> None:
    n = dim("n", 3)
    k = index(1, 0)
    body = Cast("real", Index(0)) / Cast("real", Size(n))
    node = compute(
        [leaf("input", "z", (n,), "real")], [Comprehension(Domain((n,)), (k,), (), body)], (n,)
    )
    np.testing.assert_array_equal(run(node, z=np.zeros(4)), np.arange(4) / 4)


def test_nan_and_infinity_pass_without_warnings() -> None:
    with np.errstate(all="raise"):
        found = run(elementwise("log", X), x=np.full((4, 5), -1.0))
        assert np.isnan(found).all()
        assert np.isinf(run(elementwise("div", 1.0, X), x=np.zeros((4, 5)))).all()


# --- Guards ---


def test_a_guarded_convolution() -> None:
    """y[i] = sum_p w[p] x[i + p - 1], zeros around."""
    i, p = identity(2)
    row = i + p - 1
    x, w = leaf("input", "x", (6,), "real"), leaf("input", "w", (3,), "real")
    domain = Domain((6, 3), (row, -row + 5))
    piece = Comprehension(
        domain, (i,), (Access(0, (row,)), Access(1, (p,))), Arg(0) * Arg(1), "sum"
    )
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal(6), rng.standard_normal(3)
    found = run(compute([x, w], [piece], (6,)), x=a, w=b)
    np.testing.assert_allclose(found, np.correlate(np.pad(a, 1), b, "valid"), rtol=1e-13)


def test_what_guards_exclude_is_never_used() -> None:
    """Neither NaN nor a division by zero of an excluded point reaches the sum."""
    node = over_rows("sum", 1.0 / Arg(0), domain=Domain((4, 5), (j - 2,)))
    values = VALUES.copy()
    values[:, 0], values[:, 1] = np.nan, 0.0
    np.testing.assert_allclose(run(node, x=values), (1 / VALUES[:, 2:]).sum(1), rtol=1e-14)


def test_a_guard_between_indices() -> None:
    node = over_rows("sum", domain=Domain((4, 5), (i - j,)))
    np.testing.assert_allclose(run(node, x=VALUES), np.tril(VALUES).sum(1), rtol=1e-14)


# --- Indirect rows ---

E = leaf("param", "e", (7, 2), "real")
IDS = leaf("input", "ids", (3,), "int32")
TABLE = np.random.default_rng(4).standard_normal((7, 2))


def gathered(ids: Node = IDS) -> Node:
    """y[i, j] = e[ids[i], j]."""
    rows = (Indirect(1, (i,)), j)
    piece = Comprehension(Domain((3, 2)), (i, j), (Access(0, rows),), Arg(0))
    return compute([E, check_index(ids, 7)], [piece], (3, 2))


def test_gather() -> None:
    np.testing.assert_array_equal(run(gathered(), e=TABLE, ids=[6, 0, 6]), TABLE[[6, 0, 6]])


def test_scatter_with_repeats() -> None:
    """y[ids[i], j] += x[i, j]: the adjoint of a gather."""
    x = leaf("input", "x", (3, 2), "real")
    out = (Indirect(1, (i,)), j)
    piece = Comprehension(Domain((3, 2)), out, (Access(0, (i, j)),), Arg(0), "sum")
    node = compute([x, check_index(IDS, 7)], [piece], (7, 2))
    values = VALUES[:3, :2]
    expected = np.zeros((7, 2))
    expected[6], expected[0] = values[0] + values[2], values[1]
    np.testing.assert_allclose(run(node, x=values, ids=[6, 0, 6]), expected, rtol=1e-14)


@pytest.mark.parametrize("ids", [[0, 7, 1], [0, -1, 1]])
def test_indices_out_of_range_are_refused(ids: list[int]) -> None:
    with pytest.raises(IndexRangeError) as caught:
        run(gathered(), e=TABLE, ids=ids)
    assert f"from {min(ids)} to {max(ids)}" in str(caught.value)
    assert "0 <= index < 7" in str(caught.value)


# --- Finish ---


@pytest.mark.parametrize("combine", ["sum", "prod", "max", "min"])
def test_finish(combine: str) -> None:
    """y[i] = 2 * reduced + x[i, 0] + i, once for each element."""
    body = Arg(0) * 2.0 + Arg(1) + Cast("real", Index(0))
    node = over_rows(combine, finish=body, finish_operands=(Access(0, (i, constant(2, 0))),))
    expected = 2 * np.array(by_hand(combine, VALUES)) + VALUES[:, 0] + np.arange(4)
    np.testing.assert_allclose(run(node, x=VALUES), expected, rtol=1e-13)


def test_finish_of_a_position() -> None:
    node = over_rows("argmax", finish=Cast("real", Arg(0)) * 0.5)
    np.testing.assert_array_equal(run(node, x=VALUES), VALUES.argmax(1) / 2)


def test_finish_where_guards_leave_nothing() -> None:
    node = over_rows("sum", domain=Domain((4, 5), (i - 2,)), finish=call("exp", Arg(0)))
    expected = np.exp([0, 0, *VALUES[2:].sum(1)])
    np.testing.assert_allclose(run(node, x=VALUES), expected, rtol=1e-13)


@pytest.mark.parametrize(("dtype", "width"), [("float32", np.float32), ("float64", np.float64)])
def test_a_finish_sees_the_reduced_type(dtype: str, width: type) -> None:
    """A sum of casts of integers is of the build's type, whatever the operands are."""
    x = leaf("input", "x", (1, 3), "int32")
    node = over_rows("sum", Cast("real", Arg(0)) / 3.0, x=x, finish=Arg(0) * 1.0)
    exact = sum(np.array([1, 1, 5], width) / width(3), width(0))
    assert run(node, dtype, x=[[1, 1, 5]])[0] == pytest.approx(
        exact, rel=4 * float(np.finfo(width).eps)
    )
    assert run(node, dtype, x=[[1, 1, 5]]).dtype == width


# --- Several formulas ---


def parts(*formulas: tuple[str, int, int]) -> Node:
    """A formula for each `(combine, start, stop)`: y[start + i] combine= x[start + i, j]."""
    pieces = [
        Comprehension(Domain((b - a, 5)), (i + a,), (Access(0, (i + a, j)),), Arg(0), combine)
        for combine, a, b in formulas
    ]
    return compute([X], pieces, (4,))


def test_formulas_side_by_side() -> None:
    found = run(parts(("sum", 0, 1), ("max", 1, 2), ("prod", 3, 4)), x=VALUES)
    np.testing.assert_allclose(
        found, [VALUES[0].sum(), VALUES[1].max(), 0, VALUES[3].prod()], rtol=1e-14
    )


@pytest.mark.parametrize("second", ["sum", "max", "prod"])
def test_two_formulas_on_one_element_are_refused(second: str) -> None:
    with pytest.raises(VerificationError, match="two formulas write one element"):
        run(parts(("sum", 0, 3), (second, 2, 4)), x=VALUES)


def test_an_element_set_twice_is_refused() -> None:
    with pytest.raises(VerificationError, match="an element is set twice"):
        run(over_rows("set"), x=VALUES)
    piece = Comprehension(Domain((4, 5)), (i + j,), (Access(0, (i, j)),), Arg(0), "set")
    with pytest.raises(VerificationError, match="an element is set twice"):
        run(compute([X], [piece], (8,)), x=VALUES)


def test_an_element_finished_twice_is_refused() -> None:
    piece = Comprehension(Domain((4, 5)), (i + j,), (Access(0, (i, j)),), Arg(0), "sum")
    piece = replace(piece, finish=call("exp", Arg(0)))
    with pytest.raises(VerificationError, match="an element is finished twice"):
        run(compute([X], [piece], (8,)), x=VALUES)


@pytest.mark.parametrize(
    ("finish", "operands"),
    [(Arg(0) + Arg(1), (Access(0, (i, j)),)), (Arg(0) * Cast("real", Index(1)), ())],
)
def test_a_finish_over_reduced_indices_is_refused(
    finish: Scalar, operands: tuple[Access, ...]
) -> None:
    with pytest.raises(VerificationError, match="a finish uses a reduced index"):
        run(over_rows("sum", finish=finish, finish_operands=operands), x=VALUES)


# --- Addresses ---


@pytest.mark.parametrize("row", [j + 1, j - 1, j * 2])
def test_reads_outside_are_refused(row: Affine) -> None:
    with pytest.raises(VerificationError, match="reads input 0 outside its shape"):
        run(over_rows("sum", operands=(Access(0, (i, row)),)), x=VALUES)


@pytest.mark.parametrize("row", [i + 1, i - 1])
def test_writes_outside_are_refused(row: Affine) -> None:
    with pytest.raises(VerificationError, match="writes outside its shape"):
        run(over_rows("sum", out=(row,)), x=VALUES)


def test_addresses_of_another_rank_are_refused() -> None:
    with pytest.raises(VerificationError, match="input 0 has another number of axes"):
        run(over_rows("sum", operands=(Access(0, (i,)),)), x=VALUES)
    with pytest.raises(VerificationError, match="the output has another number of axes"):
        run(over_rows("sum", out=(i, constant(2, 0))), x=VALUES)


# --- Other nodes ---


def test_reshape_stop_gradient_and_constants() -> None:
    c = constant_node(np.arange(20.0), "real")
    node = elementwise("add", stop_gradient(reshape(X, (20,))), c)
    np.testing.assert_array_equal(run(node, x=VALUES), VALUES.reshape(20) + np.arange(20))


def test_an_unknown_operation_is_refused() -> None:
    node = Node("quicksort", (X,), TensorType((4, 5), "real"))
    with pytest.raises(VerificationError, match="quicksort"):
        run(node, x=VALUES)


# --- Blocks ---


@pytest.mark.parametrize("extents", [(), (5,), (3, 4), (2, 1, 3, 2), (4, 0, 2), (1, 1)])
@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_blocks_tile_the_box_in_order(extents: tuple[int, ...], most: int) -> None:
    found = []
    for ranges in split(extents, most):
        assert math.prod(map(len, ranges)) <= most
        found += list(itertools.product(*ranges))
    assert found == list(itertools.product(*map(range, extents)))


def test_memory_is_bounded_by_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A domain of 40 million points that would need gigabytes at once."""
    import tracemalloc

    monkeypatch.setattr(formula, "POINTS_AT_ONCE", 1_000_000)
    x = leaf("input", "x", (200,), "real")
    a, b, c, d = identity(4)
    domain = Domain((1, 200, 200, 200), (c - 195,))
    piece = Comprehension(domain, (a,), tuple(Access(0, (r,)) for r in (b, c, d)), Arg(0), "sum")
    piece = replace(piece, body=Arg(0) * Arg(1) * Arg(2))
    node = renew(compute([x], [piece], (1,)), label="big")
    tracemalloc.start()
    found = run(node, x=np.ones(200))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == 200 * 5 * 200
    assert peak < 100e6
