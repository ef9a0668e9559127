"""Names that mean something else in C, or to the compiler: the code is valid and computes the same.

Leaves, variables and loop indices are the user's words; accumulators, loads, ends of loops and
vector types are the compiler's. All models here are compiled into one library and run.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.construct import leaf
from autodiffc.graph.node import Node, renew
from autodiffc.lower import lower
from autodiffc.runtime.compiled import Compiled
from autodiffc.schedule.kernels import identifier
from autodiffc.schedule.words import ascii_name, is_reserved
from tests.harness import Case, compile_cases

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(5, 4)), RNG.normal(size=(4,))

# two indices: the first is kept, the second is reduced
INDEX_NAMES = [
    *["for int", "double while", "_Bool asm", "alignof typeof"],
    *["threads team", "best acc", "at v", "value wins", "lane i"],
    *["exp larger", "team_limit memset", "INFINITY NAN", "NULL main", "not_ int64_t"],
    *["x w", "w_0 sum_0", "row0 x_1", "i_end i", "i_block i", "f32x8 load_f64x4"],
    *["σ µ", "σ1 σ2", "é i", "_ __", "n n_"],
]


def by_index_names() -> Case:
    """Sums, extrema, guarded sums and products of x and w over indices of all these names."""
    x, w = ad.input("x", (5, 4)), ad.input("w", (4,))
    outputs = {}
    for k, words in enumerate(INDEX_NAMES):
        a, b = ad.indices(words)
        outputs[f"total{k}"] = ad.compute((a,), ad.sum_over((b,), x[a, b] * (w[b] + k)))
        outputs[f"most{k}"] = ad.compute((a,), ad.max_over((b,), x[a, b] * (w[b] + k)))
        outputs[f"part{k}"] = ad.compute((a,), ad.sum_over((b,), x[a, b] * (w[b] + k), where=b < a))
        outputs[f"each{k}"] = ad.compute((a, b), ad.exp(x[a, b]) * (w[b] + k))
    return Case("indices", ad.Model("t", outputs), {"x": X, "w": W})


LEAF_NAMES = [
    *["i", "acc", "exp", "double_", "best", "at", "sum_0", "row0", "x_1", "i_end", "value"],
    *["inputs", "outputs", "status", "header", "arena", "memcpy", "check_inputs"],
    *["f32x8", "size_t", "team", "larger", "y_value", "int_", "uint8_t", "workspace"],
]


def by_leaf_names() -> Case:
    """Parameters of all these names, and their gradients."""
    x = ad.input("x_", (5, 4))
    i, j = ad.indices("i j")
    outputs = {}
    for k, name in enumerate(LEAF_NAMES):
        w = ad.param(name, (4,))
        outputs[f"total{k}"] = ad.compute((i,), ad.sum_over((j,), x[i, j] * w[j]))
    each = [ad.sum(y) for y in outputs.values()]
    model = ad.Model("t", {**outputs, "loss": sum(each[1:], each[0])}, "loss")
    return Case("leaves", model, {"x_": X})


def sum_of_sum() -> Case:
    """Two buffers called `sum` and `sum_2` beside several accumulators."""
    x, v = ad.input("x", (7, 11, 48)), ad.input("v", (11, 48))
    total = ad.sum(ad.sum(ad.sum(x * x, axis=0) * v, axis=0))
    arrays = {"x": RNG.normal(size=(7, 11, 48)), "v": RNG.normal(size=(11, 48))}
    return Case("sum of sum", ad.Model("t", {"y": total}, "y", wrt=["x", "v"]), arrays)


def index_and_value_named_like_a_dim() -> Case:
    n = ad.dim("n", 5)
    x, w = ad.input("x", (n, 4)), ad.input("w", (4,))
    i, j = ad.indices("n j")
    y = ad.compute((i,), ad.sum_over((j,), x[i, j] * w[j]))
    model = ad.Model("t", {"y": y, "loss": ad.sum(y)}, "loss", wrt=["x", "w"])
    return Case("dim", model, {"x": X, "w": W}, dims={"n": (1, 9)})


@cache
def compiled() -> tuple[dict[str, Case], dict[str, Compiled]]:
    cases = [
        by_index_names(),
        by_leaf_names(),
        sum_of_sum(),
        index_and_value_named_like_a_dim(),
    ]
    return {c.name: c for c in cases}, compile_cases(cases, library="names", level="-O0")


@pytest.mark.parametrize("k", range(len(INDEX_NAMES)), ids=INDEX_NAMES)
def test_indices_of_any_name_work(k: int) -> None:
    _, programs = compiled()
    got, terms = programs["indices"].predict(x=X, w=W), X * (W + k)
    np.testing.assert_allclose(got[f"total{k}"], terms.sum(1), rtol=1e-12)
    np.testing.assert_allclose(got[f"most{k}"], terms.max(1), rtol=1e-12)
    part = [terms[n, :n].sum() for n in range(5)]
    np.testing.assert_allclose(got[f"part{k}"], part, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(got[f"each{k}"], np.exp(X) * (W + k), rtol=1e-12)


@pytest.mark.parametrize("k", range(len(LEAF_NAMES)), ids=LEAF_NAMES)
def test_leaves_of_any_name_work(k: int) -> None:
    _, programs = compiled()
    program = programs["leaves"].init()
    program.params[LEAF_NAMES[k]][...] = W + k
    got, gradients = program.value_and_grad(x_=X)
    np.testing.assert_allclose(got[f"total{k}"], (X * (W + k)).sum(1), rtol=1e-12)
    np.testing.assert_allclose(gradients[LEAF_NAMES[k]], X.sum(0), rtol=1e-12)


def test_accumulators_are_told_apart_from_buffers_and_loads() -> None:
    cases, programs = compiled()
    x, v = cases["sum of sum"].arrays.values()
    got, gradients = programs["sum of sum"].value_and_grad(x=x, v=v)
    np.testing.assert_allclose(got["y"], ((x * x).sum(0) * v).sum(), rtol=1e-12)
    np.testing.assert_allclose(gradients["x"], 2 * x * v, rtol=1e-12)
    np.testing.assert_allclose(gradients["v"], (x * x).sum(0), rtol=1e-12)


def test_an_index_may_be_called_like_an_open_dim() -> None:
    _, programs = compiled()
    got, gradients = programs["dim"].value_and_grad(x=X, w=W)
    np.testing.assert_allclose(got["y"], (X * W).sum(1), rtol=1e-12)
    np.testing.assert_allclose(gradients["w"], X.sum(0), rtol=1e-12)


# --- Names of values that would hide a function, a type or a macro of the module ---

VALUE_NAMES = ["kernel_y", "status", "t_constant_0", "T_OK", "FORWARD_DONE", "inputs_check"]
VALUE_NAMES += ["default_lr", "scalar_lr", "AUTODIFFC_GATE", "workspace_header", "value_status"]


def by_value_names(prefix: str, names: list[str]) -> Case:
    """Values of these names beside a kernel of the name `kernel_y`, and their gradients."""
    x = ad.input("x", (5, 4))
    y = ad.name(ad.sum(ad.exp(x), axis=1, keepdims=True), "y")
    outputs = {"s": ad.sum(ad.flip(y, 0) * y)}
    for k, name in enumerate(names):
        value = ad.name(ad.sum(ad.sin(x + k), axis=1, keepdims=True), name)
        outputs[f"a{k}"] = ad.sum(ad.flip(value, 0) * value * y)
    w = ad.param("w", (), init=1.0) * ad.sum(ad.constant(np.arange(4.0)) * ad.flip(x, 0))
    loss = sum(outputs.values(), w)
    model = ad.Model(prefix, {**outputs, "loss": loss}, "loss", ["x", "w"], ad.SGD(lr=0.1))
    return Case(prefix, model, {"x": X})


def expected_of(names: list[str]) -> dict[str, float]:
    y = np.exp(X).sum(1, keepdims=True)
    values = [np.sin(X + k).sum(1, keepdims=True) for k in range(len(names))]
    return {
        "s": float((y[::-1] * y).sum()),
        **{f"a{k}": float((v[::-1] * v * y).sum()) for k, v in enumerate(values)},
    }


def check_values(program: Compiled, names: list[str]) -> None:
    program.init()
    got, gradients = program.value_and_grad(x=X)
    for name, value in expected_of(names).items():
        np.testing.assert_allclose(got[name], value, rtol=1e-12)
    rate = (program.forward(x=X + 1e-6).loss - got.loss) / 1e-6
    np.testing.assert_allclose(gradients["x"].sum(), rate, rtol=1e-4)
    assert program.step(x=X) == pytest.approx(float(got.loss))


def test_values_hide_nothing_of_an_entry_point() -> None:
    """One of them, `value_status`, is the very name that another would be given instead."""
    case = by_value_names("t", VALUE_NAMES)
    program = ad.compile(case.model, dtype="float64", openmp=False)
    check_values(program, VALUE_NAMES)


@pytest.mark.parametrize("prefix", ["kernel", "inputs", "workspace", "arena", "value"])
def test_models_of_any_name_work(prefix: str) -> None:
    """With `kernel`, every kernel's name begins as those of the interface do."""
    names = ["forward", "inputs", "strerror", "constant_0", "check"]
    case = by_value_names(prefix, names)
    check_values(ad.compile(case.model, dtype="float64", openmp=False), names)


