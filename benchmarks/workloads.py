"""What is timed: each workload names its sizes, its type, its aim, and who takes part.

`contestants` makes ours first, then the peers one by one: a peer that is not installed, or cannot
do the work, is left out with its reason, never in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import autodiffc as ad
from benchmarks.harness import Contestant, NotThere
from benchmarks.networks import ALEXNET, EXAMPLES, LENET5, LR, MLP, SMALL_MLP, Network, model
from benchmarks.peers import ours

Makers = list[Callable[[], Contestant]]


@dataclass
class Field:
    """Who takes part, who does not and why, and the work of one call as our manifest counts it."""

    contestants: list[Contestant]
    absent: dict[str, str] = field(default_factory=dict)
    flops: float = 0.0
    bytes: float = 0.0

    def add(self, package: str, makers: Callable[[], Makers]) -> None:
        """The contestants of one package; its import is part of `makers`."""
        try:
            found = makers()
        except ImportError as error:
            self.absent[package] = f"not installed ({error})"
            return
        for number, make in enumerate(found):
            try:
                self.contestants.append(make())
            except NotThere as reason:
                self.absent[f"{package} {number + 1} of {len(found)}"] = str(reason)


@dataclass(frozen=True)
class Workload:
    """`aims` are the least ratios (best peer's time / ours) by the package they are meant for."""

    name: str
    title: str
    dtype: str
    aims: Mapping[str, float]
    enter: Callable[[int], Field]
    threads: Sequence[int] = (1, 2)
    tolerance: float = 1e-4  # of results, relative to the largest element


# --- Training steps ---


def _steps(network: Network, batch: int, build: Callable[[], ad.Model]) -> Callable[[int], Field]:
    def enter(threads: int) -> Field:
        compiled = ad.compile(build(), dims={"batch": batch}, threads=threads).init(seed=0)
        weights = [np.array(p) for p in compiled.params.values()]
        inputs = _images(network, batch, np.float32)
        names = list(compiled.inputs)
        taken = ours.step(compiled, dict(zip(names, inputs, strict=True)), threads)
        entered = Field([taken], **_work(compiled, "step"))

        def torch_makers() -> Makers:
            from benchmarks.peers import with_torch

            with_torch.set_threads(threads)
            return with_torch.steps(network, weights, *inputs)

        def jax_makers() -> Makers:
            from benchmarks.peers import with_jax

            return with_jax.steps(network, weights, *inputs)

        entered.add("PyTorch", torch_makers)
        entered.add("JAX", jax_makers)
        return entered

    return enter


def _images(network: Network, batch: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, *network.shape)).astype(dtype)
    return images, rng.integers(0, network.classes, batch, dtype=np.int32)


def alexnet() -> ad.Model:
    """The example's graph, with plain SGD."""
    file = EXAMPLES / "alexnet.py"
    if not file.is_file():
        raise NotThere(f"the model file is not there yet: {file.name} among the examples")
    from autodiffc.pipeline import read_model

    found = read_model(file)
    if not isinstance(found, ad.Model):
        raise NotThere(f"{file.name} defines several models")
    shapes = [tuple(p.shape) for p in found.params]
    if len(shapes) != 2 * sum(hasattr(layer, "features") for layer in ALEXNET.layers):
        raise NotThere(f"{file.name} is another network: parameters {shapes}")
    loss = found.differentiate
    if loss is None:
        raise NotThere(f"{file.name} differentiates nothing")
    return ad.Model("alexnet", {loss: found.outputs[loss]}, loss, optimizer=ad.SGD(lr=LR))


# --- Matrix products ---


def _matmul(size: int) -> Callable[[int], Field]:
    def enter(threads: int) -> Field:
        rng = np.random.default_rng(0)
        a, b = (rng.standard_normal((size, size), np.float32) for _ in range(2))
        x, y = ad.input("a", (size, size)), ad.input("b", (size, size))
        compiled = ad.compile(ad.Model(f"matmul{size}", {"c": x @ y}), threads=threads)
        taken = ours.predict(compiled, {"a": a, "b": b}, threads)
        entered = Field([taken], **_work(compiled, "predict"))

        def numpy_makers() -> Makers:
            from benchmarks.peers import with_numpy

            return [lambda: with_numpy.matmul(a, b)]

        def torch_makers() -> Makers:
            from benchmarks.peers import with_torch

            with_torch.set_threads(threads)
            return [lambda: with_torch.matmul(a, b)]

        entered.add("NumPy", numpy_makers)
        entered.add("PyTorch", torch_makers)
        return entered

    return enter


# --- Scalars ---


def _quiz(x: Any, z: Any) -> Any:
    return ad.exp(x * z) + x * z / ad.log(x) + ad.sin(ad.log(x)) / ad.exp(x * z)


def _quiz_model() -> ad.Model:
    x, z = ad.input("x", low=1.5, high=3), ad.input("z", low=1, high=4)
    return ad.Model("quiz", {"y": _quiz(x, z)}, differentiate="y")


