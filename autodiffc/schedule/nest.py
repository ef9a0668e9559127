"""A formula as a loop nest over linear memory: addresses become `sum(stride * index) + offset`.

In this form two indices that every address walks through together are one longer index
(`collapse`), and what a schedule asks ("is this operand contiguous in j?") is one look at a stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Access, Comprehension, Indirect, Row, out_indices
from autodiffc.graph.extents import ExtentLike, product
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Index, Scalar, indices_used, replace_indices


@dataclass(frozen=True)
class Address:
    """Where an access lies in its buffer: strides of the loop indices, an offset, indirections.

    `operand` is the position among the node's inputs (-1: the result). Each indirection is a
    stride and the address of the integer element that it multiplies.
    """

    operand: int
    strides: tuple[ExtentLike, ...]
    offset: ExtentLike = 0
    indirect: tuple[tuple[ExtentLike, Address], ...] = ()

    def uses(self, index: int) -> bool:
        return self.strides[index] != 0 or any(a.uses(index) for _, a in self.indirect)


@dataclass(frozen=True)
class Result:
    """One of several values that a nest makes of each reduced element.

    In the body `Arg(0)` is the reduced element and `Arg(k)` the k-th finish operand; an earlier
    result goes by its name. Without a buffer it only serves later ones.
    """

    name: str
    dtype: str
    body: Scalar
    buffer: str | None


@dataclass(frozen=True)
class Nest:
    """A formula ready for scheduling; `kept` and `reduced` are positions of loop indices.

    `results` stands in the place of `finish` where there are several. Of a nest that is `in_place`
    a result lies where a finish operand lies, element by element: each element is stored once, and
    no partial sums are put there.
    """

    names: tuple[str, ...]
    extents: tuple[ExtentLike, ...]
    guards: tuple[Affine, ...]
    kept: tuple[int, ...]
    reduced: tuple[int, ...]
    out: Address
    operands: tuple[Address, ...]
    bodies: tuple[Scalar, ...]  # one, or one for each result of an elementwise cluster
    combine: str
    finish: Scalar | None = None
    finish_operands: tuple[Address, ...] = ()
    results: tuple[Result, ...] = ()
    in_place: bool = False

    @property
    def body(self) -> Scalar:
        (body,) = self.bodies
        return body

    @property
    def addresses(self) -> tuple[Address, ...]:
        return (self.out, *self.operands, *self.finish_operands)

    def guarded(self, index: int) -> bool:
        return any(g.coefficients[index] for g in self.guards)

    @property
    def points(self) -> ExtentLike:
        return product(self.extents)


def row_major(shape: Sequence[ExtentLike]) -> tuple[ExtentLike, ...]:
    """The strides of a C-contiguous array, in elements."""
    return tuple(product(tuple(shape[k + 1 :])) for k in range(len(shape)))


def build_nest(node: Node, formula: Comprehension, *, merge: bool = True) -> Nest:
    """The loop nest of one piece of a node, by default collapsed as far as its addresses allow."""
    kept = out_indices(formula.out)
    rank = formula.domain.rank

    def locate(access: Access) -> Address:
        tensor = node.inputs[access.operand]
        return address_of(node, access.operand, tensor.shape, access.rows, rank)

    nest = Nest(
        names=formula.domain.names,
        extents=formula.domain.extents,
        guards=formula.domain.guards,
        kept=tuple(k for k in range(rank) if k in kept),
        reduced=tuple(k for k in range(rank) if k not in kept),
        out=address_of(node, -1, node.shape, formula.out, rank),
        operands=tuple(locate(a) for a in formula.operands),
        bodies=(formula.body,),
        combine=formula.combine,
        finish=formula.finish,
        finish_operands=tuple(locate(a) for a in formula.finish_operands),
    )
    return collapse(nest) if merge else nest


def address_of(
    node: Node, operand: int, shape: tuple[ExtentLike, ...], rows: tuple[Row, ...], rank: int
) -> Address:
    """Where an access of a node lies in the buffer of a tensor of that shape."""
    strides: list[ExtentLike] = [0] * rank
    offset: ExtentLike = 0
    indirect = []
    for stride, row in zip(row_major(shape), rows, strict=True):
        if isinstance(row, Indirect):
            ids = node.inputs[row.operand]
            indirect.append((stride, address_of(node, row.operand, ids.shape, row.rows, rank)))
            continue
        offset = offset + row.constant * stride
        for k, coefficient in enumerate(row.coefficients):
            strides[k] = strides[k] + stride * coefficient
    return Address(operand, tuple(strides), offset, tuple(indirect))


def memory_order(nest: Nest) -> list[int]:
    """The kept indices, the one with the largest stride of the result first."""

    def stride(k: int) -> int:
        value = nest.out.strides[k]
        return value if isinstance(value, int) else 1 << 60

    return sorted(nest.kept, key=lambda k: -abs(stride(k)))


# --- Collapsing ---


def collapse(nest: Nest) -> Nest:
    """Merges index pairs `(a, b)` into one where every address has `stride[a] = stride[b] * n_b`.

    Indices that a guard, an indirection or the body itself mentions stay apart, and so do the
    reduced indices of an argmax, whose positions are its result.
    """
    while pair := _mergeable(nest):
        nest = _merge(nest, *pair)
    return nest


def _mergeable(nest: Nest) -> tuple[int, int] | None:
    bodies = (*nest.bodies, *([] if nest.finish is None else [nest.finish]))
    fixed = {k for body in bodies for k in indices_used(body)}
    groups = [nest.kept] if nest.combine in ("argmax", "argmin") else [nest.kept, nest.reduced]
    for group in groups:
        free = [k for k in group if k not in fixed and not nest.guarded(k)]
        for a in free:
            for b in free:
                if a != b and all(_walks_through(x, a, b, nest.extents[b]) for x in nest.addresses):
                    return a, b
    return None


def _walks_through(address: Address, a: int, b: int, extent: ExtentLike) -> bool:
    if any(x.uses(a) or x.uses(b) for _, x in address.indirect):
        return False
    return address.strides[a] == address.strides[b] * extent


def _merge(nest: Nest, a: int, b: int) -> Nest:
    """Index b takes over: its extent becomes the product, index a disappears."""
    rank = len(nest.extents)
    new = [k for k in range(rank) if k != a]
    position = {old: k for k, old in enumerate(new)}
    extents = tuple(nest.extents[k] * nest.extents[a] if k == b else nest.extents[k] for k in new)
    names = tuple(nest.names[a] + nest.names[k] if k == b else nest.names[k] for k in new)
    return replace(
        nest,
        names=names,
        extents=extents,
        guards=tuple(Affine(_drop(g.coefficients, a), g.constant) for g in nest.guards),
        kept=tuple(position[k] for k in nest.kept if k != a),
        reduced=tuple(position[k] for k in nest.reduced if k != a),
        out=_drop_index(nest.out, a),
        operands=tuple(_drop_index(x, a) for x in nest.operands),
        finish_operands=tuple(_drop_index(x, a) for x in nest.finish_operands),
        bodies=tuple(_renumber_indices(b, position) for b in nest.bodies),
        finish=None if nest.finish is None else _renumber_indices(nest.finish, position),
    )


def _renumber_indices(body: Scalar, position: dict[int, int]) -> Scalar:
    return replace_indices(body, lambda k: Index(position[k]))


def _drop(values: tuple[int, ...], at: int) -> tuple[int, ...]:
    return values[:at] + values[at + 1 :]


def _drop_index(address: Address, at: int) -> Address:
    return replace(
        address,
        strides=address.strides[:at] + address.strides[at + 1 :],
        indirect=tuple((s, _drop_index(x, at)) for s, x in address.indirect),
    )
