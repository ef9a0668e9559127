"""The graph: order, dead code, users, rewriting."""

from __future__ import annotations

import networkx as nx
import pytest

import autodiffc.ops.functions  # noqa: F401 - fills the table of functions
from autodiffc.graph.construct import elementwise, leaf
from autodiffc.graph.dag import Graph, ancestors
from autodiffc.graph.node import Node, renew


def value(name: str) -> Node:
    return leaf("input", name, (2,), "real")


def test_operands_come_before_users_and_else_as_written() -> None:
    b, a = value("b"), value("a")
    s = elementwise("add", a, b)
    p = elementwise("mul", s, s)
    q = elementwise("exp", a)
    assert Graph({"q": q, "p": p}).order == (b, a, s, p, q)


def test_what_no_output_needs_is_not_there() -> None:
    a, b = value("a"), value("b")
    s, dead = elementwise("exp", a), elementwise("add", a, b)
    graph = Graph({"s": s})
    assert graph.order == (a, s)
    assert dead not in graph.network
    assert graph.users(a) == (s,)


def test_edges_carry_positions() -> None:
    a, b = value("a"), value("b")
    node = renew(elementwise("add", a, b), inputs=(a, b, a))
    network = Graph({"y": node}).network
    assert network.edges[a, node]["positions"] == (0, 2)
    assert network.edges[b, node]["positions"] == (1,)
    assert nx.is_directed_acyclic_graph(network)


def test_users_in_order() -> None:
    a = value("a")
    first, second = elementwise("exp", a), elementwise("neg", a)
    assert Graph({"2": second, "1": first}).users(a) == (first, second)


def test_leaves() -> None:
    x, w = value("x"), leaf("param", "w", (2,), "real")
    v = value("v")
    graph = Graph({"y": elementwise("mul", elementwise("add", v, x), w)})
    assert graph.leaves("input") == (x, v)
    assert graph.leaves("param") == (w,)
    assert graph.leaves("state") == ()


def test_rewriting_keeps_what_does_not_change() -> None:
    a, b = value("a"), value("b")
    left, right = elementwise("exp", a), elementwise("neg", b)
    total = elementwise("add", left, right)
    graph = Graph({"y": total, "r": right})
    same = graph.rewrite(lambda n: n)
    assert same.outputs == graph.outputs
    new = graph.rewrite(lambda n: renew(n, label="changed") if n is left else n)
    assert new.outputs["r"] is right
    y = new.outputs["y"]
    assert [i.label for i in y.inputs] == ["changed", "neg"]
    assert (y.inputs[1], y.serial) == (right, total.serial)


def test_deep_graphs_need_no_recursion() -> None:
    node = start = value("x")
    for _ in range(3000):
        node = elementwise("neg", node)
    assert len(Graph({"y": node}).order) == 3001
    assert ancestors([node])[0] is start


def test_nodes_are_frozen_and_compared_by_identity() -> None:
    a = value("a")
    assert elementwise("exp", a) != elementwise("exp", a)
    with pytest.raises(AttributeError):
        a.name = "b"  # type: ignore[misc]
    with pytest.raises(TypeError):
        a.attrs["low"] = 3  # type: ignore[index]
