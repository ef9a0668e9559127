"""Gradients against finite differences.

The model is called at random inputs; a few entries of each tensor are moved by ±h, and the change
of the scalar is compared with the gradient. A model that differentiates several outputs at once (no
`differentiate`) is checked through a random combination of them.

The error of an entry is |difference quotient − gradient| over the size of the tensor's gradient.
That a relu or a maximum switches within ±h is not an error of the gradient, so several h are tried
and the best counts: a wrong gradient is wrong for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc.errors import ArgumentError, ArgumentTypeError, GradientCheckError
from autodiffc.runtime.compiled import Compiled
from autodiffc.runtime.signature import Tensor

Array = NDArray[Any]

STEPS = (1e-5, 1e-6, 1e-7)  # relative to the entry, or absolute for entries below 1
SINGLE_STEPS = (1e-2, 1e-3, 3e-4)  # for inputs declared float32: what computes with them rounds
SINGLE_TOLERANCE = 1e-2  # to 6e-8, which a smaller step would blow up
ENTRIES = 8  # checked of each tensor, among those that are not zero and among those that are
LEAST_SHARE = 1e-3  # a tensor's gradient counts at least as this share of the largest gradient,
LEAST_SLOPE = 1e-5  # and as this multiple of the scalar itself: rounding hides what is smaller
JITTER = 0.01  # moves parameters that start constant off the places where kinks and ties sit


def check_gradients(compiled: Compiled, *, tolerance: float = 1e-5, seed: int = 0) -> float:
    """The worst error; more than `tolerance` is a GradientCheckError naming tensor and entry.

    `compiled` should be built in float64; its parameters and states are initialized anew. Gradients
    of inputs that the model declares float32 are compared to two digits, as float32 allows.
    """
    _check_tolerance(tolerance)
    rng = np.random.default_rng(seed)
    compiled._need("backward")
    compiled.init(seed)
    for view in compiled.params.values():
        _leave_constants(view, rng)
    return _Check(compiled, rng).worst(tolerance)


class _Check:
    """One model at one point."""

    def __init__(self, compiled: Compiled, rng: np.random.Generator) -> None:
        self.compiled = compiled
        self.rng = rng
        signature = compiled._program.signature
        dims = {name: dim.low for name, dim in signature.open_dims.items()}
        self.inputs = {
            name: random_input(tensor, tensor.shape_for(dims), rng)
            for name, tensor in signature.inputs.items()
        }
        self.states = compiled.state_buffer.copy()
        outputs = self.forward()
        self.cotangents = self._cotangents(outputs)
        self.value = abs(self.scalar(outputs))
        grads = compiled.backward(**self.cotangents)
        self.grads = {name: np.array(grad) for name, grad in grads.items()}
        self.largest = max((_size(grad) for grad in self.grads.values()), default=0.0)

    def worst(self, tolerance: float) -> float:
        worst = 0.0
        for name, grad in self.grads.items():
            allowed = max(tolerance, SINGLE_TOLERANCE) if self._is_single(name) else tolerance
            for index in entries_to_check(grad, self.rng):
                error, quotient = self._error(name, index)
                worst = max(worst, error)
                if not error <= allowed:  # also for NaN
                    raise _mismatch(name, index, grad[index], quotient, error, allowed)
        return worst

    def forward(self) -> Mapping[str, Any]:
        """At the states of the start: a forward in training mode may change them."""
        self.compiled.state_buffer[...] = self.states
        return self.compiled.forward(**self.inputs)

    def scalar(self, outputs: Mapping[str, Any]) -> float:
        """What is differentiated."""
        differentiate = self.compiled._program.signature.differentiate
        if differentiate is not None:
            return float(outputs[differentiate])
        return float(sum(np.sum(c * outputs[name]) for name, c in self.cotangents.items()))

    def _cotangents(self, outputs: Mapping[str, Any]) -> dict[str, Array]:
        signature = self.compiled._program.signature
        if signature.differentiate is not None:
            return {}
        return {
            name: np.asarray(self.rng.standard_normal(np.shape(outputs[name])), signature.dtype)
            for name in signature.cotangents
        }

    def _is_single(self, name: str) -> bool:
        """Whether a build in float64 keeps a tensor in float32."""
        double = self.compiled._program.signature.dtype == np.float64
        return bool(double and self.grads[name].dtype == np.float32)

    def _error(self, name: str, index: tuple[int, ...]) -> tuple[float, float]:
        """The error of one entry, and the difference quotient that comes closest."""
        grad = self.grads[name]
        least = max(LEAST_SHARE * self.largest, LEAST_SLOPE * self.value, np.finfo(float).tiny)
        scale = max(_size(grad), least)
        steps = SINGLE_STEPS if self._is_single(name) else STEPS
        quotients = [self._quotient(name, index, step) for step in steps]
        errors = [abs(q - float(grad[index])) / scale for q in quotients]
        best = min(
            range(len(steps)), key=lambda k: math.inf if math.isnan(errors[k]) else errors[k]
        )
        return errors[best], quotients[best]

    def _quotient(self, name: str, index: tuple[int, ...], step: float) -> float:
        """The central difference quotient along one entry."""
        tensor = self.inputs[name] if name in self.inputs else self.compiled.params[name]
        start = float(tensor[index])
        width = step * max(1.0, abs(start))
        values, places = [], []
        for sign in (1, -1):
            tensor[index] = start + sign * width
            places.append(float(tensor[index]))
            values.append(self.scalar(self.forward()))
        tensor[index] = start
        return (values[0] - values[1]) / (places[0] - places[1])


def entries_to_check(grad: Array, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Up to ENTRIES places where a gradient is not zero, and as many where it is, in order.

    A gradient may be zero almost everywhere, as that of an embedding's table; a few places drawn
    from all of them would then show nothing but zeros.
    """
    zero = grad.ravel() == 0
    places: list[int] = []
    for group in (np.flatnonzero(~zero), np.flatnonzero(zero)):
        places += rng.choice(group, size=min(ENTRIES, group.size), replace=False).tolist()
    for flat in sorted(places):
        yield tuple(int(k) for k in np.unravel_index(flat, grad.shape))


