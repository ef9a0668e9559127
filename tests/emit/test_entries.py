"""Entry points: names beside cotangents and outputs, conditions, kernels for several calls."""

from __future__ import annotations

import re

import numpy as np
import pytest

import autodiffc as ad
from autodiffc import nn
from autodiffc.emit.conditions import any_of
from autodiffc.errors import ModelError
from autodiffc.lower import lower
from tests.harness import Case, compile_cases

X = np.array([0.1, 0.2, 0.3])
OUTPUTS = ["loss_", "y_", "p_end", "f32x4", "relu_f32", "for_backward", "general"]


def cotangent_in_the_middle() -> ad.Model:
    x = ad.input("x", (3,))
    h = ad.name(ad.sum(ad.exp(x)), "cotangent_y")
    return ad.Model("m", {"y": ad.sum(ad.sin(h * x)), "v": x * h}, "y")


def cotangent_as_input() -> ad.Model:
    x = ad.input("cotangent_y", (3,))
    return ad.Model("m", {"y": ad.sum(x * x)}, "y")


def strange_outputs() -> ad.Model:
    x = ad.input("x", (3,))
    return ad.Model("m", {n: ad.sum(ad.exp(x)) * k for k, n in enumerate(OUTPUTS, 1)}, OUTPUTS[0])


def test_names_beside_cotangents() -> None:
    models = [cotangent_in_the_middle(), cotangent_as_input(), strange_outputs()]
    cases = [Case(str(k), m) for k, m in enumerate(models)]
    middle, given, strange = compile_cases(cases, library="entries", level="-O0").values()
    middle.forward(x=X)
    default = middle.backward()["x"].copy()
    np.testing.assert_allclose(middle.backward(y=1.0)["x"], default, rtol=1e-12)
    _, gradients = given.value_and_grad(cotangent_y=X)
    np.testing.assert_allclose(gradients["cotangent_y"], 2 * X, rtol=1e-12)
    strange.forward(x=X)
    for k, name in enumerate(OUTPUTS, 1):
        np.testing.assert_allclose(strange.backward(**{name: 2.0})["x"], 2 * k * np.exp(X))


@pytest.mark.parametrize(
    "name", ["M_OK", "M_API", "M_PARAM_COUNT", "M_PARAM_w", "m_inputs", "m_step"]
)
def test_names_that_the_module_defines_are_refused(name: str) -> None:
    w = ad.param("w", (3,))
    with pytest.raises(ModelError, match=name):
        lower(ad.Model("m", {name: ad.sum(ad.input("x", (3,)) * w)}))


@pytest.mark.parametrize("names", [["COUNT"], ["a_.b", "a_b"]], ids=str)
def test_macros_that_would_be_defined_twice_are_refused(names: list[str]) -> None:
    total = sum(ad.sum(ad.param(n, (3,))) for n in names)
    with pytest.raises(ModelError, match=re.escape(names[0])):
        lower(ad.Model("m", {"y": total}))


@pytest.mark.parametrize("name", ["uint64_t", "M_PI", "AUTODIFFC_GATE", "INT_MAX", "EINVAL", "EOF"])
def test_macros_and_types_are_no_members(name: str) -> None:
    for x in (ad.input(name, (3,)), ad.input("x", (ad.dim(name, 3),))):
        with pytest.raises(ModelError, match=name):
            ad.Model("m", {"y": ad.sum(x)})
    with pytest.raises(ModelError, match=name):
        ad.Model("m", {name: ad.sum(ad.input("x", (3,)))})


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ([["general"], ["!general"]], ""),
        ([["general", "grad_x"], ["!general", "grad_x"]], "grad_x"),
        ([["general", "grad_x"], ["general"]], "general"),
        ([["out_y"], []], ""),
        ([["out_b"], ["out_a"], ["out_b"]], "out_a || out_b"),
        ([["general", "grad_x"], ["!general"]], "!general || (general && grad_x)"),
    ],
)
def test_conditions_are_short(terms: list[list[str]], text: str) -> None:
    assert str(any_of(terms)) == text


def test_kernels_that_differ_in_names_alone_are_one() -> None:
    x = ad.input("x", (4, 8))
    h = ad.tanh(nn.linear(ad.tanh(nn.linear(x, 8, name="first")), 8, name="second"))
    emitted = lower(ad.Model("m", {"y": h, "z": ad.sin(nn.linear(h, 8, name="third"))}))
    predict = emitted.sources["m.c"].split("int m_predict(")[1].split("\n}\n")[0]
    called = re.findall(r"^ +(kernel_\w+)\(", predict, re.MULTILINE)
    assert max(map(called.count, called)) > 1  # the first two layers
    assert called.count("kernel_z") == 1  # another function


@pytest.mark.parametrize("name", ["AUTODIFFC_GATE", "M_PARAM_w", "M_API", "Py_None", "float64x2"])
def test_indices_and_values_may_have_the_names_of_macros(name: str) -> None:
    i = ad.indices(name)
    x = ad.input("x", (3,))
    y = ad.name(ad.compute((i,), ad.exp(x[i])), name)
    kernels = lower(ad.Model("m", {"y": ad.sum(y * ad.flip(y, 0))})).sources["m.c"]
    assert f"int64_t {name} =" not in kernels or name == "float64x2"
