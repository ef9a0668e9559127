"""Loops that take two blocks of vectors at a time: same bits as one at a time, any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.loops import vector
from autodiffc.lower import lower
from autodiffc.reference import evaluate
from tests.harness import Case, compile_cases

LONGEST = 330
LENGTHS = [65, 72, 144, 175, 321]
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def model(*shape: ad.Dim | int) -> ad.Model:
    """The calculus quiz with its partials, whose operands lie in rows."""
    x, z = ad.input("x", shape, low=1.5, high=3), ad.input("z", shape, low=1, high=4)
    y = ad.exp(x * z) + x * z / ad.log(x) + ad.sin(ad.log(x)) / ad.exp(x * z)
    dx, dz = ad.grad(ad.sum(y), [x, z])
    return ad.Model("quiz", {"y": y, "dx": dx, "dz": dz}, wrt=[])


def cases() -> list[Case]:
    fixed = [Case(f"length {n}", model(n)) for n in LENGTHS]
    rows = Case("rows", model(3, 80))
    open_one = Case("open", model(ad.dim("n", LONGEST)), dims={"n": (1, LONGEST)})
    return [*fixed, rows, open_one]


def points(dtype: str, *shape: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    x, z = rng.uniform(1.5, 3, shape), rng.uniform(1, 4, shape)
    return {"x": x.astype(dtype), "z": z.astype(dtype)}


def bits(array: Any) -> np.ndarray:
    return np.asarray(array).view(f"u{np.asarray(array).dtype.itemsize}")


@DTYPES
def test_bits_do_not_depend_on_pairs(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paired = compile_cases(cases(), dtype=dtype, library=f"paired_{dtype}", level="-O3")
    monkeypatch.setattr(vector, "PAIRED", 1000)
    single = compile_cases(cases(), dtype=dtype, library=f"single_{dtype}", level="-O3")
    given = points(dtype, LONGEST)
    whole = paired["open"].predict(**given)
    for n in range(1, LONGEST + 1):
        first = {name: a[:n] for name, a in given.items()}
        last = {name: a[LONGEST - n :] for name, a in given.items()}
        programs = [paired["open"], single["open"]]
        programs += [p[f"length {n}"] for p in (paired, single) if n in LENGTHS]
        for program in programs:
            at_start, at_end = program.predict(**first), program.predict(**last)
            for name, right in whole.items():
                np.testing.assert_array_equal(bits(at_start[name]), bits(right)[:n])
                np.testing.assert_array_equal(bits(at_end[name]), bits(right)[LONGEST - n :])
    rows = points(dtype, 3, 80)
    got, wanted = paired["rows"].predict(**rows), single["rows"].predict(**rows)
    for name, right in wanted.items():
        np.testing.assert_array_equal(bits(got[name]), bits(right))


@DTYPES
def test_pairs_are_right(dtype: str) -> None:
    program = ad.compile(model(LONGEST), dtype=dtype)
    given = points(dtype, LONGEST)
    exact = {name: a.astype(np.float64) for name, a in given.items()}
    wanted = evaluate(dict(model(LONGEST).outputs), exact)
    for name, array in program.predict(**given).items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-13 if dtype == "float64" else 1e-5)


def test_which_loops_take_pairs() -> None:
    def text(model: ad.Model) -> str:
        return str(lower(model, target="x86-64-v3").sources[f"{model.name}.c"])

    x = ad.input("x", (256,))
    few = ad.Model("few", {"y": ad.exp(x), "z": ad.exp(x) * 2.0}, wrt=[])
    assert "i += 16" in text(model(256))
    assert "_next" in text(model(256))
    for other in (model(40), few):
        assert "i += 8" in text(other)
        assert "_next" not in text(other)
