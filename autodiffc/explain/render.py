"""Printing a derivation: two columns of text, a LaTeX document, an HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import zip_longest

from autodiffc.errors import ArgumentError
from autodiffc.explain.derivation import Derivation, Step
from autodiffc.explain.mathml import MATHML
from autodiffc.explain.names import Gradient
from autodiffc.explain.unicode import UNICODE
from autodiffc.graph.display import Writer
from autodiffc.graph.notations import PRODUCT, Latex, Notation, Written, latex_escape

WIDEST_COLUMN = 72  # a forward column wider than this has the backward column below it, not beside


class ExplainLatex(Latex):
    """LaTeX in which a gradient is a fraction."""

    def element(self, name: str, subscripts: Sequence[str]) -> Written:
        if not isinstance(name, Gradient):
            return super().element(name, subscripts)
        below = super().element(name.by, subscripts).text
        return Written(rf"\frac{{d {self.name(name.of)}}}{{d {below}}}", PRODUCT)


EXPLAIN_LATEX: Notation = ExplainLatex()


def render(derivation: Derivation, format: str = "text") -> str:
    """The two columns in a format of `FORMATS`."""
    return FORMATS[check_format(format)](derivation)


def check_format(format: str) -> str:
    """`format` if it is one."""
    if format not in FORMATS:
        raise ArgumentError(
            "unknown format", found=repr(format), expected="one of " + ", ".join(FORMATS)
        )
    return format


# --- Rows ---


def rows(steps: Sequence[Step], derivation: Derivation, notation: Notation) -> list[str]:
    """The rows of a column; a value made of several formulas takes several."""
    writer = Writer(notation, derivation.name_of)
    return [text for step in steps for text in _step(step, writer)]


def _step(step: Step, writer: Writer) -> list[str]:
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


def to_text(derivation: Derivation) -> str:
    forward = rows(derivation.forward, derivation, UNICODE)
    backward = rows(derivation.backward, derivation, UNICODE)
    lines = [derivation.title, "", *_given(derivation)]
    if not backward:
        lines += ["forward", *(f"  {line}" for line in forward)]
    elif max(map(len, forward), default=0) > WIDEST_COLUMN:
        lines += ["forward", *(f"  {line}" for line in forward), ""]
        lines += ["backward", *(f"  {line}" for line in backward)]
    else:
        lines += _side_by_side(["forward", *forward], ["backward", *backward])
    return "\n".join(lines) + "\n"


def _given(derivation: Derivation) -> list[str]:
    leaves = _leaves(derivation)
    return [*(f"{kind:<6} {text}" for kind, text in leaves), ""] if leaves else []


def _side_by_side(left: Sequence[str], right: Sequence[str]) -> list[str]:
    width = max(map(len, left))
    pairs = zip_longest(left, right, fillvalue="")
    return [f"{a:<{width}}    {b}".rstrip() for a, b in pairs]


# --- LaTeX ---

LATEX_DOCUMENT = r"""\documentclass{article}
\usepackage{amsmath}
\usepackage[margin=2cm]{geometry}
\begin{document}
\section*{%(title)s}
%(body)s\end{document}
"""


def to_latex(derivation: Derivation) -> str:
    body = _latex_leaves(derivation) + _latex_column(
        "Forward", rows(derivation.forward, derivation, EXPLAIN_LATEX)
    )
    if derivation.backward:
        backward = rows(derivation.backward, derivation, EXPLAIN_LATEX)
        body += _latex_column("Backward", backward)
    return LATEX_DOCUMENT % {"title": latex_escape(derivation.title), "body": body}


def _latex_column(title: str, lines: Sequence[str]) -> str:
    """One column as an align environment that may break over pages."""
    aligned = " \\\\\n".join("  " + _aligned(line) for line in lines)
    return (
        f"\\subsection*{{{title}}}\n{{\\allowdisplaybreaks\n\\begin{{align*}}\n"
        f"{aligned}\n\\end{{align*}}}}\n"
    )


def _aligned(line: str) -> str:
    """The alignment mark before the assignment's sign."""
    for sign in (EXPLAIN_LATEX.accumulate, EXPLAIN_LATEX.assign):
        left, found, right = line.partition(f" {sign} ")
        if found:
            return f"{left} &{sign} {right}"
    return line


def _latex_leaves(derivation: Derivation) -> str:
    leaves = [f"{kind} \\texttt{{{latex_escape(t)}}}" for kind, t in _leaves(derivation)]
    return "\\noindent " + ", ".join(leaves) + "\n" if leaves else ""


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
td > div {{ padding: 0.25rem 0; white-space: nowrap; }}
math {{ font-size: 1.1rem; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #1b1b1b; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{leaves}<table>
<tr>{head}</tr>
<tr>{columns}</tr>
</table>
</body>
</html>
"""


def to_html(derivation: Derivation) -> str:
    columns = {"Forward": derivation.forward, "Backward": derivation.backward}
    shown = {title: steps for title, steps in columns.items() if steps}
    return HTML_PAGE.format(
        title=escape(derivation.title),
        leaves=_html_leaves(derivation),
        head="".join(f"<th>{title}</th>" for title in shown),
        columns="\n".join(_html_column(steps, derivation) for steps in shown.values()),
    )


def _html_column(steps: Sequence[Step], derivation: Derivation) -> str:
    lines = rows(steps, derivation, MATHML)
    return "<td>" + "\n".join(f"<div><math>{line}</math></div>" for line in lines) + "</td>"


def _html_leaves(derivation: Derivation) -> str:
    items = [f"<li>{kind} <code>{escape(t)}</code></li>" for kind, t in _leaves(derivation)]
    return "<ul>" + "".join(items) + "</ul>\n" if items else ""


FORMATS: Mapping[str, Callable[[Derivation], str]] = {
    "text": to_text,
    "latex": to_latex,
    "html": to_html,
}
