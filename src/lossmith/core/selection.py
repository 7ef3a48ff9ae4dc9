"""Pixel losses that choose their pixels: hard examples (`top_k`, `ohem`), and missing annotations.

What is chosen is prepared from the whole batch, as a constant: how often each pixel counts, or what an image holds.
"""

import math

from lossmith.core.namespaces import Array
from lossmith.core.pixel import PixelDefinition, cross_entropy
from lossmith.core.pixels import Pixels
from lossmith.core.reduce import Terms
from lossmith.core.stable import divide


def chosen_pixels(px: Pixels, *, base: PixelDefinition, times: Array) -> Terms:
    """`base`'s loss on the pixels that `top_k` or `ohem` chose, each counted so many times."""
    return base(px)._replace(times=px.part(times))


def top_k(px: Pixels, *, base: PixelDefinition, k: float = 0.1) -> dict[str, object]:
    """Choose the worst fraction k of the batch's pixels by `base`'s loss, ties sharing what is left.

    The mean over them is the conditional value at risk of the pixel losses (Rockafellar & Uryasev 2000).
    """
    return {"base": base, "times": hardest(px, px.map(lambda block: base(block).loss), k, math.inf)}


def ohem(px: Pixels, *, base: PixelDefinition, threshold: float = 0.7, min_kept: int = 10_000) -> dict[str, object]:
    """Choose all pixels with p_t below `threshold`, and at least the `min_kept` with the lowest p_t."""
    truth = px.map(Pixels.true_probability)
    times = hardest(px, -truth, 1.0, float(min_kept))
    count = px.count() if px.weighted else px.xp.ones_like(times)
    return {"base": base, "times": px.xp.where(truth < threshold, count, times)}


def hardest(px: Pixels, score: Array, share: float, most: float) -> Array:
    """How often each pixel counts when `share` of all is kept, `most` at most: those of the highest score.

    Equal scores share alike, so that a pixel of weight 2 is a pixel counted twice.
    """
    xp, shape = px.xp, score.shape
    rows = [xp.reshape(score, (1, -1))]
    counted = px.weighted or not isinstance(rows[0].shape[1], int)
    if counted:
        rows.append(xp.reshape(px.count() + xp.zeros_like(score), (1, -1)))
    gathered, own = px.gathered(*rows)
    if gathered[0].shape[1] == 0:
        return score
    score, count = gathered[0], gathered[1] if counted else None
    if count is None:
        budget = min(share * score.shape[1], most)
        bar = xp.kth_largest(score, max(1, math.ceil(budget)))
    else:
        total = share * xp.sum(count, axis=1, keepdims=True)
        budget = total if math.isinf(most) else xp.where(total < most, total, xp.zeros_like(total) + most)
        order = xp.argsort_descending(score)
        filled = xp.cumulative_sum(xp.take_along_axis(count, order, axis=1), axis=1)
        last = xp.sum(xp.integers(filled < budget), axis=1, keepdims=True)
        last = xp.where(last < score.shape[1], last, xp.zeros_like(last) + score.shape[1] - 1)
        bar = xp.take_along_axis(score, xp.take_along_axis(order, last, axis=1), axis=1)
    above, level = (score > bar) | (score != score), score == bar  # a NaN is kept, and seen
    count, none = xp.ones_like(score) if count is None else count, xp.zeros_like(score)
    left = budget - xp.sum(xp.where(above, count, none), axis=1, keepdims=True)
    part = divide(xp, left, xp.sum(xp.where(level, count, none), axis=1, keepdims=True))
    times = xp.where(above, count, xp.where(level, count * part, none))
    return xp.reshape(times[:, own], shape)


def missing_annotation(px: Pixels, *, present: Array, class_weight: Array | None = None) -> Terms:
    """Cross-entropy that forgives background where an object without annotation is predicted.

    For every image and class c > 0 with no labelled pixel there (`present`), background pixels whose argmax is c
    count 0.
    """
    xp, present = px.xp, px.part(present)
    terms = cross_entropy(px, class_weight=class_weight)
    if px.task == "binary":
        predicted, background = px.logits > 0, px.target == 0
        forgiven = predicted & background & ~xp.expand_dims(present, axis=2)
    else:
        predicted = xp.argmax(px.logits, axis=1)
        known = xp.take_along_axis(xp.integers(present), predicted, axis=1) > 0
        truth = xp.argmax(px.target, axis=1) if px.labels is None else px.labels
        forgiven = xp.expand_dims((predicted > 0) & (truth == 0) & ~known, axis=1)
    count = px.count() + xp.zeros_like(terms.loss)
    return terms._replace(times=xp.where(forgiven, xp.zeros_like(count), count))


def annotated_classes(px: Pixels, *, class_weight: Array | None = None) -> dict[str, object]:
    """Which classes are labelled in which image, (N, K)."""
    return {"present": px.statistic("T") > 0, "class_weight": class_weight}
