"""Printing a derivation: two columns of text, a LaTeX document, an HTML page.

Row by row: beside each forward value stand the backward steps that come from its formula, the one
that happens last at the top. Text is wrapped within its column; LaTeX breaks its lines itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from autodiffc.errors import ArgumentError
from autodiffc.explain.columns import side_by_side
from autodiffc.explain.derivation import Derivation, Row, Step
from autodiffc.explain.mathml import MATHML
from autodiffc.explain.names import Applied, Gradient
from autodiffc.explain.unicode import UNICODE
from autodiffc.graph.display import Writer
from autodiffc.graph.notations import PRODUCT, Latex, Notation, Written, latex_escape

FORWARD, BACKWARD = "forward", "backward"
DOWN, UP = "read from top to bottom", "read from bottom to top"
WIDTH = 100  # of text, where no terminal says otherwise


class ExplainLatex(Latex):
    """LaTeX in which a gradient is a fraction."""

    def name(self, name: str) -> str:
        if not isinstance(name, Applied):
            return super().name(name)
        axis = "" if name.axis is None else rf",\, \mathrm{{axis}}={name.axis}"
        return rf"\mathrm{{{name.function}}}({super().name(name.operand)}{axis})"

    def element(self, name: str, subscripts: Sequence[str]) -> Written:
        if not isinstance(name, Gradient):
            return super().element(name, subscripts)
        below = super().element(name.by, subscripts).text
        return Written(rf"\frac{{d {self.name(name.of)}}}{{d {below}}}", PRODUCT)


EXPLAIN_LATEX: Notation = ExplainLatex()


def render(derivation: Derivation, format: str = "text", width: int = WIDTH) -> str:
    """The two columns in a format of `FORMATS`; `width` is that of text, in characters."""
    return FORMATS[check_format(format)](derivation, width)


def check_format(format: str) -> str:
    """`format` if it is one."""
    if format not in FORMATS:
        raise ArgumentError(
            "unknown format", found=repr(format), expected="one of " + ", ".join(FORMATS)
        )
    return format


# --- Rows ---

Cell = list[str]  # the lines of one column in one row, top to bottom


def cells(derivation: Derivation, notation: Notation) -> list[tuple[Cell, Cell]]:
    """Both cells of each row."""
    writer = Writer(notation, derivation.name_of)
    return [_cells(row, writer) for row in derivation.rows]


def _cells(row: Row, writer: Writer) -> tuple[Cell, Cell]:
    forward = [] if row.forward is None else lines_of(row.forward, writer)
    backward = [line for step in reversed(row.backward) for line in lines_of(step, writer)]
    return forward, backward


def lines_of(step: Step, writer: Writer) -> list[str]:
    """A step in lines; a value made of several formulas takes several."""
    write = writer.notation
    if step.kind == "value":
        return writer.node(step.node)
    if step.kind == "add":
        if step.node.op == "compute":
            return [writer.point(step.node, p, write.accumulate) for p in step.node.pieces]
        (assignment,) = writer.node(step.node)
        return [assignment.replace(write.assign, write.accumulate, 1)]
    gradient = write.element(writer.name_of(step.node), []).text
    return [f"{gradient} {write.assign} {write.number(1 if step.kind == 'seed' else 0)}"]


def _leaves(derivation: Derivation) -> list[tuple[str, str]]:
    """What the formulas take as given, with its type: only where there are tensors."""
    if all(node.shape == () for node in derivation.leaves):
        return []
    return [(node.op, f"{node.name}: {node.type}") for node in derivation.leaves]


# --- Text ---


def to_text(derivation: Derivation, width: int) -> str:
    rows = cells(derivation, UNICODE)
    leaves = [f"{kind:<6} {text}" for kind, text in _leaves(derivation)]
    lines = [derivation.title, "", *leaves, *([""] if leaves else [])]
    if derivation.backward:
        head = ([f"{FORWARD} ↓"], [f"{BACKWARD} ↑"])
        lines += side_by_side([head, *rows], width)
        lines += ["", f"{FORWARD} is {DOWN}, {BACKWARD} {UP.removeprefix('read ')}"]
    else:
        lines += side_by_side([([FORWARD], []), *rows], width)
    return "\n".join(lines) + "\n"


# --- LaTeX ---

# Inline formulas, since TeX breaks those at signs; \raggedright leaves it the room to.
LATEX_DOCUMENT = r"""\documentclass{article}
\usepackage{amsmath}
\usepackage{array}
\usepackage{longtable}
\usepackage[margin=2cm]{geometry}
\newcommand{\step}[1]{\hangindent=1.5em \hangafter=1 $\displaystyle #1$\par}
\begin{document}
\section*{%(title)s}
%(leaves)s{\small\setlength{\tabcolsep}{0.5em}\renewcommand{\arraystretch}{1.4}
\lineskiplimit=2pt\lineskip=4pt
\begin{longtable}{%(columns)s}
%(head)s \\ \hline \endhead
%(rows)s
\end{longtable}}
\end{document}
"""
LATEX_COLUMN = r">{\raggedright\arraybackslash}p{%s\linewidth}"


def to_latex(derivation: Derivation, width: int = WIDTH) -> str:
    both = bool(derivation.backward)
    titles = [("Forward", DOWN), ("Backward", UP)] if both else [("Forward", DOWN)]
    column = LATEX_COLUMN % ("0.46" if both else "0.95")
    rows = [row if both else row[:1] for row in cells(derivation, EXPLAIN_LATEX)]
    return LATEX_DOCUMENT % {
        "title": latex_escape(derivation.title),
        "leaves": _latex_leaves(derivation),
        "columns": column * len(titles),
        "head": " & ".join(rf"\textbf{{{title}}} ({how})" for title, how in titles),
        "rows": " \\\\\n".join(" &\n".join(map(_latex_cell, row)) for row in rows),
    }


def _latex_cell(lines: Cell) -> str:
    return "\n".join(rf"  \step{{{line}}}" for line in lines)


def _latex_leaves(derivation: Derivation) -> str:
    leaves = [f"{kind} \\texttt{{{latex_escape(t)}}}" for kind, t in _leaves(derivation)]
    return f"{{\\raggedright\\noindent {', '.join(leaves)}\\par}}\n\n" if leaves else ""


# --- HTML ---

HTML_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.3rem 2.5rem 0.3rem 0; }}
th {{ border-bottom: 1px solid #999; font-weight: 600; }}
td {{ border-bottom: 1px solid #9994; }}
th small {{ font-weight: 400; }}
td > div {{ padding: 0.25rem 0; white-space: nowrap; }}
math {{ font-size: 1.1rem; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #1b1b1b; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{leaves}<table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def to_html(derivation: Derivation, width: int = WIDTH) -> str:
    both = bool(derivation.backward)
    titles = [("Forward", DOWN), ("Backward", UP)] if both else [("Forward", DOWN)]
    rows = [row if both else row[:1] for row in cells(derivation, MATHML)]
    return HTML_PAGE.format(
        title=escape(derivation.title),
        leaves=_html_leaves(derivation),
        head="".join(f"<th>{title} <small>({how})</small></th>" for title, how in titles),
        rows="\n".join("<tr>" + "".join(map(_html_cell, row)) + "</tr>" for row in rows),
    )


def _html_cell(lines: Cell) -> str:
    return "<td>" + "\n".join(f"<div><math>{line}</math></div>" for line in lines) + "</td>"


def _html_leaves(derivation: Derivation) -> str:
    items = [f"<li>{kind} <code>{escape(t)}</code></li>" for kind, t in _leaves(derivation)]
    return "<ul>" + "".join(items) + "</ul>\n" if items else ""


FORMATS: Mapping[str, Callable[[Derivation, int], str]] = {
    "text": to_text,
    "latex": to_latex,
    "html": to_html,
}
