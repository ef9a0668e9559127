"""The C interface of a module: structs, macros, prototypes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from autodiffc.emit.layout import ABI_VERSION, Layout
from autodiffc.emit.values import C_TYPES
from autodiffc.errors import ModelError
from autodiffc.schedule.arena import ALIGNMENT
from autodiffc.schedule.plan import Plan


def structs(layout: Layout) -> list[str]:
    """The struct definitions, in the order in which the entry points take them."""
    p, program = layout.prefix, layout.program
    scalars = [
        f"const {layout.c_type} *{n.name}; /* NULL: the compiled default */"
        for n in program.scalars
    ]
    inputs = [f"const {C_TYPES[n.dtype]} *{n.name}; /* {n.type} */" for n in program.inputs]
    dims = [f"int32_t {d}; /* {low} to {high} */" for d, (low, high) in layout.ranges.items()]
    seed = ["uint64_t seed;"]
    outputs = [f"{C_TYPES[n.dtype]} *{name}; /* {n.type} */" for name, n in layout.outputs.items()]
    cotangents = [f"const {C_TYPES[n.dtype]} *{n.attrs['cotangent']};" for n in program.cotangents]
    grads = [f"{C_TYPES[n.dtype]} *{n.name}; /* {n.type} */" for n in layout.input_grads]
    found = [
        _struct(
            f"{p}_inputs", [*dims, *inputs, *scalars, *seed], "Open dims, inputs, run-time scalars."
        ),
        _struct(f"{p}_outputs", outputs, "Where to write the outputs; NULL: do not compute."),
        _struct(
            f"{p}_workspace",
            ["void *memory;", "size_t bytes;", "int32_t threads; /* 0: OpenMP's */"],
            "Memory for intermediate values, kept by the caller between forward and backward.",
        ),
    ]
    if layout.has_backward:
        found += [
            _struct(
                f"{p}_cotangents",
                cotangents,
                "Gradients of the outputs; a NULL member is zero.",
            ),
            _struct(f"{p}_input_grads", grads, "Where to write gradients of inputs; NULL: skip."),
        ]
    return found


def _struct(name: str, members: Sequence[str], comment: str) -> str:
    lines = [f"    {m}" for m in members] or ["    char unused;"]
    return "\n".join([f"/* {comment} */", "typedef struct {", *lines, f"}} {name};"])


def prototypes(layout: Layout) -> list[str]:
    """The declarations of the exported functions."""
    p, t = layout.prefix, layout.c_type
    inputs, outputs = f"const {p}_inputs *inputs", f"const {p}_outputs *outputs"
    workspace = f"const {p}_workspace *workspace"
    cotangents = f"const {p}_cotangents *cotangents, {t} *grads, const {p}_input_grads *input_grads"
    arguments = {
        "predict": f"{inputs}, const {t} *params, const {t} *state, {outputs}, {workspace}",
        "forward": f"{inputs}, const {t} *params, {t} *state, {outputs}, {workspace}",
        "backward": f"{inputs}, const {t} *params, {cotangents}, {workspace}",
        "step": f"{inputs}, {t} *params, {t} *state, {outputs}, {workspace}",
    }
    found = {entry: f"int {p}_{entry}({text})" for entry, text in arguments.items()}
    return [
        f"size_t {p}_workspace_bytes(const {p}_inputs *sizes, int training)",
        *(found[e] for e in layout.entries),
        f"const char *{p}_strerror(int status)",
    ]


def macros(layout: Layout, plans: Mapping[str, Plan]) -> list[str]:
    """Sizes and offsets that a C caller needs."""
    m, arena = layout.macro, layout.arena_bytes(plans)
    found = [
        f"#define {m}_ABI_VERSION {ABI_VERSION}",
        f"#define {m}_ALIGNMENT {ALIGNMENT}",
        f"#define {m}_ARENA_BYTES_TRAINING {arena['training']}",
        f"#define {m}_ARENA_BYTES_PREDICT {arena['predict']}",
        f"#define {m}_PARAM_COUNT {layout.param_elements}",
        f"#define {m}_STATE_COUNT {layout.state_elements}",
    ]
    for kind, offsets in (("param", layout.param_offsets), ("state", layout.state_offsets)):
        found += [f"#define {offset_macro(m, kind, n)} {offset}" for n, offset in offsets.items()]
    return found


def check_names(layout: Layout, plans: Mapping[str, Plan]) -> None:
    """Refuses models whose names meet those that the module's prefix makes."""
    defined: dict[str, str] = {}
    for line in macros(layout, plans):
        macro = line.split()[1]
        if macro in defined:
            raise ModelError(
                f"two tensors, or a tensor and a size, would both be the macro {macro} in C",
                found=", ".join(_leaf_names(layout, macro)),
                expected="names that differ in more than dots and _, and none called COUNT",
            )
        defined[macro] = "a macro"
    defined |= dict.fromkeys(interface_names(layout.prefix), "a type or a function")
    statuses = ("OK", "E_INDEX", "E_WORKSPACE", "E_NO_FORWARD", "E_NULL", "E_DIM")
    defined |= {f"{layout.macro}_{status}": "a status" for status in statuses}
    defined[f"{layout.macro}_API"] = "a macro"
    for name in _members(layout):
        if re.fullmatch(rf"{layout.prefix}_constant_\d+", name):
            defined[name] = "a constant"
        if name in defined:
            raise ModelError(
                f"{name!r} cannot be the name of an input, an output or a dim here",
                found=f"{defined[name]} of that name in the C of {layout.prefix!r}",
                expected="another name, or another prefix",
            )


def _leaf_names(layout: Layout, macro: str) -> list[str]:
    kinds = (("param", layout.param_offsets), ("state", layout.state_offsets))
    return [
        repr(name)
        for kind, offsets in kinds
        for name in offsets
        if offset_macro(layout.macro, kind, name) == macro
    ]


def _members(layout: Layout) -> list[str]:
    inputs = [str(n.name) for n in (*layout.program.inputs, *layout.program.scalars)]
    return [*layout.open_dims, *inputs, *layout.outputs]


def interface_names(prefix: str) -> list[str]:
    """What a module calls its types and functions."""
    types = ("inputs", "outputs", "workspace", "cotangents", "input_grads")
    functions = ("predict", "forward", "backward", "step", "workspace_bytes", "strerror")
    return [f"{prefix}_{name}" for name in (*types, *functions)]


def offset_macro(macro: str, kind: str, name: str) -> str:
    """The name of a tensor's offset, in elements: `LENET5_PARAM_conv1_weight`."""
    return f"{macro}_{kind.upper()}_{re.sub(r'[^0-9A-Za-z]+', '_', name)}"


def cdef_text(layout: Layout) -> str:
    """What cffi needs to know: the structs and prototypes without comments."""
    text = "\n".join([*structs(layout), *(f"{p};" for p in prototypes(layout))])
    return re.sub(r"/\*.*?\*/", "", text)
