"""What index notation is made of: indices, affine index expressions, and elements of tensors.

    Element = IndexExpression        sum(coefficient * index) + constant
            | Number(value)          a Python number, which never widens its company
            | Read(node, subscripts) one element of a tensor
            | Apply(function, args)  a scalar function of the table in graph/functions.py
            | Convert(dtype, x)
            | Reduction(combine, indices, body, guards, condition)

These are unfinished formulas: they have no loops yet. `compute` finds the extents of the indices
and lowers a whole tree to comprehensions. A reduction's own indices are renamed to fresh ones when
it is made, so that the same letter may be used in several sums of one formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiffc.errors import (
    ArgumentTypeError,
    DtypeError,
    IndexNotationError,
    SourceLocation,
    TruthValueError,
)
from autodiffc.graph.construct import number_of, wide_enough
from autodiffc.graph.expression import Expression
from autodiffc.graph.extents import Extent, ExtentLike, shape_text
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, coerced_call
from autodiffc.graph.types import is_float, promote, promote_weak
from autodiffc.ops import functions as _table  # noqa: F401 - fills FUNCTIONS

# Formulas are trees, worked through recursively; a deeper one would exhaust Python's stack.
DEEPEST = 200


class Element:
    """Base of the tree; carries Python's operators."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy arrays leave `array * element` to us
    __hash__ = object.__hash__

    @property
    def dtype(self) -> str:
        """The element type; a number alone has that of its kind."""
        raise NotImplementedError

    @property
    def parts(self) -> tuple[Element, ...]:
        """The elements this one is directly made of."""
        return ()

    @property
    def depth(self) -> int:
        """How many applications of functions stand within one another."""
        return max((part.depth for part in self.parts), default=0)

    def with_parts(self, parts: tuple[Element, ...]) -> Element:
        """The same element over other parts."""
        assert not parts
        return self

    def __autodiffc_elementwise__(self, function: str, args: Sequence[Any]) -> Element:
        """How the vocabulary's functions (`ad.exp`, `ad.where`) act on elements."""
        return apply(function, *args)

    def __autodiffc_cast__(self, dtype: str) -> Element:
        return convert(self, dtype)

    def __bool__(self) -> bool:
        raise TruthValueError(
            "a condition on indices or elements has no truth value",
            found=f"{self} in `if`, `and`, `or`, `not` or a chained comparison",
            expected="ad.where(condition, a, b), or `&` between comparisons: (0 <= i) & (i < n)",
            loc=here(),
        )

    def __iter__(self) -> Iterator[Any]:
        raise ArgumentTypeError("an element cannot be iterated over", found=str(self), loc=here())

    def __getitem__(self, item: object) -> Any:
        raise IndexNotationError(
            "an element cannot be subscripted again",
            found=f"{self}[...]",
            expected="all subscripts in one pair of brackets: x[i, j]",
            loc=here(),
        )

    def __repr__(self) -> str:
        return f"<element {self}>"

    def __neg__(self) -> Element:
        return apply("neg", self)

    def __pos__(self) -> Element:
        return self

    def __abs__(self) -> Element:
        return apply("abs", self)

    def __invert__(self) -> Element:
        return apply("not", self)

    def __eq__(self, other: object) -> Any:
        return apply("eq", self, other)

    def __ne__(self, other: object) -> Any:
        return apply("ne", self, other)


_OPERATORS = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "floordiv": "floordiv",
    "mod": "mod",
    "pow": "pow",
    "and": "and",
    "or": "or",
    "xor": "xor",
}


def _add_operators() -> None:
    """`__add__`, `__radd__` and so on, all of one shape."""

    def forward(function: str) -> Callable[[Element, Any], Element]:
        return lambda self, other: apply(function, self, other)

    def reflected(function: str) -> Callable[[Element, Any], Element]:
        return lambda self, other: apply(function, other, self)

    for python, function in _OPERATORS.items():
        setattr(Element, f"__{python}__", forward(function))
        setattr(Element, f"__r{python}__", reflected(function))
    for comparison in ("lt", "le", "gt", "ge"):
        setattr(Element, f"__{comparison}__", forward(comparison))


_add_operators()


# --- Indices ---


