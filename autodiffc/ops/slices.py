"""What stands in brackets: `x[0, 1:-1, ::2, None, ..., [2, 0], ids]`, as NumPy has it.

Integers, slices, None and `...` are a view: one affine row for each axis. Lists of integers and
integer tensors are *advanced*: they broadcast with each other (and with integers, then), and their
axes stand where they stand, or first where something separates them. A list is known when the
model is made, so negative positions in it count from the end; the elements of an integer tensor
come at run time and must lie in [0, extent), which a `check_index` node sees to.

Anything else in brackets belongs to index notation.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, ArgumentTypeError, IndexRangeError, ShapeError
from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect, Row
from autodiffc.graph.construct import (
    broadcast_shapes,
    compute,
    normalize_axis,
)
from autodiffc.graph.expression import OPERATORS, Expression, as_node
from autodiffc.graph.extents import Extent, ExtentLike, defaults, shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg
from autodiffc.ops.apply import at_least, is_element
from autodiffc.ops.positions import positions
from autodiffc.ops.registry import integers, operation, sample, tensor
from autodiffc.ops.view import concat


@dataclass(frozen=True)
class Cut:
    """A slice made definite: `start, start + step, …`, `length` of them."""

    start: ExtentLike
    step: int
    length: ExtentLike


@dataclass(frozen=True)
class Point:
    """One position."""

    at: ExtentLike


# What stands in brackets, axis by axis; None makes a new axis, a node holds positions.
Token = Cut | Point | Node | None


@operation(
    reference=lambda x, item: x[item],
    samples=[
        sample(tensor(4, 5), 1),
        sample(tensor(4, 5), -1),
        sample(tensor(4, 5), (slice(1, -1), slice(None, None, 2))),
        sample(tensor(4, 5), (slice(None, None, -1), slice(4, 0, -2))),
        sample(tensor(4, 5), (slice(2, 2), slice(1, 99))),
        sample(tensor(2, 3, 4), (None, ..., 2, None)),
        sample(tensor(2, 3, 4), ...),
        sample(tensor(4, 5), [2, 0, 0]),
        sample(tensor(4, 5), [3, 1]),
        sample(tensor(4, 5), (slice(None), [-1, 1, 2])),
        sample(tensor(4, 5), ([[0, 1], [2, 3]], [1, 2])),
        sample(tensor(2, 3, 4), (0, slice(None), [1, 2])),
        sample(tensor(2, 3, 4), (slice(None), [1, 2], 0)),
        sample(tensor(2, 3, 4), ([1, 0], slice(None), [1, 2])),
        sample(tensor(4, 5), integers(3, low=0, high=4)),
        sample(tensor(4, 5), (slice(None), integers(2, 2, low=0, high=5))),
        sample(tensor(4, 5), (integers(3, 1, low=0, high=4), integers(2, low=0, high=5))),
        sample(tensor(4, 5), (integers(low=0, high=4), slice(1, 3))),
        sample(tensor(4), np.array([True, False, True, True])),
        sample(tensor(4), []),
        sample(tensor(4), ((0, 1),)),
    ],
)
def getitem(x: Any, item: Any) -> Any:
    """`x[item]`: integers, slices, None, `...`, lists of integers, integer tensors."""
    items = item if isinstance(item, tuple) else (item,)
    if any(is_element(i) for i in items):
        return OPERATORS["subscript"](x, item)
    for each in items:
        _check_kind(each)
    node = as_node(x)
    tokens = _tokens(node, items)
    return Expression(_read(node, tokens))


_KINDS = (int, np.integer, slice, list, tuple, np.ndarray, Expression, Extent)


def _check_kind(item: Any) -> None:
    if item is None or item is Ellipsis or isinstance(item, _KINDS):
        return
    raise ArgumentTypeError(
        "this cannot stand in brackets",
        found=f"{item!r} ({type(item).__name__})",
        expected="integers, slices, None, ..., lists of integers, integer tensors",
        loc=here(),
    )


# --- From items to tokens ---


def _tokens(x: Node, items: Sequence[Any]) -> list[Token]:
    """One token for every axis of x, and None where an axis is new."""
    rank = len(x.shape)
    used = sum(i is not None and i is not Ellipsis for i in items)
    dots = [k for k, i in enumerate(items) if i is Ellipsis]
    if used > rank or len(dots) > 1:
        raise ShapeError(
            "too many subscripts" if used > rank else "`...` may stand once",
            found=f"{len(items)} for {shape_text(x.shape)}",
            expected=f"at most {rank}" if used > rank else "one `...`",
            loc=here(),
        )
    where = dots[0] if dots else len(items)
    rest = [slice(None)] * (rank - used)
    spread = [*items[:where], *rest, *items[where + len(dots) :]]
    axes = iter(range(rank))
    return [None if i is None else _token(x, next(axes), i) for i in spread]


def _token(x: Node, axis: int, item: Any) -> Token:
    extent = x.shape[axis]
    if isinstance(item, slice):
        return _cut(item, extent)
    if isinstance(item, Expression):
        return positions(item, extent, "a subscript")
    if isinstance(item, list | tuple | np.ndarray):
        return _positions(x, axis, np.asarray(item))
    return Point(_position(item, x, axis))


def _position(item: Any, x: Node, axis: int) -> ExtentLike:
    """A position counted from the start; one outside is an error. Dims count with defaults."""
    if isinstance(item, bool):
        raise ArgumentTypeError("a truth value is no position", found=repr(item), loc=here())
    extent = x.shape[axis]
    at: ExtentLike = item if isinstance(item, Extent) else int(item)
    if isinstance(at, int) and at < 0:
        at = extent + at
    if not 0 <= defaults(at) < defaults(extent):
        raise IndexRangeError(
            f"position out of range on axis {axis}",
            found=f"{item} for {shape_text(x.shape)}",
            expected=f"-{extent} <= position < {extent}",
            loc=here(),
        )
    return at


def _positions(x: Node, axis: int, listed: np.ndarray) -> Node:
    """A list of positions as a constant; of truth values, the positions where they hold."""
    extent = x.shape[axis]
    if listed.dtype == bool and listed.shape == (extent,):
        listed = np.flatnonzero(listed)
    if listed.size and listed.dtype.kind not in "iu":
        raise ArgumentTypeError(
            f"a list in brackets holds positions on axis {axis}",
            found=f"{listed.dtype} of shape {listed.shape}",
            expected=f"integers from 0, or {extent} truth values",
            loc=here(),
        )
    return positions(listed, extent, "a list in brackets")


def _cut(item: slice, extent: ExtentLike) -> Cut:
    """A slice over an axis; one over a dim must lie within its default extent."""
    step = 1 if item.step is None else item.step
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or step == 0:
        raise ArgumentError(
            "a slice's step is an integer other than 0", found=repr(item.step), loc=here()
        )
    step = int(step)
    bounds = (item.start, item.stop)
    for bound in bounds:
        _check_bound(bound)
    if isinstance(extent, int) and not any(isinstance(b, Extent) for b in bounds):
        span = range(*item.indices(extent))
        return Cut(span.start if len(span) else 0, step, len(span))
    first, last = (0, extent) if step > 0 else (extent - 1, -1)
    start = first if item.start is None else _bound(item.start, extent)
    stop = last if item.stop is None else _bound(item.stop, extent)
    distance = stop - start if step > 0 else start - stop
    length = (distance + (abs(step) - 1)) // abs(step)
    return Cut(start, step, length if defaults(length) > 0 else 0)


def _check_bound(bound: Any) -> None:
    known = isinstance(bound, int | np.integer | Extent) and not isinstance(bound, bool)
    if bound is not None and not known:
        raise ArgumentTypeError(
            "a slice's bounds are integers",
            found=f"{bound!r} ({type(bound).__name__})",
            expected="integers or dims that are known when the model is made",
            help="x[ids] takes elements at positions that are computed",
            loc=here(),
        )


def _bound(bound: Any, extent: ExtentLike) -> ExtentLike:
    at: ExtentLike = bound if isinstance(bound, Extent) else int(bound)
    if isinstance(at, int) and at < 0:
        at = extent + at
    if not 0 <= defaults(at) <= defaults(extent):
        raise IndexRangeError(
            "a slice of a dim must lie within it",
            found=str(bound),
            expected=f"-{extent} <= bound <= {extent}",
            help="slices are cut off at the end of an axis only where its extent is known",
            loc=here(),
        )
    return at


# --- From tokens to a formula ---


def _read(x: Node, tokens: list[Token]) -> Node:
    tokens = _affine_list(tokens)
    tables = [t for t in tokens if isinstance(t, Node)]
    common = broadcast_shapes(*(t.shape for t in tables))
    shape, places = _layout(tokens, common)
    rank = len(shape)
    first = places["tables"]
    rows: list[Row] = []
    for k, token in enumerate(tokens):
        if isinstance(token, Cut):
            rows.append(index(rank, places[k]) * token.step + token.start)
        elif isinstance(token, Point):
            rows.append(constant(rank, token.at))
        elif isinstance(token, Node):
            operand = 1 + [t is token for t in tables].index(True)
            rows.append(Indirect(operand, _table_rows(token, common, first, rank)))
    formula = Comprehension(Domain(shape), identity(rank), (Access(0, tuple(rows)),), Arg(0))
    return compute([x, *tables], [formula], shape, label="getitem")


def _affine_list(tokens: list[Token]) -> list[Token]:
    """A constant list in even steps, the only advanced item, is a slice."""
    advanced = [k for k, t in enumerate(tokens) if isinstance(t, Node | Point)]
    if len(advanced) != 1 or not isinstance(tokens[advanced[0]], Node):
        return tokens
    table = tokens[advanced[0]]
    assert isinstance(table, Node)
    source = table.inputs[0]
    if source.op != "constant" or len(source.shape) != 1 or source.shape[0] == 0:
        return tokens
    values = source.attrs["value"]
    steps = set(np.diff(values).tolist()) or {1}
    if len(steps) > 1 or 0 in steps:
        return tokens
    cut = Cut(int(values[0]), int(steps.pop()), len(values))
    return [cut if k == advanced[0] else t for k, t in enumerate(tokens)]


def _layout(
    tokens: list[Token], common: tuple[ExtentLike, ...]
) -> tuple[tuple[ExtentLike, ...], dict[int | str, int]]:
    """The result's shape, and the result's axis of every slice and of the tables."""
    has_tables = any(isinstance(t, Node) for t in tokens)
    advanced = [k for k, t in enumerate(tokens) if isinstance(t, Node | Point)]
    together = bool(advanced) and advanced[-1] - advanced[0] == len(advanced) - 1
    shape: list[ExtentLike] = list(common) if has_tables and not together else []
    places: dict[int | str, int] = {"tables": 0}
    for k, token in enumerate(tokens):
        if has_tables and together and k == advanced[0]:
            places["tables"] = len(shape)
            shape += common
        if isinstance(token, Cut):
            places[k] = len(shape)
            shape.append(token.length)
        elif token is None:
            shape.append(1)
    return tuple(shape), places


def _table_rows(
    table: Node, common: tuple[ExtentLike, ...], first: int, rank: int
) -> tuple[Affine, ...]:
    """Where a table is read, its axes aligned at the right of the tables' common ones."""
    offset = first + len(common) - len(table.shape)
    return tuple(
        constant(rank, 0)
        if extent == 1 and common[axis - len(table.shape)] != 1
        else index(rank, offset + axis)
        for axis, extent in enumerate(table.shape)
    )


