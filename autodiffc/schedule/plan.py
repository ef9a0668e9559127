"""The plan of one entry graph: which kernels run, in which order, on which memory.

A *slot* says where a value lives: a caller's array, a place in the parameter, state or gradient
buffer, the arena, or a constant of the module. A *call* is one kernel with a slot for each of its
parameters, or a copy; `wanted_by` names the graph outputs that need it, so that an entry point can
leave out what nobody asked for.

Values that leave the graph are written where they belong by the kernel that computes them, if that
is safe: the destination is always there, nobody else reads the value, and, for parameters and
states updated in place, everyone else has read the old value before. A value whose destination the
caller may leave out, while its kernel is needed for others, has a place in the arena too, for then.
Otherwise values are copied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from autodiffc.graph.dag import Graph, ancestors
from autodiffc.graph.extents import ExtentLike, defaults, product, substitute
from autodiffc.graph.node import LEAVES, Node
from autodiffc.schedule.arena import Life, aligned, pack
from autodiffc.schedule.join import Demand, join_rows
from autodiffc.schedule.kernels import (
    Group,
    are_twins,
    arguments,
    group_nodes,
    identifier,
    reads_in_place,
    storage,
)
from autodiffc.schedule.program import GENERAL, GRADIENT, NEXT, OUTPUT, PARAM, split_key

ITEM_BYTES = {"bool": 1, "uint8": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}
FOREVER = 1 << 40
HEADER_BYTES = 64  # the workspace begins with a mark that says what it holds, and with open dims


@dataclass(frozen=True)
class Slot:
    """Where a value lives: which kind of place, and its name there.

    `kind` is arena, input, scalar, cotangent, param, state, constant, output or gradient. Places
    of different kinds may have one name. A cotangent, named by its output, is the caller's array,
    or zeros in the arena.
    """

    kind: str
    name: str
    dtype: str
    offset: int = 0  # bytes in the arena
    bytes: int = 0
    caller: Slot | None = None  # the output or gradient that stands in for the arena where given


@dataclass(frozen=True)
class Call:
    """One kernel, or (with `group` None) a copy from the second slot to the first.

    `results` are the members of the group whose values are stored; they are the last of the
    kernel's arguments, to which `slots` correspond.
    """

    group: Group | None
    results: tuple[Node, ...]
    slots: tuple[Slot, ...]
    wanted_by: frozenset[str]
    phase: int
    size: ExtentLike = 0  # elements, of a copy

    @property
    def overlapping(self) -> tuple[Node, ...]:
        """Results that overwrite an operand, and these operands."""
        if self.group is None:
            return ()
        nodes, count = arguments(self.group, self.results), len(self.slots) - len(self.results)
        shared = {*self.slots[:count]} & {*self.slots[count:]}
        return tuple(n for n, slot in zip(nodes, self.slots, strict=True) if slot in shared)


@dataclass(frozen=True)
class Plan:
    """The calls of one graph; `needs` maps each leaf to the outputs that read it."""

    calls: tuple[Call, ...]
    arena_bytes: int
    arena: Mapping[str, tuple[int, int]]  # name -> (offset, bytes)
    needs: Mapping[Node, frozenset[str]]


class Planner:
    """Builds the plan of one graph; `largest` gives every open dim its greatest value.

    With `rows` False no groups are joined to row kernels (`schedule/join.py`).
    """

    def __init__(self, graph: Graph, largest: Mapping[str, int], *, rows: bool = True) -> None:
        self.graph, self.largest = graph, largest
        self.keys = dict(graph.outputs)
        self.wanted = _wanted(graph)
        forward = [n for k, n in self.keys.items() if split_key(k)[0] in (OUTPUT, NEXT, PARAM)]
        self.forward = _with_positions(set(ancestors(forward)), graph)
        checks = [n for n in graph.order if n.op == "check_index"]
        self.early = set(ancestors(checks))
        groups = group_nodes(graph.order, self.variant)
        if rows:
            updates = {storage(n) for k, n in self.keys.items() if split_key(k)[0] in (PARAM, NEXT)}
            groups = join_rows(groups, self.variant, Demand(self.wanted, self.phase, updates))
        self.groups = _checks_first(groups, self.early)
        self.group_of = {n: g for g in self.groups for n in g.nodes}
        self.readers = self._readers()

    def phase(self, node: Node) -> int:
        """0 for what outputs and updates need, 1 for what only gradients need."""
        return 0 if node in self.forward else 1

    def variant(self, node: Node) -> int:
        """Nodes that share a kernel run together: in forward, or in the same kinds of backward.

        What an index check needs shares a kernel with nothing else: it comes before everything.
        """
        early = 8 * (node in self.early)
        if node in self.forward:
            return early
        roles = {split_key(k)[0] for k in self.wanted[node]}
        return early + 1 + (GRADIENT in roles) + 2 * (GENERAL in roles)

    def _readers(self) -> dict[Node, list[Group]]:
        found: dict[Node, list[Group]] = {}
        for group in self.groups:
            for node in group.nodes:
                for operand in node.inputs:
                    home = found.setdefault(storage(operand), [])
                    if group not in home:
                        home.append(group)
        return found

    def _stored(self, group: Group) -> list[Node]:
        """The members whose values other groups or the caller need."""
        homes = {storage(n) for n in self.keys.values()}
        return [
            n
            for n in group.nodes
            if n.op == "compute"
            and (n in homes or any(g is not group for g in self.readers.get(n, [])))
        ]

    # --- Destinations ---

    def _destinations(self) -> dict[Node, list[str]]:
        found: dict[Node, list[str]] = {}
        for name, node in self.keys.items():
            found.setdefault(storage(node), []).append(name)
        return found

    def direct(self, groups: Sequence[Group]) -> dict[Node, Slot]:
        """Values that their kernel may write straight to where the caller wants them."""
        chosen: dict[Node, Slot] = {}
        for node, names in self._destinations().items():
            group = self.group_of.get(node)
            slots = {_destination(name, node) for name in names}
            if group is None or len(slots) != 1 or self._read_outside(node, group):
                continue
            (slot,) = slots
            alone = len(self._stored(group)) == 1
            if slot.kind in ("param", "state"):
                if self._in_place(node, group, slot, groups):
                    chosen[node] = slot
            elif alone or (slot.kind == "gradient" and slot.name in self._param_names()):
                chosen[node] = slot
        return chosen

    def _with_callers(self) -> dict[Node, Slot]:
        """Values that the caller's memory may hold from the start, while the call lasts."""
        chosen: dict[Node, Slot] = {}
        for node, names in self._destinations().items():
            slots = {_destination(name, node) for name in names}
            phases = {
                self.phase(node),
                *(self.phase(g.nodes[0]) for g in self.readers.get(node, [])),
            }
            phases |= {1 if split_key(name)[0] in (GRADIENT, GENERAL) else 0 for name in names}
            slot = next(iter(slots))
            caller = slot.kind == "output" or (
                slot.kind == "gradient" and slot.name not in self._param_names()
            )
            if node in self.group_of and len(slots) == len(phases) == 1 and caller:
                chosen[node] = slot
        return chosen

    def _read_outside(self, node: Node, group: Group) -> bool:
        return any(g is not group for g in self.readers.get(node, []))

    def _param_names(self) -> set[str]:
        return {str(n.name) for n in self.graph.leaves("param")}

    def _in_place(self, node: Node, group: Group, slot: Slot, groups: Sequence[Group]) -> bool:
        """Whether a leaf may be overwritten by this kernel: its last reader, element by element."""
        leaf = next(
            (n for n in self.graph.order if n.op == slot.kind and n.name == slot.name), None
        )
        if leaf is None:
            return group.kind != "extremum" or len(group.nodes) == 1
        later = groups[groups.index(group) + 1 :]
        if any(g in later for g in self.readers.get(leaf, [])):
            return False
        return reads_in_place(group, leaf)

    # --- Putting it together ---

    def plan(self) -> Plan:
        """Calls, arena and needs."""
        groups = self._with_updates_placed()
        direct = self.direct(groups)
        saved = self._saved_leaves()
        lives = self._lives(groups, direct, saved)
        names = _unique_names(lives)
        start = max(HEADER_BYTES, aligned(8 + 4 * len(self.largest)))
        offsets, total = pack({names[n]: life for n, life in lives.items()})

        def place(node: Node, kind: str, name: str) -> Slot:
            at = start + offsets[names[node]]
            return Slot(kind, name, node.dtype, at, lives[node].size)

        placed = {n: place(n, "arena", names[n]) for n in lives if "cotangent" not in n.attrs}
        given = self._with_callers()
        placed |= {n: replace(placed[n], caller=given[n]) for n in placed if n in given}
        leaves = {n: _leaf_slot(n) for n in self.graph.order if n.op in LEAVES}
        leaves |= {
            n: place(n, "cotangent", n.attrs["cotangent"]) for n in lives if "cotangent" in n.attrs
        }
        slots = {**direct, **placed, **leaves}
        late = {**slots, **placed}  # a saved leaf is read where the old value lies
        calls = [self._kernel_call(g, late if self._is_backward(g) else slots) for g in groups]
        calls = self._with_copies(calls, slots, late, direct)
        calls = [*(self._saving(leaf, slots, late) for leaf in saved), *calls]
        arena = {names[n]: (start + offsets[names[n]], life.size) for n, life in lives.items()}
        needs = {n: self.wanted[n] for n in self.graph.order if n.op in LEAVES}
        return Plan(tuple(calls), start + total, arena, needs)

    def _with_updates_placed(self) -> list[Group]:
        """The same order, but a kernel that only overwrites leaves comes right after the last
        reader of these: what it reads itself is still in the caches, and leaves the arena early.
        """
        order = sorted(self.groups, key=lambda g: self.phase(g.nodes[0]))
        waits = {g: self._waits_for(g, found) for g in order if (found := self._overwritten(g))}
        for _ in waits:  # one that has been placed may be what another one waits for
            before = list(order)
            for group, others in waits.items():
                order.remove(group)
                order.insert(max(map(order.index, others), default=-1) + 1, group)
            if order == before:
                break
        return order

    def _waits_for(self, update: Group, leaves: Sequence[Node]) -> list[Group]:
        """What must run before an update: checks, what it reads, other readers of its leaves."""
        phase = self.phase(update.nodes[0])
        readers = [g for leaf in leaves for g in self.readers.get(leaf, [])]
        sources = [self.group_of.get(storage(i)) for n in update.nodes for i in n.inputs]
        checks = [g for g in self.groups if g.kind == "check"]
        found = [g for g in (*readers, *sources, *checks) if g is not None and g is not update]
        return [g for g in dict.fromkeys(found) if self.phase(g.nodes[0]) == phase]

    def _overwritten(self, group: Group) -> list[Node]:
        """The leaves that a kernel gives their next values, if it does nothing else."""
        stored = self._stored(group)
        names = {storage(n): k for k, n in self.keys.items() if split_key(k)[0] in (PARAM, NEXT)}
        if any(n not in names or self._read_outside(n, group) for n in stored):
            return []
        slots = {_destination(names[n], n) for n in stored}
        return [
            leaf for leaf in self.graph.order if leaf.op in LEAVES and _leaf_slot(leaf) in slots
        ]

    def _saved_leaves(self) -> list[Node]:
        """Leaves whose old value is read when forward may have overwritten it already: states by
        backward, which is not given them, and what becomes the next value of another leaf."""
        late = {
            storage(node) for k, node in self.keys.items() if split_key(k)[0] in (GRADIENT, GENERAL)
        }
        late |= {n for n, found in self.readers.items() if any(map(self._is_backward, found))}
        moved = {
            storage(node)
            for k, node in self.keys.items()
            if split_key(k)[0] in (PARAM, NEXT)
            and _destination(k, node) != _leaf_slot(storage(node))
        }
        written = {_destination(k, n) for k, n in self.keys.items()}
        overwritten = {n for n in moved if _leaf_slot(n) in written}
        return [n for n in self.graph.order if n in overwritten or (n.op == "state" and n in late)]

    def _is_backward(self, group: Group) -> bool:
        return self.phase(group.nodes[0]) == 1

    def _saving(self, leaf: Node, slots: Mapping[Node, Slot], late: Mapping[Node, Slot]) -> Call:
        """The copy of an old value, before anything overwrites it."""
        pair = (late[leaf], slots[leaf])
        return Call(None, (), pair, self.wanted[leaf], 0, product(leaf.shape))

    def _bytes(self, node: Node) -> int:
        size = defaults(substitute(product(node.shape), self.largest))
        return size * ITEM_BYTES[node.dtype]

    def _lives(
        self, groups: Sequence[Group], direct: Mapping[Node, Slot], saved: Sequence[Node]
    ) -> dict[Node, Life]:
        position = {id(g): k for k, g in enumerate(groups)}
        lives: dict[Node, Life] = {}
        end_of = {
            0: max((k for k, g in enumerate(groups) if self.phase(g.nodes[0]) == 0), default=0)
        }
        end_of[1] = len(groups)
        homes = {storage(n) for n in self.keys.values()}
        for group in groups:
            for node in self._stored(group):
                if node in direct:
                    continue
                start, phase = position[id(group)], self.phase(node)
                end = start
                for reader in self.readers.get(node, []):
                    later = self.phase(reader.nodes[0]) > phase
                    end = max(end, FOREVER if later else position[id(reader)])
                if node in homes:
                    end = max(end, end_of[phase] + 1, *self._copied_at(node, end_of))
                lives[node] = Life(self._bytes(node), start, end)
        for leaf in [*saved, *(n for n in self.graph.leaves("input") if "cotangent" in n.attrs)]:
            lives[leaf] = Life(self._bytes(leaf), -1, FOREVER)
        return lives

    def _copied_at(self, node: Node, end_of: Mapping[int, int]) -> list[int]:
        """A forward value that is also a gradient is copied in the backward call."""
        roles = {split_key(k)[0] for k, n in self.keys.items() if storage(n) is node}
        late = self.phase(node) == 0 and roles & {GRADIENT, GENERAL}
        return [FOREVER] if late else [end_of[0]]

    def _kernel_call(self, group: Group, slots: Mapping[Node, Slot]) -> Call:
        results = tuple(self._stored(group))
        wanted = frozenset(k for n in group.nodes for k in self.wanted[n])
        given = tuple(slots[n] for n in arguments(group, results))
        return Call(group, results, given, wanted, self.phase(group.nodes[0]))

    def _with_copies(
        self,
        calls: list[Call],
        slots: Mapping[Node, Slot],
        late: Mapping[Node, Slot],
        direct: Mapping[Node, Slot],
    ) -> list[Call]:
        """Copies of values that could not be written in place, at the end of their phase."""
        copies: list[Call] = []
        for name, node in self.keys.items():
            home, target = storage(node), _destination(name, node)
            if home in direct or target in (slots[home], slots[home].caller):
                continue
            role, _ = split_key(name)
            phase = 1 if role in (GRADIENT, GENERAL) else 0
            pair = (target, (slots if role == OUTPUT else late)[home])
            copies.append(Call(None, (), pair, frozenset([name]), phase, product(node.shape)))
        updates = [c for c in copies if c.slots[0].kind in ("param", "state")]
        others = [c for c in copies if c.slots[0].kind not in ("param", "state")]
        first = [c for c in calls if c.phase == 0]
        second = [c for c in calls if c.phase == 1]
        before = [c for c in others if c.phase == 0]
        after = [c for c in others if c.phase == 1]
        return [*_outputs_before_updates(first, before), *updates, *second, *after]


