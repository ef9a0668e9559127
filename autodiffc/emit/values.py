"""Values and integers of the loop IR as C expressions.

Types are carried along: a float32 value calls `expf` and has constants with an `f`; a vector value
is spelled with GCC's vector extensions, and its comparisons are lane masks that `select_…` uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from autodiffc.graph.extents import Extent, ExtentLike
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import Call, Cast, Const, Scalar, Size
from autodiffc.graph.types import is_float
from autodiffc.loops.ir import (
    CeilDiv,
    FloorDiv,
    Int,
    IntValue,
    LaneSum,
    Linear,
    Load,
    MaskFirst,
    MaxOf,
    MinOf,
    Name,
)
from autodiffc.ops.functions import expansion

C_TYPES = {
    "bool": "uint8_t",
    "uint8": "uint8_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
    "float64": "double",
}
SHORT = {
    "bool": "bool",
    "uint8": "u8",
    "int32": "i32",
    "int64": "i64",
    "float32": "f32",
    "float64": "f64",
}


def vector_type(dtype: str, lanes: int) -> str:
    """The name of a vector type: `f32x16`; of a single lane `f32`."""
    return f"{SHORT[dtype]}x{lanes}" if lanes > 1 else SHORT[dtype]


# --- Integers ---


def extent_text(extent: ExtentLike) -> str:
    text = str(extent)
    return f"({text})" if isinstance(extent, Extent) and not text.isidentifier() else text


def int_text(value: Int) -> str:
    """An integer expression; the caller parenthesizes where a factor is needed."""
    if isinstance(value, Linear):
        return _linear_text(value)
    if isinstance(value, MaxOf):
        return _nested("larger", value.items)
    if isinstance(value, MinOf):
        return _nested("smaller", value.items)
    name = "ceil_div" if isinstance(value, CeilDiv) else "floor_div"
    assert isinstance(value, CeilDiv | FloorDiv)
    return f"{name}({_linear_text(value.value)}, {value.divisor})"


def _nested(function: str, items: tuple[Int, ...]) -> str:
    text = int_text(items[0])
    for item in items[1:]:
        text = f"{function}({text}, {int_text(item)})"
    return text


def _linear_text(value: Linear) -> str:
    out = ""
    for coefficient, name in value.terms:
        negative = isinstance(coefficient, int) and coefficient < 0
        size = -coefficient if negative else coefficient
        term = name if size == 1 else f"{extent_text(size)} * {name}"
        out += (" - " if negative else " + ") + term if out else ("-" if negative else "") + term
    constant = value.constant
    if constant == 0 and out:
        return out
    if isinstance(constant, int) and constant < 0:
        return f"{out} - {-constant}" if out else str(constant)
    return f"{out} + {extent_text(constant)}" if out else str(constant)


# --- Values ---


@dataclass(frozen=True)
class Text:
    """A C expression with its element type and lanes; `bool` of several lanes is a mask."""

    text: str
    dtype: str
    lanes: int = 1


@dataclass
class ValueWriter:
    """Writes values given the types of buffers and local variables.

    It notes the vector types, and the functions that are helpers of the module, that it used.
    """

    buffers: Mapping[str, str]
    variables: dict[str, tuple[str, int]] = field(default_factory=dict)
    vectors: set[tuple[str, int]] = field(default_factory=set)
    helpers: dict[tuple[str, str, int], None] = field(default_factory=dict)

    def text(self, value: Scalar) -> str:
        return self.write(value).text

    def write(self, value: Scalar) -> Text:
        """The expression of a value, its outermost parentheses removed."""
        found = self._write(value)
        return Text(_bare(found.text), found.dtype, found.lanes)

    def _write(self, value: Scalar) -> Text:
        if isinstance(value, Name):
            return Text(value.name, *self.variables[value.name])
        if isinstance(value, Load):
            return self._load(value)
        if isinstance(value, Const):
            return Text(constant_text(value), value.dtype)
        if isinstance(value, IntValue):
            return Text(f"(int32_t)({int_text(value.value)})", "int32")
        if isinstance(value, Size):
            return Text(f"(int64_t){extent_text(value.extent)}", "int64")
        if isinstance(value, Cast):
            return self._cast(value)
        if isinstance(value, LaneSum):
            dtype, _ = self.variables[value.name]
            self.vectors.add((dtype, value.lanes))
            return Text(f"lane_sum_{vector_type(dtype, value.lanes)}({value.name})", dtype)
        if isinstance(value, MaskFirst):
            return self._mask(value)
        assert isinstance(value, Call)
        return self._call(value)

    def _load(self, load: Load) -> Text:
        dtype = self.buffers[load.buffer]
        if load.lanes == 1:
            return Text(f"{load.buffer}[{int_text(load.index)}]", dtype)
        self.vectors.add((dtype, load.lanes))
        where = f"{load.buffer} + {int_text(load.index)}"
        return Text(f"load_{vector_type(dtype, load.lanes)}({where})", dtype, load.lanes)

    def _cast(self, cast: Cast) -> Text:
        inner = self._write(cast.x)
        if cast.dtype == "bool":
            return Text(f"({inner.text} != 0)", "bool")
        return Text(f"({C_TYPES[cast.dtype]}){inner.text}", cast.dtype)

    def _mask(self, mask: MaskFirst) -> Text:
        inner = self._write(mask.value)
        name = vector_type(inner.dtype, mask.lanes)
        keep = ", ".join("0" if lane < mask.count else "-1" for lane in range(mask.lanes))
        bits = f"i{name[1:]}"
        return Text(f"({name})(({bits}){inner.text} & ({bits}){{{keep}}})", inner.dtype, mask.lanes)

    def _call(self, call: Call) -> Text:
        function = FUNCTIONS[call.function]
        args = [self._write(a) for a in call.args]
        lanes = max(a.lanes for a in args)
        predicate = function.rule in ("compare", "predicate")
        dtype = "bool" if predicate else args[-1].dtype
        if function.expand is not None:
            return self._helper_call(call.function, args, lanes)
        if lanes > 1:
            return self._vector_call(call.function, args, dtype, lanes)
        if function.libm is not None:
            suffix = "f" if args[0].dtype == "float32" else ""
            inside = ", ".join(_bare(a.text) for a in args)
            return Text(f"{function.libm}{suffix}({inside})", dtype)
        assert function.operator is not None, call.function
        text = function.operator.format(*(a.text for a in args))
        narrow = dtype == "uint8" and call.function != "where"  # C computes in int
        return Text(f"({C_TYPES[dtype]}){text}" if narrow else text, dtype)

    def _helper_call(self, name: str, args: list[Text], lanes: int) -> Text:
        """A function made of simpler ones is a C function of the module."""
        dtype = args[-1].dtype
        self.helpers.setdefault((name, dtype, lanes))
        if lanes > 1:
            self.vectors.add((dtype, lanes))
            args = [self._splat(a, lanes) for a in args]
        inside = ", ".join(_bare(a.text) for a in args)
        return Text(f"{name}_{vector_type(dtype, lanes)}({inside})", dtype, lanes)

    def _vector_call(self, name: str, args: list[Text], dtype: str, lanes: int) -> Text:
        if name == "where":
            kind = vector_type(dtype, lanes)
            self.vectors.add((dtype, lanes))
            then, otherwise = (self._splat(a, lanes) for a in args[1:])
            if args[0].lanes == 1:  # one condition for all lanes
                return Text(f"({args[0].text} ? {then.text} : {otherwise.text})", dtype, lanes)
            inside = ", ".join(_bare(a.text) for a in (args[0], then, otherwise))
            return Text(f"select_{kind}({inside})", dtype, lanes)
        operator = FUNCTIONS[name].operator
        assert operator is not None, name
        if FUNCTIONS[name].rule == "compare":
            args = [self._splat(a, lanes) for a in args]
        elif dtype == "bool":
            args = [a if a.lanes > 1 else self._splat_mask(a, lanes) for a in args]
        return Text(operator.format(*(a.text for a in args)), dtype, lanes)

    def _splat_mask(self, condition: Text, lanes: int) -> Text:
        """A condition as a mask, all ones or all zeros, as wide as the kernel's elements."""
        wide = any(item == "float64" for item, _ in self.vectors)
        bits, item = (f"i64x{lanes}", "int64_t") if wide else (f"i32x{lanes}", "int32_t")
        return Text(f"(({bits}){{0}} - ({item})({condition.text}))", "bool", lanes)

    def _splat(self, value: Text, lanes: int) -> Text:
        if value.lanes > 1:
            return value
        kind = vector_type(value.dtype, lanes)
        self.vectors.add((value.dtype, lanes))
        return Text(f"splat_{kind}({_bare(value.text)})", value.dtype, lanes)


