"""The forward / backward table: golden texts, and the rules behind its rows.

The golden files are what `autodiffc explain` prints; UPDATE_GOLDEN=1 writes them again.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from autodiffc.dsl.files import load_model
from autodiffc.errors import ArgumentError
from autodiffc.explain import derive, render

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "explain"

MODELS = {
    "quiz": """
import autodiffc as ad

x, z = ad.input("x", low=1.5, high=3), ad.input("z", low=1, high=4)
y = ad.exp(x*z) + x*z/ad.log(x) + ad.sin(ad.log(x))/ad.exp(x*z)
model = ad.Model("quiz", {"y": y}, differentiate="y")
""",
    "cosine": """
import autodiffc as ad

x = ad.input("x")
t = x**2
u1 = ad.sin(t)
u2 = 3 * t
s = u1 + u2
J = ad.cos(s)
model = ad.Model("cosine", {"J": J}, differentiate="J")
""",
    "conv": """
import autodiffc as ad

batch = ad.dim("batch", 4)
x = ad.input("x", (batch, 2, 8, 8))
w, b = ad.param("w", (3, 2, 3, 3)), ad.param("b", (3,))
n, o, i, j, c, p, q = ad.indices("n o i j c p q")
y = ad.compute((n, o, i, j), ad.sum_over((c, p, q), w[o, c, p, q] * x[n, c, i + p, j + q]))
h = ad.compute((n, o, i, j), ad.relu(y[n, o, i, j] + b[o]))
m = ad.compute((n, o, i, j), ad.max_over((p, q), h[n, o, 2*i + p, 2*j + q]), extents={p: 2, q: 2})
loss = ad.compute((), ad.sum_over((n, o, i, j), m[n, o, i, j] ** 2))
model = ad.Model("conv", {"loss": loss}, differentiate="loss", wrt=["w", "b", "x"])
""",
}


def explain(source: str, folder: Path, format: str = "text") -> str:
    file = folder / "model.py"
    file.write_text(source)
    return render(derive(load_model(file)), format)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("format", "suffix"), [("text", "txt"), ("latex", "tex")])
def test_golden(name: str, format: str, suffix: str, tmp_path: Path) -> None:
    printed = explain(MODELS[name], tmp_path, format)
    golden = GOLDEN / f"{name}.{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        golden.write_text(printed, encoding="utf-8")
    assert printed == golden.read_text(encoding="utf-8")


def test_the_rows_of_the_lecture(tmp_path: Path) -> None:
    printed = explain(MODELS["cosine"], tmp_path)
    for row in (
        *("t = x²", "u1 = sin(t)", "u2 = 3 · t", "s = u1 + u2", "J = cos(s)"),
        *("dJ/dJ = 1", "dJ/ds += -dJ/dJ · sin(s)", "dJ/du1 += dJ/ds", "dJ/du2 += dJ/ds"),
        *("dJ/dt += dJ/du1 · cos(t)", "dJ/dt += dJ/du2 · 3", "dJ/dx += dJ/dt · 2 · x"),
    ):
        assert row in printed


def test_the_backward_column_computes_the_gradient(tmp_path: Path) -> None:
    """The rows, read as a program, give dJ/dx of the issue."""
    lines = explain(MODELS["cosine"], tmp_path).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("forward"))
    column = lines[start].index("backward")
    forward = [line[:column].strip() for line in lines[start + 1 :]]
    backward = [line[column:].strip() for line in lines[start + 1 :]]
    values: dict[str, float] = {"x": 0.7, "sin": np.sin, "cos": np.cos}
    program = [row for row in (*forward, *backward) if row]
    for row in program:
        text = row.replace(" · ", "*").replace("²", "**2").replace("dJ/d", "dJ_d")
        name = text.split()[0]
        if "+=" in text:
            values.setdefault(name, 0.0)
        exec(text, {"__builtins__": {}}, values)
    assert values["J"] == pytest.approx(-0.36145652212373039, rel=1e-14)
    assert values["dJ_dx"] == pytest.approx(-5.0677820437885067, rel=1e-14)


def test_tensors_are_written_in_index_notation(tmp_path: Path) -> None:
    printed = explain(MODELS["conv"], tmp_path)
    assert "y[n,o,i,j] = Σ_{c,p,q} w[o,c,p,q] · x[n,c,i+p,j+q]" in printed
    assert "dloss/dx[n,c,i+p,j+q] += dloss/dy[n,o,i,j] · w[o,c,p,q]" in printed
    assert "dloss/dw[o,c,p,q] += dloss/dy[n,o,i,j] · x[n,c,i+p,j+q]" in printed
    assert "input  x: real(batch, 2, 8, 8)" in printed


def test_a_model_without_gradient_has_a_forward_column_alone(tmp_path: Path) -> None:
    source = (
        "import autodiffc as ad\nx = ad.input('x')\ny = x * x\nmodel = ad.Model('m', {'y': y})\n"
    )
    printed = explain(source, tmp_path)
    assert "y = x²" in printed
    assert "backward" not in printed
    assert "Backward" not in explain(source, tmp_path, "latex")
    assert "Backward" not in explain(source, tmp_path, "html")


def test_what_does_not_depend_on_a_variable_has_a_zero_gradient(tmp_path: Path) -> None:
    source = """
