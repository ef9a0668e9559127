"""A call with its arrays checked once: what remains is the C call.

The bound arrays are read, and `out` and `grads` written, where they lie: change an input's contents
between calls, never its place. A bound call shares its context's workspace and lock, so a bound
forward may be followed by a bound backward of the same context, or by a plain one.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from autodiffc.errors import ArgumentError, ArgumentTypeError, CallError
from autodiffc.runtime import direct
from autodiffc.runtime.named import NamedArrays
from autodiffc.runtime.program import no_forward
from autodiffc.runtime.structs import ReadStruct, WriteStruct

if TYPE_CHECKING:
    from autodiffc.runtime.context import Context

ENTRIES = ("predict", "forward", "backward", "value_and_grad", "step")


class BoundCall(ABC):  # noqa: B024 - complete; `register` is why
    """`call()` runs the entry; `out` and `grads` are overwritten each time.

    A call of little work is an instance of a C type instead, registered as a kind of this one.
    """

    __slots__ = ("_run", "entry", "grads", "out")

    def __init__(
        self, entry: str, run: Callable[[], None], out: NamedArrays, grads: NamedArrays
    ) -> None:
        self.entry, self.out, self.grads = entry, out, grads
        self._run = run

    def __call__(self) -> None:
        self._run()

    def __repr__(self) -> str:
        return f"<bound {self.entry}>"


def bind(context: Context, entry: str, arrays: Mapping[str, Any]) -> BoundCall:
    """Checks the arrays and allocates what the call writes."""
    _check_entry(entry)
    with context._lock:
        if entry == "backward":
            return _bind_backward(context, arrays)
        return _bind_inputs(context, entry, arrays)


def _bound(
    context: Context,
    entry: str,
    run: Callable[[], None],
    structs: Sequence[Any],
    arrays: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> BoundCall:
    """`run` as an object, if possible of the C type, for which `run` is the long way."""
    out, grads = NamedArrays(arrays[0]), NamedArrays(arrays[1], "gradient")
    made = direct.bound_call(context, entry, run, structs, out, grads)
    if made is None:
        return BoundCall(entry, run, out, grads)
    BoundCall.register(type(made))
    return cast(BoundCall, made)


def _check_entry(entry: object) -> None:
    if entry in ENTRIES:
        return
    known = "one of " + ", ".join(ENTRIES)
    if not isinstance(entry, str) or not entry:
        raise ArgumentTypeError(
            "bind takes the name of a call first, without a keyword",
            found=repr(entry) if entry != "" else "no name",
            expected=known,
            help='e.g. bind("step", images=x)',
        )
    raise ArgumentError("there is no such call to bind", found=repr(entry), expected=known)


def _bind_inputs(context: Context, entry: str, arrays: Mapping[str, Any]) -> BoundCall:
    if entry == "value_and_grad":
        context._need("backward")
        context._need_differentiated()
    request = context._new_request("forward" if entry == "value_and_grad" else entry, arrays)
    inputs = context._new_inputs(context._training_inputs.struct.seed)
    outputs = context._load(request, inputs, arrays)
    inputs.point_to_scalars(request.arguments, arrays)
    out = outputs.bind(inputs.dims)
    if entry == "value_and_grad":
        input_grads = context._program.new_input_grads()
        grads = context._named_grads(input_grads.bind(inputs.dims))
        run = _value_and_grad(context, inputs, outputs, input_grads)
        return _bound(context, entry, run, (inputs, outputs, None, input_grads), (out, grads))
    make = {"predict": _predict, "forward": _forward, "step": _step}[entry]
    run = make(context, inputs, outputs)
    return _bound(context, entry, run, (inputs, outputs, None, None), (out, {}))


def _bind_backward(context: Context, arrays: Mapping[str, Any]) -> BoundCall:
    forward = context._last_forward()  # it tells the open dims
    dims = forward.inputs.dims
    struct = context._program.new_cotangents()
    cotangents = context._load_cotangents(struct, arrays, forward)
    if cotangents is not None:
        arguments = [context._program.cotangents[name] for name in arrays]
        cotangents.point_to_scalars(arguments, arrays)
    grads = context._program.new_input_grads()
    named = context._named_grads(grads.bind(dims))

    def run() -> None:
        with context._lock:
            last = context._last_forward()
            if last.inputs.dims != dims:
                raise CallError(
                    f"a bound backward of {context.name} was made for other extents",
                    found=f"a forward with {last.inputs.dims}",
                    expected=f"one with {dims}",
                )
            context._run_backward(last, cotangents, grads)

    return _bound(context, "backward", run, (None, None, cotangents, grads), ({}, named))


def _forward(context: Context, inputs: ReadStruct, outputs: WriteStruct) -> Callable[[], None]:
    def run() -> None:
        with context._lock:
            context._run_forward(inputs, outputs)

    return run


def _value_and_grad(
    context: Context, inputs: ReadStruct, outputs: WriteStruct, grads: WriteStruct
) -> Callable[[], None]:
    def run() -> None:
        with context._lock:
            context._run_forward(inputs, outputs)
            forward = context._last[0]
            if forward is None:
                raise no_forward(context.name)
            context._run_backward(forward, None, grads)

    return run


def _predict(context: Context, inputs: ReadStruct, outputs: WriteStruct) -> Callable[[], None]:
    def run() -> None:
        with context._lock:
            context._run_predict(inputs, outputs)

    return run


def _step(context: Context, inputs: ReadStruct, outputs: WriteStruct) -> Callable[[], None]:
    variables = context._variables

    def run() -> None:
        variables.start_writing()
        try:
            with context._lock:
                context._run_step(inputs, outputs)
        finally:
            variables.writer.release()

    return run
