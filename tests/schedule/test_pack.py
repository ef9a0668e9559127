"""Packed operands: results stay equal, panels are wide as the tile, and copies are not copied."""

from __future__ import annotations

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression
from autodiffc.graph.node import Node
from autodiffc.graph.verify import verify
from autodiffc.lower import lower
from autodiffc.passes import gather, normalize, specialize
from autodiffc.reference.interpreter import evaluate
from autodiffc.schedule import pack as packing
from autodiffc.schedule.pack import pack
from autodiffc.targets import NAMED_TARGETS

TARGET = NAMED_TARGETS["x86-64-v4"]


def graph_of(**outputs: Expression) -> Graph:
    graph = specialize(Graph({k: y.node for k, y in outputs.items()}), {}, "float64")
    return normalize(gather(normalize(graph)))


def copies(graph: Graph) -> list[Node]:
    return [n for n in graph.order if (n.label or "").endswith("_packed")]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs whatever can be packed."""
    monkeypatch.setattr(packing, "WAITS", 0.0)
    monkeypatch.setattr(packing, "WORTHWHILE", 1e9)
    monkeypatch.setattr(packing, "REUSE", 0)


def matmul(n: int, k: int, m: int) -> Expression:
    return ad.input("a", (n, k)) @ ad.input("b", (k, m))


def conv(channels: int, features: int) -> Expression:
    x, w = ad.input("a", (2, channels, 9, 30)), ad.input("b", (features, channels, 3, 3))
    return ad.conv2d(x, w)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "y",
    [
        pytest.param(matmul(64, 48, 100), id="rest"),
        pytest.param(matmul(64, 48, 96), id="whole"),
        pytest.param(ad.relu(matmul(40, 48, 77) + ad.input("c", (77,))), id="epilogue"),
        pytest.param(ad.input("a", (3, 40, 48)) @ ad.input("b", (3, 48, 77)), id="batched"),
        pytest.param(conv(24, 20), id="convolution"),
    ],
)
def test_results_stay_equal(y: Expression) -> None:
    graph = graph_of(y=y)
    new = pack(graph, TARGET)
    verify(new, "pack")
    assert copies(new)
    rng = np.random.default_rng(0)
    arrays = {str(n.name): rng.standard_normal(n.shape) for n in graph.leaves("input")}
    expected, found = evaluate(graph, arrays)["y"], evaluate(new, arrays)["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("eager")
def test_what_is_left_behind_the_panels_is_a_piece_of_its_own() -> None:
    new = pack(graph_of(y=matmul(100, 48, 100)), TARGET)
    (copy,) = copies(new)
    panels, depth, width = (int(str(extent)) for extent in copy.shape)
    assert depth == 48
    assert panels == 100 // width
    assert len(new.outputs["y"].pieces) == 1 + (100 % width > 0)


@pytest.mark.usefixtures("eager")
def test_a_copy_is_packed_from_what_it_was_copied_from() -> None:
    i, j = ad.indices("i j")
    a, b = ad.input("a", (48, 64)), ad.input("b", (96, 48))
    flipped = [ad.compute((i, j), x[j, i]) for x in (a, b)]
    graph = specialize(Graph({"y": (flipped[0] @ flipped[1]).node}), {}, "float64")
    (copy,) = copies(pack(graph, TARGET))
    (source,) = copy.inputs
    assert source.op == "input"


def test_small_products_are_left_alone() -> None:
    graph = graph_of(y=matmul(64, 48, 96))
    assert pack(graph, TARGET) is graph or not copies(pack(graph, TARGET))


def test_rows_pages_apart_are_packed() -> None:
    assert copies(pack(graph_of(y=matmul(2048, 2048, 2048)), TARGET))


def test_left_out_by_name() -> None:
    model = ad.Model("large", {"y": matmul(2048, 2048, 2048)})
    with_it, without = (
        lower(model, target="x86-64-v4", without=names).sources["large.c"]
        for names in ((), ("pack",))
    )
    assert "_packed" in with_it
    assert "_packed" not in without


@pytest.mark.usefixtures("eager")
def test_scatters_are_left_alone() -> None:
    """Points that meet at one element may not be told apart into two pieces."""
    x, w = ad.input("a", (2, 3, 9, 30)), ad.input("b", (16, 3, 3, 3))
    gradient = ad.grad(ad.sum(ad.conv2d(x, w) ** 2), x)
    graph = specialize(Graph({"y": gradient.node}), {}, "float64")
    verify(pack(graph, TARGET), "pack")


def test_with_an_open_dim_panels_have_tiles() -> None:
    a, b = ad.input("a", (ad.dim("n", 2048), 2048)), ad.input("b", (2048, 2048))
    model = ad.Model("large", {"y": a @ b})
    text = lower(model, dims={"n": (1, 4096)}, target="x86-64-v4").sources["large.c"]
    kernel = text[text.index("static void kernel_y(") :].partition("\n}\n")[0]
    assert "b_packed" in kernel
    assert "store_f32x16(y" in kernel
    assert "if (" not in kernel
