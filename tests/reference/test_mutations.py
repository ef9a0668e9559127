"""A formula that is wrong anywhere gives a value that is wrong.

Each formula has an independent NumPy answer. It is then spoiled in every way a mistake could spoil
it (a coefficient or a constant off by one, a guard dropped, another combiner, operands swapped, a
number changed), and every mutant must be refused or differ from the answer. So a test that compares
an operation's formula with its reference cannot overlook such a mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

import autodiffc.ops.functions  # noqa: F401 - fills the table of functions
from autodiffc.errors import ArgumentError, DtypeError, VerificationError
from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.comprehension import Access, Comprehension, Domain, Indirect, Row
from autodiffc.graph.construct import check_index, compute, leaf
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Call, Cast, Const, Index, Scalar, call, select
from autodiffc.reference import evaluate

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Example:
    name: str
    inputs: tuple[Node, ...]
    pieces: tuple[Comprehension, ...]
    shape: tuple[int, ...]
    arrays: dict[str, np.ndarray]
    answer: np.ndarray


def value(name: str, *shape: int) -> tuple[Node, np.ndarray]:
    return leaf("input", name, shape, "real"), RNG.standard_normal(shape)


def matmul() -> Example:
    (a, A), (b, B) = value("a", 4, 5), value("b", 5, 3)
    i, j, k = identity(3)
    piece = Comprehension(
        Domain((4, 3, 5)), (i, j), (Access(0, (i, k)), Access(1, (k, j))), Arg(0) * Arg(1), "sum"
    )
    return Example("matmul", (a, b), (piece,), (4, 3), {"a": A, "b": B}, A @ B)


def affine_layer() -> Example:
    """relu(w x + b) with the tail as a finish."""
    (w, W), (x, X), (b, B) = value("w", 4, 5), value("x", 5), value("b", 4)
    i, k = identity(2)
    piece = Comprehension(
        Domain((4, 5)),
        (i,),
        (Access(0, (i, k)), Access(1, (k,))),
        Arg(0) * Arg(1),
        "sum",
        finish=call("tanh", Arg(0) - Arg(1) * 0.5),
        finish_operands=(Access(2, (i,)),),
    )
    answer = np.tanh(W @ X - B * 0.5)
    return Example("affine layer", (w, x, b), (piece,), (4,), {"w": W, "x": X, "b": B}, answer)


def convolution() -> Example:
    """Stride 2, padding 1, dilation 2, several channels."""
    (x, X), (w, W) = value("x", 3, 9), value("w", 2, 3, 4)
    o, t, c, p = identity(4)
    row = t * 2 + p * 2 - 1
    piece = Comprehension(
        Domain((2, 3, 3, 4), (row, -row + 8)),
        (o, t),
        (Access(0, (c, row)), Access(1, (o, c, p))),
        Arg(0) * Arg(1),
        "sum",
    )
    padded = np.pad(X, ((0, 0), (1, 1)))
    answer = np.array(
        [[(W[a] * padded[:, 2 * b : 2 * b + 7 : 2]).sum() for b in range(3)] for a in range(2)]
    )
    return Example("convolution", (x, w), (piece,), (2, 3), {"x": X, "w": W}, answer)


def pooling(combine: str) -> Example:
    x, X = value("x", 3, 7)
    c, t, p = identity(3)
    piece = Comprehension(Domain((3, 3, 3)), (c, t), (Access(0, (c, t * 2 + p)),), Arg(0), combine)
    windows = np.stack([X[:, 2 * t : 2 * t + 3] for t in range(3)], axis=1)
    answer = getattr(windows, combine)(axis=2)
    return Example(f"{combine} pooling", (x,), (piece,), (3, 3), {"x": X}, answer)


def upsampling() -> Example:
    x, X = value("x", 4)
    i, r = identity(2)
    piece = Comprehension(
        Domain((4, 2)), (i * 2 + r,), (Access(0, (i,)),), Arg(0) * Cast("real", Index(1))
    )
    answer = np.stack([np.zeros(4), X], axis=1).reshape(8)
    return Example("upsampling", (x,), (piece,), (8,), {"x": X}, answer)


def triangle() -> Example:
    """Indices as values: where(j <= i, a[i, j], -1) + b[j, i]."""
    (a, A), (b, B) = value("a", 4, 4), value("b", 4, 4)
    i, j = identity(2)
    body = select(call("le", Index(1), Index(0)), Arg(0), -1.0) + Arg(1)
    piece = Comprehension(Domain((4, 4)), (i, j), (Access(0, (i, j)), Access(1, (j, i))), body)
    answer = np.where(np.tri(4, dtype=bool), A, -1) + B.T
    return Example("triangle", (a, b), (piece,), (4, 4), {"a": A, "b": B}, answer)


def gather() -> Example:
    (e, E), ids = value("e", 7, 3), np.array([6, 0, 3, 6])
    n = leaf("input", "ids", (4,), "int32")
    i, j = identity(2)
    piece = Comprehension(Domain((4, 3)), (i, j), (Access(0, (Indirect(1, (i,)), j)),), Arg(0))
    inputs = (e, check_index(n, 7))
    return Example("gather", inputs, (piece,), (4, 3), {"e": E, "ids": ids}, E[ids])


def joined() -> Example:
    """A concatenation along the first axis, then a gap of zeros."""
    (a, A), (b, B) = value("a", 2, 3), value("b", 3, 3)
    i, j = identity(2)
    pieces = (
        Comprehension(Domain((2, 3)), (i, j), (Access(0, (i, j)),), Arg(0)),
        Comprehension(Domain((3, 3)), (i + 2, j), (Access(1, (i, j)),), Arg(0)),
    )
    answer = np.concatenate([A, B, np.zeros((2, 3))])
    return Example("concatenation", (a, b), pieces, (7, 3), {"a": A, "b": B}, answer)


EXAMPLES = [
    matmul(),
    affine_layer(),
    convolution(),
    pooling("max"),
    pooling("argmin"),
    pooling("sum"),
    pooling("prod"),
    upsampling(),
    triangle(),
    gather(),
    joined(),
]


# --- Mutations ---

Mutant = tuple[str, Comprehension]

OTHER_COMBINERS = {
    "sum": ("set", "prod", "max", "min"),
    "prod": ("set", "sum", "max", "min"),
    "max": ("set", "sum", "prod", "min"),
    "min": ("set", "sum", "prod", "max"),
    "argmax": ("argmin",),
    "argmin": ("argmax",),
    "set": (),  # where each element has one point, it is a sum, a product and an extremum too
}


def mutants(piece: Comprehension) -> Iterator[Mutant]:
    for combine in OTHER_COMBINERS[piece.combine]:
        yield f"{piece.combine} -> {combine}", replace(piece, combine=combine)
    for k in range(len(piece.domain.guards)):
        kept = (*piece.domain.guards[:k], *piece.domain.guards[k + 1 :])
        yield f"guard {k} dropped", guarded(piece, kept)
        guard = piece.domain.guards[k]
        step = min(abs(guard.coefficients[j]) for j in guard.uses)  # less may change nothing
        for shift in (step, -step):
            guards = (*piece.domain.guards[:k], guard + shift, *piece.domain.guards[k + 1 :])
            yield f"guard {k} {shift:+}", guarded(piece, guards)
    for title, out in address_mutants(piece.out, piece.domain):
        yield f"output {title}", replace(piece, out=out)
    for field in ("operands", "finish_operands"):
        yield from access_mutants(piece, field)
    for field in ("body", "finish"):
        body = getattr(piece, field)
        for title, new in body_mutants(body) if body is not None else ():
            yield f"{field}: {title}", replace(piece, **{field: new})


def guarded(piece: Comprehension, guards: tuple[Affine, ...]) -> Comprehension:
    return replace(piece, domain=replace(piece.domain, guards=guards))


def access_mutants(piece: Comprehension, field: str) -> Iterator[Mutant]:
    accesses: tuple[Access, ...] = getattr(piece, field)
    for k, access in enumerate(accesses):
        for title, rows in address_mutants(access.rows, piece.domain):
            new = (*accesses[:k], replace(access, rows=rows), *accesses[k + 1 :])
            yield f"{field} {k}, {title}", replace(piece, **{field: new})
    if len(accesses) == 2:  # each read where the other one is
        first, second = accesses
        swapped = (Access(second.operand, first.rows), Access(first.operand, second.rows))
        yield f"{field} swapped", replace(piece, **{field: swapped})


def address_mutants(rows: tuple[Row, ...], domain: Domain) -> Iterator[tuple[str, tuple[Row, ...]]]:
    for axis, row in enumerate(rows):
        inner = row.rows[0] if isinstance(row, Indirect) else row
        for title, affine in affine_mutants(inner, domain):
            new = replace(row, rows=(affine,)) if isinstance(row, Indirect) else affine
            yield f"axis {axis}: {title}", (*rows[:axis], new, *rows[axis + 1 :])


def affine_mutants(affine: Affine, domain: Domain) -> Iterator[tuple[str, Affine]]:
    for k, coefficient in enumerate(affine.coefficients):
        for step in (1, -1):
            new = list(affine.coefficients)
            new[k] = coefficient + step
            yield f"{domain.names[k]} * {new[k]}", Affine(tuple(new), affine.constant)
    for step in (1, -1):
        yield f"{step:+}", affine + step


def body_mutants(body: Scalar) -> Iterator[tuple[str, Scalar]]:
    """Numbers off by one, functions for their neighbours, arguments the other way round."""
    neighbours = {"add": "sub", "sub": "add", "mul": "add", "le": "lt", "tanh": "exp"}
    if isinstance(body, Const):
        yield f"{body.value} + 1", Const(body.value + 1, body.dtype)
    if isinstance(body, Cast):
        yield from ((t, Cast(body.dtype, new)) for t, new in body_mutants(body.x))
    if isinstance(body, Index):
        yield "another index", Index(1 - body.position)
    if isinstance(body, Call):
        if body.function in neighbours:
            other = neighbours[body.function]
            yield f"{body.function} -> {other}", Call(other, body.args)
        if body.function in ("sub", "le"):
            yield "arguments swapped", Call(body.function, body.args[::-1])
        for k, arg in enumerate(body.args):
            for title, new in body_mutants(arg):
                yield title, Call(body.function, (*body.args[:k], new, *body.args[k + 1 :]))


def evaluated(example: Example, pieces: tuple[Comprehension, ...]) -> np.ndarray:
    node = compute(example.inputs, pieces, example.shape)
    return evaluate({"y": node}, example.arrays)["y"]


def same(example: Example, pieces: tuple[Comprehension, ...]) -> bool:
    """Whether the formula gives the answer; one that has no meaning does not."""
    try:
        found = evaluated(example, pieces)
    except (VerificationError, ArgumentError, DtypeError):
        return False
    return bool(np.allclose(found, example.answer, rtol=1e-9, atol=1e-12))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_the_formula_gives_the_answer(example: Example) -> None:
    np.testing.assert_allclose(evaluated(example, example.pieces), example.answer, rtol=1e-12)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_no_mutant_survives(example: Example) -> None:
    count, survivors = 0, []
    for k, piece in enumerate(example.pieces):
        for title, mutant in mutants(piece):
            count += 1
            if same(example, (*example.pieces[:k], mutant, *example.pieces[k + 1 :])):
                survivors.append(title)
    assert count >= 8
    assert not survivors


@pytest.mark.parametrize("forget", [pytest.param(k, id=f"without part {k}") for k in (0, 1)])
def test_a_forgotten_part_is_noticed(forget: int) -> None:
    example = joined()
    assert not same(example, (example.pieces[1 - forget],))
