"""Positions as bytes: equal results, only where formulas alone read them."""

from __future__ import annotations

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.dag import Graph
from autodiffc.graph.verify import verify
from autodiffc.passes import narrow, normalize, share, simplify, specialize
from autodiffc.reference import evaluate


def graph_of(**outputs: ad.Expression) -> Graph:
    graph = specialize(Graph({n: e.node for n, e in outputs.items()}), {}, "float64")
    for one in (simplify, normalize, share):
        graph = one(graph)
    return graph


def bytes_in(graph: Graph) -> int:
    return sum(n.dtype == "uint8" for n in graph.order)


@pytest.mark.parametrize(("size", "narrowed"), [(2, 1), (16, 1), (17, 0)])
def test_windows_of_up_to_256_points(size: int, narrowed: int) -> None:
    x = ad.input("x", (1, 2, 18, 18))
    y = ad.max_pool2d(x, size, stride=1)
    before = graph_of(d=ad.grad(ad.sum(y * y), x))
    after = narrow(before)
    verify(after, "narrow")
    assert bytes_in(after) == narrowed
    assert narrow(after) is after
    x_values = -np.arange(2.0 * 18 * 18).reshape(1, 2, 18, 18)[:, :, ::-1, ::-1]
    for arrays in ({"x": x_values}, {"x": -x_values}):
        expected = evaluate(before, arrays)["d"]
        np.testing.assert_array_equal(evaluate(after, arrays)["d"], expected)


def test_outputs_and_addresses_stay_integers() -> None:
    x, table = ad.input("x", (5, 4)), ad.input("table", (4,))
    best = ad.argmax(x, axis=1)
    assert bytes_in(narrow(graph_of(best=best))) == 0
    assert bytes_in(narrow(graph_of(picked=table[best]))) == 0
    assert bytes_in(narrow(graph_of(same=ad.where(best > 2, 1.0, 0.0)))) == 1
