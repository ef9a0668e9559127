"""A kernel for a team of threads: which loops they share, and where they wait for each other.

Lowering marks the loops whose iterations may run in any order. A kernel without any, or with little
work, is for one thread. Every other one is called by all threads of the team at once, and

    a marked loop                     is shared: each thread takes one run of its iterations
    zeros                             are shared as well
    what stores outside of such loops is for the first thread alone
    a wait                            stands where a statement needs what others have written

Which thread computes an element changes nothing in how it is computed, so results have the same
bits for any number of threads.

Of nested loops the outermost is shared that has enough iterations to be dealt out evenly; where it
has few, it is joined with those directly inside it, or run by all threads, which share a longer one
inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from autodiffc.graph.extents import ExtentLike, defaults, substitute
from autodiffc.loops.ir import (
    Array,
    Block,
    First,
    FloorDiv,
    For,
    If,
    Int,
    Kernel,
    Let,
    LetInt,
    Linear,
    Stmt,
    Var,
    Wait,
    Zero,
    integer,
    statements,
    variable,
)
from autodiffc.loops.traffic import Traffic
from autodiffc.schedule.words import is_reserved

ENOUGH = 32  # iterations that teams of up to 8 share with little left over


def for_team(kernel: Kernel, gate: int | None, ranges: Mapping[str, tuple[int, int]]) -> Kernel:
    """The kernel as threads run it: all of them from a work of `gate` on, one below; None: one.

    `ranges` has the least and the greatest value of open dims.
    """
    least, most = bounds(kernel.work, ranges)
    if gate is None or kernel.can_fail or most < gate or not _has_parallel(kernel.body):
        return replace(kernel, body=_serial(kernel.body))
    body = tuple(_Team(kernel).sequence(kernel.body))
    return replace(kernel, body=body, team=True, gate=None if least >= gate else gate)


def bounds(work: ExtentLike, ranges: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """The work with the least dims, and with the greatest."""
    sizes = [{name: pair[k] for name, pair in ranges.items()} for k in (0, 1)]
    least, most = (defaults(substitute(work, s)) for s in sizes)
    return least, most


def _has_parallel(body: Iterable[Stmt]) -> bool:
    """Whether there is a loop to share; with a single iteration there is nothing to."""
    loops = [s for s in statements(tuple(body)) if isinstance(s, For)]
    return any("parallel" in s.mode and _trips(s) != 1 for s in loops)


def _serial(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """The statements without marks."""
    found: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, For):
            stmt = replace(stmt, body=_serial(stmt.body), mode=_mode(stmt))
        elif isinstance(stmt, If | Block):
            stmt = replace(stmt, body=_serial(stmt.body))
        found.append(stmt)
    return tuple(found)


def _mode(loop: For, shared: str = "") -> str:
    simd = "simd" if "simd" in loop.mode else ""
    return f"{shared} {simd}".strip() or "serial"


class _Team:
    """Rewrites the statements of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.taken = {p.name for p in kernel.params} | set(kernel.dims)
        for stmt in statements(kernel.body):
            if isinstance(stmt, For):
                self.taken.add(stmt.variable)
            elif isinstance(stmt, Let | LetInt | Var | Array):
                self.taken.add(stmt.name)

    def fresh(self, name: str) -> str:
        while name in self.taken or is_reserved(name):
            name += "_"
        self.taken.add(name)
        return name

    def sequence(self, body: Sequence[Stmt]) -> list[Stmt]:
        """Statements that all threads come to, one after the other."""
        found: list[Stmt] = []
        shared: set[str] = set()  # variables of loops, whose parts are declared in this block
        since: list[Traffic] = []  # what has been read and written since the last wait
        for stmt in body:
            traffic = Traffic.of(stmt)
            if any(traffic.meets(earlier) for earlier in since):
                found.append(Wait())
                since = []
            for new in self.statement(stmt):
                twice = isinstance(new, For) and new.variable in shared
                found.append(Block((new,)) if twice else new)
                shared |= {new.variable} if isinstance(new, For) else set()
            since.append(traffic)
        return found

    def statement(self, stmt: Stmt) -> list[Stmt]:
        if isinstance(stmt, For) and _has_parallel([stmt]):
            return [self.loop(stmt)]
        if isinstance(stmt, If | Block) and _has_parallel([stmt]):
            return [replace(stmt, body=tuple(self.sequence(stmt.body)))]
        if isinstance(stmt, Zero):
            return [replace(stmt, shared=True)]
        (serial,) = _serial([stmt])
        if not Traffic.of(stmt).written:
            return [serial]
        return [First(serial.body if isinstance(serial, Block) else (serial,))]

    def loop(self, loop: For) -> For:
        """A loop with marks, on it or inside it."""
        if "parallel" not in loop.mode:  # the next iteration may need what this one has written
            return replace(loop, body=(*self.sequence(loop.body), Wait()))
        if _trips(loop) == 1 and _has_parallel(loop.body):
            return replace(loop, body=tuple(self.sequence(loop.body)), mode="serial")
        if _trips(loop) < ENOUGH:
            joined = self.joined(loop)
            if joined is not None:
                return joined
            if _cheap_to_repeat(loop.body) and _most_trips(loop.body) > 2 * _trips(loop) > 0:
                return replace(loop, body=tuple(self.sequence(loop.body)), mode="serial")
        return replace(loop, body=_serial(loop.body), mode=_mode(loop, "shared"))

    # --- Several loops as one ---

    def joined(self, loop: For) -> For | None:
        """One loop over the iterations of this and of loops inside it, until there are enough."""
        chain, units = [loop], max(_trips(loop), 1)
        while units < ENOUGH and (inner := _directly_inside(chain[-1])) is not None:
            chain.append(inner)
            units *= _trips(inner)
        total = _total(chain)
        if len(chain) == 1 or total is None:
            return None
        name = self.fresh("_".join(c.variable for c in chain))
        body = (*self._indices(name, chain), *_serial(chain[-1].body))
        return For(name, integer(0), total, body, 1, "shared")

    def _indices(self, name: str, chain: Sequence[For]) -> list[Stmt]:
        """Each loop's variable, from the number of the iteration."""
        stmts: list[Stmt] = []
        rest = variable(name)
        for k, loop in enumerate(chain):
            size = _product(_trips(c) for c in chain[k + 1 :])
            start, step = loop.start, loop.step
            assert isinstance(start, Linear)
            count: Int = FloorDiv(rest, size) if size > 1 else rest
            if _trips(loop) == 1:
                stmts.append(LetInt(loop.variable, start))
                continue
            if start == integer(0) and step == 1:
                number = loop.variable
                stmts.append(LetInt(number, count))
            elif isinstance(count, Linear):
                stmts.append(LetInt(loop.variable, count * step + start))
                break
            else:
                number = self.fresh(f"{loop.variable}_at")
                stmts.append(LetInt(number, count))
                stmts.append(LetInt(loop.variable, variable(number) * step + start))
            rest = rest - variable(number) * size
        return stmts


