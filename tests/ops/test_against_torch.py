"""Operations with PyTorch's names against PyTorch, over randomized shapes and settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import autodiffc as ad
from autodiffc.graph.construct import leaf
from autodiffc.graph.expression import Expression
from autodiffc.graph.extents import dim, substitute
from autodiffc.ops.registry import OPERATIONS
from autodiffc.reference.interpreter import evaluate

torch = pytest.importorskip("torch", reason="needs the extra `torch` to compare with")
F = torch.nn.functional

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


def run(name: str, *arrays: Any, **kwargs: Any) -> np.ndarray:
    """Our operation over arrays, through the interpreter."""
    env = {f"x{k}": a for k, a in enumerate(arrays) if isinstance(a, np.ndarray)}
    args = [
        Expression(leaf("input", f"x{k}", a.shape, dtype_of(a))) if isinstance(a, np.ndarray) else a
        for k, a in enumerate(arrays)
    ]
    y = OPERATIONS[name].function(*args, **kwargs)
    return evaluate({"y": y.node}, env, dtype="float64")["y"]


def dtype_of(array: np.ndarray) -> str:
    return "real" if array.dtype == np.float64 else str(array.dtype)


def theirs(function: Any, *arrays: Any, **kwargs: Any) -> np.ndarray:
    tensors = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arrays]
    result: np.ndarray = function(*tensors, **kwargs).numpy()
    return result


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def compare(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


# --- Windows ---


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[int, dict[str, Any], tuple[int, ...], tuple[int, ...]]:
    """Spatial axes, keywords, and the shapes of input and weight."""
    n = draw(st.integers(1, 3))
    small = st.integers(1, 3)
    kernel = [draw(st.integers(1, 3)) for _ in range(n)]
    dilation = [draw(st.integers(1, 2)) for _ in range(n)]
    padding: Any = draw(st.sampled_from(["same", "valid", "number"]))
    stride = [1] * n if padding == "same" else [draw(small) for _ in range(n)]
    pads = [draw(st.integers(0, 3)) for _ in range(n)]
    extents = [draw(st.integers(1, 7 if n < 3 else 4)) for _ in range(n)]
    added = pads if padding == "number" else [0] * n
    for e, k, d, p in zip(extents, kernel, dilation, added, strict=True):
        assume(padding == "same" or e + 2 * p >= d * (k - 1) + 1)
    groups = draw(small)
    channels = groups * draw(st.integers(1, 2))
    weight = (groups * draw(st.integers(1, 2)), channels // groups, *kernel)
    keywords = {
        "stride": tuple(stride),
        "padding": tuple(pads) if padding == "number" else padding,
        "dilation": tuple(dilation),
        "groups": groups,
    }
    return n, keywords, (draw(st.integers(1, 2)), channels, *extents), weight


@SETTINGS
@given(convolutions(), st.booleans())
def test_convolutions(
    case: tuple[int, dict[str, Any], tuple[int, ...], tuple[int, ...]], with_bias: bool
) -> None:
    n, keywords, shape, kernel = case
    arrays = [values(*shape), values(*kernel, seed=1)]
    if with_bias:
        arrays.append(values(kernel[0], seed=2))
    expected = theirs(getattr(F, f"conv{n}d"), *arrays, **keywords)
    compare(run(f"conv{n}d", *arrays, **keywords), expected)


@st.composite
def pools(draw: st.DrawFn) -> tuple[int, dict[str, Any], tuple[int, ...]]:
    n = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 4)) for _ in range(n)]
    stride = draw(st.none() | st.lists(st.integers(1, 4), min_size=n, max_size=n))
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    extents = [draw(st.integers(1, 7 if n < 3 else 4)) for _ in range(n)]
    for e, k, p in zip(extents, kernel, padding, strict=True):
        assume(e + 2 * p >= k)
    keywords = {
        "kernel_size": tuple(kernel),
        "stride": None if stride is None else tuple(stride),
        "padding": tuple(padding),
    }
    return n, keywords, (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *extents)


@SETTINGS
@given(pools(), st.booleans(), st.booleans(), st.none() | st.integers(1, 9))
def test_average_pools(
    case: tuple[int, dict[str, Any], tuple[int, ...]],
    include: bool,
    ceil: bool,
    divisor: int | None,
) -> None:
    n, keywords, shape = case
    # PyTorch refuses some windows that reach beyond the input in three dimensions
    assume(n < 3 or all(e >= k for e, k in zip(shape[2:], keywords["kernel_size"], strict=True)))
    keywords = {**keywords, "count_include_pad": include, "ceil_mode": ceil}
    if n > 1:
        keywords["divisor_override"] = divisor
    expected = theirs(getattr(F, f"avg_pool{n}d"), values(*shape), **keywords)
    compare(run(f"avg_pool{n}d", values(*shape), **keywords), expected)


@SETTINGS
@given(pools(), st.integers(1, 2), st.booleans())
def test_max_pools(
    case: tuple[int, dict[str, Any], tuple[int, ...]], dilation: int, ceil: bool
) -> None:
    n, keywords, shape = case
    spans = [dilation * (k - 1) + 1 for k in keywords["kernel_size"]]
    for e, span, p in zip(shape[2:], spans, keywords["padding"], strict=True):
        assume(e + 2 * p >= span and (dilation == 1 or e > 2 * p))
    keywords = {**keywords, "dilation": dilation, "ceil_mode": ceil}
    expected = theirs(getattr(F, f"max_pool{n}d"), values(*shape), **keywords)
    compare(run(f"max_pool{n}d", values(*shape), **keywords), expected)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_windows_over_one_example_alone(n: int) -> None:
    x, weight, bias = values(2, *[5] * n), values(3, 2, *[2] * n, seed=1), values(3)
    arrays = (x, weight, bias)
    compare(run(f"conv{n}d", *arrays), theirs(getattr(F, f"conv{n}d"), *arrays))
    for kind in ("max", "avg"):
        name = f"{kind}_pool{n}d"
        compare(run(name, x, 2), theirs(getattr(F, name), x, 2))


def test_rounding_the_number_of_windows_up_keeps_a_dim_open() -> None:
    """The count of windows over a dim is a polynomial, right at every extent."""
    for stride, padding in ((2, 0), (3, 1), (4, 1)):
        x = Expression(leaf("input", "x", (1, 1, dim("n", 9)), "real"))
        y = OPERATIONS["max_pool1d"].function(x, 3, stride, padding, ceil_mode=True)
        for n in range(3, 12):
            like = F.max_pool1d(torch.zeros(1, 1, n), 3, stride, padding, ceil_mode=True)
            assert substitute(y.shape[-1], {"n": n}) == like.shape[-1]


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_pools_propagate_nan(name: str) -> None:
    x = values(1, 1, 4, 4)
    x[0, 0, 1, 2] = np.nan
    compare(run(name, x, 2), theirs(getattr(F, name), x, 2))


# --- Activations and losses: names, keywords, defaults ---

POINTS = np.array([-120.0, -25.0, -3.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 1.0, 3.0, 6.0, 25.0, 120.0])


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("relu", {}),
        ("leaky_relu", {}),
        ("leaky_relu", {"negative_slope": 0.3}),
        ("elu", {}),
        ("elu", {"alpha": 2.0}),
        ("selu", {}),
        ("gelu", {}),
        ("gelu", {"approximate": "tanh"}),
        ("silu", {}),
        ("mish", {}),
        ("hardtanh", {}),
        ("hardtanh", {"min_val": -0.5, "max_val": 2.0}),
        ("relu6", {}),
        ("softsign", {}),
        ("softplus", {}),
        ("softplus", {"beta": 2.0, "threshold": 3.0}),
        ("logsigmoid", {}),
        ("sigmoid", {}),
        ("celu", {}),
        ("celu", {"alpha": 0.3}),
        ("hardswish", {}),
        ("hardsigmoid", {}),
    ],
)
def test_activations(name: str, keywords: dict[str, Any]) -> None:
    ours = run(name, POINTS, **keywords)
    expected = theirs(getattr(F, name), POINTS, **keywords)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["hardswish", "hardsigmoid", "celu"])
def test_slopes_of_activations_at_their_kinks(name: str) -> None:
    points = np.array([-4.0, -3.0, -1.0, 0.0, 2.0, 3.0, 5.0])
    x = Expression(leaf("input", "x", points.shape, "real"))
    dx = ad.grad(ad.sum(OPERATIONS[name].function(x)), x)
    theirs_x = torch.from_numpy(points).requires_grad_()
    getattr(F, name)(theirs_x).sum().backward()
    got = evaluate({"dx": dx.node}, {"x": points}, dtype="float64")["dx"]
    np.testing.assert_allclose(got, theirs_x.grad.numpy(), rtol=1e-7)  # its sixth is a float32


@pytest.mark.parametrize("shapes", [((2, 3, 4), (3,)), ((2, 3), (1,)), ((4,), (1,))])
def test_prelu(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    arrays = values(*shapes[0]), values(*shapes[1], seed=1)
    compare(run("prelu", *arrays), theirs(F.prelu, *arrays))


def test_logaddexp_at_infinities() -> None:
    special = np.array([-np.inf, np.inf, np.nan, 0.0, 1e300, -1e300])
    x, y = (a.ravel() for a in np.meshgrid(special, special))
    compare(run("logaddexp", x, y), theirs(torch.logaddexp, x, y))


PROBABILITIES = np.array([[0.0, 0.2, 0.8], [1.0, 0.5, 1e-30]])
TARGETS = np.array([[0.0, 0.3, 1.0], [0.0, 0.5, 1.0]])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(
    ("name", "arrays", "keywords"),
    [
        ("cross_entropy", (values(4, 3), np.array([0, 2, 1, 1])), {}),
        ("cross_entropy", (values(4, 3), np.array([0, 2, 1, 1])), {"label_smoothing": 0.1}),
        ("cross_entropy", (values(2, 3, 4), np.ones((2, 4), np.int64)), {}),
        ("cross_entropy", (values(2, 3, 4), np.abs(values(2, 3, 4))), {"label_smoothing": 0.2}),
        ("cross_entropy", (values(5), np.array(3)), {}),
        ("cross_entropy", (1000.0 * values(4, 3), np.array([0, 2, 1, 1])), {}),
        ("nll_loss", (values(4, 3), np.array([0, 2, 1, 1])), {}),
        ("binary_cross_entropy", (PROBABILITIES, TARGETS), {}),
        ("mse_loss", (values(4, 3), values(4, 3, seed=1)), {}),
        ("l1_loss", (values(4, 3), values(4, 3, seed=1)), {}),
        ("smooth_l1_loss", (values(4, 3), values(4, 3, seed=1)), {"beta": 0.5}),
        ("huber_loss", (values(4, 3), values(4, 3, seed=1)), {"delta": 0.5}),
        ("binary_cross_entropy_with_logits", (50.0 * values(2, 3), TARGETS), {}),
    ],
)
def test_losses(
    name: str, arrays: tuple[np.ndarray, ...], keywords: dict[str, Any], reduction: str
) -> None:
    ours = {"mse_loss": "mse", "binary_cross_entropy_with_logits": "bce_with_logits"}.get(
        name, name
    )
    keywords = {**keywords, "reduction": reduction}
    expected = theirs(getattr(F, name), *arrays, **keywords)
    compare(run(ours, *arrays, **keywords), expected)


LABELS = np.array([[0, 2, -100, 1], [2, 1, 1, 5]])
WEIGHT = np.array([0.5, 2.0, 0.0])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize(
    ("name", "labels", "keywords"),
    [
        ("cross_entropy", np.where(LABELS == 5, 0, LABELS), {}),
        ("cross_entropy", np.where(LABELS == 5, 0, LABELS), {"label_smoothing": 0.3}),
        ("cross_entropy", np.maximum(LABELS, 0), {"ignore_index": 5}),
        ("cross_entropy", np.maximum(LABELS, 0), {"ignore_index": 5, "label_smoothing": 1}),
        ("cross_entropy", np.minimum(np.maximum(LABELS, 0), 2), {"ignore_index": 1}),
        ("cross_entropy", np.abs(values(2, 3, 4)), {"label_smoothing": 0.3}),
        ("nll_loss", np.maximum(LABELS, 0), {"ignore_index": 5}),
    ],
)
def test_weights_and_ignored_labels(
    name: str,
    labels: np.ndarray,
    weight: np.ndarray | None,
    keywords: dict[str, Any],
    reduction: str,
) -> None:
    """Values and gradients, of logits that the classes' weights multiply with too."""
    keywords = {**keywords, "reduction": reduction}
    logits = values(2, 3, 4)
    x = Expression(leaf("input", "x", logits.shape, "real"))
    y = OPERATIONS[name].function(x, labels, weight=weight, **keywords)
    dx = ad.grad(ad.sum(y * y), x)
    got = evaluate({"y": y.node, "dx": dx.node}, {"x": logits}, dtype="float64")
    theirs_x = torch.from_numpy(logits).requires_grad_()
    theirs_w = None if weight is None else torch.from_numpy(weight)
    expected = getattr(F, name)(theirs_x, torch.from_numpy(labels), weight=theirs_w, **keywords)
    (expected**2).sum().backward()
    compare(got["y"], expected.detach().numpy())
    compare(got["dx"], theirs_x.grad.numpy())


