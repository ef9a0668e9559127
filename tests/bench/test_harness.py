"""Taking turns, comparing results, leaving peers out: with contestants made up for the purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autodiffc.bench import machine as machine_module
from autodiffc.bench.machine import Machine
from autodiffc.targets import get_target
from benchmarks import report
from benchmarks.harness import Contestant, Limits, NotThere, check, race
from benchmarks.workloads import WORKLOADS, Field


def contestant(
    name: str, value: object = 1.0, call: Callable[[], object] = lambda: None
) -> Contestant:
    return Contestant(name, "1.0", 1, call, lambda: {"y": np.asarray(value)})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(machine_module, "ROUNDS", 1000)
    monkeypatch.setattr(machine_module, "MOST_DRAM_BYTES", 1 << 22)
    return Machine(get_target("native"), "float32", threads=1, openmp=False, cc=None)


# --- comparing ---


def test_equal_results_pass() -> None:
    check([contestant("a", [1.0, 2.0]), contestant("b", [1.0, 2.0 + 1e-6])], 1e-5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1.0, 2.1], "b: y differs from ours by 5"),
        ([1.0, np.nan], "differs from ours by nan"),
        ([1.0], "b: y has the shape"),
    ],
)
def test_another_result_is_an_error(value: object, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check([contestant("a", [1.0, 2.0]), contestant("b", value)], 1e-3)


def test_results_must_have_the_same_names() -> None:
    other = Contestant("b", "1.0", 1, lambda: None, lambda: {"z": np.ones(1)})
    with pytest.raises(AssertionError, match="returns"):
        check([contestant("a"), other], 1e-3)


# --- turns ---


def test_everyone_has_a_turn_in_every_round(machine: Machine) -> None:
    turns: list[str] = []
    field = [contestant(n, call=lambda n=n: turns.append(n)) for n in "abc"]  # type: ignore[misc]
    outcome = race(field, machine, Limits(rounds=6, seconds=10, sample_seconds=0))
    assert {name: len(s.values) for name, s in outcome.seconds.items()} == dict.fromkeys("abc", 6)
    assert {len(s.values) for s in outcome.processors.values()} == {6}
    assert len(outcome.peak.values) == len(outcome.bandwidth.values) == 6
    last = turns[-3 * 2 * 6 :]  # the call that is not counted, and the one that is
    rounds = ["".join(last[k : k + 6 : 2]) for k in range(0, len(last), 6)]
    assert rounds == ["abc", "bca", "cab"] * 2


def test_time_ends_a_race_but_not_before_three_rounds(machine: Machine) -> None:
    outcome = race([contestant("a")], machine, Limits(rounds=50, seconds=0, sample_seconds=0))
    assert len(outcome.seconds["a"].values) == 3


# --- who takes part ---


def test_who_is_not_there_is_told_with_the_reason() -> None:
    entered = Field([contestant("ours")])

    def missing() -> list[Callable[[], Contestant]]:
        raise ModuleNotFoundError("No module named 'peer'")

    def unable() -> Contestant:
        raise NotThere("it has no such operation")

    entered.add("Missing", missing)
    entered.add("Partly", lambda: [lambda: contestant("other"), unable])
    assert [c.name for c in entered.contestants] == ["ours", "other"]
    assert entered.absent == {
        "Missing": "not installed (No module named 'peer')",
        "Partly 2 of 2": "it has no such operation",
    }


def test_the_workloads_of_the_page_are_there() -> None:
    assert {"lenet5-1", "lenet5-32", "lenet5-128", "mlp-1", "mlp-64", "alexnet-8"} <= set(WORKLOADS)
    assert {"matmul-512", "matmul-1024", "small_mlp", "quiz-map", "quiz-keywords"} <= set(WORKLOADS)
    assert all(w.aims and w.threads for w in WORKLOADS.values())


# --- the table ---


def found(**changes: Any) -> dict[str, Any]:
    seconds = [2e-3, 6e-3, 4e-3]
    names = ["autodiffc", "PyTorch eager", "JAX jit, numbers"]
    contestants = [
        {
            "name": name,
            "version": "1.0",
            "threads": 1,
            "processors": 0.99,
            "seconds": {"median": s, "spread": 0.1},
            "ratio": s / seconds[0],
            "ratio_spread": 0.05,
        }
        for name, s in zip(names, seconds, strict=True)
    ]
    return {
        "workload": "step",
        "title": "a step",
        "dtype": "float32",
        "threads": 1,
        "aims": {"any": 1.5, "PyTorch": 2.0, "CasADi": 3.0},
        "flops": 1e8,
        "bytes": 1e7,
        "peak_flops_per_second": {"median": 1e11},
        "dram_bytes_per_second": {"median": 1e10},
        "contestants": contestants,
        "absent": {"CasADi": "not installed"},
    } | changes


def test_the_best_peer_counts() -> None:
    lines = report.markdown(report.whole([found()])).splitlines()
    rows = [line for line in lines if line.startswith("| a step | float32")]
    assert rows == [
        "| a step | float32 | 1 | 2.00 ms | 50% | JAX jit, numbers | 4.00 ms | 2.00 | 5% | 1.5 |",
        "| a step | float32 | 1 | 2.00 ms | 50% | PyTorch eager | 6.00 ms | 3.00 | 5% | 2 |",
        "| a step | float32 | 1 | 2.00 ms | 50% | none |  |  |  | 3 |",
    ]
    assert "- a step, float32: without CasADi: not installed" in lines


def test_a_workload_left_out_has_a_note() -> None:
    left_out = {k: v for k, v in found().items() if k != "contestants"} | {"skipped": "no file"}
    text = report.markdown(report.whole([left_out]))
    assert "- a step, float32: no file" in text


def test_packages_and_versions() -> None:
    run = report.whole([found()])
    assert run["versions"] == {"autodiffc": "1.0", "PyTorch": "1.0", "JAX": "1.0"}
    assert {"machine", "date", "commit", "workloads"} <= set(run)
