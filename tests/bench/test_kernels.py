"""The rows of the kernels' table: each finds its kernel. Nothing is timed but one small product."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from autodiffc.bench import machine as machine_module
from autodiffc.lower import lower
from benchmarks import kernels
from benchmarks.kernels import ROWS, Layer, Row, markdown, measured
from benchmarks.networks import LENET5, model

LENET5_ROWS = [r for r in ROWS if r.pattern]


@pytest.fixture(scope="module")
def lenet5() -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = lower(model(LENET5), dims={"batch": 64}).manifest["kernels"]
    return found


def chosen(manifest: list[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The kernel of a row, as `kernel_of` finds it."""
    pattern = next(r.pattern for r in LENET5_ROWS if r.name == name)
    fits = [
        k for k in manifest if any(re.search(pattern, f"{k['name']} {f}") for f in k["formulas"])
    ]
    return max(fits, key=lambda k: int(k["flops"]))


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("LeNet-5 conv1 forward", 64 * 2 * 6 * 28 * 28 * 25 * 0.9),
        ("LeNet-5 conv1 dW", 64 * 2 * 6 * 28 * 28 * 25 * 0.9),
        ("LeNet-5 conv2 forward", 64 * 2 * 16 * 100 * 6 * 25),
        ("LeNet-5 conv2 dW", 64 * 2 * 16 * 100 * 6 * 25),
        ("LeNet-5 conv2 dX", 64 * 2 * 16 * 100 * 6 * 25),
    ],
)
def test_patterns_find_the_kernels_of_lenet5(
    lenet5: list[Mapping[str, Any]], name: str, least: float
) -> None:
    assert least <= chosen(lenet5, name)["flops"] < 1.5 * least


def test_the_five_rows_of_lenet5_are_five_kernels(lenet5: list[Mapping[str, Any]]) -> None:
    assert len({chosen(lenet5, r.name)["name"] for r in LENET5_ROWS}) == 5


@pytest.mark.parametrize("part", ["forward", "dX", "dW"])
def test_parts_of_a_layer_have_the_same_operations(part: str) -> None:
    layer = Layer(4, 8, 9, 3, stride=2, batch=2)
    products = 2 * 2 * 8 * 4 * 9 * 4 * 4
    largest = max(k["flops"] for k in lower(layer.build(part)).manifest["kernels"])
    assert products / 4 <= largest <= 2 * products  # dX may be several kernels, or have zeros


def test_a_row_from_beginning_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "ROUNDS", 1000)
    monkeypatch.setattr(machine_module, "MOST_DRAM_BYTES", 1 << 22)
    build = lambda: kernels._matmul(16, "A·B")  # noqa: E731
    rows = [Row("product", build, 0.5), Row("by roof", build, 0.5, roof=True)]
    found = list(measured(rows, threads=1, rounds=2))
    assert [f["share_of"] for f in found] == ["peak", "peak and DRAM"]
    assert found[0]["kernel"] == found[1]["kernel"] == "kernel_c"
    assert found[0]["flops"] == 2 * 16**3
    assert 0 < found[0]["share"] <= found[0]["best_share"]
    assert markdown(found).count("\n") == 4


def test_every_row_has_a_name_of_its_own_and_an_aim() -> None:
    assert len({r.name for r in ROWS}) == len(ROWS) == 35
    assert all(0.5 < r.aim < 1 for r in ROWS)
