"""How nodes are made: every constructor checks shapes and types, and remembers the user's line.

The vocabulary in `ops/` is written with these; nothing outside `graph/` and `passes/` should call
`Node(...)` directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from autodiffc.errors import (
    ArgumentTypeError,
    DtypeError,
    IndexRangeError,
    NameNotFoundError,
    NumberOverflowError,
    ShapeError,
)
from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Row, prune_operands
from autodiffc.graph.dag import Graph
from autodiffc.graph.extents import Extent, ExtentLike, defaults, difference, product, shape_text
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Const, Number, Scalar, cast_to, coerced_call, dtype_of
from autodiffc.graph.types import TensorType, is_float, is_integer, promote, promote_weak

_label: ContextVar[str | None] = ContextVar("label", default=None)

Value = Node | bool | int | float  # an operand of an elementwise operation


@contextmanager
def labelled(name: str) -> Iterator[None]:
    """Nodes made inside carry the name of the outermost user-level operation."""
    token = _label.set(_label.get() or name)
    try:
        yield
    finally:
        _label.reset(token)


def leaf(op: str, name: str, shape: tuple[ExtentLike, ...], dtype: str, **attrs: Any) -> Node:
    """An `input`, `param` or `state` node."""
    return Node(op, (), TensorType(shape, dtype), attrs=attrs, name=name, loc=here())


def constant_node(array: np.ndarray, dtype: str) -> Node:
    """A constant; the array is copied and frozen."""
    value = np.array(array)
    value.setflags(write=False)
    type_ = TensorType(tuple(int(n) for n in value.shape), dtype)
    return Node("constant", (), type_, attrs={"value": value}, label=_label.get(), loc=here())


def compute(
    inputs: Sequence[Node],
    pieces: Sequence[Comprehension],
    shape: tuple[ExtentLike, ...],
    *,
    label: str | None = None,
    loc: Any = None,
) -> Node:
    """A node whose value is given by formulas over `inputs`."""
    pruned = tuple(prune_operands(p) for p in pieces)
    dtype = result_dtype(inputs, pruned[0])
    return Node(
        "compute",
        tuple(inputs),
        TensorType(shape, dtype),
        pieces=pruned,
        label=_label.get() or label,
        loc=loc or here(),
    )


def result_dtype(inputs: Sequence[Node], formula: Comprehension) -> str:
    """The element type of a formula's result."""
    if formula.combine in ("argmax", "argmin"):
        dtype = "int32"
    else:
        dtype = dtype_of(formula.body, [inputs[a.operand].dtype for a in formula.operands])
    if formula.finish is None:
        return dtype
    rest = [inputs[a.operand].dtype for a in formula.finish_operands]
    return dtype_of(formula.finish, [dtype, *rest])


def reshape(x: Node, shape: tuple[ExtentLike, ...]) -> Node:
    """The elements of `x` in row-major order under another shape of as many elements."""
    if product(x.shape) != product(shape):
        raise ShapeError(
            "reshape must keep the number of elements",
            found=f"{shape_text(x.shape)} -> {shape_text(shape)}",
            expected=f"{product(x.shape)} elements, not {product(shape)}",
            loc=here(),
        )
    if shape == x.shape:
        return x
    return Node(
        "reshape", (x,), TensorType(shape, x.dtype), label=_label.get() or "reshape", loc=here()
    )


def stop_gradient(x: Node) -> Node:
    """`x`, taken as constant by differentiation."""
    return Node("stop_gradient", (x,), x.type, label=_label.get() or "stop_gradient", loc=here())


def check_index(x: Node, extent: ExtentLike) -> Node:
    """The integer tensor `x`, its elements promised (and checked at run time) in [0, extent)."""
    if x.dtype not in ("uint8", "int32", "int64"):
        raise DtypeError(
            "an index must be an integer tensor",
            found=str(x.type),
            expected="dtype int32 or int64",
            loc=here(),
        )
    if x.op == "check_index" and x.attrs["extent"] == extent:
        return x
    if x.op == "constant":
        _check_known_positions(x.attrs["value"], extent)
    return Node(
        "check_index", (x,), x.type, attrs={"extent": extent}, label=_label.get(), loc=here()
    )


