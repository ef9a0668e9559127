"""What it costs to compile a long model grows with its length, not with the square of it.

The cost is counted in calls of Python functions, which are the same on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

import autodiffc as ad
from autodiffc.lower import lower

DOUBLED = 2.5  # at most this many times the work for twice the length


def chain(length: int) -> ad.Model:
    x = ad.input("x", (8,))
    y = x
    for _ in range(length):
        y = ad.sin(y) * 0.9 + 0.1
    return ad.Model("chain", {"loss": ad.sum(y)}, "loss")


def diagonal(length: int) -> ad.Model:
    x = ad.input("x", (length, length))
    y = x[0, 0]
    for k in range(1, length):
        y = y + x[k, k]
    return ad.Model("diagonal", {"loss": y}, "loss")


def pieces(length: int) -> ad.Model:
    x = ad.input("x", (length, 4))
    y = ad.concat([x[k : k + 1] * 2.0 for k in range(length)])
    return ad.Model("pieces", {"loss": ad.sum(y * y)}, "loss")


@pytest.mark.parametrize("build", [chain, diagonal, pieces])
def test_twice_the_length_is_twice_the_work(build: Callable[[int], ad.Model]) -> None:
    calls_to_lower(build(8))  # what is done once for all
    short, long = calls_to_lower(build(30)), calls_to_lower(build(60))
    assert long < DOUBLED * short


def calls_to_lower(model: ad.Model) -> int:
    count = 0

    def see(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        lower(model, verify=False)
    finally:
        sys.setprofile(before)
    return count
