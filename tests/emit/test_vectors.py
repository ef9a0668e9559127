"""The texts of vector functions, and of values that only vectors have."""

from __future__ import annotations

import re

import pytest

from autodiffc.emit.resources import templates_directory
from autodiffc.emit.statements import kernel_text
from autodiffc.emit.values import ValueWriter
from autodiffc.emit.vectors import FUNCTION_CALLS, function_text, vector_helpers
from autodiffc.graph.scalars import Cast, Const, call
from autodiffc.loops.ir import IntValue, Kernel, Load, Name, Param, Store, integer, variable
from autodiffc.schedule.vectors import VECTOR_MATH


def test_every_function_has_a_template_and_every_template_a_function() -> None:
    files = {path.name.split(".")[0] for path in templates_directory().glob("functions/*.c.j2")}
    assert files == set(FUNCTION_CALLS)
    assert set(FUNCTION_CALLS) >= VECTOR_MATH


@pytest.mark.parametrize("name", FUNCTION_CALLS)
@pytest.mark.parametrize(
    ("dtype", "lanes", "kind"), [("float32", 8, "f32x8"), ("float64", 2, "f64x2")]
)
def test_functions_call_what_the_table_says(name: str, dtype: str, lanes: int, kind: str) -> None:
    text = function_text(name, dtype, lanes)
    bits = f"i{kind[1:]}"
    everywhere = {name, "select", "splat", "load", "store"}
    called = set(re.findall(rf"(\w+)_(?:{kind}|{bits})\(", text)) - everywhere
    assert called == set(FUNCTION_CALLS[name])
    assert text.startswith("/* ")  # what it computes
    other = "f64x8" if kind == "f32x8" else "f32"
    assert name == "sin_shifted" or other not in text


def test_a_type_is_declared_once() -> None:
    text = vector_helpers({("float32", 8), ("int32", 8), ("bool", 8), ("uint8", 8), ("float64", 8)})
    declared = re.findall(r"^typedef .* (\w+) __attribute__", text, re.MULTILINE)
    assert len(declared) == len(set(declared))
    assert {"f32x8", "i32x8", "u32x8", "u8x8", "u16x8", "f64x8", "i64x8"} <= set(declared)


def test_values() -> None:
    buffers = {"x": "float32", "m": "bool", "n": "int32"}
    writer = ValueWriter(buffers, {"v": ("float32", 4), "t": ("bool", 4)})
    assert writer.text(Load("x", integer(0), 4)) == "load_f32x4(x)"
    part = Load("x", integer(8), 4, count=integer(3))
    assert writer.text(part) == "load_part_f32x4(x + 8, 3)"
    assert writer.text(Load("x", integer(2), 4, stride=0)) == "splat_f32x4(x[2])"
    assert writer.text(Load("m", integer(0), 4)) == "widen_u8x4(load_u8x4(m)) != 0"
    assert writer.text(IntValue(variable("i"), 4)) == "(int32_t)(i) + (i32x4){0, 1, 2, 3}"
    assert writer.text(call("not", Name("t"))) == "~t"
    assert writer.text(call("exp", Name("v"))) == "exp_f32x4(v)"
    chosen = call("where", Name("t"), Name("v"), Const(0.0, "float32"))
    assert writer.text(chosen) == "select_f32x4(t, v, splat_f32x4(0.0f))"
    assert writer.text(Cast("float32", Name("t"))) == (
        "select_f32x4(t, splat_f32x4(1.0f), splat_f32x4(0.0f))"
    )


def test_masks_are_as_wide_as_the_floats() -> None:
    writer = ValueWriter({"x": "float64", "n": "int32"})
    compared = call("lt", Load("n", integer(0), 4), Const(3, "int32"))
    chosen = writer.text(call("where", compared, Load("x", integer(0), 4), Const(0.0, "float64")))
    assert chosen == (
        "select_f64x4(__builtin_convertvector(load_i32x4(n) < splat_i32x4(3), i64x4), "
        "load_f64x4(x), splat_f64x4(0.0))"
    )


def test_truth_values_are_stored_as_bytes() -> None:
    params = (Param("x", "float32"), Param("y", "bool", written=True))
    compared = call("gt", Load("x", integer(0), 4), Const(0.0, "float32"))
    text, _ = kernel_text(Kernel("k", (), params, (Store("y", integer(0), compared, 4),)), "k")
    assert "store_u8x4(y, narrow_u8x4((load_f32x4(x) > splat_f32x4(0.0f)) & 1));" in text
