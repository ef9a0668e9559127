"""Extents: how long an axis is, as an integer or as a polynomial in named dims.

An extent is a plain `int` wherever it is known. Otherwise it is an `Extent`: a sum of integer
multiples of products of *atoms*, an atom being a named `Dim` or a floor division by an integer
(a strided window over a named dim gives one). Models may say anything of that; by the time code
is generated every dim that stays open must stand in the form `integer * dim + integer`.

Canonical form makes equality structural: `2*batch + batch == 3*batch`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from autodiffc.errors import ShapeError


@dataclass(frozen=True, order=True)
class Dim:
    """A named extent with the value it takes when nobody fixes it."""

    name: str
    default: int


@dataclass(frozen=True)
class FloorDiv:
    """`numerator // divisor`, with a divisor of at least 2."""

    numerator: Extent
    divisor: int


Atom = Dim | FloorDiv
Monomial = tuple[Atom, ...]  # a product of atoms, sorted by text; () is 1
ExtentLike = Union[int, "Extent"]


@dataclass(frozen=True)
class Extent:
    """A canonical polynomial: `((monomial, coefficient), ...)` sorted, without zeros."""

    terms: tuple[tuple[Monomial, int], ...]

    if TYPE_CHECKING:  # `_add_value_operators` below makes them

        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __rpow__(self, other: Any) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __le__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __ge__(self, other: Any) -> Any: ...

    __array_ufunc__ = None  # NumPy leaves `array * extent` to us

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, int | Integral | Extent):
            return _as_value("add", self, other)
        return _collect([*self.terms, *_terms(other)])

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, int | Integral | Extent):
            return _as_value("mul", self, other)
        return _collect([(_product(m, n), a * b) for m, a in self.terms for n, b in _terms(other)])

    def __neg__(self) -> ExtentLike:
        return _collect([(m, -c) for m, c in self.terms])

    def __sub__(self, other: Any) -> Any:
        if not isinstance(other, int | Integral | Extent):
            return _as_value("sub", self, other)
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        if not isinstance(other, int | Integral):
            return _as_value("sub", other, self)
        return (-self) + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __pow__(self, exponent: Any) -> Any:
        if not isinstance(exponent, int) or exponent < 0:
            return _as_value("pow", self, exponent)
        power: ExtentLike = 1
        for _ in range(exponent):
            power = power * self
        return power

    def __mod__(self, divisor: Any) -> Any:
        if not isinstance(divisor, int) or divisor < 1:
            return _as_value("mod", self, divisor)
        return self + (self // divisor) * -divisor

    def __floordiv__(self, divisor: int) -> ExtentLike:
        if not isinstance(divisor, int) or divisor < 1:
            raise ShapeError(
                "an extent can only be divided by a positive integer", found=f"// {divisor}"
            )
        if divisor == 1:
            return self
        # (divisor*q + r) // divisor = q + r // divisor, term by term
        whole = _collect([(m, c // divisor) for m, c in self.terms])
        rest = _collect([(m, c % divisor) for m, c in self.terms])
        quotient = Extent((((FloorDiv(rest, divisor),), 1),)) if isinstance(rest, Extent) else 0
        total: ExtentLike = whole + quotient
        return total

    def dims(self) -> frozenset[Dim]:
        """Every named dim that the extent mentions."""
        found: set[Dim] = set()
        for monomial, _ in self.terms:
            for atom in monomial:
                found |= {atom} if isinstance(atom, Dim) else atom.numerator.dims()
        return frozenset(found)

    def linear(self) -> tuple[int, Dim, int] | None:
        """`(coefficient, dim, constant)` where the extent is that simple, else None."""
        constant, rest = 0, []
        for monomial, coefficient in self.terms:
            if monomial == ():
                constant = coefficient
            else:
                rest.append((monomial, coefficient))
        if len(rest) == 1 and len(rest[0][0]) == 1 and isinstance(rest[0][0][0], Dim):
            return rest[0][1], rest[0][0][0], constant
        return None

    def __str__(self) -> str:
        text = " + ".join(_term_text(m, c) for m, c in self.terms)
        return text.replace("+ -", "- ")

    __repr__ = __str__


def _as_value(operator: str, a: Any, b: Any) -> Any:
    """`a operator b` where it is no extent: the extent stands for a scalar, as in `loss / batch`.

    Index and tensor expressions take extents as operands themselves.
    """
    from autodiffc.graph.expression import OPERATORS  # which imports this file

    numbers = int | float | Extent | np.ndarray | np.generic
    if not (isinstance(a, numbers) and isinstance(b, numbers)) or operator not in OPERATORS:
        return NotImplemented
    return OPERATORS[operator](a, b)


def _add_value_operators() -> None:
    """Operators whose result is never an extent."""

    def forward(operator: str) -> Callable[[Extent, Any], Any]:
        return lambda self, other: _as_value(operator, self, other)

    def reflected(operator: str) -> Callable[[Extent, Any], Any]:
        return lambda self, other: _as_value(operator, other, self)

    comparisons = [(name, name) for name in ("lt", "le", "gt", "ge")]
    for python, operator in (("truediv", "div"), *comparisons):
        setattr(Extent, f"__{python}__", forward(operator))
    for python, operator in (
        ("truediv", "div"),
        ("floordiv", "floordiv"),
        ("mod", "mod"),
        ("pow", "pow"),
    ):
        setattr(Extent, f"__r{python}__", reflected(operator))


_add_value_operators()


def dim(name: str, default: int) -> Extent:
    """The extent that is the named dim itself."""
    return Extent((((Dim(name, default),), 1),))


def substitute(extent: ExtentLike, values: Mapping[str, int]) -> ExtentLike:
    """Replaces named dims by integers; dims not in `values` stay."""
    if isinstance(extent, int):
        return extent
    total: ExtentLike = 0
    for monomial, coefficient in extent.terms:
        term: ExtentLike = coefficient
        for atom in monomial:
            term = term * _substitute_atom(atom, values)
        total = total + term
    return total


def defaults(extent: ExtentLike) -> int:
    """The extent's value when every dim takes its default."""
    if isinstance(extent, int):
        return extent
    value = substitute(extent, {d.name: d.default for d in extent.dims()})
    assert isinstance(value, int)
    return value


