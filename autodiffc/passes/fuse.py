"""Values move to where they are used, so that fewer tensors travel through memory.

    inline   an operand that is computed element by element becomes part of its reader's body: its
             address composed into the reader's, its body substituted
    absorb   an elementwise reader of a reduction, such as a bias, an activation, a residual or the
             mask of a gradient, becomes the reduction's `finish` (of a scatter: part of its body)
    mask     `z <= 0` becomes `y <= 0` where y = relu(z), so that z needs no buffer of its own

Absorbing comes first, since it keeps values in registers. What is inlined where:

    views (slices, transpositions, broadcasts, flips)    into every reader
    what one reader reads                                where each element is read once
    cheap functions of one element                       where each element is read once

so that nothing is computed more often than before, save cheap functions once a reader. Outputs
stay outputs: they are computed, once, even where their readers could do without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.comprehension import (
    Access,
    Comprehension,
    Indirect,
    Row,
    map_rows,
    out_indices,
    renumber_rows,
)
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import ExtentLike, defaults, product
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.inequalities import never_negative
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Scalar,
    children,
    replace_args,
    walk,
)
from autodiffc.passes.formulas import substitute_indices, tidy
from autodiffc.passes.normalize import writes_once
from autodiffc.passes.rules import calls_in
from autodiffc.passes.substitute import MOST_CALLS, MOST_OPERANDS, substitute

CHEAP_CALLS = 2  # what may be computed again for each reader
ROUNDS = 8  # each round fuses chains of any length; few graphs need a third


def fuse(graph: Graph) -> Graph:
    """The graph with views, elementwise values and elementwise tails fused."""
    for _ in range(ROUNDS):
        before = graph
        graph = _inline_values(_absorb_tails(_mask_by_activations(graph)))
        if all(graph.outputs[name] is node for name, node in before.outputs.items()):
            break
    return graph


Rule = Callable[[Node, Node], Node]


@dataclass(frozen=True)
class _Readers:
    """Who reads what, in the graph before a step."""

    counts: dict[Node, int]
    outputs: frozenset[Node]

    def only_one(self, node: Node) -> bool:
        """Whether a node has one reader and is no output itself."""
        return self.counts.get(node, 0) == 1 and node not in self.outputs


def _readers(graph: Graph) -> _Readers:
    counts: dict[Node, int] = {}
    for node in graph.order:
        for operand in dict.fromkeys(node.inputs):
            counts[operand] = counts.get(operand, 0) + 1
    return _Readers(counts, frozenset(graph.outputs.values()))


def _sweep(graph: Graph, rule: Rule) -> Graph:
    """Applies `rule(old, node)` to every node, `node` being `old` over new operands."""
    new: dict[Node, Node] = {}
    for old in graph.order:
        inputs = tuple(new[i] for i in old.inputs)
        new[old] = rule(old, old if inputs == old.inputs else renew(old, inputs=inputs))
    return Graph({name: new[node] for name, node in graph.outputs.items()})


# --- Masks ---


def _mask_by_activations(graph: Graph) -> Graph:
    """Reads `relu(z) <= 0` in place of `z <= 0`, and so for `>`: the same truth, also for NaN.

    Where the mask was written before the activation it is left alone; gradients come after.
    """
    relus: dict[Node, Node] = {}

    def rule(node: Node) -> Node:
        if _is_relu(node):
            relus.setdefault(node.inputs[0], node)
            return node
        masks = {k: relus[z] for k, z in enumerate(node.inputs) if z in relus and _masks(node, k)}
        if not masks:
            return node
        return tidy(renew(node, inputs=tuple(masks.get(k, z) for k, z in enumerate(node.inputs))))

    return graph.rewrite(rule)


def _is_relu(node: Node) -> bool:
    if not _is_elementwise(node) or len(node.inputs) != 1:
        return False
    rows = [a.rows for a in node.formula.operands]
    return node.formula.body == Call("relu", (Arg(0),)) and rows == [identity(len(node.shape))]


def _masks(node: Node, k: int) -> bool:
    """Whether a node reads an input in nothing but `input <= 0` and `input > 0`."""
    found = False
    for piece in node.pieces:
        if k in _indirect_inputs(piece) or any(a.operand == k for a in piece.finish_operands):
            return False
        for position, access in enumerate(piece.operands):
            if access.operand == k:
                found = True
                if not _only_in_masks(piece.body, position):
                    return False
    return found


def _only_in_masks(body: Scalar, position: int) -> bool:
    stack = [body]
    while stack:
        scalar = stack.pop()
        if scalar == Arg(position):
            return False
        if isinstance(scalar, Call) and scalar.function in ("le", "gt"):
            tested, limit = scalar.args
            if tested == Arg(position) and isinstance(limit, Const) and limit.value == 0:
                continue
        stack.extend(children(scalar))
    return True


# --- Tails ---


def _absorb_tails(graph: Graph) -> Graph:
    """Elementwise nodes move into the one reduction that they alone read."""
    readers = _readers(graph)

    def rule(old: Node, node: Node) -> Node:
        if not _is_elementwise(node):
            return node
        found = [
            k for k, x in enumerate(old.inputs) if readers.only_one(x) and _can_absorb(node, k)
        ]
        if not found:
            return node
        return _absorb(node, max(found, key=lambda k: _points(node.inputs[k])))

    return _sweep(graph, rule)


def _points(node: Node) -> int:
    return sum(defaults(product(p.domain.extents)) for p in node.pieces)


def _can_absorb(node: Node, k: int) -> bool:
    """Whether elementwise `node` may become the finish of its input k."""
    source, tail = node.inputs[k], node.formula
    if source.op != "compute" or _is_elementwise(source) or "scatter" in source.attrs:
        return False
    if source.type != node.type or k in _indirect_inputs(tail):
        return False
    same = identity(len(node.shape))
    if any(a.operand == k and a.rows != same for a in tail.operands):
        return False
    if not all(_takes_finish(node, k, p) for p in source.pieces):
        return False
    return _covers(source) or _vanishes(tail.body, _positions(tail, k))


def _takes_finish(node: Node, k: int, piece: Comprehension) -> bool:
    """Whether each element of the source comes from one kept point, with room for a longer body."""
    tail = node.formula
    if piece.combine not in ("set", "sum", "prod", "max", "min") or not writes_once(piece):
        return False
    if piece.combine == "set" and piece.reduced:
        return False  # its points are told apart by guards alone
    if piece.combine in ("max", "min") and len(node.inputs) > 1:
        return False  # a maximum and its argmax share a kernel only while they read the same
    body = piece.body if piece.combine == "set" else piece.finish
    calls = calls_in(tail.body) + (0 if body is None else calls_in(body))
    operands = len(tail.operands) + len(piece.operands) + len(piece.finish_operands)
    return calls <= MOST_CALLS and operands <= MOST_OPERANDS


def _covers(node: Node) -> bool:
    """Whether the formulas write every element: they are disjoint, so counting will do."""
    total: ExtentLike = 0
    for piece in node.pieces:
        kept = out_indices(piece.out)
        if any(set(g.uses) <= kept for g in piece.domain.guards) or _may_leave(node, piece):
            return False
        total = total + product(tuple(e for k, e in enumerate(piece.domain.extents) if k in kept))
    return total == product(node.shape)


def _may_leave(node: Node, piece: Comprehension) -> bool:
    """Whether a kept point may be outside of the tensor, as one without a live point may."""
    box = replace(piece.domain, guards=())
    sides = [
        side
        for row, extent in zip(piece.out, node.shape, strict=True)
        if isinstance(row, Affine)
        for side in (row, -row + (extent - 1))
    ]
    return not all(never_negative(side, box) for side in sides)


def _positions(piece: Comprehension, k: int) -> frozenset[int]:
    """The arguments of the body that read input k."""
    return frozenset(j for j, a in enumerate(piece.operands) if a.operand == k)


def _vanishes(body: Scalar, positions: frozenset[int]) -> bool:
    """Whether a body is 0 where the arguments at `positions` are, whatever the others may be.

    They may be zero, infinite or NaN, so a product with one of them, or a quotient by one, is not.
    """
    if isinstance(body, Arg):
        return body.position in positions
    if isinstance(body, Const):
        return body.value == 0
    if isinstance(body, Cast):
        return _vanishes(body.x, positions)
    if not isinstance(body, Call):
        return False
    if body.function == "where":
        return all(_vanishes(a, positions) for a in body.args[1:])
    if body.function in ("add", "sub", "neg", "relu"):
        return all(_vanishes(a, positions) for a in body.args)
    if body.function == "mul":
        return any(
            _vanishes(a, positions) and _is_finite(b) for a, b in (body.args, reversed(body.args))
        )
    if body.function == "div":
        divisor = body.args[1]
        return _vanishes(body.args[0], positions) and _is_finite(divisor) and divisor.value != 0
    return False


def _is_finite(body: Scalar) -> TypeGuard[Const]:
    return isinstance(body, Const) and math.isfinite(body.value)


def _absorb(node: Node, k: int) -> Node:
    """Input k with `node` as the end of its formulas; name, type and place are the node's."""
    source = node.inputs[k]
    shift = len(source.inputs)
    pieces = [_finished(source, p, node.formula, k, shift) for p in source.pieces]
    return tidy(
        renew(
            node,
            inputs=(*source.inputs, *node.inputs),
            pieces=tuple(pieces),
            attrs=source.attrs,
            label=_joined(source.label, node.label),
        )
    )


