"""`y = relu(f(x) + skip)` is the end of one sum, and so is the mask on the way back.

For convolutions and matrix products, plain and interleaved: addition and activation happen where
the sum is in a register, and the gradient of a layer's input is masked where it is computed, so
that the sums which read it find it masked. Results are equal with and without that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Call, Scalar, walk
from tests.harness import Case, compile_cases
from tests.loops.kernels import plans_of

Layer = Callable[[ad.Expression, ad.Expression], ad.Expression]


def residual(layer: Layer, x: tuple[int, ...], w: tuple[int, ...]) -> ad.Model:
    """Two layers; the first adds an input, the second what the first has computed."""
    first, second = (ad.param(name, w, init="xavier_normal") for name in ("first", "second"))
    images, skip = ad.input("x", x), ad.input("skip", x)
    h = ad.relu(layer(images, first) + skip)
    y = ad.relu(layer(h, second) + h)
    return ad.Model("m", {"loss": ad.sum(y * y)}, "loss", optimizer=ad.SGD(0.001))


def conv(x: ad.Expression, w: ad.Expression) -> ad.Expression:
    return ad.conv2d(x, w, padding=1)


MODELS = {
    "conv_plain": residual(conv, (3, 5, 8, 8), (5, 5, 3, 3)),
    "conv_lanes": residual(conv, (16, 16, 8, 8), (16, 16, 3, 3)),
    "product_plain": residual(lambda x, w: x @ w, (7, 20), (20, 20)),
    "product_lanes": residual(lambda x, w: x @ w, (32, 64), (64, 64)),
}


def calls_in(body: Scalar | None) -> set[str]:
    return {s.function for s in walk(body) if isinstance(s, Call)} if body is not None else set()


def sums(model: ad.Model) -> list[Node]:
    """The sums of products that a step computes."""
    calls = plans_of(model, target="x86-64-v4")["step"].calls
    nodes = [c.group.nodes[0] for c in calls if c.group is not None]
    found = [n for n in nodes if n.op == "compute" and n.pieces[0].combine == "sum"]
    return [n for n in found if len(n.pieces[0].operands) == 2 and n.shape]


@pytest.mark.parametrize("name", MODELS)
def test_additions_activations_and_masks_end_sums(name: str) -> None:
    made = sums(MODELS[name])
    ends = [calls_in(n.pieces[0].finish) for n in made]
    assert sum({"add", "relu"} <= end for end in ends) == 2
    assert sum({"add", "where", "le"} <= end for end in ends) == 1
    assert len(made) == 5  # two layers, one gradient of an input, two updates
    assert all(calls_in(n.pieces[0].body) == {"mul"} for n in made)


def test_results_are_the_same_without() -> None:
    cases = [Case(name, model) for name, model in MODELS.items()]
    fused = compile_cases(cases, library="residuals")
    apart = compile_cases(cases, library="residuals_apart", without=("fuse",))
    rng = np.random.default_rng(9)
    for name, program in fused.items():
        arrays = {n: rng.normal(size=s.shape) for n, s in program.inputs.items()}
        for one in (program, apart[name]):
            one.init(seed=2)
            one.step(**arrays)
        for param, found in program.params.items():
            np.testing.assert_allclose(found, apart[name].params[param], rtol=1e-11, atol=1e-12)
