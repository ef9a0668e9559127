"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autodiffc.errors import ArgumentError

ModelFile = Annotated[
    Path, typer.Argument(metavar="MODEL.py", help="A Python file that defines `model`.")
]
Sizes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="DIM=N",
        help="Fix a named dim (batch=128) or leave it open within a range (batch=1..128).",
    ),
]
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="float32|float64", help="The type of real numbers.")
]
TargetName = Annotated[
    str,
    typer.Option("--target", help="The processor to build for: native, x86-64-v3, aarch64, …"),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, metavar="N", help="At most this many OpenMP threads."),
]
NoOpenMP = Annotated[bool, typer.Option("--no-openmp", help="Build without OpenMP.")]
CompilerCommand = Annotated[
    str | None, typer.Option("--cc", metavar="CC", help="The C compiler (default: $CC, gcc, …).")
]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", metavar="NAME", help="Prefix of the C names (default: the model's)."),
]

DimChoice = int | tuple[int, int]


def read_sizes(texts: Sequence[str] | None) -> dict[str, DimChoice]:
    """`["batch=128", "time=1..64"]` as `{"batch": 128, "time": (1, 64)}`."""
    sizes: dict[str, DimChoice] = {}
    for text in texts or ():
        name, size = _read_size(text)
        if name in sizes:
            raise ArgumentError(
                f"--set gives the dim {name!r} twice",
                found=", ".join(texts or ()),
                expected="one size for each dim",
            )
        sizes[name] = size
    return sizes


def _read_size(text: str) -> tuple[str, DimChoice]:
    found = re.fullmatch(r"(\w+)=(\d+)(?:\.\.(\d+))?", text)
    if found is None:
        raise ArgumentError(
            "--set is not understood",
            found=text,
            expected="NAME=SIZE or NAME=LOW..HIGH, e.g. batch=128 or batch=1..128",
        )
    name, low, high = found.groups()
    return name, int(low) if high is None else (int(low), int(high))
