"""AlexNet against PyTorch: torchvision's parameters, and the same numbers on smaller images.

In float64 loss, logits and every gradient agree, and so do the parameters after some steps. Images
of 64×64 and narrower full layers keep this to seconds; the convolutions have their real channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.dsl.files import run_file
from autodiffc.runtime.compiled import Compiled

torch = pytest.importorskip("torch", exc_type=ImportError)

ALEXNET = Path(__file__).resolve().parents[2] / "examples" / "alexnet.py"
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
NAMES = tuple(f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias"))
BATCH, SIZE, HIDDEN, CLASSES, LR = 4, 64, 256, 50, 0.01

Arrays = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def peer(features: int = 256, hidden: int = HIDDEN, classes: int = CLASSES) -> Any:
    """torchvision's network, without dropout; `features` enter the first full layer."""
    nn = torch.nn
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()),
        nn.Linear(hidden, classes),
    ).double()


@cache
def small() -> Compiled:
    """The example's network over small images."""
    images = ad.input("images", (BATCH, 3, SIZE, SIZE))
    labels = ad.input("labels", (BATCH,), "int32", low=0, high=CLASSES)
    logits = run_file(ALEXNET).alexnet(images, CLASSES, HIDDEN)
    outputs = {"loss": ad.mean(ad.cross_entropy(logits, labels)), "logits": logits}
    model = ad.Model("small", outputs, differentiate="loss", optimizer=ad.SGD(lr=LR))
    return ad.compile(model, dtype="float64", threads=1)


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((BATCH, 3, SIZE, SIZE))
    return images, rng.integers(0, CLASSES, BATCH, dtype=np.int32)


def named(parameters: Any) -> Arrays:
    return {n: p.detach().numpy().copy() for n, p in zip(NAMES, parameters, strict=True)}


def start_at(model: Compiled, weights: Arrays) -> None:
    model.init()
    for name, value in weights.items():
        model.params[name][...] = value


def close(ours: Any, theirs: Any) -> None:
    """Relative to the largest entry: 1e-9."""
    assert np.shape(ours) == np.shape(theirs)
    assert np.max(np.abs(np.subtract(ours, theirs))) <= 1e-9 * np.max(np.abs(theirs))


def test_the_parameters_are_torchvisions() -> None:
    with torch.device("meta"):
        shapes = [tuple(p.shape) for p in peer(9216, 4096, 1000).parameters()]
    model = run_file(ALEXNET).model
    assert {p.name: tuple(p.shape) for p in model.params} == dict(zip(NAMES, shapes, strict=True))
    assert sum(int(np.prod(shape)) for shape in shapes) == 61_100_840


def test_in_float64_loss_logits_and_gradients_are_the_same() -> None:
    network, model, (images, labels) = peer(), small(), batch()
    start_at(model, named(network.parameters()))
    logits = network(torch.from_numpy(images))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels).long())
    loss.backward()
    out, grads = model.value_and_grad(images=images, labels=labels)
    close(out["loss"], loss.item())
    close(out["logits"], logits.detach().numpy())
    close(model.predict(images=images)["logits"], logits.detach().numpy())
    for name, p in zip(NAMES, network.parameters(), strict=True):
        close(grads[name], p.grad.numpy())


def test_in_float64_steps_have_the_same_losses_and_parameters() -> None:
    network, model, (images, labels) = peer(), small(), batch()
    start_at(model, named(network.parameters()))
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        logits = network(torch.from_numpy(images))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels).long())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    ours = [float(model.step(images=images, labels=labels)) for _ in range(20)]
    assert losses[-1] < losses[0]  # it does learn
    close(ours, losses)
    for name, value in named(network.parameters()).items():
        close(model.params[name], value)
