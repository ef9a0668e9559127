"""Which nodes share a kernel."""

from __future__ import annotations

import autodiffc as ad
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression
from autodiffc.schedule.kernels import Group, group_nodes


def groups(*outputs: Expression) -> list[Group]:
    graph = Graph({f"y{k}": y.node for k, y in enumerate(outputs)})
    return group_nodes(graph.order, lambda node: 0)


def test_an_elementwise_chain_is_one_cluster() -> None:
    x = ad.input("x", (5,))
    (group,) = groups(ad.exp(ad.sin(x) * 2) + 1)
    assert group.kind == "cluster"
    assert len(group.nodes) == 4


def test_a_path_out_and_back_keeps_nodes_apart() -> None:
    x = ad.input("x", (5,))
    e = ad.exp(x)
    found = groups(e / ad.sum(e))
    assert [g.kind for g in found] == ["cluster", "formula", "cluster"]


def test_a_maximum_and_its_position_are_twins() -> None:
    x = ad.input("x", (5, 4))
    (group,) = groups(ad.max(x, axis=1), ad.argmax(x, axis=1))
    assert group.kind == "extremum"
    assert len(group.nodes) == 2


def test_the_order_is_topological() -> None:
    x = ad.input("x", (5, 4))
    e = ad.exp(x - ad.max(x, axis=1, keepdims=True))
    found = groups(e / ad.sum(e, axis=1, keepdims=True), ad.sum(ad.sin(e)))
    seen: set[object] = set()
    for group in found:
        for node in group.nodes:
            assert all(i in seen or i.op != "compute" for i in node.inputs)
            seen.add(node)
