"""The view that box losses take of a batch: its door, the geometry of pairs of boxes, and their mean.

A box is (x1, y1, x2, y2), of three axes (x1, y1, z1, x2, y2, z2). A loss has one value for each pair of boxes.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce, wraps
from operator import mul
from typing import Concatenate, NamedTuple, ParamSpec

from lossmith.core.flaws import any_of, flagged, found
from lossmith.core.namespaces import Array, Namespace
from lossmith.core.records.record import Record
from lossmith.core.reduce import times_of
from lossmith.core.stable import divide
from lossmith.core.words import TORCH, Words
from lossmith.errors import must

P = ParamSpec("P")
MARGIN = 2.0**10  # how far products stay from the smallest normal number


class Pair(NamedTuple):
    """Predicted and target boxes, coordinate by coordinate: arrays (axes, *boxes); made by `pair_up`.

    size: width and height. careful: a size may be 0 or inverted, so that a denominator may vanish. extreme: it may also
    be so small or large that products of sizes are out of range. Where the values can be read and all boxes are of a
    usual size, the plain formulas do. unit: what a length of 1 is in the boxes' own.
    """

    xp: Namespace
    low: Array
    high: Array
    target_low: Array
    target_high: Array
    size: Array
    target_size: Array
    careful: bool = False
    extreme: bool = False
    unit: Array | float = 1.0

    @property
    def tiny(self) -> Array:
        """The least length that counts in extreme boxes: products and inverses of such are well inside of the range."""
        floor = MARGIN * self.xp.floor(self.low)
        return self.xp.maximum(floor / self.unit, floor ** (1 / self.low.shape[0]))

    def shift(self) -> Array:
        """From the centre of the target to the centre of the prediction."""
        return 0.5 * ((self.low - self.target_low) + (self.high - self.target_high))

    def ratio(self, numerator: Array, denominator: Array, otherwise: float = 0.0) -> Array:
        """A quotient whose denominator is 0 only where a box has no size."""
        return divide(self.xp, numerator, denominator, otherwise) if self.careful else numerator / denominator

    def moved(self, low: Array, high: Array, target_low: Array, target_high: Array) -> "Pair":
        """Other boxes that are to be looked at in the same way."""
        return pair_up(self.xp, low, high, target_low, target_high)._replace(
            careful=self.careful, extreme=self.extreme, unit=self.unit
        )

    def normal(self, x: Array) -> Array:
        """Lengths in a unit of their own, of about the longest, where those that matter may be out of range."""
        if not self.extreme:
            return x
        longest = self.xp.amax(self.xp.abs(self.xp.stop_gradient(x)), axis=0)
        return x / self.xp.power_of_two(self.xp.maximum(longest, MARGIN * self.xp.floor(x)))

    def levelled(self) -> "Pair":
        """In units of about the hull's longest side, a power of two; sides that are tiny are shrunk to their middle."""
        xp = self.xp
        # A quarter, since a difference of the greatest numbers has no number.
        ends = [0.25 * xp.stop_gradient(x) for x in (self.low, self.high, self.target_low, self.target_high)]
        highest = xp.maximum(xp.maximum(ends[0], ends[1]), xp.maximum(ends[2], ends[3]))
        longest = xp.amax(highest - xp.minimum(xp.minimum(ends[0], ends[1]), xp.minimum(ends[2], ends[3])), axis=0)
        longest = xp.where(longest > 0, longest, xp.ones_like(longest))
        pair = self._replace(unit=xp.power_of_two(xp.maximum(longest, MARGIN * xp.floor(longest))))
        sides = []
        for low, high in ((self.low, self.high), (self.target_low, self.target_high)):
            low, high = low / pair.unit, high / pair.unit
            short, middle = (high > low) & (high - low < pair.tiny), 0.5 * (low + high)
            sides += [xp.where(short, middle, low), xp.where(short, middle, high)]
        return pair.moved(*sides)

    def upright(self) -> tuple["Pair", Array]:
        """With each inverted side of a prediction shrunk to its middle, and what the inversion costs.

        The cost is the overshoot x1 - x2 over itself plus the hull's side, summed over the axes: 0 where x1 = x2,
        below 1 for an axis, and its gradient turns the box round.
        """
        xp, inverted = self.xp, self.size < 0
        overshoot = xp.where(inverted, -self.size, xp.zeros_like(self.size))
        middle = 0.5 * (self.low + self.high)
        low, high = xp.where(inverted, middle, self.low), xp.where(inverted, middle, self.high)
        hull = xp.maximum(high, self.target_high) - xp.minimum(low, self.target_low)
        pair = self.moved(low, high, self.target_low, self.target_high)
        return pair, xp.sum(divide(xp, overshoot, hull + overshoot), axis=0)


