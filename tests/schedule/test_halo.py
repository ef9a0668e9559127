"""Halos of zeros: results stay equal whatever guards go, and they go where that is cheaper."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from autodiffc.differentiate.reverse import gradients
from autodiffc.graph.comprehension import Comprehension
from autodiffc.graph.construct import elementwise, leaf
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.schedule import halo as module
from autodiffc.schedule.cost import live_share
from autodiffc.schedule.coverage import covers
from autodiffc.schedule.halo import halo, removals
from autodiffc.schedule.layout import choose_layouts
from autodiffc.targets import NAMED_TARGETS, Target
from tests.graph.test_stages import SAMPLES, values_and_gradients
from tests.passes.samples import conv, conv_gradients, max_pool, relu, total
from tests.schedule.test_layout import assert_equal, optimized, random_arrays

WIDE = NAMED_TARGETS["x86-64-v4"]


@pytest.fixture(autouse=True)
def no_choices_of_other_tests() -> Iterator[None]:
    """Costs are patched here, so what was chosen by others' is forgotten."""
    module.choices_of.cache_clear()
    yield
    module.choices_of.cache_clear()


def guards(graph: Graph) -> int:
    return sum(len(p.domain.guards) for n in graph.order for p in n.pieces)


def fewest_guards(node: Node, piece: Comprehension, target: Target) -> float:
    return 1e9 * len(piece.domain.guards)


def most_guards(node: Node, piece: Comprehension, target: Target) -> float:
    return -1e9 * len(piece.domain.guards)


# --- Equal results ---


@pytest.mark.parametrize("operation", SAMPLES)
def test_every_guard_that_may_go(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "piece_cost", fewest_guards)
    for sample in SAMPLES[operation]:
        graph = optimized(values_and_gradients(sample))
        assert_equal(graph, halo(graph, WIDE), sample.arrays)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": (1, 1)},
        {"padding": (2, 1), "stride": (2, 1)},
        {"padding": (2, 3), "dilation": (2, 1)},
        {"padding": (0, 2), "groups": 2},
    ],
)
def test_convolutions_and_their_gradients(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "piece_cost", fewest_guards)
    channels = 4 // int(options.get("groups", 1))  # type: ignore[call-overload]
    graph = optimized(conv_gradients((2, 4, 7, 8), (6, channels, 3, 3), **options))
    new = halo(graph, WIDE)
    assert guards(new) < guards(graph)
    assert_equal(graph, new, random_arrays(graph))


def padded_chain(batch: int) -> Graph:
    """Two padded convolutions with a pool between them, and the gradients of their weights."""
    x, w = leaf("input", "x", (batch, 1, 8, 8), "real"), leaf("param", "w", (4, 1, 3, 3), "real")
    h = max_pool(relu(conv(x, w, padding=(1, 1))), 2, 2)
    v = leaf("param", "v", (2, 4, 3, 3), "real")
    y = relu(conv(elementwise("sin", h), v, padding=(1, 1)))
    dw, dv = gradients(total(y), [w, v])
    return Graph({"y": y, "dw": dw, "dv": dv})


@pytest.mark.parametrize("batch", [1, 16])
def test_halos_in_interleaved_layouts(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = optimized(padded_chain(batch))
    laid_out = choose_layouts(graph, WIDE)
    module.choices_of.cache_clear()
    monkeypatch.setattr(module, "piece_cost", fewest_guards)
    new = halo(laid_out, WIDE)
    assert guards(new) < guards(laid_out)
    assert_equal(graph, new, random_arrays(graph))


# --- Where the zeros lie ---


def test_a_computed_tensor_is_written_into_its_halo(monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy: the kernel that computes it writes it where it shall lie, and its readers follow."""
    monkeypatch.setattr(module, "piece_cost", fewest_guards)
    x, w = leaf("input", "x", (1, 2, 6, 6), "real"), leaf("param", "w", (3, 2, 3, 3), "real")
    v = leaf("param", "v", (2, 3, 3, 3), "real")
    graph = optimized(Graph({"y": conv(relu(conv(x, w)), v, padding=(1, 1))}))
    new = halo(graph, WIDE)
    (inner,) = (n for n in new.order if n.shape == (1, 3, 6, 6))
    assert [n.label for n in new.order if (n.label or "").endswith("_halo")] == []
    assert not covers(inner)
    assert len(new.users(inner)) == 1
    assert_equal(graph, new, random_arrays(graph))


def test_inputs_and_outputs_keep_their_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "piece_cost", fewest_guards)
    x, w = leaf("input", "x", (1, 3, 6, 6), "real"), leaf("param", "w", (3, 3, 3, 3), "real")
    h = relu(conv(x, w, padding=(1, 1)))
    graph = optimized(Graph({"h": h, "y": conv(h, w, padding=(1, 1))}))
    new = halo(graph, WIDE)
    assert {"x_halo"} <= {n.label for n in new.order}
    assert new.outputs["h"].shape == (1, 3, 6, 6)
    assert_equal(graph, new, random_arrays(graph))


def test_readers_share_the_widest_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "piece_cost", fewest_guards)
    x = leaf("input", "x", (1, 2, 6, 6), "real")
    w, v = leaf("param", "w", (3, 2, 3, 3), "real"), leaf("param", "v", (3, 2, 5, 5), "real")
    both = {"a": conv(x, w, padding=(1, 1)), "b": conv(x, v, padding=(2, 2))}
    graph = optimized(Graph(both))
    new = halo(graph, WIDE)
    assert [n.shape for n in new.order if n.label == "x_halo"] == [(1, 2, 10, 10)]
    assert_equal(graph, new, random_arrays(graph))


# --- When guards stay ---


def test_nothing_changes_where_guards_are_cheaper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "piece_cost", most_guards)
    graph = optimized(padded_chain(2))
    assert halo(graph, WIDE) is graph


def test_a_sum_that_zeros_would_change_keeps_its_guards() -> None:
    """cos(0) is 1: the guard decides what counts, and a zero would count."""
    x, w = leaf("input", "x", (1, 1, 8, 8), "real"), leaf("param", "w", (1, 1, 3, 3), "real")
    graph = optimized(Graph({"y": conv(elementwise("cos", x), w, padding=(1, 1))}))
    (y,) = (n for n in graph.order if any(p.domain.guards for p in n.pieces))
    if len(y.inputs) == 2 and y.inputs[0].op == "input":  # cos was fused into the sum
        assert list(removals(y, y.formula)) == []
    assert_equal(graph, halo(graph, WIDE), random_arrays(graph))


def test_live_share_counts_the_points() -> None:
    x, w = leaf("input", "x", (1, 1, 4, 4), "real"), leaf("param", "w", (1, 1, 3, 3), "real")
    y = optimized(Graph({"y": conv(x, w, padding=(1, 1))})).outputs["y"]
    rows = np.add.outer(np.arange(4), np.arange(3)) - 1
    share = np.mean((rows >= 0) & (rows < 4))
    assert live_share(y.formula) == pytest.approx(share**2)
