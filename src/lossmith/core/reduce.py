"""The one definition of "mean": the weighted sum over the weighted count of valid items.

Items are pixels (pixel losses; elements for multilabel), or (image, class) pairs or classes (region losses).
Without weights the mean of "none" is "mean"; with them "none" shows weight times value, as "sum" adds it up.
"""

from typing import NamedTuple

from lossmith.core.namespaces import Array
from lossmith.core.pixels import Pixels
from lossmith.core.stable import divide

REDUCTIONS = ("mean", "sum", "none")


class Terms(NamedTuple):
    """Per-pixel terms, each (N, k, P) with k = 1, or K for multilabel.

    `loss` already holds the factor `weight` of its pixel (a class weight, say), which the mean divides by; `times`
    says how often the pixel counts, in place of the batch's own weight.
    """

    loss: Array
    weight: Array | None = None
    times: Array | None = None


def reduce_pixels(px: Pixels, terms: Terms, reduction: str) -> Array:
    """Reduce per-pixel terms."""
    xp, (loss, weight, times) = px.xp, terms
    count = px.weight if times is None else times
    if reduction == "none":
        return px.flagged(px.in_space(loss if count is None else _times(px, count, loss)))
    total = xp.sum(loss if count is None else _times(px, count, loss))
    if reduction == "sum":
        return px.flagged(total)
    weight = xp.ones_like(loss) if weight is None else weight
    weights = xp.sum((weight if count is None else weight * count) + xp.zeros_like(loss))
    # Where nothing counts the sum is 0 already; dividing it by 1 keeps the graph intact.
    return px.flagged(total / xp.where(weights > 0, weights, xp.ones_like(weights)))


def _times(px: Pixels, count: Array, loss: Array) -> Array:
    """count * loss, exactly 0 where the count is 0."""
    return px.xp.where(count == 0, px.xp.zeros_like(loss), count * loss)


def reduce_items(px: Pixels, value: Array, weight: Array, reduction: str, *, pooled: bool) -> Array:
    """Reduce the values (n, k) of a region loss's items; `weight` 0 leaves an item out."""
    xp = px.xp
    weighted = weight * value
    if reduction == "none":
        return px.flagged(xp.reshape(weighted, weighted.shape[1:]) if pooled else weighted)
    total = xp.sum(weighted)
    return px.flagged(total if reduction == "sum" else divide(xp, total, xp.sum(weight)))
