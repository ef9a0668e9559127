"""Which clusters run as vectors, with how many lanes, and how their blocks cover the elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import autodiffc as ad
from autodiffc.errors import VerificationError
from autodiffc.graph.extents import substitute
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import Arg, Cast, Const, Index, Scalar, call
from autodiffc.loops.ir import (
    Block,
    FloorDiv,
    For,
    If,
    Int,
    Kernel,
    LetInt,
    Linear,
    Load,
    Param,
    Stmt,
    Store,
    integer,
    statements,
)
from autodiffc.loops.verify import verify
from autodiffc.schedule.vectors import lanes_for, on_vectors, only_float
from autodiffc.targets import get_target
from tests.loops.kernels import kernels_of


def kernel_of(y: ad.Expression, **options: Any) -> Kernel:
    """The kernel that computes the output of a model."""
    the_model = ad.Model("one", {"y": y}, wrt=[])
    return next(k for k in kernels_of(the_model, **options) if "y" in {p.name for p in k.params})


def value_of(value: Int, known: dict[str, int]) -> int:
    """An integer of blocks, by its meaning."""
    if isinstance(value, FloorDiv):
        return value_of(value.value, known) // value.divisor
    assert isinstance(value, Linear)
    terms = [(value.constant, 1), *((c, known[n]) for c, n in value.terms)]
    numbers = [(substitute(c, known), v) for c, v in terms]
    assert all(isinstance(c, int) for c, _ in numbers)
    return sum(int(str(c)) * v for c, v in numbers)


def written(body: Sequence[Stmt], known: dict[str, int]) -> Iterator[int]:
    """The elements that stores write, the loops run as C would run them."""
    for stmt in body:
        if isinstance(stmt, For):
            for k in range(value_of(stmt.start, known), value_of(stmt.stop, known), stmt.step):
                yield from written(stmt.body, {**known, stmt.variable: k})
        elif isinstance(stmt, Block):
            yield from written(stmt.body, dict(known))
        elif isinstance(stmt, If):
            if all(value_of(c, known) >= 0 for c in stmt.conditions):
                yield from written(stmt.body, dict(known))
        elif isinstance(stmt, LetInt):
            assert not isinstance(stmt.value, Load)
            known[stmt.name] = value_of(stmt.value, known)
        elif isinstance(stmt, Store):
            first = value_of(stmt.index, known)
            count = stmt.lanes if stmt.count is None else value_of(stmt.count, known)
            yield from range(first, first + count)


LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 40, 41]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", LENGTHS)
def test_every_element_is_written_once(length: int, dtype: str) -> None:
    kernel = kernel_of(ad.exp(ad.input("x", (length,))), dtype=dtype)
    assert list(written(kernel.body, {})) == list(range(length))


@pytest.mark.parametrize("length", LENGTHS)
def test_every_element_of_an_open_length_is_written_once(length: int) -> None:
    x = ad.input("x", (ad.dim("n", 8), 3))
    kernel = kernel_of(ad.exp(x), dims={"n": (1, 50)})
    assert list(written(kernel.body, {"n": length})) == list(range(3 * length))


def test_rows_that_do_not_merge() -> None:
    x, bias = ad.input("x", (6, 11)), ad.input("b", (11,))
    kernel = kernel_of(ad.tanh(x + bias))
    assert list(written(kernel.body, {})) == list(range(66))
    (rows,) = (s for s in kernel.body if isinstance(s, For))
    assert rows.mode == "parallel"


def lanes_of(kernel: Kernel) -> set[int]:
    return {s.lanes for s in statements(kernel.body) if isinstance(s, Store)}


def test_what_runs_as_vectors() -> None:
    x = ad.input("x", (40,))
    assert lanes_of(kernel_of(ad.exp(x))) == {8}
    assert lanes_of(kernel_of(ad.exp(x), dtype="float64")) == {4}
    assert lanes_of(kernel_of(ad.exp(x), target="x86-64-v4")) == {16}
    assert lanes_of(kernel_of(ad.exp(x), target="generic")) == {4}
    assert lanes_of(kernel_of(ad.exp(ad.input("x", (3,))))) == {4}


def test_what_does_not() -> None:
    x, y = ad.input("x", (40,)), ad.input("y", (40, 40))
    assert lanes_of(kernel_of(ad.exp(x), plain=True)) == {1}
    assert lanes_of(kernel_of(x**0.3)) == {1}  # powers are libm's
    assert lanes_of(kernel_of(ad.exp(ad.input("x", ())))) == {1}
    assert lanes_of(kernel_of(2.0 * ad.input("x", (3,)))) == {1}
    assert lanes_of(kernel_of(ad.exp(ad.transpose(y)) + y)) == {1}  # a column is not contiguous
    assert lanes_of(kernel_of(ad.input("n", (40,), "int32") + 1)) == {1}
    assert lanes_of(kernel_of(ad.astype(x, "float64") + 1.0)) == {1}  # two float types


@pytest.mark.parametrize(
    ("extent", "floats", "target", "lanes"),
    [
        (1000, "float32", "x86-64-v4", 16),
        (1000, "float64", "x86-64-v4", 8),
        (9, "float32", "x86-64-v4", 16),
        (8, "float32", "x86-64-v4", 8),
        (1, "float32", "x86-64-v4", 4),
        (1, "float64", "x86-64-v3", 2),
        (1000, "float32", "generic", 4),
    ],
)
def test_lanes(extent: int, floats: str, target: str, lanes: int) -> None:
    assert lanes_for(extent, floats, get_target(target)) == lanes


# --- Bodies ---

X, N, B = Arg(0), Arg(1), Arg(2)
DTYPES = ["float32", "int32", "bool"]
ONE = Const(1.0, "float32")


@pytest.mark.parametrize(
    ("body", "able"),
    [
        (call("exp", X), True),
        (call("div", call("sigmoid", X), ONE), True),
        (call("where", call("and", B, call("lt", N, Const(3, "int32"))), X, ONE), True),
        (call("mul", Cast("float32", Index(0)), X), True),
        (call("pow", X, ONE), False),
        (call("mul", X, call("mod", X, ONE)), False),
        (call("int_mod", N, N), False),
        (Cast("float64", X), False),
        (call("lt", B, B), False),
        (call("ne", B, B), True),
    ],
    ids=str,
)
def test_which_bodies_vectors_compute(body: Scalar, able: bool) -> None:
    assert on_vectors(body, DTYPES, "float32") is able


def test_every_function_is_known_or_left_to_plain_loops() -> None:
    """Vectors of floats take what they take whatever is registered later."""
    plain = {name for name in FUNCTIONS if FUNCTIONS[name].rule == "float"}
    plain = {n for n in plain if not on_vectors(call(n, *_args(n)), ["float32"], "float32")}
    assert {"pow", "fmod", "mod", "atan2", "hypot", "log10"} <= plain
    assert not plain & {"exp", "log", "tanh", "sin", "cos", "erf", "sigmoid", "softplus", "sqrt"}


def _args(name: str) -> list[Scalar]:
    return [Arg(0)] * FUNCTIONS[name].arity


def test_only_float() -> None:
    assert only_float(["int32", "float32", "float32"]) == "float32"
    assert only_float(["float32", "float64"]) is None
    assert only_float(["bool"]) is None


# --- Parts of vectors in the loop IR ---


@pytest.mark.parametrize("count", [0, 8, 9])
def test_a_part_is_neither_nothing_nor_all(count: int) -> None:
    params = (Param("x", "float32"), Param("y", "float32", written=True))
    part = integer(count)
    store = Store("y", integer(0), Load("x", integer(0), 8), 8, part)
    load = Store("y", integer(0), Load("x", integer(0), 8, count=part), 8)
    for stmt in (store, load):
        with pytest.raises(VerificationError, match=f"{count} of 8 lanes"):
            verify(Kernel("k", (), params, (stmt,)))


def test_an_unknown_count() -> None:
    params = (Param("y", "float32", written=True),)
    store = Store("y", integer(0), Const(1.0, "float32"), 8, Linear(((1, "m"),)))
    with pytest.raises(VerificationError, match="the integer m is used"):
        verify(Kernel("k", (), params, (store,)))
