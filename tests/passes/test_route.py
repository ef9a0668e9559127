"""Masks before pools: equal gradients, and an activation that backward does not read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.graph.verify import verify
from autodiffc.passes import gather, normalize, route, share, simplify, specialize
from autodiffc.reference import evaluate

POOLS: dict[str, dict[str, Any]] = {
    "whole": {"kernel_size": 2},
    "overlapping": {"kernel_size": 3, "stride": 2},
    "padded": {"kernel_size": 3, "stride": 1, "padding": 1},
    "dilated": {"kernel_size": 2, "stride": 1, "dilation": 2},
    "oblong": {"kernel_size": (2, 3), "stride": (3, 1)},
}


def graph_of(outputs: dict[str, ad.Expression]) -> Graph:
    graph = specialize(Graph({n: e.node for n, e in outputs.items()}), {}, "float64")
    for one in (simplify, normalize, share):
        graph = one(graph)
    return graph


def pooled(**options: Any) -> dict[str, ad.Expression]:
    x = ad.input("x", (2, 3, 7, 8))
    y = ad.max_pool2d(ad.relu(x * 2.0), **options)
    weights = ad.input("v", y.shape)
    return {"d": ad.grad(ad.sum(y * weights), x), "y": y}


def activations(graph: Graph) -> list[Node]:
    return [n for n in graph.order if n.label == "relu"]


@pytest.mark.parametrize("options", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("special", ["ties", "nan"])
def test_the_gradient_stays_the_same(options: dict[str, Any], special: str) -> None:
    before = graph_of(pooled(**options))
    after = route(before)
    assert after is not before
    verify(after, "route")
    rng = np.random.default_rng(4)
    leaves = [n for n in before.order if n.op == "input"]
    arrays = {str(n.name): rng.integers(-2, 3, n.shape) / 2.0 for n in leaves}
    if special == "nan":
        arrays["x"][rng.random(arrays["x"].shape) < 0.1] = np.nan
    expected = evaluate(before, arrays)["d"]
    assert np.count_nonzero(expected)
    for graph in (after, normalize(gather(after))):
        np.testing.assert_array_equal(evaluate(graph, arrays)["d"], expected)


def test_backward_reads_no_activation() -> None:
    graph = route(graph_of(pooled(kernel_size=3, stride=2)))
    (relu,) = activations(graph)
    users = graph.users(relu)
    assert {u.formula.combine for u in users} == {"max", "argmax"}
    assert route(graph) is graph


def test_a_mask_that_others_need_as_well_stays() -> None:
    """The activation has two readers: its gradient is a sum, of which the pool's is a part."""
    x = ad.input("x", (2, 3, 8, 8))
    h = ad.relu(x)
    loss = ad.sum(ad.max_pool2d(h, 2)) + ad.sum(h * h)
    graph = graph_of({"d": ad.grad(loss, x), "loss": loss})
    assert route(graph) is graph


def test_another_pools_result_does_not_serve() -> None:
    """The mask is that of another activation than the one whose maximum is routed."""
    x, y = ad.input("x", (1, 1, 4, 4)), ad.input("y", (1, 1, 4, 4))
    first = ad.max_pool2d(ad.relu(x), 2)
    routed = ad.grad(ad.sum(first * first), x)
    other = ad.where(ad.relu(y) <= 0.0, 0.0, routed)
    graph = graph_of({"other": other, "p": ad.max_pool2d(ad.relu(y), 2)})
    arrays = {"x": np.arange(16.0).reshape(1, 1, 4, 4) - 8, "y": np.eye(4).reshape(1, 1, 4, 4)}
    after = evaluate(route(graph), arrays)
    np.testing.assert_array_equal(after["other"], evaluate(graph, arrays)["other"])
