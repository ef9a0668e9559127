"""`is_injective` and the proofs about guards, against enumeration of all points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodiffc.graph.affine import Affine, constant, identity
from autodiffc.graph.comprehension import Domain
from autodiffc.graph.extents import ExtentLike, dim, substitute
from autodiffc.graph.inequalities import disjoint, may_have_points, never_negative, told_apart
from autodiffc.graph.injective import is_injective

RANK = 3
i, j, k = identity(RANK)
EXTENTS = st.tuples(*[st.integers(0, 4)] * RANK)
MAPS = st.builds(Affine, st.tuples(*[st.integers(-5, 5)] * RANK), st.integers(-4, 4))
ADDRESSES = st.lists(MAPS, min_size=0, max_size=3).map(tuple)
GUARDS = st.lists(MAPS, max_size=3).map(tuple)


def at(affine: Affine, point: tuple[int, ...]) -> int:
    assert isinstance(affine.constant, int)
    return sum(c * v for c, v in zip(affine.coefficients, point, strict=True)) + affine.constant


def points(domain: Domain) -> Iterator[tuple[int, ...]]:
    for point in itertools.product(*(range(int(e)) for e in domain.extents)):  # type: ignore[arg-type]
        if all(at(g, point) >= 0 for g in domain.guards):
            yield point


def distinct(rows: tuple[Affine, ...], domain: Domain) -> bool:
    addresses = [tuple(at(r, p) for r in rows) for p in points(domain)]
    return len(set(addresses)) == len(addresses)


# --- is_injective ---


@settings(max_examples=400, deadline=None)
@given(ADDRESSES, EXTENTS)
def test_yes_is_certain(rows, extents) -> None:
    if is_injective(rows, Domain(extents)):
        assert distinct(rows, Domain(extents))


@given(EXTENTS, st.permutations(range(RANK)), st.integers(1, 4), st.integers(-2, 2))
def test_mixed_radix_numbers_are_recognized(extents, order, step, shift) -> None:
    """`step * (i0 + e0*(i1 + e1*i2)) + shift`, the digits in any order."""
    coefficients, weight = [0] * RANK, step
    for position in order:
        coefficients[position] = weight
        weight *= max(extents[position], 1)
    row = Affine(tuple(coefficients), shift)
    assert distinct((row,), Domain(extents))
    assert is_injective((row,), Domain(extents)) or 0 in extents


@pytest.mark.parametrize(
    ("rows", "extents", "expected"),
    [
        ((i, j, k), (5, 6, 7), True),
        ((k, i, j), (5, 6, 7), True),
        ((i, j), (5, 6, 7), False),  # k is lost
        ((i, j), (5, 6, 1), True),
        ((i * 2 + k, j), (5, 6, 2), True),  # upsampling: 2*i + p with p < 2
        ((i * 2 + k, j), (5, 6, 3), False),
        ((i * -2 + k, j), (5, 6, 2), True),
        ((i * 10 + j * 3 + k,), (4, 3, 3), True),
        ((i * 10 + j * 3 + k,), (4, 3, 4), False),
        ((i + j, j, k), (4, 4, 4), True),  # j is known from the second row
        ((i, j, constant(RANK, 3)), (2, 2, 1), True),
        ((constant(RANK, 3),), (2, 1, 1), False),
        ((constant(RANK, 3),), (1, 1, 1), True),
    ],
)
def test_known_addresses(rows, extents, expected: bool) -> None:
    assert is_injective(rows, Domain(extents)) is expected
    assert distinct(rows, Domain(extents)) is expected


def test_an_open_extent_may_only_be_the_leading_digit() -> None:
    n = dim("n", 3)
    assert is_injective((i * 4 + j,), Domain((n, 4, 1)))
    assert not is_injective((i + j * 4,), Domain((n, 4, 1)))
    assert is_injective((i, j, k), Domain((n, 4, n)))


def test_without_indices_there_is_one_point() -> None:
    assert is_injective((), Domain(()))


# --- Proofs with guards ---


@settings(max_examples=400, deadline=None)
@given(MAPS, EXTENTS, GUARDS)
def test_a_proof_of_a_bound_is_certain(claim, extents, guards) -> None:
    domain = Domain(extents, guards)
    if never_negative(claim, domain):
        assert all(at(claim, p) >= 0 for p in points(domain))


@settings(max_examples=300, deadline=None)
@given(ADDRESSES, EXTENTS, GUARDS)
def test_a_proof_of_distinctness_is_certain(rows, extents, guards) -> None:
    domain = Domain(extents, guards)
    if told_apart(rows, domain):
        assert distinct(rows, domain)


@settings(max_examples=300, deadline=None)
@given(EXTENTS, GUARDS)
def test_a_proof_of_emptiness_is_certain(extents, guards) -> None:
    domain = Domain(extents, guards)
    if not may_have_points(domain):
        assert not list(points(domain))


@given(MAPS, st.tuples(*[st.integers(1, 4)] * RANK))
def test_without_guards_bounds_are_decided_exactly(claim, extents) -> None:
    domain = Domain(extents)
    assert never_negative(claim, domain) is all(at(claim, p) >= 0 for p in points(domain))


@pytest.mark.parametrize(
    ("claim", "extents", "guards", "expected"),
    [
        (i + k - 1, (5, 1, 3), (i + k - 1,), True),  # the guard itself
        (i + k - 1, (5, 1, 3), (), False),
        (i + k - 1, (5, 1, 3), (i * 2 + k * 2 - 1,), True),  # 2a >= 1 means a >= 1
        (-i - k + 4, (5, 1, 3), (-i - k + 4,), True),
        (i - k, (5, 5, 5), (i - j, j - k), True),  # two guards together
        (i - k - 1, (5, 5, 5), (i - j, j - k), False),
        (i - k - 1, (5, 5, 5), (i - j - 1, j - k), True),
        (-i, (5, 1, 1), (i * -2 + 1,), True),  # i <= 1/2
    ],
)
def test_known_bounds(claim, extents, guards, expected: bool) -> None:
    assert never_negative(claim, Domain(extents, guards)) is expected


def test_guards_can_tell_points_apart() -> None:
    """A sum that a guard i == j has left with one point an element."""
    domain = Domain((4, 4, 1), (i - j, j - i))
    assert not is_injective((i,), domain)
    assert told_apart((i,), domain)
    assert not told_apart((i,), Domain((4, 4, 1), (i - j,)))


# --- Two domains ---


def addresses(rows: tuple[Affine, ...], domain: Domain) -> set[tuple[int, ...]]:
    return {tuple(at(r, p) for r in rows) for p in points(domain)}


@settings(max_examples=300, deadline=None)
@given(st.tuples(MAPS, MAPS), EXTENTS, GUARDS, st.tuples(MAPS, MAPS), EXTENTS, GUARDS)
def test_a_proof_that_addresses_differ_is_certain(rows, extents, guards, others, more, rest):
    domain, other = Domain(extents, guards), Domain(more, rest)
    if disjoint(rows, domain, others, other):
        assert not addresses(rows, domain) & addresses(others, other)


@pytest.mark.parametrize(
    ("row", "guards", "other", "expected"),
    [
        (i, (), i + 5, True),
        (i, (), i + 4, False),
        (i * 2, (), j * 2 + 1, True),
        (i * 4 + k * 2, (), j * 2 - k * 6 + 3, True),
        (i * 2, (), j * 3 + 1, False),
        (i, (j - 3, i - j), i + 3, False),
        (i, (j - 3, -i + j - 3), i + 2, True),
    ],
)
def test_known_pairs(row, guards, other, expected: bool) -> None:
    domain, box = Domain((5, 5, 5), guards), Domain((5, 5, 5))
    assert disjoint((row,), domain, (other,), box) is expected
    assert disjoint((other,), box, (row,), domain) is expected


# --- Open dims ---

N, M = dim("n", 3), dim("m", 2)
OPEN: st.SearchStrategy[ExtentLike] = st.sampled_from(
    [1, 3, N, N + 1, N * 2 - 1, M, N * M, N // 2 + 1, (N + M) // 3, N - 2]
)
OPEN_MAPS = st.builds(
    lambda c, e, n: Affine(c, e + n),
    st.tuples(*[st.integers(-2, 2)] * RANK),
    st.sampled_from([0, N, -N, M, N * M, N // 2, N * -2]),
    st.integers(-3, 3),
)
OPEN_EXTENTS = st.tuples(OPEN, OPEN, st.just(2))
OPEN_GUARDS = st.lists(OPEN_MAPS, max_size=2).map(tuple)


def fixed(value: ExtentLike, n: int, m: int) -> int:
    size = substitute(value, {"n": n, "m": m})
    assert isinstance(size, int)
    return size


def with_dims(affine: Affine, n: int, m: int) -> Affine:
    return Affine(affine.coefficients, fixed(affine.constant, n, m))


@settings(max_examples=500, deadline=None)
@given(OPEN_MAPS, OPEN_EXTENTS, OPEN_GUARDS, st.integers(1, 3), st.integers(0, 3))
def test_a_proof_holds_for_every_value_of_the_dims(claim, extents, guards, low, more) -> None:
    sizes = range(low, low + more + 1)
    if never_negative(claim, Domain(extents, guards), {"n": (low, low + more)}):
        for n, m in itertools.product(sizes, (1, 2, 5)):
            box = tuple(max(fixed(e, n, m), 0) for e in extents)
            domain = Domain(box, tuple(with_dims(g, n, m) for g in guards))
            assert all(at(with_dims(claim, n, m), p) >= 0 for p in points(domain))


@pytest.mark.parametrize(
    ("claim", "extents", "guards", "ranges", "expected"),
    [
        (-i + N - 1, (N, 1, 1), (), {}, True),
        (-i + N - 1, (3, 1, 1), (), {}, False),  # right for the default
        (-i + N - 1, (3, 1, 1), (), {"n": (3, None)}, True),
        (-i + N - 1, (3, 1, 1), (-i + N - 1,), {}, True),
        (-i * 2 - k + N - 1, ((N - 3) // 2 + 1, 1, 3), (), {}, True),  # windows of three
        (-i * 2 - k + N - 1, ((N - 3) // 2 + 1, 1, 4), (), {}, False),
        (-i + N * M - 1, (N * M, 1, 1), (), {}, True),
        (constant(RANK, N * M - 6), (1, 1, 1), (), {"n": (2, 9), "m": (3, 9)}, True),
        (constant(RANK, N * M - 6), (1, 1, 1), (), {"n": (2, 9), "m": (2, 9)}, False),
        (constant(RANK, -N + 9), (1, 1, 1), (), {"n": (1, 9)}, True),
        (constant(RANK, -N + 9), (1, 1, 1), (), {"n": (1, 10)}, False),
        (constant(RANK, N - 4), (1, 1, 1), (), {"n": (4, 4)}, True),
        # negative between the ends only: a distance from the middle, i >= n - 5 and i >= 5 - n
        (i - 1, (9, 1, 1), (i - N + 5, i + N - 5), {"n": (4, 6)}, False),
    ],
)
def test_known_bounds_over_open_dims(claim, extents, guards, ranges, expected: bool) -> None:
    assert never_negative(claim, Domain(extents, guards), ranges) is expected


def test_the_ends_of_a_range_do_not_decide() -> None:
    """Why dims are variables: with guards, a bound may fail between two ends where it holds."""
    claim, domain = i - 1, Domain((9, 1, 1), (i - N + 5, i + N - 5))
    at_the_ends = [never_negative(claim, domain, {"n": (n, n)}) for n in (4, 6)]
    assert at_the_ends == [True, True]
    assert not never_negative(claim, domain, {"n": (4, 6)})
    assert not never_negative(claim, domain, {"n": (5, 5)})
