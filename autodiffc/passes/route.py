"""The mask of an activation moves from a pool's input to its result.

    r = relu(z)    y[w] = max over p of r[A(w, p)]    a[w] = argmax over p of r[A(w, p)]

    dz[x] = where(z[x] <= 0, 0, Σ where(a[w] == p, dy[w], 0))        over the points A(w, p) = x
          =                     Σ where(a[w] == p, where(y[w] <= 0, 0, dy[w]), 0)

Where a window's gradient goes, `r` is the window's maximum, so the pool's result tells as well as
the activation whether anything passes (also if it is NaN). The backward pass then reads y, which
is smaller, and r need not be kept; and the mask is applied where dy is computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Call, Const, Index, Scalar

MOST_WINDOWED = 3  # indices of a window


@dataclass(frozen=True)
class Routing:
    """A node that hands a pool's gradient to the winners; `gradient` is the input it hands on."""

    node: Node
    pool: Node
    gradient: int


def route(graph: Graph) -> Graph:
    """The graph with masks at the results of pools where that says the same."""
    pools = {n.inputs[0]: n for n in graph.order if _is_pool(n)}
    found = {n: r for n in graph.order if pools and (r := _masked_routing(n, graph, pools))}
    new: dict[Node, Node] = {}
    for old in graph.order:
        if old in found:
            new[old] = _rerouted(old, found[old], new)
            continue
        inputs = tuple(new[i] for i in old.inputs)
        new[old] = old if inputs == old.inputs else renew(old, inputs=inputs)
    return Graph({name: new[node] for name, node in graph.outputs.items()}) if found else graph


def _rerouted(masked: Node, routing: Routing, new: Mapping[Node, Node]) -> Node:
    """What `masked` is: the routing of a gradient that the pool's result masks."""
    inputs = [new[i] for i in routing.node.inputs]
    gradient, pool = inputs[routing.gradient], new[routing.pool]
    rows = identity(len(gradient.shape))
    zero = Const(0.0, gradient.dtype)
    body = Call("where", (Call("le", (Arg(0), Const(0.0, pool.dtype))), zero, Arg(1)))
    formula = Comprehension(Domain(gradient.shape), rows, (Access(0, rows), Access(1, rows)), body)
    label = f"d_{routing.pool.name or routing.pool.label}_masked"
    kept = compute([pool, gradient], [formula], gradient.shape, label=label, loc=masked.loc)
    inputs[routing.gradient] = renew(kept, serial=masked.serial)
    node = routing.node
    return renew(masked, inputs=tuple(inputs), pieces=node.pieces, attrs=node.attrs)


# --- Patterns ---


def _is_pool(node: Node) -> bool:
    """Whether a node is a plain maximum over windows of an activation."""
    if node.op != "compute" or len(node.pieces) != 1 or len(node.inputs) != 1:
        return False
    formula = node.formula
    kept = identity(formula.domain.rank)[: len(formula.out)]
    if formula.combine != "max" or formula.body != Arg(0) or len(formula.operands) != 1:
        return False
    return (
        formula.out == kept and len(formula.reduced) <= MOST_WINDOWED and _is_relu(node.inputs[0])
    )


def _is_relu(node: Node) -> bool:
    if node.op != "compute" or len(node.pieces) != 1 or len(node.inputs) != 1:
        return False
    return node.formula.is_elementwise and node.formula.body == Call("relu", (Arg(0),))


def _masked_routing(node: Node, graph: Graph, pools: Mapping[Node, Node]) -> Routing | None:
    """The routing behind `where(z <= 0, 0, routing)`, if nothing else reads it."""
    if node.op != "compute" or len(node.pieces) != 1 or not node.formula.is_elementwise:
        return None
    formula, rows = node.formula, identity(len(node.shape))
    if formula.body != _mask(node.dtype) or [a.rows for a in formula.operands] != [rows, rows]:
        return None
    tested, routing = (node.inputs[a.operand] for a in formula.operands)
    if len(graph.users(routing)) > 1 or routing in graph.outputs.values():
        return None
    for activation, pool in pools.items():
        if tested in (activation, activation.inputs[0]) and routing.type == activation.type:
            gradient = _handed_on(routing, pool)
            return None if gradient is None else Routing(routing, pool, gradient)
    return None


