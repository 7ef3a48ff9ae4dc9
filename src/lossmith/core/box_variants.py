"""Box losses that change IoU, DIoU or CIoU: other penalties, powers, weights, sizes, and a distance of Gaussians."""

import math

from lossmith.core.box import distance, penalties, power_from_zero, squares
from lossmith.core.boxes import MARGIN, Overlap, Pair, overlap, upright
from lossmith.core.namespaces import Array
from lossmith.core.stable import divide

WEIGHT_GRADIENTS = ("constant", "full")


@upright
def eiou(pair: Pair) -> Array:
    """DIoU + (difference of widths / width of the hull)^2 + the same for heights."""
    return _efficient(pair, overlap(pair))


@upright
def siou(pair: Pair, *, theta: float = 4.0) -> Array:
    """1 - IoU + (distance cost, led by the angle cost, + shape cost) / 2."""
    xp, found, shift = pair.xp, overlap(pair), pair.shift()
    x, y = xp.unstack(shift)
    # 1 - 2 sin^2(arcsin s - pi/4) with s the sine of the angle to an axis: the sine of twice the angle.
    squared = x * x + y * y
    squared = xp.where(squared < MARGIN * xp.floor(squared), xp.zeros_like(squared), squared)
    angle = divide(xp, 2.0 * xp.abs(x * y), squared)
    step = pair.ratio(shift, found.hull(pair))
    apart = xp.sum(-xp.expm1((angle - 2.0) * (step * step)), axis=0)
    size, target_size = pair.size, pair.target_size
    change = pair.ratio(xp.abs(size - target_size), xp.maximum(size, target_size))
    shape = xp.sum(power_from_zero(pair, -xp.expm1(-change), theta), axis=0)
    return found.loss + 0.5 * (apart + shape)


@upright
def alpha_iou(pair: Pair, *, alpha: float = 3.0, form: str = "iou") -> Array:
    """1 - IoU^alpha, and each penalty of the form to the power alpha."""
    found = overlap(pair)
    loss = 1.0 - power_from_zero(pair, 1.0 - found.loss, alpha)
    for penalty in penalties(pair, found, form):
        loss = loss + power_from_zero(pair, penalty, alpha)
    return loss


@upright
def focal_eiou(pair: Pair, *, gamma: float = 0.5, gradient: str = "constant") -> Array:
    """IoU^gamma times EIoU."""
    found = overlap(pair)
    weight = power_from_zero(pair, 1.0 - found.loss, gamma)
    return (weight if gradient == "full" else pair.xp.stop_gradient(weight)) * _efficient(pair, found)


@upright
def mpdiou(pair: Pair, *, image_size: tuple[float, float]) -> Array:
    """1 - IoU + squared distances of the two corners over the squared diagonal of the image."""
    width, height = image_size
    share = pair.unit / math.hypot(width, height)
    first, second = pair.low - pair.target_low, pair.high - pair.target_high
    return overlap(pair).loss + (squares(pair, share * first) + squares(pair, share * second))


@upright
def inner_iou(pair: Pair, *, ratio: float = 0.75, form: str = "iou") -> Array:
    """The loss of the form with the IoU of both boxes scaled by `ratio` about their centres."""
    margin, target_margin = 0.5 * (1.0 - ratio) * pair.size, 0.5 * (1.0 - ratio) * pair.target_size
    scaled = pair.moved(
        pair.low + margin,
        pair.high - margin,
        pair.target_low + target_margin,
        pair.target_high - target_margin,
    )
    loss = overlap(scaled).loss
    for penalty in penalties(pair, overlap(pair), form) if form != "iou" else []:
        loss = loss + penalty
    return loss


@upright
def wiou(pair: Pair) -> Array:
    """Version 1: (1 - IoU) exp(squared distance of the centres / squared diagonal of the hull, a constant)."""
    found = overlap(pair)
    diagonal = pair.xp.stop_gradient(squares(pair, found.hull(pair)))
    return found.loss * pair.xp.exp(pair.ratio(squares(pair, pair.shift()), diagonal))


def nwd(pair: Pair, *, constant: float = 12.8) -> Array:
    """1 - exp(-W / C), with W the Wasserstein distance of the Gaussians that the boxes stand for."""
    xp = pair.xp
    squared = squares(pair, pair.shift()) + squares(pair, 0.5 * (pair.size - pair.target_size))
    same = squared <= 0
    root = xp.sqrt(xp.where(same, xp.ones_like(squared), squared))
    return -xp.expm1(xp.where(same, xp.zeros_like(root), root) / -constant)


def _efficient(pair: Pair, found: Overlap) -> Array:
    change = pair.ratio(pair.size - pair.target_size, found.hull(pair))
    return found.loss + distance(pair, found) + squares(pair, change)
