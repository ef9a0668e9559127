"""LeNet-5's training step, compiled and in PyTorch eager, side by side on one thread.

Both start from the same weights and take the same batches through a step of SGD with momentum:
forward, backward, update. Machines change their speed from second to second, so the two take turns
in short rounds, and the ratio is taken within each round; medians over all rounds are printed.

    python benchmarks/lenet5_vs_torch.py                  needs the extras `demo` and `torch`
    python benchmarks/lenet5_vs_torch.py --batch 1 --rounds 60
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import autodiffc as ad
from autodiffc.data import load
from autodiffc.targets import cpu_description

try:
    import torch
except ModuleNotFoundError:
    raise SystemExit("this benchmark needs PyTorch: pip install '.[torch,demo]'") from None

LENET5 = Path(__file__).resolve().parent.parent / "examples" / "lenet5.py"
LR, MOMENTUM = 0.05, 0.9

Batch = tuple[np.ndarray, np.ndarray]
Step = Callable[[Batch], float]


@dataclass(frozen=True)
class Timing:
    """Median seconds of one step over all rounds, and of the rounds' own ratios."""

    compiled: float
    torch: float
    ratio: float


# --- The two contestants ---


def torch_lenet5() -> torch.nn.Module:
    """The example's network, its parameters in the same order."""
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def torch_step(network: torch.nn.Module) -> Step:
    """What a training loop in PyTorch does with one batch."""
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)

    def step(batch: Batch) -> float:
        images, labels = torch.from_numpy(batch[0]), torch.from_numpy(batch[1]).long()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def compiled_step(model: Any, network: torch.nn.Module) -> Step:
    """The same through the compiled model, from the network's weights."""
    model.init()
    names = ("conv1", "conv2", "fc1", "fc2", "fc3")
    for name, value in zip(
        (f"{n}.{kind}" for n in names for kind in ("weight", "bias")),
        network.parameters(),
        strict=True,
    ):
        model.params[name][...] = value.detach().numpy()
    model.set(lr=LR)
    return lambda batch: float(model.step(images=batch[0], labels=batch[1]))


# --- The measurement ---


def batches(size: int, seed: int = 0) -> Iterator[Batch]:
    """Batches of MNIST digits without end."""
    data, rng = load("mnist5k"), np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(data.labels))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            yield data.features[chosen], data.labels[chosen]


def seconds_per_step(step: Step, round_: list[Batch]) -> tuple[float, list[float]]:
    """The time of one step in the mean of a round, and the losses."""
    start = time.perf_counter()
    losses = [step(batch) for batch in round_]
    return (time.perf_counter() - start) / len(round_), losses


def measure(batch: int, rounds: int, steps: int) -> Timing:
    """Rounds of `steps` steps each, the two in turn; who begins changes from round to round."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = torch_lenet5()
    model = ad.compile(LENET5, dims={"batch": batch}, threads=1)
    contestants = {"compiled": compiled_step(model, network), "torch": torch_step(network)}
    source = batches(batch)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):  # the first warms up
        round_ = [next(source) for _ in range(steps)]
        losses = {}
        for name in sorted(contestants, reverse=number % 2 == 1):
            seconds, losses[name] = seconds_per_step(contestants[name], round_)
            times[name].append(seconds)
        if number == 0:
            np.testing.assert_allclose(losses["compiled"][:5], losses["torch"][:5], atol=1e-3)
    ratios = [a / b for a, b in zip(times["compiled"][1:], times["torch"][1:], strict=True)]
    compiled, eager = (statistics.median(times[name][1:]) for name in ("compiled", "torch"))
    return Timing(compiled, eager, statistics.median(ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=20, help="steps of each, in one round")
    choice = parser.parse_args()
    found = measure(choice.batch, choice.rounds, choice.steps)
    print(f"{cpu_description()}, one thread, float32, batch {choice.batch}")
    print(f"medians of {choice.rounds} rounds of {choice.steps} steps each, in turn")
    print(f"autodiffc {ad.__version__:<10} {found.compiled * 1e3:8.3f} ms a step")
    print(f"PyTorch {torch.__version__:<12} {found.torch * 1e3:8.3f} ms a step")
    print(f"autodiffc / PyTorch  {found.ratio:8.3f}")


if __name__ == "__main__":
    main()
