"""Elements of a maximum without a point: proofs and trials against counting by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiffc.graph.nonempty as nonempty
from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.comprehension import Domain
from autodiffc.graph.extents import dim
from autodiffc.graph.inequalities import Ranges
from autodiffc.graph.nonempty import Condition, Empty, Predicate, Undecided, first_empty

Guards = Sequence[Affine]

RANK = 4  # i, j are kept, p, q reduced
i, j, p, q = identity(RANK)
KEPT = (0, 1)

EXTENTS = st.tuples(*[st.integers(0, 4)] * RANK)
COEFFICIENTS = st.tuples(*[st.sampled_from([0, 0, 1, -1, 2, -3])] * RANK)
CONDITIONS = st.lists(st.builds(Affine, COEFFICIENTS, st.integers(-3, 6)), max_size=4)
OF_ELEMENTS = st.builds(
    lambda c, n: Affine((*c, 0, 0), n),
    st.tuples(*[st.sampled_from([0, 1, -1, 2])] * 2),
    st.integers(-2, 5),
)


def holds(affine: Affine, point: Sequence[int]) -> bool:
    assert isinstance(affine.constant, int)
    return (
        sum(c * n for c, n in zip(affine.coefficients, point, strict=True)) + affine.constant >= 0
    )


def empty_by_hand(domain: Domain, conditions: Sequence[Affine]) -> list[tuple[int, ...]]:
    """Every element without a point, in order."""
    ranges = [range(int(str(e))) for e in domain.extents]
    return [
        element
        for element in itertools.product(*ranges[:2])
        if all(holds(g, (*element, 0, 0)) for g in domain.guards)
        and not any(
            all(holds(c, (*element, *rest)) for c in conditions)
            for rest in itertools.product(*ranges[2:])
        )
    ]


@settings(max_examples=600, deadline=None)
@given(EXTENTS, CONDITIONS, st.lists(OF_ELEMENTS, max_size=2))
def test_the_first_empty_element_is_found(
    extents: tuple[int, ...], conditions: Guards, guards: Guards
) -> None:
    domain = Domain(extents, tuple(guards))
    empty = empty_by_hand(domain, conditions)
    found = first_empty(domain, KEPT, conditions)
    assert (found is None) == (not empty)
    if found is not None:
        assert any(all(element[k] == n for k, n in found.point.items()) for element in empty), (
            "the element named has a point"
        )


@settings(max_examples=600, deadline=None)
@given(EXTENTS, CONDITIONS, st.lists(OF_ELEMENTS, max_size=2))
def test_a_proof_is_certain(extents: tuple[int, ...], conditions: Guards, guards: Guards) -> None:
    domain = Domain(extents, tuple(guards))
    problem = nonempty._Problem(domain, KEPT, {})
    mentioned = {k for c in conditions for k in c.uses}
    if all(e > 0 for k, e in enumerate(extents) if k not in mentioned):
        groups = nonempty._groups(conditions, (2, 3))
        assert not all(map(problem.proves, groups)) or not empty_by_hand(domain, conditions)


def without_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonempty, "MOST_POINTS", -1)


HUGE = 10**6


@pytest.mark.parametrize(
    ("conditions", "guards"),
    [
        ((i + p - 1, -i - p + HUGE), ()),  # a padded window
        ((i * 2 + p - 1, -(i * 2) - p + 2 * HUGE), ()),
        ((i + p * 2 - 1, -i - p * 2 + HUGE), ()),  # dilation leaves room for an integer
        ((i - p,), ()),  # a triangle with its diagonal
        ((i - p, p - q, q + i - 3), (i - 3,)),
        ((i - p - 1,), (i - 1,)),  # the guard leaves out the element without a point
        ((p + q - i, -p - q + i + 5), ()),
    ],
)
def test_what_compilers_meet_is_proved(
    conditions: Sequence[Affine], guards: tuple[Affine, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_trial(monkeypatch)
    assert first_empty(Domain((HUGE,) * 4, guards), KEPT, conditions) is None


def test_large_domains_are_tried_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonempty, "_BLOCK", 7)
    last = Domain((5, 11, 13, 3))
    found = first_empty(last, KEPT, (-(i * 11) - j - p * 2 + 53, i * 2 - i * 2 + p))
    assert found is not None
    assert found.point == {0: 4, 1: 10}


def test_conditions_on_different_reduced_indices_are_apart() -> None:
    """Neither a hundred thousand elements nor their reduced indices meet in one trial."""
    conditions = (p * 2 - i, i - p * 2 + 1, q * 2 - j, j - q * 2 + 1)
    assert first_empty(Domain((10**4,) * 4), KEPT, conditions) is None
    found = first_empty(Domain((10**4, 10**4, 10**4, 4000)), KEPT, conditions)
    assert found is not None
    assert found.point == {1: 7999}


def test_too_many_points_are_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = p * 2 + q * 3 - i - 2  # solvable for every i, which elimination cannot see
    conditions = (equal, -equal)
    assert first_empty(Domain((9, 9, 9, 9)), KEPT, conditions) is None
    without_trial(monkeypatch)
    with pytest.raises(Undecided):
        first_empty(Domain((9, 9, 9, 9)), KEPT, conditions)


def found_at(found: Empty | None) -> dict[int, int]:
    assert found is not None
    return found.point


def test_a_reduced_index_without_values() -> None:
    assert found_at(first_empty(Domain((2, 2, 0, 2)), KEPT)) == {}
    assert first_empty(Domain((0, 2, 0, 2)), KEPT) is None


def test_conditions_that_are_not_affine() -> None:
    odd = Predicate((0, 2), lambda grids: (grids[0] + grids[2]) % 2 == 1)
    conditions: tuple[Condition, ...] = (odd, -p)
    assert first_empty(Domain((1, 2, 2, 2)), KEPT, (odd,)) is None
    assert found_at(first_empty(Domain((4, 2, 2, 2)), KEPT, conditions)) == {0: 0}
    assert found_at(first_empty(Domain((4, 2, 2, 2), (i - 1,)), KEPT, conditions)) == {0: 2}


# --- Open dims ---

N = dim("n", 8)


@pytest.mark.parametrize(
    ("conditions", "ranges", "dims"),
    [
        ((p - 3,), {}, {"n": 1}),
        ((p - 3,), {"n": (4, 128)}, None),
        ((p - 3,), {"n": (3, 128)}, {"n": 3}),
        ((-p - N + 20,), {"n": (1, 20)}, None),
        ((-p - N + 20,), {"n": (1, 21)}, {"n": 21}),
        ((p - i,), {}, None),  # i and p both run to n
        ((p - i - 1,), {}, {"n": 1}),
        ((p - N + 1,), {}, None),
    ],
)
def test_every_value_of_an_open_dim_counts(
    conditions: Guards, ranges: Ranges, dims: dict[str, int] | None
) -> None:
    found = first_empty(Domain((N, 2, N, 2)), KEPT, conditions, ranges)
    assert (found and found.dims) == dims


def test_proofs_hold_for_every_value_of_a_dim(monkeypatch: pytest.MonkeyPatch) -> None:
    without_trial(monkeypatch)
    assert first_empty(Domain((N, 2, N, 2)), KEPT, (p - i, -p + i)) is None
    with pytest.raises(Undecided):
        first_empty(Domain((N + 1, 2, N, 2)), KEPT, (p - i, -p + i))


def test_values_come_as_python_integers() -> None:
    point = found_at(first_empty(Domain((3, 2, 2, 2)), KEPT, (i - p - 1,)))
    assert all(type(n) is int for n in point.values())
