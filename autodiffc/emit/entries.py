"""The entry points: checks, pointers into the arena, then one call after another.

Every call of the plan becomes one line. Calls that only some outputs need stand behind a condition
on the pointers that the caller gave. Where threads share kernels, the calls stand in a function of
their own, which every thread of the team runs (`steps.py`).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol

from autodiffc.emit.conditions import Condition, any_of
from autodiffc.emit.constants import collect_constants, constant_name, numbered
from autodiffc.emit.layout import Layout
from autodiffc.emit.statements import wrapped_list
from autodiffc.emit.steps import (
    Step,
    accesses,
    before_team,
    serial_lines,
    team_lines,
    team_pays,
)
from autodiffc.emit.structs import offset_macro, prototypes
from autodiffc.emit.values import C_TYPES, constant_text, extent_text
from autodiffc.graph.extents import product
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Const
from autodiffc.loops.ir import Kernel
from autodiffc.loops.team import bounds
from autodiffc.schedule.effort import memory_effort
from autodiffc.schedule.plan import ITEM_BYTES, Call, Plan, Slot
from autodiffc.schedule.program import GENERAL, GRADIENT, NEXT, OUTPUT, split_key
from autodiffc.schedule.words import ENTRY_WORDS, dim_variable

INDENT = "    "
Declaration = tuple[str, list[str]]  # a local variable, and the lines that declare it


class KernelNames(Protocol):
    """What the writer asks of the module's kernels."""

    kernels: dict[str, Kernel]
    gate: int | None
    ranges: Mapping[str, tuple[int, int]]

    def name_of(self, call: Call) -> str: ...


class EntryWriter:
    """Writes the entry points of one module."""

    def __init__(self, layout: Layout, plans: Mapping[str, Plan], kernels: KernelNames) -> None:
        self.layout, self.plans, self.kernels = layout, plans, kernels
        self.constants = numbered(collect_constants(plans))

    def entries(self) -> list[str]:
        """Definitions of the default scalars, then of each entry point."""
        defaults = [
            f"static const {self.layout.c_type} default_{n.name} = "
            f"{constant_text(Const(float(n.attrs['runtime']), self.layout.dtype))};"
            for n in self.layout.program.scalars
        ]
        return (
            ["\n".join(defaults), *(self._entry(e) for e in self.layout.entries)]
            if defaults
            else [self._entry(e) for e in self.layout.entries]
        )

    def _entry(self, entry: str) -> str:
        names = ["workspace_bytes", *self.layout.entries]
        head, _, rest = prototypes(self.layout)[names.index(entry)].partition("(")
        plan = self.plans["training" if entry in ("forward", "backward") else entry]
        phase = 1 if entry == "backward" else 0
        calls = [c for c in plan.calls if c.phase == phase]
        params = rest.removesuffix(")").split(", ")
        return _Body(self, plan, entry).text(calls, head, params)


def _function(head: str, params: Sequence[str], lines: Sequence[str]) -> str:
    """A function; parameters that its lines do not mention are named once, lest compilers warn."""
    words = _words(lines)
    unused = [f"(void){n};" for n in map(_param_name, params) if n not in words]
    signature = wrapped_list(f"{head}(", params, ")")
    return "\n".join([*signature, "{", *(INDENT + x if x else x for x in [*unused, *lines]), "}"])


def _param_name(param: str) -> str:
    return re.split(r"[\s*]+", param)[-1]


def needed(declarations: Sequence[Declaration], lines: Sequence[str]) -> list[str]:
    """The lines of those that the text mentions, or another one that it needs."""
    found: list[str] = []
    words = _words(lines)
    for name, declared in reversed(declarations):
        if name in words:
            found = [*declared, *found]
            words |= _words(declared)
    return found


def _words(lines: Iterable[str]) -> set[str]:
    """Names in C, without those of members."""
    text = re.sub(r"/\*.*?\*/", "", "\n".join(lines))
    return set(re.findall(r"(?<!->)(?<!\.)\b[A-Za-z_]\w*", text))


