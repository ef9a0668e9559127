"""Softmax and its kin on rows with infinities and NaN, and on none, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.expression import Expression
from tests.harness import Case, compile_cases

INF, NAN = np.inf, np.nan
ROWS = np.array(
    [
        [1.0, INF, 2.0],
        [INF, INF, 0.0],
        [1.0, -INF, 2.0],
        [-INF, -INF, -INF],
        [NAN, 1.0, 2.0],
        [1e30, -1e30, 0.0],
    ]
)
LABELS = np.array([1, 0, 2, 1, 0, 2], np.int32)

FUNCTIONS: dict[str, tuple[Callable[[Expression], Expression], Callable[[Any, Any], Any]]] = {
    "softmax": (ad.softmax, lambda torch, x: torch.softmax(x, -1)),
    "log_softmax": (ad.log_softmax, lambda torch, x: torch.log_softmax(x, -1)),
    "logsumexp": (lambda x: ad.logsumexp(x, axis=1), lambda torch, x: torch.logsumexp(x, 1)),
    "cross_entropy": (
        lambda x: ad.cross_entropy(x, ad.constant(LABELS)),
        lambda torch, x: torch.nn.functional.cross_entropy(
            x, torch.tensor(LABELS, dtype=torch.int64), reduction="none"
        ),
    ),
}


@pytest.fixture(scope="module")
def programs() -> dict[str, ad.Compiled]:
    cases = []
    for name, (ours, _) in FUNCTIONS.items():
        x = ad.input("x", ROWS.shape)
        cases.append(Case(name, ad.Model(name, {"y": ours(x)})))
    return compile_cases(cases, library="extreme_rows")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_with_infinities(name: str, programs: dict[str, ad.Compiled]) -> None:
    torch = pytest.importorskip("torch")
    wanted = FUNCTIONS[name][1](torch, torch.tensor(ROWS))
    np.testing.assert_allclose(programs[name].predict(x=ROWS).y, wanted, rtol=1e-12)


def test_an_infinite_logit_leaves_no_distribution(programs: dict[str, ad.Compiled]) -> None:
    assert np.isnan(programs["log_softmax"].predict(x=ROWS).y[:2]).all()


def test_of_no_elements() -> None:
    x = ad.input("x", (2, 0))
    outputs = {"sum": ad.logsumexp(x, axis=1), "all": ad.logsumexp(x), "soft": ad.softmax(x)}
    out = ad.compile(ad.Model("empty", outputs), dtype="float64").predict(x=np.zeros((2, 0)))
    assert out["sum"].tolist() == [-INF, -INF]
    assert out["all"] == -INF
    assert out["soft"].shape == (2, 0)
