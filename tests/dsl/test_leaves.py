"""Leaves: what they carry, and what they refuse at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autodiffc.dsl.initializers import Initializer
from autodiffc.dsl.leaves import constant, dim, input, param, state
from autodiffc.errors import (
    ArgumentError,
    ArgumentTypeError,
    AutodiffcError,
    DtypeError,
    ShapeError,
)


def test_an_input_is_floating_of_the_builds_type_unless_told() -> None:
    x = input("x", (2, 3))
    assert (x.node.op, x.node.name, x.shape, x.dtype) == ("input", "x", (2, 3), "real")
    assert input("labels", (4,), "int32", low=0, high=10).dtype == "int32"
    assert input("scalar").shape == ()


def test_low_and_high_are_kept() -> None:
    attrs = input("labels", (4,), "int32", low=0, high=10).node.attrs
    assert (attrs["low"], attrs["high"]) == (0, 10)


def test_a_dim_is_an_extent_with_a_default() -> None:
    batch = dim("batch", 64)
    x = input("x", (batch, 2 * batch + 1))
    assert str(x.shape) == "(batch, 2*batch + 1)"


def test_a_shape_may_be_one_extent() -> None:
    assert input("x", 3).shape == (3,)
    assert input("x", dim("n", 2)).shape == (dim("n", 2),)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: input("x", (2,), low=3, high=3), ArgumentError, "range of input 'x' is empty"),
        (lambda: input("x", (2,), low="a"), ArgumentTypeError, "low of input 'x'"),
        (lambda: input("x", (2,), low=float("nan")), ArgumentTypeError, "low of input 'x'"),
        (lambda: input("x", (2,), "int32", high=2.5), ArgumentError, "whole number"),
        (lambda: input("x", (2,), "bool", low=0), ArgumentError, "neither low nor high"),
        (lambda: input("x", (2,), "float16"), DtypeError, "unknown dtype"),
        (lambda: input("x", (-2,)), ShapeError, "axis 0 of 'x'"),
        (lambda: input("x", (2.0,)), ArgumentTypeError, "axis 0 of 'x'"),
        (lambda: input("x", "ab"), ArgumentTypeError, "shape of 'x'"),
        (lambda: input(3), ArgumentTypeError, "name of an input"),
        (lambda: param("w", (2,), dtype="int32"), DtypeError, "must be floating"),
        (lambda: param("w", (2,), init="he"), ArgumentError, "unknown initializer"),
        (lambda: param("w", (2,), init=[1.0, 2.0, 3.0]), ShapeError, "parameter's shape"),
        (lambda: param("w", (2,), init={}), ArgumentTypeError, "neither a number"),
        (lambda: param("w", (2,), init="xavier_normal"), ShapeError, "at least 2 axes"),
        (lambda: dim("n", 0), ArgumentError, "positive"),
        (lambda: dim("n", 2.5), ArgumentTypeError, "integer"),
        (lambda: constant(input("x")), ArgumentTypeError, "made of numbers"),
        (lambda: constant(["a"]), ArgumentTypeError, "not numbers"),
        (lambda: constant([0.5], "int32"), DtypeError, "cannot hold"),
        (lambda: constant([300], "uint8"), DtypeError, "cannot hold"),
    ],
)
def test_what_does_not_fit_is_refused(make: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        make()  # type: ignore[operator]
    assert isinstance(caught.value, AutodiffcError)


def test_constants_take_the_builds_type_unless_told() -> None:
    assert constant([1.0, 2.0]).dtype == "real"
    assert constant(np.float32([1, 2])).dtype == "real"
    assert constant([1, 2]).dtype == "int64"
    assert constant([1, 2], "uint8").dtype == "uint8"
    assert constant([1, 2], "float64").dtype == "float64"
    assert constant([True]).dtype == "bool"


def test_a_constant_does_not_change_with_the_array_it_came_from() -> None:
    array = np.ones(3)
    value = constant(array).node.attrs["value"]
    array[:] = 5
    assert value.tolist() == [1, 1, 1]


def test_states_start_at_zero_and_parameters_as_told() -> None:
    rng = np.random.default_rng(0)
    assert state("count", (), dtype="int64").node.attrs["init"].sample((), rng) == 0
    given = param("w", (2,), init=[1.0, 2.0]).node.attrs["init"]
    assert isinstance(given, Initializer)
    assert given.sample((2,), rng).tolist() == [1.0, 2.0]
    assert param("b", (3,), init=0.5).node.attrs["init"].sample((3,), rng).tolist() == [0.5] * 3


@pytest.mark.parametrize("dtype", [np.int32, np.dtype("int32"), "int32"])
def test_element_types_as_numpy_names_them(dtype: Any) -> None:
    assert input("x", (3,), dtype).dtype == "int32"
    assert state("s", (3,), dtype=dtype).dtype == "int32"
    assert constant([1, 2], dtype).dtype == "int32"


def test_float_is_the_float_of_the_build() -> None:
    assert input("x", (3,), float).dtype == input("y", (3,)).dtype
    assert param("w", (3,), dtype=np.float32).dtype == "float32"
