"""One formula in NumPy: its whole domain at once, or block by block where that is large.

A block is a list of index arrays that broadcast against each other, one for each loop index. From
them follow, in this order: which points the guards let live, the addresses, the operands' elements,
the body's values, and what the combiner makes of them. Nothing is assumed that can be looked at: a
live point that reads or writes outside a tensor, or an element that is set twice, is an error.

Sums and products of float32 are accumulated in float64 and rounded once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiffc.errors import ArgumentError, VerificationError
from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Comprehension, Indirect, Row, out_indices
from autodiffc.graph.extents import ExtentLike, defaults, substitute
from autodiffc.graph.functions import FUNCTIONS
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import (
    Arg,
    Call,
    Cast,
    Const,
    Index,
    Scalar,
    Size,
    dtype_of,
    indices_used,
)

Array = np.ndarray[Any, Any]
Block = Sequence[Array]

POSITIONS = ("argmax", "argmin")
POINTS_AT_ONCE = 1_000_000
REDUCERS: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "argmax": np.maximum,
    "argmin": np.minimum,
}


@dataclass(frozen=True)
class Setting:
    """What `real` and the named dims stand for in this run."""

    real: str
    dims: Mapping[str, int]

    def size(self, extent: ExtentLike) -> int:
        return defaults(substitute(extent, self.dims))

    def shape(self, shape: Sequence[ExtentLike]) -> tuple[int, ...]:
        return tuple(self.size(e) for e in shape)

    def dtype(self, dtype: str) -> np.dtype[Any]:
        return np.dtype(self.real if dtype == "real" else dtype)


def evaluate_formula(
    node: Node, piece: Comprehension, inputs: Sequence[Array], setting: Setting
) -> tuple[Array, Array]:
    """The elements that a formula writes, and which ones it writes; both of the node's shape."""
    values, covered = _Formula(node, piece, inputs, setting).run()
    shape = setting.shape(node.shape)
    return values.reshape(shape), covered.reshape(shape)


