"""Pixel losses: a term for every pixel, then the weighted mean.

A definition returns `Terms`: the loss of each pixel, the weight that the mean divides by, and, for a loss that chooses
pixels itself, how often each counts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels, check_class_weight
from lossmith.core.reduce import Terms
from lossmith.core.stable import Probability, divide, power, power_slope
from lossmith.errors import must

PixelDefinition = Callable[[Pixels], Terms]
Tables = tuple[Array | None, Array | None]
BALANCES = ("batch", "inverse", "median_frequency", "effective_number")


def cross_entropy(px: Pixels, *, label_smoothing: float = 0.0, class_weight: Array | None = None) -> Terms:
    """-sum_c t_c log p_c; for binary and multilabel -t log p - (1-t) log(1-p).

    label_smoothing e: t' = (1-e) t + e/C (C = 2 for sigmoid tasks). A class weight multiplies the loss, and the
    mean divides by the weights of the true classes, as torch does.
    """
    return _cross_entropy(px, class_tables(px, class_weight), label_smoothing)


def _cross_entropy(px: Pixels, tables: Tables, label_smoothing: float = 0.0) -> Terms:
    xp = px.xp
    loss = -px.expect(None, *tables)
    if label_smoothing > 0:
        hit, miss = (1.0 if w is None else xp.reshape(w, (1, -1, 1)) for w in tables)
        if px.task == "multiclass":
            uniform = mean_of_classes(px, -px.log_probs * hit)
        else:
            uniform = -0.5 * (hit * px.log_probs + miss * px.log_rest)
        loss = (1 - label_smoothing) * loss + label_smoothing * uniform
    return Terms(loss, class_share(px, tables))


def likelihood(
    px: Pixels, reduction: str, *, label_smoothing: float = 0.0, class_weight: Array | None = None
) -> tuple[str, ...]:
    """The sums that cross-entropy is a formula of: none where it has weights, soft targets, or a map to give."""
    if label_smoothing or class_weight is not None or px.soft or not px.from_logits or reduction == "none":
        return ()
    return ("L", "N")


def weighted_cross_entropy(px: Pixels, *, weights: Array) -> Terms:
    """Cross-entropy with the class weights of `class_balance`: (C,), for sigmoid tasks (K, 2)."""
    if px.task == "multiclass":
        return _cross_entropy(px, (weights, weights))
    return _cross_entropy(px, (weights[:, 1], weights[:, 0]))


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


@dataclass(frozen=True)
class Focusing:
    """-(1 - p)^gamma log p."""

    xp: Namespace
    gamma: float

    def __call__(self, p: Probability) -> Array:
        """The value."""
        return -power(self.xp, p.rest, self.gamma) * p.log

    def slope(self, p: Probability) -> Array:
        """By log p: (1 - p)^(gamma - 1) (gamma p log p - (1 - p))."""
        if self.gamma == 0:
            return -self.xp.ones_like(p.log)
        return power_slope(self.xp, p.rest, self.gamma) * (self.gamma * p.value * p.log - p.rest)


def focal(
    px: Pixels,
    *,
    gamma: float = 2.0,
    alpha: float | Array | None = None,
    normalize: str = "pixels",
    one_vs_rest: bool = False,
    class_weight: Array | None = None,
) -> Terms:
    """-alpha_t (1 - p_t)^gamma log p_t (Lin 2017, Eq. 5), in softmax form for multiclass and sigmoid form else.

    A scalar alpha weighs foreground, 1 - alpha background (class 0): so a binary problem and its two-class form agree.
    one_vs_rest: a multiclass pixel is as many binary decisions as there are classes, and costs their sum.
    """
    if one_vs_rest and px.task == "multiclass":
        return _normalized(px, *_focal_against_rest(px, gamma, alpha, class_weight), normalize)
    tables = class_tables(px, class_weight)
    hit, miss = (_product(a, b) for a, b in zip(tables, _alpha_tables(px, alpha), strict=True))
    loss = px.expect(Focusing(px.xp, gamma), hit, miss)
    return _normalized(px, loss, class_share(px, tables), normalize)


def _normalized(px: Pixels, loss: Array, weight: Array | None, normalize: str) -> Terms:
    """Focal terms with what their mean divides by."""
    if normalize == "elements":  # of class weights nothing: they are factors
        ones = px.xp.ones_like(loss)
        return Terms(loss, class_count(px) * ones if px.task == "multiclass" else ones)
    if normalize == "positives":
        positive = foreground(px)
        weight = positive if weight is None else positive * weight
    return Terms(loss, weight)


def _focal_against_rest(
    px: Pixels, gamma: float, alpha: float | Array | None, class_weight: Array | None
) -> tuple[Array, Array | None]:
    """The sum over the classes of the focal loss of each against the rest, and the weight of the pixel's class."""
    xp, z, t = px.xp, px.logits, px.target
    focusing = Focusing(xp, gamma)
    if px.soft:
        there, not_there = Probability(xp, xp.log_sigmoid(z)), Probability(xp, xp.log_sigmoid(-z))
        hit, miss = t * focusing(there), (1.0 - t) * focusing(not_there)
    else:
        loss = focusing(Probability(xp, xp.log_sigmoid(xp.where(t > 0, z, -z))))
        hit, miss = t * loss, (1.0 - t) * loss
    if isinstance(alpha, int | float):
        hit, miss = alpha * hit, (1.0 - alpha) * miss
    elif alpha is not None:
        check_class_weight(alpha, px.channels, "alpha")
        table = xp.reshape(xp.astype(alpha, z), (1, -1, 1))
        hit, miss = table * hit, (1.0 - table) * miss
    loss, tables = hit + miss, class_tables(px, class_weight)
    if tables[0] is not None:
        loss = xp.reshape(tables[0], (1, -1, 1)) * loss
    return xp.sum(loss, axis=1, keepdims=True), class_share(px, tables)


