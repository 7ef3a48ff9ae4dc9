"""The losses a second time: slow loops over pixels, written from the papers, that share no code with lossmith.

Every function takes ``(batch, m=math, **parameters)``, and returns a number, or for ``reduction="none"`` an array.
`m` is `math` or `mpmath`: with the latter the same loops give as many digits as asked for.
An ignored pixel, and one of weight 0, is never opened; a pixel of weight 2 is counted twice.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Batch:
    """scores (N, C, P), logits or probabilities; target (N, P) or (N, C, P); weight (N, P), (N, C, P) or None."""

    task: str
    scores: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None = None
    ignore_index: int | None = None
    from_logits: bool = True


@dataclass(frozen=True)
class Item:
    """One decision: a multiclass pixel, or one channel of a sigmoid pixel, whose classes are (background, foreground).

    p, q = 1 - p, log_p and t have a number for each class; z is the sigmoid's logit.
    """

    image: int
    channel: int
    pixel: int
    p: tuple[Any, ...]
    q: tuple[Any, ...]
    log_p: tuple[Any, ...]
    t: tuple[float, ...]
    weight: float
    z: Any = None


@dataclass(frozen=True)
class Term:
    """The loss of an item, its class weight included; what the mean divides by; how often it counts."""

    item: Item
    value: Any
    share: float
    count: float


def open_items(batch: Batch, m: ModuleType = math) -> list[Item]:
    """The valid items of a batch."""
    items = []
    images, channels, pixels = batch.scores.shape
    for n, i in product(range(images), range(pixels)):
        for k in [0] if batch.task == "multiclass" else range(channels):
            weight = _weight(batch.weight, n, k, i)
            t = _target(batch, n, k, i)
            if t is None or weight == 0:
                continue
            if batch.task == "multiclass":
                scores = [_number(batch.scores[n, c, i], m) for c in range(channels)]
            else:
                z = _number(batch.scores[n, k, i], m)
                scores = [m.log(1), z] if batch.from_logits else [1 - z, z]
            p, q, log_p = _softmax(scores, m) if batch.from_logits else _given(scores, m)
            z = None if batch.task == "multiclass" else log_p[1] - log_p[0]
            items.append(Item(n, k, i, p, q, log_p, t, weight, z))
    return items


def _number(x: Any, m: ModuleType) -> Any:
    return float(x) if m is math else m.mpf(x)


def _weight(weight: np.ndarray | None, n: int, k: int, i: int) -> float:
    if weight is None:
        return 1.0
    return float(weight[n, i] if weight.ndim == 2 else weight[n, k, i])


def _target(batch: Batch, n: int, k: int, i: int) -> tuple[float, ...] | None:
    target, channels = batch.target, batch.scores.shape[1]
    if batch.task == "multiclass" and target.ndim == 3:
        return tuple(float(target[n, c, i]) for c in range(channels))
    label = target[n, i] if target.ndim == 2 else target[n, k, i]
    if batch.ignore_index is not None and label == batch.ignore_index:
        return None
    if batch.task == "multiclass":
        return tuple(float(c == label) for c in range(channels))
    return 1.0 - float(label), float(label)


def _softmax(scores: list[Any], m: ModuleType) -> tuple[tuple[Any, ...], ...]:
    top = scores.index(max(scores))
    tail = m.fsum(m.exp(s - scores[top]) for c, s in enumerate(scores) if c != top)
    log_p = tuple(s - scores[top] - m.log1p(tail) for s in scores)
    p = tuple(m.exp(x) for x in log_p)
    q = tuple(m.fsum(x for j, x in enumerate(p) if j != c) for c in range(len(p)))
    return p, q, log_p


def _given(probs: list[Any], m: ModuleType) -> tuple[tuple[Any, ...], ...]:
    return tuple(probs), tuple(1 - x for x in probs), tuple(m.log(x) for x in probs)


# Pixel losses --------------------------------------------------------------------------------------------------------


def ce(batch: Batch, m: ModuleType = math, *, label_smoothing: float = 0.0, class_weight=None, reduction="mean") -> Any:
    return reduce_terms(
        batch, ce_terms(open_items(batch, m), batch.task, m, label_smoothing, class_weight), reduction, m
    )


def ce_terms(
    items: list[Item], task: str, m: ModuleType = math, label_smoothing: float = 0.0, class_weight=None
) -> list[Term]:
    terms = []
    for item in items:
        a = class_weights(item, task, class_weight)
        C = len(item.t)
        value = m.fsum(
            -a[c] * ((1 - label_smoothing) * item.t[c] + label_smoothing / C) * item.log_p[c]
            for c in range(C)
            if label_smoothing or item.t[c]  # 0 log 0 = 0
        )
        terms.append(Term(item, value, true_weight(item, a), item.weight))
    return terms


def class_weights(item: Item, task: str, class_weight: Sequence[float] | None) -> Sequence[float]:
    """A weight for each class of an item; multilabel: that of its channel for both of them."""
    if class_weight is None:
        return [1.0] * len(item.t)
    return [class_weight[item.channel]] * 2 if task == "multilabel" else class_weight


def true_weight(item: Item, a: Sequence[float]) -> float:
    return math.fsum(a[c] * item.t[c] for c in range(len(a)))


def wce(
    batch: Batch,
    m: ModuleType = math,
    *,
    balance: str = "batch",
    lam: float = 1.0,
    beta: float = 0.9999,
    counts=None,
    reduction: str = "mean",
) -> Any:
    items = open_items(batch, m)
    terms = []
    for item in items:
        rivals = [other for other in items if other.channel == item.channel]
        table = (
            None
            if counts is None or balance == "batch"
            else counts[item.channel]
            if batch.task == "multilabel"
            else counts
        )
        a = balance_weights(rivals, balance, lam, beta, table)
        value = m.fsum(-a[c] * t * item.log_p[c] for c, t in enumerate(item.t) if t)
        terms.append(Term(item, value, true_weight(item, a), item.weight))
    return reduce_terms(batch, terms, reduction, m)


def balance_weights(items: list[Item], balance: str, lam: float, beta: float, counts=None) -> list[float]:
    """Class weights from `counts`: the pixels n_c of a class, and those of the images that contain it."""
    if counts is None:
        counts = count_classes(items)
    C, n = len(counts), [float(pixels) for pixels, _ in counts]
    present = [c for c in range(C) if n[c] > 0]
    if len(present) == 1 and balance == "batch":
        a = dict.fromkeys(present, 1.0)  # with nothing to balance
    elif balance == "batch":
        a = {c: (sum(n) - n[c]) / sum(n) * (lam if c == 0 else 1.0) for c in present}
    elif balance == "inverse":
        a = {c: sum(n) / (C * n[c]) for c in present}
    elif balance == "median_frequency":
        frequency = {c: n[c] / counts[c][1] for c in present}
        a = {c: median(frequency.values()) / frequency[c] for c in present}
    else:
        a = {c: (1 - beta) / (1 - beta ** n[c]) for c in present}
    filled = [a.get(c, max(a.values())) for c in range(C)]
    return [C * x / sum(filled) for x in filled] if balance == "effective_number" else filled


def count_classes(items: list[Item]) -> list[tuple[float, float]]:
    counts = []
    for c in range(len(items[0].t)):
        hosts = {item.image for item in items if item.t[c] > 0}
        pixels = math.fsum(item.weight * item.t[c] for item in items)
        counts.append((pixels, math.fsum(item.weight for item in items if item.image in hosts)))
    return counts


def focal(
    batch: Batch,
    m: ModuleType = math,
    *,
    gamma: float = 2.0,
    alpha=None,
    normalize: str = "pixels",
    class_weight=None,
    reduction: str = "mean",
) -> Any:
    terms = []
    for item in open_items(batch, m):
        a = class_weights(item, batch.task, class_weight)
        alphas = focal_alphas(item, batch.task, alpha)
        value = (
            m.fsum(
                -a[c] * alphas[c] * t * item.q[c] ** gamma * item.log_p[c]
                for c, t in enumerate(item.t)
                if t and item.q[c]
            )
            if gamma
            else m.fsum(-a[c] * alphas[c] * t * item.log_p[c] for c, t in enumerate(item.t) if t)
        )
        positive = true_weight(item, [0.0, *a[1:]])
        classes = len(item.t) if batch.task == "multiclass" else 1
        share = {"pixels": true_weight(item, a), "positives": positive, "elements": float(classes)}[normalize]
        terms.append(Term(item, value, share, item.weight))
    if normalize == "positives" and reduction == "mean" and not any(term.share for term in terms):
        reduction = "sum"
    return reduce_terms(batch, terms, reduction, m)


def focal_alphas(item: Item, task: str, alpha) -> Sequence[float]:
    if alpha is None:
        return [1.0] * len(item.t)
    if task == "multilabel" and not isinstance(alpha, float | int):
        alpha = alpha[item.channel]
    if isinstance(alpha, float | int):
        return [1.0 - alpha] + [alpha] * (len(item.t) - 1)
    return alpha


def mse(batch: Batch, m: ModuleType = math, **options: Any) -> Any:
    return _distance(batch, lambda d: d * d, m, **options)


def l1(batch: Batch, m: ModuleType = math, **options: Any) -> Any:
    return _distance(batch, abs, m, **options)


def smooth_l1(batch: Batch, m: ModuleType = math, *, beta: float = 1.0, **options: Any) -> Any:
    return _distance(batch, lambda d: d * d / (2 * beta) if abs(d) < beta else abs(d) - beta / 2, m, **options)


def _distance(
    batch: Batch,
    distance: Callable[[Any], Any],
    m: ModuleType,
    *,
    foreground_weight: float = 1.0,
    class_weight=None,
    reduction: str = "mean",
) -> Any:
    return reduce_terms(
        batch,
        distance_terms(batch, open_items(batch, m), distance, m, foreground_weight, class_weight),
        reduction,
        m,
    )


def distance_terms(
    batch: Batch,
    items: list[Item],
    distance,
    m: ModuleType = math,
    foreground_weight: float = 1.0,
    class_weight=None,
) -> list[Term]:
    """The mean of a distance over an item's classes (those of a sigmoid item have equal ones)."""
    terms = []
    for item in items:
        a = true_weight(item, class_weights(item, batch.task, class_weight))
        a *= true_weight(item, [1.0] + [foreground_weight] * (len(item.t) - 1))
        # At t = 1 the difference is that of the complement, which keeps its digits near p = 1.
        d = [-item.q[c] if t == 1 else item.p[c] - t for c, t in enumerate(item.t)]
        terms.append(Term(item, a * m.fsum(distance(x) for x in d) / len(d), a, item.weight))
    return terms


