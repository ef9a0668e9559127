"""What the losses mean, as plain NumPy in double precision: the tests' references."""

from __future__ import annotations

from typing import Any

import numpy as np


def _reduced(loss: np.ndarray, reduction: str) -> Any:
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def _at_labels(x: np.ndarray, labels: np.ndarray, axis: int) -> np.ndarray:
    chosen = np.expand_dims(labels.astype(np.int64), axis)
    return np.squeeze(np.take_along_axis(x, chosen, axis), axis)


def cross_entropy(
    logits: np.ndarray,
    target: np.ndarray,
    reduction: str = "none",
    label_smoothing: float = 0.0,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
) -> Any:
    """Through a distribution for every kind of target; one of zeros for an ignored label."""
    axis = min(logits.ndim - 1, 1)
    top = np.max(logits, axis, keepdims=True)
    logp = logits - top - np.log(np.sum(np.exp(logits - top), axis, keepdims=True))
    classes = logits.shape[axis]
    weights = np.ones(classes) if weight is None else weight
    share = np.ones(logp.sum(axis).shape)
    if target.dtype.kind == "i":
        share = np.where(target == ignore_index, 0.0, weights[np.maximum(target, 0)])
        target = np.moveaxis(np.eye(classes)[np.maximum(target, 0)], -1, axis)
    smooth = (1 - label_smoothing) * target + label_smoothing / classes
    weighted = np.moveaxis(np.moveaxis(smooth * logp, axis, -1) * weights, -1, axis)
    return _averaged(np.where(share == 0, 0.0, -np.sum(weighted, axis)), share, reduction)


def nll_loss(
    logp: np.ndarray,
    target: np.ndarray,
    reduction: str = "none",
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
) -> Any:
    labels = np.where(target == ignore_index, 0, target)
    weights = np.ones(int(labels.max()) + 1) if weight is None else weight
    share = np.where(target == ignore_index, 0.0, weights[labels])
    loss = -_at_labels(logp, labels, min(logp.ndim - 1, 1))
    return _averaged(share * loss, share, reduction)


def _averaged(loss: np.ndarray, share: np.ndarray, reduction: str) -> Any:
    return loss.sum() / share.sum() if reduction == "mean" else _reduced(loss, reduction)


def bce_with_logits(
    x: np.ndarray, t: np.ndarray, reduction: str = "none", pos_weight: Any = 1.0, weight: Any = 1.0
) -> Any:
    loss = pos_weight * t * np.logaddexp(0, -x) + (1 - t.astype(float)) * np.logaddexp(0, x)
    return _reduced(weight * loss, reduction)


def binary_cross_entropy(
    p: np.ndarray, t: np.ndarray, reduction: str = "none", weight: Any = 1.0
) -> Any:
    with np.errstate(divide="ignore"):
        yes, no = np.maximum(np.log(p), -100), np.maximum(np.log(1 - p), -100)
    return _reduced(weight * (-t * yes - (1 - t) * no), reduction)


def mse(x: np.ndarray, t: np.ndarray, reduction: str = "none") -> Any:
    return _reduced((x - t) ** 2, reduction)


def l1_loss(x: np.ndarray, t: np.ndarray, reduction: str = "none") -> Any:
    return _reduced(np.abs(x - t), reduction)


def smooth_l1_loss(x: np.ndarray, t: np.ndarray, reduction: str = "none", beta: float = 1.0) -> Any:
    d = np.abs(x - t)
    inner = 0.5 * d**2 / beta if beta else d
    return _reduced(np.where(d < beta, inner, d - 0.5 * beta), reduction)


def huber_loss(x: np.ndarray, t: np.ndarray, reduction: str = "none", delta: float = 1.0) -> Any:
    d = np.abs(x - t)
    return _reduced(np.where(d <= delta, 0.5 * d**2, delta * (d - 0.5 * delta)), reduction)
