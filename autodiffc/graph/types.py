"""Element types and tensor types.

`real` is the build's floating type: a model says `real`, a build decides float32 or float64, and
the pass `specialize` replaces it. Promotion follows PyTorch's order of kinds (bool, integers,
floats); a Python number takes part as a *weak* scalar that never widens a tensor of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass

from autodiffc.graph.extents import ExtentLike, product, shape_text

DTYPES = ("bool", "uint8", "int32", "int64", "float32", "real", "float64")
FLOATS = ("float32", "real", "float64")
INTEGERS = ("uint8", "int32", "int64")

_ORDER = {name: rank for rank, name in enumerate(DTYPES)}


def is_float(dtype: str) -> bool:
    return dtype in FLOATS


def is_integer(dtype: str) -> bool:
    return dtype in INTEGERS


def promote(*dtypes: str) -> str:
    """The common type of tensors of these types."""
    return max(dtypes, key=_ORDER.__getitem__)


def kind(dtype: str) -> int:
    """0 for bool, 1 for integers, 2 for floats: the rank of a weak scalar's kind."""
    return 0 if dtype == "bool" else 1 if is_integer(dtype) else 2


def promote_weak(dtype: str, scalar: bool | int | float) -> str:
    """The common type of a tensor and a Python number."""
    scalar_kind = 0 if isinstance(scalar, bool) else 1 if isinstance(scalar, int) else 2
    if scalar_kind <= kind(dtype):
        return dtype
    return ("bool", "int64", "real")[scalar_kind]


@dataclass(frozen=True)
class TensorType:
    """The shape and the element type of a tensor; `()` is a scalar's shape."""

    shape: tuple[ExtentLike, ...]
    dtype: str

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> ExtentLike:
        return product(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}{shape_text(self.shape)}"
