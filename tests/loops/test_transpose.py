"""Transposing copies in blocks: every element at its place, whatever is left beside the blocks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.emit.vectors import exchanges
from autodiffc.loops.ir import For, Transpose, statements
from autodiffc.loops.verify import verify
from autodiffc.runtime.compiled import Compiled
from tests.harness import Case, compile_cases
from tests.loops.kernels import kernels_of

# the shapes of arrays and the order of their axes in the result
COPIES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "whole": ((64, 48), (1, 0)),
    "rest_of_rows": ((37, 64), (1, 0)),
    "rest_of_columns": ((64, 39), (1, 0)),
    "rest_of_both": ((41, 53), (1, 0)),
    "few_rows": ((8, 500), (1, 0)),
    "few_columns": ((500, 5), (1, 0)),
    "one_long_row": ((1, 4, 1033), (2, 0, 1)),
    "interleaved": ((4, 16, 3, 25), (0, 2, 3, 1)),
    "channels_last": ((3, 20, 7, 9), (0, 2, 3, 1)),
    "channels_first": ((3, 7, 9, 20), (0, 3, 1, 2)),
    "reversed": ((5, 12, 11, 13), (3, 2, 1, 0)),
    "small": ((9, 7), (1, 0)),
    "narrow": ((700, 3), (1, 0)),
}
DTYPES = ("float32", "float64", "int32", "int64", "uint8", "bool")


def model(name: str, dtype: str) -> ad.Model:
    shape, order = COPIES[name]
    x = ad.input("x", shape, dtype)
    return ad.Model(name, {"y": ad.transpose(x, order)}, wrt=[])


def sample(shape: Sequence[int], dtype: str) -> np.ndarray:
    values = np.random.default_rng(3).integers(0, 200, shape)
    return (values % 2 == 0) if dtype == "bool" else values.astype(dtype)


@cache
def compiled(plain: bool) -> dict[str, Compiled]:
    cases = [Case(f"{n}_{d}", model(n, d)) for n in COPIES for d in DTYPES]
    return compile_cases(cases, library=f"transpose_{plain}", level="-O2", plain=plain)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COPIES)
def test_every_element_is_at_its_place(name: str, dtype: str, plain: bool) -> None:
    shape, order = COPIES[name]
    x = sample(shape, dtype)
    found = compiled(plain)[f"{name}_{dtype}"].predict(x=x)["y"]
    np.testing.assert_array_equal(found, x.transpose(order))


def test_windows_between_zeros_and_strides() -> None:
    """Blocks of results that lie between zeros, of operands that are read in steps."""
    x = ad.input("x", (24, 3, 50))
    i, j, k = ad.indices("i j k")
    swapped = ad.compute((i, j, k), x[k, j, 2 * i + 1], extents={i: 21})
    padded = ad.pad(ad.transpose(x, (2, 1, 0)), ((1, 2), (0, 0), (3, 0)))
    cases = [Case("swapped", ad.Model("swapped", {"y": swapped, "z": padded}, wrt=[]))]
    program = compile_cases(cases, library="transpose_windows", level="-O2")["swapped"]
    values = sample((24, 3, 50), "float64")
    out = program.predict(x=values)
    flipped = values.transpose(2, 1, 0)
    np.testing.assert_array_equal(out["y"], flipped[1:43:2])
    np.testing.assert_array_equal(out["z"], np.pad(flipped, ((1, 2), (0, 0), (3, 0))))


BLOCKS = {
    ("whole", "float32", "x86-64-v4"): {16},
    ("whole", "float32", "x86-64-v3"): {8},
    ("whole", "float64", "x86-64-v3"): {4},
    ("few_rows", "float32", "x86-64-v4"): {8},
    ("few_columns", "int32", "x86-64-v3"): {4},
    ("interleaved", "float32", "x86-64-v4"): {16},
    ("whole", "uint8", "x86-64-v4"): set(),  # bytes have no blocks,
    ("small", "float32", "x86-64-v4"): set(),  # nor have small tensors,
    ("narrow", "float32", "x86-64-v4"): set(),  # and rows of less than four elements
}


@pytest.mark.parametrize(("name", "dtype", "target"), BLOCKS)
def test_which_copies_have_blocks(name: str, dtype: str, target: str) -> None:
    """And one loop around them that threads may share."""
    found: set[int] = set()
    for kernel in kernels_of(model(name, dtype), target):
        verify(kernel)
        inside = list(statements(kernel.body))
        found |= {s.lanes for s in inside if isinstance(s, Transpose)}
        assert any(isinstance(s, For) and "parallel" in s.mode for s in inside)
    assert found == BLOCKS[name, dtype, target]


@pytest.mark.parametrize("item", [4, 8])
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_exchanges_transpose(lanes: int, item: int) -> None:
    rows = np.arange(lanes * lanes).reshape(lanes, lanes)
    expected = rows.T.copy()
    for number_of_round in exchanges(lanes, item):
        new = np.empty_like(rows)
        for row, first, second, chosen in number_of_round:
            both = np.concatenate([rows[first], rows[second]])
            new[row] = both[[int(k) for k in chosen.split(", ")]]
        rows = new
    np.testing.assert_array_equal(rows, expected)
