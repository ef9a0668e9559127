"""Groups of nodes that walk through the same rows become one, of kind "rows".

Every reduction whose operand lies in rows is a start: from it groups are taken in as long as they
fit into its frame (`schedule.rows`), touch what is there already, and leave no path that goes out
of the new group and back into it. What was gained is then looked at once: a kernel that walks
through the columns for one member only is better off as it was, with its register tile.

An entry point leaves out the kernels of outputs that its caller did not ask for, and does not miss
the inputs that only those read. So a kernel of several members may need nothing that one of them
alone would not (`Demand`): class probabilities are to be had without labels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from autodiffc.graph.extents import product
from autodiffc.graph.node import LEAVES, Node
from autodiffc.schedule.kernels import ALIASES, Group, computed_behind, storage
from autodiffc.schedule.program import NEXT, OUTPUT, PARAM, split_key
from autodiffc.schedule.rows import RowNest, Rows, frame_of

JOINED = ("cluster", "formula", "extremum")  # the kinds that may become part of a row kernel
NARROW = 4  # fewer columns pay only where the rows' values go back to them


@dataclass(frozen=True)
class Demand:
    """Who asks for a node: `wanted` are the graph outputs that need it, `phase` is 0 or 1.

    The kernels of `updates` overwrite leaves, and are left as they are.
    """

    wanted: Mapping[Node, frozenset[str]]
    phase: Callable[[Node], int]
    updates: Collection[Node]

    def is_met(self, nodes: Sequence[Node]) -> bool:
        """Whether all that the nodes read is there whenever one of them is asked for."""
        inside, phase = set(nodes), self.phase(nodes[0])
        asking = frozenset[str]().union(*(self._askers(n, phase) for n in nodes))
        asking = frozenset(["always"]) if "always" in asking else asking
        outside = (x for n in nodes for operand in n.inputs for x in _views(operand))
        return all(
            x in inside or self._is_there(x, phase) or asking <= self._askers(x, phase)
            for x in outside
        )

    def _is_there(self, node: Node, phase: int) -> bool:
        """Whether a value is there in every call."""
        if node.op in LEAVES:
            return node.op != "input" or "cotangent" in node.attrs or "runtime" in node.attrs
        return self.phase(node) < phase

    def _askers(self, node: Node, phase: int) -> frozenset[str]:
        found = set()
        for key in self.wanted[node]:
            role, _ = split_key(key)
            if phase == 1:
                found.add(key)
            elif role in (NEXT, PARAM):
                found.add("always")
            else:
                found.add(key if role == OUTPUT else "backward")
        return frozenset(found)


def _views(node: Node) -> Iterator[Node]:
    """A node, and what it is a view of."""
    yield node
    while node.op in ALIASES:
        node = node.inputs[0]
        yield node


def join_rows(
    groups: Sequence[Group], variant: Callable[[Node], int], demand: Demand
) -> list[Group]:
    """The groups, those of the same rows joined, in an order in which they can run.

    Nodes of different variants never share a kernel.
    """
    joining = _Joining(groups, variant, demand)
    for start in range(len(groups)):
        joining.start(start)
    return joining.groups() if joining.joined else list(groups)


class _Joining:
    """The groups by number, and who needs whom; a joined group has its first member's number."""

    def __init__(
        self, groups: Sequence[Group], variant: Callable[[Node], int], demand: Demand
    ) -> None:
        self._variant, self._demand = variant, demand
        self._groups: dict[int, Group] = dict(enumerate(groups))
        self._position = {n: k for k, n in enumerate(n for g in groups for n in g.nodes)}
        self.joined = 0
        self._connect()

    def _connect(self) -> None:
        home = {n: k for k, g in self._groups.items() for n in g.nodes}
        self._sources: dict[int, set[int]] = {k: set() for k in self._groups}
        self._users: dict[int, set[int]] = {k: set() for k in self._groups}
        for k, group in self._groups.items():
            for node in group.nodes:
                for source in computed_behind(node, home):
                    if home[source] != k:
                        self._sources[k].add(home[source])
                        self._users[home[source]].add(k)

    def start(self, number: int) -> None:
        """Joins what fits around a group, if there is something to gain."""
        group = self._groups.get(number)
        free = group is not None and self._is_free(group)
        frames = (frame_of(n) for n in group.nodes) if group and free else ()
        frame = next((f for f in frames if f is not None), None)
        if frame is None:
            return
        rows = Rows(frame)
        chosen = self._grown(number, rows)
        nodes = self._nodes(chosen)
        found = rows.nest(nodes)
        if found is not None and self._pays(chosen, found, rows):
            self._groups = {k: g for k, g in self._groups.items() if k not in chosen}
            self._groups[min(chosen)] = Group("rows", nodes)
            self.joined += 1
            self._connect()

    def _is_free(self, group: Group) -> bool:
        return group.kind in JOINED and not any(n in self._demand.updates for n in group.nodes)

    def _grown(self, number: int, rows: Rows) -> set[int]:
        chosen, before = {number}, 0
        while len(chosen) > before:
            before = len(chosen)
            for k in sorted(self._groups):
                if k not in chosen and self._may_join(k, chosen, rows):
                    chosen.add(k)
        return chosen

    def _may_join(self, k: int, chosen: set[int], rows: Rows) -> bool:
        group, first = self._groups[k], self._groups[min(chosen)].nodes[0]
        if not self._is_free(group) or self._variant(group.nodes[0]) != self._variant(first):
            return False
        if not self._touches(k, chosen, rows) or any(rows.place(n) is None for n in group.nodes):
            return False
        trial = {*chosen, k}
        nodes = self._nodes(trial)
        return (
            self._is_convex(trial) and self._demand.is_met(nodes) and rows.nest(nodes) is not None
        )

    def _touches(self, k: int, chosen: set[int], rows: Rows) -> bool:
        """Whether a group reads the others, is read by them, or reads a whole operand of theirs."""
        if (self._sources[k] | self._users[k]) & chosen:
            return True
        theirs = self._whole(self._nodes(chosen), rows)
        return bool(self._whole(self._groups[k].nodes, rows) & theirs)

    def _whole(self, nodes: Iterable[Node], rows: Rows) -> set[Node]:
        size = product(rows.frame.extents)
        operands = {storage(x) for n in nodes for x in n.inputs}
        return {x for x in operands if product(x.shape) == size}

    def _is_convex(self, chosen: Collection[int]) -> bool:
        """Whether no path leaves the chosen groups and comes back."""
        below, above = _reach(chosen, self._users), _reach(chosen, self._sources)
        return (below & above) <= set(chosen)

    def _nodes(self, chosen: Iterable[int]) -> tuple[Node, ...]:
        nodes = (n for k in chosen for n in self._groups[k].nodes)
        return tuple(sorted(nodes, key=self._position.__getitem__))

    def _pays(self, chosen: Collection[int], found: RowNest, rows: Rows) -> bool:
        """Whether several groups walked through the columns, which now one does."""
        kinds = {m.node: m.kind for m in found.members}
        walking = sum(any(kinds[n] != "row" for n in self._groups[k].nodes) for k in chosen)
        width = rows.frame.width
        narrow = isinstance(width, int) and width < NARROW
        first, _ = found.passes()
        back = any(k > 0 for n, k in first.items() if kinds[n] != "row")
        return walking > 1 and (back or not narrow)

    def groups(self) -> list[Group]:
        """In topological order, what came first before the rest where there is a choice."""
        network: nx.DiGraph = nx.DiGraph()
        network.add_nodes_from(self._groups)
        network.add_edges_from((s, k) for k, found in self._sources.items() for s in found)
        order = nx.lexicographical_topological_sort(network, key=lambda k: k)
        return [self._groups[k] for k in order]


def _reach(start: Collection[int], steps: Mapping[int, set[int]]) -> set[int]:
    found: set[int] = set()
    stack = list(start)
    while stack:
        for k in steps[stack.pop()] - found:
            found.add(k)
            stack.append(k)
    return found
