"""Calls become what their subgraphs compute, so that later passes see formulas alone.

A subgraph's inputs are replaced by the call's, also where calls stand inside of it. What does not
depend on an input stays one node for all calls; what two calls compute alike, `share` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node, renew


def inline(graph: Graph) -> Graph:
    """The graph without calls."""
    return graph.rewrite(_expanded)


def _expanded(node: Node) -> Node:
    if node.op != "call":
        return node
    assert node.subgraph is not None
    inputs = dict(zip(node.attrs["arguments"], node.inputs, strict=True))
    body = inline(Graph({"result": node.subgraph.outputs[node.attrs["output"]]}))
    result = body.rewrite(_with_inputs(inputs)).outputs["result"]
    if node.name is None or result in node.inputs:
        return result
    return renew(result, name=node.name)


def _with_inputs(inputs: Mapping[str, Node]) -> Callable[[Node], Node]:
    return lambda node: inputs[str(node.name)] if node.op == "input" else node
