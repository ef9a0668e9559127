"""Which outputs a call with certain inputs asks for: names are checked here, once for each set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from autodiffc.errors import CallTypeError
from autodiffc.runtime.arguments import Argument
from autodiffc.runtime.program import Program
from autodiffc.runtime.signature import Signature, Tensor
from autodiffc.runtime.structs import WriteStruct


@dataclass(frozen=True)
class Request:
    """`arguments` are given, `absent` inputs are not; `outputs` are asked for."""

    arguments: tuple[Argument, ...]
    absent: tuple[str, ...]
    outputs: WriteStruct


def make_request(program: Program, entry: str, names: tuple[str, ...]) -> Request:
    """The request of a call to `entry` with inputs of these names."""
    signature = program.signature
    _check_known(signature, entry, names)
    outputs = _asked_for(signature, entry, names)
    required = _required(signature, entry, outputs)
    _check_complete(signature, entry, names, required)
    return Request(
        arguments=tuple(program.inputs[name] for name in signature.inputs if name in names),
        absent=tuple(name for name in signature.inputs if name not in names),
        outputs=program.new_outputs(outputs),
    )


def refuse_positional(model: str, entry: str, first: str = "") -> CallTypeError:
    """`first` is what may stand before the arrays."""
    return CallTypeError(
        f"{entry} of {model} takes arrays by name only",
        found="an argument without a name",
        expected=f"{entry}({first}name=array, ...)",
    )


def _check_known(signature: Signature, entry: str, names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in signature.inputs]
    if not unknown:
        return
    close = get_close_matches(unknown[0], signature.inputs, n=1)
    advice = f"did you mean {close[0]!r}?" if close else None
    if unknown[0] in signature.scalars:
        advice = f"{signature.name}.set({unknown[0]}=...) sets run-time scalars"
    raise CallTypeError(
        f"{entry} of {signature.name} was given an input that the model does not have",
        found=_listed(unknown),
        expected=_listed(signature.inputs),
        help=advice,
    )


def _asked_for(signature: Signature, entry: str, names: tuple[str, ...]) -> list[Tensor]:
    outputs = list(signature.outputs.values())
    if entry == "step":
        return [t for t in outputs if t.name == signature.differentiate]
    if entry == "predict":
        known_dims = frozenset().union(*(signature.inputs[name].dims for name in names))
        return [t for t in outputs if set(t.needs) <= set(names) and t.dims <= known_dims]
    return outputs


def _required(signature: Signature, entry: str, outputs: list[Tensor]) -> set[str]:
    """A step without states of the model's own needs no more than its loss does."""
    if entry == "predict" and outputs:
        return set()
    own_states = any(not s.optimizer for s in signature.states.values())
    if entry == "step" and not own_states:
        return {name for output in outputs for name in output.needs}
    return set(signature.inputs)


def _check_complete(
    signature: Signature, entry: str, names: tuple[str, ...], required: set[str]
) -> None:
    missing = [name for name in signature.inputs if name in required and name not in names]
    if entry == "predict" and required:
        needs = "; ".join(f"{t.name}: {_listed(t.needs)}" for t in signature.outputs.values())
        raise CallTypeError(
            f"predict of {signature.name} cannot compute any output from these inputs",
            found=_listed(names),
            expected=f"what at least one output needs ({needs})",
        )
    if missing:
        raise CallTypeError(
            f"{entry} of {signature.name} is missing inputs",
            found=_listed(names),
            expected=f"also {_listed(missing)}",
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
