"""Formulas over the same rows in one kernel: what they compute is what they compute apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.errors import IndexRangeError
from autodiffc.graph.extents import dims_of
from autodiffc.lower import lower
from autodiffc.reference import evaluate
from tests.harness import Case, compile_cases

INF, NAN = np.inf, np.nan
Body = Callable[[ad.Expression], ad.Expression]


def layer_norm(x: ad.Expression) -> ad.Expression:
    centered = x - ad.mean(x, axis=-1, keepdims=True)
    return centered / ad.sqrt(ad.mean(centered * centered, axis=-1, keepdims=True) + 1e-5)


def rms_norm(x: ad.Expression) -> ad.Expression:
    return x / ad.sqrt(ad.mean(x * x, axis=-1, keepdims=True) + 1e-5)


def stretched(x: ad.Expression) -> ad.Expression:
    """To the range from 0 to 1, by way of values that several passes need."""
    e = ad.tanh(x)
    low, high = ad.min(e, axis=-1, keepdims=True), ad.max(e, axis=-1, keepdims=True)
    return (e - low) / (high - low + 1)


def weighted(x: ad.Expression) -> ad.Expression:
    """Values of rows and of columns, and the numbers of both."""
    rows, columns = ad.arange(x.shape[0]), ad.arange(x.shape[1])
    y = x * ad.exp(-0.1 * columns) + ad.reshape(rows, (x.shape[0], 1))
    return y / (1 + ad.sum(ad.abs(y), axis=1, keepdims=True))


def cross_entropy(x: ad.Expression) -> ad.Expression:
    labels = ad.input("labels", (x.shape[0],), "int32")
    return ad.cross_entropy(x, labels, reduction="none")


CASES: dict[str, tuple[Body, tuple[int, ...]]] = {
    "softmax": (ad.softmax, (6, 10)),
    "softmax of a block and more": (ad.softmax, (5, 37)),
    "softmax of whole blocks": (ad.softmax, (3, 2, 32)),
    "softmax of one column": (ad.softmax, (4, 1)),
    "softmax of two columns": (ad.softmax, (4, 2)),
    "softmax of one row": (ad.softmax, (1, 10)),
    "softmax of long rows": (ad.softmax, (2, 3001)),  # more than a kernel keeps of a row
    "softmax of the first axis": (lambda x: ad.softmax(x, axis=0), (7, 21)),
    "softmax of the middle axis": (lambda x: ad.softmax(x, axis=1), (3, 5, 16)),
    "softmax of two axes": (lambda x: x - ad.logsumexp(x, axis=(1, 2), keepdims=True), (3, 4, 5)),
    "log_softmax": (ad.log_softmax, (3, 100)),
    "logsumexp": (lambda x: ad.logsumexp(x, axis=1), (3, 33)),
    "cross_entropy": (cross_entropy, (6, 10)),
    "layer_norm": (layer_norm, (2, 3, 24)),
    "rms_norm": (rms_norm, (4, 50)),
    "stretched": (stretched, (4, 50)),
    "weighted": (weighted, (4, 19)),
    "normalized": (lambda x: x / ad.sum(ad.abs(x), axis=1, keepdims=True), (4, 17)),
    "of all": (lambda x: ad.exp(x) / ad.sum(ad.exp(x)), (5,)),
}
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
NAMES = pytest.mark.parametrize("name", CASES)


def model(name: str) -> ad.Model:
    body, shape = CASES[name]
    y = body(ad.input("x", shape))
    sizes = [int(str(extent)) for extent in y.shape]
    weights = ad.constant(np.linspace(-1, 2, int(np.prod(sizes))).reshape(sizes))
    loss = ad.sum(y * weights)
    return ad.Model("rows", {"y": y, "loss": loss}, "loss", wrt=["x"])


def arrays(name: str, dtype: str) -> dict[str, np.ndarray]:
    body, shape = CASES[name]
    rng = np.random.default_rng(3)
    found: dict[str, np.ndarray] = {"x": rng.normal(scale=3, size=shape).astype(dtype)}
    if body is cross_entropy:
        found["labels"] = np.arange(shape[0], dtype=np.int32)
    return found


@cache
def compiled(dtype: str, without: tuple[str, ...] = ()) -> Mapping[str, ad.Compiled]:
    cases = [Case(name, model(name)) for name in CASES]
    library = f"rows_{dtype}_{len(without)}"
    return compile_cases(cases, dtype=dtype, library=library, without=without)


def results(program: ad.Compiled, given: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    outputs, gradients = program.value_and_grad(**given)
    return np.array(outputs["y"]), np.array(gradients["x"])


@DTYPES
@NAMES
def test_apart_and_together(name: str, dtype: str) -> None:
    given = arrays(name, dtype)
    y, dx = results(compiled(dtype)[name], given)
    y_apart, dx_apart = results(compiled(dtype, ("rows",))[name], given)
    tolerance = 3e-6 if dtype == "float32" else 1e-14
    scale = np.abs(dx_apart).max()
    np.testing.assert_allclose(y, y_apart, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dx, dx_apart, rtol=tolerance, atol=5 * tolerance * scale)


@NAMES
def test_against_the_interpreter(name: str) -> None:
    given = arrays(name, "float64")
    wanted = evaluate({"y": model(name).outputs["y"]}, given)["y"]
    got = compiled("float64")[name].predict(**given).y
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)


@DTYPES
@pytest.mark.parametrize("name", ["softmax", "softmax of a block and more", "logsumexp"])
def test_rows_that_are_not_finite(name: str, dtype: str) -> None:
    x = arrays("softmax of a block and more" if "block" in name else name, dtype)["x"]
    x[0, 1], x[1, -1], x[2] = NAN, INF, -INF
    together, apart = compiled(dtype)[name], compiled(dtype, ("rows",))[name]
    y, wanted = together.predict(x=x).y, apart.predict(x=x).y
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_allclose(y, wanted, rtol=3e-6)


# --- Sizes that stay open ---

LARGEST = {"n": 9, "m": 40}


def open_shape(name: str, n: Any, m: Any) -> tuple[Any, Any]:
    return {"rows": (n, 37), "columns": (3, m), "both": (n, m)}[name]


@cache
def open_programs() -> Mapping[str, ad.Compiled]:
    cases = []
    for name in ("rows", "columns", "both"):
        shape = open_shape(name, ad.dim("n", 4), ad.dim("m", 5))
        y = ad.log_softmax(layer_norm(ad.input("x", shape)))
        dims = {d.name: (1, LARGEST[d.name]) for d in dims_of(shape)}
        cases.append(Case(name, ad.Model(name, {"y": y}), dims=dims))
    return compile_cases(cases, dtype="float32", library="rows_open")


@pytest.mark.parametrize("name", ["rows", "columns", "both"])
def test_open_sizes(name: str) -> None:
    for n, m in ((1, 1), (2, 7), (3, 16), (9, 33), (4, 40)):
        shape = open_shape(name, n, m)
        x = np.random.default_rng(n).normal(size=shape).astype(np.float32)
        y = ad.log_softmax(layer_norm(ad.input("x", shape)))
        wanted = evaluate({"y": y.node}, {"x": x.astype(np.float64)})["y"]
        got = open_programs()[name].predict(x=x).y
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5, err_msg=str(shape))


# --- Entry points ---


def classifier() -> ad.Model:
    images, labels = ad.input("images", (16, 12)), ad.input("labels", (16,), "int32")
    logits = images @ ad.param("w", (12, 10))
    loss = ad.mean(ad.cross_entropy(logits, labels))
    outputs = {"probabilities": ad.softmax(logits), "loss": loss}
    return ad.Model("classifier", outputs, "loss", optimizer=ad.SGD(lr=0.5, momentum=0.9))


@cache
def classifiers() -> Mapping[tuple[str, ...], ad.Compiled]:
    case = [Case("classifier", classifier())]
    found: dict[tuple[str, ...], ad.Compiled] = {}
    for without in ((), ("rows",)):
        library = f"rows_step{len(without)}"
        programs = compile_cases(case, dtype="float64", library=library, without=without)
        found[without] = programs["classifier"]
    return found


def test_steps_are_the_same() -> None:
    rng = np.random.default_rng(2)
    images, labels = rng.normal(size=(16, 12)), rng.integers(0, 10, 16).astype(np.int32)
    losses = []
    for program in classifiers().values():
        program.init(seed=1)
        losses.append([program.step(images=images, labels=labels) for _ in range(5)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


def test_probabilities_need_no_labels() -> None:
    program = classifiers()[()]
    program.init(seed=1)
    y = program.predict(images=np.ones((16, 12))).probabilities
    np.testing.assert_allclose(y.sum(axis=1), 1)


def test_a_label_out_of_range_is_found_before() -> None:
    program = classifiers()[()]
    program.init(seed=1)
    before = np.array(program.param_buffer)
    labels = np.full(16, 10, np.int32)
    with pytest.raises(IndexRangeError):
        program.step(images=np.ones((16, 12)), labels=labels)
    np.testing.assert_array_equal(program.param_buffer, before)


def test_the_c_of_a_softmax_is_one_kernel() -> None:
    the_model = ad.Model("soft", {"y": ad.softmax(ad.input("x", (64, 10)))}, wrt=[])
    kernels = lower(the_model, target="x86-64-v4").manifest["kernels"]
    assert [k["kind"] for k in kernels] == ["rows"]
