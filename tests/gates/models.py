"""The models that the gates compile."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import autodiffc as ad
from autodiffc import nn

ROOT = Path(__file__).resolve().parents[2]
LENET5 = ROOT / "examples" / "lenet5.py"


def lenet5(size: int = 28) -> ad.Model:
    """The example's network, for images of any size."""
    batch = ad.dim("batch", 64)
    images = ad.input("images", (batch, 1, size, size), low=0, high=1)
    labels = ad.input("labels", (batch,), "int32", low=0, high=10)
    h = ad.max_pool2d(ad.relu(nn.conv2d(images, 6, kernel_size=5, padding=2, name="conv1")), 2)
    h = ad.max_pool2d(ad.relu(nn.conv2d(h, 16, kernel_size=5, name="conv2")), 2)
    h = ad.relu(nn.linear(ad.flatten(h), 120, name="fc1"))
    h = ad.relu(nn.linear(h, 84, name="fc2"))
    logits = nn.linear(h, 10, name="fc3")
    loss = ad.mean(ad.cross_entropy(logits, labels))
    return ad.Model(
        "lenet5",
        outputs={"loss": loss, "logits": logits},
        differentiate="loss",
        optimizer=ad.SGD(lr=0.05, momentum=0.9),
    )


def mlp() -> ad.Model:
    """Two layers with a softmax of probabilities, and an input that has a gradient."""
    batch = ad.dim("batch", 16)
    x = ad.input("x", (batch, 30))
    labels = ad.input("labels", (batch,), "int32", low=0, high=5)
    h = ad.tanh(nn.linear(x, 33, name="first"))
    logits = nn.linear(h, 5, name="second")
    loss = ad.mean(ad.cross_entropy(logits, labels))
    outputs = {"loss": loss, "probabilities": ad.softmax(logits)}
    wrt = ["x", "first.weight", "first.bias", "second.weight", "second.bias"]
    return ad.Model("mlp", outputs, "loss", wrt=wrt)


def quiz() -> ad.Model:
    """The calculus quiz: scalars alone."""
    x, z = ad.input("x", low=1.5, high=3), ad.input("z", low=1, high=4)
    y = ad.exp(x * z) + x * z / ad.log(x) + ad.sin(ad.log(x)) / ad.exp(x * z)
    return ad.Model("quiz", {"y": y}, differentiate="y")


def digits(batch: int, size: int = 28, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs for LeNet-5."""
    rng = np.random.default_rng(seed)
    return {
        "images": rng.random((batch, 1, size, size), np.float32),
        "labels": rng.integers(0, 10, batch, dtype=np.int32),
    }


def write(folder: Path, sources: Mapping[str, str]) -> Path:
    """Puts sources into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(*command: str, **options: object) -> str:
    """What a command that must succeed prints; its errors are shown where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)
