"""Running a wrong model file and reading the message, as a user would see it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from autodiffc.dsl.files import load_models
from autodiffc.errors import AutodiffcError

HEADER = "import autodiffc as ad\nfrom autodiffc import nn\n"


def write(folder: Path, source: str, name: str = "wrong.py") -> Path:
    path = folder / name
    path.write_text(HEADER + dedent(source).strip("\n") + "\n")
    return path


def refusal(path: Path, kind: type[AutodiffcError] = AutodiffcError) -> AutodiffcError:
    with pytest.raises(kind) as caught:
        load_models(path)
    return caught.value


def check(
    folder: Path, source: str, kind: type[AutodiffcError], culprit: str, *words: str
) -> AutodiffcError:
    """The message of a wrong file: place, line, caret under `culprit`, found, expected, `words`.

    The culprit is looked up on the line that carries the comment `# here`.
    """
    path = write(folder, source)
    error = refusal(path, kind)
    text = str(error)
    lines = path.read_text().splitlines()
    (number,) = [k for k, line in enumerate(lines, 1) if line.endswith("# here")]
    column = lines[number - 1].index(culprit) + 1
    first, shown, caret, *rest = text.splitlines()
    assert first.startswith(f"{path}:{number}:{column}: "), text
    assert shown.endswith(lines[number - 1]), text
    assert caret.endswith("| " + " " * (column - 1) + "^" * len(culprit)), text
    assert "found:" in "\n".join(rest), text
    assert "expected:" in "\n".join(rest), text
    for word in words:
        assert word in text, text
    return error
