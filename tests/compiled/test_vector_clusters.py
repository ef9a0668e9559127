"""Elementwise kernels as vectors: an element's bits depend on the element alone, never on where it
lies; nothing is written outside of an array; updates in place are right."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.lower import lower
from autodiffc.reference import evaluate
from autodiffc.runtime.compiled import Compiled
from tests.harness import Case, compile_cases

Body = Callable[[ad.Expression], ad.Expression]
LONGEST = 70
LENGTHS = [*range(1, 20), 31, 32, 33, 37, 47, 48, 49, 63, 64, 65, LONGEST]
BODIES: dict[str, Body] = {
    "exp": ad.exp,
    "log": lambda x: ad.log(ad.abs(x)),
    "tanh": ad.tanh,
    "sin": lambda x: ad.sin(1e5 * x),  # some beyond what vectors reduce: there it is libm's
    "gelu": ad.gelu,
    "softplus": ad.softplus,
    "floor": lambda x: ad.floor(3 * x),
    "polynomial": lambda x: (0.3 * x - 0.7) * x + x * 1.1,
    "selected": lambda x: ad.where((x > -1) & ~(x > 2), ad.expm1(x), ad.sqrt(ad.relu(x))),
}
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
NAMES = pytest.mark.parametrize("name", BODIES)


def bits(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).view(f"u{array.dtype.itemsize}")


# --- Every position of arrays of every length ---


def model(name: str, shape: tuple[ad.Dim | int, ...]) -> ad.Model:
    return ad.Model(name, {"y": BODIES[name](ad.input("x", shape))}, wrt=[])


@cache
def compiled(dtype: str) -> dict[str, Compiled]:
    """Each body over fixed lengths, in one model, and over an open length."""
    xs = {n: ad.input(f"x{n}", (n,)) for n in LENGTHS}
    cases = []
    for name, body in BODIES.items():
        outputs = {f"y{n}": body(x) for n, x in xs.items()}
        cases.append(Case(f"{name}_fixed", ad.Model(name, outputs, wrt=[])))
        open_model = model(name, (ad.dim("n", LONGEST),))
        cases.append(Case(f"{name}_open", open_model, dims={"n": (1, LONGEST)}))
    return compile_cases(cases, dtype=dtype, library=f"vector_clusters_{dtype}", level="-O2")


def stretch(dtype: str) -> np.ndarray:
    """Values for the longest array; a shorter one has its first ones, and its last ones."""
    rng = np.random.default_rng(5)
    return rng.normal(scale=4.0, size=LONGEST).astype(dtype)


@DTYPES
@NAMES
def test_bits_do_not_depend_on_the_position(name: str, dtype: str) -> None:
    x, program = stretch(dtype), compiled(dtype)[f"{name}_fixed"]
    at_once = program.forward(**{f"x{n}": x[:n] for n in LENGTHS})
    whole = bits(at_once[f"y{LONGEST}"])
    shifted = program.forward(**{f"x{n}": x[LONGEST - n :] for n in LENGTHS})
    for n in LENGTHS:
        np.testing.assert_array_equal(bits(at_once[f"y{n}"]), whole[:n], err_msg=f"length {n}")
        np.testing.assert_array_equal(bits(shifted[f"y{n}"]), whole[LONGEST - n :])


@DTYPES
@NAMES
def test_bits_do_not_depend_on_an_open_length(name: str, dtype: str) -> None:
    x, programs = stretch(dtype), compiled(dtype)
    fixed = programs[f"{name}_fixed"].forward(**{f"x{n}": x[:n] for n in LENGTHS})
    whole = bits(fixed[f"y{LONGEST}"])
    for n in range(1, LONGEST + 1):
        first = programs[f"{name}_open"].forward(x=x[:n])["y"]
        last = programs[f"{name}_open"].forward(x=x[LONGEST - n :])["y"]
        np.testing.assert_array_equal(bits(first), whole[:n], err_msg=f"length {n}")
        np.testing.assert_array_equal(bits(last), whole[LONGEST - n :])


def sums_of_products() -> ad.Model:
    """One of two products becomes part of a multiply-add: everywhere in an array the same one."""
    x, w, s = ad.input("x", (3, 37)), ad.input("w", (37,)), ad.input("s", (3,))
    i, j = ad.indices("i j")
    outputs = {
        "products": ad.compute((i, j), x[i, j] * w[j] + w[j] * s[i]),
        "repeated": ad.compute((i, j), s[i] * s[i] + x[i, j] * w[j]),
        "counted": ad.compute((i, j), 0.3 * i + x[i, j] * w[j]),
        "squares": ad.compute((i, j), 0.1 * i * i - x[i, j] * x[i, j] + w[j] * 0.7),
    }
    return ad.Model("products", outputs, wrt=[])


@DTYPES
@pytest.mark.parametrize("level", ["-O1", "-O2", "-O3"])
def test_elements_alike_have_bits_alike(level: str, dtype: str) -> None:
    case = [Case("products", sums_of_products())]
    library = f"products_{dtype}_{level[1:]}"
    program = compile_cases(case, dtype=dtype, library=library, level=level)["products"]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(2, 3, 1)).astype(dtype)
        w = np.full(37, rng.normal(), dtype)
        got = program.forward(x=np.tile(rows[0], (1, 37)), w=w, s=rows[1, :, 0])
        for name, value in got.items():
            alike = np.tile(bits(value)[:, :1], (1, 37))
            np.testing.assert_array_equal(bits(value), alike, err_msg=name)


@DTYPES
def test_values_are_right(dtype: str) -> None:
    x = stretch(dtype)
    for name in BODIES:
        y = model(name, (LONGEST,)).outputs["y"]
        right = evaluate({"y": y}, {"x": x.astype(np.float64)})["y"]
        got = compiled(dtype)[f"{name}_open"].forward(x=x)["y"]
        near = {"float32": 1e-5, "float64": 1e-13}[dtype]
        if name == "sin":  # the argument's rounding is what counts
            near *= 1e5
        np.testing.assert_allclose(got, right, rtol=near, atol=near, err_msg=name)


# --- Operands of other types, repeated ones, and indices ---


def mixed() -> ad.Model:
    """Truth values, labels, a byte image, a row and a column to be repeated, the index itself."""
    x, row, column = ad.input("x", (5, 37)), ad.input("row", (37,)), ad.input("column", (5,))
    mask, image = ad.input("mask", (5, 37), "bool"), ad.input("image", (5, 37), "uint8")
    labels = ad.input("labels", (5,), "int32", low=0, high=37)
    i, j = ad.indices("i j")
    outputs = {
        "masked": ad.where(mask & (x < 1), ad.exp(x), row),
        "sign": (x > 0) ^ mask,
        "hot": ad.one_hot(labels, 37) * ad.exp(ad.reshape(column, (5, 1))) - x,
        "pixels": image / 255 + x,
        "whole": ad.astype(ad.floor(4 * x), "int32"),
        "counted": ad.compute((i, j), x[i, j] * j + i),
    }
    return ad.Model("mixed", outputs, wrt=[])


@DTYPES
def test_mixed_types(dtype: str) -> None:
    rng = np.random.default_rng(6)
    arrays = {
        "x": rng.normal(size=(5, 37)).astype(dtype),
        "row": rng.normal(size=37).astype(dtype),
        "column": rng.normal(size=5).astype(dtype),
        "mask": rng.random((5, 37)) < 0.5,
        "image": rng.integers(0, 256, (5, 37), np.uint8),
        "labels": np.array([0, 36, 15, 16, 33], np.int32),
    }
    the_model = mixed()
    program = compile_cases([Case("mixed", the_model)], dtype=dtype, library=f"mixed_{dtype}")
    got = program["mixed"].forward(**arrays)
    right = evaluate(the_model.outputs, arrays)
    for name, value in right.items():
        assert got[name].dtype == (value.dtype if value.dtype.kind != "f" else dtype), name
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


# --- Functions inside of sums, and behind them ---


@DTYPES
@pytest.mark.parametrize("shape", [(5, 37), (16, 64), (3, 10)])
def test_sums_with_functions(shape: tuple[int, int], dtype: str) -> None:
    """Lanes are results, or parts of one; the last block is not a whole one."""
    x, w = ad.input("x", shape), ad.input("w", (shape[1], 19))
    outputs = {
        "rows": ad.log(ad.sum(ad.exp(x), axis=1)),
        "columns": ad.sum(ad.tanh(x) * x, axis=0),
        "layer": ad.gelu(ad.matmul(x, w)),
        "softmax": ad.softmax(x),
    }
    the_model = ad.Model("sums", outputs, wrt=[])
    rng = np.random.default_rng(8)
    arrays = {"x": rng.normal(size=shape).astype(dtype), "w": rng.normal(size=(shape[1], 19))}
    arrays["w"] = arrays["w"].astype(dtype)
    library = f"sums_{shape[0]}_{dtype}"
    program = compile_cases([Case("sums", the_model)], dtype=dtype, library=library)["sums"]
    got = program.forward(**arrays)
    exact = {n: a.astype(np.float64) for n, a in arrays.items()}
    near = {"float32": 1e-5, "float64": 1e-13}[dtype]
    for name, value in evaluate(the_model.outputs, exact).items():
        np.testing.assert_allclose(got[name], value, rtol=near, atol=near, err_msg=name)


# --- In place ---


@DTYPES
@pytest.mark.parametrize("length", [1, 3, 16, 37, 64, 65])
def test_updates_in_place(length: int, dtype: str) -> None:
    """Two parameters lie next to each other; momentum and new values replace the old ones."""
    first, second = ad.param("first", (length,)), ad.param("second", (length,))
    loss = ad.sum(first * first) + ad.sum(ad.exp(second))
    the_model = ad.Model("update", {"loss": loss}, "loss", optimizer=ad.SGD(lr=0.1, momentum=0.9))
    case = [Case("update", the_model)]
    program = compile_cases(case, dtype=dtype, library=f"update_{length}_{dtype}")["update"]
    program.init(seed=1)
    rng = np.random.default_rng(7)
    values = {n: rng.normal(size=length).astype(dtype) for n in ("first", "second")}
    for name, value in values.items():
        program.params[name][...] = value
    momentum = {n: np.zeros(length) for n in values}
    right = {n: v.astype(np.float64) for n, v in values.items()}
    for _ in range(3):
        program.step()
        slopes = {"first": 2 * right["first"], "second": np.exp(right["second"])}
        momentum = {n: 0.9 * momentum[n] + slopes[n] for n in right}
        right = {n: right[n] - 0.1 * momentum[n] for n in right}
    for name, value in right.items():
        np.testing.assert_allclose(program.params[name], value, rtol=2e-6, atol=2e-6)


# --- Plain loops ---


def test_the_plain_schedule_has_no_vectors() -> None:
    emitted = lower(model("exp", (LONGEST,)), plain=True)
    assert "expf(" in emitted.sources["exp.c"]
    assert "f32x" not in emitted.sources["exp.c"]


def test_scalars_are_left_to_libm() -> None:
    emitted = lower(model("exp", ()))
    assert "expf(" in emitted.sources["exp.c"]
    assert "f32x" not in emitted.sources["exp.c"]
