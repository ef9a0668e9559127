"""A group of nodes to one kernel: parameters, statements, an estimate of the work.

Each kind of group has one way to be lowered (see `schedule/kernels.py` for the kinds); a formula's
sum of products asks the scheduler for a register tile first and falls back to plain loops.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from autodiffc.graph.affine import Affine
from autodiffc.graph.comprehension import Access, Comprehension, Indirect, map_rows
from autodiffc.graph.display import formula_text
from autodiffc.graph.extents import Extent, ExtentLike, dims_of, product
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import (
    Arg,
    Scalar,
    Size,
    dtype_of,
    replace_args,
    walk,
)
from autodiffc.loops.eager import with_eager_loads
from autodiffc.loops.ir import (
    Block,
    FailUnless,
    For,
    Kernel,
    Let,
    LetInt,
    Load,
    Name,
    Param,
    Stmt,
    Var,
    Zero,
    integer,
    variable,
)
from autodiffc.loops.lanes import LaneReduction, reduction_lanes
from autodiffc.loops.plain import (
    Scan,
    cluster_statements,
    extremum_statements,
    place_statements,
    scatter_statements,
    sum_statements,
)
from autodiffc.loops.rows import Names, row_statements
from autodiffc.loops.tiled import tiled_statements
from autodiffc.loops.transpose import transpose_statements, transposition
from autodiffc.loops.vector import vector_lanes, vector_statements
from autodiffc.schedule.coverage import collides, covers, inside
from autodiffc.schedule.effort import effort
from autodiffc.schedule.kernels import (
    Group,
    arguments,
    identifier,
    storage,
)
from autodiffc.schedule.nest import Address, Nest, Result, build_nest, collapse
from autodiffc.schedule.rows import rows_of
from autodiffc.schedule.tile import choose_tiling
from autodiffc.schedule.vectors import on_vectors, only_float
from autodiffc.schedule.words import ascii_name, dim_variable, is_reserved, unreserved
from autodiffc.targets import Target


@dataclass
class _Builder:
    """Pointer parameters of the kernel under construction, one for each buffer."""

    results: tuple[Node, ...]
    members: tuple[Node, ...]
    names: dict[Node, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    variables: dict[Node, str] = field(default_factory=dict)  # cluster members in registers

    def pointer(self, node: Node) -> str:
        """The parameter for a node's buffer."""
        home = node if node in self.results else storage(node)
        if home not in self.names:
            inside = home in self.results and len(self.members) > 1
            self.names[home] = self.fresh(identifier(home) + ("_out" if inside else ""))
        return self.names[home]

    def name_of(self, node: Node) -> str:
        """What the kernel's text calls a value: a variable, else the buffer it lies in."""
        return self.variables.get(storage(node)) or self.pointer(node)

    def fresh(self, base: str) -> str:
        name, count = base, 2
        while name in self.taken or is_reserved(name):
            name, count = f"{base}_{count}", count + 1
        self.taken.add(name)
        return name

    def with_free_names(self, nest: Nest) -> Nest:
        """The nest with loop indices renamed where C or something else has their name."""
        names: list[str] = []
        for wanted in nest.names:
            base = ascii_name(wanted)
            name = base if base and not base[0].isdigit() else f"index{base}"
            name = name if name == "i" else unreserved(name, "_")
            while name in self.taken or (is_reserved(name) and name != "i") or name in names:
                name += "_"
            names.append(name)
        return replace(nest, names=tuple(names))


def lower_group(
    group: Group,
    results: tuple[Node, ...],
    target: Target | None,
    overlapping: Collection[Node] = (),
) -> Kernel:
    """The kernel of a group; `results` are the members whose values are needed outside of it.

    Its parameters are the buffers of `schedule.kernels.arguments`, in that order. Without a target
    there are plain loops alone. `overlapping` are the results and operands that share memory.
    """
    dims = _dims(group)
    builder = _Builder(
        results, group.nodes, taken={name for d in dims for name in (d, dim_variable(d))}
    )
    given = arguments(group, results)
    for node in given:
        builder.pointer(node)
    if group.kind == "check":
        stmts = _check(group.nodes[0], builder)
    elif group.kind == "cluster":
        stmts = _cluster(group.nodes, results, builder, target)
    elif group.kind == "extremum":
        stmts = _extremum(group.nodes, results, builder, target)
    elif group.kind == "rows":
        stmts = _rows(group.nodes, results, builder, target)
    else:
        stmts = _formula(group.nodes, results, builder, target, in_place=bool(overlapping))
    stmts = with_eager_loads(stmts, {builder.names[n]: n.dtype for n in given})
    shared = given if group.kind == "cluster" else overlapping  # a cluster serves for either
    return Kernel(
        name=identifier(group.nodes[-1]),
        comment=tuple(formula_text(n, name_of=builder.name_of) for n in group.nodes),
        params=tuple(
            Param(builder.names[n], n.dtype, written=n in results, restrict=n not in shared)
            for n in given
        ),
        body=tuple(stmts),
        dims=dims,
        work=effort(group, results),
        can_fail=group.kind == "check",
    )


