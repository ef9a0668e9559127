"""The model: named outputs and what to do with them.

`Model` is where everything that needs the whole picture is checked: that names are usable and used
once, that `differentiate`, `wrt` and `updates` speak of things that exist and fit. After that it is
plain data for the compiler: nodes, and names for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autodiffc.differentiate.dependence import independent, reached
from autodiffc.dsl.elements import Element
from autodiffc.dsl.names import check_name
from autodiffc.dsl.naming import named_graph
from autodiffc.errors import (
    ArgumentTypeError,
    DtypeError,
    IndexNotationError,
    ModelError,
    ShapeError,
    SourceLocation,
    UnknownNameError,
)
from autodiffc.graph.dag import Graph
from autodiffc.graph.expression import Expression, as_node
from autodiffc.graph.extents import Dim, dims_of, shape_text
from autodiffc.graph.location import here
from autodiffc.graph.node import Node
from autodiffc.graph.types import is_float

# keywords of the calls of a compiled model (and members of its C structs) that are no inputs
RESERVED_INPUTS = ("self", "entry", "seed")

_UPDATE = "update:"  # marks the states' next values among the outputs of the model's graph


class Model:
    """A computation that can be compiled.

    `outputs` maps names to expressions; `differentiate` names the scalar output whose gradient is
    wanted by default, `wrt` the parameters and inputs to differentiate by (all parameters, or all
    floating inputs where there are none); `updates` maps states, or their names, to their next
    value. It is an error if `wrt` names something that the differentiated output does not depend
    on; parameters taken by default may belong to another output, their gradient is zero.
    """

    def __init__(
        self,
        name: str,
        outputs: Mapping[str, Any],
        differentiate: str | None = None,
        wrt: Sequence[Any] | str | None = None,
        optimizer: Any = None,
        updates: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None = None,
    ) -> None:
        self.loc = here()
        self.name = check_name(name, "a model", self.loc)
        values = _output_nodes(outputs)
        next_values = _update_nodes(updates)
        keys = {f"{_UPDATE}{key}": node for key, node in next_values.items()}
        graph = Graph({**values, **keys})
        states = {key.name: key for key in _update_keys(updates) if isinstance(key, Node)}
        leaves = _leaves(graph, states.values())
        _check_names(leaves, graph.order, self.loc)
        graph = named_graph(graph)
        self.outputs: dict[str, Node] = {key: graph.outputs[key] for key in values}
        self.updates: dict[str, Node] = {k: graph.outputs[_UPDATE + k] for k in next_values}
        self.inputs: tuple[Node, ...] = _of_kind(leaves, "input")
        self.params: tuple[Node, ...] = _of_kind(leaves, "param")
        self.states: tuple[Node, ...] = _of_kind(leaves, "state")
        self.dims: tuple[Dim, ...] = _dims([*leaves, *graph.order])
        self.optimizer = optimizer
        self.wrt: tuple[str, ...] = self._wrt(wrt)
        self.differentiate = self._differentiated(differentiate)
        self._check_dependence(all_of_them=wrt is not None)
        self._check_updates()
        self._check_optimizer()

    def __repr__(self) -> str:
        return f"<Model {self.name}: {', '.join(self.outputs)}>"

    @property
    def graph(self) -> Graph:
        """The outputs and everything they need."""
        return Graph(self.outputs)

    def _differentiated(self, name: Any) -> str | None:
        if name is None:
            return None
        if isinstance(name, Expression):
            raise ArgumentTypeError(
                "differentiate names an output",
                found=repr(name),
                expected=f"one of {_listed(self.outputs)}, as a string",
                loc=self.loc,
            )
        if name not in self.outputs:
            raise _unknown("differentiate", name, self.outputs, "outputs", self.loc)
        node = self.outputs[name]
        if node.shape != ():
            raise ShapeError(
                f"the differentiated output {name!r} is not a scalar",
                found=f"shape {shape_text(node.shape)}",
                expected="shape ()",
                help="reduce it, e.g. with ad.mean(...) or ad.sum(...)",
                loc=node.loc or self.loc,
            )
        if not is_float(node.dtype):
            raise DtypeError(
                f"the differentiated output {name!r} is not floating",
                found=f"dtype {node.dtype}",
                expected="a floating expression",
                loc=node.loc or self.loc,
            )
        if not self.wrt:
            raise ModelError(
                f"there is nothing to differentiate {name!r} by",
                found="no parameter and no floating input",
                expected="at least one",
                loc=self.loc,
            )
        return str(name)

    def _check_dependence(self, *, all_of_them: bool) -> None:
        """What `wrt` names must matter to what is differentiated; of the default, something."""
        if self.differentiate is None:
            return
        output = self.outputs[self.differentiate]
        leaves = {str(n.name): n for n in (*self.params, *self.inputs)}
        chosen = [leaves[name] for name in self.wrt]
        found = reached([output])
        missed = [leaf for leaf in chosen if leaf not in found]
        if missed and (all_of_them or missed == chosen):
            what = f"the differentiated output {self.differentiate!r}"
            raise independent(output, missed[0], what, self.loc)

    def _wrt(self, wrt: Sequence[Any] | str | None) -> tuple[str, ...]:
        candidates = {str(n.name): n for n in (*self.params, *self.inputs)}
        if wrt is None:
            chosen = self.params or tuple(n for n in self.inputs if is_float(n.dtype))
            return tuple(str(n.name) for n in chosen)
        entries = [wrt] if isinstance(wrt, str | Expression) else list(wrt)
        names = [str(e.node.name) if isinstance(e, Expression) else e for e in entries]
        for name in names:
            if name not in candidates:
                raise _unknown("wrt", name, candidates, "parameters and inputs", self.loc)
            if not is_float(candidates[name].dtype):
                raise DtypeError(
                    f"wrt names {name!r}, which has no derivative",
                    found=f"dtype {candidates[name].dtype}",
                    expected="a floating parameter or input",
                    loc=self.loc,
                )
        return tuple(dict.fromkeys(names))

    def _check_updates(self) -> None:
        states = {str(n.name): n for n in self.states}
        for name, value in self.updates.items():
            if name not in states:
                raise _unknown("updates", name, states, "states", self.loc)
            state = states[name]
            if value.type != state.type:
                error = ShapeError if value.shape != state.shape else DtypeError
                raise error(
                    f"the next value of state {name!r} does not have the state's type",
                    found=str(value.type),
                    expected=str(state.type),
                    help="ad.astype(value, dtype) converts" if error is DtypeError else None,
                    loc=value.loc or self.loc,
                )

    def _check_optimizer(self) -> None:
        if self.optimizer is None:
            return
        if isinstance(self.optimizer, type) or not callable(
            getattr(self.optimizer, "update", None)
        ):
            raise ArgumentTypeError(
                "optimizer is not an optimizer",
                found=repr(self.optimizer),
                expected="e.g. ad.SGD(lr=0.1)",
                loc=self.loc,
            )
        if self.differentiate is None:
            raise ModelError(
                "an optimizer needs to know what to minimize",
                found="differentiate=None",
                expected=f"one of the outputs {_listed(self.outputs)}",
                loc=self.loc,
            )
        trained = [n for n in self.params if n.name in self.wrt]
        if not trained:
            raise ModelError(
                "an optimizer needs parameters to train",
                found=f"wrt={list(self.wrt)}",
                expected=f"one of the parameters {_listed(n.name for n in self.params)}"
                if self.params
                else 'a parameter of the model, made with ad.param("weight", shape)',
                loc=self.loc,
            )
        self._check_optimizer_names(trained)

    def _check_optimizer_names(self, trained: list[Node]) -> None:
        """The optimizer's run-time scalars are inputs, its slots are states."""
        taken = {n.name: n for n in (*self.inputs, *self.params, *self.states)}
        dims = {d.name for d in self.dims}
        slots = [f"{n.name}.{slot}" for n in trained for slot in self.optimizer.slots]
        for name in [*self.optimizer.scalars, *slots]:
            if name in taken or name in dims:
                raise ModelError(
                    f"the name {name!r} belongs to the optimizer",
                    found=f"a dim called {name!r}" if name in dims else repr(taken[name]),
                    expected="another name",
                    loc=taken[name].loc if name in taken else self.loc,
                )


