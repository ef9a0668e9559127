"""A model as the graphs of its entry points.

    predict    the outputs
    training   forward and backward: outputs, next states, gradients of the differentiated output,
               and gradients for any cotangents. One graph, so that what forward leaves for backward
               is decided once.
    step       outputs, and the next value of every parameter and state

Graph outputs carry a role and a name, "gradient:conv1.weight".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autodiffc.differentiate import gradients, vjp
from autodiffc.dsl.model import Model
from autodiffc.dsl.optimizers import Step, build_step
from autodiffc.graph.construct import leaf
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.graph.types import is_float

OUTPUT, NEXT, GRADIENT, GENERAL, PARAM = "output", "next", "gradient", "general", "param"


@dataclass(frozen=True)
class Program:
    """Graphs by entry, and the leaves that their callers fill, in order of creation."""

    name: str
    graphs: Mapping[str, Graph]
    inputs: tuple[Node, ...]
    scalars: tuple[Node, ...]
    cotangents: tuple[Node, ...]
    params: tuple[Node, ...]
    states: tuple[Node, ...]
    optimizer_states: tuple[Node, ...]
    outputs: tuple[str, ...]
    differentiate: str | None
    wrt: tuple[str, ...]


def key(role: str, name: str) -> str:
    return f"{role}:{name}"


def split_key(text: str) -> tuple[str, str]:
    role, _, name = text.partition(":")
    return role, name


def build_program(model: Model) -> Program:
    """The graphs of all entry points that the model has."""
    outputs = {key(OUTPUT, n): node for n, node in model.outputs.items()}
    updates = {key(NEXT, n): node for n, node in model.updates.items()}
    wrt = _wrt_nodes(model)
    cotangents = _cotangents(model) if wrt else {}
    graphs = {"predict": Graph(outputs)}
    step: Step | None = None
    if wrt and cotangents:
        training = {**outputs, **updates}
        if model.differentiate is not None:
            found = gradients(model.outputs[model.differentiate], list(wrt.values()))
            by_name = dict(zip(wrt, found, strict=True))
            training |= {key(GRADIENT, n): g for n, g in by_name.items()}
        general = _general(model, wrt, cotangents)
        graphs["training"] = Graph({**training, **general})
        if model.optimizer is not None:
            step = build_step(model.optimizer, _param_gradients(model, by_name))
            graphs["step"] = Graph({**outputs, **updates, **_step_outputs(step)})
    else:
        graphs["training"] = Graph({**outputs, **updates})
    return Program(
        name=model.name,
        graphs=graphs,
        inputs=model.inputs,
        scalars=tuple(step.scalars.values()) if step else (),
        cotangents=tuple(cotangents.values()),
        params=model.params,
        states=model.states,
        optimizer_states=step.states if step else (),
        outputs=tuple(model.outputs),
        differentiate=model.differentiate,
        wrt=tuple(wrt) if cotangents else (),
    )


def _wrt_nodes(model: Model) -> dict[str, Node]:
    leaves = {str(n.name): n for n in (*model.params, *model.inputs)}
    return {name: leaves[name] for name in model.wrt}


def _cotangents(model: Model) -> dict[str, Node]:
    """One input for each floating output: what `backward` is given."""
    return {
        name: leaf("input", f"cotangent_{name}", node.shape, node.dtype, cotangent=name)
        for name, node in model.outputs.items()
        if is_float(node.dtype)
    }


def _general(
    model: Model, wrt: Mapping[str, Node], cotangents: Mapping[str, Node]
) -> dict[str, Node]:
    values = [model.outputs[name] for name in cotangents]
    found = vjp(values, list(cotangents.values()), list(wrt.values()))
    return {key(GENERAL, n): g for n, g in zip(wrt, found, strict=True)}


def _param_gradients(model: Model, by_name: Mapping[str, Node]) -> dict[Node, Node]:
    return {p: by_name[str(p.name)] for p in model.params if str(p.name) in by_name}


def _step_outputs(step: Step) -> dict[str, Node]:
    roles: dict[str, Any] = {"param": PARAM, "state": NEXT}
    return {key(roles[leaf.op], str(leaf.name)): value for leaf, value in step.updates.items()}
