"""Products over packed operands in C, with everything packed that can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.runtime.compiled import Compiled
from autodiffc.schedule import pack
from tests.harness import Case, compile_cases


def products(n: int, k: int, m: int) -> ad.Model:
    """A product, and with its gradients products of the other two forms."""
    a, b = ad.input("a", (n, k)), ad.input("b", (k, m))
    y = ad.tanh(a @ b + ad.input("c", (m,)))
    loss = ad.sum(y * y)
    return ad.Model("m", {"loss": loss, "y": y, "da": ad.grad(loss, a), "db": ad.grad(loss, b)})


def convolution(channels: int, features: int) -> ad.Model:
    x, w = ad.input("x", (3, channels, 9, 30)), ad.input("w", (features, channels, 3, 3))
    y = ad.conv2d(x, w)
    loss = ad.sum(y * y)
    return ad.Model("m", {"loss": loss, "y": y, "dx": ad.grad(loss, x), "dw": ad.grad(loss, w)})


MODELS = {
    "whole": products(32, 48, 64),
    "rest": products(33, 41, 77),
    "few": products(5, 200, 19),
    "deep": convolution(20, 24),
    "flat": convolution(3, 16),
}
CASES = [Case(name, model) for name, model in MODELS.items()]


def build(dtype: str, without: Sequence[str] = ()) -> dict[str, Compiled]:
    return compile_cases(CASES, dtype=dtype, library=f"packed_{dtype}", without=without)


@pytest.fixture(scope="module", params=["float32", "float64"])
def pairs(request: pytest.FixtureRequest) -> Mapping[str, tuple[Compiled, Compiled]]:
    """Each model with packed operands and with none."""
    dtype = request.param
    plain = build(dtype, without=("pack",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "WAITS", 0.0)
        patch.setattr(pack, "WORTHWHILE", 1e9)
        patch.setattr(pack, "REUSE", 0)
        packed = build(dtype)
    return {name: (packed[name], plain[name]) for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_packed_and_plain_operands_give_the_same(
    name: str, pairs: Mapping[str, tuple[Compiled, Compiled]]
) -> None:
    packed, plain = pairs[name]
    assert any("packed" in kernel["name"] for kernel in packed.manifest["kernels"])
    rng = np.random.default_rng(1)
    single = packed.dtype == np.float32
    arrays = {
        k: rng.standard_normal([int(n or 1) for n in i.shape]).astype(packed.dtype)
        for k, i in packed.inputs.items()
    }
    found, expected = packed.predict(**arrays), plain.predict(**arrays)
    for key, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(
            found[key], value, rtol=0, atol=scale * (1e-5 if single else 1e-13), err_msg=key
        )
