"""Statements of the loop IR as text: one small piece each."""

from __future__ import annotations

import pytest

from autodiffc.emit.statements import StatementWriter, kernel_text, wrapped_list
from autodiffc.emit.values import ValueWriter
from autodiffc.graph.extents import dim
from autodiffc.graph.scalars import Const, call
from autodiffc.loops.ir import (
    Block,
    Comment,
    FailUnless,
    First,
    FloorDiv,
    For,
    If,
    Kernel,
    Let,
    LetInt,
    Linear,
    Load,
    MinOf,
    Name,
    Param,
    Set,
    Stmt,
    Store,
    Var,
    Wait,
    Zero,
    integer,
    variable,
)

I = variable("i")
ELEMENT = Load("x", I)


def lines_of(*stmts: Stmt) -> list[str]:
    writer = StatementWriter(ValueWriter({"x": "float32", "y": "float32", "ids": "int32"}))
    writer.depth = 0
    for stmt in stmts:
        writer.write(stmt)
    return writer.lines


PIECES: dict[str, tuple[list[Stmt], list[str]]] = {
    "loop": (
        [For("i", integer(0), integer(8), (Store("y", I, ELEMENT),))],
        ["for (int64_t i = 0; i < 8; ++i) {", "    y[i] = x[i];", "}"],
    ),
    "loop with a step": (
        [For("i", integer(2), integer(8), (), step=4)],
        ["for (int64_t i = 2; i < 8; i += 4) {", "}"],
    ),
    "loop backwards": (
        [For("i", integer(0), integer(8), (), step=-1)],
        ["for (int64_t i = 8; i-- > 0;) {", "}"],
    ),
    "an end that is computed once": (
        [For("i", integer(0), MinOf((Linear((), 8), Linear(((2, "n"),), 1))), ())],
        [
            "const int64_t i_end = smaller(8, 2 * n + 1);",
            "for (int64_t i = 0; i < i_end; ++i) {",
            "}",
        ],
    ),
    "shared": (
        [For("i", integer(0), integer(8), (), step=4, mode="shared")],
        [
            "const loop_part i_part = part_of(0, 8, 4, team);",
            "for (int64_t i = i_part.start; i < i_part.stop; i += 4) {",
            "}",
        ],
    ),
    "shared and vectorized": (
        [For("i", integer(0), variable("n"), (), mode="shared simd")],
        [
            "const int64_t i_end = n;",
            "const loop_part i_part = part_of(0, i_end, 64, team);",
            "AUTODIFFC_SIMD",
            "for (int64_t i = i_part.start; i < i_part.stop; ++i) {",
            "}",
        ],
    ),
    "first": ([First((Comment("inside"),))], ["if (team.part == 0) {", "    /* inside */", "}"]),
    "wait": ([Wait()], ["team_wait(team);"]),
    "if": (
        [If((Linear(((1, "i"),), -2), Linear(((-1, "i"),), 5)), (Comment("inside"),))],
        ["if (i - 2 >= 0 && -i + 5 >= 0) {", "    /* inside */", "}"],
    ),
    "block": ([Block((Comment("inside"),))], ["{", "    /* inside */", "}"]),
    "check": ([FailUnless((I, Linear(((-1, "i"),), 9)))], ["if (i < 0 || -i + 9 < 0) return 1;"]),
    "zero": ([Zero("y", 12)], ["memset(y, 0, (size_t)12 * sizeof *y);"]),
    "shared zero": (
        [Zero("y", 12, shared=True)],
        ["zero_part(y, (size_t)12 * sizeof *y, team);"],
    ),
    "integers": (
        [LetInt("row0", Load("ids", I)), LetInt("q", FloorDiv(I, 3))],
        ["const int64_t row0 = ids[i];", "const int64_t q = floor_div(i, 3);"],
    ),
    "values": (
        [
            Var("total", "float32", Const(0.0, "float32")),
            Let("v", "float32", ELEMENT),
            Set("total", call("add", Name("total"), Name("v"))),
            Set("total", call("mul", Name("total"), Name("v"))),
            Set("total", Name("v")),
        ],
        [
            "float total = 0.0f;",
            "const float v = x[i];",
            "total += v;",
            "total *= v;",
            "total = v;",
        ],
    ),
    "an element added to": (
        [Store("y", I, call("add", Load("y", I), ELEMENT))],
        ["y[i] += x[i];"],
    ),
    "an element added to another": (
        [Store("y", I, call("add", Load("y", integer(3)), ELEMENT))],
        ["y[i] = y[3] + x[i];"],
    ),
    "vectors": (
        [
            Var("total", "float32", Const(0.0, "float32"), 8),
            Var("ones", "float32", Const(1.0, "float32"), 8),
            Let("v", "float32", Load("x", I, 8), 8),
            Store("y", I, Name("v"), 8),
            Store("y", I, Const(2.0, "float32"), 8),
        ],
        [
            "f32x8 total = {0};",
            "f32x8 ones = splat_f32x8(1.0f);",
            "const f32x8 v = load_f32x8(x + i);",
            "store_f32x8(y + i, v);",
            "store_f32x8(y + i, splat_f32x8(2.0f));",
        ],
    ),
}


@pytest.mark.parametrize("piece", PIECES)
def test_pieces(piece: str) -> None:
    stmts, text = PIECES[piece]
    assert lines_of(*stmts) == text


def test_a_variable_ends_with_its_block() -> None:
    values = ValueWriter({"x": "float32"})
    writer = StatementWriter(values)
    writer.write(Block((Let("v", "float32", ELEMENT),)))
    assert values.variables == {}


def test_a_kernel() -> None:
    loop = For("i", integer(0), integer(8), (Store("y", I, ELEMENT),))
    params = (Param("x", "float32", False, True), Param("y", "float32", True, True))
    kernel = Kernel("copy", ("y[i] = x[i]  */ \\",), params, (loop,), (), 8, False)
    text, _ = kernel_text(kernel, "kernel_copy")
    assert text.splitlines() == [
        "/* y[i] = x[i]  * / / */",
        "static void kernel_copy(const float *restrict x, float *restrict y)",
        "{",
        "    for (int64_t i = 0; i < 8; ++i) {",
        "        y[i] = x[i];",
        "    }",
        "}",
    ]


def test_a_kernel_of_a_team() -> None:
    loop = For("i", integer(0), variable("n"), (Store("y", I, ELEMENT),), mode="shared")
    params = (Param("x", "float32", False, True), Param("y", "float32", True, True))
    work = dim("n", 4) * 5
    kernel = Kernel("copy", ("y[i] = x[i]",), params, (loop,), ("n",), work, team=True, gate=200)
    text, _ = kernel_text(kernel, "kernel_copy")
    signature = "const float *restrict x, float *restrict y, team_part team)"
    assert text.splitlines()[1:4] == [
        f"static void kernel_copy(int64_t n, {signature}",
        "{",
        "    if (!takes_part(&team, (5*n) >= 200)) return;",
    ]


def test_lists_break_between_items_only() -> None:
    items = [f"int64_t argument_{k}" for k in range(9)]
    lines = wrapped_list("void f(", items, ")", 60)
    assert all(len(line) <= 60 for line in lines)
    assert len(lines) > 1
    assert " ".join(x.strip() for x in lines) == f"void f({', '.join(items)})"
    assert wrapped_list("f(", [], ");") == ["f();"]
