"""The grammar of single nodes: what `verify` checks before it looks at their formulas.

Every operation has its number of inputs, a type that follows from them, and its attributes; see
`node` for what the operations mean.
"""

from __future__ import annotations

from typing import NoReturn

from autodiffc.errors import VerificationError
from autodiffc.graph.extents import product, shape_text
from autodiffc.graph.node import LEAVES, OPERATIONS, Node
from autodiffc.graph.types import is_integer

WITH_CALLS = ("graph", "differentiate")  # the stages before `inline`


def fail(
    node: Node, stage: str, message: str, *, found: object = None, expected: object = None
) -> NoReturn:
    raise VerificationError(
        f"after {stage}, {node!r}: {message}", found=found, expected=expected, loc=node.loc
    )


def check_node(node: Node, stage: str) -> None:
    if node.op not in OPERATIONS:
        fail(node, stage, "unknown operation", found=node.op, expected=", ".join(OPERATIONS))
    if (node.op == "call") != (node.subgraph is not None):
        fail(node, stage, "subgraphs belong to calls", found=f"subgraph={node.subgraph}")
    if (node.op == "compute") != bool(node.pieces):
        fail(node, stage, "formulas belong to compute nodes", found=f"{len(node.pieces)} formulas")
    arity = 0 if node.op in LEAVES else None if node.op in ("compute", "call") else 1
    if arity is not None and len(node.inputs) != arity:
        fail(node, stage, "wrong number of inputs", found=len(node.inputs), expected=arity)
    for extent in node.shape:
        if isinstance(extent, int) and extent < 0:
            fail(node, stage, "negative extent", found=shape_text(node.shape))
    if node.op in ("input", "param", "state") and not node.name:
        fail(node, stage, "a leaf needs a name")
    if node.op == "constant":
        _check_constant(node, stage)
    elif node.op == "reshape":
        _check_reshape(node, stage)
    elif node.op in ("stop_gradient", "check_index"):
        _check_pass_through(node, stage)
    elif node.op == "call":
        _check_call(node, stage)


def _check_constant(node: Node, stage: str) -> None:
    value = node.attrs.get("value")
    if getattr(value, "shape", None) != node.shape:
        fail(
            node,
            stage,
            "a constant needs a value of its shape",
            found=getattr(value, "shape", None),
            expected=shape_text(node.shape),
        )


def _check_reshape(node: Node, stage: str) -> None:
    (x,) = node.inputs
    if product(x.shape) != product(node.shape) or x.dtype != node.dtype:
        fail(
            node,
            stage,
            "reshape keeps the elements",
            found=str(x.type),
            expected=f"{product(node.shape)} elements of {node.dtype}",
        )


def _check_call(node: Node, stage: str) -> None:
    """A closed subgraph that keeps the grammar itself, and inputs of its inputs' types."""
    assert node.subgraph is not None
    if stage not in WITH_CALLS:
        fail(node, stage, "a call that was not inlined", found=node.op)
    result = node.subgraph.outputs.get(node.attrs.get("output", ""))
    if result is None or result.type != node.type:
        fail(node, stage, "a call has its output's type", found=repr(result), expected=node.type)
    given = dict(zip(node.attrs["arguments"], node.inputs, strict=False))
    if len(node.attrs["arguments"]) != len(node.inputs):
        fail(node, stage, "a call has a name for each input", found=node.attrs["arguments"])
    for inner in node.subgraph.order:
        if inner.op in ("param", "state"):
            fail(node, stage, "a called graph is closed", found=repr(inner), expected="inputs")
        x = given.get(inner.name) if inner.op == "input" else inner
        if x is None or x.type != inner.type:
            fail(node, stage, "a call takes its graph's inputs", found=repr(x), expected=inner)


def _check_pass_through(node: Node, stage: str) -> None:
    (x,) = node.inputs
    if x.type != node.type:
        fail(node, stage, f"{node.op} keeps its type", found=str(x.type), expected=str(node.type))
    if node.op == "check_index":
        if not is_integer(node.dtype):
            fail(node, stage, "an index is an integer", found=node.dtype)
        if "extent" not in node.attrs:
            fail(node, stage, "check_index needs an extent")
