"""Region losses: a formula on sums over the pixels of an image (or of the batch), class by class.

    I = sum w p t    P = sum w p    T = sum w t    N = sum w

A formula takes the `Sums` and gives one value for each item, (n, K): n images (or 1 for the batch) and K classes.
A class without target pixels is handled in one place for all of them, `region_loss`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels, check_class_weight
from lossmith.core.reduce import reduce_items
from lossmith.core.stable import divide, log_add_exp, log_probability, log_sum_exp, power
from lossmith.errors import must

POOLS = ("image", "batch")
EMPTIES = ("area", "smooth", "skip")
LOG_2 = math.log(2.0)


@dataclass(frozen=True)
class Sums:
    """The statistics of a batch, each (n, K), pooled as asked; `counted` is 1 for the items that count, else 0."""

    px: Pixels
    pool: str
    counted: Array | None = None

    @property
    def xp(self) -> Namespace:
        """The namespace of the arrays."""
        return self.px.xp

    def __getattr__(self, name: str) -> Array:
        total = self.px.statistic(name)
        return self.xp.sum(total, axis=0, keepdims=True) if self.pool == "batch" else total

    def log_overlap(self, *, product: bool = False) -> Array:
        """log I (with `product` log of sum w p t), also where it underflows."""
        total = self.px.log_overlap(product=product)
        if self.pool == "image":
            return total
        return self.xp.expand_dims(log_sum_exp(self.xp, total, axis=0), axis=0)


class TwoClassSums(Sums):
    """The sums of background and foreground of a binary task, (n, 2)."""

    def __getattr__(self, name: str) -> Array:
        own, N = super().__getattr__(name), super().__getattr__("N")
        if name == "I":
            rest = N - super().__getattr__("P") - super().__getattr__("T") + own
        else:
            rest = own if name == "N" else N - own
        return self.xp.concat([rest, own], axis=1)


Formula = Callable[..., Array]


def dice(S: Sums, *, smooth: float = 0.0, squared: bool = False, log: bool = False) -> Array:
    """1 - (2 I + s) / (P + T + s); squared: 1 - (2 sum p t + s) / (sum p^2 + sum t^2 + s); log: -log of the ratio."""
    size = (S.PP + S.TT if squared else S.P + S.T) + smooth
    if log:
        return _minus_log_index(S.xp, S.log_overlap(product=squared) + LOG_2, size, smooth)
    return _index_loss(S.xp, 2.0 * (S.PT if squared else S.I) + smooth, size)


def jaccard(S: Sums, *, smooth: float = 0.0, log: bool = False) -> Array:
    """1 - (I + s) / (P + T - I + s); log: -log of the ratio."""
    size = S.P + S.T - S.I + smooth
    return _minus_log_index(S.xp, S.log_overlap(), size, smooth) if log else _index_loss(S.xp, S.I + smooth, size)


def tversky(S: Sums, *, alpha: float = 0.5, beta: float = 0.5, smooth: float = 0.0) -> Array:
    """1 - (I + s) / (I + alpha FP + beta FN + s), FP = P - I, FN = T - I."""
    I = S.I
    return _index_loss(S.xp, I + smooth, I + alpha * (S.P - I) + beta * (S.T - I) + smooth)


def focal_tversky(S: Sums, *, alpha: float = 0.3, beta: float = 0.7, gamma: float = 0.75, smooth: float = 0.0) -> Array:
    """(1 - TI)^gamma for each class, TI the Tversky index."""
    loss = tversky(S, alpha=alpha, beta=beta, smooth=smooth)
    return power(S.xp, S.xp.maximum(loss, 0.0), gamma)


def generalized_dice(S: Sums, *, weighting: str = "square", smooth: float = 0.0) -> Array:
    """1 - (2 sum_c w_c I_c + s) / (sum_c w_c (P_c + T_c) + s), w_c = 1/T_c^2, 1/T_c or 1: one value for all classes.

    Weights are relative to that of the rarest class present, which has 1 (so `s` counts its pixels), and so has an
    absent class.
    A binary task counts background and foreground, the two classes of the paper.
    """
    xp = S.xp
    I, P, T = S.I, S.P, S.T
    counted = xp.ones_like(T) if S.counted is None else S.counted
    present = (T > 0) & (counted > 0)
    top = xp.amax(T, axis=1, keepdims=True)
    rarest = -xp.amax(-xp.where(present, T, top + xp.zeros_like(T)), axis=1, keepdims=True)
    ratio = xp.where(present, divide(xp, rarest + xp.zeros_like(T), T), xp.ones_like(T))
    w = counted * {"square": ratio**2, "simple": ratio, "uniform": xp.ones_like(ratio)}[weighting]
    numerator = 2.0 * xp.sum(w * I, axis=1, keepdims=True) + smooth
    denominator = xp.sum(w * (P + T), axis=1, keepdims=True) + smooth
    return _index_loss(xp, numerator, denominator)


def _index_loss(xp: Namespace, overlap: Array, size: Array) -> Array:
    """1 - overlap / size; 0 where both are empty."""
    return 1.0 - divide(xp, overlap, size, otherwise=1.0)


def _minus_log_index(xp: Namespace, log_overlap: Array, size: Array, smooth: float) -> Array:
    """log size - log(overlap + smooth)."""
    total = log_add_exp(xp, log_overlap, math.log(smooth)) if smooth > 0 else log_overlap
    return log_probability(xp, size) - total


def region_loss(
    px: Pixels,
    formula: Formula,
    *,
    reduction: str = "mean",
    pool: str = "image",
    classes: str | Sequence[int] = "all",
    empty: str = "area",
    class_weight: Array | None = None,
    joint: bool = False,
    **parameters: object,
) -> Array:
    """Reduce `formula(sums, **parameters)` over images and classes.

    pool: sums by image, or over the batch. classes: "all", those "present" in the item's target, or indices.
    empty: an item
    without target pixels costs the mean probability of its class ("area"), what the formula says ("smooth"),
    or is left out ("skip"). joint: the formula has already put the classes together, (n, 1).
    """
    xp = px.xp
    sums = TwoClassSums(px, pool) if joint and px.task == "binary" else Sums(px, pool)
    T, P = sums.T, sums.P
    N = sums.N + xp.zeros_like(T)
    counted = _chosen(xp, classes, T) * xp.astype(N != 0, T)
    if class_weight is not None:
        check_class_weight(class_weight, px.channels)
        counted = counted * xp.reshape(xp.astype(class_weight, T), (1, -1))
    value = formula(replace(sums, counted=counted), **parameters)
    if joint:
        chosen = xp.astype(counted > 0, T)
        T, P, N = (xp.sum(total * chosen, axis=1, keepdims=True) for total in (T, P, N))
        counted = xp.astype(xp.sum(chosen, axis=1, keepdims=True) > 0, T)
    vacant = T <= 0
    if empty == "area":
        value = xp.where(vacant, divide(xp, P, N), value)
    elif empty == "skip":
        counted = xp.where(vacant, xp.zeros_like(counted), counted)
    value = xp.where(counted > 0, value, xp.zeros_like(value))
    if joint and reduction == "none":
        value, counted = value[:, 0], counted[:, 0]
        return px.flagged(value[0] if pool == "batch" else value)
    return reduce_items(px, value, counted, reduction, pooled=pool == "batch")


def _chosen(xp: Namespace, classes: str | Sequence[int], T: Array) -> Array:
    """1 for the items of the classes that count, else 0."""
    if isinstance(classes, str):
        return xp.astype(T > 0, T) if classes == "present" else xp.ones_like(T)
    K = T.shape[1]
    if any(not 0 <= c < K for c in classes):
        raise ValueError(must("classes", f"indices from 0 to {K - 1}", list(classes)))
    return xp.constant([float(c in classes) for c in range(K)], T) + xp.zeros_like(T)
