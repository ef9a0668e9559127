"""Several formulas in one node: none may write what another one writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autodiffc.graph import overlap
from autodiffc.graph.affine import Affine, identity
from autodiffc.graph.comprehension import Access, Comprehension, Domain
from autodiffc.graph.construct import compute
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg
from autodiffc.graph.verify import verify
from tests.graph.test_verify import TOTAL, X, fails

i, k = identity(2)


def side_by_side(*pieces: Comprehension, shape: tuple[Any, ...] = (9,)) -> Node:
    return compute([X], list(pieces), shape)


def part(out: Affine, rows: int = 4, guards: tuple[Affine, ...] = (), **changes: Any):
    """y[out] = sum_k x[i, k] for i < rows, within guards."""
    return replace(TOTAL, domain=Domain((rows, 5), guards, ("i", "k")), out=(out,), **changes)


@pytest.mark.parametrize(
    "pieces",
    [
        (part(i), part(i + 4)),  # a concatenation
        (part(i * 2), part(i * 2 + 1)),  # the residues of a stride
        (part(i * 3, 3), part(i * 2 + 2, 2)),  # without a proof: the elements are listed
        (part(i, guards=(-i + 1,)), part(i, guards=(i - 2,))),
        (part(i, guards=(-i + 1, k - i)), part(i, guards=(i - 2, k - i))),
        (part(i, combine="max", guards=(-i + 1,)), part(i + 2, 1, combine="prod")),
    ],
)
def test_formulas_that_stay_apart(pieces: tuple[Comprehension, ...]) -> None:
    verify(Graph({"y": side_by_side(*pieces)}))


@pytest.mark.parametrize(
    ("pieces", "element"),
    [
        ((part(i), part(i + 3)), "(3,)"),
        ((part(i * 2), part(i * 3 + 1, 3)), "(4,)"),
        ((part(i), part(i + 4), part(-i + 8)), "(5,)"),
        ((part(i, guards=(-i + 2,)), part(i, guards=(i - 2,))), "(2,)"),
        ((part(i, guards=(k - i - 2,)), part(i, guards=(i - 2,))), "(2,)"),
        ((part(i), part(i, guards=(i - k - 3,))), "(0,)"),
        # a reduction stores elements without a point: zeros, ones, or what finish makes of them
        ((part(i, guards=(-i,)), part(i, guards=(k - 5,))), "(0,)"),
        ((part(i, guards=(-i,)), part(i, combine="prod", guards=(k - 5,))), "(0,)"),
        ((part(i, guards=(-i,)), part(i, finish=Arg(0), guards=(k - 5,))), "(0,)"),
    ],
)
def test_formulas_that_meet(pieces: tuple[Comprehension, ...], element: str) -> None:
    message = fails(side_by_side(*pieces))
    assert "writes an element that formula" in message
    assert f"found:    {element}" in message


def test_formulas_without_axes_meet() -> None:
    """Two scalars in one node: both write its only element."""
    scalar = replace(TOTAL, out=(), operands=(Access(0, (i, k)),))
    assert "found:    ()" in fails(side_by_side(scalar, scalar, shape=()))


def test_large_formulas_are_told_apart_by_proofs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented limit: no proof either way, and too many points to list."""
    monkeypatch.setattr(overlap, "MOST_POINTS", 3)
    verify(Graph({"y": side_by_side(part(i * 2), part(i * 3 + 1, 3))}))
    verify(Graph({"y": side_by_side(part(i * 2), part(i * 2 + 1))}))
    monkeypatch.setattr(overlap, "MOST_POINTS", 4)
    assert "formula 1 writes too" in fails(side_by_side(part(i * 2), part(i * 3 + 1, 3)))
