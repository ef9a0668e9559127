"""Roughly how long a kernel takes, to judge whether it is worth sharing among threads.

The unit is an operation of vectorized code, or two bytes of memory: 0.02 to 0.1 ns. Threads that
share a kernel wait for the last of them, which takes half a microsecond or so where each has a
processor for itself; what takes less than some five is left to one.
"""

from __future__ import annotations

from collections.abc import Sequence

from autodiffc.graph.extents import ExtentLike, product
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Call, Scalar, walk
from autodiffc.schedule.kernels import Group, arguments
from autodiffc.schedule.plan import ITEM_BYTES
from autodiffc.schedule.vectors import FLOATS, LOGIC, SMOOTH, TRUTH

SIMPLE = (FLOATS | LOGIC | TRUTH) - SMOOTH
GATE = 200_000  # from here on a kernel is shared, if nothing else is asked for
MATH = 10  # exp, log and their like


def team_cost(gate: int) -> int:
    """What it costs a call to share one more kernel: the wait, and its part of the team's start.

    That is more than a gate, which only asks whether a team that is there should share a kernel.
    """
    return min(7 * gate // 2, 1 << 62)


def effort(group: Group, results: Sequence[Node]) -> ExtentLike:
    """The effort of one call of a group's kernel; with open dims an expression of those."""
    total: ExtentLike = 0
    for node in group.nodes:
        for piece in node.pieces:
            each = _in_body(piece.body) + (piece.combine != "set")
            total = total + product(piece.domain.extents) * each
    for node in {*arguments(group, results), *results}:
        total = total + memory_effort(product(node.shape), node.dtype)
    return total


def memory_effort(elements: ExtentLike, dtype: str) -> ExtentLike:
    """That of reading, or writing, so many elements."""
    return elements * max(ITEM_BYTES[dtype] // 2, 1)


def _in_body(body: Scalar) -> int:
    calls = {s for s in walk(body) if isinstance(s, Call)}
    return sum(1 if s.function in SIMPLE else MATH for s in calls)
