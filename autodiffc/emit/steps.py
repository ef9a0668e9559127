"""The steps of an entry point, for one thread or for a team: who runs which, and who waits.

A step is one call of the plan. All threads of a team come to every step. A kernel that they share
is called by each; every other step is left to the first thread. They wait before a step that
touches memory which a step since the last wait has written, or writes what one has read; but not
if the first thread has run both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from autodiffc.graph.extents import ExtentLike
from autodiffc.schedule.plan import Call, Slot

INDENT = "    "
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Access:
    """A step's use of a piece of memory, and whether the first thread alone runs that step."""

    place: Place
    written: bool
    alone: bool

    @classmethod
    def of(cls, slot: Slot, written: bool, alone: bool) -> Access:
        if slot.bytes:
            return cls(("arena", slot.offset, slot.offset + slot.bytes), written, alone)
        return cls((f"{slot.kind} {slot.name}", 0, 1), written, alone)

    def meets(self, other: Access) -> bool:
        """Whether one has to wait for the other."""
        (name, start, stop), (name_2, start_2, stop_2) = self.place, other.place
        apart = name != name_2 or stop <= start_2 or stop_2 <= start
        return not apart and (self.written or other.written) and not (self.alone and other.alone)


@dataclass(frozen=True)
class Step:
    """One call of the plan: its text, when it runs, and what it reads and writes.

    `work` is that of a kernel (or copy) for a team, with a `gate` that it has yet to pass.
    """

    lines: tuple[str, ...]
    condition: str
    accesses: tuple[Access, ...] = ()
    team: bool = False
    is_check: bool = False
    work: ExtentLike = 0
    gate: int | None = None


def accesses(call: Call, team: bool) -> tuple[Access, ...]:
    """What a call reads and writes: results are its last slots; a copy's target is its first."""
    results = len(call.slots) - len(call.results)
    written = [k >= results if call.group else k == 0 for k in range(len(call.slots))]
    return tuple(
        Access.of(slot, w, alone=not team) for slot, w in zip(call.slots, written, strict=True)
    )


def before_team(steps: Sequence[Step]) -> int:
    """How many steps run before there is a team: up to the last check, which may end the call."""
    return max((k + 1 for k, s in enumerate(steps) if s.is_check), default=0)


def serial_lines(steps: Sequence[Step]) -> list[str]:
    """The steps one after the other."""
    lines: list[str] = []
    for condition, block in groupby(steps, key=lambda s: s.condition):
        lines += guarded(condition, [line for s in block for line in s.lines])
    return lines


def team_lines(steps: Sequence[Step]) -> list[str]:
    """The steps as each thread of a team runs them."""
    lines: list[str] = []
    since: frozenset[Access] = frozenset()  # all that may have happened since the last wait
    for condition, block in groupby(steps, key=lambda s: s.condition):
        planned = _Block(since)
        inner = planned.lines(list(block))
        lines += guarded(condition, inner)
        since = planned.since | since if condition else planned.since
    return lines


@dataclass
class _Block:
    """Steps that run under one condition."""

    since: frozenset[Access]
    alone: list[str] = field(default_factory=list)  # steps in a row that the first thread runs

    def lines(self, steps: Sequence[Step]) -> list[str]:
        found: list[str] = []
        for step in steps:
            if any(a.meets(b) for a in step.accesses for b in self.since):
                found += [*self._first_thread(), "team_wait(team);"]
                self.since = frozenset()
            self.since |= frozenset(step.accesses)
            if step.team:
                found += [*self._first_thread(), *step.lines]
            else:
                self.alone += step.lines
        return [*found, *self._first_thread()]

    def _first_thread(self) -> list[str]:
        lines, self.alone = guarded("team.part == 0", self.alone), []
        return lines


def guarded(condition: str, lines: Sequence[str]) -> list[str]:
    """The lines behind a condition, if there is one."""
    if not condition or not lines:
        return list(lines)
    return [f"if ({condition}) {{", *(INDENT + line for line in lines), "}"]


def gates(steps: Sequence[Step]) -> Iterator[tuple[ExtentLike, int]]:
    """The works that decide in a call whether threads are worth it, with their gates; none where
    there is enough in any case."""
    if all(s.gate is not None for s in steps if s.team):
        found = {s.work: s.gate for s in steps if s.team and s.gate is not None}
        yield from ((w, g) for w, g in found.items() if not any(_exceeds(v, w) for v in found))


def _exceeds(a: ExtentLike, b: ExtentLike) -> bool:
    """Whether one work is certainly the greater one: each of its terms is at least as great."""
    terms, others = ({} if isinstance(x, int) else dict(x.terms) for x in (a, b))
    known = terms.keys() >= others.keys()
    return a != b and known and all(terms[m] >= c for m, c in others.items())
