"""Values and integers of the loop IR as C expressions.

Types are carried along: a float32 value calls `expf` and has constants with an `f`; a vector value
is spelled with GCC's vector extensions, and its comparisons are lane masks that `select_…` uses.
A mask has all bits of a lane set, or none. All masks of a kernel are equally wide, as wide as its
floats; where something else is compared, or selected, they are converted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from autodiffc.emit.vectors import C_TYPES as C_TYPES  # others look for it here
from autodiffc.emit.vectors import (
    FUNCTION_CALLS,
    bits_dtype,
    function_text,
    function_vectors,
    vector_type,
)
from autodiffc.graph.extents import Extent, ExtentLike
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.scalars import Call, Cast, Const, Scalar, Size
from autodiffc.graph.types import is_float
from autodiffc.loops.ir import (
    CeilDiv,
    FirstLanes,
    FloorDiv,
    Int,
    IntValue,
    LaneExtremum,
    LaneSum,
    Linear,
    Load,
    MaskFirst,
    MaxOf,
    MinOf,
    Name,
)
from autodiffc.ops.functions import expansion
from autodiffc.schedule.vectors import VECTOR_MATH
from autodiffc.schedule.words import dim_variable

_WORD = re.compile(r"[A-Za-z_]\w*")

# --- Integers ---


def extent_text(extent: ExtentLike) -> str:
    """An extent as a factor."""
    text = _polynomial(extent)
    return f"({text})" if isinstance(extent, Extent) and not text.isidentifier() else text


def _polynomial(extent: ExtentLike) -> str:
    return _WORD.sub(lambda match: dim_variable(match[0]), str(extent))


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


def pointer_text(buffer: str, index: Linear) -> str:
    """The address of an element."""
    return buffer if index == Linear(()) else f"{buffer} + {int_text(index)}"


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
        return f"{out} - {-constant}" if out else _polynomial(constant)
    return f"{out} + {extent_text(constant)}" if out else _polynomial(constant)


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

    buffers: dict[str, str]
    variables: dict[str, tuple[str, int]] = field(default_factory=dict)
    vectors: set[tuple[str, int]] = field(default_factory=set)
    helpers: dict[tuple[str, str, int], None] = field(default_factory=dict)
    mask: str = field(init=False)  # the integers that masks consist of

    def __post_init__(self) -> None:
        types = {*self.buffers.values(), *(dtype for dtype, _ in self.variables.values())}
        self.mask = "int64" if "float64" in types else "int32"

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
            return self._int_value(value)
        if isinstance(value, Size):
            return Text(f"(int64_t){extent_text(value.extent)}", "int64")
        if isinstance(value, Cast):
            return self._cast(value)
        if isinstance(value, LaneSum):
            dtype, _ = self.variables[value.name]
            self.vectors.add((dtype, value.lanes))
            return Text(f"lane_sum_{vector_type(dtype, value.lanes)}({value.name})", dtype)
        if isinstance(value, LaneExtremum):
            dtype, _ = self.variables[value.name]
            name = self.helper(f"lane_{value.kind}", dtype, value.lanes)
            return Text(f"{name}({value.name})", dtype)
        if isinstance(value, FirstLanes):
            return self._first_lanes(value)
        if isinstance(value, MaskFirst):
            return self._mask(value)
        assert isinstance(value, Call)
        return self._call(value)

    def _load(self, load: Load) -> Text:
        dtype, lanes = self.buffers[load.buffer], load.lanes
        if lanes == 1:
            return Text(f"{load.buffer}[{int_text(load.index)}]", dtype)
        if load.stride == 0:
            element = Text(f"{load.buffer}[{int_text(load.index)}]", dtype)
            if load.kept:
                return Text(f"splat_kept_{self.kind(dtype, lanes)}({element.text})", dtype, lanes)
            return self.splat(element, lanes)
        kind = self.kind(dtype, lanes)
        where = pointer_text(load.buffer, load.index)
        text = f"{'load_kept' if load.kept else 'load'}_{kind}({where})"
        if load.count is not None:
            text = f"load_part_{kind}({where}, {int_text(load.count)})"
        if dtype != "bool":
            return Text(text, dtype, lanes)
        wide = self._convert(Text(f"widen_{kind}({text})", "int32", lanes), self.mask)
        return Text(f"({wide.text} != 0)", "bool", lanes)

    def _int_value(self, value: IntValue) -> Text:
        text = f"(int32_t)({int_text(value.value)})"
        if value.lanes == 1:
            return Text(text, "int32")
        kind = self.kind("int32", value.lanes)
        steps = ", ".join(map(str, range(value.lanes)))
        return Text(f"({text} + ({kind}){{{steps}}})", "int32", value.lanes)

    def _cast(self, cast: Cast) -> Text:
        inner = self._write(cast.x)
        if inner.lanes > 1:
            return self._vector_cast(inner, cast.dtype)
        if cast.dtype == "bool":
            return Text(f"({inner.text} != 0)", "bool")
        return Text(f"({C_TYPES[cast.dtype]}){inner.text}", cast.dtype)

    def _vector_cast(self, x: Text, dtype: str) -> Text:
        if dtype == "bool":
            return self._as_mask(Text(f"({x.text} != 0)", x.dtype, x.lanes))
        if x.dtype == "bool":
            one, nothing = (
                self.splat(Text(constant_text(Const(k, dtype)), dtype), x.lanes) for k in (1, 0)
            )
            return self._select(x, one, nothing)
        if x.dtype == "uint8":
            x = Text(f"widen_{self.kind(x.dtype, x.lanes)}({_bare(x.text)})", "int32", x.lanes)
        return self._convert(x, dtype)

    def _convert(self, x: Text, dtype: str) -> Text:
        """Lane by lane as a C cast does."""
        if x.dtype == dtype:
            return x
        text = f"__builtin_convertvector({_bare(x.text)}, {self.kind(dtype, x.lanes)})"
        return Text(text, dtype, x.lanes)

    def _as_mask(self, compared: Text) -> Text:
        """A comparison of vectors, given with the type that was compared, as one of our masks."""
        bits = self.mask if compared.dtype == "bool" else bits_dtype(compared.dtype)
        mask = self._convert(Text(compared.text, bits, compared.lanes), self.mask)
        return Text(mask.text, "bool", compared.lanes)

    def _select(self, mask: Text, then: Text, otherwise: Text) -> Text:
        dtype, lanes = then.dtype, mask.lanes
        fitting = self._convert(Text(mask.text, self.mask, lanes), bits_dtype(dtype))
        inside = ", ".join(_bare(a.text) for a in (fitting, then, otherwise))
        return Text(f"select_{self.kind(dtype, lanes)}({inside})", dtype, lanes)

    def kind(self, dtype: str, lanes: int) -> str:
        """The name of a vector type, which the module then declares."""
        self.vectors.add((dtype, lanes))
        return vector_type(dtype, lanes)

    def helper(self, name: str, dtype: str, lanes: int) -> str:
        """The C name of a function of vectors, which the module then defines."""
        self.helpers.setdefault((name, dtype, lanes))
        return f"{name}_{self.kind(dtype, lanes)}"

    def _mask(self, mask: MaskFirst) -> Text:
        inner = self._write(mask.value)
        name = self.helper("without_first", inner.dtype, mask.lanes)
        return Text(f"{name}({_bare(inner.text)}, {mask.count})", inner.dtype, mask.lanes)

    def _call(self, call: Call) -> Text:
        function = FUNCTIONS[call.function]
        args = [self._write(a) for a in call.args]
        lanes = max(a.lanes for a in args)
        predicate = function.rule in ("compare", "predicate")
        dtype = "bool" if predicate else args[-1].dtype
        if function.expand is not None or (lanes > 1 and call.function in VECTOR_MATH):
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
        """A function made of simpler ones, or of vectors, is a C function of the module."""
        dtype = args[-1].dtype
        self.helpers.setdefault((name, dtype, lanes))
        if lanes > 1:
            self.vectors.add((dtype, lanes))
            args = [self.splat(a, lanes) for a in args]
        inside = ", ".join(_bare(a.text) for a in args)
        return Text(f"{name}_{vector_type(dtype, lanes)}({inside})", dtype, lanes)

    def _first_lanes(self, part: FirstLanes) -> Text:
        inner = self.splat(self._write(part.value), part.lanes)
        name = self.helper("first_lanes", inner.dtype, part.lanes)
        rest = _bare(constant_text(part.rest))
        text = f"{name}({_bare(inner.text)}, {int_text(part.count)}, {rest})"
        return Text(text, inner.dtype, part.lanes)

    def _vector_call(self, name: str, args: list[Text], dtype: str, lanes: int) -> Text:
        if name == "where":
            then, otherwise = (self.splat(a, lanes) for a in args[1:])
            if args[0].lanes == 1:  # one condition for all lanes
                return Text(f"({args[0].text} ? {then.text} : {otherwise.text})", dtype, lanes)
            return self._select(args[0], then, otherwise)
        if name == "not":
            return Text(f"(~{args[0].text})", dtype, lanes)
        operator = FUNCTIONS[name].operator
        assert operator is not None, name
        if FUNCTIONS[name].rule == "compare" or dtype == "bool":
            args = [self.splat(a, lanes) for a in args]
        text = operator.format(*(a.text for a in args))
        if FUNCTIONS[name].rule in ("compare", "predicate"):
            return self._as_mask(Text(text, args[0].dtype, lanes))
        return Text(text, dtype, lanes)

    def splat(self, value: Text, lanes: int) -> Text:
        """The value in all lanes; a condition as a mask."""
        if value.lanes > 1:
            return value
        if value.dtype == "bool":
            bits, item = self.kind(self.mask, lanes), C_TYPES[self.mask]
            return Text(f"(({bits}){{0}} - ({item})({value.text}))", "bool", lanes)
        kind = self.kind(value.dtype, lanes)
        return Text(f"splat_{kind}({_bare(value.text)})", value.dtype, lanes)

    def as_stored(self, value: Text, dtype: str, lanes: int) -> str:
        """A vector as a buffer of the type holds it: positions and truth values are bytes."""
        kind = self.kind(dtype, lanes)
        if dtype == "uint8" and value.dtype == "int32":
            return f"narrow_{kind}({_bare(self.splat(value, lanes).text)})"
        if dtype != "bool":
            return _bare(self.splat(value, lanes).text)
        mask = Text(self.splat(value, lanes).text, self.mask, lanes)
        text = self._convert(mask, "int32").text
        return f"narrow_{kind}({text if text.isidentifier() else f'({text})'} & 1)"


def helper_text(name: str, dtype: str, lanes: int) -> tuple[str, ValueWriter]:
    """The C function behind a helper call, and the writer that knows what it uses in turn."""
    if lanes > 1 and name in FUNCTION_CALLS:
        return _vector_function(name, dtype, lanes)
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


def _vector_function(name: str, dtype: str, lanes: int) -> tuple[str, ValueWriter]:
    writer = ValueWriter({})
    writer.vectors |= function_vectors(name, dtype, lanes)
    writer.helpers.update(dict.fromkeys((n, dtype, lanes) for n in FUNCTION_CALLS[name]))
    return function_text(name, dtype, lanes), writer


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