def mean_squared_error(px: Pixels, *, foreground_weight: float = 1.0, class_weight: Array | None = None) -> Terms:
    """(p - t)^2 on probabilities; multiclass: the mean over the classes."""
    return _distance(px, (px.probs - px.target) ** 2, foreground_weight, class_weight)


def mean_absolute_error(px: Pixels, *, foreground_weight: float = 1.0, class_weight: Array | None = None) -> Terms:
    """|p - t| on probabilities; multiclass: the mean over the classes."""
    return _distance(px, px.xp.abs(px.probs - px.target), foreground_weight, class_weight)


def smooth_l1(
    px: Pixels, *, beta: float = 1.0, foreground_weight: float = 1.0, class_weight: Array | None = None
) -> Terms:
    """d^2 / (2 beta) for d = |p - t| < beta, else d - beta/2 (Girshick 2015, Eq. 3); on probabilities."""
    xp = px.xp
    d = xp.abs(px.probs - px.target)
    near = xp.where(d < beta, d, xp.zeros_like(d))
    return _distance(px, xp.where(d < beta, 0.5 * near**2 / beta, d - 0.5 * beta), foreground_weight, class_weight)


def _distance(px: Pixels, distance: Array, foreground_weight: float, class_weight: Array | None) -> Terms:
    if px.task == "multiclass":
        distance = mean_of_classes(px, distance)
    weight = class_share(px, class_tables(px, class_weight))
    if foreground_weight != 1.0:
        extra = 1.0 + (foreground_weight - 1.0) * foreground(px)
        weight = extra if weight is None else weight * extra
    return Terms(distance if weight is None else weight * distance, weight)


def mean_of_classes(px: Pixels, term: Array) -> Array:
    """The mean of a multiclass term (N, K, P) over the classes that its image has, (N, 1, P)."""
    xp, classes = px.xp, px.inputs.get("classes")
    if classes is not None:
        term = xp.where(xp.expand_dims(classes, axis=2), term, xp.zeros_like(term))
    return xp.sum(term, axis=1, keepdims=True) / class_count(px)


def class_count(px: Pixels) -> Array | int:
    """How many classes an image has: its channels, or (N, 1, 1) where some of them were merged."""
    xp, classes = px.xp, px.inputs.get("classes")
    if classes is None:
        return px.channels
    return xp.expand_dims(xp.sum(xp.astype(classes, px.like), axis=1, keepdims=True), axis=2)


def foreground(px: Pixels) -> Array:
    """How much of a pixel is foreground: t, for multiclass 1 - t_0."""
    xp = px.xp
    if px.labels is not None:
        return xp.astype(xp.expand_dims(px.labels > 0, axis=1), px.like)
    return 1.0 - px.target[:, :1, :] if px.task == "multiclass" else px.target


def class_share(px: Pixels, tables: Tables) -> Array | None:
    """The weight of each pixel's true class."""
    return None if tables[0] is None else px.expect(_one, *tables)


def _one(p: Probability) -> Array:
    return p.xp.ones_like(p.log)


def class_tables(px: Pixels, class_weight: Array | None) -> Tables:
    """Class weights by channel where the class is hit and missed; binary has (background, foreground)."""
    if class_weight is None:
        return None, None
    check_class_weight(class_weight, 2 if px.task == "binary" else px.channels)
    class_weight = px.xp.astype(class_weight, px.like)
    if px.task == "binary":
        return class_weight[1:], class_weight[:1]
    return class_weight, class_weight


def two_weights(px: Pixels, background: float, foreground: float) -> tuple[Array, Array]:
    """Weights of background and foreground as (hit, miss) by channel."""
    if px.task == "multiclass":
        table = px.xp.constant([background] + [foreground] * (px.channels - 1), px.like)
        return table, table
    return px.xp.constant([foreground], px.like), px.xp.constant([background], px.like)


def _alpha_tables(px: Pixels, alpha: float | Array | None) -> Tables:
    """Focal's alpha as (hit, miss) by channel."""
    xp = px.xp
    if alpha is None:
        return None, None
    alpha = float(alpha) if isinstance(alpha, int) else alpha
    if isinstance(alpha, float):
        return two_weights(px, 1.0 - alpha, alpha)
    table = xp.astype(alpha, px.like)
    check_class_weight(table, 2 if px.task == "binary" else px.channels, "alpha")
    if px.task == "binary":
        return table[1:], table[:1]
    return table, (1.0 - table if px.task == "multilabel" else table)


def _product(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else a * b
