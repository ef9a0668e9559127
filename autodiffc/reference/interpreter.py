"""Runs a graph in NumPy, node by node.

This is the meaning that compiled code is checked against, so it shares nothing with the way that
code is made: it imports NumPy and the graph only. `formula` evaluates one formula; here are the
leaves, the named dims, and how several formulas make up one node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autodiffc.errors import IndexRangeError, NameNotFoundError, ShapeError, VerificationError
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.reference.formula import Array, Setting, evaluate_formula


def evaluate(
    outputs: Mapping[str, Node] | Graph,
    env: Mapping[Any, Any],
    *,
    dtype: str = "float64",
    dims: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """The outputs' values, by name.

    `env` gives the leaves, by name or node; `dtype` is what `real` means. Dims not in `dims` are
    read off the shapes of the given arrays, or take their defaults.
    """
    graph = outputs if isinstance(outputs, Graph) else Graph(dict(outputs))
    given = {n: _given(n, env) for n in graph.order if n.op in ("input", "param", "state")}
    setting = Setting(dtype, _bind_dims(given, dims or {}))
    values: dict[Node, Array] = {}
    with np.errstate(all="ignore"):
        for node in graph.order:
            inputs = [values[operand] for operand in node.inputs]
            if node in given:
                values[node] = _leaf(node, given[node], setting)
            else:
                values[node] = _evaluate_node(node, inputs, setting)
    return {name: values[node] for name, node in graph.outputs.items()}


# --- Leaves ---


def _given(node: Node, env: Mapping[Any, Any]) -> Array:
    for key in (node, node.name):
        if key in env:
            return np.asarray(env[key])
    raise NameNotFoundError(
        f"no array for {node.op} {node.name!r}", expected=f"one of {sorted(map(str, env))}"
    )


def _bind_dims(given: Mapping[Node, Array], dims: Mapping[str, int]) -> dict[str, int]:
    """Solves `coefficient * dim + constant == size`; arrays that disagree are found by `_leaf`."""
    found = dict(dims)
    for node, array in given.items():
        for extent, size in zip(node.shape, array.shape, strict=False):
            linear = None if isinstance(extent, int) else extent.linear()
            if linear is not None and linear[1].name not in found:
                coefficient, dim, constant = linear
                found[dim.name] = (size - constant) // coefficient
    return found


def _leaf(node: Node, array: Array, setting: Setting) -> Array:
    shape = setting.shape(node.shape)
    if array.shape != shape:
        raise ShapeError(
            f"the array for {node.name!r} has the wrong shape", found=array.shape, expected=shape
        )
    return array.astype(setting.dtype(node.dtype))


# --- Nodes ---


def _evaluate_node(node: Node, inputs: Sequence[Array], setting: Setting) -> Array:
    if node.op == "constant":
        value: Array = node.attrs["value"].astype(setting.dtype(node.dtype))
        return value
    if node.op == "reshape":
        return inputs[0].reshape(setting.shape(node.shape))
    if node.op == "stop_gradient":
        return inputs[0]
    if node.op == "check_index":
        return _checked(node, inputs[0], setting.size(node.attrs["extent"]))
    if node.op == "call":
        return _called(node, inputs, setting)
    if node.op == "compute":
        return _computed(node, inputs, setting)
    raise VerificationError(f"{node!r} cannot be evaluated", found=f"operation {node.op!r}")


def _checked(node: Node, values: Array, extent: int) -> Array:
    if values.size and not (values.min() >= 0 and values.max() < extent):
        raise IndexRangeError(
            "an index is out of range",
            found=f"from {values.min()} to {values.max()}",
            expected=f"0 <= index < {extent}",
            loc=node.loc,
        )
    return values


def _called(node: Node, inputs: Sequence[Array], setting: Setting) -> Array:
    """What the subgraph computes, at the same dims."""
    assert node.subgraph is not None
    result = Graph({"result": node.subgraph.outputs[node.attrs["output"]]})
    env = dict(zip(node.attrs["arguments"], inputs, strict=True))
    return evaluate(result, env, dtype=setting.real, dims=setting.dims)["result"]


def _computed(node: Node, inputs: Sequence[Array], setting: Setting) -> Array:
    """The formulas side by side: no two write one element, and what none writes is 0."""
    shape = setting.shape(node.shape)
    result: Array = np.zeros(shape, setting.dtype(node.dtype))
    written = np.zeros(shape, bool)
    for piece in node.pieces:
        values, covered = evaluate_formula(node, piece, inputs, setting)
        if (written & covered).any():
            raise VerificationError(f"{node!r}: two formulas write one element", loc=node.loc)
        result[covered] = values[covered]
        written |= covered
    return result
