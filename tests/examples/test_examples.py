"""Every model file in examples/: it compiles, its gradients are right, its numbers the lecture's.

What the files promise in their opening docstrings is run as written there: as scripts, and through
`autodiffc train`. The expected gradients are the lecture's formulas, in NumPy.
"""

from __future__ import annotations

import re
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import autodiffc as ad
from autodiffc.cli.app import app
from autodiffc.data import load
from autodiffc.dsl.files import run_file
from autodiffc.pipeline import read_model
from autodiffc.runtime.compiled import Compiled
from autodiffc.training import fit

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
FILES = sorted(path.name for path in EXAMPLES.glob("*.py"))
REQUIRED = {
    "alexnet.py",
    "chain.py",
    "filters.py",
    "lenet5.py",
    "logistic_regression.py",
    "own_formula.py",
    "quiz.py",
    "two_layer.py",
}


@cache
def compiled(name: str) -> Compiled:
    """The example's model, for one thread: tests run beside each other."""
    found = ad.compile(EXAMPLES / f"{name}.py", dtype="float64", threads=1)
    assert isinstance(found, Compiled)
    return found


def run_script(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `python examples/NAME.py` prints."""
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


# --- All of them ---


def test_the_examples_of_the_lecture_are_there() -> None:
    assert set(FILES) >= REQUIRED


@pytest.mark.parametrize("name", FILES)
def test_opens_with_a_docstring_that_says_how_to_run_it(name: str) -> None:
    text = run_file(EXAMPLES / name).__doc__ or ""
    assert len(text.splitlines()) >= 4
    assert re.search(rf"(autodiffc \w+|python) examples/{re.escape(name)}", text)


# AlexNet would take minutes; test_alexnet_against_torch.py compares its gradients with PyTorch's
@pytest.mark.parametrize("name", sorted({*FILES} - {"alexnet.py"}))
def test_gradients_agree_with_finite_differences(name: str) -> None:
    found = read_model(EXAMPLES / name)
    for model in found.values() if isinstance(found, dict) else [found]:
        assert model.differentiate is not None
        assert ad.check_grads(model, dims={dim.name: 3 for dim in model.dims}) < 1e-5


# --- Scalars ---


def test_the_quiz() -> None:
    out, grads = compiled("quiz").value_and_grad(x=2.0, z=3.0)
    assert out["y"] == pytest.approx(412.08654756472337, rel=1e-13, abs=0)
    assert grads["x"] == pytest.approx(1208.366560554193, rel=1e-13, abs=0)
    assert grads["z"] == pytest.approx(809.7398094139392, rel=1e-13, abs=0)


def test_the_cosine() -> None:
    out, grads = compiled("chain").value_and_grad(x=0.7)
    assert out["J"] == pytest.approx(-0.36145652212373039, rel=1e-13, abs=0)
    assert grads["x"] == pytest.approx(-5.0677820437885067, rel=1e-13, abs=0)


def test_the_scalars_print_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert "dy/dx = 1208.36656055419" in run_script("quiz", capsys)
    assert "dJ/dx = -5.06778204378851" in run_script("chain", capsys)


# --- Logistic regression ---


def test_logistic_regression_has_the_gradient_of_the_negative_log_likelihood() -> None:
    model = compiled("logistic_regression")
    rng = np.random.default_rng(0)
    size, features = model.inputs["x"][0]
    x, y = rng.normal(size=(size, features)), rng.integers(0, 2, size, dtype=np.int32)
    theta, theta0 = _randomized(model, rng, "theta", "theta0")
    out, grads = model.value_and_grad(x=x, y=y)
    p = 1 / (1 + np.exp(-(x @ theta + theta0)))
    log_likelihood = np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))
    _close(out["loss"], -log_likelihood / size)
    _close(out["probability"], p)
    _close(grads["theta"], -(y - p) @ x / size)
    _close(grads["theta0"], -np.sum(y - p) / size)


def test_logistic_regression_learns() -> None:
    history = fit(compiled("logistic_regression"), load("breast_cancer"), epochs=10)
    assert history.losses[-1] < history.losses[0]
    assert history.accuracy is not None
    assert history.accuracy >= 0.95


# --- Two layers ---


def test_two_layers_have_the_gradients_of_the_lecture() -> None:
    """From the loss backwards, layer by layer, as the slides go."""
    model = compiled("two_layer")
    rng = np.random.default_rng(1)
    size, pixels = model.inputs["x"][0]
    x, label = rng.random((size, pixels)), rng.integers(0, 10, size, dtype=np.int32)
    names = ("alpha", "alpha0", "beta", "beta0")
    alpha, alpha0, beta, beta0 = _randomized(model, rng, *names)
    out, grads = model.value_and_grad(x=x, label=label)

    z = 1 / (1 + np.exp(-(x @ alpha.T + alpha0)))
    b = z @ beta.T + beta0
    q = np.exp(b) / np.exp(b).sum(axis=1, keepdims=True)
    y = np.eye(10)[label]
    _close(out["logits"], b)
    _close(out["loss"], -np.sum(y * np.log(q)) / size)

    db = (q - y) / size
    dz = db @ beta
    da = dz * z * (1 - z)
    expected = {"alpha": da.T @ x, "alpha0": da.sum(0), "beta": db.T @ z, "beta0": db.sum(0)}
    for name in names:
        _close(grads[name], expected[name])


def test_two_layers_learn() -> None:
    history = fit(compiled("two_layer"), load("digits"), epochs=10)
    assert history.accuracy is not None
    assert history.accuracy >= 0.93


@pytest.mark.parametrize(
    ("name", "data"), [("logistic_regression", "breast_cancer"), ("two_layer", "digits")]
)
def test_trains_from_the_shell(name: str, data: str) -> None:
    arguments = ["train", str(EXAMPLES / f"{name}.py"), "--data", data, "--epochs", "2"]
    result = CliRunner().invoke(app, [*arguments, "--threads", "1", "--dtype", "float64"])
    assert result.exit_code == 0, result.output
    for row in ("accuracy", "seconds per epoch", "images per second"):
        assert row in result.stdout


def _randomized(model: Compiled, rng: np.random.Generator, *names: str) -> list[np.ndarray]:
    """Every parameter set to random numbers: none may hide behind a start at zero."""
    model.init()
    assert set(names) == set(model.params)
    for name in names:
        model.params[name][...] = rng.normal(scale=0.5, size=np.shape(model.params[name]))
    return [model.params[name].copy() for name in names]


def _close(found: Any, expected: Any) -> None:
    """Relative to the largest entry: 1e-12."""
    assert np.shape(found) == np.shape(expected)
    assert np.max(np.abs(np.subtract(found, expected))) <= 1e-12 * np.max(np.abs(expected))


# --- Image filters ---


@cache
def filters_file() -> Any:
    return run_file(EXAMPLES / "filters.py")


KERNELS = ("given", "identity", "blur", "sharpen", "edge detection")


@pytest.mark.parametrize("name", KERNELS)
def test_a_filter_adds_up_what_lies_under_its_kernel(name: str) -> None:
    picture, kernel = filters_file().PICTURE, filters_file().KERNELS[name]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (3, 3))
    expected = np.einsum("ijpq,pq->ij", windows, kernel)
    found = compiled("filters").predict(picture=picture, kernel=kernel)["filtered"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_the_filters_do_what_they_are_called() -> None:
    picture, kernels = filters_file().PICTURE, filters_file().KERNELS
    assert set(kernels) == set(KERNELS)

    def apply(name: str, shown: np.ndarray = picture) -> np.ndarray:
        found = compiled("filters").predict(picture=shown, kernel=kernels[name])["filtered"]
        return np.asarray(found)

    given = [[3, 2, 2, 3, 1], [2, 0, 2, 1, 0], [2, 2, 1, 0, 0], [3, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    inside = picture[1:-1, 1:-1]
    assert apply("given").tolist() == given
    assert (apply("identity") == inside).all()
    assert np.ptp(apply("blur")) < np.ptp(inside) < np.ptp(apply("sharpen"))
    flat = np.ones_like(picture)
    np.testing.assert_allclose(apply("blur", flat), 1, rtol=1e-15)
    assert (apply("sharpen", flat) == 1).all()
    assert (apply("edge detection", flat) == 0).all()


def test_down_sampling_and_pooling() -> None:
    small = filters_file().SMALL
    out = compiled("filters").predict(small=small)
    blocks = small.reshape(3, 2, 3, 2)
    assert (out["averaged"] == blocks.mean(axis=(1, 3))).all()
    assert (out["pooled"] == blocks.max(axis=(1, 3))).all()
    assert out["averaged"].tolist() == [[0.75, 0.75, 0.25], [0.75, 0.25, 0], [0.25, 0, 0]]
    assert out["pooled"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]


def test_the_gradient_of_pooling_goes_to_the_first_of_equal_pixels() -> None:
    model, page = compiled("filters"), filters_file()
    zero = np.zeros((3, 3))
    _, grads = model.value_and_grad(picture=page.PICTURE, kernel=zero, small=page.SMALL)
    blocks = page.SMALL.reshape(3, 2, 3, 2).transpose(0, 2, 1, 3).reshape(9, 4)
    first = np.eye(4)[blocks.argmax(axis=1)] * blocks.max(axis=1, keepdims=True)
    expected = 2 * first + 2 * blocks.mean(axis=1, keepdims=True) / 4
    expected = expected.reshape(3, 3, 2, 2).transpose(0, 2, 1, 3).reshape(6, 6)
    np.testing.assert_allclose(grads["small"], expected, rtol=0, atol=1e-14)


def test_the_filters_print_the_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run_script("filters", capsys)
    for title in (*(f"{name}: the result" for name in KERNELS), "max-pooled"):
        assert f"\n{title}\n" in printed
    assert "     3     2     2     3     1\n     2     0     2     1     0\n" in printed
    assert "  0.75  0.75  0.25\n  0.75  0.25     0\n  0.25     0     0\n" in printed


# --- A formula of one's own ---


def test_own_formula_equals_its_definition() -> None:
    x = np.random.default_rng(2).normal(size=13)
    out, grads = compiled("own_formula").value_and_grad(x=x)
    overlap = np.array([x[: 13 - k] @ x[k:] for k in range(13)])
    _close(out["overlap"], overlap)
    _close(out["energy"], np.sum(overlap[1:] ** 2))
    slope = np.zeros(13)
    for k in range(1, 13):
        slope[: 13 - k] += 2 * overlap[k] * x[k:]
        slope[k:] += 2 * overlap[k] * x[: 13 - k]
    _close(grads["x"], slope)
    _close(out["slope"], slope)


def test_barkers_sequence_overlaps_little(capsys: pytest.CaptureFixture[str]) -> None:
    assert "energy           : 6.0" in run_script("own_formula", capsys)
