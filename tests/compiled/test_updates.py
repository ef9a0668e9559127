"""The optimizer's update at the end of the gradient's sum: in place, each element once.

`step` is compared with gradients of the same program and the update written out in NumPy. Extents
that no tile divides make blocks overlap, where an update in place would be made twice; other
readers of a weight must see its old value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

import autodiffc as ad
from autodiffc import nn
from autodiffc.runtime.compiled import Compiled
from autodiffc.schedule.plan import Call, Slot
from tests.harness import Case, compile_cases
from tests.loops.kernels import plans_of

LR = 0.1
Arrays = dict[str, np.ndarray]


def layers(batch: int, *sizes: int) -> Callable[[ad.SGD], ad.Model]:
    """Fully connected layers between a regression's input and its target."""

    def model(optimizer: ad.SGD) -> ad.Model:
        h = x = ad.input("x", (batch, sizes[0]))
        for k, size in enumerate(sizes[1:]):
            h = ad.tanh(nn.linear(h, size, name=f"fc{k}"))
        return squares(h, x, optimizer)

    return model


def squares(y: ad.Expression, x: ad.Expression, optimizer: ad.SGD) -> ad.Model:
    return ad.Model("m", {"loss": ad.mean(y * y)}, "loss", optimizer=optimizer)


def convolutions(optimizer: ad.SGD) -> ad.Model:
    x = ad.input("x", (6, 3, 9, 11))
    h = ad.relu(nn.conv2d(x, 5, kernel_size=3, padding=1, name="conv0"))
    return squares(nn.conv2d(h, 7, kernel_size=3, stride=2, name="conv1"), x, optimizer)


def shared(optimizer: ad.SGD) -> ad.Model:
    """One weight in two layers, and in a penalty."""
    x, w = ad.input("x", (20, 37)), ad.param("w", (37, 37), init="xavier_normal")
    y = ad.tanh(ad.tanh(x @ w) @ w)
    loss = ad.mean(y * y) + 0.01 * ad.sum(w * w)
    return ad.Model("m", {"loss": loss, "old": w}, "loss", optimizer=optimizer)


MODELS: dict[str, Callable[[ad.SGD], ad.Model]] = {
    "whole_tiles": layers(32, 64, 48, 16),
    "odd_extents": layers(20, 37, 29, 23, 3),
    "large_tiles": layers(64, 53, 61, 7),
    "convolutions": convolutions,
    "shared": shared,
}
OPTIMIZERS = {
    "plain": ad.SGD(LR),
    "momentum": ad.SGD(LR, momentum=0.9),
    "nesterov": ad.SGD(LR, momentum=0.9, weight_decay=0.01, nesterov=True),
    "dampened": ad.SGD(LR, momentum=0.9, dampening=0.5),
}


def inputs_of(program: Compiled) -> Arrays:
    rng = np.random.default_rng(3)
    return {n: rng.normal(size=s.shape).astype(s.dtype) for n, s in program.inputs.items()}


def updated(optimizer: ad.SGD, p: Arrays, grads: Mapping[str, np.ndarray], v: Arrays) -> None:
    """One step of torch.optim.SGD on arrays."""
    for name, grad in grads.items():
        g = grad + optimizer.weight_decay * p[name]
        first = name not in v
        damping = 0.0 if first else optimizer.dampening
        v[name] = g if first else optimizer.momentum * v[name] + (1 - damping) * g
        change = g + optimizer.momentum * v[name] if optimizer.nesterov else v[name]
        p[name] = p[name] - optimizer.lr * (change if optimizer.momentum else g)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float32", {}),
        ("float64", {"target": "x86-64-v3"}),
        ("float64", {"without": ("fuse", "layout")}),
        ("float32", {"plain": True}),
    ],
    ids=str,
)
def test_steps_are_gradients_and_updates(dtype: str, options: dict[str, object]) -> None:
    cases = [
        Case(f"{m}-{o}", make(optimizer))
        for m, make in MODELS.items()
        for o, optimizer in OPTIMIZERS.items()
    ]
    programs = compile_cases(cases, dtype=dtype, library="updates", **options)
    for name, program in programs.items():
        optimizer = OPTIMIZERS[name.split("-")[1]]
        program.init(seed=1)
        arrays = inputs_of(program)
        params, velocity = {n: np.array(a) for n, a in program.params.items()}, {}
        for _ in range(3):
            _, grads = program.value_and_grad(**arrays)
            updated(optimizer, params, {n: np.array(grads[n]) for n in params}, velocity)
            program.step(**arrays)
            for n, expected in params.items():
                tolerance = 2e-5 if dtype == "float32" else 1e-13
                np.testing.assert_allclose(
                    program.params[n], expected, rtol=tolerance, atol=tolerance, err_msg=name
                )


