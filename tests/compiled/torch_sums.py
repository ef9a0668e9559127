"""Random windows, contractions, reductions and losses, beside PyTorch's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional

import autodiffc as ad
from tests.compiled.torch_cases import Array, Comparison, Draw, Keywords, same_name

# --- Windows ---


def convolutions(draw: Draw) -> Iterator[Comparison]:
    for number in range(45):
        n = number % 3 + 1
        kernel = draw.integers(n, 1, 3)
        dilation = draw.integers(n, 1, 2)
        padding: Any = draw.one("same", "valid", "number", "number", "number")
        stride = [1] * n if padding == "same" else draw.integers(n, 1, 3)
        pads = draw.integers(n, 0, 3) if padding == "number" else [0] * n
        least = [
            max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, pads, strict=True)
        ]
        extents = [e + draw.integer(0, 5 - n) for e in least]
        groups, into, out = draw.integer(1, 3), draw.integer(1, 2), draw.integer(1, 2)
        keywords: Keywords = {
            "stride": tuple(stride),
            "padding": tuple(pads) if padding == "number" else padding,
            "dilation": tuple(dilation),
            "groups": groups,
        }
        x = draw.normal(draw.integer(1, 3), groups * into, *extents)
        weight = draw.normal(groups * out, into, *kernel)
        bias = [draw.normal(groups * out)] if draw.flag() else []
        yield same_name(f"conv{n}d", functional, [x, weight, *bias], **keywords)


def max_pools(draw: Draw) -> Iterator[Comparison]:
    for number in range(30):
        n = number % 3 + 1
        kernel = draw.integers(n, 1, 4)
        dilation = draw.integer(1, 2)
        padding = [draw.integer(0, k // 2) for k in kernel]
        spans = [dilation * (k - 1) + 1 for k in kernel]
        extents = [
            max(1, s - 2 * p, 2 * p + 1) + draw.integer(0, 3)
            for s, p in zip(spans, padding, strict=True)
        ]
        keywords: Keywords = {
            "kernel_size": tuple(kernel),
            "stride": None if draw.flag() else tuple(draw.integers(n, 1, 4)),
            "padding": tuple(padding),
            "dilation": dilation,
            "ceil_mode": draw.flag(),
        }
        shape = (draw.integer(1, 2), draw.integer(1, 2), *extents)
        x = draw.tied(*shape) if draw.flag() else draw.normal(*shape)
        yield same_name(f"max_pool{n}d", functional, [x], **keywords)


def average_pools(draw: Draw) -> Iterator[Comparison]:
    for number in range(30):
        n = number % 3 + 1
        kernel = draw.integers(n, 1, 4)
        padding = [draw.integer(0, k // 2) for k in kernel]
        extents = [k + draw.integer(0, 3) for k in kernel]
        keywords: Keywords = {
            "kernel_size": tuple(kernel),
            "stride": None if draw.flag() else tuple(draw.integers(n, 1, 4)),
            "padding": tuple(padding),
            "ceil_mode": draw.flag(),
            "count_include_pad": draw.flag(),
        }
        if n > 1 and draw.flag():
            keywords["divisor_override"] = draw.integer(1, 5)
        x = draw.normal(draw.integer(1, 2), draw.integer(1, 2), *extents)
        yield same_name(f"avg_pool{n}d", functional, [x], **keywords)


# --- Contractions ---


def products(draw: Draw) -> Iterator[Comparison]:
    for _ in range(24):
        m, k, n = draw.integers(3, 1, 6)
        left, right = [m, k], [k, n]
        kind = draw.one(
            "matrices", "batches", "batches", "vector on the left", "on the right", "dot"
        )
        if kind == "batches":
            batch = draw.shape(draw.integer(1, 2), 3)
            left = [e if draw.flag() else 1 for e in batch] + left
            right = [*batch[draw.integer(0, 1) :], *right]
        elif kind in ("vector on the left", "dot"):
            left = [k]
        if kind in ("on the right", "dot"):
            right = [k]
        yield same_name("matmul", torch, [draw.normal(*left), draw.normal(*right)])
    for _ in range(4):
        m, k, n = draw.integers(3, 1, 6)
        arrays = [draw.normal(*draw.shape(draw.integer(0, 2), 3), k), draw.normal(n, k)]
        yield same_name("linear", functional, [*arrays, draw.normal(n)] if draw.flag() else arrays)
    for axes in (1, 2):
        shared = draw.shape(axes)
        arrays = [draw.normal(*draw.shape(2), *shared), draw.normal(*shared, *draw.shape(1))]
        yield Comparison(
            "tensordot",
            arrays,
            lambda x, y, axes=axes: ad.tensordot(x, y, axes=axes),
            lambda x, y, axes=axes: torch.tensordot(x, y, dims=axes),
        )
    yield same_name("outer", torch, [draw.normal(3), draw.normal(5)])
    yield same_name("dot", torch, [draw.normal(7), draw.normal(7)])


def einsums(draw: Draw) -> Iterator[Comparison]:
    """Random einsums: repeated letters in a factor take diagonals."""
    for _ in range(24):
        extent = dict(zip("abcde", draw.integers(5, 1, 4), strict=True))
        factors = [
            "".join(draw.one(*"abcde") for _ in range(draw.integer(1, 3)))
            for _ in range(draw.integer(1, 3))
        ]
        kept = draw.some(sorted(set("".join(factors))), least=0)
        text = f"{','.join(factors)}->{''.join(kept)}"
        arrays = [draw.normal(*(extent[c] for c in factor)) for factor in factors]
        yield Comparison(
            "einsum",
            arrays,
            lambda *xs, text=text: ad.einsum(text, *xs),
            lambda *xs, text=text: torch.einsum(text, *xs),
        )


# --- Reductions ---


def _reduced(
    name: str, x: Array, axis: Any, keepdims: bool, theirs: Any, **ours: Any
) -> Comparison:
    function = getattr(ad, name)
    return Comparison(
        name, [x], lambda x: function(x, axis=axis, keepdims=keepdims, **ours), theirs
    )


def reductions(draw: Draw) -> Iterator[Comparison]:
    several = {
        "sum": torch.sum, "mean": torch.mean, "amax": torch.amax, "amin": torch.amin,
        "max": torch.amax, "min": torch.amin, "logsumexp": torch.logsumexp,
    }  # fmt: skip
    for name, function in several.items():
        for _ in range(4):
            x = draw.normal(*draw.shape(draw.integer(1, 4)))
            axis = tuple(draw.some(range(-x.ndim, 0)))
            if "max" in name or "min" in name:
                x = draw.tied(*x.shape)
            keep = draw.flag()
            yield _reduced(
                name, x, axis, keep, lambda x, f=function, a=axis, k=keep: f(x, dim=a, keepdim=k)
            )
        yield _reduced(
            name,
            draw.normal(3, 4),
            None,
            False,
            lambda x, f=function: f(x, dim=(0, 1)),
        )
    for name in ("var", "std"):
        function = getattr(torch, name)
        for ddof in (0, 1, 1):
            x = draw.normal(*(2 + e for e in draw.shape(3)))
            axis, keep = tuple(draw.some(range(3))), draw.flag()
            yield _reduced(
                name, x, axis, keep,
                lambda x, f=function, a=axis, k=keep, c=ddof: f(x, dim=a, keepdim=k, correction=c),
                ddof=ddof,
            )  # fmt: skip
    yield from _one_axis(draw)


def _one_axis(draw: Draw) -> Iterator[Comparison]:
    for name in ("prod", "argmax", "argmin", "all", "any"):
        function = getattr(torch, name)
        for _ in range(4):
            shape = draw.shape(draw.integer(1, 3))
            x = draw.normal(*shape) if name == "prod" else draw.tied(*shape)
            if name in ("argmax", "argmin"):
                x = draw.normal(*shape)  # PyTorch promises no position among ties
            if name == "prod" and draw.flag():
                x.flat[draw.integer(0, x.size - 1)] = 0.0
            x = x if name not in ("all", "any") else x != 0
            axis, keep = draw.integer(0, x.ndim - 1), draw.flag()
            yield _reduced(
                name, x, axis, keep, lambda x, f=function, a=axis, k=keep: f(x, dim=a, keepdim=k)
            )


def normalizations(draw: Draw) -> Iterator[Comparison]:
    for name in ("softmax", "log_softmax"):
        for _ in range(8):
            x = draw.one(1.0, 30.0) * draw.normal(*draw.shape(draw.integer(1, 4), 5))
            axis = draw.integer(-x.ndim, x.ndim - 1)
            ours, theirs = getattr(ad, name), getattr(functional, name)
            yield Comparison(
                name,
                [x],
                lambda x, f=ours, a=axis: f(x, axis=a),
                lambda x, f=theirs, a=axis: f(x, dim=a),
            )


# --- Losses ---


def losses(draw: Draw) -> Iterator[Comparison]:
    reductions = ("none", "mean", "sum")
    for number in range(18):
        classes, batch = draw.integer(2, 5), draw.integer(1, 4)
        rest = draw.shape(draw.integer(0, 2), 3)
        keywords: Keywords = {"reduction": reductions[number % 3]}
        logits = 5 * draw.normal(batch, classes, *rest)
        target: Array = draw.labels(classes, (batch, *rest))
        if number % 2:
            keywords["ignore_index"] = int(target.flat[0]) if target.size > 1 else -100
            if keywords["reduction"] == "mean" and (target == target.flat[0]).all():
                keywords["ignore_index"] = -100  # the mean of nothing is NaN
        if number < 12:
            keywords["label_smoothing"] = draw.one(0.0, 0.0, 0.1, 0.4)
            yield same_name("cross_entropy", functional, [logits, target], **keywords)
        else:
            yield same_name("nll_loss", functional, [logits, target], **keywords)
    for number in range(6):
        classes, batch = draw.integer(2, 5), draw.integer(1, 4)
        target = draw.uniform(0.0, 1.0, (batch, classes))
        keywords = {
            "reduction": reductions[number % 3],
            "label_smoothing": draw.one(0.0, 0.2),
        }
        arrays = [draw.normal(batch, classes), target]
        yield same_name("cross_entropy", functional, arrays, **keywords)
    yield from _elementwise_losses(draw)


def _elementwise_losses(draw: Draw) -> Iterator[Comparison]:
    theirs: dict[str, tuple[str, tuple[Keywords, ...]]] = {
        "mse": ("mse_loss", ({},)),
        "mse_loss": ("mse_loss", ({},)),
        "l1_loss": ("l1_loss", ({},)),
        "smooth_l1_loss": ("smooth_l1_loss", ({}, {"beta": 0.3})),
        "huber_loss": ("huber_loss", ({}, {"delta": 0.4})),
        "bce_with_logits": ("binary_cross_entropy_with_logits", ({},)),
        "binary_cross_entropy": ("binary_cross_entropy", ({},)),
    }
    for name, (other, settings) in theirs.items():
        ours, function = getattr(ad, name), getattr(functional, other)
        for keywords in settings:
            for reduction in ("none", "mean", "sum"):
                shape = draw.shape(draw.integer(0, 3))
                x, target = 3 * draw.normal(*shape), draw.uniform(0.05, 0.95, shape)
                if name == "binary_cross_entropy":
                    x = draw.uniform(0.05, 0.95, shape)
                words = {**keywords, "reduction": reduction}
                yield Comparison(
                    name,
                    [x, target],
                    lambda x, y, f=ours, w=words: f(x, y, **w),
                    lambda x, y, f=function, w=words: f(x, y, **w),
                )
