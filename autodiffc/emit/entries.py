"""The entry points: checks, pointers into the arena, then one call after another.

Every call of the plan becomes one line. Calls that only some outputs need stand behind a condition
on the pointers that the caller gave.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

from autodiffc.emit.constants import SMALL, collect_constants, constant_name, numbered
from autodiffc.emit.layout import Layout
from autodiffc.emit.statements import wrapped_list
from autodiffc.emit.structs import offset_macro, prototypes
from autodiffc.emit.values import C_TYPES, constant_text, extent_text
from autodiffc.graph.extents import product
from autodiffc.graph.scalars import Const
from autodiffc.schedule.plan import ITEM_BYTES, Call, Plan, Slot
from autodiffc.schedule.program import GENERAL, GRADIENT, OUTPUT, split_key

INDENT = "    "
ENTRY_NAMES = frozenset(
    [
        *("inputs", "outputs", "params", "state", "workspace", "grads", "cotangents"),
        *("input_grads", "inputs_status", "status", "header", "general", "threads", "arena"),
        *("memcpy", "memset", "inputs_check", "workspace_check", "workspace_header"),
        "FORWARD_DONE",
    ]
)
ALWAYS = ""


class KernelNames(Protocol):
    """What the writer asks of the module's kernels."""

    dims: dict[str, tuple[str, ...]]

    def name_of(self, call: Call) -> str: ...


class EntryWriter:
    """Writes the entry points of one module."""

    def __init__(self, layout: Layout, plans: Mapping[str, Plan], kernels: KernelNames) -> None:
        self.layout, self.plans, self.kernels = layout, plans, kernels
        leaves = collect_constants(plans)
        self.constants = numbered(leaves)
        self.small = {str(n.serial) for n in leaves if n.attrs["value"].size <= SMALL}

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
        body = _Body(self, plan, entry)
        lines = body.lines(calls)
        signature = wrapped_list(f"{head}(", rest.removesuffix(")").split(", "), ")")
        return "\n".join([*signature, "{", *(INDENT + x if x else x for x in lines), "}"])


