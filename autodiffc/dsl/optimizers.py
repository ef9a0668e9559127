"""Optimizers: how a step changes the parameters, as nodes of the graph.

An optimizer is a formula like everything else. From a parameter and its gradient it builds the next
value, and the next value of what it remembers (its *slots*, which become states of the model, named
`<parameter>.<slot>`). Settings that may change between steps, such as the learning rate, are scalar
inputs with a default (attribute `runtime`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from autodiffc.dsl.initializers import ZEROS
from autodiffc.errors import ArgumentError, ArgumentTypeError
from autodiffc.graph.construct import cast, elementwise, labelled, leaf
from autodiffc.graph.location import here
from autodiffc.graph.node import Node


class Optimizer(Protocol):
    """What `Model(optimizer=...)` takes.

    It may also have `limits`, the least value of those run-time scalars that have one.
    """

    @property
    def scalars(self) -> Mapping[str, float]:
        """The run-time scalars and their defaults."""

    @property
    def slots(self) -> tuple[str, ...]:
        """What is remembered for each parameter."""

    def make_slots(self, param: Node) -> dict[str, Node]:
        """The states behind the slots of one parameter."""

    def update(
        self, param: Node, grad: Node, slots: Mapping[str, Node], scalars: Mapping[str, Node]
    ) -> tuple[Node, dict[str, Node]]:
        """The parameter's next value and those of its slots."""


@dataclass(frozen=True)
class Step:
    """A whole optimizer step: its scalar inputs, and the next value of params and slots."""

    scalars: Mapping[str, Node]
    updates: Mapping[Node, Node]

    @property
    def states(self) -> tuple[Node, ...]:
        """The optimizer's states, in the order of the parameters."""
        return tuple(node for node in self.updates if node.op == "state")


def build_step(optimizer: Optimizer, gradients: Mapping[Node, Node]) -> Step:
    """The step that the optimizer makes, given each parameter's gradient."""
    limits: Mapping[str, float] = getattr(optimizer, "limits", {})
    scalars = {
        name: leaf("input", name, (), "real", runtime=value, low=limits.get(name), high=None)
        for name, value in optimizer.scalars.items()
    }
    updates: dict[Node, Node] = {}
    for param, grad in gradients.items():
        slots = optimizer.make_slots(param)
        updates[param], next_slots = optimizer.update(param, grad, slots, scalars)
        updates |= {slots[name]: value for name, value in next_slots.items()}
    return Step(scalars, updates)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent as in `torch.optim.SGD`.

    g = gradient + weight_decay·p
    v = momentum·v + (1 − dampening)·g          (the first step: v = g)
    p = p − lr·v                                (nesterov: p − lr·(g + momentum·v))
    """

    lr: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("lr", "momentum", "dampening", "weight_decay"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ArgumentTypeError(
                    f"SGD's {name} must be a number", found=repr(value), loc=here()
                )
            if not 0 <= value < float("inf") and name != "dampening":
                raise ArgumentError(
                    f"SGD's {name} must be at least 0",
                    found=value,
                    expected="a number that is not negative",
                    loc=here(),
                )
        if self.nesterov and (not self.momentum or self.dampening):
            raise ArgumentError(
                "Nesterov's momentum needs a momentum and no dampening",
                found=f"momentum={self.momentum}, dampening={self.dampening}",
                expected="momentum > 0 and dampening = 0",
                loc=here(),
            )

    @property
    def scalars(self) -> dict[str, float]:
        return {"lr": float(self.lr)}

    @property
    def limits(self) -> dict[str, float]:
        """The least value of run-time scalars that have one."""
        return {"lr": 0.0}

    @property
    def slots(self) -> tuple[str, ...]:
        """No velocity without momentum; with dampening the first step has to be told apart."""
        if not self.momentum:
            return ()
        return ("momentum", "started") if self.dampening else ("momentum",)

    def make_slots(self, param: Node) -> dict[str, Node]:
        shapes = {"momentum": param.shape, "started": ()}
        return {
            slot: leaf("state", f"{param.name}.{slot}", shapes[slot], param.dtype, init=ZEROS)
            for slot in self.slots
        }

    def update(
        self, param: Node, grad: Node, slots: Mapping[str, Node], scalars: Mapping[str, Node]
    ) -> tuple[Node, dict[str, Node]]:
        with labelled("momentum"):
            if self.weight_decay:
                grad = _add(grad, elementwise("mul", param, self.weight_decay))
            velocity, next_slots = self._velocity(grad, slots)
            if self.nesterov:
                velocity = _add(grad, elementwise("mul", velocity, self.momentum))
        with labelled(f"{param.name}_next"):
            step = elementwise("mul", cast(scalars["lr"], param.dtype), velocity)
            moved = cast(elementwise("sub", param, step), param.dtype)
        return moved, next_slots

    def _velocity(self, grad: Node, slots: Mapping[str, Node]) -> tuple[Node, dict[str, Node]]:
        if not slots:
            return grad, {}
        kept = elementwise("mul", slots["momentum"], self.momentum)
        if not self.dampening:
            velocity = _add(kept, grad)
            return velocity, {"momentum": velocity}
        started = slots["started"]
        damped = _add(kept, elementwise("mul", grad, 1 - self.dampening))
        velocity = elementwise("where", elementwise("gt", started, 0.0), damped, grad)
        one = elementwise("add", elementwise("mul", started, 0.0), 1.0)
        return velocity, {"momentum": velocity, "started": one}


def _add(a: Node, b: Node) -> Node:
    return elementwise("add", a, b)
