"""The choice between one thread and all of them, by the first steps of a run."""

from __future__ import annotations

import pytest

from autodiffc.training.threads import ALL, TRIALS, WARM_UP, ThreadTrial


class Clocked:
    """A model whose steps take as long as it says, on a clock of its own."""

    def __init__(self, seconds: dict[int, list[float]]) -> None:
        self.threads = ALL
        self.seconds = seconds
        self.now = 0.0
        self.ran: list[int] = []

    def step(self) -> float:
        self.ran.append(self.threads)
        times = self.seconds[self.threads]
        self.now += times[min(self.ran.count(self.threads), len(times)) - 1]
        return float(len(self.ran))


def run(model: Clocked, steps: int) -> ThreadTrial:
    trial = ThreadTrial(model, clock=lambda: model.now)
    assert [trial.run(model.step) for _ in range(steps)] == [float(k + 1) for k in range(steps)]
    return trial


@pytest.mark.parametrize(("one", "many", "chosen"), [(1.0, 0.6, ALL), (1.0, 9.0, 1), (1.0, 1.0, 1)])
def test_the_faster_one_is_used_from_then_on(one: float, many: float, chosen: int) -> None:
    model = Clocked({1: [one], ALL: [many]})
    trying = 2 * (WARM_UP + TRIALS)
    trial = run(model, trying + 5)
    assert trial.choice() == chosen
    assert model.ran[:trying].count(1) == model.ran[:trying].count(ALL) == trying // 2
    assert model.ran[trying:] == [chosen] * 5


def test_first_steps_and_single_delays_do_not_decide() -> None:
    slow_start = [50.0] * WARM_UP + [0.5, 0.5, 20.0, 0.5]
    assert run(Clocked({1: [1.0], ALL: slow_start}), 30).choice() == ALL


def test_short_runs_end_before_anything_is_known() -> None:
    assert run(Clocked({1: [1.0], ALL: [2.0]}), 3).choice() is None


def test_a_model_without_threads_just_steps() -> None:
    trial = ThreadTrial(object())
    assert trial.run(lambda: 4.5) == 4.5
    assert trial.choice() is None
