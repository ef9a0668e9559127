"""autodiffc, a symbolic autodiff compiler: formulas in Python, gradients and kernels in plain C.

The public names, nothing else. They are loaded on first use, so that `autodiffc --help` does not
wait for NumPy, networkx and SymPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE: dict[str, str] = {
    "AutodiffcError": "autodiffc.errors",
    "Expression": "autodiffc.graph.expression",
}

__all__ = ["__version__", *_WHERE]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'autodiffc' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
