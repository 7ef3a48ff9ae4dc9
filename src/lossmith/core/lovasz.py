"""Lovasz losses: the convex extension of the Jaccard loss to real errors, by sorting.

Yu & Blaschko 2015 (hinge), Berman 2018 (softmax).
"""

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.region import Sums
from lossmith.errors import must


def lovasz_softmax(S: Sums) -> Array:
    """The Lovasz extension of the Jaccard loss at the errors |t - p| of each class (Berman 2018, Eqs. 8, 9)."""
    px = S.px
    return _items(S, px.xp.abs(px.target - px.probs))


def lovasz_hinge(S: Sums) -> Array:
    """The Lovasz extension of the Jaccard loss at the hinge errors max(0, 1 - z (2t - 1)) of logits z."""
    px = S.px
    return _items(S, px.xp.maximum(1.0 - px.logits * (2.0 * px.target - 1.0), 0.0))


def _items(S: Sums, errors: Array) -> Array:
    """One value for each (image, class), or each class of the batch."""
    px, xp = S.px, S.xp
    if px.soft:
        raise ValueError(must("target", "class indices or one-hot integers for a Lovasz loss", "a floating dtype"))
    hit = px.target
    weight = xp.ones_like(hit) if px.weight is None else px.weight + xp.zeros_like(hit)
    rows = [errors, hit, weight]
    if S.pool == "batch":
        rows = [xp.reshape(xp.permute_dims(row, (1, 0, 2)), (1, px.channels, -1)) for row in rows]
    return lovasz_extension(xp, *rows)


def lovasz_extension(xp: Namespace, errors: Array, hit: Array, weight: Array) -> Array:
    """sum_i e_(i) g_i over the last axis, errors in falling order."""
    if errors.shape[-1] == 0:
        return xp.sum(errors, axis=-1)
    order = xp.argsort_descending(xp.stop_gradient(errors))
    errors, hit, weight = (xp.take_along_axis(row, order, axis=-1) for row in (errors, hit, weight))
    return xp.sum(errors * xp.stop_gradient(lovasz_gradient(xp, hit, weight)), axis=-1)


def lovasz_gradient(xp: Namespace, hit: Array, weight: Array) -> Array:
    """The growth of the Jaccard loss as each pixel joins the errors, pixels sorted by falling error.

    A foreground pixel of weight w takes w/U from the index, U the union so far; a background one grows the union
    from U - w to U and takes I w / (U (U - w)). This closed form has no cancellation, unlike differences of the index.
    """
    total = xp.sum(hit * weight, axis=-1, keepdims=True)
    I = total - xp.cumulative_sum(hit * weight, axis=-1)
    U = total + xp.cumulative_sum((1.0 - hit) * weight, axis=-1)
    one = xp.ones_like(U)
    safe = xp.where(U > 0, U, one)
    before = U - weight
    first = xp.where(weight > 0, one, xp.zeros_like(one))  # no foreground at all: the first error costs everything
    grown = xp.where(before > 0, (I / safe) * (weight / xp.where(before > 0, before, one)), first)
    return xp.where(hit > 0, weight / safe, grown)
