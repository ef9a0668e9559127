"""Finding the steps: forward values, and the contributions that the backward pass adds up.

Each gradient is stood for by a node of its own, so that a contribution reads
`dJ/dt += dJ/du1 * cos(t)` instead of unfolding everything behind `dJ/du1`. The contributions are
those that `differentiate.reverse` adds up, node by node in reverse order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autodiffc.differentiate.chain import times
from autodiffc.differentiate.reverse import FLAT, between, contribution_of
from autodiffc.dsl.model import Model
from autodiffc.explain.names import Gradient
from autodiffc.graph.comprehension import Comprehension
from autodiffc.graph.construct import leaf
from autodiffc.graph.dag import Graph, ancestors
from autodiffc.graph.node import LEAVES, Node, renew
from autodiffc.graph.scalars import Arg, Call, Scalar, const, rewrite
from autodiffc.graph.types import is_float
from autodiffc.passes.formulas import body_dtypes
from autodiffc.passes.rules import simplify_body


@dataclass(frozen=True)
class Step:
    """One row. `kind` says how it reads:

    value   node = its formulas; a value of the model, or one that only the backward pass needs
    seed    d(target)/d(target) = 1
    add     d(target) += the formulas of `node`
    zero    d(target) = 0: nothing flows there
    """

    kind: str
    target: Node
    node: Node


@dataclass(frozen=True)
class Derivation:
    """The rows of both columns, and the names of all nodes in them."""

    title: str
    differentiated: str | None
    leaves: tuple[Node, ...]
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    names: Mapping[Node, str] = field(repr=False)

    def name_of(self, node: Node) -> str:
        return self.names[node]


def derive(model: Model) -> Derivation:
    """The forward and the backward column of a model; the latter empty where nothing is asked."""
    graph = Graph({**model.outputs, **{f"next {k}": v for k, v in model.updates.items()}})
    names = {node: str(node.name) for node in graph.order}
    forward = tuple(
        Step("value", node, node) for node in graph.order if node.op not in LEAVES or _shown(node)
    )
    backward: tuple[Step, ...] = ()
    if model.differentiate is not None:
        root = model.outputs[model.differentiate]
        wrt = [n for n in (*model.params, *model.inputs) if str(n.name) in model.wrt]
        backward = tuple(_Backward(root, wrt, names).steps())
    leaves = (*model.inputs, *model.params, *model.states)
    return Derivation(model.name, model.differentiate, leaves, forward, backward, names)


def _shown(node: Node) -> bool:
    """Constants of the model are values that a reader must know of; other leaves come first."""
    return node.op == "constant"


class _Backward:
    """Walks a graph backwards and names what it meets."""

    def __init__(self, root: Node, wrt: Sequence[Node], names: dict[Node, str]) -> None:
        self.root, self.wrt, self.names = root, wrt, names
        self.graph = Graph({"root": root, **{f"wrt {k}": n for k, n in enumerate(wrt)}})
        self.active = between(self.graph, wrt)
        self.gradients: dict[Node, Node] = {}

    def steps(self) -> Iterator[Step]:
        yield Step("seed", self.root, self._gradient(self.root))
        for node in reversed(self.graph.order):
            if node in self.gradients and node in self.active and node.op not in FLAT:
                yield from self._contributions(node)
        for node in self.wrt:
            if node not in self.gradients:
                yield Step("zero", node, self._gradient(node))

    def _contributions(self, node: Node) -> Iterator[Step]:
        for operand in dict.fromkeys(node.inputs):
            if operand not in self.active or not is_float(operand.dtype):
                continue
            contribution = contribution_of(node, operand, self._gradient(node))
            if contribution is None:
                continue
            terms = [_simplified(term) for term in _terms(contribution)]
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


def _terms(contribution: Node) -> Iterator[Node]:
    """A contribution made of several sums, one after the other: an operand read more than once."""
    is_sum = contribution.name is None and contribution.label == "add"
    if not is_sum or len(contribution.inputs) != 2:
        yield contribution
        return
    for part in contribution.inputs:
        yield from _terms(part)


def _simplified(term: Node) -> Node:
    """The term with the algebra done that a person does without a word: 2*x**(2 - 1) is 2*x."""
    if term.op != "compute":
        return term
    pieces = tuple(
        replace(piece, body=_simplified_body(piece, body_dtypes(term, piece), term.inputs))
        for piece in term.pieces
    )
    return renew(term, pieces=pieces)


def _simplified_body(piece: Comprehension, dtypes: Sequence[str], inputs: Sequence[Node]) -> Scalar:
    """A product with the gradient at its left stays one: only the partial is simplified."""
    body = piece.body
    if isinstance(body, Call) and body.function == "mul" and isinstance(body.args[0], Arg):
        first = inputs[piece.operands[body.args[0].position].operand]
        if isinstance(first.name, Gradient):
            partial = rewrite(simplify_body(body.args[1], dtypes), _doubled)
            return times(body.args[0], partial)
    return rewrite(simplify_body(body, dtypes), _doubled)


def _doubled(s: Scalar) -> Scalar:
    """x + x -> 2*x"""
    if isinstance(s, Call) and s.function == "add" and s.args[0] == s.args[1]:
        return Call("mul", (const(2.0), s.args[0]))
    return s