def _quiz_map(dtype: str, points: int) -> Callable[[int], Field]:
    def enter(threads: int) -> Field:
        rng = np.random.default_rng(0)
        x = rng.uniform(1.5, 3, points).astype(dtype)
        z = rng.uniform(1, 4, points).astype(dtype)
        a, b = ad.input("x", (points,), low=1.5, high=3), ad.input("z", (points,), low=1, high=4)
        y = _quiz(a, b)
        dx, dz = ad.grad(ad.sum(y), [a, b])
        compiled = ad.compile(
            ad.Model("quiz_map", {"y": y, "dx": dx, "dz": dz}), dtype=dtype, threads=threads
        )
        taken = ours.predict(compiled, {"x": x, "z": z}, threads)
        entered = Field([taken], **_work(compiled, "predict"))

        def jax_makers() -> Makers:
            from benchmarks.peers import with_jax

            return [lambda: with_jax.quiz_map(x, z)]

        def casadi_makers() -> Makers:
            from benchmarks.peers import with_casadi

            return with_casadi.quiz_maps(x, z, threads)

        entered.add("JAX", jax_makers)
        if dtype == "float64":
            entered.add("CasADi", casadi_makers)
        else:
            entered.absent["CasADi"] = "has float64 alone"
        return entered

    return enter


def _quiz_keywords(threads: int) -> Field:
    compiled = ad.compile(_quiz_model(), dtype="float64", threads=threads)

    def call() -> Any:
        return compiled.value_and_grad(x=2.0, z=3.0)

    def result() -> dict[str, Any]:
        out, grads = call()
        return {"value": out.y, "gradient 0": grads["x"], "gradient 1": grads["z"]}

    entered = Field(
        [ours.contestant(call, result, threads)], **_work(compiled, "forward", "backward")
    )

    def jax_makers() -> Makers:
        from benchmarks.peers import with_jax

        return with_jax.quiz_calls(2.0, 3.0)

    entered.add("JAX", jax_makers)
    return entered


def _quiz_bound(threads: int) -> Field:
    compiled = ad.compile(_quiz_model(), dtype="float64", threads=threads)
    taken = ours.value_and_grad(compiled, {"x": np.array(2.0), "z": np.array(3.0)}, threads)
    entered = Field([taken], **_work(compiled, "forward", "backward"))

    def casadi_makers() -> Makers:
        from benchmarks.peers import with_casadi

        return with_casadi.quiz_calls(2.0, 3.0)

    entered.add("CasADi", casadi_makers)
    return entered


def _small_mlp(threads: int) -> Field:
    compiled = ad.compile(
        model(SMALL_MLP, optimizer=False), dims={"batch": 1}, dtype="float64", threads=threads
    ).init(seed=0)
    weights = [np.array(p) for p in compiled.params.values()]
    images, labels = _images(SMALL_MLP, 1, np.float64)
    taken = ours.value_and_grad(compiled, {"images": images, "labels": labels}, threads)
    entered = Field([taken], **_work(compiled, "forward", "backward"))

    def casadi_makers() -> Makers:
        from benchmarks.peers import with_casadi

        label = int(labels[0])
        return [lambda: with_casadi.value_and_grad(SMALL_MLP, weights, images, label)]

    entered.add("CasADi", casadi_makers)
    return entered


def _work(compiled: Any, *entries: str) -> dict[str, Any]:
    """Operations by the manifest; bytes of everything the caller gives and gets."""
    manifest = compiled.manifest
    item = 4 if manifest["dtype"] == "float32" else 8
    shapes = [t["shape"] for kind in ("inputs", "outputs", "input_grads") for t in manifest[kind]]
    elements = sum(int(np.prod(s)) for s in shapes) + 2 * sum(p["size"] for p in manifest["params"])
    return {
        "flops": float(sum(manifest["flops"][e] for e in entries)),
        "bytes": float(elements * item),
    }


# --- The list ---


def _network(network: Network, batch: int, aim: float, build: Callable[[], ad.Model]) -> Workload:
    title = f"{network.name} step, batch {batch}"
    aims = {"any": aim}
    enter = _steps(network, batch, build)
    return Workload(f"{network.name}-{batch}", title, "float32", aims, enter, tolerance=1e-3)


def _all() -> Iterator[Workload]:
    for batch, aim in ((1, 8.0), (32, 6.0), (128, 6.0)):
        yield _network(LENET5, batch, aim, lambda: model(LENET5))
    for batch, aim in ((1, 2.0), (64, 1.2)):
        yield _network(MLP, batch, aim, lambda: model(MLP))
    for batch in (8, 32):
        yield _network(ALEXNET, batch, 1.4, alexnet)
    for size in (512, 1024):
        title = f"matrix product {size}³"
        yield Workload(f"matmul-{size}", title, "float32", {"any": 1.8}, _matmul(size))
    title = "MLP 784-128-10, batch 1, value and gradients"
    aims = {"CasADi": 3.0}
    yield Workload("small_mlp", title, "float64", aims, _small_mlp, tolerance=1e-9)
    title = "quiz at 1,000,000 points, value and partials"
    aims = {"JAX": 1.0, "CasADi": 5.0}
    enter = _quiz_map("float64", 1_000_000)
    yield Workload("quiz-map", title, "float64", aims, enter, tolerance=1e-9)
    enter = _quiz_map("float32", 1_000_000)
    yield Workload("quiz-map-32", title, "float32", {"JAX": 1.0}, enter, tolerance=1e-4)
    title = "quiz, call with keywords"
    yield Workload("quiz-keywords", title, "float64", {"JAX": 3.0}, _quiz_keywords, (1,), 1e-9)
    title = "quiz, bound call"
    aims = {"CasADi": 1 / 1.5}
    yield Workload("quiz-bound", title, "float64", aims, _quiz_bound, (1,), 1e-9)


WORKLOADS: dict[str, Workload] = {w.name: w for w in _all()}
