"""What one row's formula hands on to an operand: the terms of the backward column.

Most come from `differentiate.reverse`, as in compiled code. A formula that a lecture has a known
gradient for brings it along, and a sum with something around it (a bias, the division of a mean) is
taken apart again: the gradient of what stands around goes into the terms of the sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from autodiffc.differentiate.chain import times
from autodiffc.differentiate.reverse import contribution_of
from autodiffc.explain.names import Gradient
from autodiffc.graph.affine import Affine, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain, map_access
from autodiffc.graph.construct import compute
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Arg, Call, Scalar, const, rewrite
from autodiffc.passes.formulas import body_dtypes
from autodiffc.passes.fuse import inlined
from autodiffc.passes.rules import simplify_body


def contributions(node: Node, operand: Node, gradient: Node) -> list[Node]:
    """The terms of d(operand) that come from `node`, whose gradient is given."""
    if "adjoint" in node.attrs:
        found = node.attrs["adjoint"](node, operand, gradient)
    elif node.op == "compute" and node.pieces[0].finish is not None:
        return [_simplified(term) for term in _around_a_sum(node, operand, gradient)]
    else:
        found = contribution_of(node, operand, gradient)
    return [] if found is None else [_simplified(term) for term in _terms(found)]


def _terms(contribution: Node) -> Iterator[Node]:
    """A contribution made of several sums, one after the other: an operand read more than once."""
    is_sum = contribution.name is None and contribution.label == "add"
    if not is_sum or len(contribution.inputs) != 2:
        yield contribution
        return
    for part in contribution.inputs:
        yield from _terms(part)


# --- A sum with something around it ---


def _around_a_sum(node: Node, operand: Node, gradient: Node) -> Iterator[Node]:
    total = _bare_sum(node)
    tail = _around(node, total)
    for source in (tail, total):
        if operand not in source.inputs:
            continue
        upstream = gradient if source is tail else contribution_of(tail, total, gradient)
        found = None if upstream is None else contribution_of(source, operand, upstream)
        for term in [] if found is None else _terms(found):
            yield term if upstream is None else inlined(term, upstream) or term


def _bare_sum(node: Node) -> Node:
    piece = replace(node.formula, finish=None, finish_operands=())
    return renew(node, pieces=(piece,), name=f"{node.name}_sum")


def _around(node: Node, total: Node) -> Node:
    """What stands around the sum, as an elementwise formula over it."""
    piece = node.formula
    assert piece.finish is not None
    axis_of = {row.plain_index: k for k, row in enumerate(piece.out) if isinstance(row, Affine)}
    rank = len(piece.out)
    names = [""] * rank
    for k, axis in axis_of.items():
        names[axis] = piece.domain.names[k or 0]

    def kept(row: Affine) -> Affine:
        coefficients = [0] * rank
        for k in row.uses:
            coefficients[axis_of[k]] = row.coefficients[k]
        return Affine(tuple(coefficients), row.constant)

    at = tuple(index(rank, k) for k in range(rank))
    accesses = (Access(0, at), *(map_access(a, kept) for a in piece.finish_operands))
    shifted = (accesses[0], *(replace(a, operand=a.operand + 1) for a in accesses[1:]))
    formula = Comprehension(Domain(node.shape, (), tuple(names)), at, shifted, piece.finish)
    return compute([total, *node.inputs], [formula], node.shape, loc=node.loc)


# --- Algebra that a person does without a word ---


def _simplified(term: Node) -> Node:
    """The term with 2*x**(2 - 1) as 2*x."""
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
