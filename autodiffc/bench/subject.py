"""The model under test, built twice from the same C: as users get it, and with timers.

Both builds have a unit more, `templates/bench_driver.c.j2`, whose functions call an entry point
many times in a row and add up the time. The runtime calls those in place of the entry points, so
arrays, parameters and workspace are made ready in the ordinary way. In the second build
AUTODIFFC_PROFILE names a header, `templates/bench_profile.h.j2`, that wraps every kernel call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiffc.build import build_library, find_toolchain, load_module
from autodiffc.dsl.model import Model
from autodiffc.emit.module import Emitted
from autodiffc.emit.resources import templates, templates_directory
from autodiffc.errors import ArgumentError
from autodiffc.pipeline import Build, BuildOptions, build
from autodiffc.runtime.bound import ENTRIES, BoundCall
from autodiffc.runtime.check import random_input
from autodiffc.runtime.compiled import Compiled
from autodiffc.targets import get_target

COPIES = "copies"  # the timer of memcpy and memset, after those of the kernels


class _Redirected:
    """A library whose entry points are those of the driver."""

    def __init__(self, lib: Any, prefix: str, entries: list[str]) -> None:
        self._lib = lib
        self._names = {f"{prefix}_{e}": f"{prefix}_bench_{e}" for e in entries}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lib, self._names.get(name, name))


class Subject:
    """One build of the model, ready to be called and timed."""

    def __init__(self, built: Build, options: BuildOptions, *, timers: bool) -> None:
        emitted, self.manifest = built.emitted, built.manifest
        prefix = emitted.name
        sources = emitted.sources | _driver(emitted)
        defines: tuple[str, ...] = ()
        if timers:
            sources |= {f"{prefix}_profile.h": _profile(emitted)}
            defines = (f'AUTODIFFC_PROFILE="{prefix}_profile.h"',)
        library = build_library(
            prefix,
            sources,
            toolchain=find_toolchain(options.cc),
            target=get_target(options.target),
            openmp=options.openmp,
            defines=defines,
        )
        cdef = emitted.cdef + _declarations(emitted, timers)
        self._ffi, lib = load_module(f"_{prefix}_bench", library, cdef, mode="abi")
        self._lib, self._prefix = lib, prefix
        redirected = _Redirected(lib, prefix, list(self.manifest["entries"]))
        self.compiled = Compiled(self._ffi, redirected, self.manifest)
        self.has_timers = timers
        self.dims = {n: d.high for n, d in self.compiled._program.signature.open_dims.items()}
        self.timer_names = [*(k["name"] for k in self.manifest["kernels"]), COPIES]

    def ready(self, seed: int = 0) -> dict[str, Any]:
        """Parameters at their start, steps that go nowhere, and random inputs."""
        self.compiled.init(seed)
        if "lr" in self.compiled.scalars:
            self.compiled.set(lr=0.0)  # or thousands of steps on one batch would end somewhere odd
        signature = self.compiled._program.signature
        rng = np.random.default_rng(seed)
        return {
            name: random_input(tensor, tensor.shape_for(self.dims), rng)
            for name, tensor in signature.inputs.items()
        }

    def call(self, entry: str, arrays: Mapping[str, Any]) -> BoundCall:
        """The entry with its arrays bound."""
        if entry != "backward":
            return self.compiled.bind(entry, **arrays)
        self.compiled.bind("forward", **arrays)()
        return self.compiled.bind("backward")  # of whichever forward comes before

    def set_repeat(self, repeat: int) -> None:
        """How often a call of an entry runs it."""
        self._function("bench_set_repeat")(repeat)

    def take_ticks(self) -> int:
        """The time in entry points since the last time of asking."""
        return int(self._function("bench_take_ticks")())

    def take_timers(self) -> list[Timer]:
        """The time in each kernel since the last time of asking; only in the build with timers."""
        count = len(self.timer_names) + 1
        ticks, calls = self._ffi.new("uint64_t[]", count), self._ffi.new("uint64_t[]", count)
        self._function("profile_take")(ticks, calls)
        cost = ticks[count - 1] / max(calls[count - 1], 1)
        return [
            Timer(name, max(ticks[k] - cost * calls[k], 0.0), calls[k])
            for k, name in enumerate(self.timer_names)
        ]

    def _function(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self._lib, f"{self._prefix}_{name}")
        return function


@dataclass(frozen=True)
class Timer:
    """What one timer has counted, its own cost taken off."""

    name: str
    ticks: float
    calls: int


def subjects(model: Model, options: BuildOptions) -> tuple[Subject, Subject]:
    """The model as users get it, and with timers."""
    built = build(model, options, only_c=True)
    return Subject(built, options, timers=False), Subject(built, options, timers=True)


def chosen_entries(manifest: Mapping[str, Any], wanted: str | None) -> list[str]:
    """The entries to time: the one that is asked for, `all`, or what the model is for."""
    there = [e for e in ENTRIES if e in manifest["entries"]]
    if "backward" in there and manifest["differentiate"] is not None:
        there.insert(there.index("backward") + 1, "value_and_grad")
    elif "backward" in there:
        there.remove("backward")  # it needs cotangents
    if wanted == "all":
        return there
    if wanted is None:
        return [next(e for e in ("step", "value_and_grad", "predict") if e in there)]
    if wanted not in there:
        raise ArgumentError(
            f"{manifest['name']} has no such entry to time",
            found=repr(wanted),
            expected="one of " + ", ".join([*there, "all"]),
        )
    return [wanted]


# --- The C that is added ---


def _driver(emitted: Emitted) -> dict[str, str]:
    names = _names(emitted)
    template = templates().get_template("bench_driver.c.j2")
    text = template.render(**names, entries=_entries(emitted))
    return {f"{emitted.name}_bench.c": text, "bench_clock.h": _clock()}


def _profile(emitted: Emitted) -> str:
    template = templates().get_template("bench_profile.h.j2")
    return str(template.render(**_names(emitted), kernels=emitted.manifest["kernels"]))


def _names(emitted: Emitted) -> dict[str, str]:
    return {"prefix": emitted.name, "macro": emitted.name.upper()}


def _clock() -> str:
    return (templates_directory() / "bench_clock.h").read_text(encoding="utf-8")


def _entries(emitted: Emitted) -> list[dict[str, str]]:
    """Name, parameters and arguments of every entry point, from its declaration."""
    found = []
    for entry in emitted.manifest["entries"]:
        declared = re.search(rf"int {emitted.name}_{entry}\((.*?)\);", emitted.cdef, re.DOTALL)
        assert declared is not None, entry
        parameters = declared.group(1)
        arguments = [re.split(r"[\s*]+", p.strip())[-1] for p in parameters.split(",")]
        found.append({"name": entry, "parameters": parameters, "arguments": ", ".join(arguments)})
    return found


def _declarations(emitted: Emitted, timers: bool) -> str:
    prefix = emitted.name
    lines = [f"int {prefix}_bench_{e['name']}({e['parameters']});" for e in _entries(emitted)]
    lines += [
        f"void {prefix}_bench_set_repeat(int64_t repeat);",
        f"uint64_t {prefix}_bench_take_ticks(void);",
    ]
    if timers:
        lines.append(f"void {prefix}_profile_take(uint64_t *ticks, uint64_t *calls);")
    return "\n" + "\n".join(lines)
