"""Many models compiled into one library.

A compiler started for each of hundreds of small models would take minutes; this harness lowers
every model under a prefix of its own, compiles all C files in one build, and hands out a `Compiled`
for each. Set AUTODIFFC_TEST_SANITIZE to build with ASan and UBSan, or to `thread` for TSan (see
tests/gates/test_sanitizers.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autodiffc.build import build_library, find_toolchain, load_module
from autodiffc.dsl.model import Model
from autodiffc.lower import lower
from autodiffc.runtime.compiled import Compiled
from autodiffc.targets import get_target

SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all -g -fno-omit-frame-pointer"
TEAM = Path(__file__).parent / "gates" / "pthread_team.h"
SANITIZE_THREADS = f'-fsanitize=thread -g -pthread -D_GNU_SOURCE -DAUTODIFFC_TEAM="{TEAM}"'


@dataclass(frozen=True)
class Case:
    """A model with inputs to try it on."""

    name: str
    model: Model
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    dims: Mapping[str, Any] | None = None


def sanitizers() -> list[str]:
    """Flags for what the environment asks for."""
    wanted = os.environ.get("AUTODIFFC_TEST_SANITIZE")
    return (SANITIZE_THREADS if wanted == "thread" else SANITIZE).split() if wanted else []


def compile_cases(
    cases: Sequence[Case],
    *,
    dtype: str = "float64",
    library: str = "cases",
    level: str = "-O1",
    openmp: bool = False,
    defines: Sequence[str] = (),
    **options: Any,
) -> dict[str, Compiled]:
    """One `Compiled` a case, by name, all from one library. `options` go to `lower`."""
    flags = [level, *sanitizers()]
    if os.environ.get("AUTODIFFC_TEST_SANITIZE") == "thread":
        options = {"gate": 0, **options}  # share whatever can be shared
    emitted = {
        case.name: lower(case.model, dims=case.dims, dtype=dtype, prefix=f"case{k}", **options)
        for k, case in enumerate(cases)
    }
    size = -(-len(cases) // (os.cpu_count() or 1))
    names = list(emitted)
    parts = [names[at : at + size] for at in range(0, len(names), size)]

    def build(number: int) -> dict[str, Compiled]:
        mine = {name: emitted[name] for name in parts[number]}
        sources = {file: text for e in mine.values() for file, text in e.sources.items()}
        built = build_library(
            f"{library}{number}",
            sources,
            toolchain=find_toolchain(),
            target=get_target("native"),
            openmp=openmp,
            defines=defines,
            extra_flags=flags,
        )
        declarations = "\n".join(e.cdef for e in mine.values())
        ffi, lib = load_module(f"_{library}{number}", built, declarations, mode="abi")
        return {name: Compiled(ffi, lib, e.manifest) for name, e in mine.items()}

    with ThreadPoolExecutor() as pool:
        found = [pool.submit(build, number) for number in range(len(parts))]
        return {name: c for future in found for name, c in future.result().items()}
