"""How well LeNet-5 reads digits it has not seen, trained as `make demo` trains it.

4,000 of MNIST's digits to learn from, 1,000 to be tested on, every class in proportion; ten epochs,
the learning rate falling linearly. A single run is luck to within half a percent, so five count.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

import numpy as np

import autodiffc as ad
from autodiffc.data import load
from autodiffc.training import LinearFall, fit

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(5)
EPOCHS, BATCH, HELD_OUT = 10, 32, 1000


def test_the_median_of_five_seeds() -> None:
    digits = load("mnist5k")
    model = ad.compile(ROOT / "examples" / "lenet5.py", dims={"batch": BATCH}, threads=1)
    schedule = LinearFall(model.scalars["lr"])
    found = []
    for seed in SEEDS:
        history = fit(model, digits, epochs=EPOCHS, schedule=schedule, holdout=HELD_OUT, seed=seed)
        assert history.accuracy is not None
        found.append(history.accuracy)
    assert median(found) >= 0.97, found


def test_every_digit_is_held_out_in_proportion() -> None:
    training, held_out = load("mnist5k").split(HELD_OUT)
    assert np.bincount(training.labels).tolist() == [400] * 10
    assert np.bincount(held_out.labels).tolist() == [100] * 10


def test_the_demo_trains_like_this() -> None:
    (command,) = re.findall(
        r"autodiffc train examples/lenet5\.py.*", (ROOT / "Makefile").read_text()
    )
    assert "--data mnist5k" in command
    assert f"--epochs {EPOCHS}" in command
    assert f"--set batch={BATCH}" in command
    assert "--lr" not in command