def test_a_model_may_be_called_check() -> None:
    sources = lower(by_value_names("check", ["inputs"]).model).sources
    static = re.findall(r"^static [^=;]*?(\w+)\(", sources["check.c"], re.MULTILINE)
    public = re.findall(r"\bcheck_\w+", sources["check.h"])
    assert len(static) > 5
    assert not set(static) & set(public)


# --- The names themselves ---


def named(name: str | None, label: str | None = None) -> Node:
    return renew(leaf("input", "x", (), "float32"), name=name, label=label)


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("conv1.weight", None, "conv1_weight"),
        ("x", "conv2d", "x"),
        (None, "conv2d", "conv2d"),
        (None, None, "input"),
        ("acc", None, "acc_value"),
        ("float", None, "float_value"),
        ("expf", None, "expf_value"),
        ("f32x8", None, "f32x8_value"),
        ("double_", None, "double_value"),
        ("σ", None, "input"),  # letters beyond ASCII are no C
        ("σ", "exp", "exp_value"),
        ("σ_x", None, "x"),
        ("naïve", None, "na_ve"),
        ("σ1", None, "value_1"),
    ],
)
def test_identifiers(name: str | None, label: str | None, expected: str) -> None:
    assert identifier(named(name, label)) == expected


def test_names_of_values_become_ascii_in_the_code() -> None:
    σ = ad.sigmoid(ad.input("x", (3,)))
    µ = ad.sum(σ * σ)
    sources = lower(ad.Model("greek", {"y": µ + 1}, "y", wrt=["x"])).sources
    kernels = sources["greek.c"].split("--- Kernels")[1]
    code = [line for line in kernels.splitlines() if not line.startswith(("/*", "   /*"))]
    assert all(line.isascii() for line in code if not line.endswith("*/"))


@pytest.mark.parametrize(
    "name", ["row0", "i_end", "x_block", "i_pair", "i_part", "y_at0", "f64", "sigmoid_f32x4"]
)
def test_names_that_the_compiler_makes_up_are_reserved(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize("name", ["row", "end", "blocks", "f", "x32", "weight", "kernel", "w_0"])
def test_other_names_are_free(name: str) -> None:
    assert not is_reserved(name)


def test_ascii_names() -> None:
    assert ascii_name("a.b-c") == "a_b_c"
    assert ascii_name("µσ") == ""
