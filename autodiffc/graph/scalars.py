"""Scalar bodies: what a formula computes for one point of its loop domain.

    Scalar = Arg(k)              the element that the formula's k-th access reads
           | Index(k)            the value of the k-th loop index, an int32
           | Const(value, dtype) a number
           | Size(extent)        an extent as an int64 value (the N of a mean)
           | Cast(dtype, x)
           | Call(function, xs)  a function of the table in `functions`

Bodies are immutable trees with structural equality. They are *typed*: a call's arguments already
have the type that its function's rule asks for, and `coerced_call` inserts the casts. Python's
arithmetic operators build calls, which keeps derivative rules short; comparisons do not (`==`
stays structural), use `call("lt", a, b)`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autodiffc.errors import DtypeError
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.functions import FUNCTIONS, Function
from autodiffc.graph.types import is_float, is_integer, promote

Number = bool | int | float


class Scalar:
    """Base of the body's node types; carries the arithmetic operators."""

    __slots__ = ()

    def __add__(self, other: ScalarLike) -> Scalar:
        return _binary("add", self, other)

    def __radd__(self, other: ScalarLike) -> Scalar:
        return _binary("add", other, self)

    def __sub__(self, other: ScalarLike) -> Scalar:
        return _binary("sub", self, other)

    def __rsub__(self, other: ScalarLike) -> Scalar:
        return _binary("sub", other, self)

    def __mul__(self, other: ScalarLike) -> Scalar:
        return _binary("mul", self, other)

    def __rmul__(self, other: ScalarLike) -> Scalar:
        return _binary("mul", other, self)

    def __truediv__(self, other: ScalarLike) -> Scalar:
        return _binary("div", self, other)

    def __rtruediv__(self, other: ScalarLike) -> Scalar:
        return _binary("div", other, self)

    def __neg__(self) -> Scalar:
        return Call("neg", (self,))


ScalarLike = Scalar | Number


@dataclass(frozen=True)
class Arg(Scalar):
    """The element read by the access at `position`."""

    position: int


@dataclass(frozen=True)
class Index(Scalar):
    """The value of the loop index at `position`, as int32."""

    position: int


@dataclass(frozen=True, eq=False)
class Const(Scalar):
    """A number of a given type. Equality tells 0.0 from -0.0 and takes NaN as equal to itself."""

    value: Number
    dtype: str

    def _key(self) -> tuple[str, str]:
        return (float(self.value).hex() if is_float(self.dtype) else str(self.value), self.dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Const) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


@dataclass(frozen=True)
class Size(Scalar):
    """An extent used as a value, as int64."""

    extent: ExtentLike


@dataclass(frozen=True)
class Cast(Scalar):
    """`x` converted to `dtype` (floats to integers truncate, anything to bool is `!= 0`)."""

    dtype: str
    x: Scalar


@dataclass(frozen=True)
class Call(Scalar):
    """`function(*args)`, all arguments of the type that the function's rule asks for."""

    function: str
    args: tuple[Scalar, ...]


def call(function: str, *args: ScalarLike) -> Call:
    """A call whose Python numbers become `real` constants; it inserts no casts.

    For bodies over floats (derivative rules, expansions). Elsewhere use `coerced_call`.
    """
    return Call(function, tuple(a if isinstance(a, Scalar) else const(a) for a in args))


def const(value: Number, dtype: str = "real") -> Const:
    """A constant, by default of the build's floating type."""
    return Const(value, dtype)


def select(condition: Scalar, then: ScalarLike, otherwise: ScalarLike) -> Call:
    """`then` where the condition holds, else `otherwise`; only the chosen value counts."""
    return call("where", condition, then, otherwise)


def children(scalar: Scalar) -> tuple[Scalar, ...]:
    if isinstance(scalar, Call):
        return scalar.args
    return (scalar.x,) if isinstance(scalar, Cast) else ()


def with_children(scalar: Scalar, new: tuple[Scalar, ...]) -> Scalar:
    """The same node over other children; the node itself where they are the same objects."""
    if all(map(operator.is_, new, children(scalar))):
        return scalar
    return Call(scalar.function, new) if isinstance(scalar, Call) else Cast(scalar.dtype, new[0])  # type: ignore[attr-defined]


def rewrite(scalar: Scalar, rule: Callable[[Scalar], Scalar]) -> Scalar:
    """Applies `rule` to every node, children first."""
    kids = children(scalar)
    if kids:
        scalar = with_children(scalar, tuple([rewrite(k, rule) for k in kids]))
    return rule(scalar)


def walk(scalar: Scalar) -> Iterator[Scalar]:
    """Every node of the body, parents first."""
    stack = [scalar]
    while stack:
        scalar = stack.pop()
        yield scalar
        stack.extend(reversed(children(scalar)))


def args_used(scalar: Scalar) -> tuple[int, ...]:
    """The positions of the accesses that the body reads, ascending."""
    return tuple(sorted({s.position for s in walk(scalar) if isinstance(s, Arg)}))


