"""Interleaved layouts: results stay equal whatever is interleaved, and the cut is the cheapest."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import pytest

from autodiffc.dsl.files import load_model
from autodiffc.graph.construct import elementwise, leaf
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.graph.verify import verify
from autodiffc.lower import Options, Sizes, specialized
from autodiffc.passes import fuse, gather, normalize, share, simplify, specialize
from autodiffc.reference.interpreter import evaluate
from autodiffc.schedule import layout
from autodiffc.schedule.cost import COPY
from autodiffc.schedule.interleave import AxisClasses, interleave
from autodiffc.schedule.layout import choose_layouts
from autodiffc.schedule.program import build_program
from autodiffc.targets import NAMED_TARGETS
from tests.gates.models import ROOT
from tests.graph.test_stages import SAMPLES, values_and_gradients
from tests.passes.samples import conv, lenet, linear, max_pool, relu, total

WIDE = NAMED_TARGETS["x86-64-v4"]
NARROW = NAMED_TARGETS["x86-64"]


def optimized(graph: Graph) -> Graph:
    graph = specialize(graph, {}, "float64")
    for one in (normalize, simplify, share, gather, normalize, fuse):
        graph = one(graph)
    return graph


def able(graph: Graph, axes: dict[Node, int]) -> list[Node]:
    return [n for n in graph.order if layout._is_able(n, axes)]


def random_arrays(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {
        str(n.name): rng.integers(-6, 7, n.shape) / 4.0
        for n in graph.order
        if n.op in ("input", "param", "state")
    }


def assert_equal(before: Graph, after: Graph, arrays: dict[str, np.ndarray]) -> None:
    verify(after, "layout")
    expected, found = evaluate(before, arrays), evaluate(after, arrays)
    for name, array in expected.items():
        assert after.outputs[name].type == before.outputs[name].type
        np.testing.assert_allclose(found[name], array, rtol=1e-11, atol=1e-11, err_msg=name)


# --- Equal results ---


@pytest.mark.parametrize("operation", SAMPLES)
def test_every_class_of_axes_of_every_operation(operation: str) -> None:
    """Each class whose extent is even, interleaved wherever that is possible."""
    for sample in SAMPLES[operation]:
        graph = optimized(values_and_gradients(sample))
        for axes in AxisClasses.of(graph).sets():
            node, axis = next(iter(axes.items()))
            extent = node.shape[axis]
            if extent in (0, 1) or extent % 2 or not able(graph, axes):
                continue
            new = interleave(graph, axes, frozenset(able(graph, axes)), 2).graph
            assert_equal(graph, new, sample.arrays)


def test_any_subset_of_nodes_may_be_interleaved() -> None:
    """Whatever they need: operands that a node does not need interleaved are read as they are."""
    graph = optimized(lenet(batch=4))
    arrays = random_arrays(graph)
    axes = batch_class(graph)
    nodes = able(graph, axes)
    assert len(nodes) > 10
    rng = np.random.default_rng(1)
    for share_of_nodes in (0.2, 0.5, 0.8, 1.0):
        chosen = frozenset(n for n in nodes if rng.random() <= share_of_nodes)
        needs = {
            n: {i: bool(rng.random() < 0.5) for i in n.inputs if rng.random() < 0.8} for n in chosen
        }
        assert_equal(graph, interleave(graph, axes, chosen, 2, needs).graph, arrays)
        assert_equal(graph, interleave(graph, axes, chosen, 2).graph, arrays)


def test_one_class_after_another() -> None:
    """Axes keep their positions, so a second class can be interleaved in the first one's result."""
    graph = optimized(chain(4))
    arrays, before = random_arrays(graph), graph
    remaining: list[Mapping[Node, int]] = list(AxisClasses.of(graph).sets())
    count = 0
    while remaining:
        axes, *remaining = remaining
        nodes = able(graph, dict(axes))
        if not nodes or any(node.shape[axis] % 2 for node, axis in axes.items()):
            continue
        done = interleave(graph, axes, frozenset(nodes), 2)
        remaining = [done.axes(other) for other in remaining]
        graph, count = done.graph, count + 1
        assert_equal(before, graph, arrays)
    assert count >= 3


def batch_class(graph: Graph) -> dict[Node, int]:
    (x,) = (n for n in graph.order if n.name == "x")
    return next(axes for axes in AxisClasses.of(graph).sets() if axes.get(x) == 0)


def test_outputs_stay_plain() -> None:
    x, w = leaf("input", "x", (8, 2, 6, 6), "real"), leaf("param", "w", (3, 2, 3, 3), "real")
    graph = optimized(Graph({"y": relu(conv(x, w))}))
    axes = batch_class(graph)
    new = interleave(graph, axes, frozenset(able(graph, axes)), 4).graph
    assert new.outputs["y"].shape == (8, 3, 4, 4)
    assert (2, 3, 4, 4, 4) in [n.shape for n in new.order]
    assert_equal(graph, new, random_arrays(graph))


# --- Which axes belong together ---


def test_the_batch_runs_through_the_whole_network() -> None:
    graph = optimized(lenet(batch=4))
    axes = batch_class(graph)
    assert graph.outputs["logits"] in axes
    assert all(axis == 0 for axis in axes.values())


