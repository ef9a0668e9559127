"""Loads before choices: what stands behind a condition is read before it; nothing else moves."""

from __future__ import annotations

from autodiffc.graph.scalars import Call, Cast, Const, call, select
from autodiffc.loops.eager import with_eager_loads
from autodiffc.loops.ir import Block, For, Let, Load, Name, Set, Store, integer, variable

X, MASK = Load("x", variable("i")), Load("mask", variable("i"))
ZERO = Const(0.0, "float32")
DTYPES = {"x": "float32", "mask": "int32"}


def is_four(load: Load | Name) -> Call:
    return call("eq", load, Const(4, "int32"))


def test_a_load_behind_a_condition_comes_before_it() -> None:
    found = with_eager_loads([Store("y", variable("i"), select(is_four(MASK), X, ZERO))], DTYPES)
    choice = select(is_four(MASK), Name("operand0"), ZERO)
    assert found == [Let("operand0", "float32", X), Store("y", variable("i"), choice)]


def test_conditions_behind_conditions_too_and_each_element_once() -> None:
    inner = select(is_four(MASK), X, X * X)
    found = with_eager_loads([Set("acc", select(call("le", X, ZERO), ZERO, inner))], DTYPES)
    mask, x = Name("operand0"), Name("operand1")
    chosen = select(call("le", X, ZERO), ZERO, select(is_four(mask), x, x * x))
    lets = [Let("operand0", "int32", MASK), Let("operand1", "float32", X)]
    assert found == [*lets, Set("acc", chosen)]


def test_casts_and_calls_are_looked_through() -> None:
    value = select(is_four(MASK), Cast("float64", call("exp", X)), ZERO)
    first, second = with_eager_loads([Let("z", "float64", value)], DTYPES)
    assert first == Let("operand0", "float32", X)
    assert isinstance(second, Let)
    assert second.value == select(
        is_four(MASK), Cast("float64", call("exp", Name("operand0"))), ZERO
    )


def test_names_are_not_used_twice() -> None:
    """Not even in blocks apart: what a block means must not depend on its place."""
    store = Store("y", variable("i"), select(is_four(MASK), X, ZERO))
    body = [For("i", integer(0), integer(4), (store, Block((store,))))]
    (loop,) = with_eager_loads(body, DTYPES)
    assert isinstance(loop, For)
    first, _, block = loop.body
    assert isinstance(first, Let)
    assert isinstance(block, Block)
    second = block.body[0]
    assert isinstance(second, Let)
    assert first.name != second.name


def test_what_no_condition_guards_stays_where_it_is() -> None:
    plain = [Store("y", variable("i"), X * X), Set("acc", call("add", Name("acc"), X))]
    vectors = [Store("y", variable("i"), select(is_four(MASK), Load("x", variable("i"), 8), ZERO))]
    assert with_eager_loads(plain, DTYPES) == plain
    assert with_eager_loads(vectors, DTYPES) == vectors
