"""What a formula costs to run, for decisions between forms of it.

Costs are in units of one vector multiply-add. They come from the loops that would be written: the
points that guards leave, times what the register tile (or the plain loop) takes for each.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Comprehension
from autodiffc.graph.extents import ExtentLike, defaults, product
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import dtype_of
from autodiffc.schedule.nest import Nest, build_nest
from autodiffc.schedule.tile import choose_tiling
from autodiffc.targets import Target

# Measured, rounded, and good enough to compare with.
SMOOTH = 0.25  # a point of a loop that runs over neighbouring elements
SCATTERED = 0.8  # a point of one that does not
UNTILED = 3.0  # a term of a sum with one accumulator
COPY = 1.5  # an element that changes its layout
ENUMERATED = 1 << 16  # points over which a guard is counted out; above, it is taken as true


def node_cost(node: Node, target: Target) -> float:
    """The cost of all pieces of a node."""
    return sum(piece_cost(node, piece, target) for piece in node.pieces)


def piece_cost(node: Node, piece: Comprehension, target: Target) -> float:
    nest = build_nest(node, piece)
    points = elements(piece.domain.extents) * live_share(piece)
    dtypes = [node.inputs[a.operand].dtype for a in nest.operands]
    if piece.combine == "sum" and dtype_of(piece.body, dtypes) == node.dtype:
        tiling = choose_tiling(nest, dtypes, target)
        if tiling is not None:
            return points * tiling.cost
        return points * UNTILED
    return points * (SMOOTH if _is_smooth(nest) else SCATTERED)


def elements(shape: Sequence[ExtentLike]) -> float:
    """How many there are, every dim taken at its default."""
    return float(defaults(product(tuple(shape))))


def _is_smooth(nest: Nest) -> bool:
    """Whether neighbouring results come from neighbouring elements."""
    inner = [k for k in nest.kept if nest.out.strides[k] == 1]
    return bool(inner) and all(
        a.strides[inner[0]] in (0, 1) and not a.indirect for a in nest.operands
    )


# --- Guards ---


def live_share(piece: Comprehension) -> float:
    """The share of the box that the guards leave, guards over different indices as independent."""
    groups: dict[tuple[int, ...], list[Affine]] = {}
    for guard in piece.domain.guards:
        groups.setdefault(guard.uses, []).append(guard)
    share = 1.0
    for uses, guards in groups.items():
        share *= _share(guards, [piece.domain.extents[k] for k in uses], uses)
    return share


def _share(guards: Sequence[Affine], extents: Sequence[ExtentLike], uses: tuple[int, ...]) -> float:
    sizes = [defaults(e) for e in extents]
    if not 0 < int(np.prod(sizes, dtype=np.int64)) <= ENUMERATED:
        return 1.0
    live = np.ones(sizes, dtype=bool)
    grids = np.indices(sizes)
    for guard in guards:
        value = np.full(sizes, defaults(guard.constant))
        for grid, k in zip(grids, uses, strict=True):
            value = value + guard.coefficients[k] * grid
        live &= value >= 0
    return float(live.mean())


def subsets(count: int) -> list[tuple[int, ...]]:
    """All subsets of `count` things, the empty one first."""
    return [s for size in range(count + 1) for s in itertools.combinations(range(count), size)]
