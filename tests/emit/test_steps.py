"""Which thread runs a step of an entry point, and what it waits for."""

from __future__ import annotations

from autodiffc.emit.steps import Access, Step, before_team, serial_lines, team_lines, team_pays
from autodiffc.graph.extents import ExtentLike, dim
from autodiffc.schedule.effort import team_cost
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


def shared(*works: ExtentLike) -> list[Step]:
    return [Step((), "", team=True, work=w, gate=100) for w in works]


def test_a_team_must_gain_more_than_it_costs() -> None:
    assert team_cost(100) == 350
    assert team_pays(shared(350), 100, {}) is True
    assert team_pays(shared(349), 100, {}) is False
    assert team_pays(shared(200, 200, 700), 100, {}) is True
    assert team_pays(shared(200, 200, 600), 100, {}) is False
    assert team_pays([*shared(600), Step((), "", work=1)], 100, {}) is True


def test_an_unreachable_gate_stays_within_64_bits() -> None:
    assert team_cost(1 << 60) < 1 << 63


def test_open_dims_decide_in_the_call() -> None:
    n = dim("n", 4)
    assert team_pays(shared(n * 60, n * 70), 100, {"n": (6, 90)}) is True
    assert team_pays(shared(n * 60, n * 70, n * 60), 100, {"n": (1, 90)}) == [
        "2 * team_gain((60*n), 100, 350)",
        "team_gain((70*n), 100, 350)",
    ]
