"""Which nodes share a kernel.

    Copy      a leaf or a value that must also appear elsewhere
    Check     the integers of a tensor against their range
    Cluster   elementwise nodes over one domain: one loop, intermediate values in registers
    Sum       a sum and elementwise functions of it, made while it is in a register
    Extremum  a maximum (minimum) and its argmax (argmin): one scan, two results
    Formula   any other node: its pieces one after the other
    Rows      groups of these that walk through the same rows, joined (`schedule/join.py`)

Clustering is what makes a scalar model one straight-line function, and a chain of activations
one pass over memory. A node joins the cluster of an operand or of a sibling that reads the same
operand, unless a path through a node outside would then lead back into the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import networkx as nx

import autodiffc.ops.functions  # noqa: F401 - registers the scalar functions
from autodiffc.graph.affine import identity
from autodiffc.graph.comprehension import Access, Comprehension, Indirect, inputs_used
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import indices_used
from autodiffc.schedule.coverage import covers
from autodiffc.schedule.nest import address_of
from autodiffc.schedule.tile import vectorizable
from autodiffc.schedule.words import ascii_name, unreserved

ALIASES = ("reshape", "stop_gradient", "check_index")


@dataclass(frozen=True)
class Group:
    """Nodes computed by one kernel, operands before users."""

    kind: str
    nodes: tuple[Node, ...]


def identifier(node: Node) -> str:
    """A C identifier for a node's buffer: its name, else the operation it came from."""
    candidates = (ascii_name(text) for text in (node.name, node.label, node.op) if text)
    text = next(filter(None, candidates))
    if text[0].isdigit():
        return f"value_{text}"
    return unreserved(text, "_value")


