"""What the interpreter takes from its caller: leaves by name or node, dims, what `real` means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autodiffc.ops.functions  # noqa: F401 - fills the table of functions
from autodiffc.errors import NameNotFoundError, ShapeError
from autodiffc.graph.affine import index
from autodiffc.graph.comprehension import Comprehension, Domain
from autodiffc.graph.construct import compute, elementwise, leaf
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import dim
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import const
from autodiffc.reference import evaluate

X = leaf("input", "x", (4, 5), "real")
VALUES = np.random.default_rng(0).standard_normal((4, 5))
N = dim("n", 3)


def run(node: Node, **env: Any) -> np.ndarray:
    return evaluate({"y": node}, env)["y"]


def test_outputs_by_name_from_a_graph_or_a_mapping() -> None:
    outputs = {"a": X, "b": elementwise("neg", X)}
    for given in (outputs, Graph(outputs)):
        found = evaluate(given, {X: VALUES})
        assert list(found) == ["a", "b"]
        np.testing.assert_array_equal(found["b"], -VALUES)


def test_arrays_take_the_type_of_their_leaf() -> None:
    x = leaf("input", "x", (2,), "int32")
    assert run(x, x=[1.9, -1.9]).tolist() == [1, -1]
    assert run(x, x=[1.9, -1.9]).dtype == np.int32


def test_outputs_do_not_alias_the_callers_arrays() -> None:
    given = VALUES.copy()
    run(X, x=given)[:] = 0
    np.testing.assert_array_equal(given, VALUES)


def test_dims_come_from_the_arrays() -> None:
    x = leaf("input", "x", (N * 2 + 1,), "real")
    ones = compute([], [Comprehension(Domain((N,)), (index(1, 0),), (), const(1.0))], (N,))
    found = evaluate({"x": x, "ones": ones}, {"x": np.zeros(9)})
    assert found["ones"].shape == (4,)


def test_dims_given_or_by_default() -> None:
    ones = compute([], [Comprehension(Domain((N,)), (index(1, 0),), (), const(1.0))], (N,))
    assert run(ones).shape == (3,)
    assert evaluate({"y": ones}, {}, dims={"n": 8})["y"].shape == (8,)


@pytest.mark.parametrize(("shape", "dims"), [((8,), {}), ((5, 1), {}), ((9,), {"n": 3}), ((), {})])
def test_wrong_shapes_are_refused(shape: tuple[int, ...], dims: dict[str, int]) -> None:
    x = leaf("input", "x", (N * 2 + 1,), "real")
    with pytest.raises(ShapeError, match="the array for 'x' has the wrong shape"):
        evaluate({"y": x}, {"x": np.zeros(shape)}, dims=dims)


def test_arrays_that_disagree_about_a_dim_are_refused() -> None:
    a, b = leaf("input", "a", (N,), "real"), leaf("input", "b", (N,), "real")
    with pytest.raises(ShapeError, match="the array for 'b'"):
        run(elementwise("add", a, b), a=np.zeros(4), b=np.zeros(5))


def test_missing_arrays_are_named() -> None:
    with pytest.raises(NameNotFoundError, match="no array for input 'x'"):
        run(X, y=VALUES)
