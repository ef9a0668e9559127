"""Finding the rows: forward values, and beside each the contributions that its formula makes.

Each gradient is stood for by a node of its own, so that a contribution reads
`dJ/dt += dJ/du1 * cos(t)` instead of unfolding everything behind `dJ/du1`. The contributions are
those that `differentiate.reverse` adds up, node by node in reverse order; beside `u1 = sin(t)`
stands what u1 hands on. So the forward column is read from top to bottom and the backward column
from bottom to top.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from autodiffc.differentiate.reverse import FLAT, between
from autodiffc.dsl.model import Model
from autodiffc.explain.condense import condensed
from autodiffc.explain.contributions import contributions
from autodiffc.explain.names import Applied, Gradient
from autodiffc.graph.construct import leaf
from autodiffc.graph.dag import Graph, ancestors
from autodiffc.graph.node import LEAVES, Node
from autodiffc.graph.types import is_float


@dataclass(frozen=True)
class Step:
    """One line. `kind` says how it reads:

    value   node = its formulas; a value of the model, or one that only the backward pass needs
    seed    d(target)/d(target) = 1
    add     d(target) += the formulas of `node`
    zero    d(target) = 0: nothing flows there
    """

    kind: str
    target: Node
    node: Node


@dataclass(frozen=True)
class Row:
    """A forward value and the backward steps beside it, these in the order in which they happen.

    The first rows may have no forward value (gradients that stay zero), the last one has none: it
    is where the backward pass starts.
    """

    forward: Step | None
    backward: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Derivation:
    """The rows, top to bottom, and the names of all nodes in them."""

    title: str
    leaves: tuple[Node, ...]
    rows: tuple[Row, ...]
    names: Mapping[Node, str] = field(repr=False)

    def name_of(self, node: Node) -> str:
        return self.names[node]

    @property
    def forward(self) -> tuple[Step, ...]:
        """The forward steps in the order in which they happen."""
        return tuple(row.forward for row in self.rows if row.forward is not None)

    @property
    def backward(self) -> tuple[Step, ...]:
        """The backward steps in the order in which they happen: from the last row to the first."""
        return tuple(step for row in reversed(self.rows) for step in row.backward)


def derive(model: Model) -> Derivation:
    """The table of a model; its backward column is empty where nothing is differentiated."""
    graph = condensed(
        Graph({**model.outputs, **{f"next {k}": v for k, v in model.updates.items()}})
    )
    names = _names(graph)
    backward = None
    if model.differentiate is not None:
        root = graph.outputs[model.differentiate]
        wrt = [n for n in (*model.params, *model.inputs) if str(n.name) in model.wrt]
        backward = _Backward(root, wrt, names)
    leaves = (*model.inputs, *model.params, *model.states)
    return Derivation(model.name, leaves, tuple(_rows(graph, backward)), names)


def _names(graph: Graph) -> dict[Node, str]:
    names: dict[Node, str] = {}
    for node in graph.order:
        if node.op == "applied":
            names[node] = Applied(node.attrs["function"], names[node.inputs[0]], _axis(node))
        else:
            names[node] = str(node.name)
    return names


def _axis(node: Node) -> int | None:
    """The axis of a function of a whole tensor, unless it is the last."""
    axis: int = node.attrs["axis"]
    return None if axis == len(node.shape) - 1 else axis


def _rows(graph: Graph, backward: _Backward | None) -> Iterator[Row]:
    shown = [node for node in graph.order if _has_row(node)]
    if backward is None:
        yield from (Row(Step("value", node, node)) for node in shown)
        return
    start = backward.start()
    beside = {node: tuple(backward.steps(node)) for node in reversed(shown)}
    yield from (Row(None, (step,)) for step in reversed(list(backward.untouched())))
    yield from (Row(Step("value", node, node), beside[node]) for node in shown)
    yield Row(None, (start,))


def _has_row(node: Node) -> bool:
    """Constants of the model are values that a reader must know of; other leaves come first."""
    return node.op == "constant" or node.op not in (*LEAVES, "applied")


class _Backward:
    """Walks a graph backwards and names what it meets; to be asked for nodes in reverse order."""

    def __init__(self, root: Node, wrt: Sequence[Node], names: dict[Node, str]) -> None:
        self.root, self.wrt, self.names = root, wrt, names
        graph = Graph({"root": root, **{f"wrt {k}": n for k, n in enumerate(wrt)}})
        self.active = between(graph, wrt)
        self.gradients: dict[Node, Node] = {}

    def start(self) -> Step:
        return Step("seed", self.root, self._gradient(self.root))

    def untouched(self) -> Iterator[Step]:
        """The variables that nothing has flown to."""
        for node in self.wrt:
            if node not in self.gradients:
                yield Step("zero", node, self._gradient(node))

    def steps(self, node: Node) -> Iterator[Step]:
        """What a node hands on to its operands."""
        if node not in self.gradients or node not in self.active or node.op in FLAT:
            return
        for operand in dict.fromkeys(_operands(node)):
            if operand in self.active and is_float(operand.dtype):
                yield from self._contributions(node, operand)

    def _contributions(self, node: Node, operand: Node) -> Iterator[Step]:
        terms = contributions(node, operand, self._gradient(node))
        if not terms:
            return
        yield from self._helpers(terms)
        gradient = self._gradient(operand)
        for term in terms:
            self.names.setdefault(term, self.names[gradient])
            yield Step("add", gradient, term)

    def _helpers(self, terms: Sequence[Node]) -> Iterator[Step]:
        """Values that only the backward pass needs, such as where a maximum was found."""
        for node in ancestors(terms):
            if node not in self.names and node not in terms:
                self.names[node] = self._unused(str(node.label or node.op))
                yield Step("value", node, node)

    def _unused(self, wanted: str) -> str:
        taken, name, count = set(self.names.values()), wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        return name

    def _gradient(self, node: Node) -> Node:
        """The node that stands for the gradient of `node`."""
        if node not in self.gradients:
            name = Gradient(self.names[self.root], self.names[node])
            self.gradients[node] = leaf("input", name, node.shape, node.dtype)
            self.names[self.gradients[node]] = name
        return self.gradients[node]


def _operands(node: Node) -> Iterator[Node]:
    """The operands with rows or names of their own: those of softmax(z) in place of softmax(z)."""
    for operand in node.inputs:
        yield from operand.inputs if operand.op == "applied" else (operand,)
