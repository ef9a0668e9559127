"""autodiffc itself, through bound calls: arrays checked once, then C."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import autodiffc as ad
from benchmarks.harness import OURS, Arrays, Contestant


def contestant(
    call: Callable[[], object], result: Callable[[], Arrays], threads: int
) -> Contestant:
    return Contestant(OURS, ad.__version__, threads, call, result)


def step(compiled: Any, inputs: Mapping[str, np.ndarray], threads: int) -> Contestant:
    """Loss, gradients and update, as one call."""
    call = compiled.bind("step", **inputs)

    def result() -> Arrays:
        call()
        return {"loss": np.array(call.out["loss"])} | {
            f"parameter {k}": np.array(p) for k, p in enumerate(compiled.params.values())
        }

    return contestant(call, result, threads)


def value_and_grad(compiled: Any, inputs: Mapping[str, np.ndarray], threads: int) -> Contestant:
    """A value and its gradients, in the order of `wrt`."""
    call = compiled.bind("value_and_grad", **inputs)

    def result() -> Arrays:
        call()
        (value,) = call.out.values()
        grads = {f"gradient {k}": np.array(g) for k, g in enumerate(call.grads.values())}
        return {"value": np.array(value)} | grads

    return contestant(call, result, threads)


def predict(compiled: Any, inputs: Mapping[str, np.ndarray], threads: int) -> Contestant:
    """All outputs."""
    call = compiled.bind("predict", **inputs)

    def result() -> Arrays:
        call()
        return {name: np.array(a) for name, a in call.out.items()}

    return contestant(call, result, threads)
