"""Initial values, buffers, weights on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodiffc.dsl.initializers import ZEROS, Initializer, layer_bias
from autodiffc.errors import ArgumentError, ArgumentTypeError, WeightsError
from autodiffc.runtime import Compiled
from autodiffc.runtime.initial import describe_initializer, initial_values, read_initializer
from autodiffc.runtime.signature import Slot
from autodiffc.runtime.variables import aligned_zeros, views
from tests.runtime.conftest import LOGISTIC, Handwritten

X = np.array([[0.5, -1, 2], [1, 0, -0.25]], np.float32)
LABELS = np.array([0, 1], np.int32)


# --- initializers ---


@pytest.mark.parametrize(
    "initializer",
    [
        ZEROS,
        layer_bias(7),
        Initializer("kaiming_uniform", slope=5**0.5),
        Initializer("xavier_normal"),
        Initializer("value", 0.25),
        Initializer("value", True),
        Initializer("value", np.arange(12.0).reshape(3, 4) / 7),
        Initializer("value", np.array([[1, 2, 3, 4]] * 3, np.int32)),
        Initializer("value", np.full((3, 4), np.inf, np.float32)),
        Initializer("value", np.random.default_rng(0).standard_normal((30, 4))),
        Initializer("value", np.random.default_rng(0).standard_normal((30, 4)).astype(">f4")),
    ],
    ids=str,
)
def test_initializers_survive_json(initializer: Initializer) -> None:
    text = json.dumps(describe_initializer(initializer), allow_nan=False)
    again = read_initializer(json.loads(text))
    shape = np.shape(initializer.value) if np.ndim(initializer.value) else (3, 4)
    first, second = (i.sample(shape, np.random.default_rng(3)) for i in (initializer, again))
    assert np.array_equal(first, second)


def test_an_unknown_initializer_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown initializer"):
        read_initializer({"name": "magic"})


def test_each_tensor_has_a_stream_of_its_own() -> None:
    entry = {"name": "normal"}
    a, b = (initial_values(entry, name, (1000,), 0) for name in ("a", "b"))
    assert np.array_equal(a, initial_values(entry, "a", (1000,), 0))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.15
    assert not np.array_equal(a, initial_values(entry, "a", (1000,), 1))


def test_initial_values_do_not_depend_on_the_other_tensors(
    handwritten_logistic: Handwritten,
) -> None:
    reversed_params = handwritten_logistic.compiled(params=LOGISTIC["params"][::-1])
    wanted = handwritten_logistic.compiled().init(seed=5).params["weight"]
    assert np.array_equal(reversed_params.init(seed=5).params["weight"], wanted)


def test_init_starts_everything_anew(logistic: Compiled) -> None:
    logistic.init(seed=3)
    params, states = logistic.param_buffer.copy(), logistic.state_buffer.copy()
    logistic.set(lr=0.125)
    for _ in range(3):
        logistic.step(x=X, labels=LABELS)
    assert not np.array_equal(logistic.param_buffer, params)
    assert not np.array_equal(logistic.state_buffer, states)
    logistic.init(seed=3)
    assert np.array_equal(logistic.param_buffer, params)
    assert np.array_equal(logistic.state_buffer, states)
    assert logistic.params["bias"] == 0.25
    assert logistic.scalars == {"lr": 0.125}


@pytest.mark.parametrize(
    ("seed", "error"),
    [
        (-1, ArgumentError),
        (2**64, ArgumentError),
        (1.0, ArgumentTypeError),
        (True, ArgumentTypeError),
    ],
)
def test_seeds_that_are_refused(logistic: Compiled, seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="seed"):
        logistic.init(seed=seed)


def test_views_have_a_dtype_of_their_own() -> None:
    buffer = aligned_zeros(32, np.dtype(np.float32))
    slots = {
        "count": Slot("count", (2,), np.dtype(np.int64), 0, 2, {"value": 0}),
        "mean": Slot("mean", (2, 2), np.dtype(np.float32), 16, 4, {"value": 0}),
    }
    found = views(buffer, slots)
    found["count"][...] = [1, 2**40]
    found["mean"][...] = 0.5
    assert buffer.view(np.int64)[:2].tolist() == [1, 2**40]
    assert buffer[16:20].tolist() == [0.5] * 4
    assert np.shares_memory(found["mean"], buffer)


# --- weights ---


def test_weights_come_back(handwritten_logistic: Handwritten, tmp_path: Path) -> None:
    trained, fresh = handwritten_logistic.compiled().init(), handwritten_logistic.compiled()
    for _ in range(3):
        trained.step(x=X, labels=LABELS)
    trained.save_weights(tmp_path / "w.safetensors")
    fresh.load_weights(tmp_path / "w.safetensors")  # stands in for init
    assert np.array_equal(fresh.params["weight"], trained.params["weight"])
    assert fresh.states["count"] == 3
    assert (fresh.states["weight.momentum"] == 0).all()


def test_the_optimizer_comes_along_if_it_was_saved(
    handwritten_logistic: Handwritten, tmp_path: Path
) -> None:
    trained, fresh = handwritten_logistic.compiled().init(), handwritten_logistic.compiled()
    for _ in range(3):
        trained.step(x=X, labels=LABELS)
    trained.save_weights(tmp_path / "w.safetensors", optimizer=True)
    fresh.load_weights(tmp_path / "w.safetensors")
    for _ in range(3):
        assert fresh.step(x=X, labels=LABELS) == trained.step(x=X, labels=LABELS)
    assert np.array_equal(fresh.param_buffer, trained.param_buffer)


def test_without_saved_slots_the_optimizer_stays_as_it_is(
    logistic: Compiled, tmp_path: Path
) -> None:
    logistic.init().step(x=X, labels=LABELS)
    logistic.save_weights(tmp_path / "w")
    momentum = logistic.states["weight.momentum"].copy()
    logistic.load_weights(tmp_path / "w")
    assert np.array_equal(logistic.states["weight.momentum"], momentum)


def test_weights_of_another_model_change_nothing(logistic: Compiled, tmp_path: Path) -> None:
    from autodiffc.runtime.weights import save_weights

    logistic.init()
    before = logistic.param_buffer.copy()
    tensors = {n: np.ones(4, np.float32) for n in ("weight", "bias", "count")}
    save_weights(tmp_path / "w", tensors)
    with pytest.raises(WeightsError, match="weight has shape"):
        logistic.load_weights(tmp_path / "w")
    assert np.array_equal(logistic.param_buffer, before)


def test_half_an_optimizer_is_refused(logistic: Compiled, tmp_path: Path) -> None:
    from autodiffc.runtime.weights import save_weights

    logistic.init()
    tensors = {n: a for n, a in {**logistic.params, **logistic.states}.items() if "bias.m" not in n}
    save_weights(tmp_path / "w", tensors)
    with pytest.raises(WeightsError, match=r"missing bias\.momentum"):
        logistic.load_weights(tmp_path / "w")
