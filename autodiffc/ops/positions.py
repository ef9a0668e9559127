"""Positions on an axis as a user may give them: a list, an array, a constant, an integer tensor.

What is known when the model is made is settled here: negative positions count from the end, as in
NumPy, and one that is out of range is refused at once. The elements of any other integer tensor
come at run time and must lie in [0, extent); the `check_index` node sees to that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autodiffc.errors import IndexRangeError
from autodiffc.graph.construct import check_index, constant_node
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.extents import ExtentLike
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.types import is_integer


def positions(value: Any, extent: ExtentLike, what: str) -> Node:
    """An integer tensor whose elements address an axis of `extent`, behind its check."""
    node = value.node if isinstance(value, Expression) else _listed(value, what)
    if node.op == "constant" and is_integer(node.dtype):
        node = _from_start(node, extent, what)
    return check_index(node, extent)


def _listed(value: Any, what: str) -> Node:
    """An empty list holds no positions, whatever NumPy takes its elements for."""
    if isinstance(value, list | tuple | np.ndarray) and np.size(value) == 0:
        return constant_node(np.asarray(value).astype(np.int64), "int64")
    return as_node(value, what)


def _from_start(node: Node, extent: ExtentLike, what: str) -> Node:
    """Known positions, none of them counted from the end."""
    known = node.attrs["value"]
    if not (known < 0).any():
        return node
    if not isinstance(extent, int):
        raise IndexRangeError(
            f"{what} counts from the end of an axis whose extent is a dim",
            found=f"{int(known.min())} for {extent}",
            expected=f"0 <= position < {extent}",
            loc=here(),
        )
    if int(known.min()) < -extent:
        raise IndexRangeError(
            f"{what} has a position out of range",
            found=int(known.min()),
            expected=f"-{extent} <= position < {extent}",
            loc=here(),
        )
    return constant_node(np.where(known < 0, known + extent, known).astype(np.int64), "int64")