def dims_of(extents: tuple[ExtentLike, ...]) -> frozenset[Dim]:
    """The named dims in a shape."""
    return frozenset(d for e in extents if isinstance(e, Extent) for d in e.dims())


def product(extents: tuple[ExtentLike, ...]) -> ExtentLike:
    """The number of elements of a shape."""
    total: ExtentLike = 1
    for extent in extents:
        total = total * extent
    return total


def difference(a: ExtentLike, b: ExtentLike) -> int | None:
    """`a - b` where it is a known integer, else None."""
    value = a - b
    return value if isinstance(value, int) else None


def shape_text(shape: tuple[ExtentLike, ...]) -> str:
    """A shape as a user reads it: `(batch, 3, 28)`."""
    return "(" + ", ".join(str(e) for e in shape) + ("," if len(shape) == 1 else "") + ")"


def _terms(value: ExtentLike | Integral) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(value, Extent):
        return value.terms
    return (((), int(value)),)


def _collect(terms: list[tuple[Monomial, int]]) -> ExtentLike:
    sums: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        sums[monomial] = sums.get(monomial, 0) + coefficient
    kept = {m: c for m, c in sums.items() if c}
    if not kept or set(kept) == {()}:
        return kept.get((), 0)
    return Extent(tuple(sorted(kept.items(), key=lambda t: (-len(t[0]), str(t[0])))))


def _product(m: Monomial, n: Monomial) -> Monomial:
    return tuple(sorted(m + n, key=str))


def _substitute_atom(atom: Atom, values: Mapping[str, int]) -> ExtentLike:
    if isinstance(atom, FloorDiv):
        return substitute(atom.numerator, values) // atom.divisor
    return values[atom.name] if atom.name in values else Extent((((atom,), 1),))


def _atom_text(atom: Atom, alone: bool) -> str:
    """Parentheses where Python's reading needs them."""
    if isinstance(atom, Dim):
        return atom.name
    several = len(atom.numerator.terms) > 1
    quotient = f"({atom.numerator})" if several else str(atom.numerator)
    quotient = f"{quotient} // {atom.divisor}"
    return quotient if alone else f"({quotient})"


def _term_text(monomial: Monomial, coefficient: int) -> str:
    alone = coefficient == 1 and len(monomial) == 1
    parts = [_atom_text(a, alone) for a in monomial]
    if coefficient != 1 or not parts:
        parts.insert(0, str(coefficient))
    return "*".join(parts)
