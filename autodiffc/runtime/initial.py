"""How parameters and states start: initializers in the manifest, and the values they give.

In the manifest an initializer is one of

    {"value": 0.5}                                      a number
    {"array": [[1.0, 2.0]], "dtype": "float64"}         an array of up to 64 elements
    {"base64": "…", "dtype": "float64", "shape": […]}   a larger one, as its bytes
    {"name": "kaiming_uniform", "slope": 2.23…}         a distribution; "bound" of `uniform`

Each tensor draws from a random stream of its own, made from the seed and the tensor's name. So its
values depend neither on the order of the tensors nor on what else the model has.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodiffc.dsl.initializers import NAMES, Initializer

LISTED_ELEMENTS = 64  # larger arrays are stored as bytes: JSON's numbers are slow and long


def describe_initializer(initializer: Initializer) -> dict[str, Any]:
    """The initializer as JSON."""
    if initializer.kind != "value":
        settings = {"bound": initializer.bound, "slope": initializer.slope or None}
        kept = {key: value for key, value in settings.items() if value is not None}
        return {"name": initializer.kind, **kept}
    if np.ndim(initializer.value) == 0:
        return {"value": initializer.value}
    array = np.ascontiguousarray(initializer.value)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.size <= LISTED_ELEMENTS and bool(np.isfinite(array).all()):
        return {"array": array.tolist(), "dtype": array.dtype.name}
    text = base64.b64encode(array.tobytes()).decode("ascii")
    return {"base64": text, "dtype": array.dtype.name, "shape": list(array.shape)}


def read_initializer(entry: Mapping[str, Any]) -> Initializer:
    """The initializer that `describe_initializer` wrote; raises ValueError for anything else."""
    if "value" in entry:
        return Initializer("value", entry["value"])
    if "array" in entry:
        return Initializer("value", np.array(entry["array"], dtype=entry["dtype"]))
    if "base64" in entry:
        stored = np.dtype(entry["dtype"]).newbyteorder("<")
        values = np.frombuffer(base64.b64decode(entry["base64"]), dtype=stored)
        return Initializer("value", values.reshape(entry["shape"]))
    if entry.get("name") not in NAMES:
        raise ValueError(f"unknown initializer {dict(entry)!r}")
    return Initializer(entry["name"], bound=entry.get("bound"), slope=entry.get("slope", 0.0))


def initial_values(
    entry: Mapping[str, Any], name: str, shape: tuple[int, ...], seed: int
) -> NDArray[Any]:
    """The values that the tensor `name` starts with."""
    return read_initializer(entry).sample(shape, np.random.default_rng(_stream(seed, name)))


def _stream(seed: int, name: str) -> np.random.SeedSequence:
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.SeedSequence(seed, spawn_key=(int.from_bytes(digest[:8], "little"),))