def call_graph(subgraph: Graph, output: str, inputs: Mapping[str, Node]) -> Node:
    """The named output of a graph whose inputs, by name, are these nodes.

    A graph that is called is closed: beside its inputs it has no leaves but constants.
    """
    given = {name: node.type for name, node in inputs.items()}
    wanted = {str(n.name): n.type for n in subgraph.leaves("input")}
    open_leaves = [*subgraph.leaves("param"), *subgraph.leaves("state")]
    if open_leaves or any(given.get(name) != type_ for name, type_ in wanted.items()):
        raise ArgumentTypeError(
            "a graph is called with a node for each of its inputs, of the input's type",
            found=_described(given),
            expected=_described(wanted),
            help="parameters and states enter it as inputs" if open_leaves else None,
            loc=here(),
        )
    if output not in subgraph.outputs:
        raise NameNotFoundError(
            "the graph has no such output",
            found=repr(output),
            expected=f"one of {', '.join(subgraph.outputs)}",
            loc=here(),
        )
    return Node(
        "call",
        tuple(inputs[name] for name in wanted),
        subgraph.outputs[output].type,
        attrs={"output": output, "arguments": tuple(wanted)},
        label=_label.get() or "call",
        loc=here(),
        subgraph=subgraph,
    )


def _described(types: Mapping[str, TensorType]) -> str:
    return ", ".join(f"{name}: {type_}" for name, type_ in types.items()) or "none"


def _check_known_positions(positions: np.ndarray, extent: ExtentLike) -> None:
    """Refuses what is out of range at once, where the elements are known; dims by default."""
    wrong = np.argwhere((positions < 0) | (positions >= defaults(extent)))
    if len(wrong):
        at = tuple(int(k) for k in wrong[0])
        place = f" at {list(at)}" if at else ""
        raise IndexRangeError(
            "a constant index is out of range",
            found=f"{positions[at]}{place}",
            expected=f"0 <= index < {extent}",
            loc=here(),
        )


# --- Elementwise and views ---


def elementwise(function: str, *args: Value) -> Node:
    """`function` applied element by element, with broadcasting and promotion."""
    rule = FUNCTIONS[function].rule
    common = _common_dtype(args[1:] if rule == "select" else args)
    if rule == "compare":
        common = wide_enough(common, *(a for a in args if not isinstance(a, Node)))
    if rule == "select":
        args = (_as_condition(args[0]), *args[1:])

    def build(bodies: Sequence[Scalar]) -> Scalar:
        typed = []
        for body, arg in zip(bodies, args, strict=True):
            dtype = arg.dtype if isinstance(arg, Node) else _number_dtype(arg, common)
            typed.append((body, dtype))
        return coerced_call(function, *typed)[0]

    return elementwise_body(args, build, common, label=function)


def elementwise_body(
    args: Sequence[Value],
    build: Callable[[Sequence[Scalar]], Scalar],
    common: str,
    *,
    label: str,
) -> Node:
    """An elementwise node whose body `build` makes from one body an argument."""
    nodes = [a for a in args if isinstance(a, Node)]
    shape = broadcast_shapes(*(n.shape for n in nodes))
    accesses = tuple(Access(k, broadcast_rows(n.shape, shape)) for k, n in enumerate(nodes))
    bodies: list[Scalar] = []
    for arg in args:
        if isinstance(arg, Node):
            bodies.append(Arg(sum(isinstance(b, Arg) for b in bodies)))
        else:
            bodies.append(_number(arg, common))
    rank = len(shape)
    formula = Comprehension(Domain(shape), identity(rank), accesses, build(bodies))
    return compute(nodes, [formula], shape, label=label)


def cast(x: Node, dtype: str) -> Node:
    """`x` converted to another element type."""
    if x.dtype == dtype:
        return x
    return elementwise_body((x,), lambda b: cast_to(b[0], x.dtype, dtype), x.dtype, label="cast")


def view(
    x: Node,
    shape: tuple[ExtentLike, ...],
    rows: Callable[[tuple[Affine, ...]], Sequence[Row]],
    *,
    label: str,
) -> Node:
    """`y[i] = x[rows(i)]`: slices, transpositions, flips, broadcasts."""
    formula = Comprehension(
        Domain(shape),
        identity(len(shape)),
        (Access(0, tuple(rows(identity(len(shape))))),),
        Arg(0),
    )
    return compute([x], [formula], shape, label=label)


