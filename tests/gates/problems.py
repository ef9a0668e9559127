"""Sums of products of awkward sizes: where register tiles have ragged edges.

Every result is linear in each operand, and so are its gradients. So the reference evaluated on
absolute values gives Σ|terms| for each element, by which an error is to be judged: a single term
left out, taken twice or read beside its place exceeds any bound that is relative to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

import autodiffc as ad
from autodiffc.graph.expression import Expression, as_node
from autodiffc.reference import evaluate

AWKWARD = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 16, 17, 19, 23, 31, 32, 33, 47, 63, 65)
LARGEST = 400_000  # points of a sum, so that the reference stays fast
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """`make` turns operands of the given shapes into a result; its gradients come with it."""

    title: str
    shapes: tuple[Shape, ...]
    make: Callable[..., Expression]
    seed: int

    @cached_property
    def operands(self) -> list[Expression]:
        return [ad.input(f"x{k}", shape) for k, shape in enumerate(self.shapes)]

    @cached_property
    def result(self) -> Expression:
        return Expression(as_node(self.make(*self.operands)))

    @cached_property
    def model(self) -> ad.Model:
        weighted = ad.sum(self.result * self.weights)
        return ad.Model("sums", {"y": self.result, "loss": weighted}, "loss", wrt=self.names)

    @cached_property
    def weights(self) -> Expression:
        return ad.input("g", self.result.shape)

    @property
    def names(self) -> list[str]:
        return [f"x{k}" for k in range(len(self.shapes))]

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Operands that float32 holds exactly."""
        rng = np.random.default_rng(self.seed)
        shapes = {**dict(zip(self.names, self.shapes, strict=True)), "g": self.result.shape}
        return {n: rng.standard_normal(s, np.float32).astype(np.float64) for n, s in shapes.items()}

    def expected(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The result and its gradients, by the NumPy interpreter in float64."""
        loss = self.model.outputs["loss"]
        gradients = ad.grad(Expression(as_node(loss)), self.operands)
        nodes = {n: as_node(d) for n, d in zip(self.names, gradients, strict=True)}
        return evaluate({"y": as_node(self.result), **nodes}, arrays)

    @cached_property
    def reference(self) -> dict[str, np.ndarray]:
        return self.expected(self.arrays)

    @cached_property
    def magnitudes(self) -> dict[str, np.ndarray]:
        """Σ|terms| of every element."""
        return self.expected({n: np.abs(a) for n, a in self.arrays.items()})


# --- Matrix products ---


def matmul_forms() -> dict[str, Callable[[int, int, int], tuple[Sequence[Shape], Callable]]]:
    """Products of an m×k with a k×n matrix, each operand as it is or transposed."""
    t = ad.transpose
    return {
        "nn": lambda m, k, n: ([(m, k), (k, n)], lambda a, b: a @ b),
        "nt": lambda m, k, n: ([(m, k), (n, k)], lambda a, b: a @ t(b)),
        "tn": lambda m, k, n: ([(k, m), (k, n)], lambda a, b: t(a) @ b),
        "tt": lambda m, k, n: ([(k, m), (n, k)], lambda a, b: t(a) @ t(b)),
        "affine": lambda m, k, n: (
            [(m, k), (n, k), (n,), (m, n)],
            lambda a, b, c, d: a @ t(b) + c + d,
        ),
        "batched": lambda m, k, n: ([(3, m, k), (3, k, n)], lambda a, b: a @ b),
    }


def matmuls(count: int, rng: np.random.Generator) -> Iterator[Problem]:
    forms = matmul_forms()
    for number in range(count):
        form = list(forms)[number % len(forms)]
        while True:
            m, k, n = (int(e) for e in rng.choice(AWKWARD, 3))
            if m * k * n <= LARGEST:
                break
        shapes, make = forms[form](m, k, n)
        yield Problem(f"matmul_{form}_{m}x{k}x{n}_{number}", tuple(shapes), make, number)


# --- Convolutions ---


def convolutions(count: int, rng: np.random.Generator) -> Iterator[Problem]:
    for number in range(count):
        yield _convolution(number, 1 + number % 3, rng)


def _convolution(number: int, rank: int, rng: np.random.Generator) -> Problem:
    function = {1: ad.conv1d, 2: ad.conv2d, 3: ad.conv3d}[rank]
    while True:
        groups = int(rng.choice([1, 1, 1, 2, 3]))
        batch, channels, features = (int(e) for e in rng.choice([1, 2, 3, 5, 7, 9, 17], 3))
        kernel = tuple(int(e) for e in rng.integers(1, 6, rank))
        stride = tuple(int(e) for e in rng.integers(1, 4, rank))
        dilation = tuple(int(e) for e in rng.choice([1, 1, 2, 3], rank))
        padding = tuple(int(e) for e in rng.integers(0, 4, rank))
        extent = tuple(int(e) for e in rng.choice(AWKWARD[: 22 // rank], rank))
        channels, features = channels * groups, features * groups
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        free = [e + 2 * p - s for e, p, s in zip(extent, padding, spans, strict=True)]
        if min(free) < 0:
            continue
        outputs = np.prod([f // s + 1 for f, s in zip(free, stride, strict=True)])
        if outputs * batch * features * channels // groups * np.prod(kernel) <= LARGEST:
            break
    shapes = ((batch, channels, *extent), (features, channels // groups, *kernel), (features,))

    def make(x: Expression, w: Expression, b: Expression) -> Expression:
        return function(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)

    words = f"s{stride}p{padding}d{dilation}g{groups}".replace(" ", "")
    return Problem(f"conv{rank}d_{shapes[0]}*{shapes[1]}_{words}_{number}", shapes, make, number)


# --- Reductions ---


def reductions(count: int, rng: np.random.Generator) -> Iterator[Problem]:
    for number in range(count):
        rank = 1 + number % 3
        shape = tuple(int(e) for e in rng.choice(AWKWARD, rank))
        axes = tuple(k for k in range(rank) if rng.random() < 0.6) or (int(rng.integers(rank)),)
        scale = tuple(e for e, keep in zip(shape, rng.random(rank) < 0.7, strict=True) if keep)
        kept = [k for k in range(rank) if k >= rank - len(scale)]
        broadcast = tuple(shape[k] for k in kept)

        def make(x: Expression, y: Expression, axes: Shape = axes) -> Expression:
            return ad.sum(x * y, axis=axes)

        title = f"sum_{shape}*{broadcast}_over{axes}_{number}".replace(" ", "")
        yield Problem(title, (shape, broadcast), make, number)


LONG = (1_000_003, 262_144, 99_991)


def long_reductions() -> Iterator[Problem]:
    """Dot products, sums of rows and of columns with many terms."""
    for k, n in enumerate(LONG):
        yield Problem(f"dot_{n}", ((n,), (n,)), lambda x, y: ad.sum(x * y), k)
    yield Problem("columns", ((100_003, 3), (3,)), lambda x, y: ad.sum(x * y, axis=0), 7)
    yield Problem("rows", ((3, 100_003), (100_003,)), lambda x, y: ad.sum(x * y, axis=1), 8)
    yield Problem("deep", ((5, 50_021), (50_021, 7)), lambda x, y: x @ y, 9)


def unread_tails() -> Iterator[Problem]:
    """Strided windows that leave elements unread: their gradient is zero, and nothing writes it."""
    for number, (length, kernel, stride) in enumerate([(3, 2, 2), (5, 3, 3), (33, 4, 8)]):

        def make(x: Expression, w: Expression, stride: int = stride) -> Expression:
            return ad.conv1d(x, w, stride=stride)

        title = f"tail_{length}_{kernel}_{stride}"
        yield Problem(title, ((1, 1, length), (1, 1, kernel)), make, number)