class _Formula:
    def __init__(
        self, node: Node, piece: Comprehension, inputs: Sequence[Array], setting: Setting
    ) -> None:
        self.node, self.piece, self.inputs, self.setting = node, piece, inputs, setting
        self.extents = setting.shape(piece.domain.extents)
        self.shape = setting.shape(node.shape)
        operands = [node.inputs[a.operand].dtype for a in piece.operands]
        self.dtype = setting.dtype(dtype_of(piece.body, operands))

    def run(self) -> tuple[Array, Array]:
        """Flat values and coverage."""
        size = math.prod(self.shape)
        if self.piece.combine == "set":
            return self._set(size)
        reduce = self._positions if self.piece.combine in POSITIONS else self._reduce
        values, seen = reduce(size)
        if self.piece.combine == "sum" and self.piece.finish is None:
            return values, seen
        covered = self._kept_elements(size)
        if self.piece.combine not in ("sum", "prod") and (covered & ~seen).any():
            raise ArgumentError(
                f"{self.piece.combine} over no element at all",
                found=f"nothing to compare for {int((covered & ~seen).sum())} elements",
                loc=self.node.loc,
            )
        if self.piece.finish is not None:
            values = self._finished(values)
        return values, covered

    # --- Points ---

    def _blocks(self, extents: Sequence[int]) -> Iterator[Block]:
        rank = len(extents)
        for ranges in split(extents):
            yield [
                np.arange(r.start, r.stop).reshape([-1 if j == k else 1 for j in range(rank)])
                for k, r in enumerate(ranges)
            ]

    def _points(self) -> Iterator[tuple[Block, Array]]:
        """The blocks of the domain, each with the points that the guards let live."""
        for block in self._blocks(self.extents):
            live: Array = np.ones((1,) * len(block), bool)
            for guard in self.piece.domain.guards:
                live = live & (self._affine(guard, block) >= 0)
            if live.any():
                yield block, live

    def _kept_blocks(self) -> Iterator[tuple[Block, Array]]:
        """The blocks of the indices that are not reduced, the others being 0, and where in them
        there is an element."""
        reduced = self.piece.reduced
        for block in self._blocks([1 if k in reduced else e for k, e in enumerate(self.extents)]):
            rows = [self._row(r, block, None) for r in self.piece.out]
            inside: Array = np.ones(_shape(block), bool)
            for row, size in zip(rows, self.shape, strict=True):
                inside = inside & (row >= 0) & (row < size)
            for guard in self._guards_of_elements():
                inside = inside & (self._affine(guard, block) >= 0)
            yield block, inside

    def _guards_of_elements(self) -> list[Affine]:
        """The guards that leave out elements of a search: those on kept indices alone."""
        if self.piece.combine in ("sum", "prod"):
            return []  # an element without a point is 0 or 1 there
        reduced = set(self.piece.reduced)
        return [g for g in self.piece.domain.guards if not reduced & set(g.uses)]

    # --- Addresses ---

    def _affine(self, affine: Affine, block: Block) -> Array:
        total: Array = np.full((1,) * len(block), self.setting.size(affine.constant))
        for coefficient, index in zip(affine.coefficients, block, strict=True):
            if coefficient:
                total = total + coefficient * index
        return total

    def _row(self, row: Row, block: Block, live: Array | None) -> Array:
        if isinstance(row, Indirect):
            return self._element(row.operand, row.rows, block, live).astype(np.int64)
        return self._affine(row, block)

    def _element(
        self, operand: int, rows: Sequence[Row], block: Block, live: Array | None
    ) -> Array:
        """`inputs[operand][rows]`; points that are not live read some element or other."""
        tensor = self.inputs[operand]
        self._check_rank(rows, tensor.ndim, f"input {operand}")
        addresses = [self._row(r, block, live) for r in rows]
        for address, size in zip(addresses, tensor.shape, strict=True):
            self._check_inside(address, size, live, f"reads input {operand}")
        if 0 in tensor.shape:  # no point is live
            return np.zeros((1,) * len(block), tensor.dtype)
        clipped = [np.clip(a, 0, n - 1) for a, n in zip(addresses, tensor.shape, strict=True)]
        return np.asarray(tensor[tuple(clipped)])

    def _check_rank(self, rows: Sequence[Row], rank: int, what: str) -> None:
        if len(rows) != rank:
            raise VerificationError(
                f"{self.node!r}: {what} has another number of axes than its address has rows",
                found=f"{len(rows)} rows",
                expected=rank,
                loc=self.node.loc,
            )

    def _check_inside(self, address: Array, size: int, live: Array | None, what: str) -> None:
        outside = (address < 0) | (address >= size)
        if live is not None and outside.any() and (outside & live).any():
            wrong = np.broadcast_to(address, np.broadcast_shapes(address.shape, live.shape))
            raise VerificationError(
                f"{self.node!r} {what} outside its shape",
                found=f"index {wrong[outside & live].flat[0]}",
                expected=f"0 <= index < {size}",
                loc=self.node.loc,
            )

    def _addresses(self, block: Block, live: Array) -> Array:
        """Flat positions in the output, in a shape that broadcasts to the block's."""
        self._check_rank(self.piece.out, len(self.shape), "the output")
        flat: Array = np.zeros((1,) * len(block), np.int64)
        for row, size in zip(self.piece.out, self.shape, strict=True):
            address = self._row(row, block, live)
            self._check_inside(address, size, live, "writes")
            flat = flat * size + address
        return flat

    # --- Values ---

    def _values(self, block: Block, live: Array) -> Array:
        operands = [self._element(a.operand, a.rows, block, live) for a in self.piece.operands]
        return np.broadcast_to(self._body(self.piece.body, operands, block), _shape(block))

    def _body(self, body: Scalar, operands: Sequence[Array], block: Block) -> Array:
        known: dict[int, Array] = {}  # derivatives share subtrees

        def value(scalar: Scalar) -> Array:
            if id(scalar) not in known:
                known[id(scalar)] = compute(scalar)
            return known[id(scalar)]

        def compute(scalar: Scalar) -> Array:
            if isinstance(scalar, Arg):
                return operands[scalar.position]
            if isinstance(scalar, Index):
                return block[scalar.position].astype(np.int32)
            if isinstance(scalar, Const):
                return np.asarray(scalar.value, self.setting.dtype(scalar.dtype))
            if isinstance(scalar, Size):
                return np.asarray(self.setting.size(scalar.extent), np.int64)
            if isinstance(scalar, Cast):
                return cast(value(scalar.x), self.setting.dtype(scalar.dtype))
            assert isinstance(scalar, Call)
            return apply(scalar.function, [value(a) for a in scalar.args])

        return value(body)

    # --- Combiners ---

    def _set(self, size: int) -> tuple[Array, Array]:
        values, covered = np.zeros(size, self.dtype), np.zeros(size, bool)
        for block, live in self._points():
            shape = _shape(block)
            alive = np.broadcast_to(live, shape)
            at = np.broadcast_to(self._addresses(block, live), shape)[alive]
            before = np.count_nonzero(covered)
            covered[at] = True
            if np.count_nonzero(covered) != before + at.size:
                raise VerificationError(
                    f"{self.node!r}: an element is set twice", loc=self.node.loc
                )
            values[at] = self._values(block, live)[alive]
        return values, covered

    def _reduce(self, size: int) -> tuple[Array, Array]:
        """sum, prod, max, min: first along the reduced indices, then into the elements."""
        combine, ufunc = self.piece.combine, REDUCERS[self.piece.combine]
        wide = self.dtype == np.float32 and combine in ("sum", "prod")
        dtype = np.dtype(np.float64) if wide else self.dtype
        start = neutral(combine, dtype)
        total, seen = np.full(size, start, dtype), np.zeros(size, bool)
        for block, live in self._points():
            values = np.where(live, self._values(block, live), start).astype(dtype)
            reduced = ufunc.reduce(values, axis=self.piece.reduced, dtype=dtype, keepdims=True)
            alive = np.broadcast_to(live.any(axis=self.piece.reduced, keepdims=True), reduced.shape)
            at = np.broadcast_to(self._addresses(block, live), reduced.shape)[alive]
            ufunc.at(total, at, reduced[alive])
            seen[at] = True
        return total.astype(self.dtype), seen

    def _positions(self, size: int) -> tuple[Array, Array]:
        """argmax, argmin: the position of the first extremum; NaN counts as the extremum."""
        larger = self.piece.combine == "argmax"
        best, seen = np.zeros(size, self.dtype), np.zeros(size, bool)
        position = np.zeros(size, np.int32)
        for block, live in self._points():
            at, values, places = self._first_extrema(block, live)
            old = best[at]
            better = (values > old) if larger else (values < old)
            wins = ~seen[at] | better | (isnan(values) & ~isnan(old))
            best[at[wins]], position[at[wins]] = values[wins], places[wins]
            seen[at] = True
        return position, seen

    def _first_extrema(self, block: Block, live: Array) -> tuple[Array, Array, Array]:
        """Of each element that a block touches: its address, the extremum, and where that is."""
        combine, shape, reduced = self.piece.combine, _shape(block), self.piece.reduced
        kept = [k for k in range(len(shape)) if k not in reduced]
        rows = math.prod(shape[k] for k in kept)

        def table(array: Array) -> Array:  # a row for each element, a column for each point
            wide = np.broadcast_to(array, shape).transpose([*kept, *reduced])
            return wide.reshape(rows, -1)

        alive, values = table(live), table(self._values(block, live))
        start = neutral(combine, self.dtype)
        extremum = REDUCERS[combine].reduce(np.where(alive, values, start), axis=1)
        same = (values == extremum[:, None]) | (isnan(values) & isnan(extremum)[:, None])
        first = (alive & same).argmax(axis=1)
        places = table(self._row_major(block))[np.arange(rows), first]
        found = alive.any(axis=1)
        at = table(self._addresses(block, live))[:, 0]
        if len(np.unique(at[found])) != np.count_nonzero(found):
            raise VerificationError(
                f"{self.node!r}: two searches meet at one element", loc=self.node.loc
            )
        return at[found], extremum[found], places[found]

    def _row_major(self, block: Block) -> Array:
        """The row-major position of each point among the reduced indices."""
        position: Array = np.zeros((1,) * len(block), np.int64)
        for k in self.piece.reduced:
            position = position * self.extents[k] + block[k]
        return position

    # --- Elements ---

    def _kept_elements(self, size: int) -> Array:
        """The elements that the indices which are not reduced walk over."""
        covered = np.zeros(size, bool)
        for block, inside in self._kept_blocks():
            at = np.broadcast_to(self._addresses(block, inside), inside.shape)
            covered[at[inside]] = True
        return covered

    def _finished(self, reduced: Array) -> Array:
        """`finish` once for every element that the formula covers."""
        finish = self.piece.finish
        assert finish is not None
        used = set(indices_used(finish))
        used.update(*(out_indices(a.rows) for a in self.piece.finish_operands))
        if used & set(self.piece.reduced):
            raise VerificationError(
                f"{self.node!r}: a finish uses a reduced index", loc=self.node.loc
            )
        result: Array = np.zeros(reduced.size, self.setting.dtype(self.node.dtype))
        written = np.zeros(reduced.size, bool)
        for block, inside in self._kept_blocks():
            at = np.broadcast_to(self._addresses(block, inside), inside.shape)
            value = reduced[np.where(inside, at, 0)] if reduced.size else reduced
            rest = [
                self._element(a.operand, a.rows, block, inside) for a in self.piece.finish_operands
            ]
            values = np.broadcast_to(self._body(finish, [value, *rest], block), inside.shape)
            picked = at[inside]
            if written[picked].any() or len(np.unique(picked)) != picked.size:
                raise VerificationError(
                    f"{self.node!r}: an element is finished twice", loc=self.node.loc
                )
            result[picked], written[picked] = values[inside], True
        return result


