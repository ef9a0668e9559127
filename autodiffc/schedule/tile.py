"""How a sum of products runs: the vector index, the register tile, and their expected cost.

Two forms, told apart by where the vector index lies:

    across   the vector index is kept: lanes are neighbouring results, operands are contiguous in
             it or constant (a broadcast). The last block is moved back so that it ends with the
             extent: a few results are computed twice, with the same bits, and no tail is needed.
    along    the vector index is reduced: lanes are partial sums of one result, added at the end.
             The last block is moved back too, and what was summed already is masked to zero.

A register tile gives further kept indices several values at once, so that each element loaded
feeds several multiply-adds. Tiles that do not divide their extent are moved back like vectors.
The cost is a model of loads per multiply-add, latency and waste; see `docs/architecture.md`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from autodiffc.graph.extents import defaults
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import Arg, Call, Const, Scalar
from autodiffc.ops.functions import expansion
from autodiffc.schedule.nest import Address, Nest
from autodiffc.schedule.order import Memory, plain_order
from autodiffc.schedule.tiling import Tiling
from autodiffc.schedule.vectors import VECTOR_MATH, has_math
from autodiffc.targets import Target

VECTOR_FUNCTIONS = VECTOR_MATH | frozenset(
    ["add", "sub", "mul", "div", "neg", "where", "lt", "le", "gt", "ge", "eq", "ne", "and", "or"]
)
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
SMALL_WORK = 100_000  # points
SMALL_TILE = 4  # accumulators
STEP = 1.0  # an iteration of the innermost loop, beside its loads and multiply-adds
GUARDED = 8.0  # the bounds of a loop that depend on a guard, and an exit that is not foreseen
MOST_ALIKE = 8  # tiles of the same indices that are looked at closely
LATENCY = 8  # multiply-adds in flight that keep both units busy


def choose_tiling(nest: Nest, dtypes: list[str], target: Target) -> Tiling | None:
    """The cheapest tiling of a `sum` nest, or None where it is better left to plain loops."""
    if nest.combine != "sum" or not vectorizable(nest.body, dtypes):
        return None
    return _chosen(replace(nest, names=()), dtypes[0], target)


@functools.lru_cache(maxsize=1 << 12)
def _chosen(nest: Nest, dtype: str, target: Target) -> Tiling | None:
    """The choice; the same nests come up in every entry's graph and in previews of layouts."""
    item = 8 if dtype == "float64" else 4
    registers = target.registers - target.registers // 8
    alone = has_math(nest.body) or len(nest.operands) == 1
    if _is_small(nest) or alone:  # long bodies need no others beside them, nor do plain sums
        registers = min(registers, SMALL_TILE + 2)
    found = [
        tiling
        for vector in range(len(nest.extents))
        if (lanes := _lanes(nest, vector, target.lanes(item))) >= 4 // (item // 4)
        for tiling in _tilings(nest, vector, lanes, registers)
    ]
    best = _cheapest(nest, found, item, target)
    return best and replace(best, registers=target.registers)


def _cheapest(nest: Nest, found: Sequence[Tiling], item: int, target: Target) -> Tiling | None:
    """The best with its order of loops; waiting for memory only adds to the cost.

    The best few of those that tile the same indices are compared, then the orders of loops around
    the one that wins. Small sums stay in the first cache.
    """
    if _is_small(nest):
        best = min(found, key=lambda t: t.cost, default=None)
        return best and replace(best, order=plain_order(nest, best), work=best.cost)
    ways: dict[object, list[Tiling]] = {}
    for tiling in sorted(found, key=lambda t: t.cost):
        ways.setdefault(_way(tiling), []).append(tiling)
    memory = Memory(nest, item, target)
    alike = [t for some in ways.values() for t in some[:MOST_ALIKE]]
    best = memory.best(sorted(alike, key=lambda t: t.cost))
    return best and memory.in_best_order(best)


def _way(tiling: Tiling) -> object:
    return tiling.vector, frozenset(k for k, _ in tiling.tiles)


def _is_small(nest: Nest) -> bool:
    """Whether the whole sum is so little work that a large tile is only more code."""
    return isinstance(nest.points, int) and nest.points < SMALL_WORK


def vectorizable(body: Scalar, dtypes: list[str]) -> bool:
    """Whether a body works on vectors: floats of one type, arithmetic and selections."""
    if not dtypes or len(set(dtypes)) != 1 or dtypes[0] not in ("float32", "float64"):
        return False
    return _is_vector(body, dtypes[0])


def _is_vector(body: Scalar, dtype: str) -> bool:
    if isinstance(body, Const):
        return body.dtype == dtype
    if not isinstance(body, Call):
        return isinstance(body, Arg)
    if FUNCTIONS[body.function].expand is not None:
        return _is_vector(expansion(body.function, body.args, dtype), dtype)
    return body.function in VECTOR_FUNCTIONS and all(_is_vector(a, dtype) for a in body.args)


