"""The entry points: checks, pointers into the arena, then one call after another.

Every call of the plan becomes one line. Calls that only some outputs need stand behind a condition
on the pointers that the caller gave.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol

from autodiffc.emit.conditions import Condition, any_of
from autodiffc.emit.constants import collect_constants, constant_name, numbered
from autodiffc.emit.layout import Layout
from autodiffc.emit.statements import wrapped_list
from autodiffc.emit.structs import offset_macro, prototypes
from autodiffc.emit.values import C_TYPES, constant_text, extent_text
from autodiffc.graph.extents import ExtentLike, dims_of, product
from autodiffc.graph.scalars import Const
from autodiffc.schedule.plan import ITEM_BYTES, Call, Plan, Slot
from autodiffc.schedule.program import GENERAL, GRADIENT, NEXT, OUTPUT, split_key
from autodiffc.schedule.words import ENTRY_WORDS, dim_variable

INDENT = "    "


class KernelNames(Protocol):
    """What the writer asks of the module's kernels."""

    dims: dict[str, tuple[str, ...]]

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
        body = _Body(self, plan, entry)
        lines = body.lines(calls)
        signature = wrapped_list(f"{head}(", rest.removesuffix(")").split(", "), ")")
        return "\n".join([*signature, "{", *(INDENT + x if x else x for x in lines), "}"])


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
        self.mentioned: set[str] = set()  # what the steps read, of what need not be there
        self.locals = _Locals(
            self._module_names(), ("kernel_", f"{self.prefix}_", f"{self.macro}_")
        )
        self.before_backward = self._inputs_of_backward()

    def _module_names(self) -> frozenset[str]:
        defaults = {f"default_{n.name}" for n in self.layout.program.scalars}
        return ENTRY_WORDS | defaults | {dim_variable(d) for d in self.layout.open_dims}

    def lines(self, calls: Sequence[Call]) -> list[str]:
        wanted, null_checks = self._wanted(), self._null_checks(calls)
        cotangents, steps, epilogue = self._cotangents(calls), self._steps(calls), self._epilogue()
        return [
            *self._checks(),
            *wanted,
            *null_checks,
            *self._variables(calls),
            *self._arena_pointers(),
            *cotangents,
            *steps,
            *epilogue,
        ]

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

    def _wanted(self) -> list[str]:
        """Which outputs (input gradients) the caller asks for."""
        if self.entry == "backward":
            found = [("gradient", str(n.name), n.dtype) for n in self.layout.input_grads]
            lines, source = ["const int general = cotangents != NULL;"], "input_grads"
        else:
            found = [("output", name, n.dtype) for name, n in self.layout.outputs.items()]
            lines, source = [], "outputs"
        for kind, name, dtype in found:
            pointer = f"{C_TYPES[dtype]} *const {self._target(kind, name)}"
            lines.append(f"{pointer} = {source} ? {source}->{name} : NULL;")
        if self.before_backward:
            given = " && ".join(f"inputs->{name} != NULL" for name in self.before_backward)
            lines.append(f"const int for_backward = {given}; /* whether backward can follow */")
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
        found = any_of(term for term in terms if term is not None)
        if any(test.endswith("general") for term in found.terms for test in term):
            self.mentioned.add("general")
        return found

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

    def _variables(self, calls: Sequence[Call]) -> list[str]:
        """What the steps mention; what they do not is named once, lest compilers warn."""
        lines = [f"const int threads = team_limit(workspace->threads, {self.layout.threads or 0});"]
        lines += [
            f"const int64_t {dim_variable(d)} = inputs->{d};"
            for d in self.layout.open_dims
            if d in self.mentioned
        ]
        if not any(c.group for c in calls):
            lines.append("(void)threads;")
        if self.used:
            lines.append("char *const arena = workspace->memory;")
        for node in self.layout.program.scalars:
            name = str(node.name)
            if f"scalar:{name}" in self.mentioned:
                lines.append(
                    f"const {self.layout.c_type} *const {self._scalar(name)} = inputs->{name} ? "
                    f"inputs->{name} : &default_{name};"
                )
        used = {s.kind for c in calls for s in c.slots}
        pointers = [("param", "params"), *([("state", "state")] * (self.entry != "backward"))]
        lines += [f"(void){pointer};" for kind, pointer in pointers if kind not in used]
        if self.entry == "backward":
            if "general" not in self.mentioned:
                lines.append("(void)general;")
            if not self.layout.input_grads:
                lines.append("(void)input_grads;")
        return lines

    def _scalar(self, name: str) -> str:
        self.mentioned.add(f"scalar:{name}")
        return self.locals.of(("scalar", name), f"scalar_{name}")

    def _cotangents(self, calls: Sequence[Call]) -> list[str]:
        """Given cotangents, or zeros in the arena for those that are not."""
        lines = []
        slots = {s.name: s for c in calls for s in c.slots if s.kind == "cotangent"}
        for node in self.layout.program.cotangents:
            slot = slots.get(node.attrs["cotangent"])
            if self.entry != "backward" or slot is None:
                continue
            self.mentioned.add("general")
            kind, member = C_TYPES[slot.dtype], slot.name
            name, zero = self._cotangent(member), self.locals.of(slot, f"zero_{member}")
            self.used[slot] = zero
            count = self._extent(product(node.shape))
            lines += [
                f"const {kind} *const {name} =",
                f"    general && cotangents->{member} ? cotangents->{member} : {zero};",
                f"if ({name} == {zero}) memset({zero}, 0, (size_t){count} * sizeof *{zero});",
            ]
        return lines

    def _cotangent(self, output: str) -> str:
        return self.locals.of(("cotangent", output), f"cotangent_{output}")

    def _extent(self, extent: ExtentLike) -> str:
        self.mentioned |= {d.name for d in dims_of((extent,))}
        return extent_text(extent)

    # --- Steps ---

    def _steps(self, calls: Sequence[Call]) -> list[str]:
        lines = ["header->mark = 0;"] if self.entry != "backward" else self._zero_gradients()
        block: list[str] = []
        before = ""
        for call in calls:
            condition = self.condition(call.wanted_by)
            if str(condition) != before:
                lines += _guarded(before, block)
                before, block = str(condition), []
            block += self._step(call, condition)
        return lines + _guarded(before, block)

    def _step(self, call: Call, condition: Condition) -> list[str]:
        if call.group is None:
            return self._copy(call, condition)
        name = self.writer.kernels.name_of(call)
        dims = self.writer.kernels.dims[name]
        self.mentioned |= set(dims)
        given = [*map(dim_variable, dims), *(self._pointer(s) for s in call.slots), "threads"]
        head, tail = f"{name}(", ");"
        if call.group.kind == "check":
            head, tail = f"if ({head}", f")) return {self.macro}_E_INDEX;"
        wrapped = wrapped_list(head, given, tail, 92)
        nullable = [self._pointer(s) for s in call.slots if self._nullable(s)]
        missing = [p for p in nullable if not condition.implies(p)]
        return (
            [f"if ({' && '.join(missing)})", *(INDENT + w for w in wrapped)] if missing else wrapped
        )

    def _nullable(self, slot: Slot) -> bool:
        inputs = {n.name for n in self.layout.input_grads}
        return slot.kind == "output" or (slot.kind == "gradient" and slot.name in inputs)

    def _copy(self, call: Call, condition: Condition) -> list[str]:
        target, source = (self._pointer(s) for s in call.slots)
        item = ITEM_BYTES[call.slots[0].dtype]
        size = call.size * item
        bytes_ = str(size) if isinstance(size, int) else f"(size_t){self._extent(size)}"
        text = f"memcpy({target}, {source}, {bytes_});"
        sure = not self._nullable(call.slots[0]) or condition.implies(target)
        return [text] if sure else [f"if ({target}) {text}"]

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

    def _arena_pointers(self) -> list[str]:
        """Where the values lie that live in the arena during this call."""
        return [
            f"{C_TYPES[slot.dtype]} *const {name} = {self._place(slot)};"
            for slot, name in sorted(self.used.items(), key=lambda item: item[1])
        ]

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


def _guarded(condition: str, lines: Sequence[str]) -> list[str]:
    """The lines behind a condition, if there is one."""
    if not condition or not lines:
        return list(lines)
    return [f"if ({condition}) {{", *(INDENT + line for line in lines), "}"]
