"""Builds whose dims are left open: what does not fit every value of a range is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import autodiffc as ad
from autodiffc.errors import ShapeError
from autodiffc.lower import lower

i, k = ad.indices("i k")
BATCH = ad.dim("batch", 8)
X = ad.input("x", (BATCH, 4))

CASES: dict[str, tuple[Callable[[], ad.Expression], int, str]] = {
    # the formula, the least batch it makes sense for, words of the message
    "a slice": (lambda: X[2:5], 5, "reads outside its operand"),
    "a slice from the end": (lambda: X[-3:], 3, "reads outside its operand"),
    "an element": (lambda: X[4], 5, "reads outside its operand"),
    "a rest": (lambda: X[3:], 3, "gets a negative extent"),
    "a maximum": (
        lambda: ad.compute((i,), ad.max_over(k, X[k, i], where=k >= 3)),
        4,
        "is the max of no elements",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_value_of_an_open_dim_must_fit(case: str) -> None:
    formula, least, message = CASES[case]
    y = formula()
    model = ad.Model("open", {"y": y, "loss": ad.sum(y * y)}, "loss", wrt=["x"])
    assert lower(model, dims={"batch": (least, 128)}, verify=True).sources
    assert lower(model, dims={"batch": least}, verify=True).sources
    for dims in ({"batch": (least - 1, 128)}, {"batch": least - 1}):
        with pytest.raises(ShapeError, match=message) as error:
            lower(model, dims=dims)
        assert error.value.loc is not None
        assert error.value.loc.file == __file__


def test_the_range_is_part_of_the_message() -> None:
    model = ad.Model("open", {"y": X[2:5]})
    with pytest.raises(ShapeError, match="with batch from 2 to 9") as error:
        lower(model, dims={"batch": (2, 9)})
    assert error.value.help is not None
    assert "let its range start higher" in error.value.help


def test_positions_do_not_need_the_extent_of_the_leading_dim() -> None:
    first = ad.Model("first", {"y": ad.argmax(X)})
    assert lower(first, dims={"batch": (1, 9)}, verify=True).sources
    turned = ad.Model("turned", {"y": ad.argmax(ad.transpose(X))})
    with pytest.raises(ShapeError, match="batch cannot stay open: y counts positions over it"):
        lower(turned, dims={"batch": (1, 9)})
    assert lower(turned, dims={"batch": 9}, verify=True).sources


def test_the_advice_has_the_sizes_of_the_model() -> None:
    """Windows of two over an axis of any extent, and one at every place of it."""
    x = ad.input("x", (1, 1, BATCH, 4))
    for pooled, found in (
        (ad.max_pool2d(x, 2), "the extent batch // 2"),
        (ad.max_pool2d(x, 2, stride=1, padding=1), "with extent batch + 1"),
    ):
        model = ad.Model("pooled", {"y": pooled})
        with pytest.raises(ShapeError, match="the dim batch cannot stay open") as error:
            lower(model, dims={"batch": (2, 9)})
        assert error.value.help == "fix it, e.g. dims={'batch': 8}"
        assert found in str(error.value.found)