def _outputs_before_updates(calls: list[Call], copies: list[Call]) -> list[Call]:
    """Outputs that are leaves are copied before an update overwrites the leaf."""
    cut = next((k for k, c in enumerate(calls) if _overwrites(c)), len(calls))
    early = [c for c in copies if c.slots[1].kind in ("param", "state")]
    late = [c for c in copies if c.slots[1].kind not in ("param", "state")]
    return [*calls[:cut], *early, *calls[cut:], *late]


def _overwrites(call: Call) -> bool:
    written = call.slots[len(call.slots) - len(call.results) :]
    return any(s.kind in ("param", "state") for s in written)


def _with_positions(forward: set[Node], graph: Graph) -> set[Node]:
    """The forward nodes, and the positions of extrema that forward computes: one scan for both."""
    extrema = {n for n in forward if n.op == "compute" and n.pieces[0].combine in ("max", "min")}
    return forward | {n for n in graph.order if any(are_twins(n, x) for x in extrema)}


def _wanted(graph: Graph) -> dict[Node, frozenset[str]]:
    """For each node the outputs that need it."""
    found: dict[Node, set[str]] = {n: set() for n in graph.order}
    for name, node in graph.outputs.items():
        found[node].add(name)
    for node in reversed(graph.order):
        for operand in node.inputs:
            found[operand] |= found[node]
    return {n: frozenset(k) for n, k in found.items()}


def _checks_first(groups: Sequence[Group], early: Collection[Node]) -> list[Group]:
    """Index checks, and what they need, before everything else: they come before any write."""
    return sorted(groups, key=lambda g: g.nodes[0] not in early)


def _leaf_slot(leaf: Node) -> Slot:
    if leaf.op == "constant":
        return Slot("constant", str(leaf.serial), leaf.dtype)
    if "runtime" in leaf.attrs:
        return Slot("scalar", str(leaf.name), leaf.dtype)
    return Slot(leaf.op, str(leaf.name), leaf.dtype)


def _destination(name: str, node: Node) -> Slot:
    role, target = split_key(name)
    kind = {
        OUTPUT: "output",
        NEXT: "state",
        PARAM: "param",
        GRADIENT: "gradient",
        GENERAL: "gradient",
    }
    return Slot(kind[role], target, node.dtype)


def _unique_names(nodes: Iterable[Node]) -> dict[Node, str]:
    names: dict[Node, str] = {}
    taken: set[str] = set()
    for node in nodes:
        base = identifier(node)
        name, count = base, 2
        while name in taken:
            name, count = f"{base}_{count}", count + 1
        taken.add(name)
        names[node] = name
    return names
