"""Positions within small windows take one byte each.

    a[w] = argmax over p of x[A(w, p)]         int32 -> uint8, if there are at most 256 points p

The position that a max-pool keeps for the way back is read once for each point of its window: a
quarter of the bytes to write, keep and read. Readers convert: `int32(a[w]) == p`.
"""

from __future__ import annotations

from dataclasses import replace

from autodiffc.graph.comprehension import Access, Comprehension, Indirect
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import product
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Cast, Scalar, replace_args
from autodiffc.graph.types import TensorType

MOST_POINTS = 256  # whose positions a byte can tell apart


def narrow(graph: Graph) -> Graph:
    """The graph with bytes for those positions that only formulas read."""
    found = {n for n in graph.order if _is_small(n) and _only_formulas_read(n, graph)}
    if not found:
        return graph
    new: dict[Node, Node] = {}
    for old in graph.order:
        inputs = tuple(new[i] for i in old.inputs)
        node = old if inputs == old.inputs else renew(old, inputs=inputs)
        narrowed = frozenset(k for k, i in enumerate(old.inputs) if i in found)
        if narrowed:
            node = renew(node, pieces=tuple(_widening(p, narrowed) for p in node.pieces))
        if old in found:
            node = renew(node, type=TensorType(node.shape, "uint8"))
        new[old] = node
    return Graph({name: new[node] for name, node in graph.outputs.items()})


def _is_small(node: Node) -> bool:
    if node.op != "compute" or len(node.pieces) != 1 or node.dtype != "int32":
        return False
    formula = node.formula
    if formula.combine not in ("argmax", "argmin") or formula.finish is not None:
        return False
    points = product(tuple(formula.domain.extents[k] for k in formula.reduced))
    return isinstance(points, int) and points <= MOST_POINTS


def _only_formulas_read(node: Node, graph: Graph) -> bool:
    """Whether nobody needs the integers as such, nor as addresses."""
    if node in graph.outputs.values():
        return False
    return all(user.op == "compute" and not _looks_up(user, node) for user in graph.users(node))


def _looks_up(user: Node, node: Node) -> bool:
    """Whether a formula takes addresses from a node."""
    rows = {
        r
        for p in user.pieces
        for r in (*p.out, *(r for a in (*p.operands, *p.finish_operands) for r in a.rows))
    }
    return any(isinstance(r, Indirect) and user.inputs[r.operand] is node for r in rows)


def _widening(piece: Comprehension, narrowed: frozenset[int]) -> Comprehension:
    """A formula that converts what it reads of some inputs."""

    def widened(body: Scalar, first: int, operands: tuple[Access, ...]) -> Scalar:
        def value(k: int) -> Scalar:
            is_narrow = k >= first and operands[k - first].operand in narrowed
            return Cast("int32", Arg(k)) if is_narrow else Arg(k)

        return replace_args(body, value)

    finish = piece.finish and widened(piece.finish, 1, piece.finish_operands)
    return replace(piece, body=widened(piece.body, 0, piece.operands), finish=finish)
