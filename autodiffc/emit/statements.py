"""Statements and kernels of the loop IR as indented C."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence

from autodiffc.emit.values import Text, ValueWriter, extent_text, int_text, pointer_text
from autodiffc.emit.vectors import C_TYPES, vector_type
from autodiffc.graph.scalars import Call, Const
from autodiffc.loops.ir import (
    Array,
    Block,
    Comment,
    FailUnless,
    First,
    For,
    If,
    Int,
    Kernel,
    Let,
    LetInt,
    LetPointer,
    Linear,
    Load,
    Name,
    Set,
    Stmt,
    Store,
    Transpose,
    Var,
    Wait,
    Zero,
    statements,
)
from autodiffc.schedule.words import dim_variable

INDENT = "    "
SIMD_UNIT = 64  # iterations of a vectorized loop that stay together


class StatementWriter:
    """Writes one kernel's statements; collects the lines."""

    def __init__(self, values: ValueWriter) -> None:
        self.values = values
        self.lines: list[str] = []
        self.depth = 1

    def add(self, line: str) -> None:
        self.lines.append(INDENT * self.depth + line)

    def block(self, body: Sequence[Stmt]) -> None:
        """The statements of a `{ … }`; variables declared in it end with it."""
        outer = dict(self.values.variables)
        self.depth += 1
        self.all(body)
        self.depth -= 1
        self.values.variables.clear()
        self.values.variables.update(outer)

    def all(self, body: Sequence[Stmt]) -> None:
        """One after the other; vectors that start at zero in one declaration."""
        for kind, found in itertools.groupby(body, _zero_vector):
            if kind is None:
                for stmt in found:
                    self.write(stmt)
            else:
                self._zeros(kind, [s.name for s in found if isinstance(s, Var)])

    def _zeros(self, kind: tuple[str, int], names: Sequence[str]) -> None:
        head, items = f"{self.values.kind(*kind)} ", [f"{name} = {{0}}" for name in names]
        for line in wrapped_list(head, items, ";", 96 - len(INDENT) * self.depth):
            self.add(line)
        self.values.variables.update(dict.fromkeys(names, kind))

    def write(self, stmt: Stmt) -> None:
        if isinstance(stmt, For):
            self._for(stmt)
        elif isinstance(stmt, If | Block):
            self._braces(stmt)
        elif isinstance(stmt, Let | Var):
            self._declare(stmt)
        elif isinstance(stmt, LetInt):
            value = stmt.value
            text = self.values.text(value) if isinstance(value, Load) else int_text(value)
            self.add(f"const int64_t {stmt.name} = {text};")
        elif isinstance(stmt, LetPointer):
            self._pointer(stmt)
        elif isinstance(stmt, Set):
            self._set(stmt)
        elif isinstance(stmt, Store):
            self._store(stmt)
        elif isinstance(stmt, Zero):
            size = f"(size_t){extent_text(stmt.count)} * sizeof *{stmt.buffer}"
            if stmt.shared:
                self.add(f"zero_part({stmt.buffer}, {size}, team);")
            else:
                self.add(f"memset({stmt.buffer}, 0, {size});")
        elif isinstance(stmt, Transpose):
            self._transpose(stmt)
        elif isinstance(stmt, First):
            self.add("if (team.part == 0) {")
            self.block(stmt.body)
            self.add("}")
        elif isinstance(stmt, Wait):
            self.add("team_wait(team);")
        elif isinstance(stmt, Array):
            self.add(f"_Alignas(64) {C_TYPES[stmt.dtype]} {stmt.name}[{stmt.count}];")
        elif isinstance(stmt, FailUnless):
            tests = " || ".join(f"{int_text(c)} < 0" for c in stmt.conditions)
            self.add(f"if ({tests}) return 1;")
        else:
            assert isinstance(stmt, Comment)
            self.add(f"/* {stmt.text} */")

    def _for(self, loop: For) -> None:
        stop = int_text(loop.stop)
        if not _simple(loop.stop):
            self.add(f"const int64_t {loop.variable}_end = {stop};")
            stop = f"{loop.variable}_end"
        name, start = loop.variable, int_text(loop.start)
        if "shared" in loop.mode:
            unit = loop.step * (SIMD_UNIT if "simd" in loop.mode else 1)
            self.add(f"const loop_part {name}_part = part_of({start}, {stop}, {unit}, team);")
            start, stop = f"{name}_part.start", f"{name}_part.stop"
        if "simd" in loop.mode:
            sums = f"_SUM({', '.join(loop.sums)})" if loop.sums else ""
            self.add(f"AUTODIFFC_SIMD{sums}")
        step = f"++{name}" if loop.step == 1 else f"{name} += {loop.step}"
        if loop.step == -1:
            self.add(f"for (int64_t {name} = {stop}; {name}-- > {start};) {{")
        else:
            self.add(f"for (int64_t {name} = {start}; {name} < {stop}; {step}) {{")
        self.block(loop.body)
        self.add("}")

    def _braces(self, stmt: If | Block) -> None:
        if isinstance(stmt, If):
            tests = " && ".join(f"{int_text(c)} >= 0" for c in stmt.conditions)
            self.add(f"if ({tests}) {{")
        else:
            self.add("{")
        self.block(stmt.body)
        self.add("}")

    def _declare(self, stmt: Let | Var) -> None:
        value = self.values.write(stmt.value)
        kind, text = "int" if stmt.dtype == "bool" else C_TYPES[stmt.dtype], value.text
        if stmt.lanes > 1:
            element = self.values.mask if stmt.dtype == "bool" else stmt.dtype
            kind = self.values.kind(element, stmt.lanes)
            if value.lanes == 1:
                zero = isinstance(stmt.value, Const) and stmt.value.value == 0
                text = "{0}" if zero else self.values.splat(value, stmt.lanes).text
        self.add(f"{'const ' if isinstance(stmt, Let) else ''}{kind} {stmt.name} = {text};")
        self.values.variables[stmt.name] = (stmt.dtype, stmt.lanes)

    def _pointer(self, stmt: LetPointer) -> None:
        dtype = self.values.buffers[stmt.name] = self.values.buffers[stmt.buffer]
        const = "" if stmt.written else "const "
        where = pointer_text(stmt.buffer, stmt.index)
        self.add(f"{const}{C_TYPES[dtype]} *const {stmt.name} = {where};")

    def _set(self, stmt: Set) -> None:
        value = stmt.value
        if isinstance(value, Call) and value.function in ("add", "mul"):
            first, second = value.args
            if first == Name(stmt.name):
                sign = "+=" if value.function == "add" else "*="
                self.add(f"{stmt.name} {sign} {self.values.text(second)};")
                return
        self.add(f"{stmt.name} = {self.values.text(value)};")

    def _store(self, stmt: Store) -> None:
        index = int_text(stmt.index)
        value = self.values.write(stmt.value)
        if stmt.lanes > 1:
            self._store_vector(stmt, value)
            return
        target = f"{stmt.buffer}[{index}]"
        first = Load(stmt.buffer, stmt.index)
        if (
            isinstance(stmt.value, Call)
            and stmt.value.function == "add"
            and stmt.value.args[0] == first
        ):
            self.add(f"{target} += {self.values.text(stmt.value.args[1])};")
            return
        self.add(f"{target} = {value.text};")

    def _store_vector(self, stmt: Store, value: Text) -> None:
        dtype = self.values.buffers[stmt.buffer]
        kind, where = vector_type(dtype, stmt.lanes), pointer_text(stmt.buffer, stmt.index)
        text = self.values.as_stored(value, dtype, stmt.lanes)
        if stmt.count is None:
            self.add(f"store_{kind}({where}, {text});")
        else:
            self.add(f"store_part_{kind}({where}, {text}, {int_text(stmt.count)});")

    def _transpose(self, stmt: Transpose) -> None:
        name = self.values.helper("transpose", stmt.dtype, stmt.lanes)
        sides = (stmt.source, stmt.source_step), (stmt.result, stmt.result_step)
        given = [f"{pointer_text(x.buffer, x.index)}, {int_text(step)}" for x, step in sides]
        self.add(f"{name}({', '.join(given)});")