class _Body:
    """The statements of one entry point."""

    def __init__(self, writer: EntryWriter, plan: Plan, entry: str) -> None:
        self.writer, self.plan, self.entry = writer, plan, entry
        self.layout = writer.layout
        self.prefix, self.macro = self.layout.prefix, self.layout.macro
        self.used: dict[str, Slot] = {}

    def lines(self, calls: Sequence[Call]) -> list[str]:
        steps = self._steps(calls)
        text = "\n".join(steps)
        return [
            *self._checks(calls),
            *self._locals(text),
            *self._cotangents(calls),
            *self._arena_pointers(),
            *steps,
            *self._epilogue(),
        ]

    # --- Checks ---

    def _checks(self, calls: Sequence[Call]) -> list[str]:
        size = "PREDICT" if self.entry == "predict" else "TRAINING"
        lines = [
            "const int inputs_status = inputs_check(inputs);",
            f"if (inputs_status != {self.macro}_OK) return inputs_status;",
            f"const int status = workspace_check(workspace, {self.macro}_ARENA_BYTES_{size});",
            f"if (status != {self.macro}_OK) return status;",
            "workspace_header *const header = workspace->memory;",
        ]
        if self.entry == "backward":
            same = "".join(f" || header->{d} != inputs->{d}" for d in self.layout.open_dims)
            lines.append(
                f"if (header->mark != FORWARD_DONE{same}) return {self.macro}_E_NO_FORWARD;"
            )
            if self.layout.program.differentiate is None:
                lines.append(f"if (!cotangents) return {self.macro}_E_NULL;")
        lines += self._wanted(calls)
        return [*lines, *self._null_checks(calls)]

    def _wanted(self, calls: Sequence[Call]) -> list[str]:
        """Which outputs (input gradients) the caller asks for."""
        if self.entry == "backward":
            names = [str(n.name) for n in self.layout.input_grads]
            lines = ["const int general = cotangents != NULL;"]
            source, kind = "input_grads", "gradient"
        else:
            names, lines = list(self.layout.outputs), []
            source, kind = "outputs", "output"
        for name in names:
            lines.append(
                f"{C_TYPES[self._type(kind, name)]} *const {self._target(kind, name)} = "
                f"{source} ? {source}->{name} : NULL;"
            )
        return lines

    def _type(self, kind: str, name: str) -> str:
        if kind == "output":
            return self.layout.outputs[name].dtype
        return next(n.dtype for n in self.layout.input_grads if n.name == name)

    def _target(self, kind: str, name: str) -> str:
        return f"out_{name}" if kind == "output" else f"grad_{name}"

    def _null_checks(self, calls: Sequence[Call]) -> list[str]:
        """Pointers that the calls which will run read, and that are not there."""
        lines = []
        for node in self.layout.program.inputs:
            if node not in self.plan.needs and not any(
                s.kind == "input" and s.name == node.name for c in calls for s in c.slots
            ):
                continue
            keys = [
                c.wanted_by
                for c in calls
                if any(s.kind == "input" and s.name == node.name for s in c.slots)
            ]
            if not keys:
                continue
            condition = self.condition(frozenset().union(*keys))
            test = f"!inputs->{node.name}" + (f" && ({condition})" if condition else "")
            lines.append(f"if ({test}) return {self.macro}_E_NULL;")
        used = {s.kind for c in calls for s in c.slots}
        if self.entry == "backward":
            lines.append(f"if (!grads && {self.macro}_PARAM_COUNT > 0) return {self.macro}_E_NULL;")
        for kind, pointer in (("param", "params"), ("state", "state")):
            if kind in used:
                lines.append(f"if (!{pointer}) return {self.macro}_E_NULL;")
        return lines

    # --- Conditions ---

    def condition(self, wanted: frozenset[str]) -> str:
        """When a call is needed, as a C condition; empty if always."""
        parts: list[str] = []
        for key in sorted(wanted):
            test = self._key_condition(key)
            if test == ALWAYS:
                return ALWAYS
            if test is not None and test not in parts:
                parts.append(test)
        if len(parts) == 1:
            return parts[0].removeprefix("(").removesuffix(")") if "&&" in parts[0] else parts[0]
        return " || ".join(parts)

    def _key_condition(self, key: str) -> str | None:
        """When one graph output is wanted; None if it says nothing about this entry."""
        role, name = split_key(key)
        if self.entry != "backward":
            return f"out_{name}" if role == OUTPUT else ALWAYS
        if role not in (GRADIENT, GENERAL):
            return None
        variant = "general" if role == GENERAL else "!general"
        if any(n.name == name for n in self.layout.input_grads):
            return f"({variant} && grad_{name})"
        return variant

    # --- Local names ---

    def _locals(self, text: str) -> list[str]:
        lines = [f"const int threads = team_limit(workspace->threads, {self.layout.threads or 0});"]
        lines += [
            f"const int64_t {d} = inputs->{d};" for d in self.layout.open_dims if _mentions(text, d)
        ]
        if not _mentions(text, "threads"):
            lines.append("(void)threads;")
        if self.used:
            lines.append("char *const arena = workspace->memory;")
        for node in self.layout.program.scalars:
            if f"scalar_{node.name}" in text:
                lines.append(
                    f"const {self.layout.c_type} *const scalar_{node.name} = inputs->{node.name} ? "
                    f"inputs->{node.name} : &default_{node.name};"
                )
        unused = [p for p in ("params", "state") if self._takes(p) and not _mentions(text, p)]
        lines += [f"(void){p};" for p in unused]
        if self.entry == "backward":
            if not _mentions(text, "general"):
                lines.append("(void)general;")
            if not self.layout.input_grads:
                lines.append("(void)input_grads;")
        return lines

    def _takes(self, pointer: str) -> bool:
        return not (self.entry == "backward" and pointer == "state")

    def _cotangents(self, calls: Sequence[Call]) -> list[str]:
        """Given cotangents, or zeros in the arena for those that are not."""
        lines = []
        for node in self.layout.program.cotangents:
            slots = [s for c in calls for s in c.slots if s.kind == "input" and s.name == node.name]
            if self.entry != "backward" or not slots:
                continue
            name, member = str(node.name), node.attrs["cotangent"]
            kind = C_TYPES[node.dtype]
            offset, _ = self.plan.arena[name]
            count = extent_text(product(node.shape))
            lines += [
                f"{kind} *const zero_{name} = ({kind} *)((char *)workspace->memory + {offset});",
                f"const {kind} *const {name} = general && cotangents->{member} ? "
                f"cotangents->{member} : zero_{name};",
                f"if ({name} == zero_{name})",
                f"    memset(zero_{name}, 0, (size_t){count} * sizeof *{name});",
            ]
        return lines

    # --- Steps ---

    def _steps(self, calls: Sequence[Call]) -> list[str]:
        lines = ["header->mark = 0;"] if self.entry != "backward" else self._zero_gradients()
        open_condition = ALWAYS
        for call in calls:
            condition = self.condition(call.wanted_by)
            if condition != open_condition:
                if open_condition != ALWAYS:
                    lines.append("}")
                if condition != ALWAYS:
                    lines.append(f"if ({condition}) {{")
                open_condition = condition
            indent = INDENT if condition != ALWAYS else ""
            lines += [indent + line for line in self._step(call)]
        if open_condition != ALWAYS:
            lines.append("}")
        return lines

    def _step(self, call: Call) -> list[str]:
        if call.group is None:
            return self._copy(call)
        name = self.writer.kernels.name_of(call)
        dims = self.writer.kernels.dims[name]
        given = [*dims, *(self._pointer(s) for s in call.slots), "threads"]
        head, tail = f"{name}(", ");"
        if call.group.kind == "check":
            head, tail = f"if ({head}", f")) return {self.macro}_E_INDEX;"
        wrapped = wrapped_list(head, given, tail, 92)
        nullable = [self._pointer(s) for s in call.slots if self._nullable(s)]
        condition = self.condition(call.wanted_by)
        missing = [p for p in nullable if p not in condition]
        return (
            [f"if ({' && '.join(missing)})", *(INDENT + w for w in wrapped)] if missing else wrapped
        )

    def _nullable(self, slot: Slot) -> bool:
        inputs = {n.name for n in self.layout.input_grads}
        return slot.kind == "output" or (slot.kind == "gradient" and slot.name in inputs)

    def _copy(self, call: Call) -> list[str]:
        target, source = (self._pointer(s) for s in call.slots)
        item = ITEM_BYTES[call.slots[0].dtype]
        size = call.size * item
        bytes_ = str(size) if isinstance(size, int) else f"(size_t){extent_text(size)}"
        text = f"memcpy({target}, {source}, {bytes_});"
        known = target in self.condition(call.wanted_by)
        return [f"if ({target}) {text}"] if self._nullable(call.slots[0]) and not known else [text]

    def _pointer(self, slot: Slot) -> str:
        layout = self.layout
        if slot.kind == "arena":
            return self._arena_name(slot)
        if slot.kind == "input":
            scalars = {n.name for n in layout.program.scalars}
            cotangents = {n.name for n in layout.program.cotangents}
            if slot.name in scalars:
                return f"scalar_{slot.name}"
            return slot.name if slot.name in cotangents else f"inputs->{slot.name}"
        if slot.kind == "constant":
            return constant_name(self.writer.constants, slot.name, self.prefix)
        if slot.kind in ("param", "state"):
            base = "params" if slot.kind == "param" else "state"
            macro = offset_macro(self.macro, slot.kind, slot.name)
            return self._typed(f"{base} + {macro}", slot)
        if slot.kind == "gradient" and slot.name in layout.param_offsets:
            return self._typed(f"grads + {offset_macro(self.macro, 'param', slot.name)}", slot)
        return self._target(slot.kind, slot.name)

    def _arena_name(self, slot: Slot) -> str:
        """The local pointer to a value in the arena; `used` collects those that are needed."""
        name = slot.name
        while self._hides(name) or self.used.get(name, slot) != slot:
            name = f"value_{name}"
        self.used.setdefault(name, slot)
        return name

    def _hides(self, name: str) -> bool:
        """Whether a local pointer of this name would hide something that an entry point uses."""
        families = ("kernel_", f"{self.prefix}_constant_", f"{self.macro}_")
        return name.startswith(families) or name in self._taken

    @cached_property
    def _taken(self) -> frozenset[str]:
        """Names that mean something else in an entry point."""
        prefixed = {
            self._target(kind, str(name))
            for kind, names in (
                ("output", self.layout.outputs),
                ("gradient", [n.name for n in self.layout.input_grads]),
            )
            for name in names
        }
        scalars = {
            f"{kind}_{n.name}"
            for n in self.layout.program.scalars
            for kind in ("scalar", "default")
        }
        cotangents = {
            f"{zero}{n.name}" for n in self.layout.program.cotangents for zero in ("", "zero_")
        }
        return ENTRY_NAMES | prefixed | scalars | cotangents | set(self.layout.open_dims)

    def _arena_pointers(self) -> list[str]:
        """Where the values lie that live in the arena during this call."""
        return [
            f"{kind} *const {name} = ({kind} *)(arena + {slot.offset});"
            for name, slot in sorted(self.used.items(), key=lambda item: item[0])
            for kind in [C_TYPES[slot.dtype]]
        ]

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
            lines += [f"header->{d} = inputs->{d};" for d in self.layout.open_dims]
            lines.append("header->mark = FORWARD_DONE;")
        return [*lines, f"return {self.macro}_OK;"]


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None
