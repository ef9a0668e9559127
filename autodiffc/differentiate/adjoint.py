"""The adjoint of a formula: swap roles.

For `out[O(i)] += f(a1[A1(i)], …)` over a domain, the adjoint of operand k is

    da_k[A_k(i)] += dout[O(i)] · (∂f/∂x_k)(a1[A1(i)], …)      over the same domain

which is again a formula. What other combiners need beside it:

    max, min        the point that won counts. Windows ("first") compare their position with the
                    argmax of the same formula; reductions over axes ("shared") share the
                    derivative equally among all points that equal the result.
    prod            the product of the other points, as a formula over doubled indices: exact with
                    zeros, and in its own derivatives too. Its cost is quadratic in the number of
                    points that are multiplied.
    argmax, argmin  integers; nothing flows through them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from autodiffc.differentiate.chain import differentiate_body, times
from autodiffc.errors import DifferentiationError, VerificationError
from autodiffc.graph.affine import Affine, identity, index
from autodiffc.graph.comprehension import (
    Access,
    Comprehension,
    Domain,
    Row,
    inputs_used,
    map_access,
    prune_operands,
    renumber,
    renumber_rows,
)
from autodiffc.graph.construct import compute, elementwise
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.injective import is_injective
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Index,
    Scalar,
    Size,
    cast_to,
    dtype_of,
    replace_args,
    replace_indices,
)
from autodiffc.graph.types import is_float


@dataclass(frozen=True)
class Factor:
    """What multiplies the partial: a body over further accesses to further inputs."""

    body: Scalar
    accesses: tuple[Access, ...]
    inputs: tuple[Node, ...]
    condition: bool = False  # a mask (bool) rather than a number


def adjoint(node: Node, target: Node, dout: Node) -> Node | None:
    """The contribution of a compute node to the gradient of `target`, one of its inputs.

    None where nothing flows (integers, flat functions).
    """
    try:
        terms = [
            _node(node, target, formula, inputs)
            for piece in node.pieces
            for formula, inputs in _contributions(node, piece, target, dout)
        ]
    except DifferentiationError as error:
        error.loc = error.loc or node.loc
        raise
    return functools.reduce(lambda a, b: added(a, b, node), terms) if terms else None


def added(a: Node, b: Node, source: Node) -> Node:
    """The sum of two contributions, at the line of the node that made the second."""
    return renew(elementwise("add", a, b), loc=source.loc)


def _node(node: Node, target: Node, piece: Comprehension, inputs: tuple[Node, ...]) -> Node:
    return compute(
        inputs,
        [piece],
        target.shape,
        label=f"d_{target.name or target.label or target.op}",
        loc=node.loc,
    )


def _contributions(
    node: Node, piece: Comprehension, target: Node, dout: Node
) -> Iterator[tuple[Comprehension, tuple[Node, ...]]]:
    if piece.finish is not None:
        raise VerificationError(
            "differentiation comes before fusion", found=f"a formula of {node!r} with a finish"
        )
    if piece.combine in ("argmax", "argmin"):
        return
    piece = _with_each_element_once(node, piece)
    dtypes = [node.inputs[a.operand].dtype for a in piece.operands]
    reuse_result = piece.combine == "set"
    for k, access in enumerate(piece.operands):
        if node.inputs[access.operand] is not target or not is_float(dtypes[k]):
            continue
        count = len(piece.operands)
        out = Arg(count + 1) if reuse_result else None
        body = differentiate_body(piece.body, k, dtypes, out)
        if body is not None:
            yield _assemble(node, piece, access, body, dout)


def _with_each_element_once(node: Node, piece: Comprehension) -> Comprehension:
    """The formula with one access for each element read: `x*x` reads one operand, not two.

    Its adjoint is then one formula, `dout * (x + x)`, instead of a sum of two.
    """
    first: dict[tuple[Node, tuple[Row, ...]], int] = {}
    for k, access in enumerate(piece.operands):
        first.setdefault((node.inputs[access.operand], access.rows), k)
    if len(first) == len(piece.operands):
        return piece
    position = [first[node.inputs[a.operand], a.rows] for a in piece.operands]
    body = replace_args(piece.body, lambda k: Arg(position[k]))
    return prune_operands(replace(piece, body=body))


def _assemble(
    node: Node, piece: Comprehension, access: Access, partial: Scalar, dout: Node
) -> tuple[Comprehension, tuple[Node, ...]]:
    """`da[A(i)] += dout[O(i)] · factor · partial` with inputs (node's inputs, dout, node, …)."""
    base = len(node.inputs)
    inputs = (*node.inputs, dout, node)
    accesses = [*piece.operands, Access(base, piece.out), Access(base + 1, piece.out)]
    reduced_type = dtype_of(piece.body, [node.inputs[a.operand].dtype for a in piece.operands])
    upstream: Scalar = cast_to(Arg(len(piece.operands)), dout.dtype, reduced_type)
    body = times(upstream, partial)
    factor = _factor(node, piece, len(inputs), len(accesses))
    if factor is not None:
        inputs = (*inputs, *factor.inputs)
        accesses += factor.accesses
        if factor.condition:
            zero = Const(0.0, reduced_type)
            body = Call("where", (factor.body, body, zero))
        else:
            body = times(factor.body, body)
    wanted = node.inputs[access.operand].dtype
    body = cast_to(body, reduced_type, wanted)
    affine = [r for r in access.rows if isinstance(r, Affine)]
    once = len(affine) == len(access.rows) and is_injective(affine, piece.domain)
    formula = Comprehension(
        piece.domain, access.rows, tuple(accesses), body, "set" if once else "sum"
    )
    return _compact(formula, inputs)


def _compact(
    formula: Comprehension, inputs: tuple[Node, ...]
) -> tuple[Comprehension, tuple[Node, ...]]:
    """Drops operands and inputs that the formula does not use."""
    formula = prune_operands(formula)
    used = sorted(inputs_used(formula))
    new = {old: k for k, old in enumerate(used)}
    return (
        replace(
            formula,
            out=renumber_rows(formula.out, new.__getitem__),
            operands=tuple(renumber(a, new.__getitem__) for a in formula.operands),
        ),
        tuple(inputs[k] for k in used),
    )


# --- Combiners beyond set and sum ---


def _factor(node: Node, piece: Comprehension, first_input: int, first_arg: int) -> Factor | None:
    if piece.combine in ("set", "sum"):
        return None
    _check_points_meet_plainly(node, piece)
    if not piece.reduced:
        return None  # one point an element: its value is the result
    if piece.combine in ("max", "min"):
        if node.attrs.get("ties", "first") == "shared":
            return _shared(node, piece, first_input, first_arg)
        return _winner(node, piece, first_input, first_arg)
    return _others(node, piece, first_input, first_arg)


def _check_points_meet_plainly(node: Node, piece: Comprehension) -> None:
    """Points that meet at one element must differ in the reduced indices alone.

    That is so for every formula a model can state (its left-hand indices are distinct and plain);
    `out[i + j] max= …` would need to know more than a position among the reduced indices.
    """
    kept = [k for k in range(piece.domain.rank) if k not in piece.reduced]
    rows = [
        Affine(tuple(r.coefficients[k] for k in kept), r.constant)
        for r in piece.out
        if isinstance(r, Affine)
    ]
    if not is_injective(rows, Domain(tuple(piece.domain.extents[k] for k in kept))):
        raise DifferentiationError(
            f"a {piece.combine} over a skewed output has no derivative here",
            found=f"{node.label or node.op} whose output subscripts overlap",
            expected="one index, or nothing, in each output subscript",
            loc=node.loc,
        )


def _winner(node: Node, piece: Comprehension, first_input: int, first_arg: int) -> Factor:
    """A mask of the first extremum: its row-major position among the reduced indices."""
    positions = compute(
        node.inputs,
        [replace(piece, combine=f"arg{piece.combine}")],
        node.shape,
        label=f"arg{node.label or piece.combine}",
        loc=node.loc,
    )
    here = _row_major(piece)
    body = Call("eq", (Arg(first_arg), here))
    return Factor(body, (Access(first_input, piece.out),), (positions,), condition=True)


def _row_major(piece: Comprehension) -> Scalar:
    """The position of the current point among the reduced indices, as int32."""
    total: Scalar = Const(0, "int32")
    for k in piece.reduced:
        step: Scalar = Index(k)
        if total == Const(0, "int32"):
            total = step
            continue
        extent = piece.domain.extents[k]
        size: Scalar = (
            Const(extent, "int32") if isinstance(extent, int) else Cast("int32", Size(extent))
        )
        total = total * size + step
    return total


def _shared(node: Node, piece: Comprehension, first_input: int, first_arg: int) -> Factor:
    """One over the number of points that equal the result, where this point does."""
    dtype = node.dtype
    count_body = Call(
        "where",
        (_equal(piece.body, Arg(len(piece.operands)), dtype), Const(1.0, dtype), Const(0.0, dtype)),
    )
    counting = replace(
        piece,
        operands=(*piece.operands, Access(len(node.inputs), piece.out)),
        body=count_body,
        combine="sum",
    )
    ties = compute((*node.inputs, node), [counting], node.shape, label="ties", loc=node.loc)
    result, number = Arg(first_arg), Arg(first_arg + 1)
    one, zero = Const(1.0, dtype), Const(0.0, dtype)
    body = Call("where", (_equal(piece.body, result, dtype), one / number, zero))
    accesses = (Access(first_input, piece.out), Access(first_input + 1, piece.out))
    return Factor(body, accesses, (node, ties))


def _equal(a: Scalar, b: Scalar, dtype: str) -> Scalar:
    """Equality under which NaN equals NaN: where the result is NaN, every NaN shares it."""
    same = Call("eq", (a, b))
    if not is_float(dtype):
        return same
    both_nan = Call("and", (Call("ne", (a, a)), Call("ne", (b, b))))
    return Call("or", (same, both_nan))


def _others(node: Node, piece: Comprehension, first_input: int, first_arg: int) -> Factor:
    """The product of all points but one: a node with an axis for each index of the domain."""
    rank, reduced = piece.domain.rank, piece.reduced
    extra = len(reduced)
    extents: tuple[ExtentLike, ...] = (
        *piece.domain.extents,
        *(piece.domain.extents[k] for k in reduced),
    )
    names = (*piece.domain.names, *(f"{piece.domain.names[k]}_other" for k in reduced))
    primed = {k: rank + j for j, k in enumerate(reduced)}

    def prime(row: Affine) -> Affine:
        coefficients = list(row.coefficients) + [0] * extra
        for k, other in primed.items():
            coefficients[other], coefficients[k] = coefficients[k], 0
        return Affine(tuple(coefficients), row.constant)

    guards = tuple(prime(g) for g in piece.domain.guards)
    operands = tuple(map_access(a, prime) for a in piece.operands)
    body = replace_indices(piece.body, lambda k: Index(primed.get(k, k)))
    matches: list[Scalar] = [Call("eq", (Index(k), Index(p))) for k, p in primed.items()]
    same = functools.reduce(lambda a, b: Call("and", (a, b)), matches)
    body = Call("where", (same, Const(1.0, node.dtype), body))
    out = tuple(index(rank + extra, k) for k in range(rank))
    formula = Comprehension(Domain(extents, guards, names), out, operands, body, "prod")
    others = compute(
        node.inputs, [formula], piece.domain.extents, label="other_factors", loc=node.loc
    )
    return Factor(Arg(first_arg), (Access(first_input, identity(rank)),), (others,))