import autodiffc as ad
x, z = ad.input("x"), ad.input("z")
y = ad.sin(x) + 0 * ad.stop_gradient(z)
model = ad.Model("m", {"y": y}, differentiate="y")
"""
    assert "dy/dz = 0" in explain(source, tmp_path)


def test_partials_may_mention_the_result(tmp_path: Path) -> None:
    source = """
import autodiffc as ad
x = ad.input("x")
y = ad.sigmoid(x)
model = ad.Model("m", {"y": y}, differentiate="y")
"""
    assert "dy/dx += dy/dy · y · (1 - y)" in explain(source, tmp_path)


def test_a_wide_forward_column_has_the_backward_column_below(tmp_path: Path) -> None:
    source = """
import autodiffc as ad
x = ad.input("a_rather_long_name_of_an_input")
y = ad.sin(x) + ad.cos(x) * ad.exp(x) / (1 + x * x)
z = ad.where(x > 0.5, ad.tanh(x), 0.25)
a_rather_long_name_of_a_value = ad.where((x > 0.5) & (y > 0.25), y, z)
model = ad.Model("m", {"v": a_rather_long_name_of_a_value}, differentiate="v")
"""
    lines = explain(source, tmp_path).splitlines()
    assert "forward" in lines
    assert "backward" in lines


def test_html_is_well_formed_and_needs_nothing_else(tmp_path: Path) -> None:
    for source in MODELS.values():
        page = explain(source, tmp_path, "html")
        tree = ET.fromstring(
            page.replace("<!DOCTYPE html>", "").replace('<meta charset="utf-8">', "")
        )
        assert len(list(tree.iter("math"))) > 4
        for resource in ("http:", "https:", "src=", "<script", "<link", "url("):
            assert resource not in page
        assert "<mfrac>" in page


def test_latex_is_a_document_with_balanced_braces(tmp_path: Path) -> None:
    for source in MODELS.values():
        text = explain(source, tmp_path, "latex")
        assert text.startswith("\\documentclass")
        assert text.rstrip().endswith("\\end{document}")
        assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
        assert text.count("\\left") == text.count("\\right")
        assert text.count("\\begin{align*}") == text.count("\\end{align*}") == 2
        rows = text.split("\\begin{align*}\n")[1].split("\n\\end{align*}")[0].splitlines()
        for row in rows:
            outside = re.sub(r"\\begin\{cases\}.*?\\end\{cases\}", "", row)
            assert outside.count("&") == 1, row


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"(?s)docx.*text, latex, html"):
        explain(MODELS["cosine"], tmp_path, "docx")


def test_names_of_gradients_stay_apart_from_values(tmp_path: Path) -> None:
    source = """
import autodiffc as ad
x = ad.input("x", (8,))
i, p = ad.indices("i p")
argmax = ad.compute((i,), ad.max_over(p, x[2*i + p]), extents={p: 2})
y = ad.compute((), ad.sum_over(i, argmax[i]))
model = ad.Model("m", {"y": y}, differentiate="y", wrt=["x"])
"""
    rows = [
        line.split(" = ")[0].split()[-1]
        for line in explain(source, tmp_path).splitlines()
        if " = " in line and "+=" not in line
    ]
    assert len(rows) == len(set(rows))