@dataclass(frozen=True, eq=False, repr=False)
class IndexExpression(Element):
    """`sum(coefficient * index) + constant`, with coefficients other than 0."""

    terms: Mapping[Index, int]
    constant: ExtentLike = 0

    @property
    def dtype(self) -> str:
        """As a value: wide enough for the square of any index, as `ad.arange` is."""
        return "int64"

    @property
    def indices(self) -> tuple[Index, ...]:
        return tuple(self.terms)

    @property
    def plain(self) -> Index | None:
        """The index, where the expression is an index and nothing else."""
        if len(self.terms) == 1 and self.constant == 0:
            (index, coefficient), *_ = self.terms.items()
            return index if coefficient == 1 else None
        return None

    def plus(self, other: IndexExpression, factor: int = 1) -> IndexExpression:
        """`self + factor * other`."""
        terms = dict(self.terms)
        for index, coefficient in other.terms.items():
            terms[index] = terms.get(index, 0) + factor * coefficient
        return _index_expression(terms, self.constant + other.constant * factor)

    def times(self, factor: int) -> IndexExpression:
        terms = {index: c * factor for index, c in self.terms.items()}
        return _index_expression(terms, self.constant * factor)

    def __neg__(self) -> Element:
        return self.times(-1)

    def __str__(self) -> str:
        out = ""
        for index, c in self.terms.items():
            sign = (" - " if c < 0 else " + ") if out else "-" * (c < 0)
            out += sign + ("" if abs(c) == 1 else f"{abs(c)}*") + index.name
        if self.constant == 0 and out:
            return out
        negative = isinstance(self.constant, int) and self.constant < 0
        value = -self.constant if negative else self.constant
        return out + ((" - " if negative else " + ") if out else "-" * negative) + str(value)


class Index(IndexExpression):
    """A loop index. `origin` is the index the user made, of which reductions use copies."""

    __slots__ = ("name", "origin")
    name: str
    origin: Index

    def __init__(self, name: str, origin: Index | None = None) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "origin", self if origin is None else origin)
        super().__init__({self: 1}, 0)

    def __iter__(self) -> Iterator[Index]:
        """`k, = ad.indices("k")` works as well as `k = ad.indices("k")`."""
        return iter((self,))


def _index_expression(terms: Mapping[Index, int], constant: ExtentLike) -> IndexExpression:
    kept = {index: c for index, c in terms.items() if c}
    expression = IndexExpression(kept, constant)
    return expression if expression.plain is None else expression.plain


def as_affine(value: object) -> IndexExpression | None:
    """An operand as an index expression: itself, an integer or an extent; else None."""
    if isinstance(value, IndexExpression):
        return value
    if isinstance(value, int | np.integer | Extent) and not isinstance(value, bool):
        return IndexExpression({}, value if isinstance(value, Extent) else int(value))
    return None


def _affine_result(function: str, operands: Sequence[object]) -> IndexExpression | None:
    """The sum, difference or integer multiple, where the operands allow it."""
    if function not in ("add", "sub", "mul"):
        return None
    a, b = (as_affine(operand) for operand in operands)
    if a is None or b is None:
        return None
    if function != "mul":
        return a.plus(b, 1 if function == "add" else -1)
    for factor, other in ((a, b), (b, a)):
        if not factor.terms and isinstance(factor.constant, int):
            return other.times(factor.constant)
    return None


# --- Elements ---


@dataclass(frozen=True, eq=False, repr=False)
class Number(Element):
    """A Python number."""

    value: bool | int | float

    @property
    def dtype(self) -> str:
        return promote_weak("bool", self.value)

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, eq=False, repr=False)
class Read(Element):
    """`node[subscripts]`; a subscript is affine, or itself a read of an integer tensor."""

    node: Node
    subscripts: tuple[Element, ...]
    loc: SourceLocation | None = None

    @property
    def dtype(self) -> str:
        return self.node.dtype

    @property
    def parts(self) -> tuple[Element, ...]:
        return self.subscripts

    def with_parts(self, parts: tuple[Element, ...]) -> Element:
        return Read(self.node, parts, self.loc)

    def __str__(self) -> str:
        return f"{tensor_text(self.node)}[{', '.join(map(str, self.subscripts))}]"