# --- Reading the arguments ---


def _output_nodes(outputs: Mapping[str, Any]) -> dict[str, Node]:
    if not isinstance(outputs, Mapping) or not outputs:
        raise ArgumentTypeError(
            "outputs must map at least one name to an expression",
            found=repr(outputs),
            expected='e.g. outputs={"loss": loss}',
            loc=here(),
        )
    for key, value in outputs.items():
        check_name(key, "an output")
        if isinstance(value, Element):
            raise IndexNotationError(
                f"output {key!r} is an unfinished formula in index notation",
                found=str(value),
                expected="an expression",
                help="finish it with ad.compute: ad.compute((), ad.sum_over(...)) is a scalar",
                loc=here(),
            )
    return {key: as_node(value, f"output {key!r}") for key, value in outputs.items()}


def _update_items(updates: Any) -> list[tuple[Any, Any]]:
    if updates is None:
        return []
    items = list(updates.items() if isinstance(updates, Mapping) else updates)
    if not all(isinstance(item, tuple) and len(item) == 2 for item in items):
        raise ArgumentTypeError(
            "updates must map states to their next value",
            found=repr(updates),
            expected='e.g. updates={"count": count + 1}',
            loc=here(),
        )
    return items


def _update_keys(updates: Any) -> list[Any]:
    return [k.node if isinstance(k, Expression) else k for k, _ in _update_items(updates)]