def arguments(group: Group, results: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes whose buffers a kernel is given: what it reads, then its results."""
    inside = set(group.nodes)
    reads: dict[Node, None] = {}
    for node in group.nodes:
        positions = {k for piece in node.pieces for k in inputs_used(piece)}
        for k, operand in enumerate(node.inputs):
            home = storage(operand)
            if home not in inside and (k in positions or node.op == "check_index"):
                reads.setdefault(home)
    return (*reads, *results)


def storage(node: Node) -> Node:
    """The node whose buffer holds the value: reshapes and checks are views of their input."""
    while node.op in ALIASES:
        node = node.inputs[0]
    return node


def is_elementwise(node: Node) -> bool:
    """One unguarded `set` piece over the whole output, in its order: a candidate for a cluster."""
    if node.op != "compute" or len(node.pieces) != 1:
        return False
    return node.formula.is_elementwise and node.formula.domain.extents == node.shape


def takes_tails(node: Node) -> bool:
    """Whether each element of a node is one sum, finished in vectors, and stored nowhere else."""
    if node.op != "compute" or len(node.pieces) != 1:
        return False
    piece, dtypes = node.formula, [i.dtype for i in node.inputs]
    if piece.combine != "sum" or not covers(node) or {*dtypes} != {node.dtype}:
        return False
    rows = (*piece.out, *(row for a in piece.finish_operands for row in a.rows))
    if any(isinstance(row, Indirect) for row in rows):
        return False
    return piece.finish is None or vectorizable(piece.finish, dtypes)


def is_tail(node: Node) -> bool:
    """Whether an elementwise node can be computed from vectors of one float type."""
    body, dtypes = node.formula.body, [i.dtype for i in node.inputs]
    rows = [row for a in node.formula.operands for row in a.rows]
    if any(isinstance(row, Indirect) for row in rows) or indices_used(body):
        return False
    return {*dtypes} == {node.dtype} and vectorizable(body, dtypes)


def reads_in_place(group: Group, leaf: Node) -> bool:
    """Whether a kernel reads a leaf only where it stores a result, before it stores it there."""
    reads = [n for n in group.nodes if any(storage(i) is leaf for i in n.inputs)]
    if not reads:
        return group.kind != "extremum"
    if any(storage(n.inputs[k]) is leaf for n in reads for k in _looked_up(n)):
        return False
    if group.kind == "cluster":
        return all(_at_results(n, n.formula.operands, leaf) for n in reads)
    first = group.nodes[0]
    if group.kind != "formula" or not takes_tails(first):
        return False
    if any(storage(first.inputs[a.operand]) is leaf for a in first.formula.operands):
        return False
    finish = _at_results(first, first.formula.finish_operands, leaf)
    return finish and all(_at_results(n, n.formula.operands, leaf) for n in group.nodes[1:])


def _at_results(node: Node, accesses: Sequence[Access], leaf: Node) -> bool:
    """Whether those accesses that read a leaf's buffer do so at the place of the result."""
    rank, rows = node.formula.domain.rank, node.formula.out
    result = address_of(node, -1, node.shape, rows, rank)
    for access in accesses:
        tensor = node.inputs[access.operand]
        if storage(tensor) is leaf:
            found = address_of(node, -1, tensor.shape, access.rows, rank)
            if found != result:
                return False
    return True


def _looked_up(node: Node) -> set[int]:
    """The inputs whose elements are addresses."""
    rows = {r for p in node.pieces for a in (*p.operands, *p.finish_operands) for r in a.rows}
    return {row.operand for row in rows if isinstance(row, Indirect)}


def group_nodes(order: Sequence[Node], phase: Callable[[Node], int]) -> list[Group]:
    """Kernels in an order in which they can run; nodes of different phases never share one."""
    clusters = _Clusters(phase)
    for node in order:
        clusters.add(node)
    return clusters.groups()


class _Clusters:
    """Nodes put into clusters one by one; ancestors of a cluster are bits, a bit a cluster."""

    def __init__(self, phase: Callable[[Node], int]) -> None:
        self._phase = phase
        self._members: list[list[Node]] = []
        self._home: dict[Node, int] = {}
        self._ancestors: list[int] = []
        self._readers: dict[Node, list[int]] = {}  # clusters that read a node

    def add(self, node: Node) -> None:
        if node.op != "compute" and node.op != "check_index":
            return
        for home in self._candidates(node):
            if self._fits(node, home):
                return self._join(node, home)
        self._members.append([])
        self._ancestors.append(0)
        self._join(node, len(self._members) - 1)

    def _join(self, node: Node, home: int) -> None:
        above = 0
        for source in self._sources(node):
            if source != home:
                above |= self._ancestors[source] | 1 << source
        if above & ~self._ancestors[home]:
            self._ancestors[home] |= above
            for k, ancestors in enumerate(self._ancestors):
                if ancestors >> home & 1:
                    self._ancestors[k] |= above
        self._members[home].append(node)
        self._home[node] = home
        for operand in node.inputs:
            self._readers.setdefault(storage(operand), []).append(home)

    def _sources(self, node: Node) -> set[int]:
        """The clusters that a node's operands come from."""
        return {self._home[source] for source in computed_behind(node, self._home)}

    def _candidates(self, node: Node) -> Iterable[int]:
        """Clusters of operands, then of siblings; the latest first."""
        operands = [self._home[i] for i in node.inputs if i in self._home]
        siblings = [h for i in node.inputs for h in self._readers.get(storage(i), [])]
        return sorted({*operands, *siblings}, reverse=True)

    def _fits(self, node: Node, home: int) -> bool:
        first = self._members[home][0]
        if first.op != "compute" or node.op != "compute":
            return False
        if self._phase(first) != self._phase(node) or self._leads_back(node, home):
            return False
        if is_elementwise(node) and is_elementwise(first):
            return node.shape == first.shape and self._reads_in_place(node, home)
        if is_elementwise(node) and node.type == first.type and self._ends(node, home):
            return takes_tails(first) and self._reads_in_place(node, home)
        return len(self._members[home]) == 1 and are_twins(first, node)

    def _ends(self, node: Node, home: int) -> bool:
        """Whether a node is made of members, as they are and not as other views show them."""
        direct = {i for i in node.inputs if self._home.get(i) == home}
        behind = {i for i in computed_behind(node, self._home) if self._home[i] == home}
        return bool(direct) and direct == behind and is_tail(node)

    def _leads_back(self, node: Node, home: int) -> bool:
        """Whether another cluster that the node depends on depends on this one."""
        return any(
            self._ancestors[source] >> home & 1 for source in self._sources(node) if source != home
        )

    def _reads_in_place(self, node: Node, home: int) -> bool:
        same = identity(len(node.shape))
        return all(
            a.rows == same
            for a in node.formula.operands
            if self._home.get(node.inputs[a.operand]) == home
        )

    def groups(self) -> list[Group]:
        """The clusters in topological order of the graph they form, earliest first."""
        network: nx.DiGraph = nx.DiGraph()
        network.add_nodes_from(range(len(self._members)))
        for home, members in enumerate(self._members):
            for node in members:
                for source in computed_behind(node, self._home):
                    if self._home[source] != home:
                        network.add_edge(self._home[source], home)
        order = nx.lexicographical_topological_sort(network, key=lambda home: home)
        return [Group(_kind(self._members[h]), tuple(self._members[h])) for h in order]


def computed_behind(node: Node, home: dict[Node, int]) -> list[Node]:
    """The nodes with a kernel that a node's operands stand on, views and checks looked through."""
    found, stack = [], list(node.inputs)
    while stack:
        operand = stack.pop()
        if operand in home:
            found.append(operand)
        if operand.op in ALIASES:
            stack += operand.inputs
    return found


def are_twins(a: Node, b: Node) -> bool:
    """An extremum and its position over the same points; one may lie between zeros."""
    if a.op != "compute" or a.inputs != b.inputs or len(a.pieces) != 1 or len(b.pieces) != 1:
        return False
    pair = {a.formula.combine, b.formula.combine}
    if pair not in ({"max", "argmax"}, {"min", "argmin"}):
        return False
    if a.formula.reduced != b.formula.reduced:
        return False
    return _without_result(a.formula) == _without_result(b.formula)


def _without_result(formula: Comprehension) -> Comprehension:
    return replace(formula, out=(), combine="set", finish=None, finish_operands=())


def _kind(members: Sequence[Node]) -> str:
    first = members[0]
    if first.op == "check_index":
        return "check"
    if is_elementwise(first):
        return "cluster"
    return "extremum" if first.pieces[0].combine in EXTREMA else "formula"


EXTREMA = ("max", "min", "argmax", "argmin")