def base_terms(batch: Batch, items: list[Item], loss: str, **options: Any) -> list[Term]:
    """Terms of the losses that topk and ohem are tested on."""
    if loss == "ce":
        return ce_terms(items, batch.task, **options)
    assert loss == "l1"
    return distance_terms(batch, items, abs, **options)


def topk(
    batch: Batch, m: ModuleType = math, *, k: float = 0.1, loss="ce", options=None, reduction: str = "mean"
) -> Any:
    terms = base_terms(batch, open_items(batch, m), loss, **(options or {}))
    budget = k * sum(term.count for term in terms)
    kept = keep(terms, [term.value for term in terms], budget)
    return reduce_terms(batch, kept, reduction, m)


def keep(terms: list[Term], scores: list[float], budget: float) -> list[Term]:
    """The highest-scored terms until `budget` is spent; equal scores share what is left alike."""
    kept: list[Term] = []
    ranked = sorted(zip(scores, terms, strict=True), key=lambda pair: -pair[0])
    for _, group in groupby(ranked, key=lambda pair: pair[0]):
        equal = [term for _, term in group]
        mass = math.fsum(term.count for term in equal)
        part = max(0.0, min(1.0, budget / mass))
        kept += [Term(term.item, term.value, term.share, part * term.count) for term in equal]
        budget -= mass
    return kept


