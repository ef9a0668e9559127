"""Views: operations that move elements and compute nothing.

Each is one `set` formula with affine reads (transpose, flip, broadcast) or with shifted writes
(pad; a concatenation has one piece for each part). `reshape` alone is an operation of its own: a
view on the row-major order. Slices are in `slices`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, ArgumentTypeError, ShapeError
from autodiffc.graph import construct
from autodiffc.graph.affine import Affine, constant, identity, index
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import as_extent, compute, normalize_axis, same_extent
from autodiffc.graph.expression import OPERATORS, Axes, Expression, as_node
from autodiffc.graph.extents import Extent, ExtentLike, product, shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Const, Scalar, cast_to
from autodiffc.graph.types import is_float, promote
from autodiffc.ops.apply import at_least
from autodiffc.ops.reduce import normalized_axes
from autodiffc.ops.registry import integers, operation, sample, tensor

# --- Another shape, the same order ---


@operation(
    reference=np.reshape,
    samples=[
        sample(tensor(2, 6), (3, 4)),
        sample(tensor(2, 6), -1),
        sample(tensor(2, 3, 4), (2, -1, 2)),
        sample(tensor(1), ()),
        sample(tensor(0, 3), (3, 0)),
    ],
)
def reshape(x: Any, shape: Any) -> Expression:
    """The elements in row-major order under another shape; one extent may be -1, for the rest."""
    node = as_node(x)
    wanted = list(shape) if isinstance(shape, Sequence) else [shape]
    inferred = [k for k, extent in enumerate(wanted) if _is_minus_one(extent)]
    if len(inferred) > 1:
        raise ShapeError(
            "reshape can find one extent only", found=str(tuple(wanted)), expected="one -1",
            loc=here(),
        )  # fmt: skip
    known = [as_extent(e, "an extent") for e in wanted if not _is_minus_one(e)]
    if inferred:
        known.insert(inferred[0], _remaining(node.shape, known))
    return Expression(construct.reshape(node, tuple(known)))


def _is_minus_one(extent: Any) -> bool:
    return not isinstance(extent, Extent) and isinstance(extent, int | np.integer) and extent == -1


def _remaining(shape: tuple[ExtentLike, ...], known: Sequence[ExtentLike]) -> ExtentLike:
    """`product(shape) / product(known)`; dims among `known` must be extents of `shape` too."""
    rest = list(shape)
    divisor = 1
    for extent in known:
        if isinstance(extent, int):
            divisor *= extent
        elif extent in rest:
            rest.remove(extent)
        else:
            _refuse_rest(shape, known)
    total = product(tuple(rest))
    if divisor == 0 or (total // divisor) * divisor != total:
        _refuse_rest(shape, known)
    return total // divisor


def _refuse_rest(shape: tuple[ExtentLike, ...], known: Sequence[ExtentLike]) -> None:
    raise ShapeError(
        "reshape cannot tell what -1 stands for",
        found=f"{product(shape)} elements, {shape_text(tuple(known))} given",
        expected="extents that divide the number of elements",
        loc=here(),
    )


@operation(
    reference=lambda x, start_axis=1: x.reshape(*x.shape[:start_axis], -1),
    samples=[sample(tensor(2, 3, 4)), sample(tensor(2, 3, 4), start_axis=0), sample(tensor(3, 1))],
)
def flatten(x: Any, start_axis: int = 1) -> Expression:
    """All axes from `start_axis` on made one; by default all but the batch."""
    node = as_node(x)
    rank = len(node.shape)
    start = rank if start_axis == rank else normalize_axis(start_axis, rank, "start_axis")
    shape = (*node.shape[:start], product(node.shape[start:]))
    return Expression(construct.reshape(node, shape))


# --- Axes ---


def _read(x: Node, shape: tuple[ExtentLike, ...], rows: Sequence[Affine], label: str) -> Expression:
    """`y[i] = x[rows(i)]`."""
    return Expression(construct.view(x, shape, lambda _: rows, label=label))


@operation(
    reference=np.transpose,
    samples=[sample(tensor(2, 3, 4)), sample(tensor(2, 3, 4), (1, -1, 0)), sample(tensor(3))],
)
def transpose(x: Any, axes: Any = None, axis2: int | None = None) -> Expression:
    """The axes in another order, by default reversed: axis k of the result is `axes[k]` of x.

    `transpose(x, 0, 2)` exchanges two axes, as in PyTorch.
    """
    if axis2 is not None:
        return swapaxes(x, axes, axis2)
    if isinstance(axes, int | np.integer):
        axes = (axes,)
    node = as_node(x)
    rank = len(node.shape)
    order = [normalize_axis(a, rank) for a in (range(rank)[::-1] if axes is None else axes)]
    if sorted(order) != list(range(rank)):
        raise ShapeError(
            "transpose needs every axis once",
            found=f"axes={axes}",
            expected=f"an order of the {rank} axes",
            loc=here(),
        )
    rows = [index(rank, order.index(axis)) for axis in range(rank)]
    return _read(node, tuple(node.shape[a] for a in order), rows, "transpose")


@operation(reference=np.transpose, samples=[sample(tensor(2, 3, 4), (2, 0, 1))])
def permute(x: Any, axes: Sequence[int]) -> Expression:
    """PyTorch's name for `transpose` with axes."""
    return transpose(x, axes)


