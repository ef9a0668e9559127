"""Lines and pages are counted right, and the order of loops keeps what is used again in a cache."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiffc as ad
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression
from autodiffc.graph.extents import defaults
from autodiffc.passes import specialize
from autodiffc.schedule.locality import LINE, PAGE, Stream, Walk, footprint, runs, waiting
from autodiffc.schedule.nest import Nest, build_nest
from autodiffc.schedule.order import exact
from autodiffc.schedule.tile import choose_tiling
from autodiffc.schedule.tiling import Tiling
from autodiffc.targets import NAMED_TARGETS

TARGET = NAMED_TARGETS["x86-64-v4"]


def addresses(walks: tuple[Walk, ...]) -> set[int]:
    ranges = [range(0, abs(s) * t, abs(s)) if s else [0] for s, t in walks]
    return {sum(point) for point in itertools.product(*ranges)}


WALKS = st.lists(
    st.tuples(st.sampled_from([0, 4, 8, 12, 64, 256, 1024, 4096, 8192]), st.integers(1, 6)),
    max_size=4,
).map(tuple)


@settings(max_examples=300, deadline=None)
@given(WALKS)
def test_runs_count_every_address_once_or_too_often_but_never_leave_one_out(
    walks: tuple[Walk, ...],
) -> None:
    assert addresses(walks) <= addresses(runs(walks))


@pytest.mark.parametrize(
    ("walks", "distinct"),
    [
        (((4, 16), (64, 10)), 160),  # one after the other
        (((4, 3), (4, 56)), 58),  # a window that slides
        (((8, 28), (4, 3)), 57),  # a window that slides by two
        (((4096, 3), (4096, 14)), 16),
        (((0, 100), (4, 2)), 2),
        (((-4, 5),), 5),
    ],
)
def test_overlapping_walks_are_one(walks: tuple[Walk, ...], distinct: int) -> None:
    assert len(addresses(runs(walks))) == distinct


@pytest.mark.parametrize("walks", [((4, 64),), ((4096, 8),), ((4, 16), (1024, 12)), ((256, 5),)])
def test_lines_and_pages(walks: tuple[Walk, ...]) -> None:
    found = footprint(runs(walks), 4, TARGET.l1_bytes)
    touched = addresses(walks)
    assert found.lines == pytest.approx(len({a // LINE for a in touched}), abs=0.5)
    assert found.pages == pytest.approx(len({a // PAGE for a in touched}), rel=1)


def test_rows_a_page_apart_crowd_the_first_cache() -> None:
    few, many = (footprint(((4096, rows),), 4, TARGET.l1_bytes) for rows in (8, 9))
    beside = footprint(((4096 + 64, 400),), 4, TARGET.l1_bytes)
    assert few.in_l1 == few.lines == 8  # a set holds them
    assert many.in_l1 > TARGET.l1_bytes / LINE
    assert beside.in_l1 == beside.lines == 400


def test_what_fits_is_fetched_once() -> None:
    inner = Stream(((4, 16),), (64, 0))  # 100 lines, again and again
    near, far = waiting([inner], [100, 1000], 4, TARGET)
    streaming = Stream(((4, 16),), (64, 6400))
    more, _ = waiting([streaming], [100, 1000], 4, TARGET)
    assert near < 0.01 < 1.0 < more
    assert far < 0.02


def tiled(y: Expression) -> tuple[Nest, Tiling]:
    node = specialize(Graph({"y": y.node}), {}, "float32").outputs["y"]
    nest = build_nest(node, node.formula)
    tiling = choose_tiling(nest, ["float32"] * 2, TARGET)
    assert tiling is not None
    return nest, tiling


def test_a_panel_serves_all_rows_before_the_next_one_comes() -> None:
    nest, tiling = tiled(ad.input("a", (1024, 1024)) @ ad.input("b", (1024, 1024)))
    assert tiling.order[0] == tiling.vector
    assert exact(nest, tiling, tiling.order[0])  # so that threads can share it


@pytest.mark.parametrize("shape", [(64, 64, 64), (1024, 512, 2048), (100, 3000, 7)])
def test_an_order_names_every_kept_index_once(shape: tuple[int, int, int]) -> None:
    n, k, m = shape
    nest, tiling = tiled(ad.input("a", (n, k)) @ ad.input("b", (k, m)))
    assert sorted(tiling.order) == sorted(nest.kept)


def test_weights_that_come_from_memory_meet_rows_of_several_results() -> None:
    """A full layer over few images: else the images come from the second cache for each weight."""
    nest, tiling = tiled(ad.linear(ad.input("x", (8, 9216)), ad.input("w", (4096, 9216))))
    images, features = (
        tiling.size(k) for k in sorted(nest.kept, key=lambda k: defaults(nest.extents[k]))
    )
    assert images >= 3
    assert features >= 3
