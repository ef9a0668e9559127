"""Initial values: the distributions of torch.nn.init, checked by their bounds and moments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autodiffc.dsl.initializers import LAYER_WEIGHT, NAMES, as_initializer, layer_bias

SHAPE = (64, 48, 3, 3)
FAN_IN, FAN_OUT = 48 * 9, 64 * 9


def draw(name: str, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return as_initializer(name, shape).sample(shape, np.random.default_rng(7))


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("xavier_uniform", math.sqrt(6 / (FAN_IN + FAN_OUT))),
        ("kaiming_uniform", math.sqrt(6 / FAN_IN)),
    ],
)
def test_uniform_initializers_fill_their_range(name: str, bound: float) -> None:
    values = draw(name)
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.999 * bound
    assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("normal", 1.0),
        ("xavier_normal", math.sqrt(2 / (FAN_IN + FAN_OUT))),
        ("kaiming_normal", math.sqrt(2 / FAN_IN)),
    ],
)
def test_normal_initializers_have_their_deviation(name: str, deviation: float) -> None:
    values = draw(name)
    assert values.std() == pytest.approx(deviation, rel=0.02)
    assert abs(values.mean()) < 0.02 * deviation


def test_the_plain_uniform_is_from_0_to_1() -> None:
    values = draw("uniform")
    assert values.min() >= 0
    assert values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=0.01)


def test_the_truncated_normal_stays_within_two_deviations() -> None:
    values = draw("trunc_normal")
    assert np.abs(values).max() <= 2
    assert values.std() == pytest.approx(0.8796, rel=0.02)


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (4, 3, 2)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    matrix = draw("orthogonal", shape).reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    assert np.allclose(product, np.eye(len(product)))


def test_dirac_passes_channels_through() -> None:
    weight = draw("dirac", (4, 3, 3, 3))
    assert weight.sum() == 3
    assert all(weight[k, k, 1, 1] == 1 for k in range(3))


def test_layers_start_as_pytorchs_do() -> None:
    rng = np.random.default_rng(1)
    bound = 1 / math.sqrt(FAN_IN)  # kaiming_uniform with a = √5
    weight = LAYER_WEIGHT.sample(SHAPE, rng)
    assert 0.999 * bound < np.abs(weight).max() <= bound
    bias = layer_bias(FAN_IN).sample((10_000,), rng)
    assert 0.99 * bound < np.abs(bias).max() <= bound


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("eye", "dirac")])
def test_equal_streams_give_equal_values(name: str) -> None:
    assert np.array_equal(draw(name, (6, 5)), draw(name, (6, 5)))


def test_names_may_end_in_an_underscore_as_in_torch() -> None:
    assert as_initializer("kaiming_normal_", SHAPE).kind == "kaiming_normal"


def test_against_torchs_own_bounds() -> None:
    torch = pytest.importorskip("torch", exc_type=ImportError)
    torch.manual_seed(0)
    for name in ("xavier_uniform", "kaiming_uniform"):
        theirs = getattr(torch.nn.init, f"{name}_")(torch.empty(SHAPE)).abs().max().item()
        assert np.abs(draw(name)).max() == pytest.approx(theirs, rel=1e-3)
    for name in ("normal", "xavier_normal", "kaiming_normal", "trunc_normal"):
        theirs = getattr(torch.nn.init, f"{name}_")(torch.empty(SHAPE)).std().item()
        assert draw(name).std() == pytest.approx(theirs, rel=0.03)
    layer = torch.nn.Conv2d(48, 64, 3)
    ours = LAYER_WEIGHT.sample(SHAPE, np.random.default_rng(0))
    assert np.abs(ours).max() == pytest.approx(layer.weight.abs().max().item(), rel=1e-3)
