"""The forward / backward table: golden texts, and the rules behind its rows.

The golden files are what `autodiffc explain` prints; UPDATE_GOLDEN=1 writes them again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodiffc.dsl.files import load_model
from autodiffc.errors import ArgumentError
from autodiffc.explain import derive, render
from autodiffc.explain.columns import wrapped
from autodiffc.explain.render import cells
from autodiffc.explain.unicode import UNICODE
from tests.explain.evaluation import row_texts

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


def explain(source: str, folder: Path, format: str = "text", width: int = 200) -> str:
    file = folder / "model.py"
    file.write_text(source)
    return render(derive(load_model(file)), format, width)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("format", "suffix"), [("text", "txt"), ("latex", "tex")])
def test_golden(name: str, format: str, suffix: str, tmp_path: Path) -> None:
    printed = explain(MODELS[name], tmp_path, format, width=100)
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


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("cosine", {"x": 0.7}, {"J": -0.36145652212373039, "dJ_dx": -5.0677820437885067}),
        (
            "quiz",
            {"x": 2.0, "z": 3.0},
            {"y": 412.08654756472337, "dy_dx": 1208.366560554193, "dy_dz": 809.7398094139392},
        ),
    ],
)
def test_the_columns_read_as_a_program_compute_the_gradient(
    name: str, given: dict[str, float], expected: dict[str, float], tmp_path: Path
) -> None:
    """The printed text itself: forward from top to bottom, then backward from bottom to top."""
    forward, backward = row_texts(explain(MODELS[name], tmp_path))
    values: dict[str, Any] = {**given, "sin": np.sin, "cos": np.cos, "exp": np.exp, "ln": np.log}
    for row in [*filter(None, forward), *filter(None, reversed(backward))]:
        text = re.sub(r"d([yJ])/d", r"d\1_d", row.replace(" · ", "*").replace("²", "**2"))
        target = text.split()[0]
        if "+=" in text:
            values.setdefault(target, 0.0)
        exec(text, {"__builtins__": {}}, values)
    for key, value in expected.items():
        assert values[key] == pytest.approx(value, rel=1e-13)


def test_beside_a_value_stands_what_its_formula_hands_on(tmp_path: Path) -> None:
    forward, backward = row_texts(explain(MODELS["cosine"], tmp_path))
    beside = dict(zip(forward, backward, strict=True))
    assert beside["u1 = sin(t)"] == "dJ/dt += dJ/du1 · cos(t)"
    assert beside["J = cos(s)"] == "dJ/ds += -dJ/dJ · sin(s)"
    assert forward[-1] == ""
    assert backward[-1] == "dJ/dJ = 1"


def test_terms_signs_biases_and_means_have_no_rows_of_their_own(tmp_path: Path) -> None:
    source = """
import autodiffc as ad
from autodiffc import nn
x = ad.input("x", (8, 3))
h = nn.linear(x, 5, name="fc")
d, e, f = ad.sin(h), ad.cos(h), ad.exp(-h)
y = d + e - f + 2
loss = ad.mean(y)
model = ad.Model("m", {"loss": loss}, differentiate="loss")
"""
    forward, _ = row_texts(explain(source, tmp_path))
    assert [row for row in forward if row] == [
        "h[i,j] = Σ_{k} x[i,k] · fc.weight[j,k] + fc.bias[j]",
        *("d[i,j] = sin(h[i,j])", "e[i,j] = cos(h[i,j])", "f[i,j] = exp(-h[i,j])"),
        "y[i,j] = d[i,j] + e[i,j] - f[i,j] + 2",
        "loss = (Σ_{i,j} y[i,j]) / 40",
    ]


def test_operations_inside_an_expression_keep_their_rows(tmp_path: Path) -> None:
    forward, _ = row_texts(explain(MODELS["quiz"], tmp_path))
    assert forward[0].endswith(" = x · z")
    assert len([row for row in forward if row]) > 6


def test_cross_entropy_is_written_as_a_lecture_does(tmp_path: Path) -> None:
    source = """
import autodiffc as ad
z = ad.input("z", (4, 3))
y = ad.input("y", (4,), "int32", low=0, high=3)
ell = ad.cross_entropy(z, y)
loss = ad.sum(ell)
model = ad.Model("m", {"loss": loss}, differentiate="loss")
"""
    forward, backward = row_texts(explain(source, tmp_path))
    assert forward[0] == "ell[i] = -ln(softmax(z)[i,y[i]])"
    assert backward[0] == (
        "dloss/dz[i,j] += dloss/dell[i] · (softmax(z)[i,j] - where(j == y[i], 1, 0))"
    )
    assert r"\mathrm{softmax}(z)[i,y[i]]" in explain(source, tmp_path, "latex")
    assert "<mi>softmax</mi>" in explain(source, tmp_path, "html")


@pytest.mark.parametrize(
    "call",
    [
        *("ad.softmax(x)", "ad.log_softmax(x, axis=0)", "ad.logsumexp(x)"),
        *("ad.cross_entropy(x, y, reduction='mean')", "ad.cross_entropy(x, t)"),
        *("ad.cross_entropy(x, y, label_smoothing=0.1)", "ad.softmax(x=x, axis=1)"),
    ],
)
def test_numeric_guards_are_not_shown(call: str, tmp_path: Path) -> None:
    source = f"""
