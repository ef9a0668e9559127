"""Indices used as values: wide enough for products, in the interpreter and in C."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.expression import Expression
from autodiffc.lower import lower
from autodiffc.reference import evaluate
from tests.harness import Case, compile_cases

i, j, k = ad.indices("i j k")
LONG = 50000
I = np.arange(LONG)

FORMULAS: dict[str, tuple[Callable[[Expression], Expression], np.ndarray]] = {
    "product": (lambda x: ad.compute((i,), x[0] * (i * i), extents={i: LONG}), 2.0 * I * I),
    "power": (lambda x: ad.compute((i,), i**2, extents={i: LONG}), I**2),
    "cube": (lambda x: ad.compute((i,), x[1] * i**3, extents={i: LONG}), -1.0 * I**3),
    "multiple": (lambda x: ad.compute((i,), 70000 * i + 1, extents={i: LONG}), 70000 * I + 1),
    "negative": (lambda x: ad.compute((i,), -(i * i) - i, extents={i: LONG}), -(I**2) - I),
    "two": (
        lambda x: ad.compute((i, j), (i * 40000) * j, extents={i: 3, j: LONG}),
        40000 * np.arange(3)[:, None] * I,
    ),
    "sum": (lambda x: ad.compute((), ad.sum_over(i, i * i), extents={i: LONG}), (I**2).sum()),
    "rest": (lambda x: ad.compute((i,), i * i % 7 - i // 2, extents={i: LONG}), I**2 % 7 - I // 2),
    "compared": (
        lambda x: ad.compute((i, j), ad.where(j <= i, x[j], 0.0), extents={i: 3}),
        np.tril(np.broadcast_to([2.0, -1.0, 0.5], (3, 3))),
    ),
}
X = np.array([2.0, -1.0, 0.5])


def finished(reduce: Callable[..., Expression]) -> tuple[ad.Model, np.ndarray]:
    """A reduction whose results are multiplied by both of their indices, in lanes of the last."""
    x = ad.input("x", (4, 9, 37))
    y = ad.compute((i, j), reduce(k, x[i, k, j]))
    y = ad.compute((i, j), y[i, j] * ad.astype(j, "float64") + ad.astype(i, "float64"))
    return ad.Model("finished", {"y": y}, wrt=[]), np.arange(37.0)


@pytest.mark.parametrize(("reduce", "numpy"), [(ad.max_over, np.max), (ad.sum_over, np.sum)])
@pytest.mark.parametrize("plain", [False, True])
def test_indices_at_the_end_of_a_reduction(
    reduce: Callable[..., Expression], numpy: Callable[..., np.ndarray], plain: bool
) -> None:
    made, columns = finished(reduce)
    x = np.random.default_rng(0).standard_normal((4, 9, 37))
    (program,) = compile_cases(
        [Case("m", made)], library=f"finished_{reduce.__name__}_{plain}", plain=plain
    ).values()
    wanted = numpy(x, axis=1) * columns + np.arange(4.0)[:, None]
    np.testing.assert_allclose(program.predict(x=x).y, wanted, rtol=1e-13)


def model(name: str) -> ad.Model:
    return ad.Model(name, {"y": FORMULAS[name][0](ad.input("x", (3,)))}, wrt=[])


@pytest.fixture(scope="module")
def programs() -> dict[str, ad.Compiled]:
    return compile_cases([Case(name, model(name)) for name in FORMULAS], library="index_values")


@pytest.mark.parametrize("name", FORMULAS)
def test_indices_do_not_overflow(name: str, programs: dict[str, ad.Compiled]) -> None:
    wanted = FORMULAS[name][1]
    used = model(name)
    arrays = {"x": X} if used.inputs else {}
    for found in (programs[name].predict(**arrays).y, evaluate(used.outputs, arrays)["y"]):
        assert np.asarray(found).dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_comparisons_of_indices_stay_narrow() -> None:
    """Nothing is gained by comparing indices as int64, and vectors hold half as many."""
    ids = ad.input("ids", (5,), "int32")
    hot = ad.compute((i, k), ad.where((ids[i] == k) & (k < 2), 1.0, 0.0), extents={k: 3})
    code = lower(ad.Model("hot", {"hot": hot})).sources["hot.c"]
    (line,) = [line for line in code.splitlines() if "hot[3 * i + k] =" in line]
    assert "int64_t" not in line
