"""Calls that go straight to C: the same results and the same errors as the way through Python.

Every test runs twice, with the C type and without it; `is_direct` says which.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc import nn
from autodiffc.errors import CallError, CallTypeError, IndexRangeError, StateError
from autodiffc.runtime import BoundCall, Compiled
from autodiffc.runtime.direct import has_small_calls, not_direct

BATCH = 4
X = np.linspace(-1, 2, BATCH * 3).reshape(BATCH, 3)
LABELS = np.array([0, 1, 1, 0], np.int32)
ENTRIES = ("predict", "forward", "value_and_grad")


def classifier() -> ad.Model:
    """Arrays, labels that are used as indices, a number, parameters."""
    x, labels = ad.input("x", (BATCH, 3)), ad.input("labels", (BATCH,), "int32", low=0, high=2)
    scale = ad.input("scale")
    logits = nn.linear(x, 2, name="fc") * scale
    loss = ad.mean(ad.cross_entropy(logits, labels))
    outputs = {"loss": loss, "logits": logits}
    return ad.Model("small", outputs, "loss", wrt=["x", "fc.weight"], optimizer=ad.SGD(lr=0.1))


@pytest.fixture(scope="module", params=["float64", "float32"])
def built(request: pytest.FixtureRequest) -> Compiled:
    return ad.compile(classifier(), dtype=request.param)


@pytest.fixture(params=[True, False], ids=["direct", "long way"])
def is_direct(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def small(built: Compiled, is_direct: bool) -> Compiled:
    program = built._program
    found = Compiled(program.ffi, program.lib, program.manifest)
    if not is_direct:
        found._program.direct_type = None
    elif found._program.direct_type is None:
        pytest.skip("the module has no such type: no Python.h, or a Python without a GIL")
    return found.init(seed=1)


def inputs(model: Compiled) -> dict[str, Any]:
    return {"x": X.astype(model.dtype), "labels": LABELS, "scale": 1.5}


def test_calls_are_direct_from_the_second_on(small: Compiled, is_direct: bool) -> None:
    for entry in ENTRIES:
        assert small._direct[entry] is not_direct
        getattr(small, entry)(**inputs(small))
        assert (small._direct[entry] is not not_direct) == is_direct
        first = small._direct[entry](inputs(small))
        assert (first is not NotImplemented) == is_direct


def test_results_are_the_same_to_the_last_bit(small: Compiled, built: Compiled) -> None:
    long_way = Compiled(built._program.ffi, built._program.lib, built._program.manifest).init(
        seed=1
    )
    long_way._program.direct_type = None
    for entry in ENTRIES:
        for _ in range(3):
            got, wanted = (getattr(m, entry)(**inputs(m)) for m in (small, long_way))
            pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
            for found, expected in pairs:
                assert list(found) == list(expected)
                for name, array in expected.items():
                    assert type(found[name]) is np.ndarray
                    assert found[name].dtype == array.dtype
                    np.testing.assert_array_equal(found[name], array)


def test_results_are_fresh_except_views_of_gradients(small: Compiled) -> None:
    small.value_and_grad(**inputs(small))
    out, grads = small.value_and_grad(**inputs(small))
    kept = {name: a.copy() for name, a in {**out, "x": grads["x"]}.items()}
    again, more = small.value_and_grad(**{**inputs(small), "scale": 0.5})
    for name, array in kept.items():
        np.testing.assert_array_equal({**out, "x": grads["x"]}[name], array)
    assert again.loss != out.loss
    assert more["fc.weight"] is small.grads["fc.weight"]
    with pytest.raises(ad.AutodiffcError, match="there is no output"):
        _ = out["losses"]
    with pytest.raises(ad.AutodiffcError, match="there is no gradient"):
        _ = grads["losses"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_unusual_is_taken_too(small: Compiled, entry: str) -> None:
    given = inputs(small)
    wanted = getattr(small, entry)(**given)
    read_only = given["x"].copy()
    read_only.flags.writeable = False
    for changes in (
        {"x": read_only},
        {"x": given["x"].view(type("Mine", (np.ndarray,), {}))},
        {"scale": np.float64(1.5)},
        {"scale": np.array(1.5, small.dtype)},
    ):
        got = getattr(small, entry)(**given | changes)
        first, expected = (r[0] if isinstance(r, tuple) else r for r in (got, wanted))
        np.testing.assert_array_equal(first["logits"], expected["logits"])
    reordered = dict(reversed(given.items()))
    getattr(small, entry)(**reordered)
    whole, number = (getattr(small, entry)(**given | {"scale": s}) for s in (2, 2.0))
    assert repr(whole) == repr(number)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda g: {"x": g["x"][:3]}, CallError, "wrong shape"),
        (lambda g: {"x": np.asfortranarray(g["x"])}, CallError, "not laid out in C order"),
        (lambda g: {"x": g["x"].astype(np.float16)}, CallTypeError, "wrong dtype"),
        (lambda g: {"x": g["x"].astype(g["x"].dtype.newbyteorder())}, CallError, "byte order"),
        (lambda g: {"x": g["x"].tolist()}, CallTypeError, "not a NumPy array"),
        (lambda g: {"x": np.ma.masked_array(g["x"])}, CallTypeError, "not a NumPy array"),
        (lambda g: {"labels": g["labels"].astype(np.int64)}, CallTypeError, "wrong dtype"),
        (lambda g: {"labels": g["labels"] + np.int32(5)}, IndexRangeError, "out of range"),
        (lambda g: {"scale": "1"}, CallTypeError, "not a number"),
        (lambda g: {"scale": True}, CallTypeError, "not a number"),
        (lambda g: {"scale": 10**400}, CallError, "does not fit"),
        (lambda g: {"other": 1.0}, CallTypeError, "does not have"),
    ],
)
def test_refused(
    small: Compiled,
    entry: str,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    error: type[Exception],
    message: str,
) -> None:
    given = inputs(small)
    for _ in range(2):
        getattr(small, entry)(**given)
    with pytest.raises(error, match=message):
        getattr(small, entry)(**given | change(given))
    getattr(small, entry)(**given)


def test_a_missing_input_is_refused(small: Compiled) -> None:
    given = inputs(small)
    small.forward(**given)
    del given["labels"]
    with pytest.raises(CallTypeError, match="missing inputs"):
        small.forward(**given)
    assert list(small.predict(**given)) == ["logits"]


def test_a_refused_call_leaves_the_last_forward(small: Compiled) -> None:
    given = inputs(small)
    for _ in range(2):
        small.forward(**given)
    wanted = small.backward()["x"]
    with pytest.raises(CallError):
        small.forward(**given | {"scale": 3.0, "x": given["x"][:2]})
    np.testing.assert_array_equal(small.backward()["x"], wanted)
    with pytest.raises(IndexRangeError):
        small.forward(**given | {"labels": LABELS + np.int32(7)})
    with pytest.raises(StateError, match="forward"):
        small.backward()


def test_arrays_live_until_the_next_forward(small: Compiled) -> None:
    small.forward(**inputs(small))
    wanted = small.backward()["fc.weight"].copy()
    given = inputs(small)
    small.forward(**given)
    watched = weakref.ref(given["x"])
    del given
    gc.collect()
    assert watched() is not None
    np.testing.assert_array_equal(small.backward()["fc.weight"], wanted)
    small.forward(**inputs(small))
    assert watched() is None


def test_steps_in_between(small: Compiled) -> None:
    given = inputs(small)
    call = small.bind("value_and_grad", **given | {"scale": np.array(1.5, small.dtype)})
    for _ in range(3):
        before = small.value_and_grad(**given)[0].loss
        call()
        assert call.out.loss == before
        small.forward(**given)
        assert small.step(**given) == before
        with pytest.raises(StateError, match="forward"):
            small.backward()
        assert small.value_and_grad(**given)[0].loss < before


def test_init_starts_anew(small: Compiled) -> None:
    given = inputs(small)
    first = [small.predict(**given).logits for _ in range(2)]
    small.init(seed=2)
    assert not np.array_equal(small.predict(**given).logits, first[1])
    small.init(seed=1)
    for _ in range(2):
        np.testing.assert_array_equal(small.predict(**given).logits, first[1])


# --- Bound ---


def test_a_bound_call_is_one_of_its_kind(small: Compiled, is_direct: bool) -> None:
    call = small.bind("value_and_grad", **inputs(small))
    assert isinstance(call, BoundCall)
    assert (type(call) is not BoundCall) == is_direct
    assert repr(call) == "<bound value_and_grad>"
    assert call.entry == "value_and_grad"
    assert list(call.out) == ["loss", "logits"]
    assert list(call.grads) == ["x", "fc.weight"]
    assert call() is None  # type: ignore[func-returns-value]
    with pytest.raises(TypeError):
        call(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        call(x=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("entry", ENTRIES)
def test_bound_calls_agree_with_plain_ones(small: Compiled, entry: str) -> None:
    given = inputs(small)
    call = small.bind(entry, **given)
    for factor in (1, 2, -1):
        given["x"][...] = X * factor
        call()
        plain = getattr(small, entry)(**given)
        out, grads = plain if isinstance(plain, tuple) else (plain, {})
        for name, array in out.items():
            np.testing.assert_array_equal(call.out[name], array)
        for name, array in grads.items():
            np.testing.assert_array_equal(call.grads[name], array)


def test_a_bound_backward_follows_every_forward(small: Compiled) -> None:
    given, other = inputs(small), inputs(small) | {"x": 2 * inputs(small)["x"]}
    forward = small.bind("forward", **other)
    small.forward(**given)
    backward = small.bind("backward")
    wanted = [small.value_and_grad(**i)[1]["x"] for i in (given, other)]
    for run, expected in (
        (lambda: small.forward(**given), wanted[0]),
        (forward, wanted[1]),
        (lambda: small.value_and_grad(**given), wanted[0]),
        (forward, wanted[1]),
    ):
        run()
        for _ in range(2):
            backward()
            np.testing.assert_array_equal(backward.grads["x"], expected)
    small.init(seed=5)
    with pytest.raises(StateError, match="forward"):
        backward()
    forward()
    backward()


def test_a_bound_call_with_bad_labels_says_so_each_time(small: Compiled) -> None:
    given = inputs(small) | {"labels": LABELS.copy()}
    call = small.bind("forward", **given)
    call()
    given["labels"][2] = 9
    for _ in range(2):
        with pytest.raises(IndexRangeError, match=r"labels\[2\] = 9"):
            call()
        with pytest.raises(StateError, match="forward"):
            small.backward()
    given["labels"][2] = 1
    call()
    small.backward()


def test_calls_wait_for_who_holds_the_context(small: Compiled) -> None:
    given = inputs(small)
    call = small.bind("predict", **given)
    small.predict(**given)
    call()
    done: list[str] = []
    work = [
        threading.Thread(target=lambda: (call(), done.append("bound"))),
        threading.Thread(target=lambda: (small.predict(**given), done.append("plain"))),
    ]
    with small._lock:
        for thread in work:
            thread.start()
        work[0].join(0.05)
        assert done == []
    for thread in work:
        thread.join()
    assert sorted(done) == ["bound", "plain"]


def test_one_context_in_several_threads(small: Compiled) -> None:
    given = inputs(small)
    small.value_and_grad(**given)
    scales = (0.5, 1.0, 1.5, 2.0)
    wanted = {s: float(small.value_and_grad(**given | {"scale": s})[0].loss) for s in scales}
    wrong: list[float] = []

    def work(scale: float) -> None:
        for _ in range(300):
            if float(small.value_and_grad(**given | {"scale": scale})[0].loss) != wanted[scale]:
                wrong.append(scale)

    threads = [threading.Thread(target=work, args=(s,)) for s in scales]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_is_kept_forever(small: Compiled, built: Compiled) -> None:
    given = inputs(small)
    for _ in range(2):
        small.value_and_grad(**given)
    holder = small.context()
    holder.forward(**given)
    holder.__dict__["call"] = holder.bind("value_and_grad", **given)  # a cycle
    holder.__dict__["call"]()
    watched = weakref.ref(holder)
    del holder
    gc.collect()
    assert watched() is None


def test_references_are_balanced(small: Compiled) -> None:
    import sys

    given = inputs(small)
    call = small.bind("value_and_grad", **given)
    objects = [given["x"], given["labels"], small._last, NONE, np.ndarray, small.dtype]

    def work() -> None:
        for _ in range(100):
            small.value_and_grad(**given)
            small.predict(**given)
            small.forward(**given)
            call()

    work()
    before = [sys.getrefcount(o) for o in objects]
    work()
    after = [sys.getrefcount(o) for o in objects]
    assert all(abs(a - b) < 20 for a, b in zip(after, before, strict=True)), (before, after)


NONE = None


# --- Which calls are direct ---


def test_large_calls_and_open_dims_are_not() -> None:
    small = ad.compile(classifier()).manifest
    assert has_small_calls(small)
    for change in (
        {"flops": dict.fromkeys(small["flops"], 1e6)},
        {"dims": {"batch": {"open": True}}},
        {"arena_bytes": {"predict": 1 << 24, "training": 1 << 24}},
        {"inputs": [{"name": "x", "shape": [1000, 1000]}]},
    ):
        assert not has_small_calls({**small, **change})


def test_integers_with_a_range_are_checked_each_time() -> None:
    n = ad.input("n", (2,), "int32", low=0, high=5)
    model = ad.compile(ad.Model("counts", {"y": ad.astype(n, "float32") * 2.0}))
    values = np.array([1, 2], np.int32)
    for _ in range(3):
        assert model.predict(n=values).y.tolist() == [2, 4]
    with pytest.raises(CallError, match="outside the range"):
        model.predict(n=values + np.int32(4))
