"""Constants and integer expressions as C text, read back by Python."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodiffc.emit.values import ValueWriter, constant_text, int_text
from autodiffc.graph.scalars import Cast, Const
from autodiffc.loops.ir import (
    CeilDiv,
    FloorDiv,
    Int,
    Linear,
    Load,
    MaskFirst,
    MaxOf,
    MinOf,
    Name,
    integer,
)
from tests.loops.test_bounds import value_of

HELPERS = {
    "larger": max,
    "smaller": min,
    "floor_div": lambda a, k: a // k,
    "ceil_div": lambda a, k: -(-a // k),
}


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (math.inf, "float32", "INFINITY"),
        (-math.inf, "float32", "(-INFINITY)"),
        (-math.inf, "float64", "(-(double)INFINITY)"),
        (math.nan, "float32", "NAN"),
        (math.nan, "float64", "(double)NAN"),
        (-0.0, "float32", "(-0.0f)"),
        (-0.0, "float64", "(-0.0)"),
        (0.1, "float32", "0.1f"),
        (1.0, "float64", "1.0"),
        (-(2**63), "int64", "INT64_MIN"),
        (2**63 - 1, "int64", "INT64_C(9223372036854775807)"),
        (-(2**31), "int32", "INT32_MIN"),
        (-3, "int32", "(-3)"),
        (True, "bool", "1"),
        (255, "uint8", "255"),
    ],
)
def test_constants(value: float, dtype: str, text: str) -> None:
    assert constant_text(Const(value, dtype)) == text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_constant_reads_back_as_the_same_bits(value: float) -> None:
    text = constant_text(Const(value, "float32")).strip("()")
    assert text.endswith("f")
    assert "." in text or "e" in text
    assert struct.pack("f", float(text[:-1])) == struct.pack("f", value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float64_constant_reads_back_as_the_same_bits(value: float) -> None:
    text = constant_text(Const(value, "float64")).strip("()")
    assert struct.pack("d", float(text)) == struct.pack("d", value)


linears = st.builds(
    Linear,
    st.lists(
        st.tuples(st.integers(-5, 5).filter(bool), st.sampled_from("ijk")),
        max_size=3,
        unique_by=lambda term: term[1],
    ).map(tuple),
    st.integers(-9, 9),
)
divisions = st.builds(CeilDiv, linears, st.integers(1, 7)) | st.builds(
    FloorDiv, linears, st.integers(1, 7)
)
atoms = linears | divisions
integers = (
    atoms
    | st.lists(atoms, min_size=1, max_size=3).map(lambda v: MaxOf(tuple(v)))
    | st.lists(atoms, min_size=1, max_size=3).map(lambda v: MinOf(tuple(v)))
)


@given(integers, st.tuples(*[st.integers(-20, 20)] * 3))
def test_the_text_of_an_integer_means_the_same(value: Int, point: tuple[int, ...]) -> None:
    known = dict(zip("ijk", point, strict=True))
    assert eval(int_text(value), {**HELPERS, **known}) == value_of(value, known)


def test_casts_and_masks() -> None:
    writer = ValueWriter({"x": "float32"}, {"v": ("float32", 4)})
    load = Load("x", integer(3))
    assert writer.text(Cast("int32", load)) == "(int32_t)x[3]"
    assert writer.text(Cast("bool", load)) == "x[3] != 0"
    mask = writer.text(MaskFirst(Name("v"), 4, 3))
    assert mask == "without_first_f32x4(v, 3)"
