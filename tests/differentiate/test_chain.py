"""The chain rule inside a body: structure where it matters, and values where NaN could leak."""

from __future__ import annotations

import numpy as np
import pytest

from autodiffc.differentiate.chain import differentiate_body, times
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Index,
    Scalar,
    call,
    dtype_of,
    select,
    walk,
)
from tests.differentiate.test_partials import run

X, Y = Arg(0), Arg(1)
ZERO, ONE = Const(0.0, "float64"), Const(1.0, "float64")


def d(body: Scalar, k: int = 0, dtypes: tuple[str, ...] = ("float64", "float64")) -> Scalar | None:
    return differentiate_body(body, k, dtypes)


def test_leaves() -> None:
    assert d(X) == ONE
    assert d(Y) is None
    assert d(Const(3.0, "float64")) is None
    assert d(Cast("float64", Index(0))) is None


def test_factors_of_one_and_missing_terms_vanish() -> None:
    assert d(X + Y) == ONE
    assert d(X * Y) == Y
    assert d(call("sin", X) * Y) == Y * call("cos", X)


def test_the_result_is_used_where_it_is_at_hand() -> None:
    assert differentiate_body(call("exp", X), 0, ["real"], Arg(1)) == Arg(1)
    inner = differentiate_body(call("sin", call("exp", X)), 0, ["real"], Arg(1))
    assert inner == call("cos", call("exp", X)) * call("exp", X)  # Arg(1) is the sine's value


def test_bodies_are_not_rearranged() -> None:
    """To SymPy `(x + 1e20) - 1e20` is x; in floating point it is not."""
    rounded = (X + Const(1e20, "float64")) - Const(1e20, "float64")
    derivative = d(rounded * Y, 1)
    assert derivative == rounded
    assert run(derivative, np.array([1.0]), np.array([1.0])).tolist() == [0.0]


def test_discrete_functions_are_flat() -> None:
    for body in (call("floor", X), call("sign", X), Cast("float64", call("lt", X, Y))):
        assert d(body) is None
    assert d(Cast("float64", Cast("int32", X))) is None
    assert d(X * Cast("float64", call("gt", X, Y))) == Cast("float64", call("gt", X, Y))


def test_casts_between_floats_pass_the_derivative_on() -> None:
    body = Cast("float64", call("sin", X))
    derivative = differentiate_body(body, 0, ["float32"])
    assert derivative == Cast("float64", call("cos", X))
    assert dtype_of(derivative, ["float32"]) == "float64"
    assert differentiate_body(Cast("float64", X), 0, ["float32"]) == ONE


@pytest.mark.parametrize("dtype", ["float32", "real", "float64"])
def test_constants_take_the_type_of_their_call(dtype: str) -> None:
    body = call("relu", X) * call("tanh", X) + call("maximum", X, Const(0.5, dtype))
    derivative = differentiate_body(body, 0, [dtype])
    assert derivative is not None
    assert dtype_of(derivative, [dtype]) == dtype
    assert {s.dtype for s in walk(derivative) if isinstance(s, Const)} == {dtype}


# --- Selections ---


def test_a_factor_moves_into_the_branches() -> None:
    mask = select(call("gt", X, ZERO), ONE, ZERO)
    assert times(Y, mask) == select(call("gt", X, ZERO), Y, ZERO)
    assert times(mask, Y) == select(call("gt", X, ZERO), Y, ZERO)
    both = select(call("gt", X, ZERO), X, Y)
    assert times(Y, both) == Y * both  # no zero to protect


def test_infinities_of_the_other_branch_do_not_leak() -> None:
    x = np.array([4.0, 0.0, -1.0])
    positive = call("gt", X, ZERO)
    outside = select(positive, call("sqrt", X), ZERO)
    assert run(must(d(outside)), x).tolist() == [0.25, 0, 0]
    inside = call("sqrt", select(positive, X, ZERO))
    assert run(must(d(inside)), x).tolist() == [0.25, 0, 0]
    logarithm = select(positive, call("log", X) * X, ZERO)
    np.testing.assert_array_equal(run(must(d(logarithm)), x), [np.log(4) + 1, 0, 0])


def test_infinities_do_not_leak_through_an_extremum() -> None:
    body = call("maximum", call("sqrt", X), ONE)  # sqrt'(0) is infinite, and not taken
    assert run(must(d(body)), np.array([0.0, 4.0, 1.0])).tolist() == [0, 0.25, 0.25]
    assert run(must(d(call("relu", call("log", X)))), np.array([0.0, 0.5, 2.0])).tolist() == [
        0,
        0,
        0.5,
    ]


def test_nested_extrema_stay_small() -> None:
    body: Scalar = X
    for k in range(12):
        body = call("maximum", call("mul", body, Y), Const(float(k), "float64"))
    assert sum(1 for _ in walk(must(d(body)))) < 40 * sum(1 for _ in walk(body))


def must(body: Scalar | None) -> Scalar:
    assert body is not None
    return body


def test_a_selection_keeps_its_condition() -> None:
    body = Call("where", (call("lt", X, Y), X * X, Y))
    assert d(body) == Call("where", (call("lt", X, Y), X + X, ZERO))
    assert d(body, 1) == Call("where", (call("lt", X, Y), ZERO, ONE))
