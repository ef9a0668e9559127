"""The rules of the loop IR: each one broken once, and kept by every kernel that is made."""

from __future__ import annotations

import pytest

import autodiffc as ad
from autodiffc.errors import VerificationError
from autodiffc.graph.scalars import Const, call
from autodiffc.loops.ir import (
    Block,
    CeilDiv,
    FailUnless,
    First,
    For,
    If,
    IntValue,
    Kernel,
    LaneSum,
    Let,
    LetInt,
    LetPointer,
    Load,
    MinOf,
    Name,
    Param,
    Set,
    Stmt,
    Store,
    Var,
    Wait,
    Zero,
    integer,
    variable,
)
from autodiffc.loops.verify import verify
from tests.gates.models import lenet5, mlp, quiz
from tests.loops.kernels import kernels_of
from tests.samples import all_samples

PARAMS = (Param("x", "float32"), Param("ids", "int32"), Param("y", "float32", written=True))
ONE = Const(1.0, "float32")


def kernel(*body: Stmt, can_fail: bool = False, team: bool = False) -> Kernel:
    return Kernel("k", (), PARAMS, body, dims=("n",), can_fail=can_fail, team=team)


def loop(*body: Stmt, name: str = "i", mode: str = "serial") -> For:
    return For(name, integer(0), variable("n"), body, mode=mode)


VIOLATIONS: dict[str, tuple[list[Stmt], str]] = {
    "unknown integer in an index": (
        [Store("y", variable("i"), ONE)],
        "the integer i is used before it is known",
    ),
    "unknown integer in a bound": (
        [For("i", integer(0), MinOf((integer(3), CeilDiv(variable("m"), 2))), ())],
        "the integer m is used",
    ),
    "unknown integer in a condition": ([If((variable("m"),), ())], "the integer m is used"),
    "unknown integer in a value": (
        [Store("y", integer(0), IntValue(variable("m")))],
        "the integer m is used",
    ),
    "unknown integer in a load": (
        [Let("v", "float32", Load("x", variable("m")))],
        "the integer m is used",
    ),
    "a loop variable after its loop": (
        [loop(), Store("y", variable("i"), ONE)],
        "the integer i is used",
    ),
    "unknown integer in a check": ([FailUnless((variable("m"),))], "the integer m is used"),
    "unknown value": ([Store("y", integer(0), Name("v"))], "the value v is used before"),
    "unknown value inside a call": (
        [Store("y", integer(0), call("add", ONE, Name("v")))],
        "the value v is used before",
    ),
    "sum of the lanes of an unknown value": (
        [Store("y", integer(0), LaneSum("v", 8))],
        "the value v is used before",
    ),
    "a value after its block": (
        [Block((Let("v", "float32", ONE),)), Store("y", integer(0), Name("v"))],
        "the value v is used before",
    ),
    "a constant is set": (
        [Let("v", "float32", ONE), Set("v", ONE)],
        "v is set but no variable",
    ),
    "a name twice in a block": (
        [Let("v", "float32", ONE), Let("v", "float32", ONE)],
        "v is declared twice",
    ),
    "a name of a buffer": ([Var("x", "float32", ONE)], "x is declared twice"),
    "a loop named like a dim": ([loop(name="n")], "n is declared twice"),
    "a loop named like a loop around it": ([loop(loop())], "i is declared twice"),
    "an inner value that hides an outer one": (
        [Var("v", "float32", ONE), loop(Let("v", "float32", ONE))],
        "v is declared twice",
    ),
    "an integer that hides a loop": (
        [loop(LetInt("i", integer(0)))],
        "i is declared twice",
    ),
    "a store to an operand": ([Store("x", integer(0), ONE)], "x is written but no result"),
    "a store to nothing": ([Store("z", integer(0), ONE)], "z is written but no result"),
    "zeros in an operand": ([Zero("x", 4)], "x is written but no result"),
    "a load from nothing": (
        [Store("y", integer(0), Load("z", integer(0)))],
        "z is read but no parameter",
    ),
    "an index from nothing": (
        [LetInt("row0", Load("z", integer(0)))],
        "z is read but no parameter",
    ),
    "unknown integer in what the first thread does": (
        [First((Store("y", variable("m"), ONE),))],
        "the integer m is used",
    ),
}