def ohem(
    batch: Batch,
    m: ModuleType = math,
    *,
    threshold: float = 0.7,
    min_kept: int = 10_000,
    loss="ce",
    options=None,
    reduction: str = "mean",
) -> Any:
    terms = base_terms(batch, open_items(batch, m), loss, **(options or {}))
    p_t = {id(term.item): true_weight(term.item, term.item.p) for term in terms}
    lowest = keep(terms, [-p_t[id(term.item)] for term in terms], min_kept)
    original = {id(term.item): term for term in terms}
    kept = [original[id(term.item)] if p_t[id(term.item)] < threshold else term for term in lowest]
    return reduce_terms(batch, kept, reduction, m)


def missing(batch: Batch, m: ModuleType = math, *, class_weight=None, reduction: str = "mean") -> Any:
    """Pixel by pixel: background, predicted as an object class of which the image has no label, is forgiven."""
    items = open_items(batch, m)
    kept = []
    for term in ce_terms(items, batch.task, m, class_weight=class_weight):
        item = term.item
        predicted = item.p.index(max(item.p))
        labelled = any(other.t[predicted] > 0 for other in items if other.image == item.image)
        if not (item.t[0] == 1 and predicted > 0 and not labelled):
            kept.append(term)
    return reduce_terms(batch, kept, reduction, m)


