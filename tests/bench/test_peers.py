"""Every peer that is installed does the same work as we do: results are compared, nothing timed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import autodiffc as ad
from benchmarks.harness import check
from benchmarks.networks import Conv, Linear, Network, Pool, model
from benchmarks.peers import ours

ROOT = Path(__file__).resolve().parents[2]
TINY = Network(
    "tiny",
    (2, 9, 9),
    4,
    (Conv(3, 3, stride=2, padding=1), Pool(3, 2), Linear(5), Linear(4, relu=False)),
)
TINY_MLP = Network("tiny_mlp", (7,), 3, (Linear(5), Linear(3, relu=False)))


def setup(network: Network, batch: int, dtype: str = "float32") -> tuple:  # type: ignore[type-arg]
    """The compiled model, its starting weights, and a batch."""
    compiled = ad.compile(model(network), dims={"batch": batch}, dtype=dtype, threads=1).init(0)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, *network.shape)).astype(dtype)
    labels = rng.integers(0, network.classes, batch, dtype=np.int32)
    return compiled, [np.array(p) for p in compiled.params.values()], images, labels


def test_our_step_changes_the_parameters() -> None:
    compiled, weights, images, labels = setup(TINY, 3)
    found = ours.step(compiled, {"images": images, "labels": labels}, 1).result()
    assert found["loss"] > 0
    assert any((found[f"parameter {k}"] != w).any() for k, w in enumerate(weights))


def test_steps_in_pytorch() -> None:
    pytest.importorskip("torch")
    from benchmarks.peers import with_torch

    compiled, weights, images, labels = setup(TINY, 3)
    taken = ours.step(compiled, {"images": images, "labels": labels}, 1)
    makers = with_torch.steps(TINY, weights, images, labels)
    eager = [makers[0](), makers[2]()]  # compiling takes half a minute
    assert [c.name for c in eager] == ["PyTorch eager", "PyTorch eager channels_last"]
    check([taken, *eager], 1e-4)


def test_steps_in_jax() -> None:
    pytest.importorskip("jax")
    from benchmarks.peers import with_jax

    compiled, weights, images, labels = setup(TINY, 3)
    taken = ours.step(compiled, {"images": images, "labels": labels}, 1)
    check([taken, *(m() for m in with_jax.steps(TINY, weights, images, labels))], 1e-4)


def test_gradients_in_casadi() -> None:
    pytest.importorskip("casadi")
    from benchmarks.peers import with_casadi

    compiled, weights, images, labels = setup(TINY_MLP, 1, "float64")
    taken = ours.value_and_grad(compiled, {"images": images, "labels": labels}, 1)
    check([taken, with_casadi.value_and_grad(TINY_MLP, weights, images, int(labels[0]))], 1e-9)


def test_products_in_numpy_and_pytorch() -> None:
    from benchmarks.peers import with_numpy

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((8, 8), np.float32) for _ in range(2))
    field = [with_numpy.matmul(a, b)]
    try:
        from benchmarks.peers import with_torch
    except ImportError:
        pass
    else:
        field.append(with_torch.matmul(a, b))
    product = ad.compile(ad.Model("product", {"c": ad.input("a", (8, 8)) @ ad.input("b", (8, 8))}))
    check([ours.predict(product, {"a": a, "b": b}, 1), *field], 1e-5)


def test_a_whole_run(tmp_path: Path) -> None:
    options = ["--rounds", "2", "--sample-seconds", "0.0001", "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "quiz-bound", *options, "--threads", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "table.md").read_text()
    run = json.loads((tmp_path / "results.json").read_text())
    by_name = {w["workload"]: w for w in run["workloads"]}
    ours_first = by_name["quiz-bound"]["contestants"][0]
    assert ours_first["name"] == "autodiffc"
    assert ours_first["ratio"] == 1
    assert len(ours_first["seconds"]["samples"]) == 2
    if importlib.util.find_spec("matplotlib"):
        assert {f.name for f in tmp_path.glob("roofline_*")} == {
            "roofline_float64_1.png",
            "roofline_float64_1.svg",
        }


def test_unknown_workloads_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "lenet6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no workload is called 'lenet6'" in done.stderr
