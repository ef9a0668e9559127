"""Collapsed nests visit exactly the addresses of the formula, by enumeration."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

import autodiffc as ad
from autodiffc.graph.affine import Affine
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression
from autodiffc.graph.scalars import Arg, Index
from autodiffc.passes import specialize
from autodiffc.schedule.nest import Address, Nest, build_nest, collapse, row_major

EXTENTS = st.integers(1, 4)


@st.composite
def some_nests(draw: st.DrawFn) -> Nest:
    """Arrays walked in several orders, so that some pairs of indices merge and others do not."""
    rank = draw(st.integers(1, 4))
    extents = tuple(draw(EXTENTS) for _ in range(rank))
    kept = tuple(k for k in range(rank) if draw(st.booleans()))
    reduced = tuple(k for k in range(rank) if k not in kept)
    operands = tuple(draw(addresses(extents, range(rank), k)) for k in range(2))
    guards = ()
    if draw(st.integers(0, 3)) == 0:
        guards = (Affine(tuple(draw(st.integers(-1, 1)) for _ in range(rank)), 1),)
    body = Arg(0) * Arg(1)
    if draw(st.integers(0, 3)) == 0:
        body = body + Index(draw(st.integers(0, rank - 1)))
    combine = draw(st.sampled_from(["sum", "max", "argmax"])) if reduced else "set"
    out = draw(addresses(extents, kept, -1))
    names = tuple("ijkl"[:rank])
    return Nest(names, extents, guards, kept, reduced, out, operands, (body,), combine)


@st.composite
def addresses(
    draw: st.DrawFn, extents: tuple[int, ...], used: range | tuple[int, ...], operand: int
) -> Address:
    """A C-contiguous array over some of the indices, mostly in their order."""
    axes = list(used)
    if draw(st.integers(0, 3)) == 0:
        axes = list(draw(st.permutations(axes)))
    if draw(st.integers(0, 2)) == 0 and axes and operand >= 0:
        axes.remove(draw(st.sampled_from(axes)))
    strides = [0] * len(extents)
    for axis, stride in zip(axes, row_major([extents[k] for k in axes]), strict=True):
        strides[axis] = int(stride)
    return Address(operand, tuple(strides), draw(st.integers(0, 3)))


def visited(nest: Nest) -> Iterator[tuple[int, ...]]:
    """Every point's addresses, and the value of the index that the body reads, if any."""
    for point in itertools.product(*(range(int(e)) for e in nest.extents)):
        if all(_value(g.coefficients, point) + g.constant >= 0 for g in nest.guards):
            seen = [_value(a.strides, point) + int(a.offset) for a in nest.addresses]
            indices = [point[i.position] for b in nest.bodies for i in _indices(b)]
            yield (*seen, *indices)


def _value(coefficients: tuple[object, ...], point: tuple[int, ...]) -> int:
    return sum(int(c) * x for c, x in zip(coefficients, point, strict=True))  # type: ignore[call-overload]


def _indices(body: object) -> list[Index]:
    if isinstance(body, Index):
        return [body]
    return [i for a in getattr(body, "args", ()) for i in _indices(a)]


@given(some_nests())
@settings(derandomize=True, max_examples=300)
def test_the_same_points_are_visited(nest: Nest) -> None:
    assert Counter(visited(collapse(nest))) == Counter(visited(nest))


@given(some_nests())
@settings(derandomize=True, max_examples=300)
def test_kept_and_reduced_indices_are_not_mixed(nest: Nest) -> None:
    found = collapse(nest)
    assert sorted((*found.kept, *found.reduced)) == list(range(len(found.extents)))
    for group, whole in ((found.kept, nest.kept), (found.reduced, nest.reduced)):
        letters = {letter for k in group for letter in found.names[k]}
        assert letters == {nest.names[k] for k in whole}
    if nest.combine == "argmax":
        assert [found.names[k] for k in found.reduced] == [nest.names[k] for k in nest.reduced]


@given(some_nests())
@settings(derandomize=True, max_examples=300)
def test_nothing_more_is_left_to_merge(nest: Nest) -> None:
    found = collapse(nest)
    assert collapse(found) == found


def nest_of(y: Expression) -> Nest:
    node = specialize(Graph({"y": y.node}), {}, "float32").outputs["y"]
    return build_nest(node, node.formula)


def test_an_elementwise_formula_is_one_loop() -> None:
    nest = nest_of(ad.exp(ad.input("x", (3, 4, 5))))
    assert nest.extents == (60,)
    assert [a.strides for a in nest.addresses] == [(1,), (1,)]


def test_a_transposed_operand_keeps_its_loops() -> None:
    x, y = ad.input("x", (3, 4)), ad.input("y", (4, 3))
    i, j = ad.indices("i j")
    assert nest_of(ad.compute((i, j), x[i, j] + y[j, i])).extents == (3, 4)


def test_the_sum_over_the_last_axes_is_two_loops() -> None:
    nest = nest_of(ad.sum(ad.input("x", (2, 3, 4, 5)), axis=(2, 3)))
    assert nest.extents == (6, 20)
    assert (nest.kept, nest.reduced) == ((0,), (1,))


def test_the_positions_of_an_argmax_stay_as_they_are_counted() -> None:
    x = ad.input("x", (2, 3, 4))
    i, j, k = ad.indices("i j k")
    assert nest_of(ad.argmax(x, axis=-1)).extents == (6, 4)
    assert nest_of(ad.compute((i,), ad.max_over((j, k), x[i, j, k]))).extents == (2, 12)
