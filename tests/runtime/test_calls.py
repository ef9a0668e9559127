"""What calls return, against the formulas in NumPy; gradients, states, contexts, bound calls."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from typing import Any

import numpy as np
import pytest

from autodiffc.errors import ArgumentError, StateError
from autodiffc.runtime import Compiled

X = np.array([[0.5, -1, 2], [1, 0, -0.25], [0, 3, 1], [-2, 0.5, 0.5]], np.float32)
LABELS = np.array([0, 1, 1, 0], np.int32)


def expected(model: Any, x: Any = X, labels: Any = LABELS) -> dict[str, Any]:
    """Loss, logits and gradients of logistic regression."""
    weight, bias = (np.asarray(model.params[n], np.float64) for n in ("weight", "bias"))
    z = x @ weight + bias
    dz = (1 / (1 + np.exp(-z)) - labels) / len(labels)
    return {
        "loss": np.mean(np.log1p(np.exp(z)) - labels * z),
        "logits": z,
        "weight": dz @ x,
        "bias": dz.sum(),
        "x": np.outer(dz, weight),
    }


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-6)


# --- scalars ---


def test_the_quiz(quiz: Compiled) -> None:
    out, grads = quiz.value_and_grad(x=2.0, z=3.0)
    assert out.y == pytest.approx(412.08654756472337, rel=1e-14)
    assert grads["x"] == pytest.approx(1208.366560554193, rel=1e-14)
    assert grads["z"] == pytest.approx(809.7398094139392, rel=1e-14)
    for number in (out.y, grads["x"], grads["z"], quiz.predict(x=2.0, z=3.0).y):
        assert isinstance(number, np.ndarray)
        assert (number.shape, number.dtype) == ((), np.float64)


def test_scalars_are_fresh_arrays(quiz: Compiled) -> None:
    first = quiz.forward(x=2.0, z=3.0).y
    grad = quiz.backward()["x"]
    quiz.value_and_grad(x=1.75, z=2.0)
    assert float(first) == pytest.approx(412.08654756472337, rel=1e-14)
    assert float(grad) == pytest.approx(1208.366560554193, rel=1e-14)
    assert f"{first:.3f}" == "412.087"


def test_integers_and_zero_dimensional_arrays_are_scalars_too(quiz: Compiled) -> None:
    assert quiz.predict(x=2, z=np.float64(3)).y == quiz.predict(x=np.array(2.0), z=3).y


def test_a_model_without_variables_needs_no_init(quiz: Compiled) -> None:
    assert quiz.param_buffer.size == quiz.state_buffer.size == 0
    assert quiz.forward(x=2, z=3).y > 412


# --- forward and backward ---


def test_forward_and_backward(logistic: Compiled) -> None:
    logistic.init(seed=1)
    wanted = expected(logistic)
    out = logistic.forward(x=X, labels=LABELS)
    grads = logistic.backward()
    for name in ("loss", "logits"):
        close(out[name], wanted[name])
    assert list(grads) == ["weight", "bias", "x"]
    for name in grads:
        close(grads[name], wanted[name])


def test_value_and_grad_is_forward_and_backward(logistic: Compiled) -> None:
    logistic.init()
    out, grads = logistic.value_and_grad(x=X, labels=LABELS)
    wanted = expected(logistic)
    close(out.loss, wanted["loss"])
    close(grads["weight"], wanted["weight"])


def test_cotangents_replace_the_differentiated_output(logistic: Compiled) -> None:
    logistic.init()
    logistic.forward(x=X, labels=LABELS)
    cotangent = np.array([1, 2, 3, 4], np.float32)
    close(logistic.backward(logits=cotangent)["weight"], cotangent @ X)
    both = logistic.backward(logits=cotangent, loss=2.0)["weight"]
    close(both, cotangent @ X + 2 * expected(logistic)["weight"])
    close(logistic.backward()["weight"], expected(logistic)["weight"])


def test_a_scalar_cotangent_of_one_call_is_zero_in_the_next(logistic: Compiled) -> None:
    logistic.init()
    logistic.forward(x=X, labels=LABELS)
    cotangent = np.array([1, 2, 3, 4], np.float32)
    logistic.backward(loss=2.0)
    close(logistic.backward(logits=cotangent)["weight"], cotangent @ X)
    close(logistic.backward(loss=3.0)["weight"], 3 * expected(logistic)["weight"])


def test_outputs_and_gradients_of_inputs_are_fresh_arrays(logistic: Compiled) -> None:
    logistic.init()
    first, first_grads = logistic.value_and_grad(x=X, labels=LABELS)
    kept, kept_grad = first.logits.copy(), first_grads["x"].copy()
    second, second_grads = logistic.value_and_grad(x=2 * X, labels=LABELS)
    assert (first.logits == kept).all()
    assert (first_grads["x"] == kept_grad).all()
    assert not np.shares_memory(first.logits, second.logits)
    assert not np.shares_memory(first_grads["x"], second_grads["x"])


def test_gradients_of_parameters_are_views_that_the_next_call_overwrites(
    logistic: Compiled,
) -> None:
    logistic.init()
    _, grads = logistic.value_and_grad(x=X, labels=LABELS)
    before = grads["weight"].copy()
    logistic.value_and_grad(x=X, labels=1 - LABELS)
    assert (grads["weight"] != before).all()
    assert np.shares_memory(grads["weight"], logistic.grad_buffer)
    assert (logistic.grads["weight"] == grads["weight"]).all()


def test_predict_leaves_a_forward_valid_and_states_alone(logistic: Compiled) -> None:
    logistic.init()
    logistic.forward(x=X, labels=LABELS)
    assert logistic.states["count"] == 1
    logistic.predict(x=X[:1] * 7)
    close(logistic.backward()["weight"], expected(logistic)["weight"])
    assert logistic.states["count"] == 1


def test_predict_gives_every_output_whose_inputs_are_given(logistic: Compiled) -> None:
    logistic.init()
    assert list(logistic.predict(x=X)) == ["logits"]
    assert list(logistic.predict(labels=LABELS, x=X)) == ["loss", "logits"]
    assert list(logistic.predict(x=X)) == ["logits"]


def test_open_dims_follow_the_arrays(logistic: Compiled) -> None:
    logistic.init()
    for batch in (4, 1, 3, 2):
        out, grads = logistic.value_and_grad(x=X[:batch], labels=LABELS[:batch])
        wanted = expected(logistic, X[:batch], LABELS[:batch])
        close(out.logits, wanted["logits"])
        close(grads["x"], wanted["x"])
    eight = np.concatenate([X, X])
    assert logistic.predict(x=eight).logits.shape == (8,)


def test_read_only_inputs_and_memory_maps_are_taken(logistic: Compiled, tmp_path: Any) -> None:
    logistic.init()
    frozen = X.copy()
    frozen.setflags(write=False)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    wanted = logistic.predict(x=X).logits
    assert (logistic.predict(x=frozen).logits == wanted).all()
    assert (logistic.predict(x=mapped).logits == wanted).all()


def test_an_array_that_the_caller_dropped_is_kept_for_backward(logistic: Compiled) -> None:
    logistic.init()
    logistic.forward(x=X.copy(), labels=LABELS.copy())
    junk = [np.full((4, 3), 9, np.float32) for _ in range(100)]
    close(logistic.backward()["weight"], expected(logistic)["weight"])
    assert len(junk) == 100


# --- step ---


def test_steps_are_gradient_descent_with_momentum(logistic: Compiled) -> None:
    logistic.init()
    params = {n: np.array(p, np.float64) for n, p in logistic.params.items()}
    velocity = {n: np.zeros_like(p) for n, p in params.items()}
    for _ in range(5):
        wanted = expected(logistic)
        loss = logistic.step(x=X, labels=LABELS)
        assert isinstance(loss, float)
        close(loss, wanted["loss"])
        for name in params:
            velocity[name] = 0.9 * velocity[name] + wanted[name]
            params[name] = params[name] - 0.5 * velocity[name]
            close(logistic.params[name], params[name])
    close(logistic.states["weight.momentum"], velocity["weight"])
    assert logistic.states["count"] == 5


def test_set_changes_the_learning_rate_of_all_contexts(logistic: Compiled) -> None:
    logistic.init()
    assert logistic.scalars == {"lr": 0.5}
    before = logistic.params["weight"].copy()
    logistic.set(lr=0)
    logistic.context().step(x=X, labels=LABELS)
    assert (logistic.params["weight"] == before).all()
    logistic.set(lr=0.25)
    logistic.step(x=X, labels=LABELS)
    assert (logistic.params["weight"] != before).any()


# --- the object ---


def test_what_calls_return_is_a_mapping_with_attributes(logistic: Compiled) -> None:
    out = logistic.init().predict(x=X, labels=LABELS)
    assert list(out) == ["loss", "logits"]
    assert len(out) == 2
    assert out.loss == out["loss"]
    assert {"loss", "logits"} <= set(dir(out))
    assert repr(out).startswith("{loss: ")
    assert dict(out)["logits"] is out.logits
    assert (pickle.loads(pickle.dumps(out)).logits == out.logits).all()
    assert copy.copy(out).loss == out.loss


def test_the_object_says_what_it_is(logistic: Compiled) -> None:
    assert repr(logistic) == (
        "<Compiled logistic float32: x (batch, 3), labels (batch,) -> loss (), logits (batch,); "
        "4 parameters>"
    )
    assert dict(logistic.inputs) == {
        "x": ((None, 3), np.dtype(np.float32)),
        "labels": ((None,), np.dtype(np.int32)),
    }
    assert logistic.outputs["logits"].shape == (None,)
    assert logistic.dims == {"batch": (1, 8)}
    assert logistic.dtype == np.float32


def test_buffers_are_contiguous_aligned_and_seen_through_views(logistic: Compiled) -> None:
    logistic.init()
    for buffer in (logistic.param_buffer, logistic.state_buffer, logistic.grad_buffer):
        assert buffer.flags.c_contiguous
        assert buffer.flags.writeable
        assert buffer.ctypes.data % 64 == 0
    logistic.params["weight"][...] = [1, 2, 3]
    logistic.params["bias"][...] = 4
    assert logistic.param_buffer[[0, 1, 2, 16]].tolist() == [1, 2, 3, 4]
    close(logistic.predict(x=X).logits, X @ [1, 2, 3] + 4)


# --- contexts and threads ---


def test_contexts_share_parameters_and_own_gradients(logistic: Compiled) -> None:
    logistic.init()
    other = logistic.context()
    logistic.forward(x=X, labels=LABELS)
    other.forward(x=X[:2], labels=LABELS[:2])
    close(logistic.backward()["weight"], expected(logistic)["weight"])
    close(other.backward()["weight"], expected(other, X[:2], LABELS[:2])["weight"])
    assert not np.shares_memory(logistic.grad_buffer, other.grad_buffer)
    assert np.shares_memory(logistic.param_buffer, other.param_buffer)


def test_contexts_work_in_threads(logistic: Compiled) -> None:
    logistic.init()
    wanted = logistic.predict(x=X).logits
    failures: list[Any] = []

    def work() -> None:
        context = logistic.context()
        for _ in range(300):
            if not (context.predict(x=X).logits == wanted).all():
                failures.append("another result")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_one_context_may_be_used_by_several_threads_in_turn(logistic: Compiled) -> None:
    logistic.init()
    failures: list[Any] = []

    def work(batch: int) -> None:
        for _ in range(300):
            out = logistic.predict(x=X[:batch], labels=LABELS[:batch])
            wanted = expected(logistic, X[:batch], LABELS[:batch])
            if not np.allclose(out.loss, wanted["loss"], rtol=1e-5):
                failures.append(batch)

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("bound", [False, True])
def test_concurrent_steps_are_refused(logistic: Compiled, bound: bool) -> None:
    logistic.init()
    context = logistic.context()
    call = context.bind("step", x=X, labels=LABELS) if bound else None
    with logistic._variables.writing(), pytest.raises(StateError) as caught:  # a step at work
        call() if call else context.step(x=X, labels=LABELS)
    assert str(caught.value) == (
        "logistic is being changed by another thread\n"
        "  found:    a step, init or load_weights at work\n"
        "  expected: one at a time: contexts share parameters and states\n"
        "  help:     let one thread train; others may call predict in contexts of their own"
    )
    context.step(x=X, labels=LABELS)  # nothing stayed locked


def test_predict_goes_on_during_a_step(logistic: Compiled) -> None:
    logistic.init()
    with logistic._variables.writing():
        assert logistic.context().predict(x=X).logits.shape == (4,)
        with pytest.raises(StateError, match="being changed"):
            logistic.forward(x=X, labels=LABELS)  # it would write the state `count`


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_after_a_fork_calls_run_on_one_thread(logistic: Compiled) -> None:
    """OpenMP's runtime would hang there."""
    logistic.init()
    wanted = logistic.predict(x=X).logits
    child = os.fork()
    if child == 0:
        contexts = (logistic, logistic.context())
        threads = {c._prediction.struct.threads for c in contexts}
        logistic.threads = 2
        threads |= {logistic.threads}
        same = all((c.predict(x=X).logits == wanted).all() for c in contexts)
        os._exit(0 if threads == {1} and same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert logistic._prediction.struct.threads == 0


def test_a_context_may_be_given_fewer_threads(logistic: Compiled) -> None:
    logistic.init()
    wanted = logistic.predict(x=X).logits
    assert logistic.threads == 0
    for count in (1, 2, 0):
        logistic.threads = count
        assert logistic.threads == count
        assert logistic.context().threads == 0
        assert (logistic.predict(x=X).logits == wanted).all()
    for wrong in (-1, 1.5, True, "2"):
        with pytest.raises(ArgumentError, match="number of threads"):
            logistic.threads = wrong  # type: ignore[assignment]


# --- bound calls ---


def test_bound_calls_read_and_write_in_place(logistic: Compiled) -> None:
    logistic.init()
    x, labels = X.copy(), LABELS.copy()
    call = logistic.bind("value_and_grad", x=x, labels=labels)
    logits, grad = call.out.logits, call.grads["x"]
    for _ in range(2):
        call()
        wanted = expected(logistic, x, labels)
        close(call.out.loss, wanted["loss"])
        close(logits, wanted["logits"])
        close(grad, wanted["x"])
        close(call.grads["weight"], wanted["weight"])
        x *= -2
        labels[:] = 1 - labels


def test_bound_scalars_in_arrays_are_read_at_each_call(quiz: Compiled) -> None:
    x = np.array(2.0)
    call = quiz.bind("value_and_grad", x=x, z=3)
    call()
    assert call.out.y == pytest.approx(412.08654756472337, rel=1e-14)
    x[...] = 1.5
    call()
    wanted, grads = quiz.value_and_grad(x=1.5, z=3)
    assert call.out.y == wanted.y
    assert call.grads["x"] == grads["x"]


def test_bound_forward_and_backward_belong_together(logistic: Compiled) -> None:
    logistic.init()
    forward = logistic.bind("forward", x=X, labels=LABELS)
    forward()
    cotangent = np.ones(4, np.float32)
    backward = logistic.bind("backward", logits=cotangent)
    cotangent[:] = [1, 2, 3, 4]
    backward()
    close(backward.grads["weight"], cotangent @ X)
    close(logistic.backward()["weight"], expected(logistic)["weight"])
    logistic.forward(x=X[:2], labels=LABELS[:2])
    with pytest.raises(ValueError, match="made for other extents"):
        backward()


def test_bound_steps_and_predictions(logistic: Compiled) -> None:
    logistic.init()
    step, predict = logistic.bind("step", x=X, labels=LABELS), logistic.bind("predict", x=X)
    losses = []
    for _ in range(20):
        step()
        losses.append(float(step.out.loss))
    assert losses[-1] < losses[0]
    predict()
    close(predict.out.logits, expected(logistic)["logits"])
    assert list(predict.out) == ["logits"]


def test_a_larger_call_between_leaves_a_bound_call_working(logistic: Compiled) -> None:
    logistic.init()
    call = logistic.bind("forward", x=X[:1], labels=LABELS[:1])
    logistic.forward(x=np.concatenate([X, X]), labels=np.concatenate([LABELS, LABELS]))
    call()
    close(logistic.backward()["weight"], expected(logistic, X[:1], LABELS[:1])["weight"])
