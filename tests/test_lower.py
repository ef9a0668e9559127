"""The list of passes: each can be left out, by its name."""

from __future__ import annotations

import pytest

import autodiffc as ad
from autodiffc.errors import ArgumentError, ArgumentTypeError
from autodiffc.lower import lower, passes
from autodiffc.targets import get_target

NAMES = sorted({name for name, _ in passes(get_target("native"))})


def model() -> ad.Model:
    x = ad.input("x", (4, 3))
    y = ad.relu(ad.sum(x * x, axis=1) + 1.0)
    return ad.Model("m", {"loss": ad.mean(y)}, "loss")


@pytest.mark.parametrize("name", NAMES)
def test_a_pass_can_be_left_out(name: str) -> None:
    assert lower(model(), without=(name,)).sources


def test_a_pass_left_out_makes_a_difference() -> None:
    assert lower(model(), without=("fuse",)).sources != lower(model()).sources


def test_an_unknown_pass_is_refused() -> None:
    with pytest.raises(ArgumentError) as caught:
        lower(model(), without=("fuse", "simplfy"))
    message = str(caught.value)
    assert "no pass of this name" in message
    assert "found:    'simplfy'" in message
    assert all(name in message for name in NAMES)
    assert "did you mean 'simplify'?" in message


def test_a_name_alone_is_no_list_of_names() -> None:
    with pytest.raises(ArgumentTypeError, match="sequence of names"):
        lower(model(), without="fuse")
