"""Whole benchmarks of small models: what is in them and how it fits together, never how fast."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autodiffc as ad
from autodiffc import nn
from autodiffc.bench import Result, measure
from autodiffc.bench import machine as machine_module
from autodiffc.bench.measure import evaluate
from autodiffc.bench.report import HEADINGS, entry_rows, machine_rows, plain_result
from autodiffc.bench.subject import chosen_entries
from autodiffc.build import find_toolchain
from autodiffc.lower import lower
from autodiffc.pipeline import BuildOptions
from tests.gates.models import quiz, run, write

ROUNDS = 3


def network(width: int = 64) -> ad.Model:
    """Large enough that timers cost little beside its kernels."""
    batch = ad.dim("batch", 32)
    x = ad.input("x", (batch, 96))
    labels = ad.input("labels", (batch,), "int32", low=0, high=10)
    h = ad.relu(nn.linear(x, width, name="fc1"))
    logits = nn.linear(h, 10, name="fc2")
    loss = ad.mean(ad.cross_entropy(logits, labels))
    outputs = {"loss": loss, "logits": logits}
    return ad.Model("network", outputs, "loss", optimizer=ad.SGD(lr=0.1, momentum=0.9))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "ROUNDS", 1000)
    monkeypatch.setattr(machine_module, "MOST_DRAM_BYTES", 1 << 22)


@pytest.fixture(scope="module")
def found() -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_module, "ROUNDS", 1000)
        patch.setattr(machine_module, "MOST_DRAM_BYTES", 1 << 22)
        options = BuildOptions.checked(threads=1)
        return measure(network(), options, entry="all", rounds=ROUNDS)


def test_every_entry_has_its_samples(found: Result) -> None:
    names = [e.entry for e in found.entries]
    assert names == ["predict", "forward", "backward", "value_and_grad", "step"]
    for entry in found.entries:
        assert len(entry.work.seconds.values) == ROUNDS == found.rounds
        assert min(entry.work.seconds.values) > 0
        assert entry.kernels
        assert all(len(k.work.seconds.values) == ROUNDS for k in entry.kernels)


def test_the_kernels_make_up_the_call(found: Result) -> None:
    for entry in found.entries:
        fastest = min(entry.profiled.values)
        total = sum(min(k.work.seconds.values) for k in entry.kernels)
        assert fastest / 3 < total < 3 * fastest, entry.entry


def test_operations_are_those_of_the_manifest(found: Result) -> None:
    counted = {e.entry: e.work.flops for e in found.entries}
    manifest = found.manifest["flops"]
    for entry in ("predict", "forward", "backward"):
        assert counted[entry] == pytest.approx(manifest[entry], rel=0.01)
    assert counted["value_and_grad"] == counted["forward"] + counted["backward"]
    # the runtime's step asks for the loss alone
    assert manifest["backward"] < counted["step"] <= manifest["step"]


def test_kernels_of_the_step_are_called_once_each(found: Result) -> None:
    step = next(e for e in found.entries if e.entry == "step")
    kernels = [k for k in step.kernels if k.kind != "copy"]
    assert {k.calls for k in kernels} == {1.0}
    assert any("fc1_weight" in k.name and k.work.flops >= 2 * 32 * 96 * 64 for k in kernels)


def test_shares_follow_from_what_was_measured(found: Result) -> None:
    for entry in found.entries:
        work = entry.work
        assert found.peak_share(work) == pytest.approx(
            work.flops / work.seconds.median / found.peak.median
        )
        assert found.roof_share(work) == pytest.approx(
            found.peak_share(work) + found.bandwidth_share(work)
        )


def test_the_plain_data_has_everything(found: Result) -> None:
    plain = plain_result(found)
    assert set(plain) == {
        *("format", "autodiffc", "date", "machine", "model", "dtype", "dims", "threads", "rounds"),
        *("processor_share", "peak_flops_per_second", "bytes_per_second", "entries"),
    }
    assert plain["dims"] == {"batch": 32}
    assert set(plain["bytes_per_second"]) == {"L1", "L2", "DRAM"}
    assert {"processor", "compiler", "flags"} <= set(plain["machine"])
    for entry in plain["entries"].values():
        _check_work(entry)
        assert entry["kernel_seconds"] > 0
        for kernel in entry["kernels"]:
            _check_work(kernel)
            assert kernel["calls"] > 0
            assert kernel["formulas"] or kernel["kind"] == "copy"


def _check_work(plain: dict[str, Any]) -> None:
    assert set(plain["seconds"]) == {"median", "spread", "least", "most", "samples"}
    assert plain["seconds"]["least"] <= plain["seconds"]["median"] <= plain["seconds"]["most"]
    for key in ("flops", "bytes", "flops_per_second", "peak_share", "bandwidth_share"):
        assert plain[key] >= 0


def test_the_tables_have_a_row_for_each_kernel(found: Result) -> None:
    assert len(list(machine_rows(found))) == 7
    for entry in found.entries:
        rows = list(entry_rows(found, entry))
        assert {len(row) for row in rows} == {len(HEADINGS)}
        assert [row[0] for row in rows] == [
            entry.entry,
            *(k.name for k in entry.kernels),
            "between kernels",
        ]


def test_scalars_can_be_timed_too() -> None:
    options = BuildOptions.checked(dtype="float64", openmp=False)
    (entry,) = measure(quiz(), options, rounds=2).entries
    assert entry.entry == "value_and_grad"
    assert {k.kind for k in entry.kernels} <= {"cluster", "copy"}


def test_open_dims_are_timed_at_their_largest() -> None:
    options = BuildOptions.checked(threads=1, dims={"batch": (1, 8)})
    result = measure(network(16), options, entry="predict", rounds=2)
    (entry,) = result.entries
    fixed = lower(network(16), dims={"batch": 8}).manifest["flops"]["predict"]
    assert entry.work.flops == pytest.approx(fixed, rel=0.02)
    assert plain_result(result)["dims"] == {"batch": 8}


@pytest.mark.parametrize(
    ("count", "value"), [(7, 7), ("842343*batch + 1", 842344), ("batch*time - 3*time", -4)]
)
def test_counts_with_dims_are_evaluated(count: int | str, value: int) -> None:
    assert evaluate(count, {"batch": 1, "time": 2}) == value


# --- which entry ---


def test_the_entry_that_the_model_is_for() -> None:
    assert chosen_entries(lower(network()).manifest, None) == ["step"]
    assert chosen_entries(lower(quiz()).manifest, None) == ["value_and_grad"]
    x = ad.input("x", (3,))
    assert chosen_entries(lower(ad.Model("f", {"y": x * x})).manifest, None) == ["predict"]


def test_an_entry_that_is_not_there_is_refused() -> None:
    with pytest.raises(ad.AutodiffcError, match="has no such entry"):
        chosen_entries(lower(quiz()).manifest, "step")


# --- the timers ---


def test_without_the_macro_the_module_is_what_it_was(tmp_path: Path) -> None:
    emitted = lower(network())
    write(tmp_path, emitted.sources)
    (tmp_path / "cut.c").write_text(_without_hook(emitted.sources["network.c"]))
    command = find_toolchain().command
    texts = [
        run(*command, "-E", "-P", "-fopenmp", file, cwd=tmp_path) for file in ("network.c", "cut.c")
    ]
    assert texts[0] == texts[1]


def _without_hook(text: str) -> str:
    start = text.index("#ifdef AUTODIFFC_PROFILE")
    end = text.index("#endif\n", start) + len("#endif\n")
    return text[:start] + text[end:]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_timers_and_driver_compile_without_a_warning(tmp_path: Path, compiler: str) -> None:
    from autodiffc.bench.subject import _driver, _profile

    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    emitted = lower(network())
    sources = emitted.sources | _driver(emitted) | {"network_profile.h": _profile(emitted)}
    write(tmp_path, sources)
    flags = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c")
    define = '-DAUTODIFFC_PROFILE="network_profile.h"'
    for openmp in ((), ("-fopenmp",)):
        run(compiler, *flags, *openmp, define, "network.c", "network_bench.c", cwd=tmp_path)


def test_a_step_that_is_timed_goes_nowhere() -> None:
    from autodiffc.bench.subject import subjects

    plain, timed = subjects(network(16), BuildOptions.checked(threads=1))
    for subject in (plain, timed):
        call = subject.call("step", subject.ready())
        before = subject.compiled.param_buffer.copy()
        subject.set_repeat(4)
        call()
        np.testing.assert_array_equal(before, subject.compiled.param_buffer)
        assert subject.take_ticks() > 0
        assert subject.take_ticks() == 0
    timers = {t.name: t for t in timed.take_timers()}
    assert {t.calls for t in timers.values()} >= {0, 4}
    assert all(t.calls == 0 for t in timed.take_timers())