class _Locals:
    """Names of local variables: one for each thing, and none that hides what the text uses."""

    def __init__(self, taken: Iterable[str], families: tuple[str, ...]) -> None:
        self._taken, self._families = set(taken), families
        self._names: dict[Hashable, str] = {}

    def of(self, thing: Hashable, preferred: str) -> str:
        """The name of a thing, the preferred one if it is free."""
        if thing not in self._names:
            name = f"value_{preferred}" if preferred.startswith(self._families) else preferred
            while name in self._taken:
                name = f"value_{name}"
            self._taken.add(name)
            self._names[thing] = name
        return self._names[thing]


class _Body:
    """The statements of one entry point."""

    def __init__(self, writer: EntryWriter, plan: Plan, entry: str) -> None:
        self.writer, self.plan, self.entry = writer, plan, entry
        self.layout = writer.layout
        self.prefix, self.macro = self.layout.prefix, self.layout.macro
        self.used: dict[Slot, str] = {}  # values in the arena and their local pointers
        self.locals = _Locals(
            self._module_names(), ("kernel_", f"{self.prefix}_", f"{self.macro}_")
        )
        self.before_backward = self._inputs_of_backward()

    def _module_names(self) -> frozenset[str]:
        defaults = {f"default_{n.name}" for n in self.layout.program.scalars}
        return ENTRY_WORDS | defaults | {dim_variable(d) for d in self.layout.open_dims}

    def text(self, calls: Sequence[Call], head: str, params: Sequence[str]) -> str:
        """The entry point, after a function with the steps of a team where it has any."""
        null_checks, zeros = self._null_checks(calls), self._cotangent_zeros(calls)
        steps = [self._step(call) for call in calls]
        declarations = [*self._wanted(), *self._variables(), *self._cotangents(calls)]
        before = before_team(steps)
        alone, shared = steps[:before], steps[before:]
        functions: list[str] = []
        lines = [*null_checks, *self._start(), *zeros]
        if pays := self._team_pays(shared):
            name, inner = f"{self.entry}_calls", team_lines(shared)
            inner = [*needed(declarations, inner), *inner]
            title = f"/* The steps of {self.prefix}_{self.entry} for each thread of a team */\n"
            typed = [*params, "team_part team"]
            functions.append(title + _function(f"AUTODIFFC_ONCE static void {name}", typed, inner))
            lines += [*serial_lines(alone), *self._run(pays, name, params)]
        else:
            lines += serial_lines(steps)
        lines += self._epilogue()
        declarations.append(("team", ["const team_part team = one_thread;"]))
        lines = [*self._checks(), *needed(declarations, lines), *lines]
        return "\n\n".join([*functions, _function(head, params, lines)])

    def _team_pays(self, steps: Sequence[Step]) -> bool | list[str]:
        kernels = self.writer.kernels
        if kernels.gate is None or not any(step.team for step in steps):
            return False
        return team_pays(steps, kernels.gate, kernels.ranges)

    def _run(self, pays: bool | list[str], name: str, params: Sequence[str]) -> list[str]:
        """The call of the steps, by as many threads as there may be and have something to do."""
        count = f"team_limit(workspace->threads, {self.layout.threads or 0})"
        lines: list[str] = []
        if isinstance(pays, list):
            lines += ["int64_t gain = 0; /* by having a team */"]
            lines += [f"gain += {term};" for term in pays]
            count = f"gain >= 0 ? {count} : 1"
        given = ["threads", name, *map(_param_name, params)]
        run = wrapped_list("AUTODIFFC_RUN(", given, ")", 92)
        return [*lines, f"const int threads = {count};", *run]

    # --- Checks ---

    def _checks(self) -> list[str]:
        size = "PREDICT" if self.entry == "predict" else "TRAINING"
        lines = [
            "const int inputs_status = inputs_check(inputs);",
            f"if (inputs_status != {self.macro}_OK) return inputs_status;",
            f"const int status = workspace_check(workspace, {self.macro}_ARENA_BYTES_{size});",
            f"if (status != {self.macro}_OK) return status;",
            "workspace_header *const header = workspace->memory;",
        ]
        if self.entry == "backward":
            same = "".join(f" || header->dim_{d} != inputs->{d}" for d in self.layout.open_dims)
            lines.append(
                f"if (header->mark != AUTODIFFC_FORWARD_DONE{same}) "
                f"return {self.macro}_E_NO_FORWARD;"
            )
            if self.layout.program.differentiate is None:
                lines.append(f"if (!cotangents) return {self.macro}_E_NULL;")
        return lines

    def _wanted(self) -> list[Declaration]:
        """Which outputs (input gradients) the caller asks for."""
        lines: list[Declaration] = []
        if self.entry == "backward":
            found = [("gradient", str(n.name), n.dtype) for n in self.layout.input_grads]
            source = "input_grads"
            lines.append(("general", ["const int general = cotangents != NULL;"]))
        else:
            found = [("output", name, n.dtype) for name, n in self.layout.outputs.items()]
            source = "outputs"
        for kind, name, dtype in found:
            target = self._target(kind, name)
            text = f"{C_TYPES[dtype]} *const {target} = {source} ? {source}->{name} : NULL;"
            lines.append((target, [text]))
        if self.before_backward:
            given = " && ".join(f"inputs->{name} != NULL" for name in self.before_backward)
            text = f"const int for_backward = {given}; /* whether backward can follow */"
            lines.append(("for_backward", [text]))
        return lines

    def _target(self, kind: str, name: str) -> str:
        return self.locals.of((kind, name), f"{'out' if kind == 'output' else 'grad'}_{name}")

    def _inputs_of_backward(self) -> list[str]:
        """The inputs that `forward` needs only if `backward` shall follow, or for some outputs."""
        if self.entry != "forward":
            return []
        leaves = {n: k for n, k in self.plan.needs.items() if "cotangent" not in n.attrs}
        roles = {n.name: {split_key(k)[0] for k in keys} for n, keys in leaves.items()}
        return [
            str(n.name)
            for n in self.layout.program.inputs
            for found in [roles.get(n.name, set())]
            if found & {GRADIENT, GENERAL} and NEXT not in found
        ]

    def _null_checks(self, calls: Sequence[Call]) -> list[str]:
        """Pointers that the calls which will run read, and that are not there."""
        lines = []
        for node in self.layout.program.inputs:
            keys = [
                c.wanted_by
                for c in calls
                if any(s.kind == "input" and s.name == node.name for s in c.slots)
            ]
            if not keys:
                continue
            condition = self.condition(frozenset().union(*keys))
            if node.name in self.before_backward:
                condition = condition.without("for_backward")
            test = f"!inputs->{node.name}"
            if len(condition.terms) > 1:
                test = f"{test} && ({condition})"
            elif condition.terms and not condition.always:
                test = f"{test} && {condition}"
            if condition.terms:
                lines.append(f"if ({test}) return {self.macro}_E_NULL;")
        used = {s.kind for c in calls for s in c.slots}
        if self.entry == "backward":
            lines.append(f"if (!grads && {self.macro}_PARAM_COUNT > 0) return {self.macro}_E_NULL;")
        for kind, pointer in (("param", "params"), ("state", "state")):
            if kind in used:
                lines.append(f"if (!{pointer}) return {self.macro}_E_NULL;")
        return lines

    # --- Conditions ---

    def condition(self, wanted: frozenset[str]) -> Condition:
        """When a call is needed."""
        terms = [self._term(key) for key in wanted]
        return any_of(term for term in terms if term is not None)

    def _term(self, key: str) -> list[str] | None:
        """When one graph output is wanted; None if it says nothing about this entry."""
        role, name = split_key(key)
        if self.entry != "backward":
            if role == OUTPUT:
                return [self._target("output", name)]
            later = role in (GRADIENT, GENERAL) and self.before_backward
            return ["for_backward"] if later else []
        if role not in (GRADIENT, GENERAL):
            return None
        variant = "general" if role == GENERAL else "!general"
        if any(n.name == name for n in self.layout.input_grads):
            return [variant, self._target("gradient", name)]
        return [variant]

    # --- Local variables ---

    def _variables(self) -> list[Declaration]:
        """Open dims, run-time scalars, and where the values lie that live in the arena."""
        found: list[Declaration] = []
        for d in self.layout.open_dims:
            found.append((dim_variable(d), [f"const int64_t {dim_variable(d)} = inputs->{d};"]))
        for node in self.layout.program.scalars:
            member, name = str(node.name), self._scalar(str(node.name))
            given = f"inputs->{member} ? inputs->{member} : &default_{member}"
            found.append((name, [f"const {self.layout.c_type} *const {name} = {given};"]))
        found.append(("arena", ["char *const arena = workspace->memory;"]))
        for slot, name in sorted(self.used.items(), key=lambda item: item[1]):
            found.append((name, [f"{C_TYPES[slot.dtype]} *const {name} = {self._place(slot)};"]))
        return found

    def _scalar(self, name: str) -> str:
        return self.locals.of(("scalar", name), f"scalar_{name}")

    def _given_cotangents(self, calls: Sequence[Call]) -> list[tuple[Node, Slot, str]]:
        """Cotangents that backward reads, and the names of zeros for those that are not given."""
        slots = {s.name: s for c in calls for s in c.slots if s.kind == "cotangent"}
        found = []
        for node in self.layout.program.cotangents:
            slot = slots.get(node.attrs["cotangent"])
            if self.entry == "backward" and slot is not None:
                zero = self.locals.of(slot, f"zero_{slot.name}")
                self.used[slot] = zero
                found.append((node, slot, zero))
        return found

    def _cotangents(self, calls: Sequence[Call]) -> list[Declaration]:
        """Given cotangents, or zeros in the arena for those that are not."""
        found: list[Declaration] = []
        for _, slot, zero in self._given_cotangents(calls):
            name, member = self._cotangent(slot.name), slot.name
            lines = [
                f"const {C_TYPES[slot.dtype]} *const {name} =",
                f"    general && cotangents->{member} ? cotangents->{member} : {zero};",
            ]
            found.append((name, lines))
        return found

    def _cotangent_zeros(self, calls: Sequence[Call]) -> list[str]:
        lines = []
        for node, slot, zero in self._given_cotangents(calls):
            size = f"(size_t){extent_text(product(node.shape))} * sizeof *{zero}"
            lines.append(f"if ({self._cotangent(slot.name)} == {zero}) memset({zero}, 0, {size});")
        return lines

    def _cotangent(self, output: str) -> str:
        return self.locals.of(("cotangent", output), f"cotangent_{output}")

    # --- Steps ---

    def _start(self) -> list[str]:
        return ["header->mark = 0;"] if self.entry != "backward" else self._zero_gradients()

    def _step(self, call: Call) -> Step:
        condition = self.condition(call.wanted_by)
        if call.group is None:
            return self._copy(call, condition)
        name = self.writer.kernels.name_of(call)
        kernel = self.writer.kernels.kernels[name]
        given = [*map(dim_variable, kernel.dims), *(self._pointer(s) for s in call.slots)]
        given += ["team"] if kernel.team else []
        head, tail = f"{name}(", ");"
        if kernel.can_fail:
            head, tail = f"if ({head}", f")) return {self.macro}_E_INDEX;"
        wrapped = wrapped_list(head, given, tail, 92)
        nullable = [self._pointer(s) for s in call.slots if self._nullable(s)]
        missing = [p for p in nullable if not condition.implies(p)]
        if missing:
            wrapped = [f"if ({' && '.join(missing)})", *(INDENT + w for w in wrapped)]
        return Step(
            lines=tuple(wrapped),
            condition=str(condition),
            accesses=accesses(call, kernel.team),
            team=kernel.team,
            is_check=kernel.can_fail,
            work=kernel.work,
            gate=kernel.gate,
        )

    def _nullable(self, slot: Slot) -> bool:
        inputs = {n.name for n in self.layout.input_grads}
        return slot.kind == "output" or (slot.kind == "gradient" and slot.name in inputs)

    def _copy(self, call: Call, condition: Condition) -> Step:
        target, source = (self._pointer(s) for s in call.slots)
        item, kernels = ITEM_BYTES[call.slots[0].dtype], self.writer.kernels
        work = memory_effort(call.size, call.slots[0].dtype) * 2
        team = kernels.gate is not None and bounds(work, kernels.ranges)[0] >= kernels.gate
        size = call.size * item
        bytes_ = str(size) if isinstance(size, int) else f"(size_t){extent_text(size)}"
        given = f"{target}, {source}, {bytes_}"
        text = f"copy_part({given}, team);" if team else f"memcpy({given});"
        if self._nullable(call.slots[0]) and not condition.implies(target):
            text = f"if ({target}) {text}"
        return Step((text,), str(condition), accesses(call, team), team, work=work)

    def _pointer(self, slot: Slot) -> str:
        layout = self.layout
        if slot.kind == "arena":
            return self.used.setdefault(slot, self.locals.of(slot, slot.name))
        if slot.kind == "input":
            return f"inputs->{slot.name}"
        if slot.kind == "scalar":
            return self._scalar(slot.name)
        if slot.kind == "cotangent":
            return self._cotangent(slot.name)
        if slot.kind == "constant":
            return constant_name(self.writer.constants, slot.name, self.prefix)
        if slot.kind in ("param", "state"):
            base = "params" if slot.kind == "param" else "state"
            macro = offset_macro(self.macro, slot.kind, slot.name)
            return self._typed(f"{base} + {macro}", slot)
        if slot.kind == "gradient" and slot.name in layout.param_offsets:
            return self._typed(f"grads + {offset_macro(self.macro, 'param', slot.name)}", slot)
        return self._target(slot.kind, slot.name)

    def _place(self, slot: Slot) -> str:
        """In the arena, or what the caller gave instead."""
        text = f"({C_TYPES[slot.dtype]} *)(arena + {slot.offset})"
        if slot.caller is None:
            return text
        target = self._target(slot.caller.kind, slot.caller.name)
        return f"{target} ? {target} : {text}"

    def _typed(self, text: str, slot: Slot) -> str:
        if slot.dtype == self.layout.dtype:
            return text
        return f"({C_TYPES[slot.dtype]} *)({text})"

    def _zero_gradients(self) -> list[str]:
        """What no kernel writes: parameters not differentiated by, and the gaps behind others."""
        program, offsets = self.layout.program, self.layout.param_offsets
        lines, end = [], self.layout.param_elements
        for param in reversed(program.params):
            offset = offsets[str(param.name)]
            size = product(param.shape) if param.name in program.wrt else 0
            if offset + size != end:
                lines.append(
                    f"memset(grads + {offset + size}, 0, {end - offset - size} * sizeof *grads);"
                )
            end = offset
        return lines[::-1]

    def _epilogue(self) -> list[str]:
        lines = []
        if self.entry == "forward":
            lines += [f"header->dim_{d} = inputs->{d};" for d in self.layout.open_dims]
            done = "for_backward ? AUTODIFFC_FORWARD_DONE : 0"
            done = done if self.before_backward else "AUTODIFFC_FORWARD_DONE"
            lines.append(f"header->mark = {done};")
        return [*lines, f"return {self.macro}_OK;"]