def reduce_terms(batch: Batch, terms: Iterable[Term], reduction: str, m: ModuleType = math) -> Any:
    terms = list(terms)
    if reduction == "none":
        images, channels, pixels = batch.scores.shape
        out = np.zeros((images, channels if batch.task == "multilabel" else 1, pixels))
        for term in terms:
            out[term.item.image, term.item.channel, term.item.pixel] = term.count * term.value
        return out if batch.task == "multilabel" else out[:, 0]
    total = m.fsum(term.count * term.value for term in terms)
    share = m.fsum(term.count * term.share for term in terms)
    return total / share if reduction == "mean" and share else total


# Region losses -------------------------------------------------------------------------------------------------------


class Column:
    """The pixels of one class in one image, or in the batch: rows (p, t, w, z), and the sums P, T, N."""

    def __init__(self, rows: list[tuple[Any, float, float, Any]], m: ModuleType) -> None:
        self.rows, self.m = rows, m
        self.P, self.T = self.sum(lambda p, _: p), self.sum(lambda _, t: t)
        self.N = m.fsum(w for _, _, w, _ in rows)

    def sum(self, f: Callable[[Any, float], Any]) -> Any:
        return self.m.fsum(w * f(p, t) for p, t, w, _ in self.rows)


def columns(batch: Batch, m: ModuleType, pool: str, both: bool = False) -> list[list[Column]]:
    """Groups (images, or the batch) of classes; binary has its foreground alone unless `both`."""
    items = open_items(batch, m)
    images, channels, _ = batch.scores.shape
    groups = [items] if pool == "batch" else [[x for x in items if x.image == n] for n in range(images)]
    if batch.task == "multilabel":
        return [
            [Column([(x.p[1], x.t[1], x.weight, x.z) for x in group if x.channel == k], m) for k in range(channels)]
            for group in groups
        ]
    classes = range(channels) if batch.task == "multiclass" else (0, 1) if both else (1,)
    return [[Column([(x.p[c], x.t[c], x.weight, x.z) for x in group], m) for c in classes] for group in groups]


class Together:
    """The sums of some columns, each times a weight, added up."""

    def __init__(self, columns: Sequence[Column], weights: Sequence[float], m: ModuleType = math) -> None:
        self.columns, self.weights, self.m = columns, weights, m
        self.P, self.T = self.sum(lambda p, t: p), self.sum(lambda p, t: t)
        self.N = self.sum(lambda p, t: 1.0)

    def sum(self, f: Callable[[Any, float], Any]) -> Any:
        return self.m.fsum(w * column.sum(f) for column, w in zip(self.columns, self.weights, strict=True))


def _region(
    batch: Batch,
    value: Callable[[Column], Any],
    m: ModuleType = math,
    *,
    pool: str = "image",
    classes: Any = "all",
    empty: str = "area",
    average: str = "macro",
    class_weight: Sequence[float] | None = None,
    reduction: str = "mean",
) -> Any:
    table = []
    for group in columns(batch, m, pool):
        row = []
        if average == "micro":
            a = [1.0] * len(group) if class_weight is None else class_weight
            chosen = [
                c
                for c, column in enumerate(group)
                if (c in classes if not isinstance(classes, str) else classes == "all" or column.T > 0) and a[c]
            ]
            group = [Together([group[c] for c in chosen], [a[c] for c in chosen], m)]
        for c, column in enumerate(group):
            chosen = (classes == "all" or column.T > 0) if isinstance(classes, str) else c in classes
            chosen = chosen or average == "micro"
            if column.N == 0 or not chosen or (column.T == 0 and empty == "skip"):
                row.append(None)
            elif column.T == 0 and empty == "area":
                row.append(column.P / column.N)
            elif column.T == 0 and empty == "zero":
                row.append(0.0)
            else:
                row.append(value(column))
        table.append(row)
    if average == "image" and reduction == "mean":
        rows = [
            reduce_table([row], class_weight, pool, reduction, m) for row in table if any(v is not None for v in row)
        ]
        return m.fsum(rows) / max(1, len(rows))
    if average == "micro":
        found = reduce_table(table, None, pool, reduction, m)
        return found[..., 0] if reduction == "none" else found
    return reduce_table(table, class_weight, pool, reduction, m)


