"""A program's plans as one C module: header, kernels, entry points, manifest.

Kernels that differ in names alone are one function, however many plans call them. The skeletons are
in `templates/`; this file decides what goes into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autodiffc.emit.constants import (
    collect_constants,
    constant_declarations,
    constant_name,
    data_unit,
    numbered,
)
from autodiffc.emit.entries import EntryWriter
from autodiffc.emit.layout import Layout
from autodiffc.emit.resources import templates, templates_directory
from autodiffc.emit.statements import kernel_text
from autodiffc.emit.structs import (
    cdef_text,
    check_names,
    interface_names,
    macros,
    prototypes,
    structs,
)
from autodiffc.emit.values import ValueWriter, helper_text
from autodiffc.emit.vectors import vector_helpers
from autodiffc.loops.bases import with_bases
from autodiffc.loops.ir import Array, For, Kernel, Let, LetInt, LetPointer, Var, statements
from autodiffc.loops.lower import lower_group
from autodiffc.loops.team import for_team
from autodiffc.loops.verify import verify as verify_kernel
from autodiffc.schedule.counts import bytes_moved, entry_operations, operations, plain_count
from autodiffc.schedule.effort import GATE
from autodiffc.schedule.plan import Call, Plan
from autodiffc.schedule.words import BINARY_MATH, MATH_FUNCTIONS
from autodiffc.targets import Target

MARK = "6175746f64696666"  # "autodiff"


@dataclass(frozen=True)
class Emitted:
    """What the compiler makes: C sources by file name, declarations for cffi, and the manifest."""

    name: str
    sources: dict[str, str]
    cdef: str
    manifest: dict[str, Any]


class Kernels:
    """The kernel functions of a module, one for all that differ in nothing but names."""

    def __init__(
        self,
        target: Target,
        tiles: bool,
        verify: bool = False,
        reserved: Iterable[str] = (),
        gate: int | None = None,
        ranges: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self.target = target
        self.tiles = tiles
        self.verify = verify
        self.gate, self.ranges = gate, ranges or {}
        self.texts: list[str] = []
        self.vectors: set[tuple[str, int]] = set()
        self.helpers: dict[tuple[str, str, int], None] = {}
        self.formulas: list[dict[str, Any]] = []
        self._names: dict[str, str] = {}
        self._taken = set(reserved)
        self.kernels: dict[str, Kernel] = {}

    def name_of(self, call: Call) -> str:
        """The function that a call runs, written on first use."""
        assert call.group is not None
        target = self.target if self.tiles else None
        kernel = lower_group(call.group, call.results, target, call.overlapping)
        kernel = for_team(kernel, self.gate, self.ranges)
        kernel = replace(kernel, body=tuple(with_bases(kernel.body)))
        if self.verify:
            verify_kernel(kernel)
        anonymous, used = canonical_text(kernel)
        if anonymous not in self._names:
            name = self._fresh(f"kernel_{kernel.name}")
            self._names[anonymous] = name
            self.vectors |= used.vectors
            self.helpers.update(used.helpers)
            self.kernels[name] = kernel
            self.texts.append(kernel_text(kernel, name)[0])
            self.formulas.append(_description(name, kernel.comment, call))
        return self._names[anonymous]

    def _fresh(self, base: str) -> str:
        name, count = base, 2
        while name in self._taken:
            name, count = f"{base}_{count}", count + 1
        self._taken.add(name)
        return name


def canonical_text(kernel: Kernel) -> tuple[str, ValueWriter]:
    """The text of a kernel without comments, in which its own names are numbered in the order in
    which they appear: equal for kernels that differ in names alone, so that one can serve for all.
    """
    text, used = kernel_text(replace(kernel, comment=()), "@")
    own = {p.name for p in kernel.params}
    for stmt in statements(kernel.body):
        if isinstance(stmt, For):
            own |= {stmt.variable, f"{stmt.variable}_end", f"{stmt.variable}_part"}
        elif isinstance(stmt, Let | LetInt | LetPointer | Var | Array):
            own.add(stmt.name)
    numbers: dict[str, str] = {}

    def renamed(word: re.Match[str]) -> str:
        name = word[0]
        return numbers.setdefault(name, f"@{len(numbers)}") if name in own else name

    return re.sub(r"\b[A-Za-z_]\w*", renamed, re.sub(r"/\*.*?\*/", "", text)), used


def _description(name: str, formulas: Sequence[str], call: Call) -> dict[str, Any]:
    """What the manifest says of a kernel."""
    assert call.group is not None
    return {
        "name": name,
        "kind": call.group.kind,
        "formulas": list(formulas),
        "flops": plain_count(operations(call.group)),
        "bytes": plain_count(bytes_moved(call.group, call.results)),
    }


def emit_program(
    layout: Layout,
    plans: Mapping[str, Plan],
    target: Target,
    version: str,
    *,
    tiles: bool = True,
    verify: bool = False,
    gate: int = GATE,
) -> Emitted:
    """The C module of a program whose graphs have been planned.

    Kernels that take at least `gate` are shared among threads, where a call may use several.
    """
    constants = collect_constants(plans)
    check_names(layout, plans)
    numbers = numbered(constants)
    reserved = {constant_name(numbers, serial, layout.prefix) for serial in numbers}
    reserved |= {*interface_names(layout.prefix), *layout.open_dims}
    shared = None if layout.threads == 1 else gate
    kernels = Kernels(target, tiles, verify, reserved, shared, layout.ranges)
    entries = EntryWriter(layout, plans, kernels).entries()
    helpers = _helper_functions(kernels)
    common = {
        "name": layout.prefix,
        "prefix": layout.prefix,
        "macro": layout.macro,
        "version": version,
    }
    source = (
        templates()
        .get_template("module.c.j2")
        .render(
            **common,
            summary=_summary(layout),
            runtime=_c_text("runtime.c"),
            team=_c_text("team.c") if any(k.team for k in kernels.kernels.values()) else "",
            vectors=vector_helpers(kernels.vectors) if kernels.vectors else "",
            helpers=helpers,
            constants=constant_declarations(constants, layout.prefix),
            kernels=kernels.texts,
            libm=_libm_prototypes([*kernels.texts, *helpers]),
            open_dims=layout.open_dims,
            ranges=layout.ranges,
            mark=MARK,
            entries=entries,
        )
    )
    header = (
        templates()
        .get_template("header.h.j2")
        .render(
            **common,
            macros=macros(layout, plans),
            structs=structs(layout),
            prototypes=prototypes(layout),
        )
    )
    sources = {f"{layout.prefix}.c": source, f"{layout.prefix}.h": header}
    data = data_unit(constants, layout.prefix)
    if data:
        sources[f"{layout.prefix}_data.c"] = data
    manifest = layout.manifest(plans) | {
        "kernels": kernels.formulas,
        "flops": {
            entry: plain_count(count)
            for entry, count in entry_operations(layout.entries, plans).items()
        },
        "target": target.name,
        "autodiffc": version,
    }
    return Emitted(layout.prefix, sources, cdef_text(layout), manifest)


def _c_text(name: str) -> str:
    return (templates_directory() / name).read_text(encoding="utf-8")


def _libm_prototypes(texts: Iterable[str]) -> list[str]:
    """The declarations of what functions' texts call of math.h, as C allows them."""
    names = "|".join(sorted(MATH_FUNCTIONS - {"abs"}))
    call = re.compile(rf"\b({names})(f?)\(")
    code = re.sub(r"/\*.*?\*/", "", "\n".join(texts), flags=re.DOTALL)
    found = sorted({(match[1], match[2]) for match in call.finditer(code)})
    return [_prototype(name, "float" if suffix else "double") for name, suffix in found]


def _prototype(name: str, kind: str) -> str:
    suffix = "f" if kind == "float" else ""
    arity = 3 if name == "fma" else 2 if name in BINARY_MATH else 1
    return f"{kind} {name}{suffix}({', '.join([kind] * arity)});"


def _summary(layout: Layout) -> list[str]:
    shapes = [f"{n.name}: {n.type}" for n in layout.program.inputs]
    return [f"inputs: {', '.join(shapes) or 'none'}", f"outputs: {', '.join(layout.output_names)}"]


def _helper_functions(kernels: Kernels) -> list[str]:
    """Functions that kernels call, those that they call in turn first."""
    texts: dict[tuple[str, str, int], str] = {}

    def visit(helper: tuple[str, str, int]) -> None:
        if helper in texts:
            return
        text, used = helper_text(*helper)
        kernels.vectors |= used.vectors
        for inner in used.helpers:
            visit(inner)
        texts[helper] = text

    for helper in sorted(kernels.helpers):
        visit(helper)
    return list(texts.values())
