"""Which tensors are interleaved: a minimum cut.

Every node that walks through a class of axes (the batch, the channels of a layer) runs on plain or
on interleaved tensors. What each choice costs is estimated from the loops that would result; where
neighbours choose differently a copy stands between them, which costs its elements. The cheapest
choice for the whole graph is a minimum cut of a network: a node for each operation, its two costs
as capacities from the source (plain) and to the sink (interleaved), and copies as edges between.
Classes are interleaved one after the other, the one that gains most first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.schedule.cost import COPY, elements
from autodiffc.schedule.halo import cost_with_halo
from autodiffc.schedule.interleave import AxisClasses, Needs, class_index, interleave, preview
from autodiffc.targets import Target

PRECISION = 16  # parts of a unit that a capacity counts
INDIFFERENT = 1.02  # costs closer than this are taken for equal
WORTHWHILE = 0.98  # of the cost of plain layouts: what interleaving must stay below


@dataclass(frozen=True)
class Choice:
    """A class of axes, the lanes, the nodes to interleave, and their operands that must be so.

    `cost` is relative to leaving everything as it is, and negative.
    """

    axes: Mapping[Node, int]
    lanes: int
    nodes: frozenset[Node]
    needs: Needs
    cost: float


def choose_layouts(graph: Graph, target: Target) -> Graph:
    """The graph with those classes of axes interleaved that are worth it, the best ones first."""
    costs = _Costs(target)
    found = [_choose(graph, axes, target, costs) for axes in AxisClasses.of(graph).sets()]
    choices = sorted((c for c in found if c is not None), key=lambda c: c.cost)
    remaining = [choice.axes for choice in choices]
    choice = choices[0] if choices else None
    while remaining:
        remaining = remaining[1:]
        if choice is not None:
            done = interleave(graph, choice.axes, choice.nodes, choice.lanes, choice.needs)
            graph = done.graph
            remaining = [done.axes(axes) for axes in remaining]
        choice = _choose(graph, remaining[0], target, costs) if remaining else None
    return graph


def _choose(graph: Graph, axes: Mapping[Node, int], target: Target, costs: _Costs) -> Choice | None:
    """The best cut of one class, its cost relative to what is; None where nothing is gained."""
    able = [n for n in graph.order if _is_able(n, axes)]
    contractions = [n for n in able if costs.is_contraction(n)]
    if not contractions:
        return None
    lanes = _lanes(contractions[0], axes, target)
    if lanes is None:
        return None
    plain = sum(costs.plain(n) for n in able)
    known = {n: costs.interleaved(n, axes, lanes) for n in contractions}
    gain = sum(max(0.0, costs.plain(n) - cost) for n, (cost, _) in known.items())
    if gain <= (1 - WORTHWHILE) * plain:
        return None
    network = _Network(graph, axes, able, costs, lanes, known)
    cost, nodes = network.cut()
    if not nodes or cost >= WORTHWHILE * plain:
        return None
    return Choice(axes, lanes, nodes, network.needs, cost - plain)


def _lanes(node: Node, axes: Mapping[Node, int], target: Target) -> int | None:
    """The most lanes that divide the extent; None where fewer than a quarter of a register's."""
    k = class_index(node, node.pieces[0], axes)
    assert k is not None
    extent = node.pieces[0].domain.extents[k]
    widest = target.lanes(8 if node.dtype == "float64" else 4)
    for lanes in (widest, widest // 2, widest // 4):
        if lanes > 1 and isinstance(extent, int) and extent % lanes == 0:
            return lanes
    return None


def _is_able(node: Node, axes: Mapping[Node, int]) -> bool:
    """Whether a node could run on interleaved tensors."""
    if node.op == "reshape":
        return node in axes and node.inputs[0] in axes
    if node.op != "compute" or not (node in axes or any(i in axes for i in node.inputs)):
        return False
    return all(class_index(node, piece, axes) is not None for piece in node.pieces)


# --- Costs ---

# of a node, and the operands that must be interleaved (True) or plain (False) for it to hold
InterleavedCost = tuple[float, dict[Node, bool]]


class _Costs:
    """Estimated time of nodes; what was estimated once is remembered."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._plain: dict[Node, float] = {}

    def is_contraction(self, node: Node) -> bool:
        """Whether a node sums products: where the time goes."""
        return node.op == "compute" and any(
            p.combine == "sum" and len(p.operands) > 1 for p in node.pieces
        )

    def plain(self, node: Node) -> float:
        if node not in self._plain:
            self._plain[node] = cost_with_halo(node, self._target)
        return self._plain[node]

    def interleaved(self, node: Node, axes: Mapping[Node, int], lanes: int) -> InterleavedCost:
        """The cost of a node that is interleaved, and the form of operands that this depends on."""
        cut = frozenset(i for i in node.inputs if i in axes)
        if node.op == "reshape":
            return 0.0, dict.fromkeys(cut, True)
        needs = {}
        least = self._with(node, axes, lanes, cut)
        for operand in [i for i in dict.fromkeys(node.inputs) if i in cut]:
            cost = self._with(node, axes, lanes, cut - {operand})
            if cost > least * INDIFFERENT:
                needs[operand] = True
            elif cost * INDIFFERENT < least and least - cost > COPY * elements(operand.shape):
                needs[operand] = False  # which may take a copy
            if cost < least or operand not in needs:
                least, cut = min(cost, least), cut - {operand}
        return least, needs

    def _with(
        self, node: Node, axes: Mapping[Node, int], lanes: int, cut: frozenset[Node]
    ) -> float:
        return cost_with_halo(preview(node, axes, lanes, cut), self._target)


# --- The network ---


class _Network:
    """The flow network of one class; "plain" is its source and "interleaved" its sink."""

    def __init__(
        self,
        graph: Graph,
        axes: Mapping[Node, int],
        able: Sequence[Node],
        costs: _Costs,
        lanes: int,
        known: Mapping[Node, InterleavedCost],
    ) -> None:
        self._flow: nx.DiGraph = nx.DiGraph()
        self._able = frozenset(able)
        self._axes = axes
        self.needs: dict[Node, dict[Node, bool]] = {}
        self._flow.add_nodes_from(["plain", "interleaved"])
        for node in able:
            self._edge(node, "interleaved", costs.plain(node))
            cost, self.needs[node] = known.get(node) or costs.interleaved(node, axes, lanes)
            self._edge("plain", node, cost)
        for node in graph.order:
            if node in axes:
                self._copies(node, graph)

    def _copies(self, node: Node, graph: Graph) -> None:
        """The copy to the other layout, made once, if any reader wants it."""
        price = COPY * elements(node.shape)
        if self._axes[node] == len(node.shape) - 1:
            price = 0.0  # the two layouts are the same bytes
        readers = graph.users(node)
        home: object = node if node in self._able else "plain"
        to_lanes, to_plain = (node, "to lanes"), (node, "to plain")
        for reader in readers:
            if reader in self._able:
                if self.needs[reader].get(node):
                    self._edge(to_lanes, reader, None)
                self._edge(reader, to_plain, None)
            else:
                self._edge("plain", to_plain, None)
        if any(out is node for out in graph.outputs.values()):
            self._edge("plain", to_plain, None)
        self._edge(home, to_lanes, price)
        if home is node:
            self._edge(to_plain, node, price)

    def _edge(self, a: object, b: object, cost: float | None) -> None:
        """Adds a capacity; None is infinite."""
        if a == b:
            return
        if cost is None:
            self._flow.add_edge(a, b)
            self._flow[a][b].pop("capacity", None)
        elif not self._flow.has_edge(a, b):
            self._flow.add_edge(a, b, capacity=round(cost * PRECISION))
        elif "capacity" in self._flow[a][b]:
            self._flow[a][b]["capacity"] += round(cost * PRECISION)

    def cut(self) -> tuple[float, frozenset[Node]]:
        """The least cost, and the nodes that are interleaved in it."""
        value, (_, sink_side) = nx.minimum_cut(self._flow, "plain", "interleaved")
        chosen = frozenset(n for n in sink_side if isinstance(n, Node))
        return value / PRECISION, chosen
