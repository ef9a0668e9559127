"""Carries out the rows of a derivation, step by step, in the order that the table prescribes.

Every step is evaluated from what earlier steps have left, so that a row that is missing, wrong, or
out of order shows in the gradients. Values such as softmax(z) come from the NumPy references.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from autodiffc.explain.derivation import Derivation, Step
from autodiffc.graph.construct import leaf
from autodiffc.graph.node import Node, renew
from autodiffc.ops.registry import OPERATIONS
from autodiffc.reference.interpreter import evaluate


class Table:
    """The values and gradients of a derivation, by the names that it shows."""

    def __init__(
        self, derivation: Derivation, given: Mapping[str, Any], dims: Mapping[str, int]
    ) -> None:
        self.dims = dims
        self.values: dict[Node, np.ndarray] = {
            node: np.asarray(given[str(node.name)])
            for node in derivation.leaves
            if node.name in given
        }
        self.gradients: dict[Node, np.ndarray] = {}
        for step in (*derivation.forward, *derivation.backward):
            self._carry_out(step)
        self.named = {
            derivation.name_of(node): value
            for node, value in (*self.values.items(), *self.gradients.items())
        }

    def _carry_out(self, step: Step) -> None:
        if step.kind == "value":
            self.values[step.node] = self._value(step.node)
        elif step.kind == "add":
            before = self.gradients.get(step.target, np.float64(0.0))
            self.gradients[step.target] = np.asarray(before + self._value(step.node))
        else:
            self.gradients[step.node] = np.array(float(step.kind == "seed"))

    def _value(self, node: Node) -> np.ndarray:
        """One formula over operands that are already known."""
        stand_ins = [
            leaf("input", f"operand{k}", n.shape, n.dtype) for k, n in enumerate(node.inputs)
        ]
        env = {s: self._known(n) for s, n in zip(stand_ins, node.inputs, strict=True)}
        bare = renew(node, inputs=tuple(stand_ins))
        return evaluate({"value": bare}, env, dims=self.dims)["value"]

    def _known(self, node: Node) -> np.ndarray:
        if node.op == "applied":
            reference = OPERATIONS[node.attrs["function"]].reference
            return np.asarray(reference(self._known(node.inputs[0]), axis=node.attrs["axis"]))
        return self.values[node] if node in self.values else self.gradients[node]


def row_texts(text: str) -> tuple[list[str], list[str]]:
    """Both columns of printed rows that are not wrapped, in the order of the page."""
    lines = text.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("forward ↓"))
    column = lines[start].index("backward")
    rows = list(_until_empty(lines[start + 1 :]))
    return [r[:column].strip() for r in rows], [r[column:].strip() for r in rows]


def _until_empty(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line:
            return
        yield line