@pytest.mark.parametrize("name", ["plain", "momentum", "nesterov"])
def test_no_gradient_of_a_weight_is_kept(name: str) -> None:
    """The kernel that sums a gradient stores the parameter, and what the optimizer remembers."""
    calls = plans_of(MODELS["odd_extents"](OPTIMIZERS[name]))["step"].calls
    assert not [c for c in calls if c.group is None]
    for k in range(3):
        (update,) = [c for c in calls if Slot("param", f"fc{k}.weight", "float32") in results_of(c)]
        assert update.group is not None
        assert update.group.kind == "formula"
        assert {s.kind for s in results_of(update)} <= {"param", "state"}


def test_an_update_waits_for_the_other_readers() -> None:
    """The gradient of a layer's input reads the weight; right after that it may be overwritten."""
    calls = plans_of(MODELS["odd_extents"](ad.SGD(LR)))["step"].calls
    weight = Slot("param", "fc1.weight", "float32")
    update = next(k for k, c in enumerate(calls) if weight in results_of(c))
    readers = [k for k, c in enumerate(calls) if weight in c.slots]
    assert max(readers) == update
    assert any(c.group and c.group.kind == "formula" for c in calls[update + 1 :])


def results_of(call: Call) -> tuple[Slot, ...]:
    return call.slots[len(call.slots) - len(call.results) :]


def test_states_that_are_read_elsewhere_are_no_updates_in_place() -> None:
    """Old values at other places than where the new one goes: transposed, flipped, looked up."""
    x, s = ad.input("x", (20, 20)), [ad.state(f"s{k}", (20, 20)) for k in range(5)]
    ids = ad.input("ids", (20,), "int32", low=0, high=20)
    flat = ad.reshape(s[3], (400,)) * 2.0 + ad.reshape(x, (400,))
    updates = {
        s[0]: ad.transpose(s[0]) + x,
        s[1]: x @ x + ad.transpose(s[1]),
        s[2]: x @ x + ad.flip(s[2], 1),
        s[3]: ad.reshape(flat, (20, 20)),
        s[4]: x @ x + s[4][ids],
    }
    model = ad.Model("m", {"y": ad.sum(x)}, updates=updates, wrt=[])
    program = compile_cases([Case("m", model)], dtype="float64", library="states")["m"].init()
    rng = np.random.default_rng(8)
    a, order = rng.normal(size=(20, 20)), rng.permutation(20).astype(np.int32)
    old = [np.zeros((20, 20)) for _ in s]
    for _ in range(3):
        program.forward(x=a, ids=order)
        product = a @ a
        old = [
            old[0].T + a,
            product + old[1].T,
            product + old[2][:, ::-1],
            old[3] * 2 + a,
            product + old[4][order],
        ]
        for k, expected in enumerate(old):
            np.testing.assert_allclose(
                program.states[f"s{k}"], expected, rtol=1e-12, err_msg=str(k)
            )
    slots = [results_of(c) for c in plans_of(model)["training"].calls if c.group]
    assert any(Slot("state", "s3", "float32") in found for found in slots)
