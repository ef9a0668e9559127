"""The loop IR: what a kernel does, one level above C.

    Int    = Linear(terms, constant)             affine in loop variables and dims
           | MaxOf(ints) | MinOf(ints) | CeilDiv(linear, k) | FloorDiv(linear, k)
    Value  = a scalar body whose leaves are
             Name(variable) | Load(buffer, index, lanes, stride, count) | IntValue(int, lanes)
             | Const | Size | LaneSum(variable) | LaneExtremum(variable, kind)
             | MaskFirst(value, lanes, count) | FirstLanes(value, lanes, count, rest)
    Stmt   = For(variable, start, stop, step, body, mode)   mode: serial, parallel, simd, or both;
                                                            later shared in place of parallel
                                                            step -1: from stop - 1 down to start
           | If(conditions, body)                           all conditions >= 0
           | Block(body)                                    a scope of its own
           | Let(name, dtype, lanes, value)                 a constant of the enclosing block
           | LetInt(name, value)                            an int64 constant
           | LetPointer(name, buffer, index)                a place in a buffer, a buffer itself
           | Var(name, dtype, lanes, value)                 an accumulator
           | Set(name, value)
           | Store(buffer, index, value, lanes, count)
           | Zero(buffer, count)
           | Transpose(dtype, lanes, source, result, steps) a block of rows that becomes columns
           | Array(name, dtype, count)                      a small buffer of the enclosing block
           | FailUnless(conditions)                         leaves with E_INDEX
           | First(body)                                    for the first thread of a team
           | Wait()                                         until all threads of a team are here
           | Comment(text)
    Kernel = (name, comment, params, dims, body, work, team, gate)

A loop is *parallel* where its iterations may run in any order, or at the same time. The last two
iterations of one whose step does not divide its length may write the same, so one thread has to run
both. Which of these loops a team of threads shares is decided in `team.py`: they are *shared* then.

Lanes are 1 for scalars; a value of L lanes is a vector of L elements. A `Load` of L lanes reads
contiguous elements (stride 1), or one element for all lanes (stride 0). With a `count` it reads
that many elements, and the other lanes are 0; a `Store` with a `count` writes that many. An
`IntValue` of L lanes counts up from its value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.scalars import Const, Scalar

# --- Integers ---


@dataclass(frozen=True)
class Linear:
    """`sum(coefficient * variable) + constant`."""

    terms: tuple[tuple[ExtentLike, str], ...]
    constant: ExtentLike = 0

    def __add__(self, other: Linear | ExtentLike) -> Linear:
        if not isinstance(other, Linear):
            return Linear(self.terms, self.constant + other)
        sums: dict[str, ExtentLike] = {}
        for coefficient, name in (*self.terms, *other.terms):
            sums[name] = sums.get(name, 0) + coefficient
        terms = tuple((c, n) for n, c in sums.items() if c != 0)
        return Linear(terms, self.constant + other.constant)

    def __mul__(self, factor: int) -> Linear:
        terms = tuple((c * factor, n) for c, n in self.terms) if factor else ()
        return Linear(terms, self.constant * factor)

    def __sub__(self, other: Linear | ExtentLike) -> Linear:
        return self + other * -1


@dataclass(frozen=True)
class MaxOf:
    items: tuple[Int, ...]


@dataclass(frozen=True)
class MinOf:
    items: tuple[Int, ...]


@dataclass(frozen=True)
class CeilDiv:
    value: Linear
    divisor: int


@dataclass(frozen=True)
class FloorDiv:
    value: Linear
    divisor: int


Int = Linear | MaxOf | MinOf | CeilDiv | FloorDiv


def integer(value: ExtentLike) -> Linear:
    return Linear((), value)


def variable(name: str) -> Linear:
    return Linear(((1, name),))


# --- Values: new leaves for scalar bodies ---


@dataclass(frozen=True)
class Name(Scalar):
    """A local variable."""

    name: str


@dataclass(frozen=True)
class Load(Scalar):
    """`buffer[index]`; of several lanes: contiguous (stride 1) or repeated (stride 0).

    One that is `kept` is used several times: it is to be loaded into a register, once.
    """

    buffer: str
    index: Linear
    lanes: int = 1
    stride: int = 1
    count: Linear | None = None
    kept: bool = False


@dataclass(frozen=True)
class IntValue(Scalar):
    """An integer expression as an int32 value; of several lanes: that, the next one, and so on."""

    value: Linear
    lanes: int = 1


@dataclass(frozen=True)
class LaneSum(Scalar):
    """The sum of a vector variable's lanes, pairwise."""

    name: str
    lanes: int