def reduce_table(table: list[list[Any]], class_weight, pool: str, reduction: str, m: ModuleType = math) -> Any:
    a = [1.0] * len(table[0]) if class_weight is None else class_weight
    if reduction == "none":
        out = np.array([[a[c] * v if v is not None else 0.0 for c, v in enumerate(row)] for row in table])
        return out[0] if pool == "batch" else out
    total = m.fsum(a[c] * v for row in table for c, v in enumerate(row) if v is not None)
    share = m.fsum(a[c] for row in table for c, v in enumerate(row) if v is not None)
    return total / share if reduction == "mean" and share else total


def dice(
    batch: Batch,
    m: ModuleType = math,
    *,
    smooth: float = 0.0,
    squared: bool = False,
    log: bool = False,
    **options: Any,
) -> Any:
    def value(column: Column) -> Any:
        if squared:  # for V-Net's denominator the product is the soft form: 2 p t = p^2 + t^2 where p = t
            I, total = column.sum(lambda p, t: p * t), column.sum(lambda p, t: p * p + t * t)
        else:
            I, total = column.sum(min), column.P + column.T
        return _of_index((2 * I + smooth) / (total + smooth), log, m)

    return _region(batch, value, m, **options)


def jaccard(batch: Batch, m: ModuleType = math, *, smooth: float = 0.0, log: bool = False, **options: Any) -> Any:
    def value(column: Column) -> Any:
        return _of_index((column.sum(min) + smooth) / (column.sum(max) + smooth), log, m)

    return _region(batch, value, m, **options)


def _of_index(index: Any, log: bool, m: ModuleType) -> Any:
    return -m.log(index) if log else 1 - index


def tversky_index(column: Column, alpha: float, beta: float, smooth: float, m: ModuleType) -> Any:
    TP = column.sum(min)
    FP, FN = column.sum(lambda p, t: max(p - t, 0)), column.sum(lambda p, t: max(t - p, 0))
    return (TP + smooth) / (TP + alpha * FP + beta * FN + smooth)


def tversky(
    batch: Batch,
    m: ModuleType = math,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 0.0,
    **options: Any,
) -> Any:
    return _region(batch, lambda column: 1 - tversky_index(column, alpha, beta, smooth, m), m, **options)


def focal_tversky(
    batch: Batch,
    m: ModuleType = math,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    smooth: float = 0.0,
    **options: Any,
) -> Any:
    return _region(batch, lambda column: (1 - tversky_index(column, alpha, beta, smooth, m)) ** gamma, m, **options)


def gdice(
    batch: Batch,
    m: ModuleType = math,
    *,
    weighting: str = "square",
    smooth: float = 0.0,
    pool: str = "image",
    classes: Any = "all",
    empty: str = "area",
    reduction: str = "mean",
) -> Any:
    """A ratio of sums; w_c relative to the rarest present class, whose weight absent classes get too."""
    values = []
    for group in columns(batch, m, pool, both=True):
        chosen = [c for i, c in enumerate(group) if isinstance(classes, str) or i in classes]
        present = [c for c in chosen if c.T > 0]
        chosen = present if classes == "present" else chosen
        N = math.fsum(column.N for column in chosen)
        if N == 0 or (not present and empty == "skip"):
            values.append([None])
            continue
        if not present and empty == "area":
            values.append([m.fsum(column.P for column in chosen) / N])
            continue
        power = {"square": 2, "simple": 1, "uniform": 0}[weighting]
        least = min((column.T for column in present), default=1.0)
        above = below = smooth
        for column in chosen:
            w = (least / (column.T or least)) ** power
            above += 2 * w * column.sum(min)
            below += w * (column.P + column.T)
        values.append([1 - above / below])
    table = reduce_table(values, None, pool, reduction, m)
    return table[..., 0] if reduction == "none" else table