def _lanes(nest: Nest, vector: int, widest: int) -> int:
    """The widest vector that fits the index, 0 where it cannot be one."""
    extent = nest.extents[vector]
    if not isinstance(extent, int) or nest.guarded(vector):
        return 0
    across = vector in nest.kept
    if across and nest.out.strides[vector] != 1:
        return 0
    operands = (*nest.operands, *(nest.finish_operands if across else ()))
    if any(a.strides[vector] not in (0, 1) for a in operands):
        return 0
    if any(x.uses(vector) for a in nest.addresses for _, x in a.indirect):
        return 0
    if not any(a.strides[vector] == 1 for a in nest.operands):
        return 0
    lanes = widest
    while lanes > extent:
        lanes //= 2
    return lanes


def _tilings(nest: Nest, vector: int, lanes: int, registers: int) -> Iterator[Tiling]:
    form = "across" if vector in nest.kept else "along"
    extent = nest.extents[vector]
    assert isinstance(extent, int)
    unrolls = [u for u in (1, 2, 3, 4) if u * lanes <= extent] if form == "across" else [1]
    step = STEP + _entries(nest)
    for unroll in unrolls:
        for tiles in _tiles(nest, vector, (registers - 2) // unroll):
            cost = _cost(nest, form, vector, lanes, unroll, tiles, step)
            yield Tiling(form, vector, lanes, unroll, tiles, cost, registers)


def _tiles(nest: Nest, vector: int, limit: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Register tiles over at most two kept indices, within `limit` accumulators."""
    free = [k for k in nest.kept if k != vector and tileable(nest, k)]
    yield ()
    for k in free:
        for size in _sizes(nest, k, limit):
            yield ((k, size),)
    for a, b in itertools.combinations(free, 2):
        for size in _sizes(nest, a, limit):
            for other in _sizes(nest, b, limit // size):
                yield ((a, size), (b, other))


def tileable(nest: Nest, index: int) -> bool:
    """An index may have several values at once if no guard or indirection depends on it."""
    return (
        isinstance(nest.extents[index], int)
        and not nest.guarded(index)
        and not any(x.uses(index) for a in nest.addresses for _, x in a.indirect)
    )


def _sizes(nest: Nest, index: int, limit: int) -> list[int]:
    extent = nest.extents[index]
    assert isinstance(extent, int)
    return [s for s in SIZES[1:] if s <= min(extent, limit)]


def _cost(
    nest: Nest,
    form: str,
    vector: int,
    lanes: int,
    unroll: int,
    tiles: tuple[tuple[int, int], ...],
    step: float,
) -> float:
    """Expected time per point of the domain, in units of one vector multiply-add."""
    accumulators = float(unroll)
    for _, size in tiles:
        accumulators *= size
    vectors = broadcasts = 0.0
    for address in nest.operands:
        count = _loads(address, vector, unroll, tiles) / accumulators
        if address.strides[vector] == 1:
            vectors += count
        else:
            broadcasts += count
    extent = nest.extents[vector]
    assert isinstance(extent, int)
    blocks = -(-extent // (lanes * unroll)) * unroll
    waste = blocks / extent
    for index, size in tiles:
        whole = nest.extents[index]
        assert isinstance(whole, int)
        waste *= -(-whole // size) * size / whole
    latency = max(1.0, LATENCY / accumulators)
    loads = 1.15 * vectors + 0.7 * broadcasts
    beside = 0.4 * vectors + 0.35 * broadcasts + step / accumulators
    per_point = waste * (max(latency, loads) + beside)
    return per_point + _overhead(nest, form, lanes, accumulators)


def _entries(nest: Nest) -> float:
    """What each iteration bears of the bounds that guards give to the reduced loops."""
    inside, cost = 1.0, 0.0
    for k in reversed(nest.reduced):
        inside *= defaults(nest.extents[k])
        cost += GUARDED / max(inside, 1.0) if nest.guarded(k) else 0.0
    return cost


def _overhead(nest: Nest, form: str, lanes: int, accumulators: float) -> float:
    """What each result costs beyond its multiply-adds, spread over the points it sums."""
    points = 1.0
    for k in nest.reduced:
        extent = nest.extents[k]
        points *= extent if isinstance(extent, int) else 64
    store = 2.0 / lanes if form == "across" else 2.0 + lanes.bit_length() * 1.5
    return (store + 4.0 / accumulators) / max(points, 1.0)


def _loads(address: Address, vector: int, unroll: int, tiles: tuple[tuple[int, int], ...]) -> float:
    """How many elements (vectors) of one operand a tile reads."""
    count = 1.0
    for index, size in tiles:
        if address.strides[index] != 0:
            count *= size
    return count * unroll if address.strides[vector] == 1 else count


def zero_preserving(nest: Nest, vector: int) -> bool:
    """Whether the body is zero when the operands contiguous in `vector` are zero.

    True of a product with such an operand as a factor, the others being constant along the
    vector; then masking that operand masks the term. Every contiguous operand is masked, so that
    infinities in lanes already summed meet no zero.
    """
    return _is_zero(nest.body, {k for k, a in enumerate(nest.operands) if a.strides[vector] == 1})


def _is_zero(body: Scalar, zeros: set[int]) -> bool:
    if isinstance(body, Arg):
        return body.position in zeros
    if isinstance(body, Const):
        return body.value == 0
    if not isinstance(body, Call):
        return False
    if body.function == "mul":
        return all(_is_zero(a, zeros) for a in body.args)
    if body.function == "where":
        return all(_is_zero(a, zeros) for a in body.args[1:])
    return body.function in ("neg", "add", "sub") and all(_is_zero(a, zeros) for a in body.args)
