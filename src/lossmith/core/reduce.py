"""The one definition of "mean": the weighted sum over the weighted count of valid items.

Items are pixels (pixel losses; elements for multilabel), or (image, class) pairs or classes (region losses).
Without weights the mean of "none" is "mean"; with them "none" shows weight times value, as "sum" adds it up.
"""

from collections.abc import Mapping
from typing import NamedTuple

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels
from lossmith.core.stable import divide

REDUCTIONS = ("mean", "sum", "none")


class Terms(NamedTuple):
    """Per-pixel terms, each (N, k, P) with k = 1, or K for sigmoid tasks.

    `loss` already holds the factor `weight` of its pixel (a class weight, say), which the mean divides by; `times`
    says how often the pixel counts, in place of the batch's own weight.
    """

    loss: Array
    weight: Array | None = None
    times: Array | None = None


def add_pixels(px: Pixels, terms: Terms, reduction: str) -> dict[str, Array]:
    """What a block gives to the reduction: sums over its pixels, or for "none" the terms themselves."""
    xp, (loss, weight, times) = px.xp, terms
    count = px.weight if times is None else times
    counted = loss if count is None else times_of(xp, count, loss)
    if reduction == "none":
        return {"map": counted}
    sums = {"loss": xp.sum(counted, axis=2)}
    if reduction == "mean" and not (weight is None and count is None):
        weight = xp.ones_like(loss) if weight is None else weight + xp.zeros_like(loss)
        sums["weight"] = xp.sum(weight if count is None else weight * count, axis=2)
    return sums


def reduce_pixels(px: Pixels, sums: Mapping[str, Array], reduction: str) -> Array:
    """The reduced value from what the blocks gave."""
    xp = px.xp
    if reduction == "none":
        return px.flagged(px.in_space(sums["map"]))
    total = xp.sum(sums["loss"])
    if reduction == "sum":
        return px.flagged(*px.everywhere(total))
    if "weight" in sums:
        count = xp.sum(sums["weight"])
    else:
        count = px.images * px.pixels * (1 if px.task == "multiclass" else px.channels)
    return px.flagged(_mean(px, *px.everywhere(total, count), alike="weight" not in sums))


def _mean(px: Pixels, total: Array, count: Array | int, *, alike: bool) -> Array:
    """total / count; 0 where nothing counts. alike: every item counts once, so `count` came as a number."""
    if alike and not px.processes.shared:
        return total / (count or 1)
    # Where nothing counts the sum is 0 already; dividing it by 1 keeps the graph intact.
    return divide(px.xp, total, count, otherwise=None)


def times_of(xp: Namespace, count: Array, loss: Array) -> Array:
    """count * loss, exactly 0 where the count is 0."""
    return xp.where(count == 0, xp.zeros_like(loss), count * loss)


def reduce_items(px: Pixels, value: Array, weight: Array | None, reduction: str, *, pooled: bool) -> Array:
    """Reduce the values (n, k) of a region loss's items; `weight` 0 leaves an item out, None counts all alike."""
    xp = px.xp
    weighted = value if weight is None else weight * value
    if reduction == "none":
        return px.flagged(xp.reshape(weighted, weighted.shape[1:]) if pooled else weighted)
    total = xp.sum(weighted)
    count = value.shape[0] * value.shape[1] if weight is None else xp.sum(weight)
    if reduction == "sum":
        return px.flagged(*((total,) if pooled else px.everywhere(total)))
    if pooled:  # the same in every process already
        return px.flagged(total / (count or 1) if weight is None else divide(xp, total, count, otherwise=None))
    return px.flagged(_mean(px, *px.everywhere(total, count), alike=weight is None))
