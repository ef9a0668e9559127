"""The caller's view of a program: names, shapes, and where things lie in the flat buffers.

Parameters share one buffer, states another (the model's, then the optimizer's), gradients a third
with the parameters' layout. Every tensor begins at a multiple of the alignment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autodiffc.graph.extents import Extent, ExtentLike, product
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Arg, Call, Const
from autodiffc.schedule.arena import ALIGNMENT
from autodiffc.schedule.kernels import is_elementwise, storage
from autodiffc.schedule.plan import ITEM_BYTES, Plan
from autodiffc.schedule.program import OUTPUT, Program, key, split_key

ABI_VERSION = 1


@dataclass(frozen=True)
class Layout:
    """A specialized program and how callers address it.

    `ranges` holds the open dims with their least and greatest value, `fixed` the others.
    """

    program: Program
    prefix: str
    dtype: str
    ranges: Mapping[str, tuple[int, int]]
    fixed: Mapping[str, int]
    dim_defaults: Mapping[str, int]
    outputs: Mapping[str, Node]  # specialized
    threads: int | None = None

    @property
    def macro(self) -> str:
        return self.prefix.upper()

    @property
    def open_dims(self) -> tuple[str, ...]:
        return tuple(self.ranges)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(self.outputs)

    @property
    def c_type(self) -> str:
        return "float" if self.dtype == "float32" else "double"

    @cached_property
    def param_offsets(self) -> dict[str, int]:
        """Elements from the start of the parameter buffer."""
        return self._offsets(self.program.params)

    @cached_property
    def state_offsets(self) -> dict[str, int]:
        """Elements of the build's type from the start of the state buffer."""
        return self._offsets((*self.program.states, *self.program.optimizer_states))

    def _offsets(self, leaves: Sequence[Node]) -> dict[str, int]:
        offsets, at = {}, 0
        for leaf in leaves:
            offsets[str(leaf.name)] = at
            at += self._padded(leaf)
        return offsets

    def _padded(self, leaf: Node) -> int:
        size = product(leaf.shape)
        assert isinstance(size, int), leaf
        blocks = -(-size * ITEM_BYTES[leaf.dtype] // ALIGNMENT)
        return blocks * ALIGNMENT // ITEM_BYTES[self.dtype]

    @property
    def param_elements(self) -> int:
        return sum(self._padded(p) for p in self.program.params)

    @property
    def state_elements(self) -> int:
        return sum(self._padded(s) for s in (*self.program.states, *self.program.optimizer_states))

    @property
    def input_grads(self) -> tuple[Node, ...]:
        return tuple(n for n in self.program.inputs if n.name in self.program.wrt)

    @property
    def has_backward(self) -> bool:
        return bool(self.program.wrt)

    def manifest(self, plans: Mapping[str, Plan]) -> dict[str, Any]:
        """Everything that a caller in another language needs to know, as plain data."""
        program = self.program
        return {
            "name": program.name,
            "prefix": self.prefix,
            "dtype": self.dtype,
            "abi_version": ABI_VERSION,
            "alignment": ALIGNMENT,
            "dims": self._dims(),
            "inputs": [_input(n, _index_limits(n, plans)) for n in program.inputs],
            "scalars": [_scalar(n) for n in program.scalars],
            "outputs": [self._output(name, plans) for name in self.outputs],
            "params": [self._leaf(n, self.param_offsets) for n in program.params],
            "states": [
                self._leaf(n, self.state_offsets) | {"optimizer": n in program.optimizer_states}
                for n in (*program.states, *program.optimizer_states)
            ],
            "param_elements": self.param_elements,
            "state_elements": self.state_elements,
            "differentiate": program.differentiate,
            "cotangents": [n.attrs["cotangent"] for n in program.cotangents],
            "wrt": list(program.wrt),
            "input_grads": [
                {"name": n.name, "shape": shape_data(n.shape), "dtype": n.dtype}
                for n in self.input_grads
            ],
            "entries": self.entries,
            "arena_bytes": self.arena_bytes(plans),
            "threads": self.threads,
        }

    @property
    def entries(self) -> list[str]:
        names = ["predict", "forward"]
        if self.has_backward:
            names.append("backward")
        return names + (["step"] if "step" in self.program.graphs else [])

    def arena_bytes(self, plans: Mapping[str, Plan]) -> dict[str, int]:
        training = [p.arena_bytes for name, p in plans.items() if name != "predict"]
        predict = plans["predict"].arena_bytes
        return {"training": max([*training, predict]), "predict": predict}

    def _dims(self) -> dict[str, Any]:
        found: dict[str, Any] = {n: {"value": v, "open": False} for n, v in self.fixed.items()}
        for name, (low, high) in self.ranges.items():
            found[name] = {
                "default": self.dim_defaults[name],
                "low": low,
                "high": high,
                "open": True,
            }
        return found

    def _output(self, name: str, plans: Mapping[str, Plan]) -> dict[str, Any]:
        node = self.outputs[name]
        needs = plans["predict"].needs
        wanted = key(OUTPUT, name)
        given = {n.name for n in self.program.inputs}
        return {
            "name": name,
            "shape": shape_data(node.shape),
            "dtype": node.dtype,
            "needs": [n.name for n, keys in needs.items() if wanted in keys and n.name in given],
        }

    def _leaf(self, node: Node, offsets: Mapping[str, int]) -> dict[str, Any]:
        return {
            "name": node.name,
            "shape": list(node.shape),
            "dtype": node.dtype,
            "offset": offsets[str(node.name)],
            "size": product(node.shape),
            "init": node.attrs["init"],
        }


def _scalar(node: Node) -> dict[str, Any]:
    return {"name": node.name, "default": node.attrs["runtime"], "low": node.attrs["low"]}


def _index_limits(leaf: Node, plans: Mapping[str, Plan]) -> dict[str, Any]:
    """The extents of the axes in which the elements of an input are indices, and values that are
    let pass, since they count for nothing."""
    groups = [c.group for plan in plans.values() for c in plan.calls if c.group is not None]
    checks = [n for g in groups if g.kind == "check" for n in g.nodes]
    extents: dict[ExtentLike, None] = {}
    ignored = set()
    for check in checks:
        source, value = _without_ignored(storage(check))
        # by name: passes renew nodes, and no two inputs share one
        if source.op == "input" and source.name == leaf.name:
            extents[check.attrs["extent"]] = None
            ignored |= {value} - {None}
    return {"index_below": shape_data(list(extents)), "index_ignored": sorted(ignored)}


def _without_ignored(node: Node) -> tuple[Node, Any]:
    """`x` and `value` where the node is x, or `where(x != value, x, 0)` as losses write it."""
    x, zero = Arg(0), Const(0, node.dtype)
    body = node.formula.body if is_elementwise(node) and len(node.inputs) == 1 else None
    if isinstance(body, Call) and body.function == "where" and body.args[1:] == (x, zero):
        test = body.args[0]
        if isinstance(test, Call) and test.function == "ne" and isinstance(test.args[1], Const):
            return storage(node.inputs[0]), test.args[1].value
    return node, None


def _input(node: Node, limits: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": node.name,
        "shape": shape_data(node.shape),
        "dtype": node.dtype,
        "low": node.attrs.get("low"),
        "high": node.attrs.get("high"),
        **limits,
    }


def shape_data(shape: Sequence[ExtentLike]) -> list[Any]:
    """A shape as plain data: integers, or `{"dim", "coefficient", "constant"}`."""
    found: list[Any] = []
    for extent in shape:
        if not isinstance(extent, Extent):
            found.append(extent)
            continue
        linear = extent.linear()
        assert linear is not None, extent
        coefficient, dim, constant = linear
        found.append({"dim": dim.name, "coefficient": coefficient, "constant": constant})
    return found


__all__ = ["Layout", "shape_data", "split_key"]