def _update_nodes(updates: Any) -> dict[str, Node]:
    next_values: dict[str, Node] = {}
    for key, value in _update_items(updates):
        node = key.node if isinstance(key, Expression) else key
        name = node.name if isinstance(node, Node) else node
        if not isinstance(name, str) or (isinstance(node, Node) and node.op != "state"):
            raise ModelError(
                "updates has a key that is not a state",
                found=repr(key),
                expected="what ad.state(...) returned, or its name",
                loc=here(),
            )
        if name in next_values:
            raise ModelError(f"updates gives state {name!r} twice", loc=here())
        next_values[name] = as_node(value, f"the next value of state {name!r}")
    return next_values


def _leaves(graph: Graph, states: Iterable[Node]) -> tuple[Node, ...]:
    found = [n for n in graph.order if n.op in ("input", "param", "state")]
    found += [s for s in states if s not in set(found)]
    return tuple(sorted(found, key=lambda n: n.serial))


def _of_kind(leaves: Sequence[Node], op: str) -> tuple[Node, ...]:
    return tuple(n for n in leaves if n.op == op)


def _dims(nodes: Iterable[Node]) -> tuple[Dim, ...]:
    """In order of first mention, so that generated code does not depend on hashing."""
    found: dict[Dim, None] = {}
    for node in nodes:
        found.update(dict.fromkeys(sorted(dims_of(node.shape))))
    return tuple(found)


# --- Names ---

_KINDS = {"input": "an input", "param": "a parameter", "state": "a state"}


def _check_names(leaves: Sequence[Node], nodes: Sequence[Node], loc: SourceLocation | None) -> None:
    seen: dict[str, Node] = {}
    for node in leaves:
        check_name(node.name, _KINDS[node.op], node.loc, dotted=node.op != "input")
        name = str(node.name)
        if node.op == "input" and name in RESERVED_INPUTS:
            raise ModelError(
                f"an input cannot be called {name!r}, which is a keyword of the calls",
                found=repr(name),
                expected=f"a name other than {_listed(RESERVED_INPUTS)}",
                loc=node.loc,
            )
        other = seen.setdefault(name.replace(".", "_"), node)
        if other is not node:
            raise _name_twice(node, other)
    _check_dim_names([*leaves, *nodes], seen, loc)


def _name_twice(node: Node, first: Node) -> ModelError:
    same = node.name == first.name
    where = f" at {first.loc}" if first.loc else ""
    excerpt = (first.loc.excerpt() if first.loc else None) or ""
    return ModelError(
        f"two leaves of the model are called {node.name!r}"
        if same
        else f"{node.name!r} and {first.name!r} would be one name in C",
        found=f"{_KINDS[node.op]} here, and {_KINDS[first.op]}{where}"
        + (f"\n{excerpt}" if excerpt else ""),
        expected="a name of its own for each input, parameter and state",
        help="to share a parameter, pass the expression itself (weight=, bias=)" if same else None,
        loc=node.loc,
    )


def _check_dim_names(
    nodes: Sequence[Node], seen: Mapping[str, Node], loc: SourceLocation | None
) -> None:
    dims: dict[str, tuple[Dim, Node]] = {}
    for node in nodes:
        for dim in sorted(dims_of(node.shape)):
            check_name(dim.name, "a dim", node.loc)
            taken = dim.name in seen or dim.name in RESERVED_INPUTS
            if taken or dims.setdefault(dim.name, (dim, node))[0] != dim:
                raise ModelError(
                    f"the dim's name {dim.name!r} is already taken"
                    if taken
                    else f"dim {dim.name!r} has two defaults",
                    found=repr(seen.get(dim.name, dim.name))
                    if taken
                    else f"{dims[dim.name][0].default} and {dim.default}",
                    expected="one ad.dim a name, apart from the names of inputs and parameters",
                    loc=node.loc or loc,
                )


def _unknown(
    argument: str, name: object, known: Iterable[str], what: str, loc: SourceLocation | None
) -> UnknownNameError:
    from difflib import get_close_matches

    names = list(known)
    close = get_close_matches(str(name), names, n=1)
    return UnknownNameError(
        f"{argument} names something that the model does not have",
        found=repr(name),
        expected=f"one of its {what}: {_listed(names)}" if names else f"it has no {what}",
        help=f"did you mean {close[0]!r}?" if close else None,
        loc=loc,
    )


def _listed(names: Iterable[object]) -> str:
    return ", ".join(repr(n) for n in names) or "none"
