"""Class weights from how often classes occur."""

import math

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels
from lossmith.core.stable import divide
from lossmith.errors import must

BALANCES = ("batch", "inverse", "median_frequency", "effective_number")


def class_balance(
    px: Pixels, *, balance: str = "batch", lam: float = 1.0, beta: float = 0.9999, counts: Array | None = None
) -> dict[str, Array]:
    """The class weights from class counts: of the data (`counts`), else of this batch.

    `counts` holds per class (pixels of the class, pixels of the images that contain it): (C, 2); for sigmoid tasks
    the classes are background and foreground of each channel: (K, 2, 2). "batch" always counts the batch.
    """
    if counts is None or balance == "batch":
        pixels, hosts = batch_counts(px)
    else:
        if px.task == "binary" and len(counts.shape) == 2:
            counts = px.xp.expand_dims(counts, axis=0)
        classes = (px.channels, 2) if px.task == "multiclass" else (px.channels, 2, 2)
        if tuple(counts.shape) != classes:
            raise ValueError(must("counts", f"of shape {classes} for {px.channels} channels", tuple(counts.shape)))
        counts = px.xp.astype(counts, px.like)
        pixels, hosts = counts[..., 0], counts[..., 1]
    weights = balanced_weights(px.xp, pixels, hosts, balance=balance, lam=lam, beta=beta)
    return {"weights": px.xp.astype(weights, px.like)}


def batch_counts(px: Pixels) -> tuple[Array, Array]:
    """Pixels of each class, and pixels of the images that contain it: (C,), for sigmoid tasks (K, 2)."""
    xp = px.xp
    T = xp.stop_gradient(px.statistic("T"))
    N = px.statistic("N") + xp.zeros_like(T)
    if px.task != "multiclass":
        T, N = xp.stack([N - T, T], axis=2), xp.stack([N, N], axis=2)
    pixels, hosts = px.everywhere(xp.sum(T, axis=0), xp.sum(xp.where(T > 0, N, xp.zeros_like(N)), axis=0))
    return pixels, hosts


def balanced_weights(
    xp: Namespace, pixels: Array, hosts: Array, *, balance: str, lam: float = 1.0, beta: float = 0.9999
) -> Array:
    """Class weights (..., C) from n_c, the pixels of each class, and those of the images that contain it.

    batch: (N - n_c) / N, class 0 times `lam` (HED, Xie 2015; RCF, Liu 2017, takes lam = 1.1); a class alone, which
    that would leave without weight and gradient, has 1.
    inverse: N / (C n_c). median_frequency: median(f) / f_c, f_c = n_c / hosts_c (Eigen & Fergus 2015).
    effective_number: (1 - beta) / (1 - beta^n_c), scaled to sum to C (Cui 2019, Eq. 2).
    A class without pixels gets the largest weight of the others.
    """
    C = pixels.shape[-1]
    total, present = xp.sum(pixels, axis=-1, keepdims=True), pixels > 0
    n = xp.where(present, pixels, xp.ones_like(pixels))
    if balance == "batch":
        weights = divide(xp, total - pixels, total + xp.zeros_like(pixels))
        weights = weights * xp.constant([lam] + [1.0] * (C - 1), pixels)
        alone = xp.sum(weights * pixels, axis=-1, keepdims=True) <= 0
        return xp.where(alone, xp.ones_like(weights), weights)
    if balance == "inverse":
        weights = total / (C * n)
    elif balance == "median_frequency":
        frequency = n / xp.where(present, hosts, xp.ones_like(hosts))
        weights = _median(xp, frequency, present) / frequency
    else:
        weights = 1.0 / -xp.expm1(n * math.log(beta))
    known = xp.where(present, weights, xp.zeros_like(weights))
    weights = xp.where(present, weights, xp.amax(known, axis=-1, keepdims=True) + xp.zeros_like(known))
    if balance != "effective_number":
        return weights
    return divide(xp, C * weights, xp.sum(weights, axis=-1, keepdims=True) + xp.zeros_like(weights))


def _median(xp: Namespace, values: Array, valid: Array) -> Array:
    """Median of the valid values of the last axis (the mean of the middle two for an even number), kept as axis."""
    last = 2.0 * xp.amax(values, axis=-1, keepdims=True)  # invalid ones sort behind
    filled = xp.where(valid, values, last + xp.zeros_like(values))
    ascending = xp.take_along_axis(filled, xp.argsort_descending(-filled), axis=-1)
    n = xp.sum(xp.integers(valid), axis=-1, keepdims=True)
    middle = xp.concat([xp.maximum(n - 1, 0) // 2, n // 2], axis=-1)
    return xp.sum(xp.take_along_axis(ascending, middle, axis=-1), axis=-1, keepdims=True) / 2.0
