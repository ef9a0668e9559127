"""Nodes: what a model is made of.

    input, param, state   leaves that a caller fills; attrs: what the user said of them
    constant              attrs["value"]: a read-only NumPy array
    compute               pieces: formulas over `inputs`, together the value; no two write one
                          element, and elements that none writes are 0 (which ones a formula
                          writes, `comprehension` says; a maximum has no element without a point).
                          Mostly one; a concatenation has one for each part.
    reshape               the same elements in row-major order under another shape
    stop_gradient         its input, cut off from differentiation
    check_index           its integer input, known to lie in [0, attrs["extent"]) afterwards
    call                  attrs["output"] of `subgraph`, a graph of its own whose only open leaves
                          are inputs called attrs["arguments"]: they stand for `inputs`, in order

Nodes are immutable and compared by identity, so they are dictionary keys and networkx nodes. What
is noted on them (`note`) comes later and does not change their value: the user's name for an
intermediate, and for a gradient the scalar that it is the gradient of.
`serial` numbers them in order of creation, which makes every order in the compiler deterministic.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autodiffc.errors import SourceLocation
from autodiffc.graph.comprehension import Comprehension
from autodiffc.graph.types import TensorType

if TYPE_CHECKING:
    from autodiffc.graph.dag import Graph

LEAVES = ("input", "param", "state", "constant")
OPERATIONS = (*LEAVES, "compute", "reshape", "stop_gradient", "check_index", "call")

_serials = itertools.count()


class Origin(str):
    """The user-level operation that a node came from, with the arguments of the call.

    A name like any other, but each call has an object of its own, so that `a.label is b.label` says
    whether two nodes came from one call.
    """

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    result: int | None = (
        None  # the serial number of the value that the call returned, if it was one
    )

    def __new__(cls, name: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Origin:
        origin = super().__new__(cls, name)
        origin.arguments, origin.keywords = tuple(arguments), dict(keywords)
        return origin


@dataclass(frozen=True, eq=False)
class Node:
    """One value of the graph. `label` is the user-level operation it came from ("conv2d").

    A call holds a subgraph: several calls may share one, its nodes may be calls themselves, and its
    gradient is a call again, of the subgraph's gradient. Passes see none: `inline` puts what a
    subgraph computes in the place of each call.
    """

    op: str
    inputs: tuple[Node, ...]
    type: TensorType
    pieces: tuple[Comprehension, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    label: str | None = None
    loc: SourceLocation | None = None
    subgraph: Graph | None = None
    gradient_of: Node | None = None
    serial: int = field(default_factory=lambda: next(_serials))

    def __post_init__(self) -> None:
        if not isinstance(self.attrs, MappingProxyType):
            object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.type.shape

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def formula(self) -> Comprehension:
        """The only piece; asking a node of several is a programming error."""
        (piece,) = self.pieces
        return piece

    def __repr__(self) -> str:
        title = self.name or f"#{self.serial}"
        return f"<{self.label or self.op} {title}: {self.type}>"


def note(node: Node, *, name: str | None = None, gradient_of: Node | None = None) -> Node:
    """The node itself, with a name or an origin noted on it."""
    if name is not None:
        object.__setattr__(node, "name", name)
    if gradient_of is not None:
        object.__setattr__(node, "gradient_of", gradient_of)
    return node


def renew(node: Node, **changes: Any) -> Node:
    """A changed copy that keeps name, label, location and place in the order of creation."""
    return replace(node, **changes)
