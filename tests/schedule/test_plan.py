"""Plans of random models run on memory that knows which value lies where, and the rules by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import autodiffc as ad
from autodiffc.differentiate.dependence import reached
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression
from autodiffc.lower import Options, Sizes, optimized, planned, specialized
from autodiffc.schedule.arena import ALIGNMENT
from autodiffc.schedule.plan import HEADER_BYTES, Call, Plan
from autodiffc.schedule.program import (
    GENERAL,
    GRADIENT,
    NEXT,
    OUTPUT,
    PARAM,
    build_program,
    split_key,
)
from tests.schedule.memory import Memory, keys_of, run_phase, start

Planned = dict[str, tuple[Graph, Plan]]


def plans(model: ad.Model, **options: Any) -> Planned:
    """The graph and the plan of each entry."""
    chosen = Options(**options)
    program = build_program(model)
    sizes = Sizes.of(program, model, chosen)
    program = optimized(specialized(program, sizes, chosen), chosen)
    return {n: (program.graphs[n], plan) for n, plan in planned(program, sizes).items()}


# --- Random models ---

VECTOR, MATRIX = (4,), (3, 4)


Ids = Mapping[int, Expression]  # integers that index the first axis, by rank


STEPS: Sequence[Callable[[Expression, Expression, Ids], Expression]] = (
    lambda a, b, ids: a + b,
    lambda a, b, ids: a * b,
    lambda a, b, ids: ad.relu(a - b),
    lambda a, b, ids: ad.exp(ad.minimum(a, 1.0)),
    lambda a, b, ids: a * ad.sum(b),
    lambda a, b, ids: a - ad.max(a, axis=-1, keepdims=True),
    lambda a, b, ids: ad.flip(a, 0),
    lambda a, b, ids: ad.reshape(ad.reshape(a, (-1,)), a.shape),
    lambda a, b, ids: ad.stop_gradient(a) + b,
    lambda a, b, ids: ad.flip(a[ids[len(a.shape)]], 0),
    lambda a, b, ids: a * ad.argmax(a, axis=-1, keepdims=True),
)


@st.composite
def models(draw: st.DrawFn) -> ad.Model:
    """Inputs, a parameter or two, states; values of them; any of these as outputs and updates."""
    leaves = [
        ad.input("x", MATRIX),
        *(ad.param(f"w{k}", draw(st.sampled_from([VECTOR, MATRIX]))) for k in range(2)),
        *(ad.state(f"s{k}", draw(st.sampled_from([VECTOR, MATRIX]))) for k in range(3)),
    ]
    ids = {
        1: ad.input("columns", (4,), "int32", low=0, high=4),
        2: ad.input("rows", (3,), "int32", low=0, high=3),
    }
    values = list(leaves)
    for _ in range(draw(st.integers(1, 8))):
        step = draw(st.sampled_from(STEPS))
        values.append(step(draw(st.sampled_from(values)), draw(st.sampled_from(values)), ids))
    kept = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    outputs = {f"y{k}": v for k, v in enumerate(kept)}
    total = sum((ad.sum(v * v) for v in draw(st.lists(st.sampled_from(values), max_size=2))), 0.0)
    loss = ad.sum(values[-1]) + total
    updates = {}
    for state in draw(st.permutations([v for v in leaves if v.node.op == "state"])):
        fitting = [v for v in values if v.shape == state.shape and v.dtype == state.dtype]
        if fitting and draw(st.booleans()):
            updates[state] = draw(st.sampled_from(fitting))
    named = ad.Model("m", {**outputs, "loss": loss}, updates=updates)
    params = {n.name for n in named.params}
    # what the loss does not depend on is refused
    matters = {str(n.name) for n in reached([loss.node]) if n.op in ("param", "input")}
    options = [w for w in WRT if matters.issuperset(w)]
    if not options:
        return named
    wrt = draw(st.sampled_from(options))
    optimizers = [ad.SGD(lr=0.1), ad.SGD(lr=0.1, momentum=0.9)] if params.intersection(wrt) else []
    optimizer = draw(st.sampled_from([None, *optimizers]))
    return ad.Model("m", {**outputs, "loss": loss}, "loss", wrt, optimizer, updates)


WRT = (["w0"], ["w1"], ["x"], ["w0", "w1"], ["w1", "x"])


@st.composite
def chosen(draw: st.DrawFn, keys: set[str]) -> set[str]:
    return {k for k in sorted(keys) if draw(st.booleans())}


thorough = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # to make a failing model smaller takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def run_entries(planned: Planned, wanted: Callable[[set[str]], set[str]]) -> None:
    """Every entry point, `backward` of both kinds and twice each, for the outputs wanted."""
    for entry, (graph, plan) in planned.items():
        memory = start(graph, plan)
        always = keys_of(graph, NEXT, PARAM)
        run_phase(memory, graph, 0, always | wanted(keys_of(graph, OUTPUT)))
        if entry == "training":
            for role in (GRADIENT, GENERAL, GRADIENT, GENERAL):
                run_phase(memory, graph, 1, wanted(keys_of(graph, role)))


@given(models(), st.data())
@thorough
def test_every_kernel_reads_what_its_formula_means(model: ad.Model, data: st.DataObject) -> None:
    run_entries(plans(model), lambda keys: data.draw(chosen(keys)))


@given(models())
@thorough
def test_checks_come_before_anything_the_caller_sees(model: ad.Model) -> None:
    for _, plan in plans(model).values():
        for phase in (0, 1):
            calls = [c for c in plan.calls if c.phase == phase]
            last = max((k for k, c in enumerate(calls) if is_check(c)), default=0)
            assert all(s.kind == "arena" for c in calls[:last] for s in written(c))


@given(models())
@thorough
def test_a_kernel_of_backward_serves_one_kind_of_cotangents(model: ad.Model) -> None:
    """Else the kernel would write one kind's gradients while the caller asked for the other's."""
    for graph, plan in plans(model).values():
        needs = needed_by(graph)
        for call in plan.calls:
            if call.phase == 1 and call.group is not None:
                kinds = {frozenset(split_key(k)[0] for k in needs[n]) for n in call.group.nodes}
                assert len(kinds) == 1, call


@given(models())
@thorough
def test_the_arena_holds_its_values_apart(model: ad.Model) -> None:
    """Each value inside, aligned; no two that a kernel sees at once overlap."""
    for _, plan in plans(model).values():
        for offset, size in plan.arena.values():
            assert offset % ALIGNMENT == 0
            assert offset >= HEADER_BYTES
            assert offset + size <= plan.arena_bytes
        for call in plan.calls:
            spans = {(s.offset, s.bytes) for s in call.slots if s.kind in ("arena", "cotangent")}
            ordered = sorted(spans)
            for (at, size), (after, _) in pairwise(ordered):
                assert at + size <= after, call


def is_check(call: Call) -> bool:
    return call.group is not None and call.group.kind == "check"


def written(call: Call) -> tuple[Any, ...]:
    if call.group is None:
        return call.slots[:1]
    return call.slots[len(call.slots) - len(call.results) :]


def needed_by(graph: Graph) -> Mapping[Any, set[str]]:
    """The outputs that need each node, found from the outputs backwards."""
    found: dict[Any, set[str]] = {n: set() for n in graph.order}
    for key, node in graph.outputs.items():
        for n in Graph({key: node}).order:
            found[n].add(key)
    return found


# --- The rules, one by one ---


def copies(plan: Plan) -> list[Call]:
    return [c for c in plan.calls if c.group is None]


def test_a_single_output_is_written_where_the_caller_wants_it() -> None:
    x = ad.input("x", (5,))
    _, plan = plans(ad.Model("m", {"y": ad.exp(x) * 2}))["predict"]
    (call,) = plan.calls
    assert [(s.kind, s.name) for s in call.slots] == [("input", "x"), ("output", "y")]
    assert plan.arena_bytes == HEADER_BYTES


def test_an_output_that_others_read_has_a_place_in_the_arena_if_it_is_not_asked_for() -> None:
    x = ad.input("x", (5,))
    e = ad.exp(x)
    w = ad.input("w", (3, 5))
    _, plan = plans(ad.Model("m", {"e": e, "y": w @ e}))["predict"]
    assert not copies(plan)
    (slot,) = {s for c in plan.calls for s in c.slots if s.kind == "arena"}
    assert slot.caller is not None
    assert (slot.caller.kind, slot.caller.name) == ("output", "e")


def test_an_output_that_backward_reads_is_copied_since_backward_is_not_given_it() -> None:
    x = ad.input("x", (5,))
    e = ad.exp(x)
    _, plan = plans(ad.Model("m", {"e": e, "y": ad.sum(e)}, "y"))["training"]
    (copy,) = (c for c in copies(plan) if c.phase == 0)
    assert [(s.kind, s.name) for s in copy.slots] == [("output", "e"), ("arena", "e")]
    assert copy.wanted_by == {"output:e"}
    assert copy.slots[1].caller is None


def test_parameters_are_updated_in_place_by_their_last_reader() -> None:
    x, w = ad.input("x", (5,)), ad.param("w", (5,))
    loss = ad.sum(ad.exp(x * w))
    _, plan = plans(ad.Model("m", {"loss": loss}, "loss", optimizer=ad.SGD(lr=0.1)))["step"]
    assert not copies(plan)
    updates = [c for c in plan.calls if "param" in {s.kind for s in written(c)}]
    readers = [c for c in plan.calls if ("param", "w") in {(s.kind, s.name) for s in c.slots}]
    assert len(updates) == 1
    assert updates[-1] is readers[-1]


def test_a_state_read_out_of_order_by_its_update_is_not_updated_in_place() -> None:
    s = ad.state("s", (5,))
    _, plan = plans(ad.Model("m", {"y": ad.sum(s)}, updates={s: ad.flip(s, 0)}))["predict"]
    assert not keys_of(_, NEXT)
    _, plan = plans(ad.Model("m", {"y": ad.sum(s)}, updates={s: ad.flip(s, 0)}))["training"]
    (copy,) = copies(plan)
    assert [c.kind for c in copy.slots] == ["state", "arena"]


def test_updates_come_after_all_readers_of_the_old_value() -> None:
    s = ad.state("s", (5,))
    following = s + 1
    late = ad.sum(ad.flip(s, 0) * 3)  # made after the next value
    _, plan = plans(ad.Model("m", {"late": late}, updates={s: following}))["training"]
    assert [[s.kind for s in written(c)] for c in plan.calls] == [["output"], ["state"]]


def test_what_forward_leaves_for_backward_lasts_for_any_number_of_backward_calls() -> None:
    h = ad.input("x", MATRIX)
    for _ in range(5):
        h = ad.exp(ad.flip(h, 0) * ad.sum(h))
    run_entries(plans(ad.Model("m", {"y": ad.sum(h)}, "y")), lambda keys: keys)


def test_indices_are_checked_before_outputs_that_need_no_check() -> None:
    x, ids = ad.input("x", (5,)), ad.input("ids", (3,), "int32", low=0, high=5)
    early = ad.exp(x)
    model = ad.Model("m", {"early": early, "late": ad.sum(x[ids])})
    _, plan = plans(model)["predict"]
    assert [is_check(c) for c in plan.calls] == [True, False, False]


def test_gradients_of_parameters_are_written_into_their_buffer() -> None:
    x, w = ad.input("x", (3, 5)), ad.param("w", (5, 2))
    _, plan = plans(ad.Model("m", {"loss": ad.sum(ad.exp(x @ w))}, "loss"))["training"]
    assert not copies(plan)
    kinds = [s.kind for c in plan.calls if c.phase == 1 for s in written(c)]
    assert kinds.count("gradient") == 2  # one for each kind of cotangents


# --- The same, computed ---


def feedback(kind: str) -> ad.Model:
    """Two states whose next values are each other's old ones, or a delay line."""
    x = ad.input("x", (3,))
    a, b = ad.state("a", (3,), init=1.0), ad.state("b", (3,), init=2.0)
    updates = {"swap": {a: b, b: a}, "delay": {a: x + b, b: a}, "last": {b: a, a: a * b}}[kind]
    return ad.Model(kind, {"y": ad.sum(x * a * b), "a_old": a}, "y", ["x"], None, updates)