@dataclass(frozen=True, eq=False, repr=False)
class Apply(Element):
    """`function(*args)`; `apply` makes them."""

    function: str
    args: tuple[Element, ...]
    result: str
    depth: int = 0  # applications within one another

    @property
    def dtype(self) -> str:
        return self.result

    @property
    def parts(self) -> tuple[Element, ...]:
        return self.args

    def with_parts(self, parts: tuple[Element, ...]) -> Element:
        return Apply(self.function, parts, self.result, self.depth)

    def __str__(self) -> str:
        text = FUNCTIONS[self.function].text
        args = [f"({a})" if _is_compound(a) and text else str(a) for a in self.args]
        return text.format(*args) if text else f"{self.function}({', '.join(args)})"


def _is_compound(element: Element) -> bool:
    """Whether an element's text has an operator that may bind less tightly than its reader's."""
    if isinstance(element, IndexExpression):
        return element.plain is None and bool(element.terms)
    return isinstance(element, Apply)


@dataclass(frozen=True, eq=False, repr=False)
class Convert(Element):
    """The value in another element type."""

    target: str
    x: Element

    @property
    def dtype(self) -> str:
        return self.target

    @property
    def parts(self) -> tuple[Element, ...]:
        return (self.x,)

    def with_parts(self, parts: tuple[Element, ...]) -> Element:
        return Convert(self.target, parts[0])

    def __str__(self) -> str:
        return f"{self.target}({self.x})"


@dataclass(frozen=True, eq=False, repr=False)
class Reduction(Element):
    """`combine` over all values of `indices` (fresh ones) at which the guards are >= 0.

    `condition`, where given, is a truth value that is no conjunction of affine comparisons.
    """

    combine: str
    indices: tuple[Index, ...]
    body: Element
    guards: tuple[IndexExpression, ...] = ()
    condition: Element | None = None
    loc: SourceLocation | None = None

    @property
    def dtype(self) -> str:
        return self.body.dtype

    @property
    def parts(self) -> tuple[Element, ...]:
        condition = () if self.condition is None else (self.condition,)
        return (self.body, *self.guards, *condition)

    def with_parts(self, parts: tuple[Element, ...]) -> Element:
        body, rest = parts[0], parts[1:]
        guards = tuple(g for g in rest[: len(self.guards)] if isinstance(g, IndexExpression))
        condition = rest[-1] if self.condition is not None else None
        return Reduction(self.combine, self.indices, body, guards, condition, self.loc)

    def __str__(self) -> str:
        names = ", ".join(i.name for i in self.indices)
        return f"{self.combine}_over(({names}), {self.body})"


def tensor_text(node: Node) -> str:
    """How messages call a tensor."""
    return node.name or node.label or node.op


# --- Making elements ---


def as_element(value: object, what: str = "operand") -> Element:
    """An element, a number, an extent or a scalar expression as an element."""
    if isinstance(value, Element):
        return value
    if isinstance(value, bool | int | float):
        return Number(value)
    if isinstance(value, np.generic):
        return as_element(value.item(), what)
    if isinstance(value, Extent):
        return IndexExpression({}, value)
    if isinstance(value, Expression):
        if value.ndim:
            raise IndexNotationError(
                f"a whole tensor stands where index notation needs one element ({what})",
                found=f"{tensor_text(value.node)} of shape {shape_text(value.shape)}",
                expected=f"a subscript for each axis, e.g. "
                f"{tensor_text(value.node)}[{', '.join('ijklmn'[: value.ndim])}]",
                loc=here(),
            )
        return Read(value.node, (), here())
    raise ArgumentTypeError(
        f"{what} is not something index notation can compute with",
        found=f"{value!r} ({type(value).__name__})",
        expected="an element such as x[i, j], an index, or a number",
        loc=here(),
    )


def apply(function: str, *operands: object) -> Element:
    """`function` of elements; affine arithmetic of indices stays an index expression."""
    affine = _affine_result(function, operands) if len(operands) == 2 else None
    if affine is not None:
        return affine
    args = tuple(as_element(operand) for operand in operands)
    if function == "pow":
        return _power(*args)
    if function == "abs" and not is_float(args[0].dtype):
        return apply("where", apply("lt", args[0], 0), apply("neg", args[0]), args[0])
    if function in ("floordiv", "mod") and not any(is_float(a.dtype) for a in args):
        return _call(f"int_{function}", args)
    return _call(function, args)


