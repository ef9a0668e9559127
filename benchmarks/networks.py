"""A network as a list of layers, from which every contestant builds its own.

Parameters come in the order of the layers, weight before bias, in PyTorch's shapes, so that all
contestants can start from the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import autodiffc as ad
from autodiffc import nn

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LR = 0.01  # of plain SGD


@dataclass(frozen=True)
class Conv:
    """A convolution and a relu."""

    features: int
    kernel: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Pool:
    """The maximum of each window."""

    kernel: int
    stride: int


@dataclass(frozen=True)
class Linear:
    """A matrix, a bias, and a relu unless it is the last."""

    features: int
    relu: bool = True


Layer = Conv | Pool | Linear


@dataclass(frozen=True)
class Network:
    """Layers over images (channels, height, width) or vectors (features,)."""

    name: str
    shape: tuple[int, ...]
    classes: int
    layers: Sequence[Layer]


LENET5 = Network(
    "lenet5",
    (1, 28, 28),
    10,
    (
        *(Conv(6, 5, padding=2), Pool(2, 2), Conv(16, 5), Pool(2, 2)),
        *(Linear(120), Linear(84), Linear(10, relu=False)),
    ),
)
MLP = Network("mlp", (784,), 10, (Linear(256), Linear(128), Linear(10, relu=False)))
SMALL_MLP = Network("small_mlp", (784,), 10, (Linear(128), Linear(10, relu=False)))
ALEXNET = Network(
    "alexnet",
    (3, 224, 224),
    1000,
    (
        *(Conv(64, 11, stride=4, padding=2), Pool(3, 2), Conv(192, 5, padding=2), Pool(3, 2)),
        *(Conv(384, 3, padding=1), Conv(256, 3, padding=1), Conv(256, 3, padding=1), Pool(3, 2)),
        *(Linear(4096), Linear(4096), Linear(1000, relu=False)),
    ),
)


def model(network: Network, *, optimizer: bool = True) -> ad.Model:
    """The network in autodiffc, with cross-entropy and plain SGD."""
    batch = ad.dim("batch", 1)
    images = ad.input("images", (batch, *network.shape))
    labels = ad.input("labels", (batch,), "int32", low=0, high=network.classes)
    h: Any = images
    for number, layer in enumerate(network.layers):
        h = _layer(h, layer, f"layer{number}")
    loss = ad.mean(ad.cross_entropy(h, labels))
    chosen = ad.SGD(lr=LR) if optimizer else None
    return ad.Model(network.name, {"loss": loss}, differentiate="loss", optimizer=chosen)


def _layer(h: Any, layer: Layer, name: str) -> Any:
    if isinstance(layer, Conv):
        h = nn.conv2d(
            h,
            layer.features,
            kernel_size=layer.kernel,
            stride=layer.stride,
            padding=layer.padding,
            name=name,
        )
        return ad.relu(h)
    if isinstance(layer, Pool):
        return ad.max_pool2d(h, layer.kernel, layer.stride)
    h = nn.linear(ad.flatten(h) if len(h.shape) > 2 else h, layer.features, name=name)
    return ad.relu(h) if layer.relu else h
