"""Lovasz losses: the convex extension of the Jaccard loss to real errors, by sorting.

Yu & Blaschko 2015 (hinge), Berman 2018 (softmax).
"""

from collections.abc import Callable

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels
from lossmith.core.region import Sums, takes

Errors = Callable[[Pixels, Array, Array], Array]

# Between two reorderings of the errors the loss is linear in them: L = sum_i e_i g_i with g a constant. So the sort
# needs no gradient, and what has one is a sum over pixels like that of any region loss.


@takes(lambda **_: ["lovasz"])
def lovasz(S: Sums) -> Array:
    """sum_i e_i g_i, the Lovasz extension of the Jaccard loss at the errors e (Berman 2018, Eqs. 8, 9)."""
    return S.lovasz


def softmax_errors(px: Pixels, probs: Array, target: Array) -> Array:
    """|t - p|."""
    return px.xp.abs(target - probs)


def hinge_errors(px: Pixels, logits: Array, target: Array) -> Array:
    """max(0, 1 - z (2t - 1)), the hinge errors of logits z."""
    return px.xp.maximum(1.0 - logits * (2.0 * target - 1.0), 0.0)


def softmax_slopes(px: Pixels, *, pool: str, classes: object, **_: object) -> dict[str, Array]:
    """What `softmax_form` needs of the whole batch."""
    return {"slopes": _slopes(px, softmax_errors, "probs", pool, classes)}


def hinge_slopes(px: Pixels, *, pool: str, classes: object, **_: object) -> dict[str, Array]:
    """What `hinge_form` needs of the whole batch."""
    return {"slopes": _slopes(px, hinge_errors, "logits", pool, classes)}


def softmax_form(px: Pixels, *, slopes: Array) -> dict[str, Array]:
    """sum_i e_i g_i over the pixels of a block, class by class, for softmax errors."""
    return {"lovasz": px.xp.sum(px.part(slopes) * softmax_errors(px, px.probs, px.target), axis=2)}


def hinge_form(px: Pixels, *, slopes: Array) -> dict[str, Array]:
    """The same for hinge errors."""
    return {"lovasz": px.xp.sum(px.part(slopes) * hinge_errors(px, px.logits, px.target), axis=2)}


def _slopes(px: Pixels, errors: Errors, scores: str, pool: str, classes: object) -> Array:
    """g for every pixel and class, (N, K, P): what the Jaccard loss grows by as the pixel joins the errors."""
    xp = px.xp
    by_image, rows = pool == "image", []
    may_skip = classes == "present" and (by_image or not px.processes.shared)  # absent here is not absent elsewhere
    images, channels = px.chunks(by_image)
    for some in images:
        row = []
        for c in channels:
            arrays = _sorted_together(px, errors, scores, some, c)
            if may_skip and xp.read(xp.any(arrays[1] > 0)) is False:
                row.append(xp.zeros_like(arrays[0]))
            else:
                row.append(_row_slopes(xp, arrays) if by_image else _batch_slopes(px, arrays))
        rows.append(_joined(xp, row, axis=1))
    return _joined(xp, rows, axis=0)


def _sorted_together(px: Pixels, errors: Errors, scores: str, images: slice, channels: slice) -> list[Array]:
    """The errors, hits and (if any) weights of some images and channels."""
    hit = px.cut("target", images, channels)
    arrays = [errors(px, px.cut(scores, images, channels), hit), hit]
    return [*arrays, px.cut("count", images, channels) + px.xp.zeros_like(hit)] if px.weighted else arrays


def _joined(xp: Namespace, arrays: list[Array], *, axis: int) -> Array:
    return arrays[0] if len(arrays) == 1 else xp.concat(arrays, axis=axis)


def _batch_slopes(px: Pixels, arrays: list[Array]) -> Array:
    """As `_row_slopes`, the pixels sorted over all images and processes."""
    xp = px.xp
    images, channels, pixels = arrays[0].shape
    rows = [xp.reshape(xp.permute_dims(array, (1, 0, 2)), (channels, images * pixels)) for array in arrays]
    arrays.clear()
    gathered, own = px.gathered(*rows)
    rows[:] = gathered
    del gathered
    found = xp.reshape(_row_slopes(xp, rows)[:, own], (channels, images, pixels))
    return xp.permute_dims(found, (1, 0, 2))


def _row_slopes(xp: Namespace, arrays: list[Array]) -> Array:
    """The slopes of the pixels of the last axis, in their own order, from errors, hits and weights (N, k, P).

    The list is emptied: what is sorted should not be alive a second time.
    """
    if arrays[0].shape[-1] == 0:
        return arrays[0]
    order = xp.argsort_descending(arrays.pop(0))
    ordered = [xp.take_along_axis(array, order, axis=-1) for array in arrays]
    arrays.clear()
    return xp.unsort(lovasz_gradient(xp, *ordered), order)


def lovasz_gradient(xp: Namespace, hit: Array, weight: Array | None = None) -> Array:
    """The growth of the Jaccard loss as each pixel joins the errors, pixels sorted by falling error.

    A foreground pixel of weight w takes w/U from the index, U the union so far; a background one grows the union
    from U - w to U and takes I w / (U (U - w)). This closed form has no cancellation, unlike differences of the index.
    """
    miss = 1.0 - hit
    hits, misses = (hit, miss) if weight is None else (hit * weight, miss * weight)
    total = xp.sum(hits, axis=-1, keepdims=True)
    I = total - xp.cumulative_sum(hits, axis=-1)
    U = total + xp.cumulative_sum(misses, axis=-1)
    if xp.read(xp.any(total <= 0)) is False:
        shares = hit + miss * (I / (U - misses))
        return shares / U if weight is None else shares * (weight / U)
    before = U - misses
    one = xp.ones_like(U)
    weight = one if weight is None else weight
    safe = xp.where(U > 0, U, one)
    first = xp.where(weight > 0, one, xp.zeros_like(one))  # no foreground at all: the first error costs everything
    grown = xp.where(before > 0, (I / safe) * (weight / xp.where(before > 0, before, one)), first)
    return xp.where(hit > 0, weight / safe, grown)
