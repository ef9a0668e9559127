"""The registry's samples as small models: shared by gradient checks and checks of compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import autodiffc as ad
from autodiffc.differentiate.dependence import reached
from autodiffc.graph.construct import leaf
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.types import is_float
from autodiffc.ops.registry import OPERATIONS, Operation, Sample, Tensor


@dataclass
class Sampled:
    """One call of an operation: leaves, their arrays, the results, and a weighted sum of these.

    `loss` is None where no result is floating. Weights are constants of random sign, so that no
    derivative cancels by symmetry.
    """

    title: str
    operation: Operation
    arrays: dict[str, np.ndarray]
    leaves: dict[str, Expression]
    results: list[Expression]
    expected: list[np.ndarray]
    loss: Expression | None

    @property
    def floating(self) -> list[str]:
        """The leaves that the loss can be differentiated by."""
        met = set() if self.loss is None else reached([self.loss.node])
        return [
            name
            for name, x in self.leaves.items()
            if x.node in met and is_float(x.dtype) and x.node.type.size != 0
        ]


def all_samples() -> Iterator[Sampled]:
    """Every sample of every operation, drawn with a seed of its own."""
    for operation in OPERATIONS.values():
        for k, sample in enumerate(operation.samples):
            yield draw(operation, sample, f"{operation.name}_{k}", seed=k)


def draw(operation: Operation, sample: Sample, title: str, seed: int) -> Sampled:
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    leaves: dict[str, Expression] = {}

    def numeric(spec: Tensor) -> np.ndarray:
        arrays[f"{title}_x{len(arrays)}"] = array = spec.draw(rng)
        return array

    def symbolic(spec: Tensor) -> Expression:
        name = f"{title}_x{len(leaves)}"
        leaves[name] = x = Expression(
            leaf("input", name, spec.shape, spec.dtype, low=None, high=None)
        )
        return x

    args, kwargs = sample.map(numeric)
    with np.errstate(all="ignore"):
        expected = _listed(operation.reference(*args, **kwargs))
    symbols, keywords = sample.map(symbolic)
    results = [Expression(as_node(r)) for r in _listed(operation.function(*symbols, **keywords))]
    loss = _weighted([r for r in results if is_float(r.dtype)], rng)
    return Sampled(
        title, operation, arrays, leaves, results, [np.asarray(e) for e in expected], loss
    )


def _weighted(results: list[Expression], rng: np.random.Generator) -> Expression | None:
    total: Expression | None = None
    for result in results:
        weights = ad.constant(
            rng.uniform(0.5, 1.5, result.shape) * rng.choice([-1, 1], result.shape)
        )
        term = ad.sum(result * weights)
        total = term if total is None else total + term
    return total


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