@dataclass(frozen=True)
class LaneExtremum(Scalar):
    """The largest ("max") or smallest ("min") of a vector variable's lanes; NaN wins."""

    name: str
    lanes: int
    kind: str


@dataclass(frozen=True)
class MaskFirst(Scalar):
    """A vector of `lanes` elements with its first `count` lanes set to zero."""

    value: Scalar
    lanes: int
    count: int


@dataclass(frozen=True)
class FirstLanes(Scalar):
    """A vector with all but its first `count` lanes replaced by a number."""

    value: Scalar
    lanes: int
    count: Linear
    rest: Const


# --- Statements ---


@dataclass(frozen=True)
class For:
    variable: str
    start: Int
    stop: Int
    body: tuple[Stmt, ...]
    step: int = 1
    mode: str = "serial"
    sums: tuple[str, ...] = ()  # accumulators that a simd loop adds into


@dataclass(frozen=True)
class If:
    conditions: tuple[Linear, ...]
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Block:
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Let:
    name: str
    dtype: str
    value: Scalar
    lanes: int = 1


@dataclass(frozen=True)
class LetInt:
    name: str
    value: Int | Load


@dataclass(frozen=True)
class LetPointer:
    """`written`: whether anything is stored through it."""

    name: str
    buffer: str
    index: Linear
    written: bool = False


@dataclass(frozen=True)
class Var:
    name: str
    dtype: str
    value: Scalar
    lanes: int = 1


@dataclass(frozen=True)
class Set:
    name: str
    value: Scalar


@dataclass(frozen=True)
class Store:
    buffer: str
    index: Linear
    value: Scalar
    lanes: int = 1
    count: Linear | None = None


@dataclass(frozen=True)
class Zero:
    buffer: str
    count: ExtentLike
    shared: bool = False


@dataclass(frozen=True)
class Transpose:
    """`result[k * result_step + r] = source[r * source_step + k]` for `lanes` k and as many r.

    `source` and `result` say where the two blocks begin.
    """

    dtype: str
    lanes: int
    source: Load
    result: Load
    source_step: Linear
    result_step: Linear


@dataclass(frozen=True)
class Array:
    name: str
    dtype: str
    count: int


@dataclass(frozen=True)
class FailUnless:
    conditions: tuple[Linear, ...]


@dataclass(frozen=True)
class First:
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Wait:
    pass


@dataclass(frozen=True)
class Comment:
    text: str


Change = Set | Store | Zero | Transpose
Local = Let | LetInt | LetPointer | Var | Array
Stmt = For | If | Block | Local | Change | FailUnless | First | Wait | Comment


@dataclass(frozen=True)
class Param:
    """A pointer parameter of a kernel."""

    name: str
    dtype: str
    written: bool = False
    restrict: bool = True


@dataclass(frozen=True)
class Kernel:
    """One C function: its parameters, the dims it needs, and an estimate of its work.

    All threads of a `team` call it, else one does. With less work than its `gate`, which is left
    to compare in a call, the first thread of the team does all of it.
    """

    name: str
    comment: tuple[str, ...]
    params: tuple[Param, ...]
    body: tuple[Stmt, ...]
    dims: tuple[str, ...] = ()
    work: ExtentLike = 0
    can_fail: bool = False
    team: bool = False
    gate: int | None = None


def statements(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement, nested ones included, in order."""
    for stmt in body:
        yield stmt
        if isinstance(stmt, For | If | Block | First):
            yield from statements(stmt.body)
