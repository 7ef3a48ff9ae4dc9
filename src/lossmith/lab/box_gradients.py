"""Gradients of box losses in (x, y, w, h): the exact ones, and those of the code that was published with DIoU.

Boxes are (N, 4) and lie where the centre of their target is (0, 0), so that targets are (0, 0, w, h).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lossmith.core.spec import parse_spec
from lossmith.errors import must, suggest
from lossmith.torch import BoxLoss

Gradient = Callable[[Tensor, Tensor], Tensor]

# These compare coordinates, whatever they stand for; all others need corners.
OF_COORDINATES = ("box_l1", "box_smooth_l1")


def corners(boxes: Tensor) -> Tensor:
    """(x, y, w, h) as (x1, y1, x2, y2)."""
    centre, half = boxes[:, :2], 0.5 * boxes[:, 2:]
    return torch.cat([centre - half, centre + half], dim=1)


def box_loss(spec: str) -> BoxLoss:
    """The one box loss that a spec names."""
    terms = parse_spec(spec)
    name = terms[0].atom.name
    if len(terms) != 1 or terms[0].coefficient != 1 or name not in BoxLoss.registry:
        known = ", ".join(BoxLoss.registry)
        raise ValueError(must("loss", f"one of {known}, with its parameters", spec) + suggest(name, BoxLoss.registry))
    loss = BoxLoss.registry[name]
    return loss(**{**terms[0].atom.arguments, "reduction": "mean"})


def exact(loss: BoxLoss) -> Gradient:
    """The gradient by automatic differentiation; L1 and smooth L1 see (x, y, w, h), the others corners."""
    frame = _same if loss.record.name in OF_COORDINATES else corners

    def gradient(boxes: Tensor, targets: Tensor) -> Tensor:
        with torch.enable_grad():
            boxes = boxes.detach().requires_grad_()
            total = len(boxes) * loss(frame(boxes), frame(targets))
            return torch.autograd.grad(total, boxes)[0]

    return gradient


def _same(boxes: Tensor) -> Tensor:
    return boxes


class _Geometry(NamedTuple):
    """What the published code computes of two boxes: (N, 2), along x and y; `apart` (N, 1).

    reach: the sides of the intersection, below 0 where boxes are apart. inside: 1 where the low, the high side of the
    prediction is one of the intersection; outside: where it is one of the hull.
    """

    size: Tensor
    target_size: Tensor
    reach: Tensor
    hull: Tensor
    apart: Tensor
    inside: tuple[Tensor, Tensor]
    outside: tuple[Tensor, Tensor]

    @property
    def intersection(self) -> Tensor:
        """Without a clamp: two sides below 0 make an area above 0."""
        return _area(self.reach)

    def union(self, intersection: Tensor) -> Tensor:
        """The sum of the areas without the intersection."""
        return _area(self.size) + _area(self.target_size) - intersection


def _geometry(boxes: Tensor, targets: Tensor) -> _Geometry:
    centre, size, target_size = boxes[:, :2], boxes[:, 2:], targets[:, 2:]
    low, high = centre - 0.5 * size, centre + 0.5 * size
    target_low, target_high = -0.5 * target_size, 0.5 * target_size
    reach = torch.minimum(high, target_high) - torch.maximum(low, target_low)
    hull = torch.maximum(high, target_high) - torch.minimum(low, target_low)
    apart = (reach <= 0).any(dim=1, keepdim=True)
    inside = (low > target_low).to(size), (high < target_high).to(size)
    outside = (low < target_low).to(size), (high > target_high).to(size)
    return _Geometry(size, target_size, reach, hull, apart, inside, outside)


def _area(sides: Tensor) -> Tensor:
    return sides[:, :1] * sides[:, 1:]


def iou_of(boxes: Tensor, targets: Tensor) -> Tensor:
    """IoU (N, 1)."""
    found = _geometry(boxes, targets)
    ratio = found.intersection / found.union(found.intersection)
    return torch.where(found.apart, torch.zeros_like(ratio), ratio)


class _Slopes(NamedTuple):
    """Derivatives in the low and the high side of the prediction: (N, 2) each."""

    low: Tensor
    high: Tensor

    def to_sizes(self) -> Tensor:
        """In (x, y, w, h) as to_xywh.m has it: w and h without the factor 1/2."""
        return torch.cat([self.low + self.high, self.high - self.low], dim=1)


def _quotient(over: tuple[Tensor, _Slopes], under: tuple[Tensor, _Slopes]) -> _Slopes:
    """The derivative of a quotient."""
    (a, da), (b, db) = over, under
    low, high = ((b * x - a * y) / (b * b) for x, y in zip(da, db, strict=True))
    return _Slopes(low, high)


def _areas(g: _Geometry, *, clamp: bool) -> tuple[tuple[Tensor, _Slopes], tuple[Tensor, _Slopes]]:
    """Intersection and union with their derivatives (dIbox.m, dUbox.m)."""
    across, tall = g.reach.flip(1), g.size.flip(1)
    intersection, low, high = g.intersection, -g.inside[0] * across, g.inside[1] * across
    if clamp:
        intersection, low, high = (torch.where(g.apart, torch.zeros_like(x), x) for x in (intersection, low, high))
    return (intersection, _Slopes(low, high)), (g.union(intersection), _Slopes(-tall - low, tall - high))


def _iou(g: _Geometry) -> _Slopes:
    """dIOU.m: 0 where boxes are apart."""
    slopes = _quotient(*_areas(g, clamp=False))
    low, high = (torch.where(g.apart, torch.zeros_like(x), x) for x in slopes)
    return _Slopes(low, high)


def published_iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """dIOU.m and to_xywh.m."""
    return -_iou(_geometry(boxes, targets)).to_sizes()


def published_giou(boxes: Tensor, targets: Tensor, *, clamp: bool = False) -> Tensor:
    """dGIOU.m and to_xywh.m; `clamp` makes the intersection of boxes that are apart 0."""
    g = _geometry(boxes, targets)
    across = g.hull.flip(1)
    hull = _area(g.hull), _Slopes(-g.outside[0] * across, g.outside[1] * across)
    filled = _quotient(_areas(g, clamp=clamp)[1], hull)
    return -_iou(g).to_sizes() - filled.to_sizes()


def published_diou(boxes: Tensor, targets: Tensor) -> Tensor:
    """dDIOU.m.

    Both sides of the hull are derived by the position and the size along x, and both by those along y; where the
    prediction encloses the target along an axis, the slope of the hull's own side in the size is -1; in x and y the
    hull's part has the sign that shortens the diagonal.
    """
    g, centre = _geometry(boxes, targets), boxes[:, :2]
    (low, high), whole = g.outside, g.hull.sum(dim=1, keepdim=True)
    squared, diagonal = (centre**2).sum(dim=1, keepdim=True), (g.hull**2).sum(dim=1, keepdim=True)
    moves = 2 * whole * (high - low)
    grows = whole * (high + low) - 4 * g.hull * (high * low)
    nearer = torch.cat([-2 * centre * diagonal - moves * squared, grows * squared], dim=1) / diagonal**2
    return published_iou(boxes, targets) - nearer


def published_ciou(boxes: Tensor, targets: Tensor) -> Tensor:
    """dCIOU.m: the slope of v without 1 / (w^2 + h^2), as the paper says."""
    size, target_size = boxes[:, 2:], targets[:, 2:]
    angle = torch.atan(target_size[:, :1] / target_size[:, 1:]) - torch.atan(size[:, :1] / size[:, 1:])
    v = 4 / math.pi**2 * angle**2
    alpha = v / (1 - iou_of(boxes, targets) + v + 1e-7)
    turn = 8 / math.pi**2 * alpha * angle
    width, height = turn * size[:, 1:], -turn * size[:, :1]
    return published_diou(boxes, targets) - torch.cat([torch.zeros_like(size), width, height], dim=1)


PUBLISHED: dict[str, Gradient] = {
    "box_iou": published_iou,
    "giou": published_giou,
    "diou": published_diou,
    "ciou": published_ciou,
}
# With the one repair: what it alone changes.
CLAMPED: dict[str, Gradient] = {"giou": partial(published_giou, clamp=True)}
