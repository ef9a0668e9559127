"""Pointers to what several addresses have in common."""

from __future__ import annotations

from autodiffc.graph.scalars import Const, call
from autodiffc.loops.bases import with_bases
from autodiffc.loops.ir import (
    For,
    Let,
    LetPointer,
    Linear,
    Load,
    MaskFirst,
    Name,
    Set,
    Stmt,
    Store,
    integer,
    variable,
)

PLACE = Linear(((248, "i"), (1, "j")))


def loads(*distances: int, lanes: int = 8) -> list[Stmt]:
    return [Let(f"x_{d}", "float32", Load("x", PLACE + d, lanes), lanes) for d in distances]


def test_loads_at_constant_distances_have_one_pointer() -> None:
    first, *rest = with_bases(loads(8, -16, 24))
    assert first == LetPointer("x_at0", "x", PLACE - 16)
    places = [s.value for s in rest if isinstance(s, Let)]
    assert places == [Load("x_at0", integer(d), 8) for d in (24, 0, 40)]


def test_a_pointer_stands_before_its_first_use() -> None:
    """What the address is made of may be declared just before."""
    zero = Let("zero", "float32", Const(0.0, "float32"))
    found = with_bases([zero, *loads(0, 1, 2)])
    assert found[0] == zero
    assert isinstance(found[1], LetPointer)


def test_masks_and_sums_are_looked_into() -> None:
    load = Load("x", PLACE, 8)
    masked = Let("a", "float32", MaskFirst(load, 8, 3), 8)
    added = Set("sum", call("add", Name("sum"), call("mul", load, Load("x", PLACE + 5, 8))))
    pointer, first, second = with_bases([masked, added])
    assert isinstance(pointer, LetPointer)
    here = Load(pointer.name, integer(0), 8)
    assert first == Let("a", "float32", MaskFirst(here, 8, 3), 8)
    there = Load(pointer.name, integer(5), 8)
    assert second == Set("sum", call("add", Name("sum"), call("mul", here, there)))


def test_what_is_stored_through_is_no_constant() -> None:
    stores = [Store("y", PLACE + d, Load("x", PLACE + d)) for d in range(3)]
    found = with_bases(stores)
    written = {s.buffer: s.written for s in found if isinstance(s, LetPointer)}
    assert written == {"x": False, "y": True}
    stored = [s for s in found if isinstance(s, Store)]
    assert [s.buffer for s in stored] == ["y_at1"] * 3
    assert [s.index for s in stored] == [integer(d) for d in range(3)]


def test_few_or_simple_addresses_are_left_alone() -> None:
    few = loads(0, 8)
    simple: list[Stmt] = [Let(f"x_{d}", "float32", Load("x", variable("i") + d)) for d in range(5)]
    simd = [For("j", integer(0), integer(9), tuple(loads(0, 1, 2, lanes=1)), 1, "simd")]
    for body in (few, simple, simd):
        assert with_bases(body) == body


def test_blocks_have_pointers_of_their_own() -> None:
    loop = For("j", integer(0), integer(64), tuple(loads(0, 8, 16)), 8)
    names = []
    for found in with_bases([loop, loop]):
        assert isinstance(found, For)
        assert isinstance(found.body[0], LetPointer)
        names.append(found.body[0].name)
    assert names == ["x_at0", "x_at1"]