@operation(reference=np.swapaxes, samples=[sample(tensor(2, 3, 4), 0, -1)])
def swapaxes(x: Any, axis1: int, axis2: int) -> Expression:
    """Two axes exchanged."""
    node = as_node(x)
    order = list(range(len(node.shape)))
    a, b = normalize_axis(axis1, len(order)), normalize_axis(axis2, len(order))
    order[a], order[b] = b, a
    return transpose(node, order)


@operation(
    reference=np.moveaxis,
    samples=[
        sample(tensor(2, 3, 4), 0, -1),
        sample(tensor(2, 3, 4), (0, 1), (2, 0)),
        sample(tensor(2, 3, 4), [-1], [0]),
    ],
)
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Expression:
    """Axes moved to other places, the others in their order."""
    node = as_node(x)
    rank = len(node.shape)
    sources, places = (
        [normalize_axis(a, rank) for a in (axes if isinstance(axes, Sequence) else [axes])]
        for axes in (source, destination)
    )
    counts = {len(sources), len(places), len(set(sources)), len(set(places))}
    if len(counts) > 1:
        raise ShapeError(
            "moveaxis needs a place for each axis",
            found=f"{source=}, {destination=}",
            expected="as many, none of them twice",
            loc=here(),
        )
    order = [k for k in range(rank) if k not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return transpose(node, order)


@operation(
    reference=np.squeeze,
    samples=[sample(tensor(1, 2, 1)), sample(tensor(1, 2, 1), axis=-1), sample(tensor(1, 1), 0)],
)
def squeeze(x: Any, axis: Axes = None) -> Expression:
    """Without axes of extent 1: all of them, or those given."""
    node = as_node(x)
    rank = len(node.shape)
    ones = tuple(k for k in range(rank) if node.shape[k] == 1)
    dropped = ones if axis is None else normalized_axes(axis, rank)
    if not set(dropped) <= set(ones):
        raise ShapeError(
            "only axes of extent 1 can be squeezed",
            found=f"axis={axis} of {shape_text(node.shape)}",
            expected=f"among {ones}",
            loc=here(),
        )
    kept = [k for k in range(rank) if k not in dropped]
    rows = [
        index(len(kept), kept.index(k)) if k in kept else constant(len(kept), 0)
        for k in range(rank)
    ]
    return _read(node, tuple(node.shape[k] for k in kept), rows, "squeeze")


@operation(
    reference=np.expand_dims,
    samples=[sample(tensor(2, 3), 1), sample(tensor(2, 3), (0, -1)), sample(tensor(), 0)],
)
def expand_dims(x: Any, axis: int | Sequence[int]) -> Expression:
    """With axes of extent 1 at the places given, counted in the result."""
    node = as_node(x)
    count = len(axis) if isinstance(axis, Sequence) else 1
    rank = len(node.shape) + count
    new = normalized_axes(axis, rank)
    kept = [k for k in range(rank) if k not in new]
    shape: list[ExtentLike] = [1] * rank
    for k, extent in zip(kept, node.shape, strict=True):
        shape[k] = extent
    return _read(node, tuple(shape), [index(rank, k) for k in kept], "expand_dims")


@operation(
    reference=np.broadcast_to,
    samples=[sample(tensor(3, 1), (2, 3, 4)), sample(tensor(), (2,)), sample(tensor(1), (0,))],
)
def broadcast_to(x: Any, shape: Any) -> Expression:
    """Repeated along new axes and axes of extent 1, up to `shape`."""
    node = as_node(x)
    wanted = shape if isinstance(shape, Sequence) else (shape,)
    target = tuple(as_extent(e, "an extent") for e in wanted)
    pairs = zip(node.shape[::-1], target[::-1], strict=False)
    fits = len(node.shape) <= len(target) and all(a == 1 or same_extent(a, b) for a, b in pairs)
    if not fits:
        raise ShapeError(
            "the shape cannot be broadcast",
            found=f"{shape_text(node.shape)} to {shape_text(target)}",
            expected="equal extents, or 1, counted from the right",
            loc=here(),
        )
    return _read(node, target, construct.broadcast_rows(node.shape, target), "broadcast_to")


@operation(
    reference=np.flip,
    samples=[sample(tensor(2, 3)), sample(tensor(2, 3), axis=1), sample(tensor(0, 2), axis=(0, 1))],
)
def flip(x: Any, axis: Axes = None) -> Expression:
    """The elements in reverse order along some axes, by default all."""
    node = as_node(x)
    rows = list(identity(len(node.shape)))
    for axis_ in normalized_axes(axis, len(node.shape)):
        rows[axis_] = -rows[axis_] + (node.shape[axis_] - 1)
    return _read(node, node.shape, rows, "flip")


# --- Joining and repeating ---


@operation(
    reference=lambda xs, axis=0: np.concatenate(xs, axis),
    samples=[
        sample([tensor(2, 3), tensor(1, 3), tensor(0, 3)]),
        sample([tensor(2, 3), tensor(2, 1)], axis=-1),
        sample([integers(2), tensor(3)]),
        sample([tensor(4)]),
        sample([tensor(2, 2), tensor(3)], axis=None),
    ],
)
def concat(xs: Sequence[Any], axis: int | None = 0) -> Expression:
    """The tensors one after another along an axis; with None their elements."""
    nodes = [as_node(x) for x in _several(xs, "concat")]
    if axis is None:
        nodes, axis = [reshape(n, -1).node for n in nodes], 0
    rank = len(nodes[0].shape)
    along = normalize_axis(axis, rank)
    offset: ExtentLike = 0
    pieces = []
    dtype = promote(*(n.dtype for n in nodes))
    for k, node in enumerate(nodes):
        _check_alike(nodes[0], node, along)
        rows = list(identity(rank))
        rows[along] = rows[along] + offset
        pieces.append(_piece(k, node, tuple(rows), identity(rank), node.shape, dtype))
        offset = offset + node.shape[along]
    shape = (*nodes[0].shape[:along], offset, *nodes[0].shape[along + 1 :])
    return Expression(compute(nodes, pieces, shape, label="concat"))


concatenate = concat


@operation(
    reference=lambda xs, axis=0: np.stack(xs, axis),
    samples=[sample([tensor(2, 3), tensor(2, 3)]), sample([tensor(2), integers(2)], axis=-1)],
)
def stack(xs: Sequence[Any], axis: int = 0) -> Expression:
    """The tensors, all of one shape, along a new axis."""
    nodes = [as_node(x) for x in _several(xs, "stack")]
    rank = len(nodes[0].shape)
    along = normalize_axis(axis, rank + 1)
    dtype = promote(*(n.dtype for n in nodes))
    pieces = []
    for k, node in enumerate(nodes):
        _check_alike(nodes[0], node, None)
        rows = list(identity(rank))
        rows.insert(along, constant(rank, k))
        pieces.append(_piece(k, node, tuple(rows), identity(rank), node.shape, dtype))
    shape = (*nodes[0].shape[:along], len(nodes), *nodes[0].shape[along:])
    return Expression(compute(nodes, pieces, shape, label="stack"))


def _several(xs: Any, what: str) -> Sequence[Any]:
    if isinstance(xs, Expression) or not isinstance(xs, Sequence) or len(xs) == 0:
        raise ArgumentTypeError(
            f"{what} takes a list of tensors", found=repr(xs), expected="[a, b]", loc=here()
        )
    return xs


def _check_alike(first: Node, other: Node, along: int | None) -> None:
    """Shapes must agree, but for the axis joined along."""
    same = len(first.shape) == len(other.shape) and all(
        k == along or same_extent(a, b)
        for k, (a, b) in enumerate(zip(first.shape, other.shape, strict=True))
    )
    if not same:
        but = "" if along is None else f" but for axis {along}"
        raise ShapeError(
            "tensors of these shapes cannot be joined",
            found=f"{shape_text(first.shape)} and {shape_text(other.shape)}",
            expected=f"equal shapes{but}",
            loc=here(),
        )


def _piece(
    k: int,
    x: Node,
    out: tuple[Affine, ...],
    rows: tuple[Affine, ...],
    extents: tuple[ExtentLike, ...],
    dtype: str,
) -> Comprehension:
    return Comprehension(Domain(extents), out, (Access(k, rows),), cast_to(Arg(0), x.dtype, dtype))


@operation(
    reference=np.tile,
    samples=[sample(tensor(2, 3), (2, 1)), sample(tensor(3), 2), sample(tensor(3), (2, 2))],
)
def tile(x: Any, reps: int | Sequence[int]) -> Expression:
    """The whole tensor repeated along each axis, as NumPy."""
    given = list(reps) if isinstance(reps, Sequence) else [reps]
    counts = [at_least(r, 0, "reps") for r in given]
    node = as_node(x)
    rank = max(len(counts), len(node.shape))
    counts = [1] * (rank - len(counts)) + counts
    shape = (1,) * (rank - len(node.shape)) + node.shape
    pairs = [e for count, extent in zip(counts, shape, strict=True) for e in (count, extent)]
    spread = construct.reshape(node, tuple(e for extent in shape for e in (1, extent)))
    total = tuple(extent * count for count, extent in zip(counts, shape, strict=True))
    return Expression(construct.reshape(broadcast_to(spread, pairs).node, total))


@operation(
    reference=np.repeat,
    samples=[sample(tensor(2, 3), 2), sample(tensor(2, 3), 3, axis=1)],
)
def repeat(x: Any, repeats: int, axis: int | None = None) -> Expression:
    """Each element repeated along an axis, or in the flattened tensor."""
    count = at_least(repeats, 0, "repeats")
    node = as_node(x) if axis is not None else reshape(x, -1).node
    along = normalize_axis(axis or 0, len(node.shape))
    before, extent, after = node.shape[:along], node.shape[along], node.shape[along + 1 :]
    spread = construct.reshape(node, (*before, extent, 1, *after))
    wide = broadcast_to(spread, (*before, extent, count, *after))
    return Expression(construct.reshape(wide.node, (*before, extent * count, *after)))


# --- Padding ---


@operation(
    reference=lambda x, widths, value=0: np.pad(x, widths, constant_values=value),
    samples=[
        sample(tensor(2, 3), 1),
        sample(tensor(2, 3), ((0, 1), (2, 0)), value=1.5),
        sample(tensor(3), (1, 2), value=-np.inf),
        sample(integers(2, 2), ((1, 0), (0, 0)), value=7),
        sample(tensor(0, 2), ((1, 1), (0, 1)), value=2.0),
    ],
)
def pad(x: Any, widths: Any, value: float = 0) -> Expression:
    """Surrounded by `value`; widths as in NumPy: n, (before, after), or such a pair an axis."""
    node = as_node(x)
    pairs = _widths(widths, len(node.shape))
    fill = Const(float(value) if is_float(node.dtype) else int(value), node.dtype)
    if float(value) != float(fill.value):
        raise ArgumentError(
            "the padding value does not fit the element type",
            found=f"{value} for {node.dtype}",
            expected="an integer",
            loc=here(),
        )
    shape = tuple(e + (a + b) for e, (a, b) in zip(node.shape, pairs, strict=True))
    start = tuple(a for a, _ in pairs)
    rank = len(pairs)
    out = tuple(row + a for row, a in zip(identity(rank), start, strict=True))
    pieces = [_piece(0, node, out, identity(rank), node.shape, node.dtype)]
    if value != 0:
        pieces += _border(node.shape, shape, pairs, fill)
    return Expression(compute([node], pieces, shape, label="pad"))


def _border(
    inner: tuple[ExtentLike, ...],
    outer: tuple[ExtentLike, ...],
    pairs: Sequence[tuple[int, int]],
    fill: Scalar,
) -> list[Comprehension]:
    """Slabs before and after every axis: inside along earlier axes, all along later ones."""
    rank = len(pairs)
    slabs = []
    for axis, (before, after) in enumerate(pairs):
        for width, start in ((before, 0), (after, inner[axis] + before)):
            starts = [a for a, _ in pairs[:axis]] + [start] + [0] * (rank - axis - 1)
            extents = (*inner[:axis], width, *outer[axis + 1 :])
            rows = tuple(row + s for row, s in zip(identity(rank), starts, strict=True))
            if width:
                slabs.append(Comprehension(Domain(extents), rows, (), fill))
    return slabs


def _widths(widths: Any, rank: int) -> list[tuple[int, int]]:
    """A pair for every axis."""
    try:
        table = np.broadcast_to(np.asarray(widths), (rank, 2))
    except ValueError:
        raise ShapeError(
            "the padding widths do not fit the tensor",
            found=repr(widths),
            expected=f"n, (before, after), or {rank} pairs",
            loc=here(),
        ) from None
    return [(at_least(a, 0, "a width"), at_least(b, 0, "a width")) for a, b in table.tolist()]


OPERATORS.update({"reshape": reshape, "transpose": transpose, "squeeze": squeeze})
