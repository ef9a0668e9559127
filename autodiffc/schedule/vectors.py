"""Which scalar bodies can be computed a vector at a time, and how many lanes a loop gets.

A vector kernel works in one float type. Integers and truth values may stand beside it: labels that
are compared, masks that select. What is missing is computed by plain loops, one element after the
other: powers, division of integers, two float types at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import Arg, Call, Cast, Const, Index, Scalar, Size, dtype_of, walk
from autodiffc.graph.types import is_float
from autodiffc.ops.functions import expansion
from autodiffc.targets import Target

# Functions of floats that have a C of their own for vectors, in templates/functions/.
SMOOTH = frozenset(["exp", "exp2", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos", "sqrt"])
VECTOR_MATH = SMOOTH | {"abs", "round", "floor", "ceil", "trunc"}
NUMERIC = frozenset(["add", "sub", "mul", "neg", "where", "lt", "le", "gt", "ge", "eq", "ne"])
LOGIC = frozenset(["and", "or", "xor"])
TRUTH = frozenset(["and", "or", "xor", "not", "eq", "ne"])
FLOATS = NUMERIC | VECTOR_MATH | {"div", "isnan", "isfinite"}
INTEGERS = ("int32", "int64")
BYTES = {"float32": 4, "float64": 8}


def only_float(dtypes: Iterable[str]) -> str | None:
    """The float type, if there is exactly one among the types."""
    floats = {d for d in dtypes if is_float(d)}
    return floats.pop() if len(floats) == 1 else None


def on_vectors(body: Scalar, dtypes: Sequence[str], floats: str) -> bool:
    """Whether vectors can compute a body; `dtypes` are its operands' types."""
    if isinstance(body, Arg | Const):
        return dtype_of(body, dtypes) in (floats, *INTEGERS, "bool")
    if isinstance(body, Index | Size):
        return True
    if isinstance(body, Cast):
        bytes_read = isinstance(body.x, Arg) and dtypes[body.x.position] == "uint8"
        allowed = body.dtype in (floats, *INTEGERS, "bool")
        return allowed and (bytes_read or on_vectors(body.x, dtypes, floats))
    assert isinstance(body, Call)
    dtype = dtype_of(body.args[-1], dtypes)
    if FUNCTIONS[body.function].expand is not None:
        return on_vectors(expansion(body.function, body.args, dtype), dtypes, floats)
    if body.function not in _functions(dtype, floats):
        return False
    return all(on_vectors(a, dtypes, floats) for a in body.args)


def _functions(dtype: str, floats: str) -> frozenset[str]:
    """What vectors of a type can do."""
    if dtype == floats:
        return FLOATS
    if dtype in INTEGERS:
        return NUMERIC | LOGIC
    return TRUTH if dtype == "bool" else frozenset()


def has_math(body: Scalar) -> bool:
    """Whether a body calls a function that libm computes one element at a time."""
    if isinstance(body, Call):
        if FUNCTIONS[body.function].expand is not None:
            args = [Arg(k) for k in range(len(body.args))]
            return has_math(expansion(body.function, args, "float32")) or any(
                has_math(a) for a in body.args
            )
        return body.function in VECTOR_MATH or any(has_math(a) for a in body.args)
    return isinstance(body, Cast) and has_math(body.x)


def math_calls(body: Scalar) -> int:
    """How many functions a body calls that take dozens of instructions each."""
    found = 0
    for part in walk(body):
        if not isinstance(part, Call):
            continue
        if FUNCTIONS[part.function].expand is not None:
            args = [Arg(k) for k in range(len(part.args))]
            found += math_calls(expansion(part.function, args, "float32"))
        found += part.function in SMOOTH - {"sqrt"}
    return found


def lanes_for(extent: object, floats: str, target: Target) -> int:
    """The widest vector for a loop of that many elements; 0 where there is none."""
    if extent == 0:
        return 0
    lanes, least = target.lanes(BYTES[floats]), 16 // BYTES[floats]
    while isinstance(extent, int) and lanes // 2 >= max(extent, least):
        lanes //= 2
    return lanes if lanes >= least else 0
