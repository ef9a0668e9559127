"""What a kernel has to do, counted from its formulas: operations and bytes.

Both say what the *formula* asks for, not what the compiled loop happens to execute, so that a share
of the machine's peak is honest: a lane computed twice or a value read twice earns nothing.

- An operation is one function of floats at one point of the domain, `exp` as well as `+`; adding a
  term to a sum is one more, so a multiply-add counts as two. Negation, comparison, selection and
  conversion are free. Points that guards exclude (padding) do not count. An operation that occurs
  twice in a body is computed once.
- Bytes are those of every operand and every result, each once, and of an operand no more than the
  domain can touch.

With open dims the counts are expressions of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Comprehension, Domain, out_indices
from autodiffc.graph.extents import ExtentLike, product
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Call as FunctionCall
from autodiffc.graph.scalars import Scalar, dtype_of, walk
from autodiffc.graph.types import is_float
from autodiffc.schedule.kernels import Group, arguments
from autodiffc.schedule.plan import ITEM_BYTES, Call, Plan
from autodiffc.schedule.program import GENERAL, split_key

LARGEST_GRID = 1 << 22  # points that are looked at one by one to count those within guards

# --- Operations ---


def operations(group: Group) -> ExtentLike:
    """The operations of one call of a group's kernel."""
    if group.kind == "check":
        return 0
    nodes = group.nodes[:1] if group.kind == "extremum" else group.nodes
    total: ExtentLike = 0
    for node in nodes:
        for piece in node.pieces:
            total = total + _piece(node, piece)
    return total


def _piece(node: Node, piece: Comprehension) -> ExtentLike:
    dtypes = [node.inputs[a.operand].dtype for a in piece.operands]
    each = _in_body(piece.body, dtypes) + _combining(piece, dtypes)
    total = live_points(piece.domain) * each
    if piece.finish is not None:
        reduced = dtype_of(piece.body, dtypes)
        finishing = [reduced, *(node.inputs[a.operand].dtype for a in piece.finish_operands)]
        total = total + live_points(_kept(piece)) * _in_body(piece.finish, finishing)
    return total


def _combining(piece: Comprehension, dtypes: Sequence[str]) -> int:
    return int(piece.combine != "set" and is_float(dtype_of(piece.body, dtypes)))


def _in_body(body: Scalar, dtypes: Sequence[str]) -> int:
    """Distinct functions of floats, with a float for a result."""
    calls = {s for s in walk(body) if isinstance(s, FunctionCall)}
    return sum(
        s.function != "neg"
        and FUNCTIONS[s.function].rule in ("float", "numeric")
        and is_float(dtype_of(s, dtypes))
        for s in calls
    )


def _kept(piece: Comprehension) -> Domain:
    """The domain of what `finish` is applied to."""
    kept = out_indices(piece.out)
    extents = tuple(e if k in kept else 1 for k, e in enumerate(piece.domain.extents))
    guards = tuple(g for g in piece.domain.guards if set(g.uses) <= kept)
    return Domain(extents, guards)


# --- Points ---


def live_points(domain: Domain) -> ExtentLike:
    """How many points of the box satisfy all guards.

    Guards tie few indices together at a time, such as a row to a row of the kernel: each such set
    is counted by itself, and the counts multiply.
    """
    total: ExtentLike = 1
    free = set(range(domain.rank))
    for indices, guards in _tied(domain.guards):
        free -= indices
        total = total * _count(domain, sorted(indices), guards)
    return total * product(tuple(domain.extents[k] for k in sorted(free)))


def _tied(guards: Sequence[Affine]) -> list[tuple[set[int], list[Affine]]]:
    """Guards grouped by the indices they share."""
    found: list[tuple[set[int], list[Affine]]] = []
    for guard in guards:
        indices, together = set(guard.uses), [guard]
        for other in [f for f in found if f[0] & indices]:
            found.remove(other)
            indices, together = indices | other[0], together + other[1]
        found.append((indices, together))
    return found


def _count(domain: Domain, indices: Sequence[int], guards: Sequence[Affine]) -> ExtentLike:
    """The points of some axes within guards; all of them where sizes are open or the axes long."""
    every = product(tuple(domain.extents[k] for k in indices))
    extents = [e for k in indices if isinstance(e := domain.extents[k], int)]
    constants = [g.constant for g in guards if isinstance(g.constant, int)]
    is_open = len(extents) < len(indices) or len(constants) < len(guards)
    if is_open or not isinstance(every, int) or every > LARGEST_GRID:
        return every
    grid = np.ogrid[tuple(slice(e) for e in extents)] if extents else []
    live = np.ones(extents, bool)
    for guard, constant in zip(guards, constants, strict=True):
        terms = [guard.coefficients[k] * axis for k, axis in zip(indices, grid, strict=True)]
        live &= sum(terms, np.int64(constant)) >= 0
    return int(live.sum())


# --- Bytes ---


def bytes_moved(group: Group, results: Sequence[Node]) -> ExtentLike:
    """The bytes that one call must read and write."""
    given = arguments(group, results)
    reads = given[: len(given) - len(results)]
    total: ExtentLike = 0
    for node in reads:
        total = total + _smaller(product(node.shape), _reach(group)) * ITEM_BYTES[node.dtype]
    for node in results:
        total = total + product(node.shape) * ITEM_BYTES[node.dtype]
    return total


def _reach(group: Group) -> ExtentLike:
    """No operand can be read at more elements than there are points."""
    if group.kind == "check":
        return product(group.nodes[0].shape)
    total: ExtentLike = 0
    for node in group.nodes:
        for piece in node.pieces:
            total = total + product(piece.domain.extents)
    return total


def _smaller(a: ExtentLike, b: ExtentLike) -> ExtentLike:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else a


# --- Entry points ---


def entry_operations(entries: Sequence[str], plans: Mapping[str, Plan]) -> dict[str, ExtentLike]:
    """The operations of a call of each entry point that asks for every output.

    `backward` is the one of the differentiated output, without cotangents.
    """
    found: dict[str, ExtentLike] = {}
    for entry in entries:
        plan = plans["training" if entry in ("forward", "backward") else entry]
        phase = 1 if entry == "backward" else 0
        total: ExtentLike = 0
        for call in plan.calls:
            if call.phase == phase and call.group is not None and not _only_general(call):
                total = total + operations(call.group)
        found[entry] = total
    return found


def _only_general(call: Call) -> bool:
    """Whether only cotangents need the call."""
    return {split_key(key)[0] for key in call.wanted_by} == {GENERAL}


def plain_count(count: ExtentLike) -> int | str:
    """A count as plain data: a number, or an expression of open dims."""
    return count if isinstance(count, int) else str(count)