@pytest.mark.parametrize("title", VIOLATIONS)
def test_a_broken_rule_is_reported(title: str) -> None:
    body, message = VIOLATIONS[title]
    with pytest.raises(VerificationError, match="kernel k: ") as caught:
        verify(kernel(*body, can_fail=True))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "inner", [loop(name="j", mode="shared simd"), Wait()], ids=["loop", "wait"]
)
def test_nothing_inside_a_shared_loop_is_for_the_team(inner: Stmt) -> None:
    verify(kernel(inner, loop(loop(inner), name="k"), team=True))
    with pytest.raises(VerificationError, match="loop i is shared: nothing within it may be"):
        verify(kernel(loop(loop(inner, name="k"), mode="shared"), team=True))


def test_only_a_team_can_share_a_loop() -> None:
    with pytest.raises(VerificationError, match="loop i is shared, but there is no team"):
        verify(kernel(loop(mode="shared")))


def test_a_check_needs_a_kernel_that_can_fail() -> None:
    check = FailUnless((integer(0),))
    verify(kernel(check, can_fail=True))
    with pytest.raises(VerificationError, match="a check in a kernel that cannot fail"):
        verify(kernel(check))


def test_a_kernel_that_keeps_the_rules_passes() -> None:
    inner = [
        LetInt("row0", Load("ids", variable("i"))),
        Let("v", "float32", Load("x", variable("row0"))),
        Set("acc", call("add", Name("acc"), Name("v"))),
    ]
    around = [Var("acc", "float32", ONE), loop(*inner), Store("y", variable("j"), Name("acc"))]
    verify(kernel(Zero("y", 4), loop(*around, name="j", mode="parallel"), loop(name="j")))
    verify(kernel(Wait(), loop(*around, name="j", mode="shared"), loop(name="j"), team=True))


# --- Every kernel that the compiler makes ---


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
def test_kernels_of_networks_keep_the_rules(target: str, dtype: str, plain: bool) -> None:
    found = [
        k
        for model in (lenet5(), mlp(), quiz())
        for k in kernels_of(model, target, dtype=dtype, plain=plain)
    ]
    for k in found:
        verify(k)
    assert len(found) > 30


def test_kernels_with_open_dims_keep_the_rules() -> None:
    for k in kernels_of(lenet5(), dims={"batch": (1, 64)}):
        verify(k)
        assert "batch" in k.dims or "weight" in k.name or "bias" in k.name or not k.dims


def test_kernels_of_every_operation_keep_the_rules() -> None:
    count = 0
    for sample in all_samples():
        outputs = {f"y{k}": r for k, r in enumerate(sample.results)}
        loss = {} if sample.loss is None else {"loss": sample.loss}
        wrt = sample.floating if loss else None
        model = ad.Model(
            sample.title, {**outputs, **loss}, "loss" if loss and wrt else None, wrt=wrt or None
        )
        for k in kernels_of(model):
            verify(k)
            count += 1
    assert count > 500


POINTER = LetPointer("y_at0", "y", integer(8), written=True)
THROUGH = loop(POINTER, Store("y_at0", integer(0), ONE), mode="shared")
ZEROS = Zero("y", 64, shared=True)


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(loop(Store("y", integer(0), ONE), mode="shared"), id="stores"),
        pytest.param(THROUGH, id="stores through a pointer"),
        pytest.param(First((Store("y", integer(0), ONE),)), id="of the first thread"),
        pytest.param(loop(THROUGH, name="j"), id="within a loop"),
    ],
)
def test_what_meets_the_work_of_other_threads_waits(later: Stmt) -> None:
    verify(kernel(ZEROS, Wait(), later, team=True))
    with pytest.raises(VerificationError, match="meets what other threads may not have finished"):
        verify(kernel(ZEROS, later, team=True))
