"""What the user holds: an expression wraps a node and gives it operators.

Nodes stay plain hashable data, `==` on expressions can be elementwise. The operators themselves
belong to the vocabulary (`ops/`, and index notation in `dsl/`), which enters them in `OPERATORS`
when it is imported; this file only spells Python's protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autodiffc.errors import ArgumentTypeError, NumberOverflowError, TruthValueError
from autodiffc.graph.construct import constant_node
from autodiffc.graph.extents import Extent, ExtentLike, shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node

OPERATORS: dict[str, Callable[..., Any]] = {}

Axes = int | Sequence[int] | None


class Expression:
    """A symbolic tensor: it has a shape and a dtype, operators, and a few of NumPy's methods.

    Each method is the function of the same name in `autodiffc`; there are many more of those.
    """

    __slots__ = ("node",)
    __array_ufunc__ = None  # NumPy arrays leave `array + expression` to us
    __hash__ = object.__hash__  # by identity: states are keys of `updates`

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def shape(self) -> tuple[ExtentLike, ...]:
        """The extents, integers or dims."""
        return self.node.shape

    @property
    def dtype(self) -> str:
        """The element type by name; `real` is the float of the build."""
        return self.node.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.node.shape)

    @property
    def T(self) -> Expression:  # noqa: N802 - NumPy's name
        """The transpose: axes in reverse order."""
        return _expression("transpose", self)

    def __repr__(self) -> str:
        name = self.node.name or self.node.label or self.node.op
        return f"Expression({name}: {self.dtype}{shape_text(self.shape)})"

    def __bool__(self) -> bool:
        raise TruthValueError(
            "a symbolic expression has no truth value",
            found=f"{self!r} in `if`, `and`, `or`, `not` or a chained comparison",
            expected="ad.where(condition, a, b), or `&` `|` `~` between comparisons: "
            "(0 <= i) & (i < n)",
            loc=here(),
        )

    def __iter__(self) -> Any:
        raise ArgumentTypeError(
            "a symbolic expression cannot be iterated over",
            found=repr(self),
            expected="slices such as x[0], or index notation",
            loc=here(),
        )

    def __len__(self) -> int:
        raise ArgumentTypeError(
            "a symbolic expression has no len()",
            found=repr(self),
            expected="x.shape[0]",
            loc=here(),
        )

    if TYPE_CHECKING:  # `_add_operators` below makes them

        def __add__(self, other: Any) -> Expression: ...
        def __radd__(self, other: Any) -> Expression: ...
        def __sub__(self, other: Any) -> Expression: ...
        def __rsub__(self, other: Any) -> Expression: ...
        def __mul__(self, other: Any) -> Expression: ...
        def __rmul__(self, other: Any) -> Expression: ...
        def __truediv__(self, other: Any) -> Expression: ...
        def __rtruediv__(self, other: Any) -> Expression: ...
        def __floordiv__(self, other: Any) -> Expression: ...
        def __rfloordiv__(self, other: Any) -> Expression: ...
        def __mod__(self, other: Any) -> Expression: ...
        def __rmod__(self, other: Any) -> Expression: ...
        def __pow__(self, other: Any) -> Expression: ...
        def __rpow__(self, other: Any) -> Expression: ...
        def __and__(self, other: Any) -> Expression: ...
        def __rand__(self, other: Any) -> Expression: ...
        def __or__(self, other: Any) -> Expression: ...
        def __ror__(self, other: Any) -> Expression: ...
        def __xor__(self, other: Any) -> Expression: ...
        def __rxor__(self, other: Any) -> Expression: ...
        def __lt__(self, other: Any) -> Expression: ...
        def __le__(self, other: Any) -> Expression: ...
        def __gt__(self, other: Any) -> Expression: ...
        def __ge__(self, other: Any) -> Expression: ...

    def reshape(self, *shape: Any) -> Expression:
        """`ad.reshape(self, shape)`; the extents may be given one by one."""
        return _expression("reshape", self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Expression:
        """`ad.transpose(self, axes)`; the axes, in their new order, may be given one by one."""
        several = len(axes) != 1 or isinstance(axes[0], int)
        return _expression("transpose", self, (axes or None) if several else axes[0])

    def squeeze(self, axis: Axes = None) -> Expression:
        """`ad.squeeze(self, axis)`."""
        return _expression("squeeze", self, axis)

    def astype(self, dtype: Any) -> Expression:
        """`ad.astype(self, dtype)`."""
        return _expression("astype", self, dtype)

    def sum(self, axis: Axes = None, keepdims: bool = False) -> Expression:
        """`ad.sum(self, axis, keepdims)`."""
        return _expression("sum", self, axis, keepdims)

    def prod(self, axis: Axes = None, keepdims: bool = False) -> Expression:
        """`ad.prod(self, axis, keepdims)`."""
        return _expression("prod", self, axis, keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> Expression:
        """`ad.mean(self, axis, keepdims)`."""
        return _expression("mean", self, axis, keepdims)

    def max(self, axis: Axes = None, keepdims: bool = False) -> Expression:
        """`ad.max(self, axis, keepdims)`."""
        return _expression("max", self, axis, keepdims)

    def min(self, axis: Axes = None, keepdims: bool = False) -> Expression:
        """`ad.min(self, axis, keepdims)`."""
        return _expression("min", self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Expression:
        """`ad.argmax(self, axis, keepdims)`."""
        return _expression("argmax", self, axis, keepdims)

    def __getitem__(self, item: Any) -> Any:
        return _apply("getitem", self, item)

    def __matmul__(self, other: Any) -> Expression:
        return _expression("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Expression:
        return _expression("matmul", other, self)

    def __abs__(self) -> Expression:
        return _expression("abs", self)

    def __neg__(self) -> Expression:
        return _expression("neg", self)

    def __pos__(self) -> Expression:
        return self

    def __invert__(self) -> Expression:
        return _expression("not", self)

    def __eq__(self, other: object) -> Any:
        return _apply("eq", self, other)

    def __ne__(self, other: object) -> Any:
        return _apply("ne", self, other)


def _apply(operator: str, *args: Any) -> Any:
    return OPERATORS[operator](*args)


def _expression(operator: str, *args: Any) -> Expression:
    result: Expression = OPERATORS[operator](*args)
    return result


def _add_operators() -> None:
    """`__add__`, `__radd__` and so on, all of one shape."""

    def forward(name: str) -> Callable[[Expression, Any], Any]:
        return lambda self, other: _apply(name, self, other)

    def reflected(name: str) -> Callable[[Expression, Any], Any]:
        return lambda self, other: _apply(name, other, self)

    for python, name in (
        ("add", "add"),
        ("sub", "sub"),
        ("mul", "mul"),
        ("truediv", "div"),
        ("floordiv", "floordiv"),
        ("mod", "mod"),
        ("pow", "pow"),
        ("and", "and"),
        ("or", "or"),
        ("xor", "xor"),
    ):
        setattr(Expression, f"__{python}__", forward(name))
        setattr(Expression, f"__r{python}__", reflected(name))
    for python in ("lt", "le", "gt", "ge"):
        setattr(Expression, f"__{python}__", forward(python))


_add_operators()


def as_node(value: object, what: str = "operand") -> Node:
    """The node of an expression; arrays and numbers become constants."""
    if isinstance(value, Expression):
        return value.node
    if isinstance(value, Node):
        return value
    if isinstance(value, bool | int | float | np.ndarray | np.generic | Sequence):
        return array_constant(np.asarray(value), what)
    raise ArgumentTypeError(
        f"{what} is not something a model can compute with",
        found=f"{value!r} ({type(value).__name__})",
        expected="an expression, a NumPy array or a number",
        loc=here(),
    )


def as_value(value: object, what: str = "operand") -> Node | bool | int | float:
    """Like `as_node`, but Python numbers stay numbers (weak scalars)."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, np.generic) and value.ndim == 0:
        item = value.item()
        if isinstance(item, bool | int | float):
            return item
    if isinstance(value, Extent):
        return OPERATORS["size"](value)  # type: ignore[no-any-return]
    return as_node(value, what)


def array_constant(array: np.ndarray, what: str = "constant", dtype: str | None = None) -> Node:
    """A constant node: floats take the build's type unless `dtype` says otherwise."""
    kinds = {"b": "bool", "f": "real", "i": "int64", "u": "int64"}
    if array.dtype.kind not in kinds:
        raise ArgumentTypeError(
            f"{what} holds elements that are not numbers",
            found=f"dtype {array.dtype}",
            expected="bool, integers or floats",
            loc=here(),
        )
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise NumberOverflowError(
            f"{what} holds integers that int64 cannot", found=array.max(), loc=here()
        )
    if dtype is None:
        dtype = str(array.dtype) if array.dtype in ("int32", "uint8") else kinds[array.dtype.kind]
    return constant_node(array, dtype)
