"""SGD, executed by the reference interpreter, against torch.optim.SGD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.dsl.optimizers import build_step
from autodiffc.errors import ArgumentError
from autodiffc.reference.interpreter import evaluate

SETTINGS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"weight_decay": 0.01},
    {"momentum": 0.9, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.8, "dampening": 0.3},
    {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1},
]


def run_steps(sgd: ad.SGD, start: np.ndarray, gradients: list[np.ndarray]) -> list[np.ndarray]:
    """The parameter after each step."""
    w, g = ad.param("w", start.shape), ad.input("g", start.shape)
    step = build_step(sgd, {w.node: g.node})
    values = {"w": start} | {str(s.name): np.zeros(s.shape) for s in step.states}
    scalars = {name: np.float64(value) for name, value in sgd.scalars.items()}
    outputs = {str(node.name): value for node, value in step.updates.items()}
    history = []
    for gradient in gradients:
        values = evaluate(outputs, {**values, **scalars, "g": gradient})
        history.append(values["w"])
    return history


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_steps_are_pytorchs(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", exc_type=ImportError)
    rng = np.random.default_rng(3)
    start, gradients = rng.normal(size=(4, 3)), [rng.normal(size=(4, 3)) for _ in range(4)]
    theirs = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.SGD([theirs], lr=0.1, **settings)
    history = run_steps(ad.SGD(0.1, **settings), start, gradients)
    for ours, gradient in zip(history, gradients, strict=True):
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-13, atol=1e-15)


def test_momentum_by_hand() -> None:
    one = np.ones(1)
    first, second = run_steps(ad.SGD(0.5, momentum=0.5), np.zeros(1), [one, one])
    assert first.tolist() == [-0.5]
    assert second.tolist() == [-0.5 - 0.5 * 1.5]


def test_what_is_remembered() -> None:
    assert ad.SGD(0.1).slots == ()
    assert ad.SGD(0.1, momentum=0.9).slots == ("momentum",)
    w = ad.param("conv1.weight", (3, 2))
    slots = ad.SGD(0.1, momentum=0.9).make_slots(w.node)
    assert [s.name for s in slots.values()] == ["conv1.weight.momentum"]
    assert slots["momentum"].type == w.node.type


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": -1.0}, "lr must be at least 0"),
        ({"momentum": -0.1}, "momentum must be at least 0"),
        ({"nesterov": True}, "Nesterov"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "Nesterov"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        ad.SGD(**{"lr": 0.1, **settings})
