"""What formulas operations make: open dims, guards only where needed, types, one formula each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autodiffc.dsl.notation as notation
from autodiffc.graph.comprehension import Indirect
from autodiffc.graph.construct import leaf
from autodiffc.graph.dag import ancestors
from autodiffc.graph.expression import Expression
from autodiffc.graph.extents import dim
from autodiffc.graph.node import Node
from autodiffc.ops.registry import OPERATIONS
from autodiffc.reference.interpreter import evaluate

N = dim("n", 4)


def x(*shape: Any, dtype: str = "real", name: str = "x") -> Expression:
    return Expression(leaf("input", name, shape, dtype))


def op(name: str, *args: Any, **kwargs: Any) -> Any:
    return OPERATIONS[name].function(*args, **kwargs)


def computed(y: Expression) -> list[Node]:
    return [n for n in ancestors([y.node]) if n.op == "compute"]


# --- Open dims ---


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        (lambda: x(N, 3) @ x(3, 2), (N, 2)),
        (lambda: op("flatten", x(N, 2, 3)), (N, 6)),
        (lambda: op("reshape", x(N, 2, 3), (N, -1)), (N, 6)),
        (lambda: op("reshape", x(N, 6), (-1, 3)), (2 * N, 3)),
        (lambda: op("concat", [x(N, 2), x(3, 2), x(N, 2)]), (2 * N + 3, 2)),
        (lambda: op("conv1d", x(N, 1, 5), x(2, 1, 2)), (N, 2, 4)),
        (lambda: op("conv1d", x(1, 1, N), x(2, 1, 2)), (1, 2, N - 1)),
        (lambda: op("max_pool1d", x(N, 1, 6), 2), (N, 1, 3)),
        (lambda: op("max_pool1d", x(1, 1, 2 * N), 2), (1, 1, N)),
        (lambda: op("softmax", x(N, 3)), (N, 3)),
        (lambda: op("zeros", (N, 3)), (N, 3)),
        (lambda: op("transpose", x(N, 3, 2), 0, 2), (2, 3, N)),
        (lambda: op("eye", N), (N, N)),
        (lambda: op("roll", x(N, 3), 1, axis=0), (N, 3)),
        (lambda: op("one_hot", x(N, dtype="int32"), 3), (N, 3)),
        (lambda: op("cross_entropy", x(N, 3), x(N, dtype="int32")), (N,)),
        (lambda: op("arange", N), (N,)),
        (lambda: op("pad", x(N), (1, 2)), (N + 3,)),
        (lambda: op("tile", x(N), 3), (3 * N,)),
        (lambda: x(N, 2)[1:], (N - 1, 2)),
        (lambda: x(N, 2)[:-1, 0], (N - 1,)),
        (lambda: x(N, 2)[::-1], (N, 2)),
        (lambda: x(N, 2)[-1], (2,)),
        (lambda: x(2 * N)[::2], (N,)),
    ],
)
def test_shapes_with_an_open_dim(made: Any, shape: tuple[Any, ...]) -> None:
    assert made().shape == shape


def test_mean_over_an_open_dim_divides_by_its_size() -> None:
    values = np.arange(12.0).reshape(4, 3)
    y = op("mean", x(N, 3), axis=0)
    got = evaluate({"y": y.node}, {"x": values}, dtype="float64")["y"]
    np.testing.assert_allclose(got, values.mean(0))


def test_a_dim_is_a_value() -> None:
    y = x(2) / N
    got = evaluate({"y": y.node}, {"x": np.array([1.0, 2.0])}, dtype="float64")["y"]
    np.testing.assert_allclose(got, [0.25, 0.5])


# --- One formula ---


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (lambda: op("conv2d", x(1, 4, 5, 5), x(4, 2, 3, 3), groups=2, padding=1), 1),
        (lambda: op("conv2d", x(1, 4, 5, 5), x(4, 4, 3, 3), x(4)), 2),
        (lambda: op("max_pool2d", x(1, 1, 4, 4), 2), 1),
        (lambda: x(2, 3) @ x(3, 4), 1),
        (lambda: op("sum", x(2, 3), axis=1), 1),
        (lambda: x(2, 3) ** 2, 1),
        (lambda: op("concat", [x(2), x(3)]), 1),
        (lambda: op("stack", [x(2), x(2)]), 1),
        (lambda: op("pad", x(2, 2), 1, value=3.0), 1),
        (lambda: op("einsum", "ij,jk,kl->il", x(2, 3), x(3, 4), x(4, 2)), 2),
    ],
)
def test_number_of_formulas(made: Any, count: int) -> None:
    assert len(computed(made())) == count


def test_padding_guards_stand_only_where_a_read_can_leave_the_tensor() -> None:
    def guards(**keywords: Any) -> int:
        y = op("conv1d", x(1, 1, 6), x(1, 1, 3), **keywords)
        return len(y.node.formula.domain.guards)

    assert guards() == 0
    assert guards(padding=1) == 2
    assert guards(padding=1, stride=2) == 1  # the last window ends at the last element


def test_whole_powers_are_products() -> None:
    assert "pow" not in str((x(2) ** 2).node.formula.body)
    assert "pow" not in "".join(str(n.formula.body) for n in computed(x(2) ** 7))
    assert "sqrt" in str((x(2) ** 0.5).node.formula.body)
    assert "pow" in str((x(2) ** 1.5).node.formula.body)


def test_even_lists_are_slices_and_uneven_ones_are_gathered() -> None:
    def indirect(y: Expression) -> bool:
        return any(isinstance(r, Indirect) for r in y.node.formula.operands[0].rows)

    assert not indirect(x(5)[[3, 1]])
    assert indirect(x(5)[[3, 1, 2]])


def test_values_of_extrema_share_ties_and_pools_do_not() -> None:
    assert op("max", x(2, 3), axis=1).node.attrs["ties"] == "shared"
    assert "ties" not in op("max_pool1d", x(1, 1, 4), 2).node.attrs


# --- Element types ---


@pytest.mark.parametrize(
    ("made", "dtype"),
    [
        (lambda: x(2) + 1, "real"),
        (lambda: x(2, dtype="int32") + 1, "int32"),
        (lambda: x(2, dtype="int32") + 0.5, "real"),
        (lambda: x(2, dtype="int32") / 2, "real"),
        (lambda: x(2, dtype="int32") // 2, "int32"),
        (lambda: x(2, dtype="int32") ** 2, "int32"),
        (lambda: x(2, dtype="uint8") + x(2, dtype="int64"), "int64"),
        (lambda: x(2, dtype="float32") * 2.5, "float32"),
        (lambda: x(2) * x(2, dtype="float64"), "float64"),
        (lambda: op("sum", x(2, dtype="bool")), "int64"),
        (lambda: op("mean", x(2, dtype="int32")), "real"),
        (lambda: op("argmax", x(2)), "int32"),
        (lambda: op("one_hot", x(2, dtype="int32"), 3), "int64"),
        (lambda: x(2) < 1, "bool"),
        (lambda: ~x(2, dtype="int32"), "int32"),
        (lambda: op("concat", [x(2, dtype="int32"), x(2)]), "real"),
    ],
)
def test_promotion(made: Any, dtype: str) -> None:
    assert made().dtype == dtype


# --- Index notation ---


def test_functions_act_on_elements_of_index_notation() -> None:
    i = notation.indices("i")
    a = x(3, name="a")
    for name in ("exp", "relu", "gelu", "softplus", "elu", "square", "abs", "round"):
        y = notation.compute(i, op(name, a[i]))
        values = np.array([-1.3, 0.0, 2.0])
        got = evaluate({"y": y.node}, {"a": values}, dtype="float64")["y"]
        np.testing.assert_allclose(got, OPERATIONS[name].reference(values), atol=1e-12)


def test_where_and_clip_act_on_indices() -> None:
    i, j = notation.indices("i j")
    a = x(3, 3, name="a")
    low = notation.compute((i, j), op("where", j <= i, a[i, j], 0))
    values = np.arange(9.0).reshape(3, 3)
    got = evaluate({"y": low.node}, {"a": values}, dtype="float64")["y"]
    np.testing.assert_array_equal(got, np.tril(values))


# --- What must stay finite ---


def test_extremes_do_not_overflow() -> None:
    values = np.array([[-1e4, 0.0, 1e4], [-np.inf, 0.0, -np.inf]])
    for name in ("softmax", "log_softmax", "logsumexp"):
        y = op(name, x(2, 3), axis=-1)
        got = evaluate({"y": y.node}, {"x": values}, dtype="float64")["y"]
        assert not np.isnan(got).any(), name
    got = evaluate({"y": op("logsumexp", x(2)).node}, {"x": np.full(2, -np.inf)})["y"]
    assert got == -np.inf


# --- What must cost nothing ---


def test_labels_whose_range_excludes_the_ignored_one_are_not_compared_with_it() -> None:
    def formulas(low: int | None, high: int | None, ignored: int = -100) -> int:
        labels = leaf("input", "t", (2,), "int32", low=low, high=high)
        y = op("cross_entropy", x(2, 3), labels, reduction="mean", ignore_index=ignored)
        return len(computed(y))

    plain = formulas(0, 3)
    assert formulas(None, None) > plain
    assert formulas(-100, 3) > plain
    assert formulas(0, None) == plain
    assert formulas(None, -100) == plain
    assert formulas(0, 3, ignored=3) == plain
    assert formulas(0, 3, ignored=2) > plain
