"""From a model to C: the list of steps, to be read aloud.

Every step is a function from one stage's value to the next one's; `stages` shows all of them in
between, which is how `autodiffc inspect` and the tests look inside.

With AUTODIFFC_VERIFY=1 in the environment, or `lower(..., verify=True)`, what every step makes is
checked against its grammar (`graph.verify`, `loops.verify`): the tests always do, users need not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from autodiffc.emit.layout import Layout
from autodiffc.emit.module import Emitted, emit_program
from autodiffc.errors import ArgumentError, ArgumentTypeError
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node
from autodiffc.graph.verify import verify as verify_graph
from autodiffc.passes import (
    fuse,
    gather,
    inline,
    narrow,
    normalize,
    route,
    share,
    simplify,
    specialize,
)
from autodiffc.passes.split import split
from autodiffc.runtime.initial import describe_initializer
from autodiffc.schedule.effort import GATE
from autodiffc.schedule.halo import halo
from autodiffc.schedule.layout import choose_layouts
from autodiffc.schedule.pack import pack
from autodiffc.schedule.plan import Plan, Planner
from autodiffc.schedule.program import OUTPUT, Program, build_program, key, split_key
from autodiffc.targets import Target, get_target

Pass = Callable[[Graph], Graph]
DimChoice = int | tuple[int, int]


def passes(target: Target) -> tuple[tuple[str, Pass], ...]:
    """Each can be left out, and the results stay the same within rounding."""
    return (
        ("simplify", simplify),
        ("normalize", normalize),
        ("share", share),
        ("route", route),
        ("gather", gather),
        ("normalize", normalize),
        ("fuse", fuse),
        ("layout", lambda graph: choose_layouts(graph, target)),
        ("halo", lambda graph: halo(graph, target)),
        ("split", split),
        ("pack", lambda graph: pack(graph, target)),
        ("simplify", simplify),
        ("share", share),
        ("narrow", narrow),
    )


SCHEDULING = ("rows",)  # what the planner does, not a pass, but can be left out as well
PLAIN_WITHOUT = ("layout", "halo", "split", "pack", "rows")  # what the plain schedule goes without


def verification_wanted() -> bool:
    """Whether the environment asks for it."""
    return os.environ.get("AUTODIFFC_VERIFY", "0") not in ("", "0")


@dataclass(frozen=True)
class Options:
    """What a build decides: types, sizes, the target, the threads, the passes."""

    dims: Mapping[str, DimChoice] | None = None
    dtype: str = "float32"
    target: str = "native"
    threads: int | None = None
    prefix: str | None = None
    without: Sequence[str] = ()  # names of passes to leave out
    plain: bool = False  # the plain schedule: loops alone, as much code for any extents
    verify: bool = field(default_factory=verification_wanted)
    gate: int = GATE  # the effort from which on threads share a kernel; see `schedule/effort.py`


DEFAULT_OPTIONS = Options()


def lower(
    model: object,
    *,
    dims: Mapping[str, DimChoice] | None = None,
    dtype: str = "float32",
    target: str = "native",
    threads: int | None = None,
    prefix: str | None = None,
    without: Sequence[str] = (),
    plain: bool = False,
    verify: bool | None = None,
    gate: int = GATE,
) -> Emitted:
    """The C module of a model; `verify` None leaves the choice to the environment.

    Threads share kernels whose effort is at least `gate` (`schedule/effort.py`).
    """
    from autodiffc.version import __version__

    verify = verification_wanted() if verify is None else verify
    options = Options(dims, dtype, target, threads, prefix, without, plain, verify, gate)
    program = build_program(model)  # type: ignore[arg-type]
    for graph in program.graphs.values():
        checked(graph, "differentiate", options)
    program = inlined(program, options)
    sizes = Sizes.of(program, model, options)
    program = specialized(program, sizes, options)
    program = optimized(program, options, sizes)
    plans = planned(program, sizes, options)
    layout = laid_out(program, sizes, options)
    emitted = emit_program(
        layout,
        plans,
        get_target(options.target),
        __version__,
        tiles=not options.plain,
        verify=options.verify,
        gate=options.gate,
    )
    return replace(emitted, manifest=described(emitted.manifest))


# --- Sizes ---


@dataclass(frozen=True)
class Sizes:
    """The dims of a build: fixed ones, and the ranges of those that stay open."""

    fixed: Mapping[str, int]
    ranges: Mapping[str, tuple[int, int]]
    defaults: Mapping[str, int]

    @classmethod
    def of(cls, program: Program, model: object, options: Options) -> Sizes:
        known = {d.name: d.default for d in model.dims}  # type: ignore[attr-defined]
        chosen = dict(options.dims or {})
        for name in chosen:
            if name not in known:
                raise ArgumentError(
                    f"the model has no dim {name!r}",
                    found=f"dims={chosen}",
                    expected=f"one of {', '.join(known) or 'none'}",
                )
        fixed, ranges = {}, {}
        for name, default in known.items():
            value = chosen.get(name, default)
            if isinstance(value, tuple):
                ranges[name] = _range(name, value)
            else:
                fixed[name] = _size(name, value)
        return cls(fixed, ranges, known)

    @property
    def largest(self) -> dict[str, int]:
        return {name: high for name, (_, high) in self.ranges.items()}


def _size(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(
            f"dim {name!r} needs a positive integer",
            found=repr(value),
            expected="e.g. 128, or (1, 128) to leave it open",
        )
    return value


def _range(name: str, value: tuple[int, int]) -> tuple[int, int]:
    if len(value) != 2 or _size(name, value[0]) > _size(name, value[1]):
        raise ArgumentError(
            f"the range of dim {name!r} is empty or not a pair",
            found=repr(value),
            expected="(low, high) with low <= high",
        )
    return value


# --- The steps ---


def checked(
    graph: Graph, stage: str, options: Options, ranges: Mapping[str, tuple[int, int]] | None = None
) -> Graph:
    """The graph that a stage made, after a look at its grammar where that is wanted."""
    if options.verify:
        verify_graph(graph, stage, ranges or {})
    return graph


def inlined(program: Program, options: Options) -> Program:
    """No subgraphs any more, in any graph."""
    graphs = {n: checked(inline(g), "inline", options) for n, g in program.graphs.items()}
    return replace(program, graphs=graphs)


def specialized(program: Program, sizes: Sizes, options: Options) -> Program:
    """Dims fixed and `real` decided, in every graph and every leaf."""

    def fix(graph: Graph) -> Graph:
        graph = specialize(graph, sizes.fixed, options.dtype, sizes.ranges)
        return checked(graph, "specialize", options, sizes.ranges)

    def leaves(nodes: Sequence[Node]) -> tuple[Node, ...]:
        graph = fix(Graph({str(k): n for k, n in enumerate(nodes)}))
        return tuple(graph.outputs[str(k)] for k in range(len(nodes)))

    return replace(
        program,
        graphs={name: fix(graph) for name, graph in program.graphs.items()},
        inputs=leaves(program.inputs),
        scalars=leaves(program.scalars),
        cotangents=leaves(program.cotangents),
        params=leaves(program.params),
        states=leaves(program.states),
        optimizer_states=leaves(program.optimizer_states),
    )


def optimized(program: Program, options: Options, sizes: Sizes | None = None) -> Program:
    """Every pass over every graph."""
    target = get_target(options.target)
    left_out = _left_out(options)
    ranges = None if sizes is None else sizes.ranges
    graphs = {}
    for name, graph in program.graphs.items():
        for title, improve in passes(target):
            if title not in left_out:
                graph = checked(improve(graph), title, options, ranges)
        graphs[name] = graph
    return replace(program, graphs=graphs)


def _left_out(options: Options) -> set[str]:
    """What to skip; a name that no pass has would leave nothing out, silently."""
    known = [*(title for title, _ in passes(get_target(options.target))), *SCHEDULING]
    if isinstance(options.without, str):
        raise ArgumentTypeError(
            "without takes a sequence of names", found=repr(options.without), expected='("fuse",)'
        )
    for name in options.without:
        if name not in known:
            close = get_close_matches(str(name), known, n=1)
            raise ArgumentError(
                "there is no pass of this name to leave out",
                found=repr(name),
                expected=f"one of {', '.join(dict.fromkeys(known))}",
                help=f"did you mean {close[0]!r}?" if close else None,
            )
    return {*options.without, *(PLAIN_WITHOUT if options.plain else ())}


def planned(program: Program, sizes: Sizes, options: Options = DEFAULT_OPTIONS) -> dict[str, Plan]:
    """Kernels, order and memory of every graph."""
    rows = "rows" not in _left_out(options)
    return {name: Planner(g, sizes.largest, rows=rows).plan() for name, g in program.graphs.items()}


def laid_out(program: Program, sizes: Sizes, options: Options) -> Layout:
    """The caller's view."""
    outputs = program.graphs["predict"].outputs
    return Layout(
        program=program,
        prefix=_prefix(options.prefix or program.name),
        dtype=options.dtype,
        ranges=sizes.ranges,
        fixed=sizes.fixed,
        dim_defaults=sizes.defaults,
        outputs={name: outputs[key(OUTPUT, name)] for name in program.outputs},
        threads=options.threads,
    )


def described(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with initializers as plain data."""
    leaves = {
        kind: [leaf | {"init": describe_initializer(leaf["init"])} for leaf in manifest[kind]]
        for kind in ("params", "states")
    }
    return manifest | leaves


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise ArgumentError(
            "the prefix must be a C identifier", found=repr(text), expected="e.g. lenet5"
        )
    return text


def roles(graph: Graph) -> Iterator[tuple[str, str, Node]]:
    """The outputs of an entry graph with their roles."""
    for text, node in graph.outputs.items():
        yield (*split_key(text), node)
