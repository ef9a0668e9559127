"""Every kernel of a model, as the loop IR that is about to be written as C."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autodiffc.loops.ir import Kernel
from autodiffc.loops.lower import lower_group
from autodiffc.lower import Options, Sizes, optimized, planned, specialized
from autodiffc.schedule.plan import Plan
from autodiffc.schedule.program import build_program
from autodiffc.targets import get_target


def plans_of(model: object, **options: Any) -> dict[str, Plan]:
    """The plans of a model's entries, by their graphs' names."""
    chosen = Options(**options)
    program = build_program(model)  # type: ignore[arg-type]
    sizes = Sizes.of(program, model, chosen)
    return planned(optimized(specialized(program, sizes, chosen), chosen), sizes, chosen)


def kernels_of(model: object, target: str = "x86-64-v3", **options: Any) -> Iterator[Kernel]:
    """The kernels of all entries; with `plain=True` those of plain loops."""
    tiles = None if options.get("plain") else get_target(target)
    for plan in plans_of(model, **options).values():
        for call in plan.calls:
            if call.group is not None:
                yield lower_group(call.group, call.results, tiles, call.overlapping)
