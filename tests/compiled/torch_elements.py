"""Random elementwise functions, look-ups, views and slices, beside PyTorch's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

import autodiffc as ad
from tests.compiled.torch_cases import Comparison, Draw, Keywords, Shape, same_name

# --- Elementwise ---

# function -> the interval to draw from
INTERVALS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("exp", "expm1", "exp2", "sin", "cos", "sinh", "cosh", "tanh"), (-3, 3)),
    **dict.fromkeys(("asinh", "atan", "erf", "erfc", "square", "sigmoid", "abs"), (-3, 3)),
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "rsqrt"), (0.1, 4)),
    **dict.fromkeys(("asin", "acos", "atanh"), (-0.95, 0.95)),
    "log1p": (-0.9, 3),
    "acosh": (1.1, 4),
    "tan": (-1.4, 1.4),
    "reciprocal": (0.2, 3),
    "negative": (-3, 3),
}
STEPS = ("sign", "floor", "ceil", "round", "trunc")  # derivative 0: multiplied by x, it shows


def functions(draw: Draw) -> Iterator[Comparison]:
    for name, (low, high) in INTERVALS.items():
        for _ in range(2):
            x = draw.uniform(low, high, draw.shape(draw.integer(0, 3)))
            yield same_name(name, torch, [x])
    for name in STEPS:
        ours, theirs = getattr(ad, name), getattr(torch, name)
        yield Comparison(
            name,
            [3 * draw.normal(3, 5)],
            lambda x, f=ours: f(x) * x,
            lambda x, f=theirs: f(x) * x,
        )
    for number in range(6):
        low, high = (draw.one(None, -1.0), 0.5) if number % 2 else (-1.0, draw.one(None, 0.7))
        yield Comparison(
            "clip",
            [2 * draw.normal(4, 5)],
            lambda x, low=low, high=high: ad.clip(x, low, high),
            lambda x, low=low, high=high: torch.clamp(x, low, high),
        )
    yield Comparison(
        "stop_gradient",
        [draw.normal(3, 4)],
        lambda x: ad.stop_gradient(ad.exp(x)) * x,
        lambda x: torch.exp(x).detach() * x,
    )


def activations(draw: Draw) -> Iterator[Comparison]:
    settings: dict[str, tuple[Keywords, ...]] = {
        "relu": ({},),
        "leaky_relu": ({}, {"negative_slope": 0.3}),
        "elu": ({}, {"alpha": 2.0}),
        "selu": ({},),
        "gelu": ({}, {"approximate": "tanh"}),
        "silu": ({},),
        "mish": ({},),
        "hardtanh": ({}, {"min_val": -0.5, "max_val": 2.0}),
        "relu6": ({},),
        "softsign": ({},),
        "softplus": ({}, {"beta": 2.0, "threshold": 3.0}),
        "logsigmoid": ({},),
    }
    for name, variants in settings.items():
        for keywords in variants:
            x = 4 * draw.normal(*draw.shape(draw.integer(0, 3), 5))
            yield same_name(name, functional, [x], **keywords)


def pairs(draw: Draw) -> Iterator[Comparison]:
    """Functions of two and three arguments, broadcast at random."""
    smooth = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "atan2", "hypot")
    for name in smooth:
        for _ in range(4):
            x, y = (draw.normal(*s) for s in _broadcast(draw, 2))
            yield same_name(name, torch, [x, y + np.copysign(0.3, y)])
    for name in ("maximum", "minimum"):
        x, y = (draw.tied(*s) for s in _broadcast(draw, 2))
        yield same_name(name, torch, [x, y])  # ties share the gradient
    for _ in range(6):
        first, second = _broadcast(draw, 2)
        arrays = [draw.uniform(0.2, 3.0, first), draw.normal(*second)]
        yield same_name("pow", torch, arrays)
    for number in range(6):
        exponent = (2, 3, -1, -2, 0.5, 0)[number]
        yield Comparison(
            "pow",
            [draw.uniform(0.3, 2.0, draw.shape(2))],
            lambda x, e=exponent: x**e,
            lambda x, e=exponent: x**e,
        )
    for _ in range(4):
        x, y = (4 * draw.normal(*s) for s in _broadcast(draw, 2))
        y += np.copysign(0.5, y)
        yield Comparison("mod", [x, y], ad.mod, torch.remainder)
    for _ in range(6):
        condition, x, y = (draw.normal(*s) for s in _broadcast(draw, 3))
        yield same_name("where", torch, [condition > 0, x, y])
    yield from _truths(draw)


def _truths(draw: Draw) -> Iterator[Comparison]:
    comparisons = {
        "equal": torch.eq, "not_equal": torch.ne, "less": torch.lt,
        "less_equal": torch.le, "greater": torch.gt, "greater_equal": torch.ge,
    }  # fmt: skip
    for name, function in comparisons.items():
        arrays = [draw.tied(*s) for s in _broadcast(draw, 2)]
        yield Comparison(name, arrays, getattr(ad, name), function)
    for name in ("logical_and", "logical_or", "logical_xor"):
        yield same_name(name, torch, [draw.normal(*s) > 0 for s in _broadcast(draw, 2)])


def _broadcast(draw: Draw, count: int) -> list[Shape]:
    """Shapes that broadcast: axes of 1, and axes left off at the left."""
    whole = draw.shape(draw.integer(1, 4))
    found = []
    for _ in range(count):
        shape = tuple(1 if draw.integer(0, 3) == 0 else e for e in whole)
        found.append(shape[draw.integer(0, len(whole)) if draw.flag() else 0 :])
    return found


# --- Indices ---


def look_ups(draw: Draw) -> Iterator[Comparison]:
    for _ in range(8):
        x = draw.normal(*draw.shape(draw.integer(1, 3), 5))
        axis = draw.integer(0, x.ndim - 1)
        ids = draw.labels(x.shape[axis], draw.shape(draw.integer(1, 2)))
        yield Comparison(
            "take",
            [x, ids],
            lambda x, ids, a=axis: ad.take(x, ids, axis=a),
            lambda x, ids, a=axis: x[(slice(None),) * a + (ids,)],
        )
    for _ in range(8):
        x = draw.normal(*draw.shape(draw.integer(1, 3), 5))
        axis = draw.integer(0, x.ndim - 1)
        shape = [
            draw.integer(1, 6) if a == axis else draw.integer(1, e) for a, e in enumerate(x.shape)
        ]
        ids = draw.labels(x.shape[axis], tuple(shape))
        yield Comparison(
            "gather",
            [x, ids],
            lambda x, ids, a=axis: ad.gather(x, ids, axis=a),
            lambda x, ids, a=axis: torch.gather(x, a, ids),
        )
        whole = [draw.integer(1, 6) if a == axis else e for a, e in enumerate(x.shape)]
        ids = draw.labels(x.shape[axis], tuple(whole))
        yield Comparison(
            "take_along_axis",
            [x, ids],
            lambda x, ids, a=axis: ad.take_along_axis(x, ids, axis=a),
            lambda x, ids, a=axis: torch.take_along_dim(x, ids, dim=a),
        )
    for _ in range(3):
        ids, table = (
            draw.labels(5, draw.shape(draw.integer(1, 3))),
            draw.normal(5, draw.integer(1, 4)),
        )
        yield same_name("embedding", functional, [ids, table])
        yield same_name("one_hot", functional, [ids], num_classes=5)
    for _ in range(4):
        x = draw.normal(*draw.shape(3, 5))
        axis = draw.integer(0, 2)
        where = (slice(None),) * axis + (draw.labels(x.shape[axis], (4,)).tolist(),)
        yield Comparison("getitem", [x], lambda x, w=where: x[w], lambda x, w=where: x[w])


# --- Views ---


def views(draw: Draw) -> Iterator[Comparison]:
    for _ in range(4):
        x = draw.normal(*draw.shape(draw.integer(2, 4)))
        order = tuple(draw.some(range(x.ndim), least=x.ndim))
        yield Comparison(
            "transpose",
            [x],
            lambda x, o=order: ad.transpose(x, o),
            lambda x, o=order: x.permute(o),
        )
        axes = tuple(draw.some(range(x.ndim)))
        yield Comparison("flip", [x], lambda x, a=axes: ad.flip(x, a), lambda x, a=axes: x.flip(a))
        shape = (x.size // x.shape[-1], x.shape[-1]) if draw.flag() else (-1,)
        yield Comparison(
            "reshape",
            [x],
            lambda x, s=shape: ad.reshape(x, s),
            lambda x, s=shape: x.reshape(s),
        )
        yield Comparison("flatten", [x], ad.flatten, lambda x: torch.flatten(x, start_dim=1))
        first, second = draw.integers(2, 0, x.ndim - 1)
        yield Comparison(
            "moveaxis",
            [x],
            lambda x, a=first, b=second: ad.moveaxis(x, a, b),
            lambda x, a=first, b=second: torch.moveaxis(x, a, b),
        )
        yield Comparison(
            "swapaxes",
            [x],
            lambda x, a=first, b=second: ad.swapaxes(x, a, b),
            lambda x, a=first, b=second: x.swapaxes(a, b),
        )
        small = tuple(1 if draw.flag() else e for e in x.shape)
        target = (*draw.shape(draw.integer(0, 1)), *x.shape)
        yield Comparison(
            "broadcast_to",
            [draw.normal(*small)],
            lambda x, s=target: ad.broadcast_to(x, s),
            lambda x, s=target: x.expand(s),
        )
        axis = draw.integer(0, x.ndim - 1)
        yield Comparison(
            "expand_dims",
            [x],
            lambda x, a=axis: ad.squeeze(ad.expand_dims(x, a), a) * ad.expand_dims(x, a),
            lambda x, a=axis: x.unsqueeze(a).squeeze(a) * x.unsqueeze(a),
        )
    yield from _arrangements(draw)


def _arrangements(draw: Draw) -> Iterator[Comparison]:
    """Several pieces side by side, repetitions, and borders."""
    for _ in range(4):
        shape = draw.shape(3)
        axis, count = draw.integer(0, 2), draw.integer(1, 3)
        parts = [
            draw.normal(*(draw.integer(1, 4) if a == axis else e for a, e in enumerate(shape)))
            for _ in range(count)
        ]
        yield Comparison(
            "concat",
            parts,
            lambda *xs, a=axis: ad.concat(xs, axis=a),
            lambda *xs, a=axis: torch.cat(xs, dim=a),
        )
        yield Comparison(
            "stack",
            [draw.normal(*shape) for _ in range(count)],
            lambda *xs, a=axis: ad.stack(xs, axis=a),
            lambda *xs, a=axis: torch.stack(xs, dim=a),
        )
        widths = [tuple(draw.integers(2, 0, 3)) for _ in shape]
        flat = [w for pair in reversed(widths) for w in pair]
        value = draw.one(0.0, 1.5)
        yield Comparison(
            "pad",
            [draw.normal(*shape)],
            lambda x, w=widths, v=value: ad.pad(x, w, v),
            lambda x, w=flat, v=value: functional.pad(x, w, value=v),
        )
        times = draw.integer(1, 3)
        yield Comparison(
            "repeat",
            [draw.normal(*shape)],
            lambda x, n=times, a=axis: ad.repeat(x, n, axis=a),
            lambda x, n=times, a=axis: torch.repeat_interleave(x, n, dim=a),
        )
        repetitions = tuple(draw.integers(3, 1, 2))
        yield Comparison(
            "tile",
            [draw.normal(*shape)],
            lambda x, r=repetitions: ad.tile(x, r),
            lambda x, r=repetitions: torch.tile(x, r),
        )
        yield Comparison(
            "split",
            [draw.normal(6, 3)],
            lambda x: ad.split(x, 3, axis=0)[1] * ad.split(x, 3, axis=0)[2],
            lambda x: torch.split(x, 2)[1] * torch.split(x, 2)[2],
        )


def slices(draw: Draw) -> Iterator[Comparison]:
    for _ in range(16):
        shape = tuple(2 + e for e in draw.shape(3, 5))
        cuts: list[Any] = []
        for extent in shape:
            start = draw.integer(0, extent - 1)
            stop, step = draw.integer(start + 1, extent), draw.integer(1, 3)
            cuts.append(
                draw.one(start, slice(start, stop, step), slice(start - extent, None, step))
            )
        where = draw.one(
            (cuts[0], *cuts[1:]), (Ellipsis, cuts[2]), (None, cuts[0]), (cuts[0], None, cuts[1])
        )
        yield Comparison(
            "getitem", [draw.normal(*shape)], lambda x, w=where: x[w], lambda x, w=where: x[w]
        )