def lovasz_hinge(batch: Batch, m: ModuleType = math, *, per_image: bool = True, **options: Any) -> Any:
    def value(column: Column) -> Any:
        return lovasz_extension([(max(0.0, 1 - z * (2 * t - 1)), t, w) for _, t, w, z in column.rows])

    return _region(batch, value, m, pool="image" if per_image else "batch", empty="smooth", **options)


def lovasz(batch: Batch, m: ModuleType = math, *, per_image: bool = False, classes: Any = None, **options: Any) -> Any:
    def value(column: Column) -> Any:
        return lovasz_extension([(abs(t - p), t, w) for p, t, w, _ in column.rows])

    if classes is None:
        classes = "present" if batch.task == "multiclass" else "all"
    return _region(batch, value, m, pool="image" if per_image else "batch", classes=classes, **options)


def lovasz_extension(rows: list[tuple[float, float, float]]) -> float:
    """sum_i m_(i) (F({1..i}) - F({1..i-1})), F the Jaccard loss of a set of wrong pixels; rows (error, t, weight).

    A pixel of weight 2 stands there twice. F does not depend on the unit of weight, so quarters are counted as wholes.
    """
    unit = 1 if all(w.is_integer() for _, _, w in rows) else 4
    copies = []
    for error, t, w in rows:
        assert (unit * w).is_integer()
        copies += [(error, t)] * int(unit * w)
    copies.sort(key=lambda row: -row[0])
    differences = [jaccard_loss(copies, i + 1) - jaccard_loss(copies, i) for i in range(len(copies))]
    return math.fsum(error * g for (error, _), g in zip(copies, differences, strict=True))


def jaccard_loss(rows: list[tuple[float, float]], wrong: int) -> float:
    """1 - |truth and prediction| / |truth or prediction| where the first `wrong` pixels are predicted wrongly."""
    truth = {i for i, (_, t) in enumerate(rows) if t == 1}
    predicted = truth ^ set(range(wrong))
    return 1 - len(truth & predicted) / len(truth | predicted) if truth | predicted else 0.0


# Pixel losses for wrong labels and rare foreground -------------------------------------------------------------------


def poly(batch: Batch, m: ModuleType = math, *, epsilon: float = 1.0, **options: Any) -> Any:
    return _of_classes(batch, lambda item, c: -item.log_p[c] + epsilon * item.q[c], m, **options)


def gce(batch: Batch, m: ModuleType = math, *, q: float = 0.7, **options: Any) -> Any:
    return _of_classes(batch, lambda item, c: (1 - item.p[c] ** q) / q if q else -item.log_p[c], m, **options)


def asl(
    batch: Batch,
    m: ModuleType = math,
    *,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    **options: Any,
) -> Any:
    def value(item: Item, c: int) -> Any:
        if c == 1:
            return -((1 - item.p[1]) ** gamma_pos) * item.log_p[1]
        if not clip:
            return -(item.p[1] ** gamma_neg) * item.log_p[0]
        shifted = max(item.p[1] - clip, 0)
        return -(shifted**gamma_neg) * m.log(1 - shifted)

    return _of_classes(batch, value, m, **options)


def sce(
    batch: Batch,
    m: ModuleType = math,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    A: float = -4.0,
    class_weight=None,
    reduction: str = "mean",
) -> Any:
    terms = []
    for item in open_items(batch, m):
        a = class_weights(item, batch.task, class_weight)
        forward = m.fsum(-a[c] * t * item.log_p[c] for c, t in enumerate(item.t) if t)
        backward = m.fsum(-p * (max(m.log(t), A) if t else A) for p, t in zip(item.p, item.t, strict=True))
        share = true_weight(item, a)
        terms.append(Term(item, alpha * forward + beta * share * backward, share, item.weight))
    return reduce_terms(batch, terms, reduction, m)


def _of_classes(
    batch: Batch, value: Callable[[Item, int], Any], m: ModuleType, *, class_weight=None, reduction: str = "mean"
) -> Any:
    """The mean of a value over the target's distribution."""
    terms = []
    for item in open_items(batch, m):
        a = class_weights(item, batch.task, class_weight)
        total = m.fsum(a[c] * t * value(item, c) for c, t in enumerate(item.t) if t)
        terms.append(Term(item, total, true_weight(item, a), item.weight))
    return reduce_terms(batch, terms, reduction, m)


