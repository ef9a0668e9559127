"""`ad.grad` as a user meets it: known values, gradients of gradients, and PyTorch's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.expression import Expression
from tests.differentiate.finite import check_gradient, inputs, scalar, value


def test_the_calculus_quiz() -> None:
    x, z = ad.input("x"), ad.input("z")
    y = ad.exp(x * z) + x * z / ad.log(x) + ad.sin(ad.log(x)) / ad.exp(x * z)
    arrays = {"x": np.array(2.0), "z": np.array(3.0)}
    dx, dz = ad.grad(y, [x, z])
    assert value(y, arrays) == pytest.approx(412.08654756472337, rel=1e-13)
    assert value(dx, arrays) == pytest.approx(1208.366560554193, rel=1e-13)
    assert value(dz, arrays) == pytest.approx(809.7398094139392, rel=1e-13)


def test_the_cosine_of_the_lecture() -> None:
    x = ad.input("x")
    J = ad.cos(ad.sin(x**2) + 3 * x**2)
    at = {"x": np.array(0.7)}
    assert value(J, at) == pytest.approx(-0.36145652212373039, rel=1e-13)
    assert value(ad.grad(J, x), at) == pytest.approx(-5.0677820437885067, rel=1e-13)


def test_one_or_many() -> None:
    x = ad.input("x")
    y = x * x
    assert isinstance(ad.grad(y, x), Expression)
    assert [type(g) for g in ad.grad(y, [x, x])] == [Expression, Expression]
    assert len(ad.grad(y, (x,))) == 1
    assert ad.grad(y, []) == []


def test_derivatives_of_any_order() -> None:
    x = ad.input("x")
    at = {"x": np.array(0.8)}
    derivative = ad.exp(x) * ad.sin(x)
    # the n-th derivative of exp(x) sin(x) is 2^(n/2) exp(x) sin(x + n pi/4)
    for n in range(1, 6):
        derivative = ad.grad(derivative, x)
        known = 2 ** (n / 2) * np.exp(0.8) * np.sin(0.8 + n * np.pi / 4)
        assert value(derivative, at) == pytest.approx(known, rel=1e-12)


def test_third_derivative_of_a_power_at_zero() -> None:
    x = ad.input("x")
    third = ad.grad(ad.grad(ad.grad(x**3, x), x), x)
    assert value(third, {"x": np.array(0.0)}) == 6


def test_hessian_times_vector() -> None:
    rng = np.random.default_rng(0)
    w, x, v = rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=3)
    (a,) = inputs(a=x)
    y = ad.sum(ad.exp(ad.constant(w) @ a))
    product = ad.grad(ad.sum(ad.grad(y, a) * ad.constant(v)), a)
    hessian = w.T @ np.diag(np.exp(w @ x)) @ w
    np.testing.assert_allclose(value(product, {"a": x}), hessian @ v, rtol=1e-12)


def test_a_gradient_penalty_inside_a_loss() -> None:
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(4, 3)), "w": rng.normal(size=(3, 2))}
    x, w = inputs(**arrays)
    score = ad.sum(ad.tanh(x @ w))
    slope = ad.grad(score, x)
    loss = ad.mean((ad.sqrt(ad.sum(slope * slope, axis=1)) - 1) ** 2) + score
    check_gradient(loss, {"w": w, "x": x}, arrays)


@pytest.mark.parametrize(
    "kink", [ad.relu, ad.abs, lambda x: ad.maximum(x, 0) - 0.5 * x], ids=["relu", "abs", "maximum"]
)
def test_kinks_at_zero(kink: Callable[[Expression], Expression]) -> None:
    x = ad.input("x")
    assert value(ad.grad(kink(x), x), {"x": np.array(0.0)}) == 0


def test_where_hides_what_it_does_not_choose() -> None:
    (x,) = inputs(x=np.zeros(3))
    at = {"x": np.array([-1.0, 0.0, 4.0])}
    y = ad.sum(ad.where(x > 0, ad.sqrt(ad.where(x > 0, x, 1.0)), 0.0))
    assert value(ad.grad(y, x), at).tolist() == [0, 0, 0.25]
    i = ad.indices("i")
    inside = ad.compute((i,), ad.where(x[i] > 0, ad.sqrt(x[i]), 0))  # within one body at no cost
    assert value(ad.grad(ad.sum(inside), x), at).tolist() == [0, 0, 0.25]


def test_an_infinite_cotangent_stops_at_a_mask() -> None:
    (x,) = inputs(x=np.zeros(3))
    at = {"x": np.array([-1.0, 0.0, 4.0])}
    y = ad.sum(ad.sqrt(ad.relu(x)))  # sqrt'(0) is infinite, relu' there is 0
    assert value(ad.grad(y, x), at).tolist() == [0, 0, 0.25]


# --- PyTorch ---


def _composites() -> dict[str, tuple[Callable[..., Any], Callable[..., Any], list[np.ndarray]]]:
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rng = np.random.default_rng(3)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape)

    labels = np.array([1, 0, 3, 3])
    return {
        "softmax": (lambda x: ad.softmax(x), lambda x: F.softmax(x, -1), [normal(3, 5)]),
        "log_softmax": (
            lambda x: ad.log_softmax(x),
            lambda x: F.log_softmax(x, -1),
            [normal(3, 5)],
        ),
        "logsumexp": (
            lambda x: ad.logsumexp(x, axis=0),
            lambda x: torch.logsumexp(x, 0),
            [normal(3, 5)],
        ),
        "cross_entropy": (
            lambda x: ad.cross_entropy(x, ad.constant(labels)),
            lambda x: F.cross_entropy(x, torch.tensor(labels), reduction="none"),
            [normal(4, 5)],
        ),
        "bce_with_logits": (
            lambda x, t: ad.bce_with_logits(x, ad.sigmoid(t)),
            lambda x, t: F.binary_cross_entropy_with_logits(x, torch.sigmoid(t), reduction="none"),
            [normal(3, 2), normal(3, 2)],
        ),
        "conv_pool": (
            lambda x, w, b: ad.max_pool2d(ad.relu(ad.conv2d(x, w, b, padding=1, groups=2)), 2),
            lambda x, w, b: F.max_pool2d(F.relu(F.conv2d(x, w, b, padding=1, groups=2)), 2),
            [normal(2, 4, 6, 6), normal(6, 2, 3, 3), normal(6)],
        ),
        "conv_average": (
            lambda x, w: ad.avg_pool2d(ad.tanh(ad.conv2d(x, w, stride=2, dilation=2)), 2, stride=1),
            lambda x, w: F.avg_pool2d(
                torch.tanh(F.conv2d(x, w, stride=2, dilation=2)), 2, stride=1
            ),
            [normal(2, 3, 11, 9), normal(2, 3, 3, 3)],
        ),
        "layer_norm": (
            lambda x: (
                (x - ad.mean(x, axis=-1, keepdims=True))
                / ad.sqrt(ad.var(x, axis=-1, keepdims=True) + 1e-5)
            ),
            lambda x: F.layer_norm(x, (6,)),
            [normal(4, 6)],
        ),
        "attention": (
            lambda q, k, v: ad.softmax(q @ ad.transpose(k, (0, 2, 1))) @ v,
            lambda q, k, v: torch.softmax(q @ k.transpose(1, 2), -1) @ v,
            [normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 6)],
        ),
        "ties": (
            lambda x: ad.max(x, axis=1) + ad.min(x, axis=1),
            lambda x: torch.amax(x, 1) + torch.amin(x, 1),
            [np.array([[1.0, 1.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0]])],
        ),
        "prod": (
            lambda x: ad.prod(x, axis=1),
            lambda x: torch.prod(x, 1),
            [np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [1.0, 2.0, 3.0]])],
        ),
    }


NAMES = [
    "softmax", "log_softmax", "logsumexp", "cross_entropy", "bce_with_logits", "conv_pool",
    "conv_average", "layer_norm", "attention", "ties", "prod",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_first_and_second_derivatives_against_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs, arrays = _composites()[name]
    named = {f"x{k}": a for k, a in enumerate(arrays)}
    leaves = inputs(**named)
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]

    loss, reference = scalar(ours(*leaves)), _scalar(theirs(*tensors))
    gradients = ad.grad(loss, list(leaves))
    expected = torch.autograd.grad(reference, tensors, create_graph=True)
    for got, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(value(got, named), wanted.detach(), rtol=1e-11, atol=1e-12)

    second = scalar(gradients[0])
    again = torch.autograd.grad(_scalar(expected[0]), tensors, allow_unused=True)
    for got, tensor in zip(ad.grad(second, list(leaves)), again, strict=True):
        wanted = np.zeros(got.shape) if tensor is None else tensor.numpy()
        np.testing.assert_allclose(value(got, named), wanted, rtol=1e-9, atol=1e-10)


def _scalar(y: Any) -> Any:
    """The same weighted sum as `finite.scalar`."""
    import torch

    weights = np.random.default_rng(7).uniform(0.5, 1.5, tuple(y.shape))
    return torch.sum(torch.sin(y) * torch.tensor(weights))