def _call(function: str, args: tuple[Element, ...]) -> Apply:
    dtypes = argument_dtypes(function, args)
    for arg, dtype in zip(args, dtypes, strict=True):
        if isinstance(arg, Number):
            number_of(arg.value, dtype)  # refuses one that does not fit
    typed = [(Arg(k), dtype) for k, dtype in enumerate(dtypes)]
    depth = 1 + max(arg.depth for arg in args)
    if depth > DEEPEST:
        raise IndexNotationError(
            "a formula in index notation is nested too deeply",
            found=f"more than {DEEPEST} operations within one another",
            expected="shorter formulas",
            help="give parts of it a tensor of their own, t = ad.compute((i,), ...), and read t[i]",
            loc=here(),
        )
    try:
        return Apply(function, args, coerced_call(function, *typed)[1], depth)
    except DtypeError as error:
        error.loc = error.loc or here()
        raise


def _power(x: Element, y: Element) -> Element:
    """x**y; of integers an integer."""
    if isinstance(y, Number):
        return _literal_power(x, y.value)
    floating = is_float(x.dtype) or is_float(y.dtype)
    return _call("pow" if floating else "int_pow", (x, y))


def _literal_power(x: Element, exponent: float) -> Element:
    """x**exponent in the form a reader of the exponent would choose: products, roots."""
    if isinstance(exponent, float) and not is_float(x.dtype):
        x = convert(x, "real")
    if not is_float(x.dtype) and not 0 < exponent <= 4:
        return _integer_power(x, int(exponent))
    if exponent in (0.5, -0.5):
        return apply("sqrt" if exponent > 0 else "rsqrt", x)
    if exponent not in (-1, 1, 2, 3, 4):
        return _call("pow", (x, Number(float(exponent))))
    if exponent == -1:
        return apply("div", 1.0, x)
    product = convert(x, "int64") if x.dtype == "bool" else x
    for _ in range(int(exponent) - 1):
        product = apply("mul", product, x)
    return product


def _integer_power(x: Element, exponent: int) -> Element:
    if exponent < 0:
        raise DtypeError(
            "a power of integers would not be an integer",
            found=f"{x}, of dtype {x.dtype}, to the power of {exponent}",
            expected="a floating base, e.g. ad.astype(x, 'float32')",
            loc=here(),
        )
    return _call("int_pow", (x, Number(exponent)))


def argument_dtypes(function: str, args: Sequence[Element]) -> list[str]:
    """The type each argument brings along; numbers take that of their company."""
    values = args[1:] if FUNCTIONS[function].rule == "select" else args
    tensors = [a.dtype for a in values if not isinstance(a, Number)]
    common = promote(*tensors) if tensors else "bool"
    for arg in values:
        if isinstance(arg, Number):
            common = promote_weak(common, arg.value)
    if FUNCTIONS[function].rule == "compare":
        common = wide_enough(common, *(a.value for a in values if isinstance(a, Number)))
    return [
        a.dtype if not isinstance(a, Number) or isinstance(a.value, bool) else common for a in args
    ]


def convert(x: Element, dtype: str) -> Element:
    """`x` in another element type."""
    return x if x.dtype == dtype and not isinstance(x, Number) else Convert(dtype, x)


# --- Walking and renaming ---


def walk(element: Element) -> Iterator[Element]:
    """Every element of the tree, parents first."""
    yield element
    for part in element.parts:
        yield from walk(part)


def replace_indices(element: Element, new: Mapping[Index, Index]) -> Element:
    """The same tree over other indices."""
    if isinstance(element, IndexExpression):
        if not any(index in new for index in element.terms):
            return element
        return _index_expression(
            {new.get(index, index): c for index, c in element.terms.items()}, element.constant
        )
    parts = element.parts
    renamed = tuple(replace_indices(part, new) for part in parts)
    unchanged = all(a is b for a, b in zip(parts, renamed, strict=True))
    return element if unchanged else element.with_parts(renamed)


def free_indices(element: Element) -> dict[Index, None]:
    """The indices an element depends on, its own reductions' aside, in order of appearance."""
    if isinstance(element, IndexExpression):
        return dict.fromkeys(element.terms)
    found: dict[Index, None] = {}
    for part in element.parts:
        found |= free_indices(part)
    if isinstance(element, Reduction):
        for index in element.indices:
            found.pop(index, None)
    return found
