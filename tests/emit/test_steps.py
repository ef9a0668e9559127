"""Which thread runs a step of an entry point, and what it waits for."""

from __future__ import annotations

from autodiffc.emit.steps import Access, Step, before_team, gates, serial_lines, team_lines
from autodiffc.graph.extents import dim
from autodiffc.schedule.plan import Slot

WAIT = "team_wait(team);"
FIRST = "if (team.part == 0) {"


def step(
    name: str, reads: str = "", writes: str = "", *, team: bool = True, condition: str = ""
) -> Step:
    """A step on the caller's arrays of these names, a letter each."""
    used = [(n, False) for n in reads] + [(n, True) for n in writes]
    found = tuple(Access.of(Slot("input", n, "float32"), w, not team) for n, w in used)
    return Step((f"{name}();",), condition, found, team)


def test_a_reader_waits_for_the_writer() -> None:
    steps = [step("f", "a", "b"), step("g", "b", "c"), step("h", "a", "d")]
    assert team_lines(steps) == ["f();", WAIT, "g();", "h();"]


def test_a_writer_waits_for_readers_and_other_writers() -> None:
    assert team_lines([step("f", "a"), step("g", "", "a")]) == ["f();", WAIT, "g();"]
    assert team_lines([step("f", "", "a"), step("g", "", "a")]) == ["f();", WAIT, "g();"]


def test_readers_do_not_wait_for_each_other() -> None:
    assert team_lines([step("f", "a", "b"), step("g", "a", "c")]) == ["f();", "g();"]


def test_the_first_thread_does_not_wait_for_itself() -> None:
    steps = [step("f", "a", "b", team=False), step("g", "b", "c", team=False), step("h", "c")]
    assert team_lines(steps) == [FIRST, "    f();", "    g();", "}", WAIT, "h();"]


def test_what_may_not_have_been_waited_for_counts() -> None:
    steps = [
        step("f", "", "a"),
        step("g", "a", "b", condition="out_y"),
        step("h", "a"),
        step("k", "b"),
    ]
    inside = [f"    {WAIT}", "    g();"]
    assert team_lines(steps) == ["f();", "if (out_y) {", *inside, "}", WAIT, "h();", "k();"]


def test_memory_is_told_apart_by_its_bytes() -> None:
    def place(name: str, offset: int, size: int, written: bool) -> Access:
        return Access.of(Slot("arena", name, "float32", offset, size), written, False)

    written = place("a", 64, 128, True)
    assert written.meets(place("b", 128, 64, False))
    assert not written.meets(place("b", 192, 64, True))
    assert not place("a", 64, 128, False).meets(place("b", 64, 128, False))
    assert not written.meets(Access.of(Slot("param", "a", "float32"), True, False))


def test_one_thread_just_calls() -> None:
    steps = [step("f", "", "a"), step("g", "a", condition="out_y"), step("h", condition="out_y")]
    assert serial_lines(steps) == ["f();", "if (out_y) {", "    g();", "    h();", "}"]


def test_checks_come_before_the_team() -> None:
    check = Step(("check();",), "", is_check=True)
    assert before_team([step("f"), check, step("g"), check, step("h")]) == 4
    assert before_team([step("f"), step("g")]) == 0


def test_the_largest_works_decide() -> None:
    n, m = dim("n", 4), dim("m", 4)
    works = [n * 3, n * 5, n * m, n * m * 2 + n * 7, m * 9]
    steps = [Step((), "", team=True, work=w, gate=100) for w in works]
    assert list(gates(steps)) == [(n * m * 2 + n * 7, 100), (m * 9, 100)]
    assert list(gates([*steps, Step((), "", team=True, work=500)])) == []
