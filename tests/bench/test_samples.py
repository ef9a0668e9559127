"""Medians and spreads."""

from __future__ import annotations

import pytest

from autodiffc.bench.report import duration
from autodiffc.bench.samples import Samples


def test_an_outlier_moves_neither_median_nor_spread() -> None:
    calm = Samples.of([1.0, 1.1, 0.9, 1.0, 1.0, 1.1, 0.9])
    disturbed = Samples.of([*calm.values[:-1], 50.0])
    assert calm.median == disturbed.median == 1.0
    assert 0 < calm.spread <= disturbed.spread < 0.11


def test_the_spread_is_half_the_middle_half() -> None:
    assert Samples.of([1, 2, 3, 4, 5]).spread == pytest.approx((4 - 2) / 2 / 3)
    assert Samples.of([7.0]).spread == 0
    assert Samples.of([0.0, 0.0]).spread == 0


def test_quotients_are_those_of_the_same_round() -> None:
    assert Samples.of([2, 9, 4]).per(Samples.of([1, 3, 8])).values == (2, 3, 0.5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.2345e-8, "12.3 ns"),
        (9.994e-7, "999 ns"),
        (9.996e-7, "1.00 µs"),
        (8.714e-4, "871 µs"),
        (0.0321, "32.1 ms"),
        (75.0, "75.0 s"),
        (-4.2e-9, "-4.20 ns"),
        (0.0, "0.00 ns"),
    ],
)
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
