"""The steps of an entry point, for one thread or for a team: who runs which, and who waits.

A step is one call of the plan. All threads of a team come to every step. A kernel that they share
is called by each; every other step is left to the first thread. They wait before a step that
touches memory which a step since the last wait has written, or writes what one has read; but not
if the first thread has run both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from autodiffc.emit.values import extent_text
from autodiffc.graph.extents import ExtentLike
from autodiffc.loops.team import bounds
from autodiffc.schedule.effort import team_cost
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


def team_pays(
    steps: Sequence[Step], gate: int, ranges: Mapping[str, tuple[int, int]]
) -> bool | list[str]:
    """Whether a call gains by having a team; where open dims decide, what it gains as C terms.

    Each kernel that a team shares brings its work, and costs what `team_cost` says. `ranges` has
    the least and the greatest value of open dims.
    """
    works = Counter(step.work for step in steps if step.team)
    cost = team_cost(gate)
    ends = [(bounds(work, ranges), n) for work, n in works.items()]
    if all(least >= cost for (least, _), _ in ends):
        return True
    if all(least == most for (least, most), _ in ends):
        return sum(n * (least - cost) for (least, _), n in ends) >= 0
    return [
        f"{f'{n} * ' if n > 1 else ''}team_gain({extent_text(work)}, {gate}, {cost})"
        for work, n in works.items()
    ]
