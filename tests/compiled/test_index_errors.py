"""An index out of range is named with its range, also where the input declares none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.errors import IndexRangeError

ROWS = ad.dim("rows", 4)
IDS = np.array([[0, 1], [2, 5]], np.int32)


def logits() -> ad.Expression:
    return ad.mean(ad.cross_entropy(ad.input("x", (4, 3)), ad.input("l", (4,), "int32")))


def embedding() -> ad.Expression:
    """Seen through a view, in an axis whose extent stays open."""
    ids = ad.reshape(ad.input("ids", (2, 2), "int32"), (4,))
    return ad.sum(ad.embedding(ids, ad.input("table", (ROWS, 3))))


def twice() -> ad.Expression:
    ids = ad.input("ids", (2, 2), "int32")
    return ad.sum(ad.input("a", (9,))[ids]) + ad.sum(ad.input("b", (5,))[ids])


def shifted() -> ad.Expression:
    return ad.sum(ad.input("a", (5,))[ad.input("ids", (2, 2), "int32") + 1])


CASES: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "labels": (
        logits,
        {"x": np.zeros((4, 3), np.float32), "l": np.array([0, -100, 2, 3], np.int32)},
        "l[3] = 3",
        "0 <= l < 3, or -100",  # what cross_entropy ignores
    ),
    "open": (
        embedding,
        {"ids": IDS, "table": np.zeros((3, 3), np.float32)},
        "ids[1, 1] = 5",
        "0 <= ids < 3",
    ),
    "two axes": (
        twice,
        {"ids": IDS, "a": np.zeros(9, np.float32), "b": np.zeros(5, np.float32)},
        "ids[1, 1] = 5",
        "0 <= ids < 5",
    ),
    "computed": (
        shifted,
        {"ids": IDS, "a": np.zeros(5, np.float32)},
        "ids from 0 to 5",
        "indices of at least 0 and below the extent of the axis that they pick from",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_found_and_what_was_expected(case: str) -> None:
    make, arrays, found, expected = CASES[case]
    dims = {"rows": (1, 8)} if case == "open" else None
    model = ad.compile(ad.Model("m", {"y": make()}, "y"), dims=dims, threads=1)
    for call in (model.predict, model.forward):
        with pytest.raises(IndexRangeError) as caught:
            call(**arrays)
        assert (caught.value.found, caught.value.expected) == (found, expected)
