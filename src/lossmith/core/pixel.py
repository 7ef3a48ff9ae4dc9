"""Pixel losses: a term for every pixel, then the weighted mean.

A definition returns `Terms`: the loss of each pixel, the weight that the mean divides by, and, for a loss that chooses
pixels itself, how often each counts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels, check_class_weight
from lossmith.core.reduce import Terms
from lossmith.core.stable import Powers, Probability, power, power_slope

PixelDefinition = Callable[[Pixels], Terms]
Tables = tuple[Array | None, Array | None]


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
    """Cross-entropy with the class weights of `balance.py`: (C,), for sigmoid tasks (K, 2)."""
    if px.task == "multiclass":
        return _cross_entropy(px, (weights, weights))
    return _cross_entropy(px, (weights[:, 1], weights[:, 0]))


@dataclass(frozen=True)
class Focusing:
    """-(1 - p)^gamma log p."""

    xp: Namespace
    gamma: float

    def __call__(self, p: Probability) -> Array:
        """The value."""
        return -power(self.xp, p.rest, self.gamma) * p.log

    @property
    def powers(self) -> tuple[Powers, ...]:
        """As a sum of powers."""
        return (Powers(-1.0, 0.0, self.gamma),)

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
