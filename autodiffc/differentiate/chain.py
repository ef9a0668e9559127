"""The chain rule inside a scalar body: the partial derivative with respect to one operand.

Derivatives of the single functions come from `partials`; this file multiplies them along the tree.
A derivative that is zero everywhere is None, not a constant, so that it vanishes from products
without a question about infinities; further simplification is left to the passes. A selection
differentiates to a selection of derivatives, and factors move into its branches, so that an
infinity in the branch that was not taken never meets a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autodiffc.differentiate.partials import partial
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Index,
    Scalar,
    args_used,
    cast_to,
    dtype_of,
)
from autodiffc.graph.types import is_float


def differentiate_body(
    body: Scalar, k: int, dtypes: Sequence[str], out: Scalar | None = None
) -> Scalar | None:
    """d body / d Arg(k), of the body's type; None where it is zero everywhere.

    `dtypes` are the types of the body's operands. `out` is a body that stands for the value of
    the whole, if it is at hand; partials that mention their result then use it.
    """
    if isinstance(body, Arg):
        return Const(1.0, dtypes[k]) if body.position == k and is_float(dtypes[k]) else None
    if k not in args_used(body):
        return None
    if isinstance(body, Cast):
        return _through_cast(body, k, dtypes)
    if not isinstance(body, Call) or not FUNCTIONS[body.function].differentiable:
        return None
    dtype = dtype_of(body, dtypes)
    if not is_float(dtype):
        return None
    if body.function == "where":
        return _through_where(body, k, dtypes)
    return _chain_rule(body, k, dtypes, body if out is None else out, dtype)


def _chain_rule(
    body: Call, k: int, dtypes: Sequence[str], out: Scalar, dtype: str
) -> Scalar | None:
    """The sum over the arguments of outer times inner derivative."""
    total: Scalar | None = None
    for j, arg in enumerate(body.args):
        inner = differentiate_body(arg, k, dtypes)
        if inner is None:
            continue
        outer = partial(body.function, j, body.args, out, dtype)
        if outer is not None:
            term = times(outer, inner)
            total = term if total is None else total + term
    return total


def _through_cast(body: Cast, k: int, dtypes: Sequence[str]) -> Scalar | None:
    """A cast between floats passes the derivative on, cast the same way."""
    source = dtype_of(body.x, dtypes)
    if not (is_float(body.dtype) and is_float(source)):
        return None
    inner = differentiate_body(body.x, k, dtypes)
    return None if inner is None else cast_to(inner, source, body.dtype)


def _through_where(body: Call, k: int, dtypes: Sequence[str]) -> Scalar | None:
    condition, *branches = body.args
    dtype = dtype_of(body, dtypes)
    found = [differentiate_body(b, k, dtypes) for b in branches]
    if found == [None, None]:
        return None
    then, otherwise = (Const(0.0, dtype) if d is None else d for d in found)
    return Call("where", (condition, then, otherwise))


# --- Products ---


def times(a: Scalar, b: Scalar) -> Scalar:
    """A product without factors of one, in which the zero of a selection stays zero.

    `x * where(c, 1, 0)` is `where(c, x, 0)`: where the branch of the zero was taken, an infinite or
    NaN `x` belongs to a path that was not, and must not turn the derivative into NaN.
    """
    if _is_number(a, 1.0):
        return b
    if _is_number(b, 1.0):
        return a
    if _can_be_cut(a):
        return _selected(a, b, lambda leaf: times(leaf, b))
    if _can_be_cut(b):
        return _selected(b, a, lambda leaf: times(a, leaf))
    return a * b


def _selected(choices: Scalar, factor: Scalar, scaled: Callable[[Scalar], Scalar]) -> Scalar:
    """A selection whose branches, except zeros, are `scaled` by a factor."""
    leaves = _branches(choices)
    alive = [leaf for leaf in leaves if not _is_number(leaf, 0.0)]
    if len(alive) > 1 and not isinstance(factor, Arg | Index | Const):
        # a large factor stands once, or nested selections would double the body at each level
        zero = next(leaf for leaf in leaves if _is_number(leaf, 0.0))
        return Call("where", (Call("eq", (choices, zero)), zero, choices * factor))
    return _map_branches(choices, lambda leaf: leaf if _is_number(leaf, 0.0) else scaled(leaf))


def _can_be_cut(s: Scalar) -> bool:
    """Whether a body is a selection with a constant zero among its branches."""
    return isinstance(s, Call) and s.function == "where" and _has_zero(s)


def _has_zero(s: Scalar) -> bool:
    return any(_is_number(leaf, 0.0) for leaf in _branches(s))


def _branches(s: Scalar) -> list[Scalar]:
    """The leaves of a tree of selections."""
    if isinstance(s, Call) and s.function == "where":
        return _branches(s.args[1]) + _branches(s.args[2])
    return [s]


def _map_branches(s: Scalar, change: Callable[[Scalar], Scalar]) -> Scalar:
    if isinstance(s, Call) and s.function == "where":
        condition, then, otherwise = s.args
        return Call(
            "where", (condition, _map_branches(then, change), _map_branches(otherwise, change))
        )
    return change(s)


def _is_number(s: Scalar, value: float) -> bool:
    return isinstance(s, Const) and is_float(s.dtype) and s.value == value
