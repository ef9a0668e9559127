"""Which groups walk through the same rows, and become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import autodiffc as ad
from autodiffc.graph.extents import dims_of
from autodiffc.schedule.plan import Planner
from autodiffc.schedule.rows import Frame, frame_of
from tests.loops.kernels import plans_of


def kinds(*outputs: ad.Expression, **options: Any) -> list[str]:
    """The kernels of a model without gradients, by their kind."""
    model = ad.Model("m", {f"y{k}": y for k, y in enumerate(outputs)}, wrt=[])
    calls = plans_of(model, **options)["predict"].calls
    return [c.group.kind for c in calls if c.group is not None]


X = ad.input("x", (64, 40))


def test_a_softmax_is_one_kernel() -> None:
    assert kinds(ad.softmax(X)) == ["rows"]
    assert kinds(ad.softmax(X), without=["rows"]).count("rows") == 0
    assert kinds(ad.softmax(X), plain=True).count("rows") == 0


def test_values_of_a_row_on_the_way_are_taken_in() -> None:
    scale = ad.exp(-ad.max(X, axis=1, keepdims=True)) + 1
    assert kinds(X * scale, scale) == ["rows"]


def test_views_of_the_same_rows_are_the_same() -> None:
    blocks = ad.input("blocks", (8, 8, 40))
    total = ad.reshape(ad.sum(ad.abs(blocks), axis=2), (64,))
    share = 1 / (1 + ad.reshape(ad.exp(total) * total, (8, 8, 1)))
    assert kinds(blocks * share, share) == ["rows"]


def test_a_product_of_matrices_keeps_its_tile() -> None:
    y = X @ ad.input("w", (40, 30))
    assert "rows" not in kinds(y, ad.exp(y) * ad.sin(y))
    assert kinds(ad.softmax(y), y) == ["formula", "rows"]


def test_one_sum_alone_keeps_its_tile() -> None:
    total = ad.sum(X * X, axis=1)
    assert "rows" not in kinds(total, ad.exp(total), ad.sin(total))


def test_no_path_leads_out_and_back() -> None:
    e = ad.exp(X - ad.max(X, axis=1, keepdims=True))
    outside = ad.sum(e @ ad.input("w", (40, 1)))  # over all rows
    found = kinds(e * outside, ad.sum(e, axis=1))
    assert found.count("rows") == 1
    assert len(found) > 2


def test_what_one_output_needs_is_not_asked_of_another() -> None:
    """A kernel for both would make `y` need the labels."""
    labels = ad.input("labels", (64,), "int32")
    y, loss = ad.softmax(X), ad.cross_entropy(X, labels)
    model = ad.Model("m", {"y": y, "loss": loss}, wrt=[])
    plan = plans_of(model)["predict"]
    for call in plan.calls:
        if any(s.kind == "input" and s.name == "labels" for s in call.slots):
            assert call.wanted_by == {"output:loss"}


def test_functions_that_vectors_lack_stay_apart() -> None:
    y = X**0.3
    assert kinds(y / ad.sum(y, axis=1, keepdims=True), y) == ["cluster", "rows"]


@pytest.mark.parametrize(
    ("shape", "axis", "joined"),
    [
        ((64, 40), 1, True),
        ((40, 16), 0, True),  # as many rows as lanes, side by side
        ((4000, 4000), 0, False),  # columns far apart
        ((4, 5, 16), 1, True),
        ((1, 1000), 1, True),
        ((1, 100_000), 1, False),  # one row, which threads could share
        ((64, ad.dim("m", 5)), 1, True),
        ((ad.dim("n", 5), 40), 1, True),
        ((ad.dim("n", 5), 40), 0, False),
    ],
)
def test_which_rows_suit(shape: Sequence[Any], axis: int, joined: bool) -> None:
    dims = {d.name: (1, 8) for d in dims_of(tuple(shape))}
    found = kinds(ad.softmax(ad.input("x", shape), axis=axis), dims=dims)
    assert (found == ["rows"]) is joined


def test_a_frame() -> None:
    node = ad.sum(ad.input("x", (4, 10, 16)), axis=1).node
    frame = frame_of(node)
    assert isinstance(frame, Frame)
    assert (frame.extents, frame.columns, frame.rows) == ((4, 10, 16), (1,), (0, 2))
    assert frame.is_across
    assert frame.strides(frame.rows) == (16, 0, 1)


def test_no_frame() -> None:
    a, b = ad.input("a", (4, 5)), ad.input("b", (5, 6))
    assert frame_of((a @ b).node) is None  # each operand lacks an index
    assert frame_of(ad.exp(a).node) is None
    assert frame_of(ad.sum(ad.input("x", (2, 3, 4, 5)), axis=(1, 3)).node) is None


def test_the_planner_joins_unless_told_otherwise() -> None:
    from autodiffc.graph.dag import Graph

    graph = Graph({"output:y": ad.softmax(X).node})
    assert {g.kind for g in Planner(graph, {}).groups} != {
        g.kind for g in Planner(graph, {}, rows=False).groups
    }