def test_a_tensor_with_itself_is_left_alone() -> None:
    """In x @ x.T the rows are walked through by two indices."""
    x = leaf("input", "x", (4, 6), "real")
    b = leaf("param", "b", (4,), "real")
    graph = optimized(Graph({"gram": linear(x, x, b)}))
    for axes in AxisClasses.of(graph).sets():
        nodes = able(graph, axes)
        if nodes:
            new = interleave(graph, axes, frozenset(nodes), 2).graph
            assert_equal(graph, new, random_arrays(graph))
    (x,) = (n for n in graph.order if n.name == "x")
    rows = [axes for axes in AxisClasses.of(graph).sets() if axes.get(x) == 0]
    assert not any(able(graph, axes) for axes in rows)


def test_a_guarded_index_is_not_cut() -> None:
    """Rows of a padded image are walked through with an offset: only n and o may be cut."""
    x, w = leaf("input", "x", (4, 2, 8, 8), "real"), leaf("param", "w", (6, 2, 3, 3), "real")
    graph = optimized(Graph({"y": conv(x, w, padding=(1, 1))}))
    sets = AxisClasses.of(graph).sets()
    y = graph.outputs["y"]
    assert {axes[y] for axes in sets if y in axes and able(graph, axes)} == {0, 1}


# --- The choice ---


def chain(batch: int) -> Graph:
    """A convolution, a pool and a loss with their gradients: few enough nodes to enumerate."""
    from autodiffc.differentiate.reverse import gradients

    x, w = leaf("input", "x", (batch, 1, 10, 10), "real"), leaf("param", "w", (4, 1, 3, 3), "real")
    h = max_pool(relu(conv(x, w)), 2, 2)
    v = leaf("param", "v", (2, 4, 3, 3), "real")
    loss = total(elementwise("sin", conv(h, v)))
    dw, dv = gradients(loss, [w, v])
    return Graph({"loss": loss, "dw": dw, "dv": dv})


def cost_of(graph: Graph, axes: dict[Node, int], chosen: frozenset[Node], lanes: int) -> float:
    """The price of a choice, node by node and copy by copy, in whole parts of a unit."""
    costs = layout._Costs(WIDE)
    total_cost = 0
    needs: dict[Node, dict[Node, bool]] = {}

    def parts(cost: float) -> int:
        return round(cost * layout.PRECISION)

    for node in able(graph, axes):
        cost, needs[node] = costs.interleaved(node, axes, lanes)
        total_cost += parts(cost if node in chosen else costs.plain(node))
    for node in axes:
        home = node in chosen
        last = axes[node] == len(node.shape) - 1
        price = 0 if last else parts(COPY * float(np.prod(node.shape)))
        wanted = {
            reader in chosen
            for reader in graph.users(node)
            if reader not in chosen or needs[reader].get(node)
        }
        if node in graph.outputs.values():
            wanted.add(False)
        total_cost += price * ((not home) in wanted)
    return total_cost / layout.PRECISION


@pytest.mark.parametrize("batch", [16, 64])
def test_the_cut_is_the_cheapest_of_all_choices(batch: int) -> None:
    graph = optimized(chain(batch))
    axes = batch_class(graph)
    nodes = able(graph, axes)
    assert 5 <= len(nodes) <= 14
    costs = layout._Costs(WIDE)
    cost, chosen = layout._Network(graph, axes, nodes, costs, 8, {}).cut()
    assert cost == cost_of(graph, axes, chosen, 8)
    subsets = itertools.chain.from_iterable(
        itertools.combinations(nodes, k) for k in range(len(nodes) + 1)
    )
    assert cost == min(cost_of(graph, axes, frozenset(s), 8) for s in subsets)


def test_large_batches_of_images_are_interleaved_and_single_images_are_not() -> None:
    for batch, expected in ((64, True), (1, False), (3, False)):
        graph = optimized(chain(batch))
        new = choose_layouts(graph, WIDE)
        lanes = [n for n in new.order if n.shape and n.shape[-1] == 8 and len(n.shape) == 5]
        assert bool(lanes) == expected, batch
        assert_equal(graph, new, random_arrays(graph))


def test_no_gradient_of_an_image_is_copied_for_its_bias() -> None:
    """Sums of interleaved values may be a little dearer; a copy to plain ones costs more."""
    chosen = Options(target="x86-64-v4")
    model = load_model(ROOT / "examples" / "lenet5.py")
    program = build_program(model)
    sizes = Sizes.of(program, model, chosen)
    graph = specialized(program, sizes, chosen).graphs["step"]
    for one in (normalize, simplify, share, gather, normalize, fuse):
        graph = one(graph)
    after = choose_layouts(graph, WIDE)
    copies = [n for n in after.order if str(n.label).endswith("_plain") and len(n.shape) == 4]
    assert [n for n in after.order if len(n.shape) == 5]
    assert not copies


def test_lanes_follow_the_target() -> None:
    graph = optimized(chain(64))
    found = defaultdict(set)
    for target in (WIDE, NARROW):
        new = choose_layouts(graph, target)
        found[target.name] = {n.shape[-1] for n in new.order if len(n.shape) == 5}
    assert found[WIDE.name] == {8}
    assert found[NARROW.name] in ({2}, set())


def test_the_choice_is_the_same_every_time() -> None:
    from tests.passes.samples import structure

    graph = optimized(lenet(batch=32))
    assert structure(choose_layouts(graph, WIDE)) == structure(choose_layouts(graph, WIDE))
