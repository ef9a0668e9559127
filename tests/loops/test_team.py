"""What threads of a team share, who does the rest, and where they wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autodiffc.graph.extents import ExtentLike, dim
from autodiffc.graph.scalars import Const, call
from autodiffc.loops.ir import (
    Block,
    First,
    FloorDiv,
    For,
    Kernel,
    Let,
    LetInt,
    Linear,
    Load,
    Name,
    Param,
    Set,
    Stmt,
    Store,
    Var,
    Wait,
    Zero,
    integer,
    statements,
    variable,
)
from autodiffc.loops.team import for_team
from autodiffc.loops.verify import verify

PARAMS = (
    Param("x", "float32"),
    Param("ids", "int32"),
    Param("y", "float32", written=True),
    Param("z", "float32", written=True),
)
ONE = Const(1.0, "float32")
BATCH = {"n": (1, 128)}
STORE = Store("y", integer(0), ONE)


def kernel(*body: Stmt, work: ExtentLike = 100) -> Kernel:
    return Kernel("k", (), PARAMS, body, ("n",), work)


def loop(
    name: str, stop: ExtentLike, *body: Stmt, start: int = 0, step: int = 1, mode: str = "parallel"
) -> For:
    return For(name, integer(start), integer(stop), body, step, mode)


def shared(*body: Stmt) -> tuple[Stmt, ...]:
    found = for_team(kernel(*body), 100, BATCH)
    verify(found)
    assert found.team
    return found.body


# --- Whether ---


@pytest.mark.parametrize(("gate", "team"), [(99, True), (100, True), (101, False), (None, False)])
def test_a_kernel_is_shared_from_the_gate_on(gate: int | None, team: bool) -> None:
    found = for_team(kernel(loop("i", 64, STORE)), gate, {})
    assert found.team == team
    assert found.gate is None
    (only,) = found.body
    assert isinstance(only, For)
    assert only.mode == ("shared" if team else "serial")


def test_with_an_open_dim_the_call_decides() -> None:
    open_work = kernel(loop("i", 64, STORE), work=dim("n", 4) * 10)
    found = [for_team(open_work, gate, BATCH) for gate in (10, 11, 1280, 1281)]
    assert [k.team for k in found] == [True, True, True, False]
    assert [k.gate for k in found] == [None, 11, 1280, None]


def test_without_a_parallel_loop_one_thread_runs_it() -> None:
    serial = loop("i", 64, STORE, mode="simd")
    assert for_team(kernel(serial), 0, {}).body == (serial,)


# --- Which loop ---


def test_the_outermost_loop_is_shared_where_it_is_long() -> None:
    (outer,) = shared(loop("i", 32, loop("j", 8, STORE, mode="parallel simd")))
    assert isinstance(outer, For)
    assert outer.mode == "shared"
    assert [s.mode for s in outer.body if isinstance(s, For)] == ["simd"]


def points(body: tuple[Stmt, ...], names: tuple[str, ...], total: int) -> Iterator[tuple[int, ...]]:
    """The values of variables in each iteration of a joined loop over so many."""
    for number in range(total):
        known = {"i_j": number, "i_j_k": number}
        for stmt in body:
            if isinstance(stmt, LetInt):
                value = stmt.value
                assert isinstance(value, FloorDiv | Linear)
                linear = value.value if isinstance(value, FloorDiv) else value
                assert isinstance(linear.constant, int)
                result = linear.constant
                for factor, name in linear.terms:
                    assert isinstance(factor, int)
                    result += factor * known[name]
                divisor = value.divisor if isinstance(value, FloorDiv) else 1
                known[stmt.name] = result // divisor
        yield tuple(known[name] for name in names)


@pytest.mark.parametrize(
    ("outer", "inner"), [((0, 3, 1), (0, 16, 1)), ((0, 6, 2), (1, 33, 4)), ((2, 8, 1), (0, 24, 3))]
)
def test_short_loops_are_joined(outer: tuple[int, int, int], inner: tuple[int, int, int]) -> None:
    (i, stop_i, step_i), (j, stop_j, step_j) = outer, inner
    nest = loop("j", stop_j, STORE, start=j, step=step_j)
    (joined,) = shared(loop("i", stop_i, nest, start=i, step=step_i))
    assert isinstance(joined, For)
    assert joined.mode == "shared"
    expected = [(a, b) for a in range(*outer) for b in range(*inner)]
    assert joined.stop == integer(len(expected))
    assert list(points(joined.body, ("i", "j"), len(expected))) == expected
    assert joined.body[-1] == STORE


def test_a_loop_with_one_iteration_is_nothing_to_share() -> None:
    once = loop("i", 4, STORE, step=4)
    assert not for_team(kernel(once), 0, {}).team
    (joined,) = shared(loop("i", 3, loop("j", 7, loop("k", 16, STORE), start=5, step=2)))
    assert isinstance(joined, For)
    expected = [(a, 5, c) for a in range(3) for c in range(16)]
    assert list(points(joined.body, ("i", "j", "k"), 48)) == expected
    (outer,) = shared(loop("i", 1, LetInt("m", integer(0)), loop("j", 64, STORE)))
    assert isinstance(outer, For)
    assert outer.mode == "serial"


def test_as_many_loops_are_joined_as_it_takes() -> None:
    (joined,) = shared(loop("i", 3, loop("j", 2, loop("k", 20, STORE, step=4))))
    assert isinstance(joined, For)
    assert joined.variable == "i_j_k"
    expected = [(a, b, c) for a in range(3) for b in range(2) for c in range(0, 20, 4)]
    assert list(points(joined.body, ("i", "j", "k"), 30)) == expected


def test_an_open_loop_may_be_short_in_a_call() -> None:
    n = dim("n", 4)
    (joined,) = shared(loop("i", n, loop("j", 40, STORE)))
    assert isinstance(joined, For)
    assert joined.stop == integer(n * 40)


def test_blocks_that_overlap_are_shared_but_not_joined() -> None:
    """The last one is moved back; `part_of` gives it to the thread of the one before."""
    (outer,) = shared(loop("i", 10, loop("j", 64, STORE), step=4))
    assert isinstance(outer, For)
    assert (outer.variable, outer.mode) == ("i", "serial")
    (inner,) = outer.body
    assert isinstance(inner, For)
    assert (inner.variable, inner.mode) == ("j", "shared")


def test_a_long_loop_inside_a_short_one_is_shared() -> None:
    row = LetInt("row0", Load("ids", variable("i")))
    rest = Block((STORE,))
    (outer,) = shared(loop("i", 3, row, loop("j", 64, STORE), rest))
    assert isinstance(outer, For)
    assert outer.mode == "serial"
    assert [type(s) for s in outer.body] == [LetInt, For, First]
    assert [s.mode for s in outer.body if isinstance(s, For)] == ["shared"]


def test_but_not_where_all_threads_would_repeat_work() -> None:
    total = Var("acc", "float32", ONE)
    add = loop("k", 1000, Set("acc", call("add", Name("acc"), ONE)), mode="serial")
    (outer,) = shared(loop("i", 3, total, add, loop("j", 64, STORE)))
    assert isinstance(outer, For)
    assert outer.mode == "shared"


def test_new_names_hide_none() -> None:
    taken = LetInt("i_j", integer(0))
    body = shared(taken, loop("i", 3, loop("j", 16, STORE)))
    assert [s.variable for s in body if isinstance(s, For)] == ["i_j_"]


# --- The rest ---


def test_zeros_are_shared_and_waited_for() -> None:
    long = loop("i", 64, STORE)
    assert shared(Zero("y", 9), Zero("z", 9), long)[:3] == (
        Zero("y", 9, shared=True),
        Zero("z", 9, shared=True),
        Wait(),
    )


def test_what_is_not_shared_is_for_the_first_thread() -> None:
    value = Let("v", "float32", Load("x", integer(0)))
    serial = loop("j", 9, STORE, mode="serial")
    body = shared(value, loop("i", 64, STORE), Block((STORE,)), serial)
    assert [type(s) for s in body] == [Let, For, First, First]
    assert body[2:] == (First((STORE,)), First((serial,)))


def test_formulas_of_one_tensor_need_not_wait_for_each_other() -> None:
    body = shared(loop("i", 64, STORE), loop("j", 64, STORE), loop("i", 64, STORE))
    assert [type(s) for s in body] == [For, For, Block]  # the parts of `i` are declared in each


@pytest.mark.parametrize(
    "second",
    [
        Store("y", integer(0), call("add", Load("y", integer(0)), ONE)),
        Store("z", integer(0), Load("y", integer(0))),
    ],
    ids=["adds to it", "reads it"],
)
def test_what_reads_a_result_waits_for_it(second: Stmt) -> None:
    body = shared(loop("i", 64, STORE), loop("j", 64, second))
    assert [type(s) for s in body] == [For, Wait, For]


def test_a_loop_in_order_waits_at_the_end_of_each_round() -> None:
    (outer,) = shared(loop("k", 4, loop("i", 64, STORE), mode="serial"))
    assert isinstance(outer, For)
    assert [type(s) for s in statements(outer.body)] == [For, Store, Wait]
