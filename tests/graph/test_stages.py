"""Graphs keep to their grammar at every boundary: every sample of every operation, its gradient,
and both after every pass."""

from __future__ import annotations

from collections import defaultdict

import pytest

import autodiffc as ad
from autodiffc.errors import DifferentiationError
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import as_node
from autodiffc.graph.node import Node
from autodiffc.graph.verify import verify
from autodiffc.lower import PASSES
from autodiffc.passes import specialize
from tests.samples import Sampled, all_samples

SAMPLES: dict[str, list[Sampled]] = defaultdict(list)
for _sample in all_samples():
    SAMPLES[_sample.operation.name].append(_sample)


def values_and_gradients(sample: Sampled) -> Graph:
    outputs: dict[str, Node] = {f"y{k}": as_node(r) for k, r in enumerate(sample.results)}
    for name in sample.floating if sample.loss is not None else ():
        try:
            gradient = ad.grad(sample.loss, sample.leaves[name])
        except DifferentiationError:
            continue  # refused by name, which tests/differentiate looks at
        outputs[f"d_{name}"] = as_node(gradient)
    return Graph(outputs)


@pytest.mark.parametrize("operation", SAMPLES)
def test_every_stage_keeps_to_the_grammar(operation: str) -> None:
    for sample in SAMPLES[operation]:
        graph = values_and_gradients(sample)
        verify(graph, "graph")
        graph = specialize(graph, {}, "float32")
        verify(graph, "specialize")
        for name, improve in PASSES:
            graph = improve(graph)
            verify(graph, name)
