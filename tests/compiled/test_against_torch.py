"""Compiled operations against PyTorch, forward and backward, over random shapes and settings.

All cases of `torch_cases` are compiled in float64, a family to a model. What is differentiated is
the sum of the results, each weighted at random: PyTorch gets the same weights as cotangents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc.graph.expression import Expression
from tests.compiled.torch_cases import Comparison, Draw
from tests.harness import Case, compile_cases

torch = pytest.importorskip("torch", reason="needs the extra `torch` to compare with")

from tests.compiled import torch_elements, torch_sums  # noqa: E402  they need torch

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
TOLERANCE = 1e-10

FAMILIES: dict[str, Callable[[Draw], Iterator[Comparison]]] = {
    "convolutions": torch_sums.convolutions,
    "max_pools": torch_sums.max_pools,
    "average_pools": torch_sums.average_pools,
    "products": torch_sums.products,
    "einsums": torch_sums.einsums,
    "reductions": torch_sums.reductions,
    "normalizations": torch_sums.normalizations,
    "losses": torch_sums.losses,
    "functions": torch_elements.functions,
    "activations": torch_elements.activations,
    "pairs": torch_elements.pairs,
    "look_ups": torch_elements.look_ups,
    "views": torch_elements.views,
    "slices": torch_elements.slices,
}

# the operations of the vocabulary that PyTorch has too
WITH_COUNTERPART = """
    exp log log1p expm1 sqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh atan2 erf
    abs sign floor ceil round minimum maximum where pow clip equal not_equal less less_equal greater
    greater_equal add subtract multiply divide mod negative sigmoid softplus relu leaky_relu elu
    selu gelu silu mish relu6 hardtanh softsign sum mean max min amax amin prod argmax argmin
    logsumexp var std matmul einsum conv1d conv2d conv3d max_pool1d max_pool2d max_pool3d avg_pool1d
    avg_pool2d avg_pool3d reshape transpose flatten concat stack pad getitem broadcast_to flip
    softmax log_softmax cross_entropy nll_loss bce_with_logits binary_cross_entropy mse one_hot
    gather take take_along_axis embedding stop_gradient
"""


@dataclass(frozen=True)
class Prepared:
    """A case with our expressions, PyTorch's results, and names that no other case has."""

    title: str
    arrays: dict[str, np.ndarray]
    result: Expression
    loss: Expression | None
    value: np.ndarray
    gradients: dict[str, np.ndarray]


def prepare(title: str, case: Comparison, draw: Draw) -> Prepared:
    named = {f"{title}_x{k}": a for k, a in enumerate(case.arrays)}
    tensors = {n: torch.tensor(a, requires_grad=a.dtype == np.float64) for n, a in named.items()}
    y = case.theirs(*tensors.values())
    leaves = {n: ad.input(n, a.shape, _dtype(a)) for n, a in named.items()}
    result = case.ours(*leaves.values())
    if not y.requires_grad:
        return Prepared(title, named, result, None, y.numpy(), {})
    weight = draw.normal(*y.shape)
    floating = [n for n, t in tensors.items() if t.requires_grad]
    found = torch.autograd.grad(
        y, [tensors[n] for n in floating], torch.tensor(weight), materialize_grads=True
    )
    arrays = {**named, f"{title}_w": weight}
    loss = ad.sum(result * ad.input(f"{title}_w", weight.shape))
    gradients = {n: g.numpy() for n, g in zip(floating, found, strict=True)}
    return Prepared(title, arrays, result, loss, y.detach().numpy(), gradients)


def _dtype(array: np.ndarray) -> str | None:
    return None if array.dtype == np.float64 else str(array.dtype)


def prepared(family: str) -> list[Prepared]:
    draw = Draw(f"weights of {family}")
    cases = FAMILIES[family](Draw(family))
    return [prepare(f"{c.operation}_{family}_{k}", c, draw) for k, c in enumerate(cases)]


def model(family: str, cases: list[Prepared]) -> ad.Model:
    losses = [c.loss for c in cases if c.loss is not None]
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    outputs = {f"{c.title}_y": c.result for c in cases}
    wrt = [n for c in cases for n in c.gradients]
    return ad.Model(family, {**outputs, "loss": total}, "loss", wrt=wrt)


@cache
def groups() -> dict[str, list[Prepared]]:
    return {family: prepared(family) for family in FAMILIES}


@cache
def programs() -> dict[str, Any]:
    models = [Case(family, model(family, cases)) for family, cases in groups().items()]
    # Grammars are checked on the graphs of other tests; here that would take most of the time.
    return compile_cases(models, library="against_torch", verify=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients(family: str) -> None:
    cases = groups()[family]
    arrays = {n: a for c in cases for n, a in c.arrays.items()}
    out, grads = programs()[family].value_and_grad(**arrays)
    for case in cases:
        close(out[f"{case.title}_y"], case.value, case.title)
        for name, expected in case.gradients.items():
            close(grads[name], expected, f"the gradient of {name}")


def close(got: Any, expected: np.ndarray, title: str) -> None:
    assert np.shape(got) == expected.shape, title
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=title)


def test_every_operation_with_a_counterpart_is_compared() -> None:
    compared = {c.operation for name, cases in FAMILIES.items() for c in cases(Draw(name))}
    assert set(WITH_COUNTERPART.split()) - compared == set()
