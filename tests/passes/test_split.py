"""Long sums in two stages: which ones, in how many chunks, and with the same value."""

from __future__ import annotations

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression
from autodiffc.graph.verify import verify
from autodiffc.passes import normalize, specialize
from autodiffc.passes.split import CHUNK, FEW, LONG, MANY, STEP, split
from autodiffc.reference.interpreter import evaluate

BATCH = ad.dim("batch", 512)


def graph_of(y: Expression) -> Graph:
    return normalize(specialize(Graph({"y": y.node}), {}, "float64", {"batch": (1, 1024)}))


def parts(graph: Graph) -> list[tuple[object, ...]]:
    return [n.shape for n in graph.order if (n.label or "").endswith("_parts")]


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        pytest.param((LONG,), [(4,)], id="few results"),
        pytest.param((2 * CHUNK,), [], id="short"),
        pytest.param((LONG + 1,), [(5,)], id="a shorter chunk at the end"),
    ],
)
def test_known_extents(shape: tuple[int, ...], found: list[tuple[int, ...]]) -> None:
    assert parts(split(graph_of(ad.sum(ad.input("x", shape))))) == found


def channels(count: int, size: int) -> Expression:
    """One sum a channel over the batch and an image, as a bias' gradient is."""
    return ad.sum(ad.input("x", (BATCH, count, size)), axis=(0, 2))


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        pytest.param(channels(3, STEP + 6), [(3, BATCH)], id="long"),
        pytest.param(channels(MANY, STEP + 6), [(MANY, BATCH)], id="many results"),
        pytest.param(channels(MANY + 1, STEP + 6), [], id="too many results"),
        pytest.param(channels(FEW, STEP - 1), [], id="short steps"),
        pytest.param(ad.sum(ad.input("x", (BATCH,))), [], id="no known extent"),
    ],
)
def test_each_step_of_an_open_extent_is_a_chunk(
    y: Expression, expected: list[tuple[object, ...]]
) -> None:
    assert parts(split(graph_of(y))) == expected


@pytest.mark.parametrize("batch", [1, 5, 512])
def test_the_value_stays_the_same(batch: int) -> None:
    y = channels(3, STEP + 6) * ad.input("scale", (3,)) + 1.0
    graph = graph_of(y)
    new = split(graph)
    verify(new, "split", {"batch": (1, 1024)})
    assert parts(new)
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((batch, 3, STEP + 6)), "scale": rng.standard_normal(3)}
    expected, found = (evaluate(g, arrays)["y"] for g in (graph, new))
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
