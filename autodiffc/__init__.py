"""autodiffc, a symbolic autodiff compiler: formulas in Python, gradients and kernels in plain C.

The public names, nothing else. They are loaded on first use, so that `autodiffc --help` does not
wait for NumPy, networkx and SymPy. `_MODULES` says where each name lives; the imports below it say
the same to type checkers and editors. tests/test_public_names.py lists what is promised to users.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autodiffc.version import __version__

_MODULES = {
    "autodiffc.dsl.leaves": "input param state constant dim",
    "autodiffc.dsl.naming": "name",
    "autodiffc.dsl.model": "Model",
    "autodiffc.dsl.optimizers": "SGD",
    "autodiffc.dsl.notation": "indices compute sum_over prod_over max_over min_over",
    "autodiffc.errors": "AutodiffcError",
    "autodiffc.graph.expression": "Expression",
}

_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = ["__version__", "nn", *_WHERE]

if TYPE_CHECKING:
    from autodiffc.dsl import nn as nn
    from autodiffc.dsl.leaves import constant as constant
    from autodiffc.dsl.leaves import dim as dim
    from autodiffc.dsl.leaves import input as input
    from autodiffc.dsl.leaves import param as param
    from autodiffc.dsl.leaves import state as state
    from autodiffc.dsl.model import Model as Model
    from autodiffc.dsl.naming import name as name
    from autodiffc.dsl.notation import compute as compute
    from autodiffc.dsl.notation import indices as indices
    from autodiffc.dsl.notation import max_over as max_over
    from autodiffc.dsl.notation import min_over as min_over
    from autodiffc.dsl.notation import prod_over as prod_over
    from autodiffc.dsl.notation import sum_over as sum_over
    from autodiffc.dsl.optimizers import SGD as SGD
    from autodiffc.errors import AutodiffcError as AutodiffcError
    from autodiffc.graph.expression import Expression as Expression


def __getattr__(name: str) -> Any:
    if name == "nn":
        value: Any = import_module("autodiffc.dsl.nn")
    elif name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
    else:
        raise AttributeError(f"module 'autodiffc' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
