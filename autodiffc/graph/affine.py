"""Integer-affine maps of loop indices: the one kind of address that formulas use.

An `Affine` belongs to a loop domain and is dense: one coefficient for each of the domain's indices,
plus a constant that may be an extent (`x[H - 1 - i]`). Composition of affine maps is affine, which
is why derivatives, fusion and gathering stay within the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autodiffc.graph.extents import ExtentLike


@dataclass(frozen=True)
class Affine:
    """`sum(coefficients[k] * index[k]) + constant`."""

    coefficients: tuple[int, ...]
    constant: ExtentLike = 0

    def __add__(self, other: Affine | ExtentLike) -> Affine:
        if not isinstance(other, Affine):
            return Affine(self.coefficients, self.constant + other)
        pairs = zip(self.coefficients, other.coefficients, strict=True)
        return Affine(tuple(a + b for a, b in pairs), self.constant + other.constant)

    def __mul__(self, factor: int) -> Affine:
        return Affine(tuple(a * factor for a in self.coefficients), self.constant * factor)

    def __neg__(self) -> Affine:
        return self * -1

    def __sub__(self, other: Affine | ExtentLike) -> Affine:
        return self + (-other)

    @property
    def is_constant(self) -> bool:
        return not any(self.coefficients)

    @property
    def uses(self) -> tuple[int, ...]:
        """The positions of the indices that take part."""
        return tuple(k for k, c in enumerate(self.coefficients) if c)

    @property
    def plain_index(self) -> int | None:
        """The position of the index where the map is that index and nothing else."""
        used = self.uses
        if len(used) == 1 and self.coefficients[used[0]] == 1 and self.constant == 0:
            return used[0]
        return None

    def compose(self, inner: Sequence[Affine], rank: int) -> Affine:
        """Replaces index k by `inner[k]`, maps of a domain of `rank` indices."""
        result = Affine((0,) * rank, self.constant)
        for coefficient, row in zip(self.coefficients, inner, strict=True):
            if coefficient:
                result = result + row * coefficient
        return result

    def bounds(self, extents: Sequence[ExtentLike]) -> tuple[ExtentLike, ExtentLike]:
        """The least and the greatest value over `0 <= index[k] < extents[k]`."""
        low = high = self.constant
        for coefficient, extent in zip(self.coefficients, extents, strict=True):
            if coefficient > 0:
                high = high + (extent - 1) * coefficient
            elif coefficient < 0:
                low = low + (extent - 1) * coefficient
        return low, high

    def text(self, names: Sequence[str]) -> str:
        """As a reader writes it: `2*i + p - 1`."""
        out = ""
        for coefficient, name in zip(self.coefficients, names, strict=True):
            if coefficient:
                size = "" if abs(coefficient) == 1 else f"{abs(coefficient)}*"
                sign = (" - " if coefficient < 0 else " + ") if out else "-" * (coefficient < 0)
                out += f"{sign}{size}{name}"
        if self.constant != 0 or not out:
            negative = isinstance(self.constant, int) and self.constant < 0
            value = -self.constant if negative else self.constant
            sign = (" - " if negative else " + ") if out else "-" * negative
            out += f"{sign}{value}"
        return out


def constant(rank: int, value: ExtentLike) -> Affine:
    """The map that is `value` everywhere in a domain of `rank` indices."""
    return Affine((0,) * rank, value)


def index(rank: int, position: int) -> Affine:
    """The map that is the index at `position`."""
    return Affine(tuple(int(k == position) for k in range(rank)))


def identity(rank: int) -> tuple[Affine, ...]:
    """The rows `(i0, i1, ...)`."""
    return tuple(index(rank, k) for k in range(rank))
