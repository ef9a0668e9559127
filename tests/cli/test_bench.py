"""`autodiffc bench`: its files, its table, its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autodiffc.bench import machine as machine_module
from autodiffc.cli.app import app

MODEL = """
import autodiffc as ad
from autodiffc import nn

batch = ad.dim("batch", 8)
x = ad.input("x", (batch, 12))
loss = ad.mean(nn.linear(x, 4, name="fc") ** 2)
model = ad.Model("small", {"loss": loss}, differentiate="loss", optimizer=ad.SGD(lr=0.1))
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "ROUNDS", 1000)
    monkeypatch.setattr(machine_module, "MOST_DRAM_BYTES", 1 << 22)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "small.py"
    file.write_text(MODEL)
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *(str(a) for a in arguments)])


def test_table_json_and_plot(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    findings, plot = tmp_path / "found.json", tmp_path / "roof.svg"
    result = run(model, "--repeat", 2, "--threads", 1, "--json", findings, "--plot", plot)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "small float32 batch=8"
    assert any(line.startswith("multiply-add float32") for line in lines)
    assert "step, medians of 2 rounds" in lines
    assert any(line.startswith("between kernels") for line in lines)
    found = json.loads(findings.read_text())
    assert found["model"] == "small"
    assert list(found["entries"]) == ["step"]
    assert plot.stat().st_size > 1000
    assert "roofline drawn" in result.stderr


def test_sizes_and_entry(model: Path, tmp_path: Path) -> None:
    findings = tmp_path / "found.json"
    options = ("--set", "batch=3", "--entry", "predict", "--dtype", "float64", "--no-openmp")
    result = run(model, *options, "--repeat", 1, "--json", findings)
    assert result.exit_code == 0, result.output
    found = json.loads(findings.read_text())
    assert found["dims"] == {"batch": 3}
    assert found["dtype"] == "float64"
    assert found["threads"] == 1
    assert list(found["entries"]) == ["predict"]


def test_several_models_in_one_file(tmp_path: Path) -> None:
    file = tmp_path / "two.py"
    file.write_text(
        "import autodiffc as ad\n"
        "x = ad.input('x', (4,))\n"
        "models = [ad.Model('a', {'y': x * x}), ad.Model('b', {'y': x + 1})]\n"
    )
    findings = tmp_path / "found.json"
    result = run(file, "--repeat", 1, "--no-openmp", "--json", findings)
    assert result.exit_code == 0, result.output
    assert set(json.loads(findings.read_text())) == {"a", "b"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--entry", "train"], "has no such entry"),
        (["--plot", "roof.gif"], "cannot be drawn"),
        (["--set", "time=3"], "no dim of this name"),
        (["--repeat", "0"], "repeat"),
        (["--repeat", "1", "--json", "/nowhere/found.json"], "cannot be written"),
    ],
)
def test_refusals(model: Path, options: list[str], text: str) -> None:
    result = run(model, *options)
    assert result.exit_code == 2
    assert text in result.stderr
