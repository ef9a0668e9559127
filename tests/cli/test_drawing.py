"""Drawings of graphs: nothing overlaps, edges run downwards, names are escaped."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

from autodiffc.cli.drawing import lay_out, to_dot, to_svg
from autodiffc.graph import construct
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node, renew


def leaf(name: str) -> Node:
    return construct.leaf("input", name, (4,), "real")


def ladder(length: int) -> Graph:
    """Values that each use the one before and the very first one: many long edges."""
    import autodiffc.ops.functions  # noqa: F401

    first = value = leaf("first")
    for k in range(length):
        value = renew(construct.elementwise("add", value, first), name=f"v{k}")
    side = construct.elementwise("mul", leaf("second"), first)
    return Graph({"out": value, "side": renew(side, name="side")})


def test_boxes_do_not_overlap() -> None:
    for row in lay_out(ladder(6)).layers:
        for left, right in itertools.pairwise(row):
            assert left.x + left.width / 2 < right.x - right.width / 2


def test_edges_run_down_one_layer_at_a_time() -> None:
    layout = lay_out(ladder(6))
    assert len(layout.edges) == 6 * 2 - 1 + 2  # the first sum reads one node twice
    for chain in layout.edges:
        assert [p.layer for p in chain] == list(range(chain[0].layer, chain[-1].layer + 1))
        assert all(p.node is None for p in chain[1:-1])


def test_a_leaf_stands_right_above_its_first_user() -> None:
    layout = lay_out(ladder(3))
    layer = {p.node.name: p.layer for row in layout.layers for p in row if p.node is not None}
    assert layer["second"] == layer["side"] - 1


def test_names_are_escaped() -> None:
    graph = Graph({"out": leaf('a<b>&"c"\\')})
    texts = [t.text for t in ET.fromstring(to_svg(graph, "<t>")).iter() if t.text]
    assert 'a<b>&"c"\\' in texts
    assert '"a<b>&\\"c\\"\\\\' in to_dot(graph, "t")


def test_an_empty_graph_is_drawn() -> None:
    assert ET.fromstring(to_svg(Graph({}), "nothing")) is not None
    assert to_dot(Graph({}), "nothing").startswith("digraph")
