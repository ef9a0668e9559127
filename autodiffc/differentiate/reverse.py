"""Reverse mode: walk the graph backwards, add up what every user contributes.

    d(leaf) = Σ over users of adjoint(user, leaf, d(user))

Contributions are added in the order in which the users were written, so the backward graph is
the same in every run. Only nodes that lie between `wrt` and the outputs take part. A node of `wrt`
that no path leads to has a gradient of zeros here, such as the parameters of another head; where
the user asked for one by name, `dependence` refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence

from autodiffc.differentiate.adjoint import added, adjoint
from autodiffc.differentiate.dependence import called_output
from autodiffc.errors import DifferentiationError, DtypeError
from autodiffc.graph.affine import identity
from autodiffc.graph.comprehension import Comprehension, Domain
from autodiffc.graph.construct import call_graph, compute, leaf, reshape
from autodiffc.graph.dag import Graph, ancestors
from autodiffc.graph.extents import shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import LEAVES, Node, renew
from autodiffc.graph.scalars import Const
from autodiffc.graph.types import is_float

FLAT = (*LEAVES, "stop_gradient", "check_index")


def gradients(y: Node, wrt: Sequence[Node]) -> list[Node]:
    """The gradient of a scalar with respect to each node of `wrt`, in their shapes."""
    if y.shape != ():
        raise DifferentiationError(
            "only a scalar has a gradient",
            found=f"shape {shape_text(y.shape)}",
            expected="shape ()",
            help="reduce it, e.g. with ad.mean(...) or ad.sum(...)",
            loc=here() or y.loc,
        )
    _check_floating(y, "the differentiated value")
    return vjp([y], [fill(y, 1.0)], wrt)


def vjp(outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """Vector-Jacobian products: for each node of `wrt` the gradient of Σ ⟨cotangent, output⟩."""
    for node in wrt:
        _check_floating(node, "a gradient's variable")
    for output, cotangent in zip(outputs, cotangents, strict=True):
        _check_cotangent(output, cotangent)
    found = _pulled_back(outputs, cotangents, wrt)
    return [found.get(node) or fill(node, 0.0) for node in wrt]


def _pulled_back(
    outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node]
) -> dict[Node, Node]:
    """The gradients of all nodes that a path leads to."""
    graph = Graph({str(k): node for k, node in enumerate([*outputs, *wrt])})
    active = between(graph, wrt)
    found: dict[Node, Node] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        _accumulate(found, output, cotangent, output)
    for node in reversed(graph.order):
        if node not in found or node not in active or node.op in FLAT:
            continue
        for operand in dict.fromkeys(node.inputs):
            if operand not in active or not is_float(operand.dtype):
                continue
            contribution = contribution_of(node, operand, found[node])
            if contribution is not None:
                _accumulate(found, operand, contribution, node)
    return found


def fill(like: Node, value: float) -> Node:
    """A tensor of the type of `like` that is `value` everywhere."""
    rank = len(like.shape)
    formula = Comprehension(Domain(like.shape), identity(rank), (), Const(value, like.dtype))
    return compute([], [formula], like.shape, label="zeros" if value == 0 else "ones", loc=like.loc)


def between(graph: Graph, wrt: Sequence[Node]) -> set[Node]:
    """Nodes that depend on `wrt` through operations that pass gradients on."""
    active: set[Node] = set(wrt)
    for node in graph.order:
        if node.op not in FLAT and any(i in active for i in node.inputs):
            active.add(node)
    return active


def _accumulate(found: dict[Node, Node], node: Node, contribution: Node, source: Node) -> None:
    before = found.get(node)
    found[node] = contribution if before is None else added(before, contribution, source)


def contribution_of(node: Node, target: Node, dout: Node) -> Node | None:
    """What a node whose gradient is `dout` adds to the gradient of its operand `target`."""
    if node.op == "reshape":
        back = reshape(dout, target.shape)
        return back if back is dout else renew(back, loc=node.loc)
    if node.op == "compute":
        return adjoint(node, target, dout)
    if node.op == "call":
        return _call_adjoint(node, target, dout)
    raise DifferentiationError(
        f"the operation {node.label or node.op} has no derivative",
        found=repr(node),
        help="ad.stop_gradient(...) takes a value as constant",
        loc=node.loc,
    )


def _call_adjoint(node: Node, target: Node, dout: Node) -> Node | None:
    """A call of the subgraph's gradient by the arguments that `target` stands for."""
    output = called_output(node)
    inputs = dict(zip(node.attrs["arguments"], node.inputs, strict=True))
    leaves = [n for n in ancestors([output]) if n.op == "input"]
    name = "cotangent"
    while name in inputs:
        name += "_"
    cotangent = leaf("input", name, dout.shape, dout.dtype)
    wrt = [n for n in leaves if inputs[str(n.name)] is target]
    found = _pulled_back([output], [cotangent], wrt)
    parts = [found[n] for n in wrt if n in found]
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = added(total, part, node)
    result = call_graph(Graph({"gradient": total}), "gradient", {**inputs, name: dout})
    return renew(result, label=f"d_{node.label or node.op}", loc=node.loc)


def _check_floating(node: Node, what: str) -> None:
    if not is_float(node.dtype):
        raise DtypeError(
            f"{what} must be floating",
            found=str(node.type),
            expected="dtype float32 or float64; integers and truth values have no gradient",
            loc=node.loc,
        )


def _check_cotangent(output: Node, cotangent: Node) -> None:
    if cotangent.type != output.type:
        raise DifferentiationError(
            "a cotangent has its output's shape and dtype",
            found=f"{cotangent.type} for {output!r}",
            expected=str(output.type),
            loc=cotangent.loc,
        )