def _split(x: np.ndarray, sections: Any, axis: int = 0) -> list[np.ndarray]:
    return np.split(x, sections, axis)


@operation(
    reference=_split,
    samples=[sample(tensor(6, 2), 3), sample(tensor(2, 5), [1, 3], axis=1)],
)
def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Expression]:
    """Into equal parts, or before the positions listed, as NumPy."""
    node = as_node(x)
    along = normalize_axis(axis, len(node.shape))
    extent = node.shape[along]
    if isinstance(sections, Sequence):
        bounds: list[ExtentLike] = [0, *sections, extent]
    else:
        size = extent // at_least(sections, 1, "sections")
        if size * sections != extent:
            raise ShapeError(
                "split needs equal parts",
                found=f"{extent} elements in {sections} parts",
                expected="a divisor, or a list of positions",
                loc=here(),
            )
        bounds = [size * k for k in range(sections + 1)]
    lead = (slice(None),) * along
    cuts = itertools.pairwise(bounds)
    return [getitem(Expression(node), (*lead, slice(a, b))) for a, b in cuts]


@operation(
    reference=np.roll,
    samples=[
        sample(tensor(2, 5), 2, axis=1),
        sample(tensor(2, 5), -7, axis=-1),
        sample(tensor(2, 3), 4),
        sample(tensor(3, 4), (1, -1), axis=(0, 1)),
        sample(tensor(3, 2), 0, axis=0),
        sample(tensor(0, 2), 1, axis=0),
    ],
)
def roll(x: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Expression:
    """The elements moved along axes, those that leave coming in again; as in NumPy."""
    if axis is None:
        flat = Expression(as_node(x)).reshape(-1)
        return roll(flat, shift, 0).reshape(as_node(x).shape)
    axes = axis if isinstance(axis, Sequence) else [axis]
    shifts = shift if isinstance(shift, Sequence) else [shift] * len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(
            "roll needs a shift for each axis", found=f"{shift=}, {axis=}", expected="as many",
            loc=here(),
        )  # fmt: skip
    for by, along in zip(shifts, axes, strict=True):
        x = _rolled(Expression(as_node(x)), by, along)
    return Expression(as_node(x))


def _rolled(x: Expression, shift: Any, axis: int) -> Expression:
    if isinstance(shift, bool) or not isinstance(shift, int | np.integer):
        raise ArgumentTypeError("a shift is an integer", found=repr(shift), loc=here())
    along = normalize_axis(axis, x.ndim)
    extent = x.shape[along]
    by = int(shift) % extent if isinstance(extent, int) and extent else int(shift)
    if by == 0 or extent == 0:
        return x
    lead = (slice(None),) * along
    return concat([x[(*lead, slice(-by, None))], x[(*lead, slice(None, -by))]], along)


OPERATORS["getitem"] = getitem
