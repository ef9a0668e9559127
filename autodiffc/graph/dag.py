"""The computation graph: outputs by name, and the networkx DiGraph of what they need.

Edges run from an operand to its user and carry the operand's positions. Only nodes that an output
needs are in the graph, so building one removes dead code. Order is topological and, among
equals, the order in which the user wrote things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from autodiffc.graph.node import Node, renew


@dataclass(frozen=True, eq=False)
class Graph:
    """Named outputs; everything else follows from them."""

    outputs: Mapping[str, Node]

    @cached_property
    def network(self) -> nx.DiGraph:
        """The DiGraph of all nodes that the outputs need."""
        network: nx.DiGraph = nx.DiGraph()
        nodes = _ancestors_first(self.outputs.values())
        network.add_nodes_from(nodes)
        for node in nodes:
            positions: dict[Node, tuple[int, ...]] = {}
            for position, operand in enumerate(node.inputs):
                positions[operand] = (*positions.get(operand, ()), position)
            network.add_edges_from((x, node, {"positions": p}) for x, p in positions.items())
        return network

    @cached_property
    def order(self) -> tuple[Node, ...]:
        """All nodes, operands before users."""
        rank = {n: k for k, n in enumerate(_ancestors_first(self.outputs.values()))}
        ordered = nx.lexicographical_topological_sort(
            self.network, key=lambda n: (n.serial, rank[n])
        )
        return tuple(ordered)

    def leaves(self, op: str) -> tuple[Node, ...]:
        """The leaves of one kind, in order of creation."""
        return tuple(n for n in self.order if n.op == op)

    def users(self, node: Node) -> tuple[Node, ...]:
        """The nodes that read `node`, in order."""
        return tuple(sorted(self.network.successors(node), key=lambda n: n.serial))

    def rewrite(self, rule: Callable[[Node], Node]) -> Graph:
        """Applies `rule` to every node, operands first; `rule` sees already rewritten operands."""
        new: dict[Node, Node] = {}
        for node in self.order:
            inputs = tuple(new[i] for i in node.inputs)
            # nodes compare by identity
            new[node] = rule(node if inputs == node.inputs else renew(node, inputs=inputs))
        return Graph({name: new[node] for name, node in self.outputs.items()})


def ancestors(outputs: Iterable[Node]) -> list[Node]:
    """Every node that `outputs` need, themselves included, operands first."""
    return _ancestors_first(outputs)


def _ancestors_first(outputs: Iterable[Node]) -> list[Node]:
    """Depth-first without recursion: models may be thousands of nodes deep."""
    done: dict[Node, None] = {}
    stack = [(node, False) for node in reversed(list(outputs))]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready:
            done[node] = None
        else:
            stack.append((node, True))
            stack += [(operand, False) for operand in reversed(node.inputs) if operand not in done]
    return list(done)