def test_a_mean_without_any_label_is_nan() -> None:
    x, labels = values(2, 3), np.array([-100, -100])
    keywords = {"reduction": "mean"}
    compare(run("cross_entropy", x, labels, **keywords), np.array(np.nan))
    compare(theirs(F.cross_entropy, x, labels, **keywords), np.array(np.nan))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_weighted_binary_losses(name: str, reduction: str) -> None:
    keywords = {"weight": np.array([[2.0], [0.5]]), "reduction": reduction}
    ours = name.replace("binary_cross_entropy_with", "bce_with")
    got = run(ours, PROBABILITIES, TARGETS, **keywords)
    torch_keywords = {**keywords, "weight": torch.tensor([[2.0], [0.5]], dtype=torch.float64)}
    compare(got, theirs(getattr(F, name), PROBABILITIES, TARGETS, **torch_keywords))


# --- Contractions ---


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("...i,...i", [(2, 3), (2, 3)]),
        ("ii...->...i", [(3, 3, 2)]),
        ("i...,...->i...", [(2, 3), (1,)]),
        ("abc,cd,be,ef->adf", [(2, 3, 4), (4, 2), (3, 5), (5, 2)]),
    ],
)
def test_einsum(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [values(*s, seed=k) for k, s in enumerate(shapes)]
    args = [Expression(leaf("input", f"x{k}", s, "real")) for k, s in enumerate(shapes)]
    y = OPERATIONS["einsum"].function(subscripts, *args)
    env = {f"x{k}": a for k, a in enumerate(arrays)}
    expected = torch.einsum(subscripts, *map(torch.from_numpy, arrays)).numpy()
    compare(evaluate({"y": y.node}, env, dtype="float64")["y"], expected)


def test_gather_takes_either_order_of_arguments() -> None:
    x, ids = values(4, 3), np.array([[0, 2], [1, 1]])
    compare(run("gather", x, ids, 1), theirs(torch.gather, x, 1, ids))
    compare(run("gather", x, 1, ids), theirs(torch.gather, x, 1, ids))
