"""Activations: named combinations of elementwise operations, with PyTorch's names and defaults.

Each is written so that its derivative is right as well: what an unchosen branch of a `where`
computes must stay finite, or its zero gradient would meet an infinity and become NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autodiffc.errors import ShapeError
from autodiffc.graph.construct import reshape
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.extents import shape_text
from autodiffc.graph.location import here
from autodiffc.ops.apply import apply, choice, operand
from autodiffc.ops.elementwise import erf, expm1, limited, tanh, where
from autodiffc.ops.registry import operation, sample, tensor

_X = tensor(3, 4, low=-4.0, high=4.0)


@operation(
    reference=lambda x, negative_slope=0.01: np.maximum(x, 0) + negative_slope * np.minimum(x, 0),
    samples=[sample(_X), sample(_X, negative_slope=0.2)],
)
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Expression:
    """x where positive, else negative_slope*x."""
    t = operand(x)
    return where(t > 0, t, negative_slope * t)


@operation(
    reference=lambda x, alpha=1.0: np.where(x > 0, x, alpha * (np.exp(x) - 1)),
    samples=[sample(_X), sample(_X, alpha=0.5)],
)
def elu(x: Any, alpha: float = 1.0) -> Expression:
    """x where positive, else alpha*(exp(x) - 1)."""
    t = operand(x)
    return where(t > 0, t, alpha * expm1(where(t > 0, 0.0, t)))


@operation(
    reference=lambda x, alpha=1.0: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)),
    samples=[sample(_X), sample(_X, alpha=0.5), sample(_X, alpha=-2.0)],
)
def celu(x: Any, alpha: float = 1.0) -> Expression:
    """x where positive, else alpha*(exp(x/alpha) - 1)."""
    t = operand(x)
    return where(t > 0, t, alpha * expm1(where(t > 0, 0.0, t) / alpha))


def _prelu(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    slopes = weight if x.ndim < 2 else weight.reshape(-1, *[1] * (x.ndim - 2))
    return np.where(x > 0, x, slopes * x)


@operation(
    reference=_prelu,
    samples=[
        sample(tensor(2, 3, 2), tensor(3)),
        sample(tensor(2, 3), tensor(1)),
        sample(tensor(2, 3), tensor()),
        sample(tensor(4), tensor(1)),
    ],
)
def prelu(x: Any, weight: Any) -> Expression:
    """x where positive, else weight*x; one weight, or one for each channel (axis 1)."""
    t, w = operand(x), Expression(as_node(weight, "weight"))
    channels = t.shape[1] if t.ndim > 1 else 1
    if w.ndim > 1 or (w.ndim == 1 and w.shape[0] not in (1, channels)):
        raise ShapeError(
            "the weight of prelu does not fit",
            found=f"weight {shape_text(w.shape)}, x {shape_text(t.shape)}",
            expected=f"one number, or {channels}, one for each channel",
            loc=here(),
        )
    if w.ndim == 1 and t.ndim > 1:
        w = Expression(reshape(w.node, (*w.shape, *[1] * (t.ndim - 2))))
    return where(t > 0, t, w * t)


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@operation(
    reference=lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    samples=[sample(_X)],
)
def selu(x: Any) -> Expression:
    """The self-normalizing exponential unit."""
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


def _gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)), otypes=[float])(x)


@operation(reference=_gelu, samples=[sample(_X), sample(_X, approximate="tanh")])
def gelu(x: Any, approximate: str = "none") -> Expression:
    """x times the normal distribution's share below x; "tanh" is the usual approximation."""
    t = operand(x)
    if choice(approximate, ("none", "tanh"), "approximate") == "none":
        return 0.5 * t * (1.0 + erf(t * math.sqrt(0.5)))
    inner = math.sqrt(2.0 / math.pi) * (t + 0.044715 * (t * t * t))
    return 0.5 * t * (1.0 + tanh(inner))


@operation(reference=lambda x: x / (1 + np.exp(-x)), samples=[sample(_X)])
def silu(x: Any) -> Expression:
    """x*sigmoid(x), also called swish."""
    return apply("silu", operand(x))


@operation(reference=lambda x: x * np.tanh(np.log(1 + np.exp(x))), samples=[sample(_X)])
def mish(x: Any) -> Expression:
    """x*tanh(softplus(x))."""
    t = operand(x)
    return t * tanh(softplus(t))


@operation(
    reference=lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val),
    samples=[sample(_X), sample(_X, min_val=-0.5, max_val=2.0)],
)
def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Expression:
    """x limited to [min_val, max_val]; flat at the limits."""
    return limited(limited(operand(x), min_val, "le", "gt"), max_val, "ge", "lt")


@operation(reference=lambda x: np.clip(x, 0, 6), samples=[sample(3.0 * np.arange(-3.0, 4.0))])
def relu6(x: Any) -> Expression:
    """x limited to [0, 6]; flat at the limits."""
    return hardtanh(x, 0.0, 6.0)


@operation(reference=lambda x: np.clip(x / 6 + 0.5, 0, 1), samples=[sample(_X)])
def hardsigmoid(x: Any) -> Expression:
    """x/6 + 1/2 limited to [0, 1]; flat at the limits."""
    return hardtanh(operand(x) / 6.0 + 0.5, 0.0, 1.0)


@operation(reference=lambda x: x * np.clip(x / 6 + 0.5, 0, 1), samples=[sample(_X)])
def hardswish(x: Any) -> Expression:
    """x*hardsigmoid(x): 0 up to -3, x from 3 on."""
    t = operand(x)
    inner = t * (t + 3.0) / 6.0
    return where(t <= -3.0, 0.0, where(t >= 3.0, t, inner))


@operation(reference=lambda x: x / (1 + np.abs(x)), samples=[sample(_X)])
def softsign(x: Any) -> Expression:
    """x/(1 + |x|)."""
    t = operand(x)
    return t / (1.0 + apply("abs", t))


@operation(
    reference=lambda x, beta=1.0, threshold=20.0: np.where(
        beta * x > threshold, x, np.logaddexp(0, beta * x) / beta
    ),
    samples=[sample(_X), sample(_X, beta=2.0, threshold=3.0)],
)
def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Expression:
    """log(1 + exp(beta*x))/beta, and x itself where beta*x exceeds the threshold."""
    t = operand(x)
    scaled = t if beta == 1 else beta * t
    soft = apply("softplus", scaled)
    return where(scaled > threshold, t, soft if beta == 1 else soft / beta)


@operation(reference=lambda x: -np.log(1 + np.exp(-x)), samples=[sample(_X)])
def logsigmoid(x: Any) -> Expression:
    """log(sigmoid(x)), without overflow."""
    return -apply("softplus", -operand(x))
