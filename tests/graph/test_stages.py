"""Graphs keep to their grammar at every boundary: values and gradients of every sample of every
operation, and all entries of a whole model, as they are made and after every pass."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

import autodiffc as ad
from autodiffc.dsl.files import load_file
from autodiffc.errors import DifferentiationError
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import as_node
from autodiffc.graph.node import Node
from autodiffc.graph.verify import verify
from autodiffc.lower import passes
from autodiffc.passes import specialize
from autodiffc.schedule.program import build_program
from autodiffc.targets import native
from tests.samples import Sampled, all_samples

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
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


def verify_stages(graph: Graph, dims: dict[str, int]) -> None:
    verify(graph, "graph")
    graph = specialize(graph, dims, "float32")
    verify(graph, "specialize")
    for name, improve in passes(native()):
        graph = improve(graph)
        verify(graph, name)


@pytest.mark.parametrize("operation", SAMPLES)
def test_every_stage_keeps_to_the_grammar(operation: str) -> None:
    for sample in SAMPLES[operation]:
        verify_stages(values_and_gradients(sample), {})


@pytest.mark.parametrize("dims", [{}, {"batch": 3}], ids=["open batch", "batch of 3"])
def test_every_entry_of_lenet5(dims: dict[str, int]) -> None:
    """Forward, backward and the optimizer's step of a whole model."""
    model = load_file(EXAMPLES / "lenet5.py")
    assert isinstance(model, ad.Model)
    graphs = build_program(model).graphs
    assert {"predict", "step"} <= graphs.keys()
    for graph in graphs.values():
        verify_stages(graph, dims)
