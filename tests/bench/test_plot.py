"""The roofline's files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import autodiffc as ad
from autodiffc.bench.plot import Point, check_file, plot_points

pytest.importorskip("matplotlib")

POINTS = [Point("conv1", 1e6, 1e5, 1e-5, 0.7, "step"), Point("relu", 1e4, 8e4, 1e-6, 0.3, "step")]
SLOPES = {"L1": 2e11, "DRAM": 1e10}


def test_both_kinds_of_file(tmp_path: Path) -> None:
    paths = [tmp_path / "roof.png", tmp_path / "roof.svg"]
    plot_points(POINTS, 1e11, SLOPES, "a model", paths)
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert ET.parse(paths[1]).getroot().tag.endswith("svg")


def test_a_plot_without_points_is_one_of_the_machine(tmp_path: Path) -> None:
    plot_points([], 1e11, SLOPES, "nothing", [tmp_path / "roof.svg"])
    assert (tmp_path / "roof.svg").stat().st_size > 1000


def test_other_files_are_refused() -> None:
    with pytest.raises(ad.AutodiffcError, match="cannot be drawn") as caught:
        check_file(Path("roof.jpeg"))
    assert ".png or .svg" in str(caught.value)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ad.AutodiffcError, match="cannot be written"):
        plot_points(POINTS, 1e11, SLOPES, "a model", [tmp_path / "no" / "roof.png"])
