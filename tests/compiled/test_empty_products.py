"""A product of nothing is 1, in C as in the interpreter, with and without the passes."""

from __future__ import annotations

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.reference import evaluate
from tests.compiled.test_operations import PASSES
from tests.harness import Case, compile_cases


@pytest.mark.parametrize("without", [(), PASSES], ids=["passes", "plain"])
def test_an_empty_product_is_one(without: tuple[str, ...]) -> None:
    i, j = ad.indices("i j")
    x = ad.input("x", (3, 2))
    y = ad.compute((i,), ad.prod_over((j,), x[i, j], where=(i >= 1)))
    array = np.array([[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]])
    case = Case("product", ad.Model("product", {"y": y}, wrt=[]))
    got = compile_cases([case], library="empty", without=without)["product"].forward(x=array)
    np.testing.assert_array_equal(got["y"], [1.0, 20.0, 42.0])
    np.testing.assert_array_equal(evaluate({"y": y.node}, {"x": array})["y"], got["y"])