# --- The kinds ---


def _check(node: Node, builder: _Builder) -> list[Stmt]:
    """Every element of an integer tensor must lie in [0, extent)."""
    count, extent = product(node.shape), node.attrs["extent"]
    pointer = builder.pointer(node)
    load = LetInt("value", Load(pointer, variable("i")))
    value = variable("value")
    test = FailUnless((value, integer(extent - 1) - value))
    return [For("i", integer(0), integer(count), (load, test))]


def _cluster(
    members: Sequence[Node], results: tuple[Node, ...], builder: _Builder, target: Target | None
) -> list[Stmt]:
    """One nest for all members: operands inside the cluster are variables, others are loads."""
    inside = {n: k for k, n in enumerate(members)}
    nests = [build_raw(n) for n in members]
    buffers: dict[int, str] = {}
    operands, dtypes, bodies = [], [], []
    if len(members) > 1:
        builder.variables |= {n: builder.fresh(identifier(n)) for n in members}
    variables = builder.variables
    for node, nest in zip(members, nests, strict=True):
        new: dict[int, Scalar] = {}
        for k, address in enumerate(nest.operands):
            source = node.inputs[address.operand]
            if source in inside:
                new[k] = Name(variables[source])
                continue
            operands.append(_move_operands(node, address, buffers, builder))
            dtypes.append(source.dtype)
            new[k] = Arg(len(operands) - 1)
        bodies.append(replace_args(nest.body, lambda k, n=new: n[k]))  # type: ignore[misc]
    joint = replace(nests[0], operands=tuple(operands), bodies=tuple(bodies))
    joint = builder.with_free_names(collapse(joint))
    listed = [
        (variables.get(n, "value"), n.dtype, builder.pointer(n) if n in results else None)
        for n in members
    ]
    floats = _vector_float(members) if target else None
    dtype = members[0].dtype
    blocks = transposition(joint, [dtype, *dtypes], target) if target else None
    if blocks:
        return transpose_statements(joint, blocks, dtype, builder.pointer(members[0]), buffers)
    lanes = vector_lanes(joint, floats, target) if floats and target else 0
    if lanes:
        return vector_statements(joint, listed, dtypes, buffers, lanes, builder.fresh)
    return cluster_statements(joint, listed, buffers)


def _rows(
    members: Sequence[Node], results: tuple[Node, ...], builder: _Builder, target: Target | None
) -> list[Stmt]:
    """One pass over the rows for all members."""
    rows = rows_of(members)
    builder.variables |= {n: builder.fresh(identifier(n)) for n in members}
    outside = {k: s for k, s in enumerate(rows.sources) if s not in builder.variables}
    names = Names(
        builder.variables,
        {n: builder.pointer(n) for n in members if n in results},
        {k: builder.pointer(s) for k, s in outside.items()},
        builder.fresh,
    )
    nest = builder.with_free_names(rows.nest)
    builder.taken |= set(nest.names)
    return row_statements(rows, nest, names, target)


def _vector_float(members: Sequence[Node]) -> str | None:
    """The float type in which vectors can compute all members, if they can."""
    floats = only_float(n.dtype for m in members for n in (m, *m.inputs))
    formulas = [(m.formula.body, _operand_dtypes(m, m.formula)) for m in members]
    able = floats and all(on_vectors(body, dtypes, floats) for body, dtypes in formulas)
    return floats if able else None


def _move_operands(
    node: Node, address: Address, buffers: dict[int, str], builder: _Builder
) -> Address:
    """An address renumbered to a buffer of the cluster's own list."""
    number = _buffer_number(node.inputs[address.operand], buffers, builder)
    indirect = tuple(
        (stride, _move_operands(node, inner, buffers, builder))
        for stride, inner in address.indirect
    )
    return replace(address, operand=number, indirect=indirect)


