"""PyTorch: eager and compiled, and with the channels innermost where there are images.

A step is as lean as PyTorch allows: no optimizer object, no zero_grad, one fused update of all
parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.harness import Arrays, Contestant, NotThere
from benchmarks.networks import LR, Conv, Layer, Network, Pool

Tensors = list[torch.Tensor]
Loss = Callable[[Tensors, torch.Tensor, torch.Tensor], torch.Tensor]
NAME = "PyTorch"


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def steps(
    network: Network, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
) -> list[Callable[[], Contestant]]:
    """Every way to take a training step."""
    formats = [False, True] if len(network.shape) == 3 else [False]
    makers = {"eager": _eager_step, "compile": _compiled_step}

    def make(kind: str, last: bool) -> Contestant:
        name = f"{NAME} {kind}{' channels_last' if last else ''}"
        params = [_tensor(w, last) for w in weights]
        x, y = _tensor(images, last), torch.from_numpy(labels.astype(np.int64))
        step = makers[kind](_loss(network), params, x, y)
        return _contestant(name, step, lambda: _state(step, params))

    return [lambda k=k, f=f: make(k, f) for f in formats for k in makers]  # type: ignore[misc]


def _tensor(array: np.ndarray, channels_last: bool) -> torch.Tensor:
    tensor = torch.from_numpy(array.copy())
    if channels_last and tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def _loss(network: Network) -> Loss:
    def loss(params: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        remaining = iter(params)
        for layer in network.layers:
            x = _layer(x, layer, remaining)
        return functional.cross_entropy(x, y)

    return loss


def _layer(x: torch.Tensor, layer: Layer, params: Any) -> torch.Tensor:
    if isinstance(layer, Pool):
        return functional.max_pool2d(x, layer.kernel, layer.stride)
    weight, bias = next(params), next(params)
    if isinstance(layer, Conv):
        return functional.relu(functional.conv2d(x, weight, bias, layer.stride, layer.padding))
    x = functional.linear(x.flatten(1), weight, bias)
    return functional.relu(x) if layer.relu else x


def _eager_step(
    loss: Loss, params: Tensors, x: torch.Tensor, y: torch.Tensor
) -> Callable[[], torch.Tensor]:
    for p in params:
        p.requires_grad_(True)

    def step() -> torch.Tensor:
        value = loss(params, x, y)
        grads = torch.autograd.grad(value, params)
        with torch.no_grad():
            torch._foreach_add_(params, grads, alpha=-LR)
        return value

    return step


def _compiled_step(
    loss: Loss, params: Tensors, x: torch.Tensor, y: torch.Tensor
) -> Callable[[], torch.Tensor]:
    """Forward, backward and update as one graph."""

    def whole(params: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        grads, value = torch.func.grad_and_value(loss)(params, x, y)
        torch._foreach_add_(params, grads, alpha=-LR)
        loss_value: torch.Tensor = value
        return loss_value

    compiled = torch.compile(whole, fullgraph=True, dynamic=False)
    try:  # on parameters of its own: the first step is compared with ours
        compiled([p.clone() for p in params], x, y)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise NotThere(f"torch.compile fails here: {reason[:200]}") from error
    return lambda: compiled(params, x, y)


def _state(step: Callable[[], torch.Tensor], params: Tensors) -> Arrays:
    value = step()
    return {"loss": value.detach().numpy()} | {
        f"parameter {k}": p.detach().numpy() for k, p in enumerate(params)
    }


def matmul(a: np.ndarray, b: np.ndarray) -> Contestant:
    """A matrix product into memory that is there already."""
    first, second = torch.from_numpy(a), torch.from_numpy(b)
    out = torch.empty(a.shape[0], b.shape[1])

    def call() -> torch.Tensor:
        return torch.mm(first, second, out=out)

    return _contestant(NAME, call, lambda: {"c": call().numpy()})


def _contestant(name: str, call: Callable[[], object], result: Callable[[], Arrays]) -> Contestant:
    return Contestant(name, torch.__version__, torch.get_num_threads(), call, result)
