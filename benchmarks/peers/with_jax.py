"""JAX: everything under jit, parameters donated, results waited for.

XLA takes as many threads as the process may use processors; the worker sees to that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.harness import Arrays, Contestant
from benchmarks.networks import LR, Conv, Layer, Network, Pool

NAME = "JAX jit"
CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
CHANNELS_FIRST = ("NCHW", "OIHW", "NCHW")

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)  # for float64 workloads; float32 arrays stay float32


def steps(
    network: Network, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
) -> list[Callable[[], Contestant]]:
    """A training step, with either order of axes where there are images."""
    formats = [False, True] if len(network.shape) == 3 else [False]
    return [
        lambda last=last: _step(network, weights, images, labels, last)  # type: ignore[misc]
        for last in formats
    ]


def _step(
    network: Network,
    weights: Sequence[np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    last: bool,
) -> Contestant:
    def loss(params: list[Any], x: Any, y: Any) -> Any:
        remaining = iter(params)
        for layer in network.layers:
            x = _layer(x, layer, remaining, last)
        picked = jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1)
        return -jnp.mean(picked)

    def update(params: list[Any], x: Any, y: Any) -> tuple[Any, list[Any]]:
        value, grads = jax.value_and_grad(loss)(params, x, y)
        return value, [p - LR * g for p, g in zip(params, grads, strict=True)]

    step = jax.jit(update, donate_argnums=0)
    x = jnp.asarray(images.transpose(0, 2, 3, 1) if last else images)
    y = jnp.asarray(labels)
    state = {"params": [jnp.asarray(_turned(w, last)) for w in weights]}

    def call() -> Any:
        value, state["params"] = step(state["params"], x, y)
        jax.block_until_ready(state["params"])
        return value

    def result() -> Arrays:
        value = np.asarray(call())
        back = [_turned_back(np.asarray(p), last) for p in state["params"]]
        return {"loss": value} | {f"parameter {k}": p for k, p in enumerate(back)}

    return _contestant(f"{NAME} NHWC" if last else NAME, call, result)


def _layer(x: Any, layer: Layer, params: Iterator[Any], last: bool) -> Any:
    if isinstance(layer, Pool):
        window, stride = (_around(size, last) for size in (layer.kernel, layer.stride))
        return lax.reduce_window(x, -jnp.inf, lax.max, window, stride, "VALID")
    weight, bias = next(params), next(params)
    if isinstance(layer, Conv):
        padding = [(layer.padding, layer.padding)] * 2
        axes = CHANNELS_LAST if last else CHANNELS_FIRST
        strides = [layer.stride] * 2
        x = lax.conv_general_dilated(x, weight, strides, padding, dimension_numbers=axes)
        return jax.nn.relu(x + (bias if last else bias[:, None, None]))
    if x.ndim == 4 and last:
        x = x.transpose(0, 3, 1, 2)  # the weights expect channels first
    x = x.reshape(x.shape[0], -1) @ weight.T + bias
    return jax.nn.relu(x) if layer.relu else x


def _around(size: int, last: bool) -> tuple[int, ...]:
    """A square window within the four axes."""
    return (1, size, size, 1) if last else (1, 1, size, size)


def _turned(weight: np.ndarray, last: bool) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0) if last and weight.ndim == 4 else weight


def _turned_back(weight: np.ndarray, last: bool) -> np.ndarray:
    return weight.transpose(3, 2, 0, 1) if last and weight.ndim == 4 else weight


# --- Scalars ---


def quiz(x: Any, z: Any) -> Any:
    return jnp.exp(x * z) + x * z / jnp.log(x) + jnp.sin(jnp.log(x)) / jnp.exp(x * z)


def quiz_map(x: np.ndarray, z: np.ndarray) -> Contestant:
    """Value and both partials at every point: vmap under jit."""
    each = jax.jit(jax.vmap(jax.value_and_grad(quiz, argnums=(0, 1))))
    xs, zs = jnp.asarray(x), jnp.asarray(z)

    def call() -> Any:
        return jax.block_until_ready(each(xs, zs))

    def result() -> Arrays:
        y, (dx, dz) = call()
        return {"y": np.asarray(y), "dx": np.asarray(dx), "dz": np.asarray(dz)}

    return _contestant(f"{NAME} vmap", call, result)


def quiz_calls(x: float, z: float) -> list[Callable[[], Contestant]]:
    """One call from Python, of numbers and of arrays that JAX has already; not waited for."""
    once = jax.jit(jax.value_and_grad(quiz, argnums=(0, 1)))

    def make(name: str, a: Any, b: Any) -> Contestant:
        def result() -> Arrays:
            y, (dx, dz) = once(a, b)
            return {
                "value": np.asarray(y),
                "gradient 0": np.asarray(dx),
                "gradient 1": np.asarray(dz),
            }

        return _contestant(name, lambda: once(a, b), result)

    arrays = jnp.asarray(x), jnp.asarray(z)
    return [
        lambda: make(f"{NAME}, numbers", x, z),
        lambda: make(f"{NAME}, arrays", *arrays),
    ]


def _contestant(name: str, call: Callable[[], object], result: Callable[[], Arrays]) -> Contestant:
    return Contestant(name, jax.__version__, len(os.sched_getaffinity(0)), call, result)
