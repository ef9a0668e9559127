"""Proofs of bounds: never wrong, and strong enough for the guards that people write."""

from __future__ import annotations

import itertools
import random

import pytest

from autodiffc.dsl.elements import Index, IndexExpression
from autodiffc.dsl.ranges import bounds, proves
from autodiffc.graph.extents import dim

i, j, k = Index("i"), Index("j"), Index("k")
H = dim("H", 9)


def form(constant: object, **coefficients: int) -> IndexExpression:
    terms = {{"i": i, "j": j, "k": k}[name]: c for name, c in coefficients.items() if c}
    return IndexExpression(terms, constant)  # type: ignore[arg-type]


def test_bounds_within_a_box() -> None:
    assert bounds(form(1, i=2, j=-1), {i: 3, j: 4}) == (-2, 5)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_proved_holds_at_every_point(seed: int) -> None:
    rng = random.Random(seed)
    extents = {i: rng.randint(1, 5), j: rng.randint(1, 5), k: rng.randint(1, 4)}

    def some_form() -> IndexExpression:
        return form(rng.randint(-4, 4), **{n: rng.randint(-2, 2) for n in "ijk"})

    def at(f: IndexExpression, point: dict[Index, int]) -> int:
        assert isinstance(f.constant, int)
        return f.constant + sum(c * point[x] for x, c in f.terms.items())

    guards = [some_form() for _ in range(rng.randint(0, 3))]
    goal = some_form()
    points = [
        dict(zip(extents, values, strict=True))
        for values in itertools.product(*(range(e) for e in extents.values()))
    ]
    inside = [p for p in points if all(at(g, p) >= 0 for g in guards)]
    holds = all(at(goal, p) >= 0 for p in inside)
    if proves(goal, extents, guards):
        assert holds
    elif not guards and not any(e == 0 for e in extents.values()):
        assert not holds  # within a box the proof is complete


def test_symbolic_windows() -> None:
    rows = (H - 3) // 2 + 1
    assert proves(form(H - 1, i=-2, j=-1), {i: rows, j: 3})
    assert not proves(form(H - 2, i=-2, j=-1), {i: rows, j: 3})


def test_symbolic_guards() -> None:
    inside = [form(-1, i=1, j=1), form(H, i=-1, j=-1)]  # 0 <= i + j - 1 < H
    assert proves(form(-1, i=1, j=1), {i: H, j: 3}, inside)
    assert proves(form(H, i=-1, j=-1), {i: H, j: 3}, inside)
    assert not proves(form(H - 1, i=-1, j=-1), {i: H, j: 3}, inside)


def test_dims_are_at_least_1() -> None:
    assert proves(form(H - 1), {})
    assert not proves(form(H - 2), {})
