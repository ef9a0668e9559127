"""Arithmetic of integers and truth values, as PyTorch types and computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.errors import DtypeError, NumberOverflowError
from autodiffc.graph.expression import Expression
from autodiffc.reference.interpreter import evaluate

torch = pytest.importorskip("torch", reason="needs the extra `torch` to compare with")

ARRAYS = {
    "b": np.array([True, False, True, False]),
    "c": np.array([True, True, False, False]),
    "u": np.array([1, 2, 3, 250], np.uint8),
    "m": np.array([-3, -1, 1, 2], np.int32),
    "n": np.array([2, 3, 0, 5], np.int32),
    "k": np.array([-3, 2, 0, 60]),
}
INPUTS = {name: ad.input(name, a.shape, str(a.dtype)) for name, a in ARRAYS.items()}

FORMULAS: list[Callable[..., Any]] = [
    lambda m, b, c: b + c,
    lambda m, b, c: b * c,
    lambda m, b, c: m.maximum(b, c),
    lambda m, b, c: m.minimum(b, c),
    lambda m, b, c: m.where(b, c, b),
    lambda m, b, c: b + True,
    lambda m, b, n: b + n,
    lambda m, b, n: n * b,
    lambda m, n, b: n // (b + 1),
    lambda m, b: b // 2,
    lambda m, b: b**2,
    lambda m, b: 2**b,
    lambda m, n, b: n**b,
    lambda m, b: m.outer(b, b),
    lambda m, n: 2**n,
    lambda m, u, n: u**n,
    lambda m, n: n**0,
    lambda m, n: n**5,
    lambda m, n: n**2.0,
    lambda m, n: n**0.5,
    lambda m, n: 2.5**n,
    lambda m, m_, n: m_**n,
    lambda m, m_, k: m_**k,
]


@pytest.mark.parametrize("formula", FORMULAS, ids=range(len(FORMULAS)))
def test_types_and_values(formula: Callable[..., Any]) -> None:
    code = formula.__code__
    names = [n.rstrip("_") for n in code.co_varnames[1 : code.co_argcount]]
    y = formula(ad, *(INPUTS[n] for n in names))
    expected = formula(torch, *(torch.from_numpy(ARRAYS[n]) for n in names)).numpy()
    got = evaluate({"y": y.node}, ARRAYS, dtype="float32")["y"]
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_products_of_truth_values_are_counted_where_they_are_summed() -> None:
    """Where PyTorch has no such operation, the number of common elements is an int64."""
    b, c = INPUTS["b"], INPUTS["c"]
    image = ad.input("image", (1, 1, 3, 3), "bool")
    for y in (b @ c, ad.einsum("i,i->", b, c), ad.conv2d(image, image)):
        assert y.dtype == "int64"
    arrays = {**ARRAYS, "image": np.ones((1, 1, 3, 3), bool)}
    assert evaluate({"y": (b @ b).node}, arrays)["y"] == 2
    assert evaluate({"y": ad.conv2d(image, image).node}, arrays)["y"] == 9


def in_notation(formula: Callable[..., Any], *names: str) -> Expression:
    i = ad.indices("i")
    return ad.compute((i,), formula(*(INPUTS[n][i] for n in names)))


@pytest.mark.parametrize(
    ("formula", "names", "dtype"),
    [
        (lambda n: n**0, "n", "int32"),
        (lambda n: n**3, "n", "int32"),
        (lambda n: n**5, "n", "int32"),
        (lambda n: 2**n, "n", "int32"),
        (lambda m, n: m**n, "mn", "int32"),
        (lambda n, k: n**k, "nk", "int64"),
        (lambda n: n**2.0, "n", "real"),
        (lambda n: n**0.5, "n", "real"),
        (lambda b: b**2, "b", "int64"),
        (lambda b, c: b + c, "bc", "bool"),
        (lambda b, c: b // (c + 1), "bc", "int64"),
    ],
)
def test_index_notation_computes_the_same(
    formula: Callable[..., Any], names: str, dtype: str
) -> None:
    y = in_notation(formula, *names)
    whole = formula(*(INPUTS[n] for n in names))
    assert y.dtype == whole.dtype == dtype
    values = evaluate({"y": y.node, "whole": whole.node}, ARRAYS)
    np.testing.assert_allclose(values["y"], values["whole"], rtol=1e-14)


def test_index_notation_refuses_what_tensors_refuse() -> None:
    with pytest.raises(DtypeError, match="power of integers"):
        in_notation(lambda n: n**-1, "n")
    with pytest.raises(NumberOverflowError, match="beside int32"):
        in_notation(lambda n: n + 2**40, "n")
    with pytest.raises(DtypeError, match="cannot be subtracted") as caught:
        in_notation(lambda b, c: b - c, "b", "c")
    assert caught.value.loc is not None
    assert caught.value.loc.file == __file__


def test_integers_compare_with_any_number() -> None:
    """As in NumPy; PyTorch would compare with what is left of the number in 32 bits."""
    i = ad.indices("i")
    found = {
        "whole": INPUTS["n"] < 2**40,
        "element": ad.compute((i,), INPUTS["n"][i] < 2**40),
        "unsigned": INPUTS["u"] > -1,
    }
    values = evaluate({name: y.node for name, y in found.items()}, ARRAYS)
    assert all(value.all() for value in values.values())
