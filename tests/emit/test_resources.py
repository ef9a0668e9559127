"""The templates are found in a checkout, and are part of the wheel and of the source archive."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from autodiffc.emit import resources
from autodiffc.errors import BuildError

CHECKOUT = Path(__file__).resolve().parents[2]


def template_names() -> set[str]:
    folder = CHECKOUT / "templates"
    return {str(path.relative_to(CHECKOUT)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive, and the wheel unpacked beside them."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "unpacked")
    return folder


def test_a_checkout_uses_its_own_templates() -> None:
    assert resources.templates_directory() == CHECKOUT / "templates"
    assert template_names()


def test_the_wheel_holds_every_template_and_finds_it(built: Path) -> None:
    unpacked = built / "unpacked"
    found = {
        str(path.relative_to(unpacked / "autodiffc"))
        for path in (unpacked / "autodiffc" / "templates").rglob("*")
        if path.is_file()
    }
    assert found == template_names()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from autodiffc.emit.resources import templates_directory; print(templates_directory())"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", code, str(unpacked)],
        cwd=built,
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(result.stdout.strip()) == (unpacked / "autodiffc" / "templates").resolve()


def test_the_source_archive_holds_what_a_build_needs(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert template_names() <= names
    assert {"pyproject.toml", "LICENSE", "Makefile", "autodiffc/build/__init__.py"} <= names


def test_missing_templates_are_an_error_that_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "__file__", str(tmp_path / "autodiffc" / "emit" / "r.py"))
    with pytest.raises(BuildError) as caught:
        resources.templates_directory()
    assert str(tmp_path) in str(caught.value)