@pytest.mark.parametrize(
    ("kind", "expected"), [("swap", (2, 1)), ("delay", (12, 1)), ("last", (2, 1))]
)
def test_next_values_are_made_of_old_ones(kind: str, expected: tuple[float, float]) -> None:
    model = feedback(kind)
    run_entries(plans(model), lambda keys: keys)
    program = ad.compile(model).init(seed=0)
    x = np.full(3, 10, np.float32)
    out, gradients = program.value_and_grad(x=x)
    assert (out.y, *out.a_old) == (60, 1, 1, 1)
    assert tuple(gradients["x"]) == (2, 2, 2)
    for name, value in zip("ab", expected, strict=True):
        assert tuple(program.states[name]) == (value,) * 3


def test_a_state_may_keep_the_old_value_of_a_parameter() -> None:
    x, w, s = ad.input("x", (3,)), ad.param("w", (3,), init=1.0), ad.state("s", (3,), init=5.0)
    model = ad.Model("m", {"y": ad.sum(x * w)}, "y", None, ad.SGD(lr=0.5), {s: w})
    run_entries(plans(model), lambda keys: keys)
    program = ad.compile(model).init(seed=0)
    program.step(x=np.ones(3, np.float32))
    assert tuple(program.states["s"]) == (1, 1, 1)
    assert tuple(program.params["w"]) == (0.5, 0.5, 0.5)


def test_the_memory_of_these_tests_finds_a_read_of_overwritten_bytes() -> None:
    """The checks above would show nothing if this one passed in silence."""
    x = ad.input("x", (5,))
    graph, plan = plans(ad.Model("m", {"y": ad.sum(ad.exp(x)) * ad.flip(ad.exp(x), 0)}))["predict"]
    names = list(plan.arena)
    assert len(names) >= 2
    clash = Plan(plan.calls, plan.arena_bytes, dict.fromkeys(names, (64, 20)), plan.needs)
    memory: Memory = start(graph, clash)
    with pytest.raises(AssertionError, match="holds"):
        run_phase(memory, graph, 0, keys_of(graph, OUTPUT))
