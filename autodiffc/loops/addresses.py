"""From a nest's addresses and guards to integers of the loop IR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autodiffc.graph.affine import Affine
from autodiffc.loops.ir import (
    CeilDiv,
    FloorDiv,
    Int,
    LetInt,
    Linear,
    Load,
    MaxOf,
    MinOf,
    Stmt,
    integer,
)
from autodiffc.schedule.nest import Address, Nest


@dataclass
class Scope:
    """The loop variables in force: each index of the nest as a linear expression of variables.

    `buffers` names the pointer of each operand position. Elements of integer tensors that serve
    as indices are loaded once and named; `pending` collects those statements.
    """

    buffers: Mapping[int, str]
    values: dict[int, Linear] = field(default_factory=dict)
    rows: dict[tuple[str, Linear], str] = field(default_factory=dict)
    pending: list[Stmt] = field(default_factory=list)

    def index(self, address: Address) -> Linear:
        """Where `address` points, in elements of its buffer."""
        total = integer(address.offset)
        for k, stride in enumerate(address.strides):
            if stride != 0:
                total = total + scaled(self.values[k], stride)
        for stride, inner in address.indirect:
            total = total + Linear(((stride, self._row(inner)),))
        return total

    def load(self, address: Address) -> Load:
        return Load(self.buffers[address.operand], self.index(address))

    def _row(self, inner: Address) -> str:
        key = (self.buffers[inner.operand], self.index(inner))
        if key not in self.rows:
            self.rows[key] = f"row{len(self.rows)}"
            self.pending.append(LetInt(self.rows[key], Load(*key)))
        return self.rows[key]

    def take_pending(self) -> list[Stmt]:
        taken, self.pending = self.pending, []
        return taken

    def child(self) -> Scope:
        """A scope for an inner block: what it loads is not visible outside."""
        return Scope(self.buffers, dict(self.values), dict(self.rows))


def scaled(value: Linear, stride: object) -> Linear:
    """`value * stride`, the stride being an integer or an extent."""
    terms = tuple((c * stride, n) for c, n in value.terms)  # type: ignore[operator]
    return Linear(terms, value.constant * stride)  # type: ignore[operator]


def affine_value(affine: Affine, values: Mapping[int, Linear], skip: int | None = None) -> Linear:
    """An affine map at the current loop variables, the index `skip` left out."""
    total = integer(affine.constant)
    for k in affine.uses:
        if k != skip:
            total = total + values[k] * affine.coefficients[k]
    return total


def loop_bounds(nest: Nest, index: int, scope: Scope, inside: Sequence[int]) -> tuple[Int, Int]:
    """The range of an index, cut by the guards that depend on it and on indices outside it.

    `inside` are the indices of loops further in: guards that mention them are not yet decided.
    """
    lows: list[Int] = [integer(0)]
    highs: list[Int] = [integer(nest.extents[index])]
    for guard in nest.guards:
        c = guard.coefficients[index]
        if c == 0 or any(guard.coefficients[k] for k in inside):
            continue
        rest = affine_value(guard, scope.values, skip=index)
        if c > 0:  # c * index + rest >= 0
            bound = integer(0) - rest
            lows.append(bound if c == 1 else CeilDiv(bound, c))
        else:
            highs.append(rest + 1 if c == -1 else FloorDiv(rest - c, -c))
    return _largest(lows), _smallest(highs)


def free_guards(nest: Nest) -> tuple[Linear, ...]:
    """Guards that mention no index: they hold for all points or for none."""
    return tuple(integer(g.constant) for g in nest.guards if g.is_constant)


def _largest(items: list[Int]) -> Int:
    return items[0] if len(items) == 1 else MaxOf(tuple(items))


def _smallest(items: list[Int]) -> Int:
    return items[0] if len(items) == 1 else MinOf(tuple(items))