def helper_text(name: str, dtype: str, lanes: int) -> tuple[str, ValueWriter]:
    """The C function behind a helper call, and the writer that knows what it uses in turn."""
    function = FUNCTIONS[name]
    letters = "xyz"[: function.arity]
    writer = ValueWriter({}, dict.fromkeys(letters, (dtype, lanes)))
    body = expansion(name, [Name(letter) for letter in letters], dtype)
    value = writer.write(body)
    kind = vector_type(dtype, lanes)
    c_type = kind if lanes > 1 else C_TYPES[dtype]
    params = ", ".join(f"{c_type} {letter}" for letter in letters)
    unused = "AUTODIFFC_MAY_BE_UNUSED static inline"
    return f"{unused} {c_type} {name}_{kind}({params})\n{{\n    return {value.text};\n}}", writer


def constant_text(constant: Const) -> str:
    """A number of its type: `0.5f`, `INFINITY`, `INT64_C(3)`."""
    value, dtype = constant.value, constant.dtype
    if not is_float(dtype):
        number = int(value)
        if dtype == "int64":
            return "INT64_MIN" if number == -(2**63) else f"INT64_C({number})"
        if dtype == "int32" and number == -(2**31):
            return "INT32_MIN"
        return str(number) if number >= 0 else f"({number})"
    number_text = _float_text(float(value), dtype)
    return f"({number_text})" if number_text.startswith("-") else number_text


def _float_text(value: float, dtype: str) -> str:
    if math.isnan(value):
        return "NAN" if dtype == "float32" else "(double)NAN"
    if math.isinf(value):
        text = "INFINITY" if dtype == "float32" else "(double)INFINITY"
        return text if value > 0 else f"-{text}"
    if dtype == "float32":
        return f"{_shortest_float32(value)}f"
    return repr(value)


def _shortest_float32(value: float) -> str:
    """The shortest decimal that a float32 constant reads back as the same bits."""
    import numpy as np

    text = str(np.float32(value))
    return text if "." in text or "e" in text or "inf" in text else f"{text}.0"


def _bare(text: str) -> str:
    """Without parentheses that enclose the whole expression."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and position < len(text) - 1:
            return text
    return text[1:-1]