def pair_up(xp: Namespace, low: Array, high: Array, target_low: Array, target_high: Array) -> Pair:
    """Boxes and their sizes."""
    return Pair(xp, low, high, target_low, target_high, high - low, target_high - target_low)


class Overlap(NamedTuple):
    """How two boxes lie on one another: arrays (*boxes), `reach` (axes, *boxes).

    reach: how far they lie on one another along each axis, below 0 where they are apart. loss is 1 - IoU, computed as
    the area outside of the intersection over the union: no digits are lost near 0, and it is never negative.
    """

    loss: Array
    intersection: Array
    union: Array
    reach: Array

    def hull(self, pair: Pair) -> Array:
        """Width and height of the smallest box that holds both."""
        hull = (pair.size - self.reach) + pair.target_size
        return pair.xp.where(hull < pair.tiny, pair.xp.zeros_like(hull), hull) if pair.extreme else hull


def overlap(pair: Pair) -> Overlap:
    """Intersection over union of upright boxes.

    Two empty boxes have IoU 1 where they are the same, else 0.
    """
    xp, size, target_size = pair.xp, pair.size, pair.target_size
    reach = xp.minimum(pair.high, pair.target_high) - xp.maximum(pair.low, pair.target_low)
    if pair.extreme:
        reach = xp.where((reach > 0) & (reach < pair.tiny), xp.zeros_like(reach), reach)
    intersection = volume(xp, xp.maximum(reach, 0.0))
    outside = (volume(xp, size) - intersection) + (volume(xp, target_size) - intersection)
    union = intersection + outside
    loss = pair.ratio(outside, union, otherwise=1.0)
    if pair.careful:
        differ = xp.any((pair.low != pair.target_low) | (pair.high != pair.target_high), axis=0)
        loss = xp.where((union <= 0) & ~differ, xp.zeros_like(loss), loss)
    return Overlap(loss, intersection, union, reach)


def minus_log_iou(pair: Pair, found: Overlap) -> Array:
    """-log IoU, exact near 1; where boxes are apart the -log of the smallest normal number."""
    xp, loss = pair.xp, found.loss
    far = loss > 0.5
    near = -xp.log1p(-xp.where(far, xp.zeros_like(loss), loss))
    floor = xp.floor(loss)
    iou = pair.ratio(found.intersection, found.union)
    apart = (iou < floor) | (found.intersection < MARGIN * floor)  # or so little that its inverse has no number
    iou = xp.where(apart, xp.zeros_like(iou) + floor, iou)
    return xp.where(far, -xp.log(iou), near)


def volume(xp: Namespace, size: Array) -> Array:
    """The product over the axes."""
    product: Array = reduce(mul, xp.unstack(size))
    return product


def upright(definition: Callable[Concatenate[Pair, P], Array]) -> Callable[Concatenate[Pair, P], Array]:
    """Let a definition see boxes of a size that it can compute with, not inverted, and add what an inversion costs."""

    @wraps(definition)
    def complete(pair: Pair, /, *args: P.args, **kwargs: P.kwargs) -> Array:
        if not pair.careful:
            return definition(pair, *args, **kwargs)
        pair = pair.levelled() if pair.extreme else pair
        if pair.xp.read(pair.xp.any(pair.size < 0)) is False:
            return definition(pair, *args, **kwargs)
        turned, cost = pair.upright()
        return definition(turned, *args, **kwargs) + cost

    return complete