import autodiffc as ad
x, t = ad.input("x", (4, 3)), ad.input("t", (4, 3))
y = ad.input("y", (4,), "int32", low=0, high=3)
value = {call}
loss = ad.sum(value)
model = ad.Model("m", {{"loss": loss}}, differentiate="loss", wrt=["x"])
"""
    printed = explain(source, tmp_path)
    for guard in ("isfinite", "stop_gradient", "max_", "check_index", "∞"):
        assert guard not in printed
    assert "value" in printed


def test_a_composite_whose_parts_are_read_elsewhere_shows_them(tmp_path: Path) -> None:
    """The gradient of a softmax reads its exponentials, so that their formulas must be seen."""
    source = """
import autodiffc as ad
x = ad.input("x", (3,))
q = ad.softmax(x)
energy = ad.sum(q ** 2)
slope = ad.grad(energy, x)
loss = ad.sum(slope ** 2)
model = ad.Model("m", {"loss": loss}, differentiate="loss")
"""
    assert "q_softmax_3[i] = exp(x[i] - q_softmax_2[0])" in explain(source, tmp_path)


def test_results_of_grad_are_called_after_their_variables(tmp_path: Path) -> None:
    source = """
import autodiffc as ad
x, w = ad.input("x", (3,)), ad.input("w", (3,))
energy = ad.sum(w * x**2)
slope = ad.grad(energy, x)
by_x, by_w = ad.grad(energy, [x, w])
norm = ad.sum(slope**2 + by_x * by_w)
model = ad.Model("m", {"norm": norm}, differentiate="norm")
"""
    forward, _ = row_texts(explain(source, tmp_path))
    named = {row.split(" = ")[0] for row in forward if row}
    assert {"slope[i]", "by_x[i]", "by_w[i]", "norm"} <= named


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


WIDE = """
import autodiffc as ad
x = ad.input("a_rather_long_name_of_an_input")
y = ad.sin(x) + ad.cos(x) * ad.exp(x) / (1 + x * x)
z = ad.where(x > 0.5, ad.tanh(x), 0.25)
a_rather_long_name_of_a_value = ad.where((x > 0.5) & (y > 0.25), y, z)
model = ad.Model("m", {"v": a_rather_long_name_of_a_value}, differentiate="v")
"""


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_long_formulas_are_wrapped_within_their_columns(width: int, tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text(WIDE)
    derivation = derive(load_model(file))
    lines = render(derivation, "text", width).splitlines()
    assert max(len(line) for line in lines[:-1]) <= width
    heads = [k for k, line in enumerate(lines) if "forward ↓" in line]
    assert len(heads) == 1
    assert "backward ↑" in lines[heads[0]]
    column = lines[heads[0]].index("backward")
    body = lines[heads[0] + 1 : -2]
    for side, rows in enumerate(zip(*cells(derivation, UNICODE), strict=True)):
        half = slice(column, None) if side else slice(0, column)
        printed = "".join(line[half] for line in body).replace(" ", "")
        assert printed == "".join(t for row in rows for t in row).replace(" ", "")


def test_a_wrapped_line_breaks_before_signs_outside_of_parentheses() -> None:
    assert wrapped("dJ/da[i] += dJ/dz[i] · z[i] · (1 - z[i])", 34) == [
        "dJ/da[i] += dJ/dz[i] · z[i]",
        "    · (1 - z[i])",
    ]
    assert wrapped("x" * 30, 24) == ["x" * 24, "    " + "x" * 6]


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
        for row in tree.iter("tr"):
            assert len(list(row)) == 2


def test_latex_is_a_document_with_balanced_braces(tmp_path: Path) -> None:
    for source in MODELS.values():
        text = explain(source, tmp_path, "latex")
        assert text.startswith("\\documentclass")
        assert text.rstrip().endswith("\\end{document}")
        assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
        assert text.count("\\left") == text.count("\\right")
        assert text.count("\\begin{longtable}") == text.count("\\end{longtable}") == 1
        table = text.split("\\endhead\n")[1].split("\n\\end{longtable}")[0]
        for row in table.split(" \\\\\n"):
            outside = re.sub(r"\\begin\{cases\}.*?\\end\{cases\}", "", row)
            assert outside.count("&") == 1, row


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX here")
def test_latex_compiles(tmp_path: Path) -> None:
    for source in (*MODELS.values(), WIDE):
        (tmp_path / "table.tex").write_text(explain(source, tmp_path, "latex"), encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout


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
