"""The switch: a pass or a lowering that breaks the grammar is caught where that is wanted."""

from __future__ import annotations

from dataclasses import replace

import pytest

import autodiffc as ad
import autodiffc.emit.module as module
import autodiffc.lower as steps
from autodiffc.errors import VerificationError
from autodiffc.graph.dag import Graph
from autodiffc.graph.node import Node, renew
from autodiffc.graph.scalars import Const
from autodiffc.loops.ir import Store, integer
from autodiffc.lower import lower


def model() -> ad.Model:
    x = ad.input("x", (4,))
    return ad.Model("probe", {"y": ad.sum(x * x)}, "y", wrt=["x"])


def broken(graph: Graph) -> Graph:
    """Every formula reads one element further on."""

    def rule(node: Node) -> Node:
        pieces = tuple(
            replace(
                p,
                operands=tuple(replace(a, rows=tuple(r + 1 for r in a.rows)) for a in p.operands),
            )
            for p in node.pieces
        )
        return renew(node, pieces=pieces)

    return graph.rewrite(rule)


def break_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = steps.passes
    monkeypatch.setattr(steps, "passes", lambda target: (*passes(target), ("shift", broken)))


def break_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.lower_group

    def lowered(*args):
        kernel = real(*args)
        operand = next(p for p in kernel.params if not p.written)
        zero = Const(0.0, operand.dtype)
        return replace(kernel, body=(*kernel.body, Store(operand.name, integer(0), zero)))

    monkeypatch.setattr(module, "lower_group", lowered)


BREAKS = pytest.mark.parametrize(
    ("break_it", "message"),
    [(break_a_pass, "after shift, "), (break_a_kernel, "kernel .* is written but no result")],
)


@BREAKS
def test_tests_verify(break_it, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/conftest.py turns it on; nothing is asked for here."""
    break_it(monkeypatch)
    with pytest.raises(VerificationError, match=message):
        lower(model())


@BREAKS
@pytest.mark.parametrize("value", ["0", "", None])
def test_off_by_default(
    break_it, message: str, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    if value is None:
        monkeypatch.delenv("AUTODIFFC_VERIFY")
    else:
        monkeypatch.setenv("AUTODIFFC_VERIFY", value)
    assert "probe.c" in lower(model()).sources
    with pytest.raises(VerificationError, match=message):
        lower(model(), verify=True)


def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    break_a_pass(monkeypatch)
    monkeypatch.setenv("AUTODIFFC_VERIFY", "1")
    assert "probe.c" in lower(model(), verify=False).sources


def test_it_changes_nothing_else() -> None:
    assert lower(model(), verify=True).sources == lower(model(), verify=False).sources
