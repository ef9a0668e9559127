"""Addresses that differ by a constant, from one pointer.

    a = load(x + 248 * i + j);                 x_at0 = x + 248 * i + j;
    b = load(x + 248 * i + j + 8);             a = load(x_at0); b = load(x_at0 + 8);

The elements of a register tile lie at constant distances from each other. So what they have in
common is written, read and computed once.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from autodiffc.graph.scalars import Scalar, rewrite, walk
from autodiffc.loops.ir import (
    Block,
    First,
    For,
    If,
    Let,
    LetPointer,
    Linear,
    Load,
    MaskFirst,
    Set,
    Stmt,
    Store,
)

LEAST = 3  # addresses that are worth a pointer
Base = tuple[str, tuple[object, ...]]  # a buffer, and what is added to it


def with_bases(body: Sequence[Stmt]) -> list[Stmt]:
    """The statements, with a pointer before those that share a part of their addresses."""
    return list(_based(body, itertools.count()))


def _based(body: Sequence[Stmt], numbers: Iterator[int]) -> Iterator[Stmt]:
    """One block; a run of statements between loops shares pointers."""
    for nested, found in itertools.groupby(body, lambda s: isinstance(s, For | If | Block | First)):
        if nested:
            yield from (_inside(stmt, numbers) for stmt in found)
        else:
            yield from _run(list(found), numbers)


def _inside(stmt: Stmt, numbers: Iterator[int]) -> Stmt:
    """What C compilers make vectors of is left as it is."""
    assert isinstance(stmt, For | If | Block | First)
    if isinstance(stmt, For) and "simd" in stmt.mode:
        return stmt
    return replace(stmt, body=tuple(_based(stmt.body, numbers)))


def _run(run: Sequence[Stmt], numbers: Iterator[int]) -> Iterator[Stmt]:
    places = [place for stmt in run for place in _places(stmt)]
    uses = Counter(map(_base, places))
    stored = {stmt.buffer for stmt in run if isinstance(stmt, Store)}
    pointers: dict[Base, LetPointer] = {}
    for stmt in run:
        for place in _places(stmt):
            base = _base(place)
            if uses[base] >= LEAST and len(place.index.terms) > 1 and base not in pointers:
                name = f"{place.buffer}_at{next(numbers)}"
                first = _first([p.index for p in places if _base(p) == base])
                pointers[base] = LetPointer(name, place.buffer, first, place.buffer in stored)
                yield pointers[base]
        yield _moved(stmt, pointers)


def _first(indices: Sequence[Linear]) -> Linear:
    """The lowest of addresses that differ by constants, or any: a pointer is to an element."""
    known = [c for index in indices if isinstance(c := index.constant, int)]
    return Linear(indices[0].terms, min(known)) if len(known) == len(indices) else indices[0]


def _base(place: Load | Store) -> Base:
    return place.buffer, place.index.terms


def _places(stmt: Stmt) -> Iterator[Load | Store]:
    """Where a statement reads and writes."""
    if isinstance(stmt, Let | Set | Store):
        for part in walk(stmt.value):
            inner = part.value if isinstance(part, MaskFirst) else part
            if isinstance(inner, Load):
                yield inner
    if isinstance(stmt, Store):
        yield stmt


def _moved(stmt: Stmt, pointers: Mapping[Base, LetPointer]) -> Stmt:
    """A statement whose addresses begin at the pointers."""

    def rule(part: Scalar) -> Scalar:
        if isinstance(part, Load) and _base(part) in pointers:
            return _from(part, pointers[_base(part)])
        return replace(part, value=rule(part.value)) if isinstance(part, MaskFirst) else part

    if not pointers or not isinstance(stmt, Let | Set | Store):
        return stmt
    stmt = replace(stmt, value=rewrite(stmt.value, rule))
    if isinstance(stmt, Store) and _base(stmt) in pointers:
        return _from(stmt, pointers[_base(stmt)])
    return stmt


Place = TypeVar("Place", Load, Store)


def _from(place: Place, pointer: LetPointer) -> Place:
    distance = Linear((), place.index.constant) - pointer.index.constant
    return replace(place, buffer=pointer.name, index=distance)