def _zero_vector(stmt: Stmt) -> tuple[str, int] | None:
    """The type and lanes of a vector variable that starts at zero."""
    if not isinstance(stmt, Var) or stmt.lanes == 1 or not isinstance(stmt.value, Const):
        return None
    return (stmt.dtype, stmt.lanes) if stmt.value == Const(0.0, stmt.dtype) else None


def _simple(value: Int) -> bool:
    return isinstance(value, Linear) and len(value.terms) == 0


def kernel_text(kernel: Kernel, name: str) -> tuple[str, ValueWriter]:
    """A kernel as a C function of the given name, and the writer that knows what it uses."""
    buffers = {p.name: p.dtype for p in kernel.params}
    buffers |= {s.name: s.dtype for s in statements(kernel.body) if isinstance(s, Array)}
    values = ValueWriter(buffers)
    writer = StatementWriter(values)
    if kernel.gate is not None:
        work = f"{extent_text(kernel.work)} >= {kernel.gate}"
        writer.add(f"if (!takes_part(&team, {work})) return;")
    writer.all(kernel.body)
    if kernel.can_fail:
        writer.add("return 0;")
    head = _comment(kernel.comment)
    signature = _signature(kernel, name)
    return "\n".join([*head, signature, "{", *writer.lines, "}"]), values


def _signature(kernel: Kernel, name: str) -> str:
    params = [f"int64_t {dim_variable(d)}" for d in kernel.dims]
    for p in kernel.params:
        const, restrict = "" if p.written else "const ", "restrict " if p.restrict else ""
        params.append(f"{const}{C_TYPES[p.dtype]} *{restrict}{p.name}")
    if kernel.team:
        params.append("team_part team")
    head = f"static {'int' if kernel.can_fail else 'void'} {name}("
    return "\n".join(wrapped_list(head, params, ")"))


def wrapped_list(head: str, items: Sequence[str], tail: str, width: int = 100) -> list[str]:
    """`head` + comma-separated items + `tail`, broken between items only."""
    lines, line = [], head
    for k, item in enumerate(items):
        piece = item + (tail if k == len(items) - 1 else ", ")
        if len(line) + len(piece.rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line = INDENT
        line += piece
    return [*lines, line if items else head + tail]


def _comment(lines: Sequence[str]) -> list[str]:
    out: list[str] = []
    for line in lines:
        safe = line.replace("*/", "* /").replace("\\", "/")
        wrapped = textwrap.wrap(safe, 96, break_long_words=False, break_on_hyphens=False)
        out += [("/* " if not out and k == 0 else "   ") + text for k, text in enumerate(wrapped)]
    if out:
        out[-1] += " */"
    return out