def _buffer_number(source: Node, buffers: dict[int, str], builder: _Builder) -> int:
    pointer = builder.pointer(source)
    for number, name in buffers.items():
        if name == pointer:
            return number
    buffers[len(buffers)] = pointer
    return len(buffers) - 1


def build_raw(node: Node) -> Nest:
    """The nest of a node's only piece before indices are collapsed."""
    return build_nest(node, node.formula, merge=False)


def _extremum(
    members: Sequence[Node],
    results: tuple[Node, ...],
    builder: _Builder,
    target: Target | None,
) -> list[Stmt]:
    """One scan for an extremum, its position, or both, wherever each of them is stored."""
    values = [n for n in members if n.formula.combine in ("max", "min")]
    positions = [n for n in members if n.formula.combine in ("argmax", "argmin")]
    first = (values or positions)[0]
    nest, position_out = _with_two_results(first, (positions or values)[0])
    nest = builder.with_free_names(nest)
    buffers = _operand_pointers(first, nest, builder)
    dtype = dtype_of(first.formula.body, _operand_dtypes(first, first.formula))
    pointer = [builder.pointer(n) if n in results else None for n in (*values[:1], *positions[:1])]
    value = pointer[0] if values else None
    position = pointer[-1] if positions else None
    scan = Scan(nest, dtype, track=position is not None)
    dtypes = [*_operand_dtypes(first, first.formula), dtype]
    lanes = reduction_lanes(nest, dtypes, target, position_out) if target else 0
    if lanes:
        reduction = LaneReduction(nest, buffers, lanes)
        stmts = reduction.extremum(scan, value, position, position_out)
    else:
        stmts = extremum_statements(nest, scan, value, position, position_out, buffers)
    if value is not None and not covers(first):
        stmts.insert(0, Zero(value, product(first.shape)))
    return stmts


def _with_two_results(value: Node, position: Node) -> tuple[Nest, Address]:
    """The nest of an extremum, and where it stores the position."""
    nest = build_nest(value, value.formula, merge=False)
    other = build_nest(position, position.formula, merge=False).out
    wide = replace(nest, finish_operands=(*nest.finish_operands, other))
    combine = position.formula.combine  # whose reduced indices must stay apart
    merged = collapse(replace(wide, combine=combine))
    *rest, other = merged.finish_operands
    return replace(merged, finish_operands=tuple(rest), combine=combine), other


def _formula(
    members: Sequence[Node],
    results: tuple[Node, ...],
    builder: _Builder,
    target: Target | None,
    *,
    in_place: bool,
) -> list[Stmt]:
    """The pieces of a node, after zeroing its buffer where they do not cover it.

    Further members are what is made of each of its elements while that is in a register.
    """
    node, *tails = members
    if tails:
        return _with_tails(node, tails, results, builder, target, in_place=in_place)
    stmts: list[Stmt] = []
    for piece in (inside(p, node.shape) for p in node.pieces):
        nest = replace(builder.with_free_names(build_nest(node, piece)), in_place=in_place)
        buffers = _operand_pointers(node, nest, builder)
        stmts += _apart(_piece(node, piece, nest, builder, buffers, target), node)
    if not covers(node):
        stmts.insert(0, Zero(builder.pointer(node), product(node.shape)))
    return stmts


def _with_tails(
    node: Node,
    tails: Sequence[Node],
    results: tuple[Node, ...],
    builder: _Builder,
    target: Target | None,
    *,
    in_place: bool,
) -> list[Stmt]:
    """A sum and elementwise functions of it, from one loop nest."""
    members = (node, *tails)
    builder.variables |= {n: builder.fresh(identifier(n)) for n in members}
    wide, bodies = _widened(node, tails, builder.variables)
    nest = builder.with_free_names(build_nest(wide, wide.formula))
    made = [
        Result(builder.variables[n], n.dtype, body, builder.pointer(n) if n in results else None)
        for n, body in zip(members, bodies, strict=True)
    ]
    nest = replace(nest, results=tuple(made), in_place=in_place)
    buffers = _operand_pointers(wide, nest, builder)
    return _sum(wide, wide.formula, nest, "", builder, buffers, target)


