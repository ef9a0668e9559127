"""Gradients at NaN, infinities and poles: compiled, and as PyTorch gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.expression import Expression
from tests.harness import Case, compile_cases

INF, NAN = np.inf, np.nan
POINTS = np.array([NAN, INF, -INF, 0.0, 1.0, -1.0, 2.0, 0.5])
OTHERS = np.array([1.0, INF, 2.0, 0.0, NAN, -1.0, 0.5, 1.0])
(i,) = ad.indices("i")

Ours = Callable[[Expression, Expression], Expression]
Theirs = Callable[[Any, Any, Any], Any]  # of torch, x and y

ELEMENTWISE: dict[str, tuple[Ours, Theirs]] = {
    "relu": (lambda x, y: ad.relu(x), lambda torch, x, y: torch.relu(x)),
    "relu_of_sum": (
        lambda x, y: ad.relu(x * ad.constant(np.eye(8)[0]) + x),
        lambda torch, x, y: torch.relu(x * torch.eye(8, dtype=x.dtype)[0] + x),
    ),
    "maximum": (lambda x, y: ad.maximum(x, y), lambda torch, x, y: torch.maximum(x, y)),
    "minimum": (lambda x, y: ad.minimum(x, y), lambda torch, x, y: torch.minimum(x, y)),
    "clip": (lambda x, y: ad.clip(x, -1, 1), lambda torch, x, y: x.clamp(-1, 1)),
    "clip_below": (lambda x, y: ad.clip(x, min=0.0), lambda torch, x, y: x.clamp(min=0.0)),
    "clip_above": (lambda x, y: ad.clip(x, max=1.0), lambda torch, x, y: x.clamp(max=1.0)),
    "hardtanh": (
        lambda x, y: ad.hardtanh(x),
        lambda torch, x, y: torch.nn.functional.hardtanh(x),
    ),
    "relu6": (lambda x, y: ad.relu6(x), lambda torch, x, y: torch.nn.functional.relu6(x)),
    "leaky_relu": (
        lambda x, y: ad.leaky_relu(x),
        lambda torch, x, y: torch.nn.functional.leaky_relu(x),
    ),
    "sqrt": (lambda x, y: ad.sqrt(x), lambda torch, x, y: torch.sqrt(x)),
    "rsqrt": (lambda x, y: x**-0.5, lambda torch, x, y: torch.rsqrt(x)),
    **{
        f"power_{n}": (
            lambda x, y, n=n: x**n,  # type: ignore[misc]
            lambda torch, x, y, n=n: x**n,  # type: ignore[misc]
        )
        for n in (-9, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 8, 9, 1.7, -1.7)
    },
    **{
        f"element_{n}": (
            lambda x, y, n=n: ad.compute((i,), x[i] ** n),  # type: ignore[misc]
            lambda torch, x, y, n=n: x**n,  # type: ignore[misc]
        )
        for n in (-5, -3, -2, -1, 0, 3)
    },
}


# PyTorch's own vector code gives 0 here and its scalar code 1; as for clip, it is 0 here.
FLAT_AT_NAN = ("hardtanh", "relu6")


def case(name: str, build: Callable[[], Expression]) -> Case:
    loss = ad.sum(build())
    return Case(name, ad.Model(name, {"loss": loss}, "loss"))


@pytest.fixture(scope="module")
def elementwise() -> dict[str, ad.Compiled]:
    cases = []
    for name, (ours, _) in ELEMENTWISE.items():
        x, y = ad.input("x", (8,)), ad.input("y", (8,))
        cases.append(case(name.replace("-", "m").replace(".", "p"), lambda: ours(x, y)))  # noqa: B023
    compiled = compile_cases(cases, library="singular")
    return dict(zip(ELEMENTWISE, compiled.values(), strict=True))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_gradients_are_pytorchs(name: str, elementwise: dict[str, ad.Compiled]) -> None:
    torch = pytest.importorskip("torch")
    x, y = (torch.tensor(a, requires_grad=True) for a in (POINTS, OTHERS))
    ELEMENTWISE[name][1](torch, x, y).sum().backward()
    arrays = {"x": POINTS, "y": OTHERS}
    program = elementwise[name]
    grads = program.value_and_grad(**{n: arrays[n] for n in program.inputs})[1]
    assert "x" in grads
    for leaf, tensor in (("x", x), ("y", y)):
        if leaf in grads:
            wanted = tensor.grad.numpy()
            if name in FLAT_AT_NAN:
                wanted = np.where(np.isnan(POINTS), 0.0, wanted)
            np.testing.assert_allclose(grads[leaf], wanted, rtol=1e-12)


ROWS = {
    "constant": [2.0, 2.0, 2.0],
    "zero": [0.0, 0.0, 0.0],
    "nan": [NAN, 1.0, 2.0],
    "plain": [1.0, 2.0, 4.0],
}


@pytest.fixture(scope="module")
def deviations() -> dict[str, ad.Compiled]:
    cases = []
    for ddof in (0, 1):
        x = ad.input("x", (len(ROWS), 3))
        cases.append(case(f"std{ddof}", lambda: ad.std(x, axis=1, ddof=ddof)))  # noqa: B023
    return compile_cases(cases, library="deviations")


@pytest.mark.parametrize("ddof", [0, 1])
def test_standard_deviations_of_constant_rows(
    ddof: int, deviations: dict[str, ad.Compiled]
) -> None:
    torch = pytest.importorskip("torch")
    rows = np.array(list(ROWS.values()))
    x = torch.tensor(rows, requires_grad=True)
    x.std(1, unbiased=bool(ddof)).sum().backward()
    _, grads = deviations[f"std{ddof}"].value_and_grad(x=rows)
    np.testing.assert_allclose(grads["x"], x.grad, rtol=1e-12)
    assert grads["x"][0].tolist() == [0, 0, 0]


def test_relu_lets_the_gradient_of_nan_pass() -> None:
    s, w = ad.input("s", (2, 3)), ad.param("w", (3, 4), init=1.0)
    model = ad.compile(
        ad.Model("nan", {"loss": ad.sum(ad.relu(s @ w))}, "loss", wrt=["s"]), dtype="float64"
    )
    model.init()
    _, grads = model.value_and_grad(s=np.array([[NAN, 1.0, 1.0], [-1.0, 0.5, 0.0]]))
    assert grads["s"].tolist() == [[4.0, 4.0, 4.0], [0.0, 0.0, 0.0]]