# Region losses beyond overlap ----------------------------------------------------------------------------------------


def mcc(batch: Batch, m: ModuleType = math, **options: Any) -> Any:
    def value(column: Column) -> Any:
        TP, TN = column.sum(min), column.sum(lambda p, t: 1 - max(p, t))
        FP, FN = column.sum(lambda p, t: max(p - t, 0)), column.sum(lambda p, t: max(t - p, 0))
        if all(t == 1 for _, t, _, _ in column.rows):
            return FN / column.N
        if column.T == 0:
            return 1.0
        return 1 - (TP * TN - FP * FN) / m.sqrt((TP + FP) * (TP + FN) * (TN + FP) * (TN + FN))

    return _region(batch, value, m, **options)


def logcosh_dice(
    batch: Batch, m: ModuleType = math, *, smooth: float = 0.0, squared: bool = False, **options: Any
) -> Any:
    def value(column: Column) -> Any:
        if squared:
            I, total = column.sum(lambda p, t: p * t), column.sum(lambda p, t: p * p + t * t)
        else:
            I, total = column.sum(min), column.P + column.T
        return m.log(m.cosh(1 - (2 * I + smooth) / (total + smooth)))

    return _region(batch, value, m, **options)


def noise_robust_dice(batch: Batch, m: ModuleType = math, *, gamma: float = 1.5, **options: Any) -> Any:
    def value(column: Column) -> Any:
        if column.T == 0:
            return 0.0
        return column.sum(lambda p, t: abs(p - t) ** gamma) / column.sum(lambda p, t: p * p + t * t)

    return _region(batch, value, m, **options)


def sensitivity_specificity(batch: Batch, m: ModuleType = math, *, r: float = 0.05, **options: Any) -> Any:
    def value(column: Column) -> Any:
        sides = []
        for side in (lambda t: t, lambda t: 1 - t):
            size = column.sum(lambda _, t, side=side: side(t))
            error = column.sum(lambda p, t, side=side: side(t) * (t - p) ** 2)
            sides.append(error / size if size else 0.0)
        return r * sides[0] + (1 - r) * sides[1]

    return _region(batch, value, m, **options)


def combo(
    batch: Batch,
    m: ModuleType = math,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 0.0,
    empty: str = "area",
    **options: Any,
) -> Any:
    def entropy(column: Column) -> Any:
        hit = column.sum(lambda p, t: -t * m.log(p) if t else 0)
        miss = column.sum(lambda p, t: -(1 - t) * m.log(1 - p) if t < 1 else 0)
        return (beta * hit + (1 - beta) * miss) / column.N

    overlap = dice(batch, m, smooth=smooth, empty=empty, **options)
    return alpha * _region(batch, entropy, m, empty="smooth", **options) + (1 - alpha) * overlap


def unified_focal(
    batch: Batch,
    m: ModuleType = math,
    *,
    lam: float = 0.5,
    delta: float = 0.6,
    gamma: float = 0.5,
    asymmetric: bool = True,
    smooth: float = 0.0,
    pool: str = "image",
    empty: str = "area",
    reduction: str = "mean",
) -> Any:
    """Two tables of (image or batch, class): each class's Tversky part, and the focal loss of the pixels."""
    tables = [], []
    for group in item_groups(batch, m, pool):
        rows = [], []
        for k, c in class_places(batch):
            own = [item for item in group if item.channel == k]
            column = Column([(item.p[c], item.t[c], item.weight, None) for item in own], m)
            left_out = column.N == 0 or (column.T == 0 and empty == "skip")
            exponent = 1 if asymmetric and c == 0 else 1 - gamma
            if column.T == 0 and empty == "area" and column.N:
                rows[0].append(column.P / column.N)
            else:
                rows[0].append(
                    None if left_out else (1 - tversky_index(column, 1 - delta, delta, smooth, m)) ** exponent
                )
            rows[1].append(_mean_focal(own, delta, gamma, asymmetric, m) if column.N else None)
        for table, row in zip(tables, rows, strict=True):
            table.append(row)
    overlap, focal_part = (reduce_table(table, None, pool, reduction, m) for table in tables)
    return lam * focal_part + (1 - lam) * overlap


def item_groups(batch: Batch, m: ModuleType, pool: str) -> list[list[Item]]:
    items = open_items(batch, m)
    images = range(len(batch.scores))
    return [items] if pool == "batch" else [[item for item in items if item.image == n] for n in images]


