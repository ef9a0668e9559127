"""Loop bounds visit exactly the points that satisfy the guards, in any order of the loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from autodiffc.graph.affine import Affine
from autodiffc.graph.scalars import Arg
from autodiffc.loops.addresses import Scope, free_guards, loop_bounds
from autodiffc.loops.ir import CeilDiv, FloorDiv, Int, Linear, MaxOf, MinOf, variable
from autodiffc.schedule.nest import Address, Nest

NAMES = ("i", "j", "k")


def value_of(value: Int, known: dict[str, int]) -> int:
    """An integer of the loop IR, by its meaning."""
    if isinstance(value, MaxOf):
        return max(value_of(v, known) for v in value.items)
    if isinstance(value, MinOf):
        return min(value_of(v, known) for v in value.items)
    if isinstance(value, CeilDiv):
        return -(-value_of(value.value, known) // value.divisor)
    if isinstance(value, FloorDiv):
        return value_of(value.value, known) // value.divisor
    assert isinstance(value, Linear)
    return sum(int(c) * known[n] for c, n in value.terms) + int(value.constant)


@st.composite
def some_nests(draw: st.DrawFn) -> Nest:
    rank = draw(st.integers(1, 3))
    extents = tuple(draw(st.integers(0, 5)) for _ in range(rank))
    guards = tuple(
        Affine(tuple(draw(st.integers(-3, 3)) for _ in range(rank)), draw(st.integers(-7, 7)))
        for _ in range(draw(st.integers(0, 3)))
    )
    here = Address(-1, (1,) * rank)
    indices = tuple(range(rank))
    return Nest(NAMES[:rank], extents, guards, indices, (), here, (), (Arg(0),), "set")


def visited(nest: Nest, order: tuple[int, ...], scope: Scope) -> Iterator[tuple[int, ...]]:
    """The points that loops with these bounds visit."""

    def loops(rest: tuple[int, ...], known: dict[str, int]) -> Iterator[tuple[int, ...]]:
        if not rest:
            yield tuple(known[n] for n in nest.names)
            return
        index = rest[0]
        scope.values = {k: variable(nest.names[k]) for k in order[: order.index(index)]}
        start, stop = loop_bounds(nest, index, scope, rest[1:])
        for value in range(value_of(start, known), value_of(stop, known)):
            yield from loops(rest[1:], {**known, nest.names[index]: value})

    if all(value_of(g, {}) >= 0 for g in free_guards(nest)):
        yield from loops(order, {})


@given(some_nests(), st.randoms(use_true_random=False))
def test_bounds_and_guards_agree(nest: Nest, random: object) -> None:
    order = list(range(len(nest.extents)))
    random.shuffle(order)  # type: ignore[attr-defined]
    points = itertools.product(*map(range, nest.extents))
    expected = [
        p
        for p in points
        if all(
            sum(c * x for c, x in zip(g.coefficients, p, strict=True)) + g.constant >= 0
            for g in nest.guards
        )
    ]
    assert sorted(visited(nest, tuple(order), Scope({}))) == expected