def box_loss(
    xp: Namespace,
    record: Record,
    pred: Array,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    words: Words = TORCH,
    **parameters: object,
) -> Array:
    """Check a batch, and reduce a loss's values: the path that every framework's face takes.

    Shapes: pred and target (*boxes, 4), with 3 among the `axes` also (*boxes, 6); weight (*boxes), how often a box
    counts. Where values may be read, bad ones raise; elsewhere (traces, accelerators) they make the loss NaN. words:
    what errors call these arguments.
    """
    _check(xp, pred, target, weight, record.axes, words)
    pred = xp.wide(pred)
    (low, high), (target_low, target_high) = xp.corners(pred), xp.corners(xp.astype(target, pred))
    flaws: list[Array | None] = []
    if weight is not None:
        weight = xp.astype(weight, pred)
        wrong = xp.any(~(weight >= 0) | (weight == math.inf))
        flaws.append(found(xp, wrong, f"{words.weight} must be finite and >= 0 everywhere; got other values"))
        ignored = weight == 0
        zero, one = xp.zeros_like(low), xp.ones_like(low)
        low, target_low = xp.where(ignored, zero, low), xp.where(ignored, zero, target_low)
        high, target_high = xp.where(ignored, one, high), xp.where(ignored, one, target_high)
    pair = pair_up(xp, low, high, target_low, target_high)
    if not record.coded and not _usual(pair):
        pair = pair._replace(careful=True, extreme=not _usual(pair, with_none=True))
        inverted = xp.any(pair.target_size < 0)
        message = f"{words.target} must hold boxes with x1 <= x2 on every axis; got inverted boxes"
        flaws.append(found(xp, inverted, message))
    return flagged(xp, any_of(xp, flaws), _reduce(xp, record.definition(pair, **parameters), weight, reduction))


def _usual(pair: Pair, *, with_none: bool = False) -> bool:
    """Whether products of four lengths are known to be inside of the range, as an angle and its slope take them.

    with_none: sizes may also be 0 or inverted.
    """
    xp, least = pair.xp, 4 * pair.xp.floor(pair.low) ** 0.25
    most = 1 / least
    sizes = [xp.stop_gradient(size) for size in (pair.size, pair.target_size)]
    if with_none:
        sizes = [xp.where(size == 0, xp.ones_like(size), xp.abs(size)) for size in sizes]
    if any(xp.outside(size, least, most) is not False for size in sizes):
        return False
    return all(xp.outside(xp.stop_gradient(x), -most, most) is False for x in (pair.low, pair.target_low))


def _check(xp: Namespace, pred: Array, target: Array, weight: Array | None, axes: Sequence[int], words: Words) -> None:
    shape = tuple(pred.shape)
    if not shape or shape[-1] not in [2 * n for n in axes]:
        raise ValueError(must(words.pred, "of shape " + " or ".join(f"(..., {2 * n})" for n in axes), shape))
    for name, array, expected in ((words.target, target, shape), (words.weight, weight, shape[:-1])):
        if array is not None and tuple(array.shape) != expected:
            got = tuple(array.shape)
            raise ValueError(f"{name} must be of shape {expected} for {words.pred} of shape {shape}; got {got}")
    if xp.kind(pred) != "real":
        raise TypeError(must(words.pred, "floating point", str(pred.dtype)))
    if xp.kind(target) not in ("real", "integer"):
        raise TypeError(must(words.target, "of an integer or floating dtype", str(target.dtype)))
    if weight is not None and xp.kind(weight) == "other":
        raise TypeError(must(words.weight, "of an integer, bool or floating dtype", str(weight.dtype)))


def _reduce(xp: Namespace, loss: Array, weight: Array | None, reduction: str) -> Array:
    """The one mean of `reduce.py`, over boxes."""
    if weight is not None:
        loss = times_of(xp, weight, loss)
    if reduction == "none":
        return loss
    if reduction == "sum" or 0 in loss.shape:
        return xp.sum(loss)
    return xp.mean(loss) if weight is None else divide(xp, xp.sum(loss), xp.sum(weight))
