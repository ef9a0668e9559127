"""Scalar bodies: typing rules, coercion, equality, traversal."""

from __future__ import annotations

import math

import pytest

import autodiffc.ops.functions  # noqa: F401 - fills the table of functions
from autodiffc.errors import DtypeError
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Index,
    Scalar,
    Size,
    args_used,
    call,
    cast_to,
    coerced_call,
    const,
    dtype_of,
    indices_used,
    replace_args,
    replace_indices,
    rewrite,
    select,
    walk,
    with_children,
)

x, y, z = Arg(0), Arg(1), Arg(2)


# --- Equality ---


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (Const(0.0, "real"), Const(-0.0, "real"), False),
        (Const(math.nan, "real"), Const(float("nan"), "real"), True),
        (Const(1.0, "real"), Const(1.0, "float32"), False),
        (Const(1, "int32"), Const(1, "int64"), False),
        (Const(True, "bool"), Const(1, "int32"), False),
        (Const(1, "real"), Const(1.0, "real"), True),
        (Const(math.inf, "real"), Const(-math.inf, "real"), False),
    ],
)
def test_constants_are_equal_as_numbers_of_their_type(a: Const, b: Const, equal: bool) -> None:
    assert (a == b) is equal
    assert (len({a, b}) == 1) is equal  # hashes go along


def test_bodies_are_equal_by_structure() -> None:
    assert x * y + 1.0 == x * y + 1.0
    assert x * y != y * x
    assert Call("add", (x, const(-0.0))) != Call("add", (x, const(0.0)))


# --- Types ---


@pytest.mark.parametrize(
    ("body", "dtypes", "expected"),
    [
        (x, ["int32"], "int32"),
        (Index(3), [], "int32"),
        (Size(4), [], "int64"),
        (Cast("real", x), ["uint8"], "real"),
        (x + y, ["float32", "float32"], "float32"),
        (call("lt", x, y), ["int64", "int64"], "bool"),
        (call("isnan", x), ["real"], "bool"),
        (select(call("lt", x, y), x, y), ["real", "real"], "real"),
        (call("and", x, y), ["bool", "bool"], "bool"),
        (call("and", x, y), ["int32", "int32"], "int32"),
    ],
)
def test_types(body: Scalar, dtypes: list[str], expected: str) -> None:
    assert dtype_of(body, dtypes) == expected


@pytest.mark.parametrize(
    ("body", "dtypes"),
    [
        (x + y, ["real", "float32"]),  # no silent promotion
        (x + y, ["bool", "bool"]),
        (call("exp", x), ["int32"]),
        (call("isnan", x), ["int32"]),
        (call("and", x, y), ["real", "real"]),
        (select(x, y, z), ["int32", "real", "real"]),
        (select(x, y, z), ["bool", "real", "int32"]),
        (Call("add", (x,)), ["real"]),
    ],
)
def test_calls_that_break_their_rule(body: Scalar, dtypes: list[str]) -> None:
    with pytest.raises(DtypeError, match="does not take these types"):
        dtype_of(body, dtypes)


@pytest.mark.parametrize(
    ("function", "dtypes", "working", "result"),
    [
        ("add", ("int32", "real"), "real", "real"),
        ("add", ("bool", "int32"), "int32", "int32"),
        ("sign", ("bool",), "int64", "int64"),
        ("int_floordiv", ("bool", "bool"), "int64", "int64"),
        ("add", ("float32", "real"), "real", "real"),
        ("div", ("int32", "int64"), "real", "real"),
        ("exp", ("bool",), "real", "real"),
        ("exp", ("float32",), "float32", "float32"),
        ("lt", ("uint8", "int64"), "int64", "bool"),
        ("eq", ("bool", "bool"), "bool", "bool"),
        ("and", ("bool", "uint8"), "uint8", "uint8"),
    ],
)
def test_coercion(function: str, dtypes: tuple[str, ...], working: str, result: str) -> None:
    body, dtype = coerced_call(function, *((Arg(k), d) for k, d in enumerate(dtypes)))
    assert dtype == result
    assert dtype_of(body, dtypes) == result
    assert isinstance(body, Call)
    assert body.args == tuple(
        Arg(k) if d == working else Cast(working, Arg(k)) for k, d in enumerate(dtypes)
    )


@pytest.mark.parametrize(
    ("function", "meant"), [("add", "or"), ("mul", "and"), ("maximum", "or"), ("minimum", "and")]
)
def test_arithmetic_of_truth_values_is_logic(function: str, meant: str) -> None:
    """As in PyTorch, whose sums and products of bool tensors are bool."""
    assert coerced_call(function, (x, "bool"), (y, "bool")) == (Call(meant, (x, y)), "bool")
    assert coerced_call(function, (x, "bool"), (y, "uint8"))[1] == "uint8"


def test_truth_values_cannot_be_subtracted() -> None:
    with pytest.raises(DtypeError, match=r"(?s)cannot be subtracted.*x \^ y"):
        coerced_call("sub", (x, "bool"), (y, "bool"))


def test_coercion_of_a_choice() -> None:
    body, dtype = coerced_call("where", (x, "int32"), (y, "real"), (z, "bool"))
    assert dtype == "real"
    assert body == Call("where", (Cast("bool", x), y, Cast("real", z)))


def test_logic_refuses_floats() -> None:
    with pytest.raises(DtypeError, match="truth values or integers"):
        coerced_call("and", (x, "real"), (y, "bool"))


@pytest.mark.parametrize(
    ("value", "dtype", "wanted", "expected"),
    [
        (Const(2.7, "real"), "real", "int32", Const(2, "int32")),
        (Const(-2.7, "real"), "real", "int32", Const(-2, "int32")),
        (Const(0.5, "real"), "real", "bool", Const(True, "bool")),
        (Const(3, "int64"), "int64", "real", Const(3.0, "real")),
        (x, "int32", "int32", x),
        (x, "int32", "real", Cast("real", x)),
    ],
)
def test_constants_convert_at_once(
    value: Scalar, dtype: str, wanted: str, expected: Scalar
) -> None:
    assert cast_to(value, dtype, wanted) == expected


# --- Traversal ---


def test_walk_is_parents_first_and_left_to_right() -> None:
    body = (x + y) * -z
    assert list(walk(body)) == [body, x + y, x, y, -z, z]


def test_what_a_body_uses() -> None:
    body = (z + x) * z + Cast("real", Index(4)) * Cast("real", Index(1))
    assert args_used(body) == (0, 2)
    assert indices_used(body) == (1, 4)


def test_replacing() -> None:
    body = x * y + Cast("real", Index(0))
    assert replace_args(body, lambda k: Arg(k + 2)) == z * Arg(3) + Cast("real", Index(0))
    assert replace_indices(body, lambda k: Index(7)) == x * y + Cast("real", Index(7))


def test_rewriting_works_from_the_leaves_up() -> None:
    def double(s: Scalar) -> Scalar:
        return Const(2 * s.value, s.dtype) if isinstance(s, Const) else s

    assert rewrite(x + 1.5 * y, double) == x + 3.0 * y
    body = x * y
    assert rewrite(body, lambda s: s) is body
    assert with_children(body, (x, y)) is body
