"""Layers: names, shapes and sharing of their parameters, and the errors they raise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import autodiffc as ad
from autodiffc import nn
from autodiffc.errors import ArgumentError, ArgumentTypeError, ModelError, ShapeError
from autodiffc.reference.interpreter import evaluate
from tests.errors.model_file import check


def params(**outputs: ad.Expression) -> dict[str, tuple[int, ...]]:
    return {str(n.name): n.shape for n in ad.Model("m", outputs).params}


def test_parameters_have_pytorchs_names_and_shapes() -> None:
    x = ad.input("x", (2, 6, 9, 9))
    y = nn.conv2d(x, 4, kernel_size=(3, 2), groups=2, name="conv1")
    assert params(y=y) == {"conv1.weight": (4, 3, 3, 2), "conv1.bias": (4,)}
    z = nn.linear(ad.input("v", (5, 7)), 3, name="fc")
    assert params(z=z) == {"fc.weight": (3, 7), "fc.bias": (3,)}


def test_a_layer_without_bias() -> None:
    x = ad.input("x", (2, 7))
    assert params(y=nn.linear(x, 3, bias=False, name="fc")) == {"fc.weight": (3, 7)}


def test_a_shared_weight_is_one_parameter() -> None:
    x = ad.input("x", (2, 3))
    w, b = ad.param("w", (3, 3)), ad.param("b", (3,))
    h = nn.linear(x, 3, weight=w, bias=b)
    h = nn.linear(h, 3, weight=w, bias=b)
    assert params(h=h) == {"w": (3, 3), "b": (3,)}


def test_a_layer_takes_the_variables_name() -> None:
    x = ad.input("x", (2, 3))
    hidden = ad.exp(nn.linear(x, 4))
    logits = nn.linear(hidden, 5)
    assert list(params(y=logits)) == [
        *["hidden.weight", "hidden.bias"],
        *["logits.weight", "logits.bias"],
    ]


def test_two_unnamed_layers_of_one_variable_are_refused(tmp_path: Path) -> None:
    source = """
        h = ad.input("x", (2, 3))
        h = nn.linear(h, 3)
        h = nn.linear(h, 4)  # here
        model = ad.Model("m", {"h": h})
    """
    check(tmp_path, source, ModelError, "nn.linear(h, 4)", "'h.weight'")


def test_the_values_are_those_of_the_operations() -> None:
    rng = np.random.default_rng(0)
    X, W, B = rng.normal(size=(2, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    y = nn.linear(ad.input("x", (2, 3)), 4, name="fc")
    got = evaluate({"y": y.node}, {"x": X, "fc.weight": W, "fc.bias": B})["y"]
    np.testing.assert_allclose(got, X @ W.T + B, rtol=1e-13)


def test_settings_reach_the_convolution() -> None:
    x = ad.input("x", (2, 3, 12, 12))
    y = nn.conv2d(x, 4, 3, stride=2, padding=1, dilation=2, name="c")
    assert y.shape == (2, 4, 5, 5)
    assert nn.conv1d(ad.input("s", (2, 3, 12)), 4, 3, name="d").shape == (2, 4, 10)
    assert nn.conv3d(ad.input("v", (2, 3, 5, 6, 7)), 4, 3, name="e").shape == (2, 4, 3, 4, 5)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        ("nn.conv2d(x, 4, 3, groups=2)", ShapeError, ["groups must divide", "3 channels"]),
        ("nn.conv2d(x, 4, (3, 3, 3))", ShapeError, ["kernel_size needs"]),
        ("nn.conv2d(x, 0, 3)", ArgumentError, ["out_channels must be positive"]),
        ("nn.conv2d(x, 4, 3.0)", ArgumentTypeError, ["kernel_size"]),
        ("nn.conv1d(x, 4, 3)", ShapeError, ["does not take a tensor of 4 axes", "width"]),
        ("nn.linear(x, 4.5)", ArgumentTypeError, ["out_features must be an integer"]),
        ("nn.linear(x, 4, weight=w)", ShapeError, ["(5, 5)", "(4, 9)"]),
        ("nn.linear(x, 4, weight=3)", ArgumentTypeError, ["weight= takes an expression"]),
        ("nn.linear(3, 4)", ArgumentTypeError, ["linear takes an expression"]),
    ],
)
def test_what_does_not_fit(tmp_path: Path, call: str, kind: type, words: list[str]) -> None:
    source = f"""
        x, w = ad.input("x", (2, 3, 9, 9)), ad.param("w", (5, 5))
        y = {call}  # here
    """
    check(tmp_path, source, kind, call, *words)


def test_a_convolution_takes_one_example_alone() -> None:
    image = ad.input("image", (3, 8, 8))
    y = nn.conv2d(image, 4, kernel_size=3, name="conv")
    assert y.shape == (4, 6, 6)
