"""Affine maps against their values at every point of a box."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.extents import dim, substitute

SMALL = st.integers(-3, 3)


def maps(rank: int) -> st.SearchStrategy[Affine]:
    return st.builds(Affine, st.tuples(*[SMALL] * rank), SMALL)


def at(affine: Affine, point: tuple[int, ...]) -> int:
    assert isinstance(affine.constant, int)
    pairs = zip(affine.coefficients, point, strict=True)
    return sum(c * i for c, i in pairs) + affine.constant


def points(extents: tuple[int, ...]):
    return itertools.product(*map(range, extents))


@given(maps(3), maps(3), SMALL, st.tuples(SMALL, SMALL, SMALL))
def test_arithmetic_is_pointwise(a, b, factor, point) -> None:
    assert at(a + b, point) == at(a, point) + at(b, point)
    assert at(a - b, point) == at(a, point) - at(b, point)
    assert at(a * factor, point) == at(a, point) * factor
    assert at(-a + 5, point) == 5 - at(a, point)
    assert at(a - 2, point) == at(a, point) - 2


@given(maps(2), maps(3), maps(3), st.tuples(SMALL, SMALL, SMALL))
def test_composition(outer, first, second, point) -> None:
    composed = outer.compose((first, second), 3)
    assert at(composed, point) == at(outer, (at(first, point), at(second, point)))


@given(maps(3), st.tuples(*[st.integers(1, 4)] * 3))
def test_bounds_are_attained(affine, extents) -> None:
    values = [at(affine, p) for p in points(extents)]
    assert affine.bounds(extents) == (min(values), max(values))


@given(maps(3), st.tuples(*[st.integers(1, 4)] * 3))
def test_bounds_over_named_dims(affine, extents) -> None:
    names = tuple(dim(f"d{k}", 9) for k in range(3))
    sizes = {f"d{k}": e for k, e in enumerate(extents)}
    low, high = affine.bounds(names)
    assert (substitute(low, sizes), substitute(high, sizes)) == affine.bounds(extents)


def test_questions() -> None:
    i, j = identity(2)
    assert (i.plain_index, j.plain_index) == (0, 1)
    assert [(i * 2).plain_index, (i + 1).plain_index, (i + j).plain_index] == [None] * 3
    assert (i * 2 - j * 0).uses == (0,)
    assert constant(2, 3).is_constant
    assert not i.is_constant
    assert index(3, 1) == Affine((0, 1, 0))


@pytest.mark.parametrize(
    ("affine", "text"),
    [
        (Affine((2, 1), -1), "2*i + p - 1"),
        (Affine((-1, 0), 4), "-i + 4"),
        (Affine((0, -3)), "-3*p"),
        (Affine((0, 0), -2), "-2"),
        (Affine((0, 0)), "0"),
        (Affine((1, 0), dim("n", 3)), "i + n"),
    ],
)
def test_text(affine: Affine, text: str) -> None:
    assert affine.text(("i", "p")) == text


def test_maps_of_different_domains_do_not_mix() -> None:
    with pytest.raises(ValueError):
        index(2, 0) + index(3, 0)
