"""Losses on the outlines of prediction and target, and on what is near them: no distances, only windows of pixels."""

import math
from collections.abc import Mapping
from dataclasses import replace

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels
from lossmith.core.region import Sums, jaccard, takes
from lossmith.core.stable import divide
from lossmith.core.window import cross_sum, differences, window_max, window_min, window_sum

SLOPE_FLOOR = 1e-8  # the published constant under the root of the contour's length


def outline(px: Pixels, **_: object) -> Mapping[str, Array]:
    """The target's pixels whose neighbours along the axes do not all belong to it, bool (N, K, P).

    Beyond the image, and where a pixel is ignored, there is no target.
    """
    xp = px.xp
    inside = px.map(lambda block: block.target > 0.5)
    whole = xp.where(inside, xp.ones_like(px.count()), xp.zeros_like(px.count()))
    if px.weighted:
        whole = xp.where(px.count() > 0, whole, xp.zeros_like(whole))
    around = xp.reshape(cross_sum(xp, px.grid(whole)), whole.shape)
    return {"edge": inside & (around < 1 + 2 * len(px.space))}


def outline_terms(px: Pixels, *, edge: Array) -> Mapping[str, Array]:
    """C = sum w over the outline."""
    edge = px.part(edge)
    return {"C": px.sum(px.xp.astype(edge, px.like))}


@takes(lambda **_: ["C", "PT", "PP", "TT"])
def boundary_dou(S: Sums, *, limit: float = 0.8, **_: object) -> Array:
    """(U - I) / (U - alpha I), U = sum p^2 + sum t^2 - I, I = sum p t, alpha = min(limit, 1 - 2 C / T)."""
    xp = S.xp
    alpha = xp.minimum(1.0 - 2.0 * divide(xp, S.C, S.T, otherwise=1.0), xp.zeros_like(S.T) + limit)
    union = S.PP + S.TT - S.PT
    return divide(xp, union - S.PT, union - alpha * S.PT)


def contour_terms(px: Pixels, **_: object) -> Mapping[str, Array]:
    """E = sum w |grad p|, the length of the contours; R = sum w (p (1 - t)^2 + (1 - p) t^2), what they enclose."""
    xp, p, t = px.xp, px.probs, px.target
    valid = None if px.weight is None else px.grid(px.valid())
    squared = xp.zeros_like(px.grid(p))
    for step in differences(xp, px.grid(p), valid):
        squared = squared + step**2
    return {
        "E": px.sum(xp.reshape(xp.sqrt(squared + SLOPE_FLOOR) - math.sqrt(SLOPE_FLOOR), p.shape)),
        "R": px.sum(p * (1.0 - t) ** 2 + (1.0 - p) * t**2),
    }


@takes(lambda **_: ["E", "R"])
def active_contour(S: Sums, *, region: float = 1.0, **_: object) -> Array:
    """(E + region R) / N."""
    return S.mean(S.E + region * S.R)


def surface_terms(px: Pixels, *, tolerance: int = 2, **_: object) -> Mapping[str, Array]:
    """A = sum w S_p, B = sum w S_t, and their parts near the other: A' = sum w S_p Z_t, B' = sum w S_t Z_p.

    The surface of a set is what a window of radius 1 takes off it, S = x - min x; its zone Z is max S over `tolerance`.
    """
    xp = px.xp
    valid = None if px.weight is None else px.grid(xp.astype(px.weight > 0, px.like) + xp.zeros_like(px.probs)) > 0
    surfaces, zones = [], []
    for x in (px.grid(px.probs), px.grid(px.target)):
        surface = x - window_min(xp, _without(xp, x, valid, 1.0), 1)
        surface = _without(xp, surface, valid, 0.0)
        surfaces.append(xp.reshape(surface, px.probs.shape))
        zones.append(xp.reshape(window_max(xp, surface, tolerance), px.probs.shape))
    (mine, truth), (near_mine, near_truth) = surfaces, zones
    near = {"A'": px.sum(mine * near_truth), "B'": px.sum(truth * near_mine)}
    return {"A": px.sum(mine), "B": px.sum(truth), **near}


def _without(xp: Namespace, x: Array, valid: Array | None, neutral: float) -> Array:
    """`neutral` in place of pixels that are not there."""
    return x if valid is None else xp.where(valid, x, xp.zeros_like(x) + neutral)


@takes(lambda **_: ["A", "B", "A'", "B'"])
def surface_dice(S: Sums, **_: object) -> Array:
    """1 - (A' + B') / (A + B); of a class without a surface, because it fills the image, 1 - P / N."""
    xp, known = S.xp, S.known
    index = divide(xp, known["A'"] + known["B'"], S.A + S.B)
    filled = divide(xp, S.P, S.N + xp.zeros_like(S.P), otherwise=1.0)
    return 1.0 - xp.where(S.B > 0, index, filled)


def context(px: Pixels, *, lam: float = 5.0, radius: int = 15, **_: object) -> Mapping[str, Array]:
    """1 + lam |mean of t over the window - t|, the mean over what of the window is in the image and valid."""
    xp = px.xp
    t = px.grid(px.map(lambda block: 0.0 + block.target))  # a copy: a block's memory is used again
    there = xp.ones_like(t)
    if px.weighted:
        there = there * px.grid(xp.astype(px.count() > 0, px.like))
    mean = divide(xp, window_sum(xp, t * there, radius), window_sum(xp, there, radius))
    return {"attention": xp.reshape(1.0 + lam * xp.abs(mean - t), (px.images, px.channels, px.pixels))}


def structure_terms(px: Pixels, *, attention: Array) -> Mapping[str, Array]:
    """The sums of the structure loss, each pixel counted a w times, a its attention.

    J = sum a w p t, Q = sum a w p, G = sum a w t; F = sum a w times cross-entropy, M = sum a w, for multiclass tasks
    of the true class.
    """
    xp, t, a = px.xp, px.target, px.part(attention)
    overlap = xp.minimum(px.probs, t) if px.soft else px.probs * t
    sums = {"J": overlap, "Q": px.probs, "G": t}
    if px.task == "multiclass":
        true = a * t
        sums = {name: a * value for name, value in sums.items()}
        sums["F"] = -xp.sum(true * px.log_probs, axis=1, keepdims=True)
        sums["M"] = xp.sum(true, axis=1, keepdims=True)
    else:
        sums = {name: a * value for name, value in sums.items()} | {"F": -a * px.expect(None), "M": a}
    return {name: px.sum(value) for name, value in sums.items()}


def _weighted_cross_entropy(S: Sums, **_: object) -> tuple[float, Array]:
    return 1.0, divide(S.xp, S.F, S.M)


@takes(lambda **_: ["J", "Q", "G", "F", "M"], beside=_weighted_cross_entropy)
def structure(S: Sums, *, smooth: float = 0.0, **_: object) -> Array:
    """The Jaccard loss of the weighted sums; beside it stands the weighted cross-entropy F / M."""
    return jaccard(replace(S, known={"I": S.J, "P": S.Q, "T": S.G}, full=False), smooth=smooth)
