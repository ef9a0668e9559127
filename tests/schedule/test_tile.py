"""Register tiles: what may have one, and that it fits the extents and the registers."""

from __future__ import annotations

import math

import pytest

import autodiffc as ad
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression
from autodiffc.passes import specialize
from autodiffc.schedule.nest import build_nest
from autodiffc.schedule.tile import choose_tiling
from autodiffc.schedule.tiling import Tiling
from autodiffc.targets import NAMED_TARGETS, Target


def tiling_of(y: Expression, target: Target, dtype: str) -> tuple[Tiling | None, tuple[int, ...]]:
    node = specialize(Graph({"y": y.node}), {}, dtype).outputs["y"]
    nest = build_nest(node, node.formula)
    dtypes = [node.inputs[a.operand].dtype for a in nest.operands]
    return choose_tiling(nest, dtypes, target), tuple(int(e) for e in nest.extents)


@pytest.mark.parametrize("name", NAMED_TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (64, 48, 100), (128, 256, 512), (1, 9, 2)])
def test_tiles_fit_extents_and_registers(
    name: str, dtype: str, shape: tuple[int, int, int]
) -> None:
    n, m, k = shape
    target = NAMED_TARGETS[name]
    tiling, extents = tiling_of(ad.input("a", (n, k)) @ ad.input("b", (k, m)), target, dtype)
    if tiling is None:
        return
    assert tiling.lanes <= target.lanes(8 if dtype == "float64" else 4)
    assert tiling.lanes * tiling.unroll <= extents[tiling.vector]
    assert all(size <= extents[index] for index, size in tiling.tiles)
    assert tiling.unroll * math.prod(s for _, s in tiling.tiles) <= target.registers - 2


def test_large_products_are_tiled() -> None:
    for target in NAMED_TARGETS.values():
        y = ad.input("a", (128, 256)) @ ad.input("b", (256, 512))
        tiling, _ = tiling_of(y, target, "float32")
        assert tiling is not None
        assert tiling.unroll * math.prod(s for _, s in tiling.tiles) >= 4


def test_other_bodies_and_combinations_are_left_to_plain_loops() -> None:
    target = NAMED_TARGETS["x86-64-v3"]
    x, ids = ad.input("x", (64, 64)), ad.input("ids", (64, 64), "int32")
    i, j = ad.indices("i j")
    powers = ad.compute((i,), ad.sum_over((j,), x[i, j] ** 0.3))
    for y in (powers, ad.max(x, axis=1), ad.sum(ids, axis=1)):
        assert tiling_of(y, target, "float32")[0] is None


def test_long_bodies_have_small_tiles() -> None:
    target = NAMED_TARGETS["x86-64-v4"]
    x = ad.input("x", (1024, 1024))
    i, j = ad.indices("i j")
    exps = ad.compute((i,), ad.sum_over((j,), ad.exp(x[i, j])))
    tiling = tiling_of(exps, target, "float32")[0]
    assert tiling is not None
    sizes = [size for _, size in tiling.tiles]
    assert tiling.unroll * math.prod(sizes) <= 4
