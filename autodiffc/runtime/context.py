"""The calls of a compiled model, with the workspace and the gradients they need.

A context belongs to one thread at a time: its calls wait for each other. All contexts of a model
share parameters, states and run-time scalars (`Variables`); who changes those excludes all others
who would, and does not wait.

Every call goes the same way: find the plan for the names given (made at the first call with them,
when names are checked), check the arrays and point the C structs to them, call C without the GIL,
hand out what it wrote. `_run_…` are the C calls themselves, shared with bound calls. Where there is
little to compute, all of that takes longer than the computation, and `direct.py` has a short cut.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from autodiffc.errors import ArgumentError, CallTypeError, StateError
from autodiffc.runtime.arguments import Argument
from autodiffc.runtime.direct import Direct, call_by_name, not_direct
from autodiffc.runtime.named import NamedArrays
from autodiffc.runtime.program import OK, Program, no_forward
from autodiffc.runtime.request import Request, make_request, refuse_positional
from autodiffc.runtime.signature import AxisSizes, TensorSpec
from autodiffc.runtime.structs import ReadStruct, WriteStruct
from autodiffc.runtime.variables import Variables, make_buffer, views
from autodiffc.runtime.workspace import Workspace

if TYPE_CHECKING:
    from autodiffc.runtime.bound import BoundCall


class Forward(NamedTuple):
    """A forward that a backward may follow: its inputs, and the parameters' version it saw."""

    inputs: ReadStruct
    version: int

    @property
    def address(self) -> int:
        """Of the C struct of the inputs."""
        return self.inputs.address