def broadcast_shapes(*shapes: tuple[ExtentLike, ...]) -> tuple[ExtentLike, ...]:
    """NumPy's rule: align at the right, an axis of 1 stretches; anything else must agree."""
    rank = max((len(s) for s in shapes), default=0)
    result: list[ExtentLike] = []
    for axis in range(-rank, 0):
        extents = [s[axis] for s in shapes if len(s) >= -axis and s[axis] != 1]
        if any(e != extents[0] for e in extents):
            raise ShapeError(
                "shapes do not broadcast",
                found=" and ".join(shape_text(s) for s in shapes),
                expected="equal extents, or 1, on every axis counted from the right",
                loc=here(),
            )
        result.append(extents[0] if extents else 1)
    return tuple(result)


def broadcast_rows(
    shape: tuple[ExtentLike, ...], target: tuple[ExtentLike, ...]
) -> tuple[Affine, ...]:
    """How a tensor of `shape` is read at the indices of the broadcast `target`."""
    rank, offset = len(target), len(target) - len(shape)
    return tuple(
        constant(rank, 0)
        if extent == 1 and target[offset + axis] != 1
        else index(rank, offset + axis)
        for axis, extent in enumerate(shape)
    )


def _common_dtype(args: Sequence[Value]) -> str:
    tensors = [a.dtype for a in args if isinstance(a, Node)]
    dtype = promote(*tensors) if tensors else "bool"
    for arg in args:
        if not isinstance(arg, Node):
            dtype = promote_weak(dtype, arg)
    return dtype


def _number_dtype(number: Number, common: str) -> str:
    """A weak scalar takes the type of its company; a condition given as True stays a bool."""
    return "bool" if isinstance(number, bool) else common


def _number(number: Number, common: str) -> Const:
    return number_of(number, _number_dtype(number, common))


def number_of(number: Number, dtype: str) -> Const:
    """A Python number as a constant; one that its company's type cannot hold is refused."""
    if dtype == "bool":
        return Const(bool(number), dtype)
    try:
        value = float(number) if is_float(dtype) else int(number)
    except OverflowError:
        _refuse_number(number, dtype)
    if is_integer(dtype) and not fits(value, dtype):
        _refuse_number(number, dtype)
    return Const(value, dtype)


def wide_enough(dtype: str, *numbers: Number) -> str:
    """What to compare elements of `dtype` and numbers in: an integer type may be too small."""
    small = is_integer(dtype) and not all(fits(n, dtype) for n in numbers)
    return "int64" if small else dtype


def fits(number: Number, dtype: str) -> bool:
    """Whether an integer type holds a number."""
    limits = np.iinfo(dtype)
    return bool(limits.min <= number <= limits.max)


def _refuse_number(number: Number, dtype: str) -> NoReturn:
    range_ = f": {np.iinfo(dtype).min} to {np.iinfo(dtype).max}" if is_integer(dtype) else ""
    text = str(number) if abs(number) < 10**40 else f"an integer of {int(number).bit_length()} bits"
    raise NumberOverflowError(
        "a number does not fit the element type it meets",
        found=f"{text} beside {dtype}",
        expected=f"{dtype}{range_}",
        help="ad.astype(x, 'int64') makes room" if dtype in ("uint8", "int32") else None,
        loc=here(),
    )


def _as_condition(value: Value) -> Value:
    if isinstance(value, Node) and value.dtype != "bool":
        raise DtypeError(
            "a condition must be a bool tensor",
            found=str(value.type),
            expected="a comparison such as x > 0",
            loc=here(),
        )
    return value


def normalize_axis(axis: int, rank: int, what: str = "axis") -> int:
    """A possibly negative axis as a position; out of range is an error."""
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise ArgumentTypeError(f"{what} must be an integer", found=repr(axis), loc=here())
    if rank == 0:
        raise ShapeError(f"a scalar has no {what}", found=f"{what}={axis}", loc=here())
    if not -rank <= axis < rank:
        raise ShapeError(
            f"{what} is out of range",
            found=axis,
            expected=f"-{rank} <= {what} < {rank} for a tensor of {rank} axes",
            loc=here(),
        )
    return int(axis) % rank


def same_extent(a: ExtentLike, b: ExtentLike) -> bool:
    """Whether two extents are certainly equal."""
    return difference(a, b) == 0


def as_extent(value: object, what: str) -> ExtentLike:
    """An int or an `Extent`; anything else, or a negative int, is an error."""
    if isinstance(value, Extent):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if value < 0:
            raise ShapeError(f"{what} must not be negative", found=int(value), loc=here())
        return int(value)
    raise ArgumentTypeError(
        f"{what} must be an integer or a dim",
        found=repr(value),
        expected="e.g. 28 or ad.dim('batch', 64)",
        loc=here(),
    )