def _joined(first: str | None, second: str | None) -> str | None:
    """`conv2d + relu`; longer chains keep their ends."""
    if not first or not second:
        return first or second
    parts = [p for p in first.split(" + ") if p != second] + [second]
    return " + ".join(parts if len(parts) <= 3 else [parts[0], parts[-1]])


def _finished(
    source: Node, piece: Comprehension, tail: Comprehension, k: int, shift: int
) -> Comprehension:
    rows = [r for r in piece.out if isinstance(r, Affine)]
    value: Scalar = piece.body
    accesses, first = list(piece.operands), 0
    if piece.combine != "set":
        value = Arg(0) if piece.finish is None else piece.finish
        accesses, first = list(piece.finish_operands), 1
    new: dict[int, Scalar] = {}
    for j, access in enumerate(tail.operands):
        if access.operand == k:
            new[j] = value
            continue
        composed = _compose(access.rows, rows, piece.domain.rank)
        accesses.append(Access(access.operand + shift, renumber_rows(composed, _shifted(shift))))
        new[j] = Arg(len(accesses) - 1 + first)
    body = replace_args(substitute_indices(tail.body, rows), new.__getitem__)
    if piece.combine == "set":
        return replace(piece, operands=tuple(accesses), body=body)
    return replace(piece, finish=body, finish_operands=tuple(accesses))