def class_places(batch: Batch) -> list[tuple[int, int]]:
    """Channel and class of each class of a batch: those of sigmoid tasks are all backgrounds, then all foregrounds."""
    channels = range(batch.scores.shape[1])
    if batch.task == "multiclass":
        return [(0, c) for c in channels]
    return [(k, c) for c in (0, 1) for k in channels]


def _mean_focal(items: list[Item], delta: float, gamma: float, asymmetric: bool, m: ModuleType) -> Any:
    total = 0
    for item in items:
        for c, t in enumerate(item.t):
            if t:
                weight, power = (1 - delta, gamma) if c == 0 else (delta, 0 if asymmetric else gamma)
                total += item.weight * t * weight * -(item.q[c] ** power) * item.log_p[c]
    return total / m.fsum(item.weight for item in items)


def wasserstein_dice(
    batch: Batch,
    m: ModuleType = math,
    *,
    distances=None,
    pool: str = "image",
    empty: str = "area",
    reduction: str = "mean",
) -> Any:
    C = batch.scores.shape[1]
    M = [[float(i != j) for j in range(C)] for i in range(C)] if distances is None else distances
    M = [[d / max(max(row) for row in M) for d in row] for row in M]
    values = []
    for group in item_groups(batch, m, pool):
        moved, credit = [], []
        for item in group:
            truth = item.t.index(1)
            moved.append(item.weight * m.fsum(p * d for p, d in zip(item.p, M[truth], strict=True)))
            if truth:  # the paper's sum over foreground classes l, with alpha_l = M[l, background]
                credit.append(M[truth][0] * (item.weight * M[truth][0] - moved[-1]))
        weight = m.fsum(item.weight for item in group)
        if not group or (not credit and empty == "skip"):
            values.append([None])
        elif not credit and empty == "area":
            values.append([m.fsum(moved) / weight])
        else:
            values.append([1 - 2 * m.fsum(credit) / (2 * m.fsum(credit) + m.fsum(moved))])
    table = reduce_table(values, None, pool, reduction, m)
    return table[..., 0] if reduction == "none" else table


ORACLES: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        *(ce, wce, focal, mse, l1, smooth_l1, topk, ohem, missing),
        *(dice, jaccard, tversky, focal_tversky, gdice, lovasz_hinge, lovasz),
        *(poly, gce, sce, asl, mcc, logcosh_dice, noise_robust_dice, sensitivity_specificity),
        *(combo, unified_focal, wasserstein_dice),
    )
}


# U-Net's weight map --------------------------------------------------------------------------------------------------


def unet_weight_map(
    labels: np.ndarray, w0: float, sigma: float, class_weight=None, instances: bool = False
) -> np.ndarray:
    """Of one image, by all distances between pixels."""
    objects = [np.argwhere(labels == i) for i in np.unique(labels) if i] if instances else components(labels)
    kinds = (labels > 0).astype(int) if instances else labels
    out = np.zeros(labels.shape)
    for at in np.ndindex(labels.shape):
        if class_weight == "inverse":
            out[at] = labels.size / (len(np.unique(kinds)) * np.sum(kinds == kinds[at]))
        else:
            out[at] = 1.0 if class_weight is None else class_weight[kinds[at]]
        if labels[at] == 0 and len(objects) > 1:
            d1, d2 = sorted(min(math.dist(at, pixel) for pixel in pixels) for pixels in objects)[:2]
            out[at] += w0 * math.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return out


def components(labels: np.ndarray) -> list[list[tuple[int, ...]]]:
    """Connected pixels of one class, diagonals included, by flooding."""
    seen: set[tuple[int, ...]] = set()
    found = []
    for start in np.ndindex(labels.shape):
        if labels[start] == 0 or start in seen:
            continue
        group, front = [], [start]
        seen.add(start)
        while front:
            at = front.pop()
            group.append(at)
            for step in product((-1, 0, 1), repeat=labels.ndim):
                near = tuple(a + s for a, s in zip(at, step, strict=True))
                inside = all(0 <= a < size for a, size in zip(near, labels.shape, strict=True))
                if inside and near not in seen and labels[near] == labels[start]:
                    seen.add(near)
                    front.append(near)
        found.append(group)
    return found
