"""Operations and bytes of kernels against counts by hand and by enumeration."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import autodiffc as ad
from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Domain
from autodiffc.graph.extents import dim
from autodiffc.lower import lower
from autodiffc.schedule.counts import live_points, plain_count
from tests.gates.models import lenet5, quiz


def manifest(model: ad.Model, **options: Any) -> dict[str, Any]:
    return lower(model, **options).manifest


def test_points_within_guards_are_counted_one_by_one() -> None:
    # two axes tied by 0 <= i + p - 1 < 5, two by 0 <= 6 - j - 2 q, one free
    guards = (
        Affine((1, 1, 0, 0, 0), -1),
        Affine((-1, -1, 0, 0, 0), 5),
        Affine((0, 0, -1, -2, 0), 6),
    )
    points = itertools.product(range(5), range(3), range(7), range(4), range(11))
    expected = sum(0 <= i + p - 1 <= 4 and j + 2 * q <= 6 for i, p, j, q, _ in points)
    assert expected < 5 * 3 * 7 * 4 * 11
    assert live_points(Domain((5, 3, 7, 4, 11), guards)) == expected


def test_guards_over_open_dims_count_the_whole_box() -> None:
    batch = dim("batch", 4)
    domain = Domain((batch, 3), (Affine((1, -1), 0),))
    assert plain_count(live_points(domain)) == "3*batch"


def test_a_matrix_product_takes_two_operations_a_term() -> None:
    a, b = ad.input("a", (5, 7)), ad.input("b", (7, 3))
    found = manifest(ad.Model("product", {"c": a @ b}))
    assert found["flops"]["predict"] == 2 * 5 * 7 * 3
    products = [k["bytes"] for k in found["kernels"] if k["flops"] == 2 * 5 * 7 * 3]
    assert set(products) == {4 * (5 * 7 + 7 * 3 + 5 * 3)}


def test_repeated_terms_are_computed_once() -> None:
    found = manifest(quiz())
    # x*z, exp, log, /, sin, /, two additions: x*z, exp(x*z) and log(x) occur twice
    assert found["flops"]["predict"] == 8


@pytest.mark.parametrize("batch", [2, 8])
def test_the_forward_pass_of_lenet5_by_hand(batch: int) -> None:
    found = manifest(lenet5(), dims={"batch": batch})
    dense = 2 * (400 * 120 + 120 * 84 + 84 * 10)
    conv2 = 2 * 16 * 10 * 10 * 6 * 25
    rows = sum(0 <= i + p - 2 < 28 for i in range(28) for p in range(5))
    conv1 = 2 * 6 * 28 * 5 * rows  # padding below and above is left out
    least = batch * (dense + conv1 + conv2)
    assert least < found["flops"]["forward"] < 1.1 * least  # zeros of halos are multiplied, too
    assert 2.5 < found["flops"]["step"] / found["flops"]["forward"] < 3.5


def test_open_dims_stay_in_the_counts() -> None:
    found = manifest(lenet5(), dims={"batch": (1, 128)})
    assert found["flops"]["forward"] == "852423*batch + 1"
    assert all(isinstance(k["flops"], int | str) for k in found["kernels"])