def indices_used(scalar: Scalar) -> tuple[int, ...]:
    """The loop indices whose value the body uses, ascending."""
    return tuple(sorted({s.position for s in walk(scalar) if isinstance(s, Index)}))


def replace_args(scalar: Scalar, new: Callable[[int], Scalar]) -> Scalar:
    """Replaces every `Arg(k)` by `new(k)`."""
    return rewrite(scalar, lambda s: new(s.position) if isinstance(s, Arg) else s)


def replace_indices(scalar: Scalar, new: Callable[[int], Scalar]) -> Scalar:
    """Replaces every `Index(k)` by `new(k)`."""
    return rewrite(scalar, lambda s: new(s.position) if isinstance(s, Index) else s)


# --- Types ---


def dtype_of(scalar: Scalar, arg_dtypes: Sequence[str]) -> str:
    """The type of a body's value; raises `DtypeError` where a call breaks its function's rule."""
    if isinstance(scalar, Arg):
        return arg_dtypes[scalar.position]
    if isinstance(scalar, Index):
        return "int32"
    if isinstance(scalar, Size):
        return "int64"
    if isinstance(scalar, Const | Cast):
        return scalar.dtype
    assert isinstance(scalar, Call)
    function = FUNCTIONS[scalar.function]
    return result_dtype(function, [dtype_of(a, arg_dtypes) for a in scalar.args])


def result_dtype(function: Function, dtypes: Sequence[str]) -> str:
    """What a call returns for arguments of these types; the types must fit exactly."""
    values = dtypes[1:] if function.rule == "select" else dtypes
    fits = len(dtypes) == function.arity and len(set(values)) == 1
    if not fits or not _allowed(function.rule, dtypes):
        raise DtypeError(
            f"{function.name} does not take these types",
            found=", ".join(dtypes),
            expected=f"{function.arity} arguments by the rule '{function.rule}'",
        )
    return "bool" if function.rule in ("compare", "predicate") else values[0]


def coerced_call(name: str, *args: tuple[Scalar, str]) -> tuple[Scalar, str]:
    """A call over arguments of any types, with casts to the type that the function works in.

    Arguments and result are pairs of a body and its type. Truth values are added and multiplied as
    PyTorch does: their sum is `or`, their product `and`.
    """
    function = FUNCTIONS[name]
    values = args[1:] if function.rule == "select" else args
    promoted = promote(*(d for _, d in values))
    if promoted == "bool" and name in _OF_TRUTH_VALUES:
        name = _of_truth_values(name)
        function = FUNCTIONS[name]
    common = _working_dtype(function, promoted)
    cast = [_cast(s, d, common) for s, d in values]
    if function.rule == "select":
        cast.insert(0, _cast(*args[0], "bool"))
    return Call(name, tuple(cast)), "bool" if function.rule in ("compare", "predicate") else common


_OF_TRUTH_VALUES = {"add": "or", "mul": "and", "maximum": "or", "minimum": "and", "sub": None}


def _of_truth_values(name: str) -> str:
    found = _OF_TRUTH_VALUES[name]
    if found is None:
        raise DtypeError(
            "truth values cannot be subtracted", found="bool - bool", expected="x ^ y, or x & ~y"
        )
    return found


def summands(*args: tuple[Scalar, str]) -> list[tuple[Scalar, str]]:
    """Factors whose products are added up: truth values alone count as int64."""
    if any(dtype != "bool" for _, dtype in args):
        return list(args)
    return [(cast_to(scalar, "bool", "int64"), "int64") for scalar, _ in args]


def cast_to(scalar: Scalar, dtype: str, wanted: str) -> Scalar:
    """`scalar` of type `dtype` converted to `wanted`."""
    return _cast(scalar, dtype, wanted)


def _cast(scalar: Scalar, dtype: str, wanted: str) -> Scalar:
    if dtype == wanted:
        return scalar
    if isinstance(scalar, Const):
        convert: Any = bool if wanted == "bool" else float if is_float(wanted) else int
        return Const(convert(scalar.value), wanted)
    return Cast(wanted, scalar)


def _working_dtype(function: Function, dtype: str) -> str:
    if function.rule in ("float", "predicate") and not is_float(dtype):
        return "real"
    if function.rule in ("numeric", "integer") and dtype == "bool":
        return "int64"
    if function.rule == "logical" and not (dtype == "bool" or is_integer(dtype)):
        raise DtypeError(
            f"{function.name} needs truth values or integers", found=dtype, expected="bool"
        )
    return dtype


def _allowed(rule: str, dtypes: Sequence[str]) -> bool:
    if rule in ("float", "predicate"):
        return is_float(dtypes[0])
    if rule == "numeric":
        return dtypes[0] != "bool"
    if rule == "logical":
        return not is_float(dtypes[0])
    if rule == "integer":
        return is_integer(dtypes[0])
    return rule == "compare" or dtypes[0] == "bool"


def _binary(name: str, a: ScalarLike, b: ScalarLike) -> Scalar:
    return call(name, a, b)