def _mask(dtype: str) -> Scalar:
    zero = Const(0.0, dtype)
    return Call("where", (Call("le", (Arg(0), zero)), zero, Arg(1)))


def _handed_on(node: Node, pool: Node) -> int | None:
    """The input that a node hands to the winners of a pool's windows, if it does that alone."""
    if node.op != "compute" or len(node.pieces) != 1 or node.formula.combine not in ("set", "sum"):
        return None
    formula, body = node.formula, node.formula.body
    if formula.finish is not None or len(formula.operands) != 2:
        return None
    if not isinstance(body, Call) or body.function != "where":
        return None
    test, value, other = body.args
    for winner, gradient in ((0, 1), (1, 0)):
        if value != Arg(gradient) or other != Const(0.0, node.dtype):
            continue
        if not (isinstance(test, Call) and test.function == "eq" and test.args[0] == Arg(winner)):
            continue
        access = formula.operands[winner]
        positions = node.inputs[access.operand]
        same = formula.operands[gradient].rows == access.rows
        if same and _are_positions(positions, pool) and _fits(formula, access, test.args[1], pool):
            operand = formula.operands[gradient].operand
            return operand if node.inputs[operand].shape == pool.shape else None
    return None


def _are_positions(node: Node, pool: Node) -> bool:
    """Whether a node is the argmax over the pool's windows."""
    if node.op != "compute" or len(node.pieces) != 1 or node.inputs != pool.inputs:
        return False
    return node.formula == replace(pool.formula, combine="argmax")


def _fits(formula: Comprehension, access: Access, position: Scalar, pool: Node) -> bool:
    """Whether every point of a routing is one of the pool's, and its position is the window's."""
    return any(
        _same_points(formula, order, position, pool.formula)
        for order in _orders(access, formula, pool)
    )


def _orders(access: Access, formula: Comprehension, pool: Node) -> Iterator[list[int]]:
    """For each index of the pool, one of the routing: kept ones as the positions are read."""
    kept = [row.plain_index if isinstance(row, Affine) else None for row in access.rows]
    free = [k for k in range(formula.domain.rank) if k not in kept]
    if None in kept or len(kept) + len(free) != pool.formula.domain.rank:
        return
    for rest in itertools.permutations(free):
        yield [*(k for k in kept if k is not None), *rest]


def _same_points(
    formula: Comprehension, order: list[int], position: Scalar, pool: Comprehension
) -> bool:
    rank = formula.domain.rank
    moved = [index(rank, k) for k in order]
    extents = tuple(formula.domain.extents[k] for k in order)
    guards = {g.compose(moved, rank) for g in pool.domain.guards}
    rows = tuple(r.compose(moved, rank) for r in pool.operands[0].rows if isinstance(r, Affine))
    place = constant(rank, 0)
    for k in pool.reduced:
        extent = pool.domain.extents[k]
        if not isinstance(extent, int):
            return False
        place = place * extent + moved[k]
    if extents != pool.domain.extents or guards != {*formula.domain.guards}:
        return False
    return rows == formula.out and _affine(position, rank) == place


def _affine(body: Scalar, rank: int) -> Affine | None:
    """An integer body as an affine map of the indices, if it is one."""
    if isinstance(body, Index):
        return index(rank, body.position)
    if isinstance(body, Const):
        return constant(rank, int(body.value))
    if not isinstance(body, Call) or body.function not in ("add", "mul"):
        return None
    a, b = (_affine(x, rank) for x in body.args)
    if a is None or b is None:
        return None
    if body.function == "add":
        return a + b
    a, b = (b, a) if a.is_constant else (a, b)
    return a * b.constant if b.is_constant and isinstance(b.constant, int) else None
