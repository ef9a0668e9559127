"""Structural sharing: nodes that say the same about the same operands become one, the earliest.

Two nodes are equal if operation, operands (already shared), formulas and attributes are; constants
are compared by value. Inputs, parameters and states are told apart by name and never merged.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.passes.formulas import tidy


def share(graph: Graph) -> Graph:
    """The graph without repetition: common subexpressions once, operands of a formula once."""
    known: dict[Hashable, Node] = {}

    def rule(node: Node) -> Node:
        if node.op in ("input", "param", "state"):
            return node
        node = tidy(node)
        return known.setdefault(_key(node), node)

    return graph.rewrite(rule)


def _key(node: Node) -> Hashable:
    attrs = tuple((name, _hashable(node.attrs[name])) for name in sorted(node.attrs))
    # nodes hash and compare by identity, so operands are equal only if they are the same
    return node.op, node.inputs, node.type, node.pieces, attrs, id(node.subgraph)


def _hashable(value: Any) -> Hashable:
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, list | tuple):
        return tuple(_hashable(v) for v in value)
    return value if isinstance(value, Hashable) else repr(value)
