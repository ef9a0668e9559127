"""One operation, one stanza: the decorator that public operations are declared with.

    @operation(reference=np.cumsum, samples=[sample(tensor(2, 3), axis=1)])
    def cumsum(x, axis): ...

A stanza holds the formula (the function), an independent NumPy reference that takes arrays and the
same keywords, and sample arguments with the edge cases. Tests, the documentation's table, gradient
checks and checks of the compiled C all iterate over `OPERATIONS`, so an operation declared here is
an operation tested. Nodes made inside carry the operation's name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np

from autodiffc.graph.construct import labelled
from autodiffc.graph.expression import Expression
from autodiffc.graph.node import Origin

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Tensor:
    """Stands in a sample for an array of this shape, drawn between `low` and `high`."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    dtype: str = "real"

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Values for it; `real` is drawn in double precision."""
        if self.dtype == "bool":
            return rng.integers(0, 2, self.shape).astype(bool)
        if self.dtype in ("uint8", "int32", "int64"):
            return rng.integers(int(self.low), int(self.high), self.shape).astype(self.dtype)
        dtype = "float64" if self.dtype == "real" else self.dtype
        return rng.uniform(self.low, self.high, self.shape).astype(dtype)


@dataclass(frozen=True)
class Sample:
    """Arguments of one call; a `Tensor` among them, also within a list, stands for an array."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def map(self, change: Callable[[Tensor], Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with every `Tensor` replaced, in order of appearance."""
        args = [_map(a, change) for a in self.args]
        return args, {key: _map(value, change) for key, value in self.kwargs.items()}

    def __str__(self) -> str:
        parts = [_text(a) for a in self.args]
        return ", ".join(parts + [f"{k}={_text(v)}" for k, v in self.kwargs.items()])


@dataclass(frozen=True)
class Operation:
    """A public operation with everything that tests and documentation need."""

    name: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    samples: tuple[Sample, ...]
    differentiable: bool
    taught: Callable[..., Any] | None = None

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.function) or ""

    @property
    def signature(self) -> str:
        """As documentation shows it: `sum(x, axis=None, keepdims=False)`."""
        parameters = inspect.signature(self.function).parameters.values()
        bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
        return f"{self.name}{inspect.Signature(bare)}"


OPERATIONS: dict[str, Operation] = {}


def operation(
    *,
    reference: Callable[..., Any],
    samples: Sequence[Sample],
    name: str | None = None,
    differentiable: bool = True,
    taught: Callable[..., Any] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declares a public operation; `name` where it differs from the function's.

    `differentiable=False` says that the result is discrete: its gradient is zero by definition.
    `taught` makes the same value as a lecture writes it, for `explain`, from the same arguments:
    without the guards that floating point needs (see `ops/taught.py`).
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        title = name or function.__name__

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            origin = Origin(title, args, kwargs)
            with labelled(origin):
                returned = function(*args, **kwargs)
            if isinstance(returned, Expression):
                origin.result = returned.node.serial
            return returned

        if title in OPERATIONS:
            raise ValueError(f"operation {title} is declared twice")
        OPERATIONS[title] = Operation(
            title, call, reference, tuple(samples), differentiable, taught
        )
        return call

    return declare


def tensor(*shape: int, low: float = -2.0, high: float = 2.0, dtype: str = "real") -> Tensor:
    """A tensor of a sample: `tensor(2, 3, low=0.1)`."""
    return Tensor(shape, low, high, dtype)


def integers(*shape: int, low: int = -5, high: int = 6, dtype: str = "int32") -> Tensor:
    """An integer tensor of a sample, `high` exclusive."""
    return Tensor(shape, low, high, dtype)


def sample(*args: Any, **kwargs: Any) -> Sample:
    """The arguments of one sample call."""
    return Sample(args, kwargs)


def _map(value: Any, change: Callable[[Tensor], Any]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_map(v, change) for v in value)
    return value


def _text(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype}{list(value.shape)}"
    return repr(_map(value, lambda t: f"{t.dtype}{list(t.shape)}"))