def split(extents: Sequence[int], most: int | None = None) -> Iterator[tuple[range, ...]]:
    """Cuts a box into blocks of at most `most` points, in row-major order.

    Leading indices are fixed one by one, the next is cut into chunks, the others stay whole.
    """
    most = POINTS_AT_ONCE if most is None else most
    if 0 in extents:
        return
    cut = next(k for k in range(len(extents) + 1) if math.prod(extents[k + 1 :]) <= most)
    if cut >= len(extents):  # a single point
        yield ()
        return
    step = max(1, most // math.prod(extents[cut + 1 :]))
    whole = [range(e) for e in extents[cut + 1 :]]
    for fixed in itertools.product(*(range(e) for e in extents[:cut])):
        for start in range(0, extents[cut], step):
            chunk = range(start, min(start + step, extents[cut]))
            yield (*(range(i, i + 1) for i in fixed), chunk, *whole)


def neutral(combine: str, dtype: np.dtype[Any]) -> Any:
    """What a combiner starts from."""
    if combine in ("sum", "prod"):
        return dtype.type(combine == "prod")
    lowest = combine in ("max", "argmax")
    if dtype.kind == "f":
        return dtype.type(-np.inf if lowest else np.inf)
    if dtype.kind == "b":
        return dtype.type(not lowest)
    return dtype.type(np.iinfo(dtype).min if lowest else np.iinfo(dtype).max)


def apply(name: str, args: Sequence[Array]) -> Array:
    """A scalar function of the table, its result of the type that its typing rule says."""
    function = FUNCTIONS[name]
    found = np.asarray(function.reference(*args))
    return found.astype(bool if function.rule in ("compare", "predicate") else args[-1].dtype)


def cast(values: Array, dtype: np.dtype[Any]) -> Array:
    return np.asarray(values != 0) if dtype == np.bool_ else values.astype(dtype)


def isnan(values: Array) -> Array:
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)


def _shape(block: Block) -> tuple[int, ...]:
    return tuple(index.size for index in block)
