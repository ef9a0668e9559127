"""Formulas of one node become statements one after the other: each declares what it likes."""

from __future__ import annotations

import autodiffc as ad
from autodiffc.lower import lower


def test_formulas_that_are_a_tile_each_have_a_scope_each() -> None:
    """The gradient of a small strided convolution: one formula a residue, both without a loop."""
    x, weight = ad.input("x", (1, 4, 4)), ad.input("weight", (4, 2, 2))
    y = ad.conv1d(x, weight, stride=1, padding=2, dilation=2, groups=2)
    loss = ad.sum(y * ad.input("w", y.shape))
    # the verifier of loops refuses a name that is declared twice, as a C compiler would
    lower(ad.Model("m", {"loss": loss}, "loss"), dtype="float64", verify=True)
