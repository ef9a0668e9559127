"""Methods of expressions: each is the function of its name, called as on a NumPy array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.reference.interpreter import evaluate

X = ad.input("x", (2, 3, 1))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum(),
        lambda x: x.sum(1),
        lambda x: x.sum(axis=(0, 2), keepdims=True),
        lambda x: x.prod(0),
        lambda x: x.mean(-1),
        lambda x: x.max(axis=1),
        lambda x: x.min(axis=1, keepdims=True),
        lambda x: x.argmax(1),
        lambda x: x.reshape(3, -1),
        lambda x: x.reshape((6,)),
        lambda x: x.reshape(6),
        lambda x: x.transpose(),
        lambda x: x.transpose(1, 2, 0),
        lambda x: x.transpose((1, 2, 0)),
        lambda x: x.squeeze(),
        lambda x: x.squeeze(2),
        lambda x: x.astype("int32"),
        lambda x: x.T,
        lambda x: x.mean(axis=1).T,
    ],
    ids=range(19),
)
def test_methods_are_those_of_arrays(call: Callable[[Any], Any]) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 1))
    got = evaluate({"y": call(X).node}, {"x": values}, dtype="float64")["y"]
    expected = call(values)
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_a_method_of_a_vector_transposes_one_axis() -> None:
    v = ad.input("v", (3,))
    assert v.transpose(0).shape == (3,)
