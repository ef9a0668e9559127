"""The chain rule inside a scalar body: the partial derivative with respect to one operand.

Derivatives of the single functions come from `partials`; this file multiplies them along the tree.
Only exact simplifications are made on the way (a factor of one, a missing term). A selection
differentiates to a selection of derivatives, so that an infinity in the branch that was not taken
never meets a zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from autodiffc.differentiate.partials import partial
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
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
    if not is_float(dtype_of(body, dtypes)):
        return None
    if body.function == "where":
        return _through_where(body, k, dtypes)
    dtype = dtype_of(body, dtypes)
    total: Scalar | None = None
    for j, arg in enumerate(body.args):
        inner = differentiate_body(arg, k, dtypes)
        if inner is None:
            continue
        outer = partial(body.function, j, body.args, body if out is None else out, dtype)
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


def times(a: Scalar, b: Scalar) -> Scalar:
    """A product without factors of one; a constant or a mask goes where it reads best."""
    if _is_one(a):
        return b
    return a if _is_one(b) else a * b


def _is_one(s: Scalar) -> bool:
    return isinstance(s, Const) and is_float(s.dtype) and s.value == 1