def random_input(tensor: Tensor, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """An array that the input takes, within its range; standard normal where it has none."""
    low, high = tensor.low, tensor.high
    if tensor.dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape), bool)
    if tensor.dtype.kind in "iu":
        least = 0 if low is None and (high is None or high > 0) else low
        least = int(high) - 2 if least is None and high is not None else int(least or 0)
        return np.asarray(
            rng.integers(least, least + 2 if high is None else int(high), shape), tensor.dtype
        )
    if low is None and high is None:
        return np.asarray(rng.standard_normal(shape), tensor.dtype)
    least_float = float(high) - 1 if low is None and high is not None else float(low or 0)
    return np.asarray(
        rng.uniform(least_float, least_float + 1 if high is None else high, shape), tensor.dtype
    )


def _leave_constants(view: Array, rng: np.random.Generator) -> None:
    if view.size and (view == view.flat[0]).all():
        view += JITTER * max(1.0, abs(float(view.flat[0]))) * rng.standard_normal(view.shape)


def _size(grad: Array) -> float:
    return float(np.abs(grad).max()) if grad.size else 0.0


def _check_tolerance(tolerance: object) -> None:
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
        raise ArgumentTypeError("tolerance must be a number", found=repr(tolerance))
    if not tolerance > 0:
        raise ArgumentError("tolerance must be positive", found=tolerance)


def _mismatch(
    name: str, index: tuple[int, ...], grad: Any, quotient: float, error: float, tolerance: float
) -> GradientCheckError:
    where = f"[{', '.join(map(str, index))}]" if index else ""
    return GradientCheckError(
        f"the gradient of {name}{where} differs from finite differences",
        found=f"{float(grad)!r}",
        expected=f"{quotient!r} (relative error {error:.3g}, tolerance {tolerance:.3g})",
    )