def _directly_inside(loop: For) -> For | None:
    """The marked loop that is all there is in a loop, if it can be joined with it."""
    if len(loop.body) != 1 or not isinstance(inner := loop.body[0], For):
        return None
    plain = inner.mode == "parallel" and inner.step > 0
    return inner if plain and _trips(inner) > 0 and _is_even(inner) and _is_even(loop) else None


def _is_even(loop: For) -> bool:
    """Whether the step divides the length; that of an open extent is 1."""
    length = _length(loop)
    return loop.step == 1 if length is None else length % loop.step == 0


def _length(loop: For) -> int | None:
    ends = [loop.start, loop.stop]
    known = [
        e.constant
        for e in ends
        if isinstance(e, Linear) and not e.terms and isinstance(e.constant, int)
    ]
    return known[1] - known[0] if len(known) == 2 else None


def _trips(loop: For) -> int:
    """The iterations of a loop; 0 where they are not known."""
    length = _length(loop)
    return 0 if length is None else length // abs(loop.step)


def _total(chain: Sequence[For]) -> Linear | None:
    """The iterations of all loops together."""
    inner = _product(_trips(c) for c in chain[1:])
    first = chain[0]
    if _trips(first) > 0:
        return integer(_trips(first) * inner)
    plain = isinstance(first.stop, Linear) and not first.stop.terms and first.start == integer(0)
    return integer(first.stop.constant * inner) if plain and first.step == 1 else None  # type: ignore[union-attr]


def _product(factors: Iterable[int]) -> int:
    total = 1
    for factor in factors:
        total *= factor
    return total


def _cheap_to_repeat(body: Sequence[Stmt]) -> bool:
    """Whether all threads may come to every statement: none that is shared by nobody takes long."""
    return all(
        _has_parallel([s]) or not isinstance(s, For) or bool(Traffic.of(s).written) for s in body
    )


def _most_trips(body: Sequence[Stmt]) -> int:
    loops = [s for s in statements(tuple(body)) if isinstance(s, For) and "parallel" in s.mode]
    return max((_trips(s) for s in loops), default=0)