class Context:
    """Calls over shared parameters, with gradients and workspace of its own."""

    def __init__(self, program: Program, variables: Variables) -> None:
        self._program = program
        self._variables = variables
        self._lock = threading.Lock()
        signature = program.signature
        c_type = "float *" if signature.dtype.itemsize == 4 else "double *"
        self._grad_buffer, self._grad_pointer = make_buffer(
            program.ffi, c_type, signature.param_elements, signature.dtype
        )
        self._param_grads = views(self._grad_buffer, signature.params)
        self._training_inputs = self._new_inputs(seed=0)
        self._prediction_inputs = self._new_inputs(seed=0)
        if "backward" in program.functions:
            self._cotangents = program.new_cotangents()
            self._input_grads = program.new_input_grads()
        self._training = Workspace(program, training=True)
        self._prediction = Workspace(program, training=False)
        self._requests: dict[tuple[str, ...], Request] = {}
        self._cotangent_plans: dict[tuple[str, ...], tuple[list[Argument], tuple[str, ...]]] = {}
        self._last: list[Forward | None] = [None]  # the last forward; direct calls write it too
        self._untried: set[str]  # entries of which it is not known whether they can be direct
        self._direct: dict[str, Direct]
        self._forget_direct()
        # a forward in training mode writes the model's own states: running statistics, counters
        self._forward_writes = any(not s.optimizer for s in signature.states.values())

    @property
    def threads(self) -> int:
        """How many threads a call may use, within the build's `threads`; 0: OpenMP's choice.

        In a process that was forked from one that used OpenMP it is 1 and stays so.
        """
        return int(self._training.struct.threads)

    @threads.setter
    def threads(self, count: int) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 1 << 31:
            raise ArgumentError(
                "the number of threads must be a non-negative integer",
                found=repr(count),
                expected="e.g. 2; 0 for OpenMP's choice",
            )
        for workspace in (self._training, self._prediction):
            workspace.use_threads(count)

    # --- What there is ---

    @property
    def name(self) -> str:
        return self._program.signature.name

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Shape and dtype of each input; None stands for an extent that calls choose."""
        return {name: t.spec() for name, t in self._program.signature.inputs.items()}

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Shape and dtype of each output."""
        return {name: t.spec() for name, t in self._program.signature.outputs.items()}

    @property
    def dims(self) -> Mapping[str, int | tuple[int, int]]:
        """Each dim's value, or its range where it is open."""
        return dict(self._program.signature.dims)

    def axis_sizes(self, name: str, axis: int = 0) -> AxisSizes:
        """The sizes that an axis of an input may have, and the model's own."""
        signature = self._program.signature
        return signature.axis_sizes(signature.inputs[name].shape[axis])

    @property
    def params(self) -> NamedArrays:
        """Writable views into `param_buffer`."""
        return self._variables.params

    @property
    def states(self) -> NamedArrays:
        """Writable views into `state_buffer`: the model's states, then the optimizer's."""
        return self._variables.states

    @property
    def grads(self) -> NamedArrays:
        """Views into `grad_buffer`, one for each parameter; `backward` overwrites them."""
        return NamedArrays(self._param_grads, "gradient")

    @property
    def param_buffer(self) -> Any:
        """All parameters as one vector, aligned to 64 bytes; gaps between them are unused."""
        return self._variables.param_buffer

    @property
    def state_buffer(self) -> Any:
        """All states as one vector."""
        return self._variables.state_buffer

    @property
    def grad_buffer(self) -> Any:
        """All gradients of parameters as one vector, laid out as `param_buffer`."""
        return self._grad_buffer

    # --- Calls ---

    def forward(self, /, *positional: Any, **inputs: Any) -> NamedArrays:
        """All outputs, in training mode. The arrays are read again by `backward`."""
        if positional:
            raise refuse_positional(self.name, "forward")
        found = self._direct["forward"](inputs)
        if found is not NotImplemented:
            return found  # type: ignore[no-any-return]
        with self._lock:
            outputs = NamedArrays(self._compute_forward(inputs))
        self._make_direct("forward")
        return outputs

    def backward(self, /, *positional: Any, **cotangents: Any) -> NamedArrays:
        """The gradients of the last forward of this context.

        Without arguments those of the differentiated output; with cotangents (one for each output
        that matters, of the output's shape) their pullback. Gradients of parameters are views that
        the next call overwrites, those of inputs are fresh. Inputs and parameters must be as they
        were in the forward; inputs are not copied.
        """
        if positional:
            raise refuse_positional(self.name, "backward")
        with self._lock:
            return NamedArrays(self._compute_backward(cotangents), "gradient")

    def value_and_grad(self, /, *positional: Any, **inputs: Any) -> tuple[NamedArrays, NamedArrays]:
        """`forward` and `backward`, as one."""
        if positional:
            raise refuse_positional(self.name, "value_and_grad")
        found = self._direct["value_and_grad"](inputs)
        if found is not NotImplemented:
            return found  # type: ignore[no-any-return]
        with self._lock:
            self._need("backward")
            self._need_differentiated()
            outputs = NamedArrays(self._compute_forward(inputs))
            grads = NamedArrays(self._compute_backward({}), "gradient")
        self._make_direct("value_and_grad")
        return outputs, grads

    def predict(self, /, *positional: Any, **inputs: Any) -> NamedArrays:
        """Every output whose inputs are all given, in inference mode. A forward stays valid."""
        if positional:
            raise refuse_positional(self.name, "predict")
        found = self._direct["predict"](inputs)
        if found is not NotImplemented:
            return found  # type: ignore[no-any-return]
        with self._lock:
            request = self._request("predict", inputs)
            loaded = self._load(request, self._prediction_inputs, inputs)
            self._run_predict(self._prediction_inputs, loaded)
            outputs = NamedArrays(loaded.collect())
        self._make_direct("predict")
        return outputs

    def step(self, /, *positional: Any, **inputs: Any) -> float:
        """Forward, backward and the optimizer's update, as one; the differentiated output.

        Leaves `grad_buffer` unspecified. Only one context may step at a time.
        """
        if positional:
            raise refuse_positional(self.name, "step")
        self._variables.start_writing()
        try:
            with self._lock:
                request = self._request("step", inputs)
                outputs = self._load(request, self._training_inputs, inputs)
                self._run_step(self._training_inputs, outputs)
                (loss,) = outputs.cells.values()
                return float(loss[0])
        finally:
            self._variables.writer.release()

    def bind(self, entry: str = "", /, *positional: Any, **arrays: Any) -> BoundCall:
        """A call with its arrays checked once.

        `entry` is predict, forward, backward, value_and_grad or step; `arrays` are what the call of
        that name takes. The result's `call()` reads the arrays as they are by then, and overwrites
        `call.out` and `call.grads`.
        """
        from autodiffc.runtime.bound import bind

        if positional:
            raise refuse_positional(self.name, "bind", f"{entry!r}, ")
        return bind(self, entry, arrays)

    # --- Direct calls ---

    def _make_direct(self, entry: str) -> None:
        """After a first call that went the long way: the next may be direct, or try it in vain."""
        if entry in self._untried:
            self._untried.discard(entry)
            self._direct[entry] = call_by_name(self, entry) or not_direct

    def _forget_direct(self) -> None:
        """Direct calls have structs of their own, in which seeds are as they were then."""
        self._untried = {"forward", "value_and_grad", "predict"}
        self._direct = dict.fromkeys(self._untried, not_direct)

    # --- How they are done; the lock is held ---

    def _compute_forward(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        request = self._request("forward", inputs)
        outputs = self._load(request, self._training_inputs, inputs)
        self._run_forward(self._training_inputs, outputs)
        return outputs.collect()

    def _compute_backward(self, cotangents: Mapping[str, Any]) -> dict[str, Any]:
        forward = self._last_forward()
        loaded = self._load_cotangents(self._cotangents, cotangents, forward)
        grads = self._input_grads
        grads.prepare(forward.inputs.dims)
        self._run_backward(forward, loaded, grads)
        return self._named_grads(grads.collect())

    def _named_grads(self, input_grads: Mapping[str, Any]) -> dict[str, Any]:
        """All gradients in the order of `wrt`."""
        params = self._param_grads
        wrt = self._program.signature.wrt
        return {n: input_grads[n] if n in input_grads else params[n] for n in wrt}

    def _request(self, entry: str, arrays: Mapping[str, Any]) -> Request:
        """The plan for a call with these names."""
        key = (entry, *arrays)
        found = self._requests.get(key)
        if found is None:
            found = self._requests[key] = self._new_request(entry, arrays)
        return found

    def _new_request(self, entry: str, arrays: Mapping[str, Any]) -> Request:
        """A plan with structs of its own."""
        self._need(entry)
        return make_request(self._program, entry, tuple(arrays))

    def _load(self, request: Request, inputs: ReadStruct, arrays: Mapping[str, Any]) -> WriteStruct:
        """Gets the structs ready; an error leaves them as they were."""
        self._need_init()
        inputs.load(request.arguments, arrays)
        if inputs is self._training_inputs:
            self._last[0] = None  # its inputs are gone
        if request.absent:
            inputs.clear(request.absent)
        if self._program.low:
            inputs.store_dims(self._program.low)
        request.outputs.prepare(inputs.dims)
        return request.outputs

    def _load_cotangents(
        self, struct: ReadStruct, cotangents: Mapping[str, Any], forward: Forward
    ) -> ReadStruct | None:
        """None stands for 1 at the differentiated output."""
        if not cotangents:
            self._need_differentiated()
            return None
        plan = self._cotangent_plans.get(tuple(cotangents))
        if plan is None:
            plan = self._plan_cotangents(tuple(cotangents))
        arguments, absent = plan
        struct.load(arguments, cotangents, forward.inputs.dims)
        struct.clear(absent)
        return struct

    def _plan_cotangents(self, names: tuple[str, ...]) -> tuple[list[Argument], tuple[str, ...]]:
        known = self._program.cotangents
        unknown = [name for name in names if name not in known]
        if unknown:
            raise CallTypeError(
                f"backward of {self.name} takes cotangents of floating outputs",
                found=", ".join(map(repr, unknown)),
                expected=", ".join(map(repr, known)) or "none",
            )
        absent = tuple(name for name in known if name not in names)
        plan = self._cotangent_plans[names] = ([known[name] for name in names], absent)
        return plan

    def _last_forward(self) -> Forward:
        self._need("backward")
        self._need_init()
        last = self._last[0]
        if last is None:
            raise no_forward(self.name)
        if last.version != self._variables.version:
            raise StateError(
                f"the parameters of {self.name} have changed since the forward",
                found="an init, load_weights or step in between",
                expected="backward at the parameters of its forward",
                help="call forward again",
            )
        return last

    # --- The C calls; inputs and outputs are ready, the lock is held ---

    def _run_forward(self, inputs: ReadStruct, outputs: WriteStruct) -> None:
        variables = self._variables
        self._last[0] = None
        self._training.reserve(inputs)
        if self._forward_writes:
            variables.start_writing()
        try:
            status = self._program.functions["forward"](
                inputs.struct,
                variables.param_pointer,
                variables.state_pointer,
                outputs.struct,
                self._training.struct,
            )
        finally:
            if self._forward_writes:
                variables.writer.release()
        if status != OK:
            raise self._program.failure(status, inputs)
        self._last[0] = Forward(inputs, variables.version)

    def _run_backward(
        self, forward: Forward, cotangents: ReadStruct | None, grads: WriteStruct
    ) -> None:
        program = self._program
        status = program.functions["backward"](
            forward.inputs.struct,
            self._variables.param_pointer,
            program.ffi.NULL if cotangents is None else cotangents.struct,
            self._grad_pointer,
            grads.struct,
            self._training.struct,
        )
        if status != OK:
            raise program.failure(status, forward.inputs)

    def _run_predict(self, inputs: ReadStruct, outputs: WriteStruct) -> None:
        self._prediction.reserve(inputs)
        status = self._program.functions["predict"](
            inputs.struct,
            self._variables.param_pointer,
            self._variables.state_pointer,
            outputs.struct,
            self._prediction.struct,
        )
        if status != OK:
            raise self._program.failure(status, inputs)

    def _run_step(self, inputs: ReadStruct, outputs: WriteStruct) -> None:
        """The writer's lock is held too."""
        variables = self._variables
        self._last[0] = None
        self._training.reserve(inputs)
        status = self._program.functions["step"](
            inputs.struct,
            variables.param_pointer,
            variables.state_pointer,
            outputs.struct,
            self._training.struct,
        )
        if status != OK:
            raise self._program.failure(status, inputs)
        variables.versions[0] += 1

    # --- What calls need ---

    def _need(self, entry: str) -> None:
        if entry in self._program.functions:
            return
        reasons = {
            "backward": "it was made without `differentiate`",
            "step": "it was made without an optimizer",
        }
        raise StateError(
            f"{self.name} has no {entry}",
            found=reasons.get(entry, "it is not in the compiled library"),
            expected="one of " + ", ".join(self._program.functions),
        )

    def _need_init(self) -> None:
        if not self._variables.initialized:
            raise StateError(
                f"{self.name} has no parameters yet",
                found="a call before init",
                expected=f"{self.name}.init(seed=0), or load_weights(path), first",
            )

    def _need_differentiated(self) -> None:
        if self._program.signature.differentiate is None:
            raise CallTypeError(
                f"backward of {self.name} needs cotangents",
                found="none",
                expected="one of " + ", ".join(map(repr, self._program.cotangents)),
                help="ad.Model(..., differentiate=...) names the output to start from",
            )

    def _new_inputs(self, seed: int) -> ReadStruct:
        """A struct that reads the run-time scalars where `set` writes them."""
        inputs = self._program.new_inputs()
        for name, cell in self._variables.scalars.items():
            setattr(inputs.struct, name, cell)
        inputs.struct.seed = seed
        return inputs

    def _seed(self, seed: int) -> None:
        """What random numbers in the model start from."""
        for inputs in (self._training_inputs, self._prediction_inputs):
            inputs.struct.seed = seed
        self._forget_direct()
