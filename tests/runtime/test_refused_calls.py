"""Calls that are refused: what the message says, and that nothing is left half-changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autodiffc.errors import (
    ArgumentError,
    ArgumentTypeError,
    AttributeNotFoundError,
    AutodiffcError,
    CallError,
    CallTypeError,
    IndexRangeError,
    ModelFileError,
    NameNotFoundError,
    StateError,
)
from autodiffc.runtime import Compiled
from tests.runtime.conftest import BATCH, Handwritten

X = np.array([[0.5, -1, 2], [1, 0, -0.25], [0, 3, 1], [-2, 0.5, 0.5]], np.float32)
LABELS = np.array([0, 1, 1, 0], np.int32)


def refused(error: type[AutodiffcError], call: Callable[[], Any]) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


# --- names ---


@pytest.mark.parametrize("entry", ["forward", "value_and_grad", "step", "predict"])
def test_unknown_names(logistic: Compiled, entry: str) -> None:
    logistic.init()
    message = refused(CallTypeError, lambda: getattr(logistic, entry)(x=X, label=LABELS))
    called = "forward" if entry == "value_and_grad" else entry
    assert message == (
        f"{called} of logistic was given an input that the model does not have\n"
        "  found:    'label'\n"
        "  expected: 'x', 'labels'\n"
        "  help:     did you mean 'labels'?"
    )


def test_a_run_time_scalar_is_no_input(logistic: Compiled) -> None:
    message = refused(CallTypeError, lambda: logistic.init().step(x=X, labels=LABELS, lr=0.1))
    assert "logistic.set(lr=...) sets run-time scalars" in message


@pytest.mark.parametrize("entry", ["forward", "step"])
def test_missing_names(logistic: Compiled, entry: str) -> None:
    logistic.init()
    assert refused(CallTypeError, lambda: getattr(logistic, entry)(x=X)) == (
        f"{entry} of logistic is missing inputs\n  found:    'x'\n  expected: also 'labels'"
    )


def test_predict_without_what_any_output_needs(logistic: Compiled) -> None:
    logistic.init()
    assert refused(CallTypeError, lambda: logistic.predict(labels=LABELS)) == (
        "predict of logistic cannot compute any output from these inputs\n"
        "  found:    'labels'\n"
        "  expected: what at least one output needs (loss: 'x', 'labels'; logits: 'x')"
    )


@pytest.mark.parametrize("entry", ["forward", "backward", "value_and_grad", "predict", "step"])
def test_arrays_without_a_name(logistic: Compiled, entry: str) -> None:
    message = refused(CallTypeError, lambda: getattr(logistic.init(), entry)(X))
    assert f"{entry} of logistic takes arrays by name only" in message


def test_unknown_cotangents(logistic: Compiled) -> None:
    logistic.init().forward(x=X, labels=LABELS)
    assert refused(CallTypeError, lambda: logistic.backward(logit=X)) == (
        "backward of logistic takes cotangents of floating outputs\n"
        "  found:    'logit'\n"
        "  expected: 'loss', 'logits'"
    )


def test_unknown_output_parameter_and_scalar(logistic: Compiled) -> None:
    out = logistic.init().predict(x=X)
    assert refused(NameNotFoundError, lambda: out["logit"]) == (
        "there is no output of this name\n"
        "  found:    'logit'\n"
        "  expected: one of 'logits'\n"
        "  help:     did you mean 'logits'?"
    )
    for ask in (lambda: out.loss, lambda: logistic.params.wait, lambda: logistic.grads.wait):
        assert "of this name\n" in refused(AttributeNotFoundError, ask)
    assert issubclass(AttributeNotFoundError, AttributeError)
    assert getattr(out, "loss", None) is None
    assert "no parameter of this name" in refused(
        NameNotFoundError, lambda: logistic.params["wait"]
    )
    assert "no run-time scalar of this name" in refused(
        NameNotFoundError, lambda: logistic.set(learning_rate=1.0)
    )


def test_arrays_are_not_replaced(logistic: Compiled) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        logistic.params["weight"] = X
    assert isinstance(caught.value, TypeError)
    assert str(caught.value) == (
        "arrays are written in place, they cannot be replaced\n"
        "  found:    ['weight'] = value\n"
        "  expected: ['weight'][...] = value"
    )


def test_names_come_as_keywords(logistic: Compiled) -> None:
    assert refused(ArgumentTypeError, lambda: logistic.set(0.1)) == (
        "set takes run-time scalars by name only\n  found:    0.1\n  expected: set(lr=...)"
    )
    assert 'e.g. bind("step"' in refused(ArgumentTypeError, lambda: logistic.bind(entry="step"))
    assert "  found:    no name" in refused(ArgumentTypeError, lambda: logistic.bind(x=X))
    assert "  found:    3" in refused(ArgumentTypeError, lambda: logistic.bind(3))  # type: ignore[arg-type]
    assert "bind('step', name=array, ...)" in refused(
        CallTypeError, lambda: logistic.bind("step", X)
    )


def test_weights_take_a_path(logistic: Compiled) -> None:
    logistic.init()
    for call in (logistic.save_weights, logistic.load_weights):
        message = refused(ArgumentTypeError, lambda c=call: c(3))
        assert "  found:    3 (int)\n" in message


# --- arrays ---


def test_wrong_shape(logistic: Compiled) -> None:
    message = refused(CallError, lambda: logistic.init().predict(x=X[:, :2].copy()))
    assert message == ("input 'x' has the wrong shape\n  found:    (4, 2)\n  expected: (batch, 3)")
    assert "(4, 3, 1)" in refused(CallError, lambda: logistic.predict(x=X[..., None]))


def test_a_flattened_array_gets_advice(handwritten_logistic: Handwritten) -> None:
    inputs = [{"name": "x", "shape": [4, 3], "dtype": "float32"}]
    model = handwritten_logistic.compiled(
        inputs=inputs, outputs=[], cotangents=[], dims={}, input_grads=[]
    ).init()
    assert "help:     pass x.reshape((4, 3))" in refused(
        CallError, lambda: model.forward(x=X.ravel())
    )


def test_extents_that_disagree(logistic: Compiled) -> None:
    message = refused(CallError, lambda: logistic.init().forward(x=X, labels=LABELS[:3]))
    assert message == (
        "input 'labels' does not agree with the other arrays on batch\n"
        "  found:    shape (3,)\n"
        "  expected: (batch,) with batch = 4"
    )


@pytest.mark.parametrize("batch", [0, 9])
def test_extents_out_of_range(logistic: Compiled, batch: int) -> None:
    x = np.zeros((batch, 3), np.float32)
    assert refused(CallError, lambda: logistic.init().predict(x=x)) == (
        "input 'x' has an extent outside what the model was compiled for\n"
        f"  found:    shape ({batch}, 3)\n"
        "  expected: (batch, 3) with batch from 1 to 8\n"
        "  help:     ad.compile(..., dims={'batch': (low, high)}) sets the range"
    )


def test_extents_that_are_multiples_of_a_dim(handwritten_logistic: Handwritten) -> None:
    shape = [{"dim": "batch", "coefficient": 2, "constant": 1}]
    inputs = [
        {"name": "x", "shape": [BATCH, 3], "dtype": "float32"},
        {"name": "labels", "shape": shape, "dtype": "int32"},
    ]
    model = handwritten_logistic.compiled(inputs=inputs).init()
    nine = np.zeros(9, np.int32)
    assert model.forward(x=X, labels=nine).logits.shape == (4,)
    message = refused(CallError, lambda: model.predict(labels=nine[:8], x=X))
    assert "expected: (2*batch + 1,) with batch = 4" in message


def test_cotangents_have_the_shape_of_their_output(logistic: Compiled) -> None:
    logistic.init().forward(x=X, labels=LABELS)
    message = refused(CallError, lambda: logistic.backward(logits=np.ones(3, np.float32)))
    assert "cotangent of output 'logits' does not agree" in message
    assert "batch = 4" in message


def test_wrong_dtype(logistic: Compiled) -> None:
    message = refused(CallTypeError, lambda: logistic.init().predict(x=X.astype(np.float64)))
    assert message == (
        "input 'x' has the wrong dtype\n"
        "  found:    float64\n"
        "  expected: float32\n"
        "  help:     pass x.astype(np.float32)"
    )
    assert "labels.astype(np.int32)" in refused(
        CallTypeError, lambda: logistic.forward(x=X, labels=LABELS.astype(np.int64))
    )


def test_wrong_byte_order(logistic: Compiled) -> None:
    swapped = X.astype(X.dtype.newbyteorder())
    message = refused(CallError, lambda: logistic.init().predict(x=swapped))
    assert message.startswith("input 'x' has the wrong byte order\n")
    assert message.endswith("  help:     pass x.astype(np.float32)")


def test_wrong_memory_order(logistic: Compiled) -> None:
    message = refused(CallError, lambda: logistic.init().predict(x=np.asfortranarray(X)))
    assert message == (
        "input 'x' is not laid out in C order\n"
        "  found:    strides (4, 16) for shape (4, 3)\n"
        "  expected: a C-contiguous array\n"
        "  help:     pass np.ascontiguousarray(x)"
    )
    assert "C order" in refused(CallError, lambda: logistic.predict(x=X[::2]))


def test_misaligned_memory(logistic: Compiled) -> None:
    shifted = np.zeros(X.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(X.shape)
    message = refused(CallError, lambda: logistic.init().predict(x=shifted))
    assert message.startswith("input 'x' is not aligned in memory\n")


def test_what_is_no_array(logistic: Compiled) -> None:
    logistic.init()
    message = refused(CallTypeError, lambda: logistic.predict(x=X.tolist()))
    assert message == (
        "input 'x' is not a NumPy array\n"
        "  found:    an object of type builtins.list\n"
        "  expected: a NumPy array of float32 and shape (batch, 3)\n"
        "  help:     pass np.asarray(x, dtype=np.float32)"
    )
    assert "not a NumPy array" in refused(CallTypeError, lambda: logistic.predict(x=None))
    masked = np.ma.masked_array(X, mask=X > 1)
    assert "numpy.ma" in refused(CallTypeError, lambda: logistic.predict(x=masked))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2", "input 'x' is not a number\n  found:    '2' (str)"),
        (True, "input 'x' is not a number\n  found:    True (bool)"),
        (1j, "input 'x' is not a number\n  found:    1j (complex)"),
        (None, "input 'x' is not a number\n  found:    None (NoneType)"),
        ([2.0], "input 'x' is not a number\n  found:    an object of type builtins.list"),
        (np.float32(2), "input 'x' has the wrong dtype\n  found:    float32"),
        (np.ones(1), "input 'x' has the wrong shape\n  found:    (1,)"),
        (10**400, "input 'x' does not fit its dtype\n  found:    an integer of 1329 bits"),
    ],
)
def test_what_is_no_scalar(quiz: Compiled, value: Any, message: str) -> None:
    assert refused(AutodiffcError, lambda: quiz.forward(x=value, z=1.0)).startswith(message)


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("int32", 1.0, "input 'x' is not an integer\n  found:    1.0 (float)"),
        ("int32", True, "input 'x' is not an integer\n  found:    True (bool)"),
        ("int32", 2**31, "input 'x' does not fit its dtype\n  found:    2147483648"),
        ("uint8", -1, "input 'x' does not fit its dtype\n  found:    -1"),
        ("bool", 1, "input 'x' is not True or False\n  found:    1 (int)"),
        ("int32", np.int64(1), "input 'x' has the wrong dtype\n  found:    int64"),
    ],
)
def test_scalars_of_other_kinds(
    handwritten_quiz: Handwritten, dtype: str, value: Any, message: str
) -> None:
    from autodiffc.runtime.arguments import make_argument
    from autodiffc.runtime.signature import Tensor

    argument = make_argument("input 'x'", Tensor("x", (), np.dtype(dtype)), {})
    assert refused(AutodiffcError, lambda: argument.check(value, {})).startswith(message)
    assert argument.check(np.ones((), dtype), {}) == 1


# --- time ---


@pytest.mark.parametrize("entry", ["forward", "value_and_grad", "predict", "step"])
def test_use_before_init(logistic: Compiled, entry: str) -> None:
    wanted = (
        "logistic has no parameters yet\n"
        "  found:    a call before init\n"
        "  expected: logistic.init(seed=0), or load_weights(path), first"
    )
    assert refused(StateError, lambda: getattr(logistic, entry)(x=X, labels=LABELS)) == wanted
    assert refused(StateError, lambda: logistic.bind(entry, x=X, labels=LABELS)) == wanted


def test_weights_are_not_saved_before_init(logistic: Compiled, tmp_path: Any) -> None:
    assert "before init" in refused(StateError, lambda: logistic.save_weights(tmp_path / "w"))


def test_backward_before_forward(logistic: Compiled) -> None:
    wanted = (
        "backward of logistic needs a forward before it\n"
        "  found:    no forward in this context, or a step or a failed call since\n"
        "  expected: out = model.forward(...), then grads = model.backward()\n"
        "  help:     value_and_grad(...) does both"
    )
    logistic.init()
    assert refused(StateError, logistic.backward) == wanted
    logistic.predict(x=X)
    assert refused(StateError, logistic.backward) == wanted
    logistic.forward(x=X, labels=LABELS)
    assert refused(StateError, logistic.context().backward) == wanted
    logistic.step(x=X, labels=LABELS)
    assert refused(StateError, logistic.backward) == wanted


@pytest.mark.parametrize("change", ["init", "step", "load"])
def test_backward_after_the_parameters_changed(
    logistic: Compiled, change: str, tmp_path: Any
) -> None:
    logistic.init().save_weights(tmp_path / "w")
    logistic.forward(x=X, labels=LABELS)
    if change == "init":
        logistic.init(seed=2)
    elif change == "step":
        logistic.context().step(x=X, labels=LABELS)
    else:
        logistic.load_weights(tmp_path / "w")
    assert refused(StateError, logistic.backward).startswith(
        "the parameters of logistic have changed since the forward\n"
    )


def test_entries_that_a_model_lacks(quiz: Compiled, handwritten_quiz: Handwritten) -> None:
    assert refused(StateError, lambda: quiz.step(x=2, z=3)) == (
        "quiz has no step\n"
        "  found:    it was made without an optimizer\n"
        "  expected: one of backward, forward, predict"
    )
    plain = handwritten_quiz.compiled(entries=["predict", "forward"], differentiate=None)
    assert "made without `differentiate`" in refused(StateError, plain.backward)
    assert "made without `differentiate`" in refused(
        StateError, lambda: plain.value_and_grad(x=2, z=3)
    )


def test_backward_without_a_differentiated_output_needs_cotangents(
    handwritten_quiz: Handwritten,
) -> None:
    model = handwritten_quiz.compiled(differentiate=None)
    model.forward(x=2, z=3)
    assert "backward of quiz needs cotangents" in refused(CallTypeError, model.backward)
    assert model.backward(y=2)["x"] == pytest.approx(2 * 1208.366560554193)


def test_unknown_entries_to_bind(logistic: Compiled) -> None:
    message = refused(ArgumentError, lambda: logistic.init().bind("train", x=X))
    assert "expected: one of predict, forward, backward, value_and_grad, step" in message


# --- indices in the data ---


def test_labels_out_of_range(logistic: Compiled) -> None:
    logistic.init()
    wrong = np.array([0, 1, 7, 0], np.int32)
    for entry in ("forward", "step", "predict", "value_and_grad"):
        message = refused(IndexRangeError, lambda e=entry: getattr(logistic, e)(x=X, labels=wrong))
        assert message == (
            "input 'labels' holds an index out of range\n"
            "  found:    labels[2] = 7\n"
            "  expected: 0 <= labels < 2"
        )
    assert "labels[0] = -3" in refused(
        IndexRangeError, lambda: logistic.forward(x=X[:1], labels=np.array([-3], np.int32))
    )


def test_indices_out_of_an_undeclared_range(handwritten_logistic: Handwritten) -> None:
    inputs = [
        {k: v for k, v in i.items() if k not in ("low", "high", "index_below")}
        for i in LOGISTIC_INPUTS
    ]
    model = handwritten_logistic.compiled(inputs=inputs).init()
    wrong = np.array([0, 1, 7, 0], np.int32)
    assert refused(IndexRangeError, lambda: model.forward(x=X, labels=wrong)) == (
        "logistic: an integer used as an index is out of range\n  found:    labels from 0 to 7\n"
        "  expected: indices of at least 0 and below the extent of the axis that they pick from"
    )


@pytest.mark.parametrize(
    ("limits", "high"), [([2], 2), ([4, 3, 5], 3), ([{**BATCH, "constant": -1}], 3)]
)
def test_indices_have_the_range_of_the_axes_that_they_pick_from(
    handwritten_logistic: Handwritten, limits: list[Any], high: int
) -> None:
    inputs = [{**LOGISTIC_INPUTS[0]}, {**LOGISTIC_INPUTS[1], "index_below": limits}]
    del inputs[1]["low"], inputs[1]["high"]
    model = handwritten_logistic.compiled(inputs=inputs).init()
    wrong = np.array([0, 1, 7, 0], np.int32)
    assert refused(IndexRangeError, lambda: model.forward(x=X, labels=wrong)) == (
        "input 'labels' holds an index out of range\n"
        f"  found:    labels[2] = 7\n  expected: 0 <= labels < {high}"
    )


LOGISTIC_INPUTS: list[dict[str, Any]] = [
    {"name": "x", "shape": [BATCH, 3], "dtype": "float32"},
    {"name": "labels", "shape": [BATCH], "dtype": "int32", "low": 0, "high": 2, "index_below": [2]},
]


def test_integers_outside_a_declared_range(handwritten_logistic: Handwritten) -> None:
    """Where the range is not that of an axis, nothing else would notice."""
    inputs = [{**LOGISTIC_INPUTS[0]}, {**LOGISTIC_INPUTS[1], "low": 0, "high": 1}]
    model = handwritten_logistic.compiled(inputs=inputs).init()
    assert refused(CallError, lambda: model.forward(x=X, labels=LABELS)) == (
        "input 'labels' holds an integer outside the range that it declares\n"
        "  found:    1\n  expected: 0 <= labels < 1"
    )
    read_only = LABELS.copy()
    read_only.flags.writeable = False
    assert "range that it declares" in refused(
        CallError, lambda: model.forward(x=X, labels=read_only)
    )
    inputs[1] |= {"low": -1, "high": None}
    model = handwritten_logistic.compiled(inputs=inputs).init()
    wrong = np.array([0, -2, 1, 0], np.int32)
    message = refused(CallError, lambda: model.forward(x=X, labels=wrong))
    assert "found:    -2" in message
    assert "expected: -1 <= labels" in message
    model.forward(x=X, labels=LABELS)


# --- after a failure ---


def test_a_refused_call_leaves_the_last_forward_as_it_was(logistic: Compiled) -> None:
    logistic.init()
    logistic.forward(x=X, labels=LABELS)
    wanted = logistic.backward()["weight"].copy()
    refused(CallError, lambda: logistic.forward(x=2 * X, labels=LABELS[:2]))
    refused(CallTypeError, lambda: logistic.step(x=2 * X, labels=LABELS.astype(np.int64)))
    refused(CallTypeError, lambda: logistic.forward(x=2 * X))
    refused(CallError, lambda: logistic.backward(logits=np.ones(1, np.float32)))
    assert (logistic.backward()["weight"] == wanted).all()


def test_a_failed_step_changes_no_parameter_and_forgets_the_forward(logistic: Compiled) -> None:
    logistic.init()
    logistic.forward(x=X, labels=LABELS)
    params, states = logistic.param_buffer.copy(), logistic.state_buffer.copy()
    refused(IndexRangeError, lambda: logistic.step(x=X, labels=LABELS + np.int32(5)))
    assert (logistic.param_buffer == params).all()
    assert (logistic.state_buffer == states).all()
    refused(StateError, logistic.backward)


def test_a_refused_set_sets_nothing(logistic: Compiled) -> None:
    refused(NameNotFoundError, lambda: logistic.set(lr=0.1, momentum=0.5))
    assert "lr must be a number" in refused(ArgumentTypeError, lambda: logistic.set(lr="fast"))  # type: ignore[arg-type]
    assert logistic.scalars == {"lr": 0.5}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, -1e-30, 1e39])
def test_scalars_that_no_optimizer_takes(handwritten_logistic: Handwritten, value: float) -> None:
    """`low` is the optimizer's own limit; 1e39 is no finite float32."""
    scalars = [{"name": "lr", "default": 0.5, "low": 0.0}]
    model = handwritten_logistic.compiled(scalars=scalars)
    assert refused(ArgumentError, lambda: model.set(lr=value)) == (
        f"lr cannot have this value\n  found:    {value}\n"
        "  expected: a finite number in float32, at least 0"
    )
    assert model.set(lr=0).scalars == {"lr": 0.0}


def test_scalars_without_a_limit_may_be_negative(logistic: Compiled) -> None:
    assert logistic.set(lr=-1).scalars == {"lr": -1.0}
    assert "  expected: a finite number in float32" in refused(
        ArgumentError, lambda: logistic.set(lr=float("nan"))
    )


# --- manifests ---


def test_a_library_of_another_interface_is_refused(handwritten_quiz: Handwritten) -> None:
    message = refused(ModelFileError, lambda: handwritten_quiz.compiled(abi_version=7))
    assert "found:    version 7" in message


@pytest.mark.parametrize(
    "changes", [{"inputs": [{"shape": []}]}, {"cotangents": ["nothing"]}, {"dtype": "float99"}]
)
def test_a_damaged_manifest_is_refused(
    handwritten_quiz: Handwritten, changes: dict[str, Any]
) -> None:
    assert "manifest of the compiled model is damaged" in refused(
        ModelFileError, lambda: handwritten_quiz.compiled(**changes)
    )


def test_a_manifest_with_an_entry_that_the_library_lacks(handwritten_quiz: Handwritten) -> None:
    assert "no quiz_step" in refused(
        ModelFileError, lambda: handwritten_quiz.compiled(entries=["predict", "step"])
    )
