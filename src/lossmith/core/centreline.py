"""Topology losses with maps made beforehand: recall on a tube round the target's skeleton, skeletons with radii."""

from lossmith.core.boundary import signed_distance
from lossmith.core.namespaces import Array
from lossmith.core.pixel import foreground
from lossmith.core.pixels import Pixels
from lossmith.core.region import Sums, takes
from lossmith.core.stable import divide
from lossmith.core.topology import (
    OVERLAPS,
    Piece,
    View,
    check_space,
    cldice,
    skeleton_of,
    soft_skeleton,
    sums_of_pieces,
    target_skeleton,
)

SURE = 0.5  # above it a probability is foreground


def target_tube(px: Pixels, *, tube: int = 2, **_: object) -> dict[str, object]:
    """Where the tube round the skeleton of the foreground is; of multilabel targets, of each channel."""
    check_space(px)
    xp = px.xp
    masks = px.map(lambda block: foreground(block) > 0)
    found = xp.tube(px.grid(masks), len(px.space), tube)
    return {"tube": xp.reshape(found, masks.shape)}


def tube_recall(px: Pixels, *, tube: Array) -> dict[str, Array]:
    """Sums of a block: of each class the tube, and the prediction on it."""
    on_tube = px.target * px.xp.astype(px.part(tube), px.like)
    return {"tube": px.sum(on_tube), "on tube": px.sum(on_tube * px.probs)}


@takes(lambda **_: ["tube", "on tube"])
def skeleton_recall(S: Sums, *, smooth: float = 0.0, **_: object) -> Array:
    """1 - (sum of p on the tube + s) / (size of the tube + s); 0 for a class without tube (Kirchhoff 2024)."""
    tube, found = S.known["tube"], S.known["on tube"]
    if smooth:
        tube, found = tube + smooth, found + smooth
    return 1.0 - divide(S.xp, found, tube, otherwise=1.0)


def radii(px: Pixels, *, iterations: int = 10, **_: object) -> dict[str, object]:
    """The skeletons of target and prediction as masks, and the distances to the border inside of each.

    near_t, near_p: in units of the largest radius of the skeleton, 1 at most, 0 outside.
    """
    check_space(px)
    line_t, line_p = target_skeleton(px, iterations), px.map(lambda block: _sure_skeleton(block, iterations))
    mask_t, mask_p = px.map(lambda block: block.target > SURE), px.map(lambda block: block.probs > SURE)
    near_t, near_p = _near(px, mask_t, line_t), _near(px, mask_p, line_p)
    return {"line_t": line_t, "line_p": line_p, "near_t": near_t, "near_p": near_p, "iterations": iterations}


def _sure_skeleton(px: Pixels, iterations: int) -> Array:
    probs = px.xp.stop_gradient(px.grid(px.probs))
    return skeleton_of(px, iterations, lambda piece: probs[piece.place]) > SURE


def _near(px: Pixels, mask: Array, line: Array) -> Array:
    """Distance to the border inside of a mask; everywhere 1 where it has none."""
    xp = px.xp
    distance = xp.relu(-signed_distance(px, mask, None))
    if distance.shape[2] == 0:  # and nothing is the widest
        return distance
    widest = xp.maximum(xp.amax(xp.where(line, distance, xp.zeros_like(distance)), axis=2, keepdims=True), 1.0)
    return xp.stop_gradient(xp.minimum(distance / widest, xp.ones_like(distance)))


def weighed_overlap(
    px: Pixels, *, line_t: Array, line_p: Array, near_t: Array, near_p: Array, iterations: int
) -> dict[str, Array]:
    """The four sums of `cbdice` over a block."""
    xp, view, power = px.xp, View(px), len(px.space) - 1

    def terms(p: Array, piece: Piece, keep: int) -> list[Array]:
        skeleton = soft_skeleton(xp, p, iterations, view.valid(piece), keep=keep)[:, :, piece.own, ...]
        p = p[:, :, piece.own, ...]
        on_t, on_p, d_t, d_p = (view.prepared(x, piece) for x in (line_t, line_p, near_t, near_p))
        r_t, r_p = on_t * d_t, on_p * d_p * p  # radii
        thin_t, thin_p = (_inverse(px, d, on, power) for d, on in ((d_t, on_t), (d_p, on_p)))
        thin_p = thin_p * skeleton
        either_p, either_t = xp.where(r_t > 0, r_t, r_p), xp.where(r_p > 0, r_p, r_t)
        return [thin_p * d_t, thin_p * either_p, thin_t * d_p * p, thin_t * either_t]

    return dict(zip(OVERLAPS, sums_of_pieces(px, iterations, terms), strict=True))


def _inverse(px: Pixels, radius: Array, on: Array, power: int) -> Array:
    """1 / radius^power on the skeleton, 0 elsewhere."""
    xp = px.xp
    inside = (on > 0) & (radius > 0)
    return xp.where(inside, 1.0 / xp.where(inside, radius, xp.ones_like(radius)) ** power, xp.zeros_like(radius))


@takes(lambda **_: OVERLAPS)
def cbdice(S: Sums, *, smooth: float = 0.0, **_: object) -> Array:
    """As `cldice`, with radii (Shi 2024, Eqs. 6-9)."""
    return cldice(S, smooth=smooth)
