"""The kernels of small models, byte for byte. UPDATE_GOLDEN=1 writes the texts again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import autodiffc as ad
from autodiffc.lower import lower
from tests.gates.models import quiz

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "c"


def conv() -> ad.Model:
    x, w = ad.input("x", (2, 2, 8, 8)), ad.param("w", (3, 2, 3, 3))
    h = ad.max_pool2d(ad.relu(ad.conv2d(x, w, padding=1)), 2)
    return ad.Model("conv", {"loss": ad.sum(h * h)}, "loss", wrt=["w", "x"])


def softmax() -> ad.Model:
    x = ad.input("x", (4, 10))
    labels = ad.input("labels", (4,), "int32", low=0, high=10)
    loss = ad.mean(ad.cross_entropy(x, labels))
    return ad.Model("softmax", {"loss": loss, "y": ad.softmax(x)}, "loss", wrt=["x"])


def team() -> ad.Model:
    """Kernels that threads share, and others between them."""
    batch = ad.dim("batch", 6)
    x, w = ad.input("x", (batch, 40)), ad.param("w", (40, 24))
    h = ad.relu(x @ w)
    return ad.Model("team", {"h": h, "loss": ad.sum(h * h)}, optimizer=None)


MODELS = {"quiz": quiz, "conv": conv, "softmax": softmax, "team": team}
TEAM = {"gate": 10_000, "dims": {"batch": (1, 64)}}


def kernels(name: str) -> str:
    """The kernels of a model, for a target that does not depend on the machine; where they are for
    several threads, an entry point as well."""
    emitted = lower(MODELS[name](), target="x86-64-v3", **(TEAM if name == "team" else {}))  # type: ignore[arg-type]
    text = emitted.sources[f"{name}.c"]
    start, end = text.index("/* --- Kernels --- */"), text.index("/* --- Entry points --- */")
    if name != "team":
        return text[start:end]
    entry, after = (text.index(f"/* The steps of team_{e}") for e in ("predict", "forward"))
    return text[start:end] + text[entry:after]


@pytest.mark.parametrize("name", MODELS)
def test_kernels_are_as_written(name: str) -> None:
    found, file = kernels(name), GOLDEN / f"{name}.c"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")
