"""Constant arrays: small ones beside the code, larger ones in a data unit of their own."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from autodiffc.emit.values import C_TYPES, constant_text
from autodiffc.graph.node import Node
from autodiffc.graph.scalars import Const
from autodiffc.schedule.plan import Plan

SMALL = 64  # elements


def collect_constants(plans: Mapping[str, Plan]) -> list[Node]:
    """The constants of all plans; graphs have copies of their own of what the user wrote once."""
    found: dict[int, Node] = {}
    for plan in plans.values():
        for leaf in plan.needs:
            if leaf.op == "constant":
                found.setdefault(leaf.serial, leaf)
    return list(found.values())


def constant_name(serials: dict[str, int], serial: str, prefix: str) -> str:
    """The C name of a constant; large ones are visible between units and carry the prefix."""
    return f"{prefix}_constant_{serials[serial]}"


def numbered(constants: Sequence[Node]) -> dict[str, int]:
    """Numbers by order of appearance, so that names do not depend on other models."""
    return {str(c.serial): k for k, c in enumerate(constants)}


def constant_declarations(constants: Sequence[Node], prefix: str) -> list[str]:
    """Definitions of small constants and declarations of large ones."""
    numbers = numbered(constants)
    lines = []
    for constant in constants:
        name = constant_name(numbers, str(constant.serial), prefix)
        if constant.attrs["value"].size <= SMALL:
            lines.append(f"static {_definition(constant, name)}")
        else:
            lines.append(_declaration(constant, name))
    return lines


def data_unit(constants: Sequence[Node], prefix: str) -> str | None:
    """The text of the data unit, or None where no constant is large."""
    numbers = numbered(constants)
    large = [c for c in constants if c.attrs["value"].size > SMALL]
    if not large:
        return None
    parts = [
        f"/* {prefix}_data.c: constant arrays of {prefix}.c */",
        "#include <math.h>",
        "#include <stdint.h>",
    ]
    for constant in large:
        name = constant_name(numbers, str(constant.serial), prefix)
        parts += [_declaration(constant, name), _definition(constant, name)]
    return "\n".join(parts) + "\n"


def _declaration(constant: Node, name: str) -> str:
    size = constant.attrs["value"].size
    hidden = '__attribute__((visibility("hidden")))'
    return f"extern {hidden} const {C_TYPES[constant.dtype]} {name}[{size}];"


def _definition(constant: Node, name: str) -> str:
    value: Any = constant.attrs["value"]
    numbers = [constant_text(Const(v, constant.dtype)) for v in value.ravel().tolist()]
    body = textwrap.fill(", ".join(numbers) or "0", 100, break_long_words=False)
    return (
        f"const {C_TYPES[constant.dtype]} {name}[{max(value.size, 1)}] "
        f"__attribute__((aligned(64))) = {{\n{textwrap.indent(body, '    ')}}};"
    )
