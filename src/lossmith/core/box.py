"""Box losses: distances of coordinates, and overlap with what was added to it, in the order of their papers."""

import math

from lossmith.core.boxes import Overlap, Pair, minus_log_iou, overlap, upright, volume
from lossmith.core.namespaces import Array
from lossmith.core.stable import divide, power

FORMS = ("linear", "log", "square")
PENALTIES = ("iou", "giou", "diou", "ciou")
GRADIENTS = ("constant", "full", "published")


def l1(pair: Pair) -> Array:
    """The sum of |difference| over the coordinates."""
    xp = pair.xp
    return xp.sum(xp.abs(pair.low - pair.target_low) + xp.abs(pair.high - pair.target_high), axis=0)


def smooth_l1(pair: Pair, *, beta: float = 1.0) -> Array:
    """The sum over the coordinates of d^2 / (2 beta) where d < beta, else d - beta / 2."""
    xp = pair.xp

    def side(difference: Array) -> Array:
        d = xp.abs(difference)
        return xp.where(d < beta, difference * difference / (2.0 * beta), d - 0.5 * beta)

    return xp.sum(side(pair.low - pair.target_low) + side(pair.high - pair.target_high), axis=0)


@upright
def iou(pair: Pair, *, form: str = "linear") -> Array:
    """1 - IoU, -log IoU (UnitBox), or 1 - IoU^2."""
    found = overlap(pair)
    if form == "log":
        return minus_log_iou(pair, found)
    return found.loss if form == "linear" else found.loss * (2.0 - found.loss)


@upright
def giou(pair: Pair) -> Array:
    """1 - IoU + (C - U) / C, with the hull C of both boxes."""
    found = overlap(pair)
    return found.loss + gap(pair, found)


@upright
def diou(pair: Pair) -> Array:
    """1 - IoU + (distance of the centres / diagonal of the hull)^2."""
    found = overlap(pair)
    return found.loss + distance(pair, found)


@upright
def ciou(pair: Pair, *, gradient: str = "constant", threshold: float = 0.0) -> Array:
    """DIoU + alpha v, with v for the aspect ratio."""
    found = overlap(pair)
    return found.loss + distance(pair, found) + aspect(pair, found, gradient=gradient, threshold=threshold)


def gap(pair: Pair, found: Overlap) -> Array:
    """The part of the hull that is in neither box."""
    hull = volume(pair.xp, found.hull(pair))
    return pair.ratio(hull - found.union, hull)


def distance(pair: Pair, found: Overlap) -> Array:
    """The squared distance of the centres over the squared diagonal of the hull."""
    return pair.ratio(squares(pair, pair.shift()), squares(pair, found.hull(pair)))


def squares(pair: Pair, x: Array) -> Array:
    """The squared length of a vector of the axes."""
    return pair.xp.sum(x * x, axis=0)


def aspect(pair: Pair, found: Overlap, *, gradient: str = "constant", threshold: float = 0.0) -> Array:
    """CIoU's alpha v: v = (2 / pi times the angle between the diagonals)^2, alpha = v / (1 - IoU + v)."""
    xp = pair.xp
    width, height = xp.unstack(pair.normal(pair.size))
    target_width, target_height = xp.unstack(pair.normal(pair.target_size))
    # atan(w' / h') - atan(w / h) as one angle: exactly 0 for equal aspects, and defined for empty boxes.
    along = target_width * width + target_height * height
    if pair.careful:  # atan2 has no slope at (0, 0)
        along = xp.maximum(along, math.sqrt(xp.floor(along)))
    angle = xp.atan2(target_width * height - target_height * width, along)
    if gradient == "published":
        constant = xp.stop_gradient(angle)
        angle = constant + (angle - constant) * xp.stop_gradient(squares(pair, pair.unit * pair.size))
    v = (4.0 / math.pi**2) * (angle * angle)
    loss, factor = (found.loss, v) if gradient == "full" else (xp.stop_gradient(found.loss), xp.stop_gradient(v))
    alpha = divide(xp, factor, loss + factor)
    if threshold > 0:
        alpha = xp.where(1.0 - loss < threshold, xp.zeros_like(alpha), alpha)
    return alpha * v


def penalties(pair: Pair, found: Overlap, form: str) -> list[Array]:
    """What IoU, GIoU, DIoU or CIoU add to 1 - IoU."""
    if form == "giou":
        return [gap(pair, found)]
    if form == "iou":
        return []
    return [distance(pair, found), *([aspect(pair, found)] if form == "ciou" else [])]


def power_from_zero(pair: Pair, x: Array, exponent: float) -> Array:
    """x**exponent for x >= 0, exactly 0 at 0 and with a finite slope there."""
    if exponent == 0:
        return pair.xp.ones_like(x)
    return pair.xp.where(x <= 0, pair.xp.zeros_like(x), power(pair.xp, x, exponent))
