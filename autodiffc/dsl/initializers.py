"""How parameters and states start: numbers, arrays, and PyTorch's initializers by name.

An `Initializer` is data, so that it can be stored with a compiled model, and draws its values from
a NumPy generator that the runtime makes from the seed and the parameter's name. The distributions
are those of `torch.nn.init` with its default arguments; the random streams are NumPy's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, ArgumentTypeError, ShapeError
from autodiffc.graph.extents import ExtentLike, shape_text
from autodiffc.graph.location import here

NAMES = (
    "zeros",
    "ones",
    "eye",
    "dirac",
    "uniform",
    "normal",
    "trunc_normal",
    "orthogonal",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
)
_LEAST_RANK = {"eye": 2, "orthogonal": 2, "dirac": 3}  # those with "_" + distribution: 2


@dataclass(frozen=True, eq=False)
class Initializer:
    """One way to fill a tensor.

    `kind` is `value` (a number or an array) or one of `NAMES`; `uniform` may carry its `bound`
    (it then draws from [-bound, bound)), and `kaiming_uniform` the slope `a` of the leaky relu.
    """

    kind: str
    value: Any = None
    bound: float | None = None
    slope: float = 0.0

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Values of the given shape, in float64 (or in the array's own type)."""
        if self.kind == "value":
            return np.broadcast_to(np.asarray(self.value), shape).copy()
        if self.bound is not None:
            return rng.uniform(-self.bound, self.bound, shape)
        return _sample(self.kind, shape, rng, self.slope)

    def __str__(self) -> str:
        if self.kind == "value":
            return "array" if np.ndim(self.value) else repr(self.value)
        detail = f"±{self.bound:.6g}" if self.bound is not None else ""
        slope = f"a={self.slope:.6g}" if self.slope else ""
        return self.kind + (f"({detail}{slope})" if detail or slope else "")


ZEROS = Initializer("zeros")
LAYER_WEIGHT = Initializer("kaiming_uniform", slope=math.sqrt(5))  # PyTorch's Linear and Conv


def layer_bias(fan_in: int) -> Initializer:
    """What PyTorch's Linear and Conv layers draw their bias from: U(-1/√fan_in, 1/√fan_in)."""
    return Initializer("uniform", bound=1 / math.sqrt(fan_in) if fan_in else 0.0)


def as_initializer(init: object, shape: tuple[ExtentLike, ...]) -> Initializer:
    """What the user gave as `init=`, checked against the shape it is to fill."""
    if init is None:
        return LAYER_WEIGHT if len(shape) >= 2 else ZEROS
    if isinstance(init, Initializer):
        return init
    if isinstance(init, str):
        return _named(init, shape)
    if isinstance(init, bool | int | float | np.ndarray | np.generic | list | tuple):
        return _from_values(init, shape)
    raise ArgumentTypeError(
        "init is neither a number, an array nor the name of an initializer",
        found=f"{init!r} ({type(init).__name__})",
        expected="0.0, a NumPy array, or one of " + ", ".join(NAMES),
        loc=here(),
    )


def _named(init: str, shape: tuple[ExtentLike, ...]) -> Initializer:
    name = init.removesuffix("_")
    if name not in NAMES:
        raise ArgumentError(
            "unknown initializer",
            found=repr(init),
            expected="one of " + ", ".join(NAMES),
            loc=here(),
        )
    least = _LEAST_RANK.get(name, 2 if name.startswith(("xavier", "kaiming")) else 0)
    wrong = len(shape) < least or (name == "eye" and len(shape) > 2)
    if wrong or (name == "dirac" and len(shape) > 5):
        raise ShapeError(
            f"the initializer {name} does not fit this shape",
            found=shape_text(shape),
            expected={"eye": "2 axes", "dirac": "3 to 5 axes"}.get(name, "at least 2 axes"),
            loc=here(),
        )
    return Initializer(name)


def _from_values(init: Any, shape: tuple[ExtentLike, ...]) -> Initializer:
    value = np.array(init)
    if value.dtype.kind not in "bifu":
        raise ArgumentTypeError(
            "init holds elements that are not numbers", found=f"dtype {value.dtype}", loc=here()
        )
    if value.ndim and value.shape != shape:
        raise ShapeError(
            "the array given as init does not have the parameter's shape",
            found=shape_text(value.shape),
            expected=shape_text(shape),
            loc=here(),
        )
    value.setflags(write=False)
    return Initializer("value", value if value.ndim else value.item())


def _sample(
    kind: str, shape: tuple[int, ...], rng: np.random.Generator, slope: float
) -> np.ndarray:
    if kind in ("zeros", "ones"):
        return np.full(shape, float(kind == "ones"))
    if kind == "uniform":
        return rng.uniform(0.0, 1.0, shape)
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "trunc_normal":
        return _truncated_normal(shape, rng)
    if kind == "eye":
        return np.eye(shape[0], shape[1])
    if kind == "dirac":
        return _dirac(shape)
    if kind == "orthogonal":
        return _orthogonal(shape, rng)
    deviation = _deviation(kind, shape, slope)
    if kind.endswith("uniform"):
        bound = math.sqrt(3) * deviation
        return rng.uniform(-bound, bound, shape)
    return rng.standard_normal(shape) * deviation


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs feed an output and how many outputs an input feeds: (out, in, *kernel)."""
    receptive = math.prod(shape[2:])
    return shape[1] * receptive, shape[0] * receptive


def _deviation(kind: str, shape: tuple[int, ...], slope: float) -> float:
    """Glorot's and He's standard deviations."""
    fan_in, fan_out = fans(shape)
    if kind.startswith("xavier"):
        return math.sqrt(2 / max(fan_in + fan_out, 1))
    return math.sqrt(2 / (1 + slope**2)) / math.sqrt(max(fan_in, 1))


def _truncated_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A standard normal cut to [-2, 2]: values outside are drawn again."""
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values = np.where(outside, rng.standard_normal(shape), values)
    return values


def _dirac(shape: tuple[int, ...]) -> np.ndarray:
    """Convolution kernels that pass channel k through."""
    values = np.zeros(shape)
    centre = tuple(n // 2 for n in shape[2:])
    for k in range(min(shape[:2])):
        values[(k, k, *centre)] = 1.0
    return values


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Orthonormal rows or columns, whichever are fewer, of the tensor as a matrix."""
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return (q if rows >= columns else q.T).reshape(shape)
