"""A plan run on memory that holds names of values instead of numbers.

Every place (a caller's array, a leaf's place in its buffer, a range of bytes in the arena) holds
the node whose value lies there. A kernel may read a place only while it holds the very node that
the kernel's formula means, and writing to bytes of the arena destroys whatever overlaps them. So a
plan that passes is right about order, lives, overlaps and copies at once, without a word about how
the planner found it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from autodiffc.graph.dag import Graph
from autodiffc.graph.node import LEAVES, Node
from autodiffc.schedule.kernels import arguments, storage
from autodiffc.schedule.plan import Call, Plan, Slot
from autodiffc.schedule.program import GENERAL, GRADIENT, NEXT, OUTPUT, PARAM, split_key

DESTINATIONS = {
    OUTPUT: "output",
    NEXT: "state",
    PARAM: "param",
    GRADIENT: "gradient",
    GENERAL: "gradient",
}
Place = tuple[str, str]  # kind and name


@dataclass
class Memory:
    """What lies where. `places` are the caller's arrays, `ranges` pieces of the arena."""

    plan: Plan
    places: dict[Place, Node] = field(default_factory=dict)
    ranges: dict[tuple[int, int], Node] = field(default_factory=dict)
    given: Set[Place] = frozenset()  # the outputs and gradients that the caller asks for

    def read(self, slot: Slot) -> Node | None:
        slot = self._meant(slot)
        span = self._span(slot)
        return self.places.get((slot.kind, slot.name)) if span is None else self.ranges.get(span)

    def write(self, slot: Slot, value: Node) -> None:
        slot = self._meant(slot)
        span = self._span(slot)
        if span is None:
            self.places[slot.kind, slot.name] = value
            return
        start, end = span
        lost = [r for r in self.ranges if r[0] < end and start < r[1]]
        for overlapped in lost:
            del self.ranges[overlapped]
        self.ranges[span] = value

    def _meant(self, slot: Slot) -> Slot:
        """What the caller gave instead of a place in the arena."""
        caller = slot.caller
        return caller if caller and (caller.kind, caller.name) in self.given else slot

    def _span(self, slot: Slot) -> tuple[int, int] | None:
        """The bytes of a value in the arena; cotangents that are not given are zeros there."""
        if slot.kind not in ("arena", "cotangent"):
            return None
        offset, size = slot.offset, slot.bytes
        if slot.kind == "arena":
            offset, size = self.plan.arena[slot.name]
        return offset, offset + max(size, 1)


def start(graph: Graph, plan: Plan) -> Memory:
    """The memory before a call: every leaf holds its value, everything else nothing."""
    memory = Memory(plan)
    for leaf in (n for n in graph.order if n.op in LEAVES and "cotangent" not in n.attrs):
        name = str(leaf.serial) if leaf.op == "constant" else str(leaf.name)
        memory.places["scalar" if "runtime" in leaf.attrs else leaf.op, name] = leaf
    return memory


def run_phase(memory: Memory, graph: Graph, phase: int, active: Set[str]) -> None:
    """The calls of one phase that the active graph outputs need, and what they leave behind."""
    if phase == 1:
        leaves = {n.attrs["cotangent"]: n for n in graph.order if "cotangent" in n.attrs}
        for slot in {s for c in memory.plan.calls for s in c.slots if s.kind == "cotangent"}:
            memory.write(slot, leaves[slot.name])
        for place in [p for p in memory.places if p[0] == "output"]:
            del memory.places[place]  # backward is not given them
    memory.given = allowed = {destination(key) for key in active}
    needed = active if phase == 1 else active | keys_of(graph, GRADIENT, GENERAL)
    for call in memory.plan.calls:
        if call.phase == phase and call.wanted_by & needed:
            _run(memory, call, allowed)
    for key in active:
        home = storage(graph.outputs[key])
        assert memory.places.get(destination(key)) is home, f"{key} does not hold its value"


def _run(memory: Memory, call: Call, allowed: Set[Place]) -> None:
    if call.group is None:
        target, source = call.slots
        value = memory.read(source)
        assert value is not None, f"copied from {source}, which holds nothing"
        memory.write(target, value)
        return
    nodes = arguments(call.group, call.results)
    assert len(nodes) == len(call.slots)
    count = len(call.slots) - len(call.results)
    for node, slot in list(zip(nodes, call.slots, strict=True))[:count]:
        held = memory.read(slot)
        assert held is node, f"{slot} holds {held}, but {node} is read"
    for node, slot in list(zip(nodes, call.slots, strict=True))[count:]:
        if slot.kind != "arena":
            assert (slot.kind, slot.name) in allowed, f"{slot} is written, but not asked for"
        memory.write(slot, node)


def destination(key: str) -> Place:
    role, name = split_key(key)
    return DESTINATIONS[role], name


def keys_of(graph: Graph, *roles: str) -> set[str]:
    return {k for k in graph.outputs if split_key(k)[0] in roles}