def _widened(
    node: Node, tails: Sequence[Node], variables: dict[Node, str]
) -> tuple[Node, list[Scalar]]:
    """The node with all operands of its tails beside those of its finish, and the body of each."""
    piece = node.formula
    rows = [r for r in piece.out if isinstance(r, Affine)]
    inputs, accesses = list(node.inputs), list(piece.finish_operands)
    bodies = [piece.finish or Arg(0)]
    for tail in tails:
        new: dict[int, Scalar] = {}
        for k, access in enumerate(tail.formula.operands):
            source = tail.inputs[access.operand]
            if source in variables:
                new[k] = Name(variables[source])
                continue
            composed = map_rows(access.rows, lambda row: row.compose(rows, piece.domain.rank))
            accesses.append(Access(len(inputs), composed))
            inputs.append(source)
            new[k] = Arg(len(accesses))
        bodies.append(replace_args(tail.formula.body, lambda k, n=new: n[k]))  # type: ignore[misc]
    formula = replace(piece, finish_operands=tuple(accesses))
    return renew(node, inputs=tuple(inputs), pieces=(formula,)), bodies


def _apart(stmts: list[Stmt], node: Node) -> list[Stmt]:
    """In a block, if a formula of several declares what another one may declare as well."""
    declares = any(isinstance(s, Var | Let | LetInt) for s in stmts)
    return [Block(tuple(stmts))] if declares and len(node.pieces) > 1 else stmts


def _piece(
    node: Node,
    piece: Comprehension,
    nest: Nest,
    builder: _Builder,
    buffers: dict[int, str],
    target: Target | None,
) -> list[Stmt]:
    buffer = builder.pointer(node)
    if piece.combine == "set":
        types = [node.dtype, *(node.inputs[a.operand].dtype for a in nest.operands)]
        blocks = transposition(nest, types, target) if target else None
        if blocks:
            return transpose_statements(nest, blocks, node.dtype, buffer, buffers)
        return place_statements(nest, buffer, buffers)
    if collides(piece):
        return scatter_statements(nest, buffer, buffers, _safe_indices(piece, nest))
    return _sum(node, piece, nest, buffer, builder, buffers, target)


def _sum(
    node: Node,
    piece: Comprehension,
    nest: Nest,
    buffer: str,
    builder: _Builder,
    buffers: dict[int, str],
    target: Target | None,
) -> list[Stmt]:
    """A reduction: in register tiles where they fit, else with one accumulator."""
    dtype = node.dtype
    dtypes = [node.inputs[a.operand].dtype for a in nest.operands]
    reduced_dtype = dtype_of(piece.body, _operand_dtypes(node, piece))
    tiling = choose_tiling(nest, dtypes, target) if target and reduced_dtype == dtype else None
    if tiling is not None:
        return tiled_statements(nest, tiling, dtype, buffer, buffers, builder.taken)
    lanes = 0
    if target and nest.combine == "sum" and reduced_dtype == dtype:
        lanes = reduction_lanes(nest, [*dtypes, dtype], target)
    if lanes:
        return LaneReduction(nest, buffers, lanes).sum(dtype, buffer)
    return sum_statements(nest, reduced_dtype, buffer, buffers)


# --- Questions about formulas ---


def _safe_indices(piece: Comprehension, nest: Nest) -> list[int]:
    """Indices that alone decide one row of the output: points that differ in them never meet."""
    rows = [r for r in piece.out if not isinstance(r, Indirect)]
    alone = [r.uses[0] for r in rows if len(r.uses) == 1]
    kept = len(nest.extents) == piece.domain.rank  # no index was merged
    return alone if kept else []


def _dims(group: Group) -> tuple[str, ...]:
    found = set()
    for node in group.nodes:
        shapes: list[ExtentLike] = [*node.shape]
        for piece in node.pieces:
            shapes += piece.domain.extents
            for scalar in (piece.body, piece.finish):
                sizes = walk(scalar) if scalar is not None else ()
                shapes += [s.extent for s in sizes if isinstance(s, Size)]
        for operand in node.inputs:
            shapes += operand.shape
        if isinstance(node.attrs.get("extent"), Extent):
            shapes.append(node.attrs["extent"])
        found |= {d.name for d in dims_of(tuple(shapes))}
    return tuple(sorted(found))


def _operand_pointers(node: Node, nest: Nest, builder: _Builder) -> dict[int, str]:
    used = {x.operand for a in (*nest.operands, *nest.finish_operands, nest.out) for x in _all(a)}
    return {k: builder.pointer(node.inputs[k]) for k in sorted(used) if k >= 0}


def _all(address: Address) -> Iterator[Address]:
    yield address
    for _, inner in address.indirect:
        yield from _all(inner)


def _operand_dtypes(node: Node, piece: Comprehension) -> list[str]:
    return [node.inputs[a.operand].dtype for a in piece.operands]
