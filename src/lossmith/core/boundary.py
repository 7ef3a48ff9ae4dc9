"""Losses on distance maps: how far from the target's boundary a prediction is wrong.

What is far is computed for the whole batch before any block is looked at (`Namespace.signed_distance`); a block then
adds up probabilities times its part of the map. Distances are those between valid pixels: an ignored one belongs to no
side. A class that is nowhere, or everywhere, has no boundary; all of its pixels are at distance 1.
"""

from collections.abc import Mapping, Sequence

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels
from lossmith.core.region import Sums, takes
from lossmith.errors import must

AXES = 3  # what the distance transform takes


def pixel_size(spacing: Sequence[float] | None, axes: int) -> tuple[float, ...]:
    """The size of a pixel along each spatial axis, 1 where nothing is said; ValueError where that does not fit."""
    if axes > AXES:
        raise ValueError(must("images of a distance map", f"of at most {AXES} spatial axes", axes))
    if spacing is None:
        return (1.0,) * axes
    if len(spacing) != axes:
        raise ValueError(must("spacing", f"None or {axes} numbers, one for each spatial axis", list(spacing)))
    return tuple(float(size) for size in spacing)


def target_distance(px: Pixels, spacing: Sequence[float] | None, power: float = 1.0) -> Array:
    """Distances to the target's boundaries to a power, negative inside, of the whole batch: (N, K, P)."""
    return signed_distance(px, px.map(lambda block: block.target > 0.5), spacing, power)


def signed_distance(px: Pixels, inside: Array, spacing: Sequence[float] | None, power: float = 1.0) -> Array:
    """Distances to the boundaries of masks (N, K, P) of the whole batch, to a power, negative inside."""
    size, valid = pixel_size(spacing, len(px.space)), None
    if px.weighted:
        valid = px.grid((px.count() > 0) & (inside | ~inside))  # of as many channels as the masks
    return px.xp.reshape(px.xp.signed_distance(px.grid(inside), valid, size, power, px.like), inside.shape)


def adjusted(xp: Namespace, phi: Array, *, shift: bool = False, bounded: bool = False) -> Array:
    """Signed distances (N, K, P) in another form.

    shift: the pixels of a class at its boundary have 0, not -1; where there is no boundary nothing changes. bounded:
    both sides are divided by their greatest distance.
    """
    if phi.shape[2] == 0 or not (shift or bounded):
        return phi
    inside = phi < 0
    if shift:
        bordered = xp.amax(phi, axis=2, keepdims=True) > 0
        phi = xp.where(inside & bordered, phi + 1.0, phi)
    if bounded:
        greatest = (xp.amax(side, axis=2, keepdims=True) for side in (-phi, phi))
        into, out = (xp.where(far > 0, far, xp.ones_like(far)) for far in greatest)
        phi = phi / xp.where(inside, into, out)
    return phi


def boundary_map(
    px: Pixels,
    *,
    spacing: Sequence[float] | None = None,
    shift: bool = False,
    bounded: bool = False,
    **_: object,
) -> Mapping[str, Array]:
    """The signed distance map of the target, unless the loss was called with one that stays as it is."""
    if "distance" not in px.inputs:
        phi = target_distance(px, spacing)
    elif spacing is not None:
        raise ValueError(must("spacing", "left out with distance=: it is an option of the map then", list(spacing)))
    elif not (shift or bounded):
        return {}
    else:
        phi = px.xp.astype(px.inputs["distance"], px.like)
    return {"phi": adjusted(px.xp, phi, shift=shift, bounded=bounded)}


def boundary_terms(px: Pixels, *, phi: Array | None = None) -> Mapping[str, Array]:
    """D = sum w phi p."""
    phi = px.xp.astype(px.inputs["distance"], px.like) if phi is None else px.part(phi)
    return {"D": px.sum(px.probs * phi)}


@takes(lambda **_: ["D"])
def boundary(S: Sums, **_: object) -> Array:
    """D / N, the mean of phi p."""
    return S.mean(S.D)


def hausdorff_field(
    px: Pixels, *, alpha: float = 2.0, spacing: Sequence[float] | None = None, **_: object
) -> Mapping[str, Array]:
    """d_t^alpha + d_p^alpha: distances to the boundaries of the target, unless given, and of what is predicted."""
    xp = px.xp
    if "distance" in px.inputs:
        of_target = xp.abs(xp.astype(px.inputs["distance"], px.like)) ** alpha
    else:
        of_target = xp.abs(target_distance(px, spacing, alpha))
    return {"far": of_target + xp.abs(signed_distance(px, predicted(px), spacing, alpha))}


def predicted(px: Pixels) -> Array:
    """Which pixels are predicted as each class, bool (N, K, P): the likeliest ones, in sigmoid tasks p > 1/2."""
    if px.task != "multiclass":
        return px.map(lambda block: block.probs > 0.5)
    return px.map(lambda block: block.logits >= block.xp.amax(block.logits, axis=1, keepdims=True))


def hausdorff_terms(px: Pixels, *, far: Array) -> Mapping[str, Array]:
    """H = sum w (p - t)^2 (d_t^alpha + d_p^alpha)."""
    return {"H": px.sum((px.probs - px.target) ** 2 * px.part(far))}


@takes(lambda **_: ["H"])
def hausdorff(S: Sums, *, log: bool = False, **_: object) -> Array:
    """H / N; log: log(1 + H / N)."""
    value = S.mean(S.H)
    return S.xp.log1p(value) if log else value
