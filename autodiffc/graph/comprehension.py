"""The comprehension: the one kind of formula.

    out[O(i)]  combine=  body(a0[A0(i)], a1[A1(i)], …)      for i in domain

A *domain* is a box of loop indices `0 <= i[k] < extents[k]` cut by guards `g(i) >= 0`. Every
address is a tuple of rows, one for each axis of the tensor: integer-affine maps of the indices, or
elements of an integer tensor (`Indirect`). Guards live in the domain, never in the accesses: a
zero-padded read is a guarded domain, and every access is in range wherever the guards hold.

`combine` says what happens where several points meet at one output element:

    set              at most one point per element; elements without a point are 0
    sum, prod        from 0, from 1: the value of elements without a point
    max, min         NaN wins; there is no value without a point, see below
    argmax, argmin   the row-major position, among the reduction indices, of the first extremum

A maximum of nothing is an error. Guards on kept indices alone (those that an output row mentions)
leave elements out, which are 0 like all that no formula writes; every other element of a max, min,
argmax or argmin needs a point. The DSL refuses formulas without one, `specialize` builds that set
dims so, and `verify` graphs.

`finish` is what fusion adds: a body applied once to each reduced element (`Arg(0)`) and to further
elements (`Arg(1)`, …) read through `finish_operands` at the indices that are not reduced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.scalars import Arg, Scalar, args_used, indices_used

COMBINERS = ("set", "sum", "prod", "max", "min", "argmax", "argmin")


@dataclass(frozen=True)
class Indirect:
    """A row whose value is an element of the integer tensor `inputs[operand]`.

    The tensor's elements are known to be in range: a `check_index` node stands before it.
    """

    operand: int
    rows: tuple[Affine, ...]


Row = Affine | Indirect


@dataclass(frozen=True)
class Access:
    """One element read: `inputs[operand][rows]`."""

    operand: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Domain:
    """A guarded box; `guards` are affine maps that must all be >= 0. Names are for readers."""

    extents: tuple[ExtentLike, ...]
    guards: tuple[Affine, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.names:
            object.__setattr__(self, "names", default_names(len(self.extents)))

    @property
    def rank(self) -> int:
        return len(self.extents)


@dataclass(frozen=True)
class Comprehension:
    """One formula over the inputs of the node that holds it."""

    domain: Domain
    out: tuple[Row, ...]
    operands: tuple[Access, ...]
    body: Scalar
    combine: str = "set"
    finish: Scalar | None = None
    finish_operands: tuple[Access, ...] = ()

    @property
    def reduced(self) -> tuple[int, ...]:
        """The indices that no output row mentions: those summed over, in loop order."""
        kept = out_indices(self.out)
        return tuple(k for k in range(self.domain.rank) if k not in kept)

    @property
    def is_elementwise(self) -> bool:
        """A `set` that writes every element of its output once, in order, without guards."""
        return (
            self.combine == "set"
            and not self.domain.guards
            and self.out == identity(self.domain.rank)
        )


def out_indices(rows: tuple[Row, ...]) -> frozenset[int]:
    """The indices mentioned by an address."""
    used: set[int] = set()
    for row in rows:
        for affine in row.rows if isinstance(row, Indirect) else (row,):
            used.update(affine.uses)
    return frozenset(used)


def map_rows(rows: tuple[Row, ...], change: Callable[[Affine], Affine]) -> tuple[Row, ...]:
    """Applies `change` to every affine map in an address."""
    return tuple(
        Indirect(r.operand, tuple(change(a) for a in r.rows))
        if isinstance(r, Indirect)
        else change(r)
        for r in rows
    )


def map_access(access: Access, change: Callable[[Affine], Affine]) -> Access:
    return Access(access.operand, map_rows(access.rows, change))


def renumber(access: Access, operand: Callable[[int], int]) -> Access:
    """The same access over other input positions, those of indirect rows included."""
    return Access(operand(access.operand), renumber_rows(access.rows, operand))


def renumber_rows(rows: tuple[Row, ...], operand: Callable[[int], int]) -> tuple[Row, ...]:
    return tuple(
        Indirect(operand(r.operand), r.rows) if isinstance(r, Indirect) else r for r in rows
    )


def inputs_used(formula: Comprehension) -> frozenset[int]:
    """The node inputs that a formula reads, through accesses and indirect rows."""
    rows: list[Row] = list(formula.out)
    found: set[int] = set()
    for access in (*formula.operands, *formula.finish_operands):
        found.add(access.operand)
        rows += access.rows
    return frozenset(found | {r.operand for r in rows if isinstance(r, Indirect)})


def prune_operands(formula: Comprehension) -> Comprehension:
    """Drops accesses that the body does not read. The domain, guards included, stays as it is."""
    used = args_used(formula.body)
    if len(used) == len(formula.operands):
        return formula
    from autodiffc.graph.scalars import replace_args

    position = {old: new for new, old in enumerate(used)}
    return replace(
        formula,
        operands=tuple(formula.operands[k] for k in used),
        body=replace_args(formula.body, lambda k: Arg(position[k])),
    )


def indices_mentioned(formula: Comprehension) -> frozenset[int]:
    """The indices that accesses, the output or the body use (guards not counted)."""
    used = set(out_indices(formula.out)) | set(indices_used(formula.body))
    for access in formula.operands:
        used |= out_indices(access.rows)
    return frozenset(used)


def default_names(rank: int) -> tuple[str, ...]:
    """Names for indices nobody named."""
    letters = "ijklmnpqrstuvw"
    return tuple(letters[k] if rank <= len(letters) else f"i{k}" for k in range(rank))
