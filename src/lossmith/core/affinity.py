"""Sums over the neighbours of every pixel, weighed by how near and how alike they are: ``sum_j k_ij x_j``.

    k_ij = appearance exp(-d_xy^2 / 2 sigma_xy^2 - d_rgb^2 / 2 sigma_rgb^2) + smoothness exp(-d_xy^2 / 2 sigma_xy^2)

for the other pixels j of the window of 2 radius + 1 pixels along each axis of space: k_ii = 0. The sum is linear and
symmetric, so its derivative is the same sum. It goes through half of the window's offsets, each for both of its
directions, and through strips of the image: no array has an entry for every neighbour.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from lossmith.core.namespaces import Array, Namespace

Bounds = Sequence[tuple[int, int]]  # from and to along each axis of space, 0 being the image's first pixel


@dataclass(frozen=True)
class Kernel:
    """How much a neighbour counts, see above."""

    radius: int = 5
    appearance: float = 0.9
    smoothness: float = 0.1
    sigma_xy: float = 6.0
    sigma_rgb: float = 0.1

    def near(self, offset: Sequence[int]) -> float:
        """exp(-d_xy^2 / 2 sigma_xy^2)."""
        return math.exp(-0.5 * sum(o * o for o in offset) / self.sigma_xy**2)


def neighbour_sum(xp: Namespace, kernel: Kernel, image: Array) -> Callable[[Array], Array]:
    """The map from x (n, k, *space) to ``sum_j k_ij x_j``; the image is (n, c, *space)."""
    features = xp.pad(image * (math.sqrt(0.5) / kernel.sigma_rgb), kernel.radius)

    def add_up(x: Array) -> Array:
        return _sum(xp, kernel, features, x)

    return lambda x: xp.symmetric(add_up, x)


def _sum(xp: Namespace, kernel: Kernel, features: Array, x: Array) -> Array:
    space = tuple(x.shape[2:])
    if not math.prod(x.shape) or not space:
        return xp.zeros_like(x)
    rows = max(1, xp.portion(x) * space[0] // math.prod(x.shape))
    padded, rest = xp.pad(x, kernel.radius), [(0, size) for size in space[1:]]
    strips = [
        _strip(xp, kernel, features, padded, [(top, min(top + rows, space[0])), *rest])
        for top in (range(0, space[0], rows) if rows < space[0] else (0,))
    ]
    return strips[0] if len(strips) == 1 else xp.concat(strips, axis=2)


def _strip(xp: Namespace, kernel: Kernel, features: Array, x: Array, strip: Bounds) -> Array:
    """The sum for the pixels of a strip; `features` and `x` have a margin of `radius` around the image."""
    r = kernel.radius
    total = xp.zeros_like(_cut(x, strip, r))
    for offset in product(range(-r, r + 1), repeat=len(strip)):
        if offset <= (0,) * len(strip):
            continue
        # the pairs (i, i + offset) that have an end in the strip: i in it, or i + offset
        first = [(low + min(0, -o), high + max(0, -o)) for (low, high), o in zip(strip, offset, strict=True)]
        ahead = [(low + o, high + o) for (low, high), o in zip(strip, offset, strict=True)]
        behind = [(low - o, high - o) for (low, high), o in zip(strip, offset, strict=True)]
        second = [(low + o, high + o) for (low, high), o in zip(first, offset, strict=True)]
        difference = _cut(features, first, r) - _cut(features, second, r)
        alike = xp.exp(-xp.sum(difference * difference, axis=1, keepdims=True))
        k = kernel.near(offset) * (kernel.appearance * alike + kernel.smoothness)
        start = [-low for low, _ in first]
        total = xp.add_product(total, _cut(k, strip, start), _cut(x, ahead, r))
        total = xp.add_product(total, _cut(k, behind, start), _cut(x, behind, r))
    return total


def _cut(x: Array, bounds: Bounds, margin: int | Sequence[int]) -> Array:
    """The part of `x` within the bounds; the image's first pixel is at `margin` of its axes."""
    margins = [margin] * len(bounds) if isinstance(margin, int) else margin
    inside = (slice(low + m, high + m) for (low, high), m in zip(bounds, margins, strict=True))
    return x[(slice(None), slice(None), *inside)]