def _shifted(shift: int) -> Callable[[int], int]:
    return lambda operand: operand + shift


def _compose(rows: Sequence[Row], inner: Sequence[Affine], rank: int) -> tuple[Row, ...]:
    return map_rows(tuple(rows), lambda a: a.compose(inner, rank))


# --- Inlining ---


def _inline_values(graph: Graph) -> Graph:
    """Elementwise operands become part of their readers' bodies."""
    readers = _readers(graph)

    def rule(old: Node, node: Node) -> Node:
        if node.op != "compute":
            return node
        wanted = {
            x
            for before, x in zip(old.inputs, node.inputs, strict=True)
            if _worth(node, x, readers.only_one(before), old in readers.outputs)
        }
        for x in sorted(wanted, key=lambda x: node.inputs.index(x)):
            node = substitute(node, x)
        return tidy(node) if wanted else node

    return _sweep(graph, rule)


def _worth(reader: Node, x: Node, alone: bool, is_output: bool) -> bool:
    """Whether an operand should be computed by its reader."""
    if not _is_elementwise(x) or any(_is_indirect(p, reader, x) for p in reader.pieces):
        return False
    if _is_view(x):
        return True
    if _is_view(reader) and not is_output:
        return False  # a view disappears into its own readers, which then decide
    if _reads(reader, x) > defaults(product(x.shape)):
        return False
    return alone or _is_cheap(x)


def _is_elementwise(node: Node) -> bool:
    if node.op != "compute" or len(node.pieces) != 1:
        return False
    piece = node.formula
    return piece.is_elementwise and piece.finish is None and piece.domain.extents == node.shape


def _is_view(node: Node) -> bool:
    """Whether a node shows elements of its input, addressed without a further look-up."""
    if not _is_elementwise(node) or node.formula.body != Arg(0):
        return False
    return not any(isinstance(r, Indirect) for r in node.formula.operands[0].rows)


def _is_cheap(node: Node) -> bool:
    body = node.formula.body
    functions = [FUNCTIONS[s.function] for s in walk(body) if isinstance(s, Call)]
    plain = all((f.operator is not None and f.name != "div") or f.name == "relu" for f in functions)
    return len(node.formula.operands) <= 1 and len(functions) <= CHEAP_CALLS and plain


def _reads(reader: Node, x: Node) -> int:
    """How many elements of an operand the reader reads, each as often as it reads it."""
    total = 0
    for piece in reader.pieces:
        points = defaults(product(piece.domain.extents))
        total += points * sum(reader.inputs[a.operand] is x for a in piece.operands)
        kept = [e for k, e in enumerate(piece.domain.extents) if k not in piece.reduced]
        results = defaults(product(tuple(kept)))
        total += results * sum(reader.inputs[a.operand] is x for a in piece.finish_operands)
    return total


def _is_indirect(piece: Comprehension, node: Node, x: Node) -> bool:
    return any(node.inputs[k] is x for k in _indirect_inputs(piece))


def _indirect_inputs(piece: Comprehension) -> set[int]:
    rows = list(piece.out)
    for access in (*piece.operands, *piece.finish_operands):
        rows += access.rows
    return {r.operand for r in rows if isinstance(r, Indirect)}


def inlined(reader: Node, x: Node) -> Node | None:
    """The reader computing its elementwise operand `x` itself; None where it cannot."""
    if not _is_elementwise(x) or any(_is_indirect(p, reader, x) for p in reader.pieces):
        return None
    new = substitute(reader, x)
    return None if new is reader else tidy(new)


def absorbed(node: Node, k: int) -> Node | None:
    """Input k with elementwise `node` as the end of its formula; None where it cannot be."""
    return _absorb(node, k) if _is_elementwise(node) and _can_absorb(node, k) else None
