"""PyTorch: the gradient of soft skeletons, see `skeleton.py`, and what both directions stand on.

A level is looked at by slabs of rows, so that what it takes stays in the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

SLAB = 2**16  # elements that a level of the backward pass looks at together


class Lines:
    """An array (n, *space) and, for each axis of space, its parts: views cost as much as a small operation."""

    def __init__(self, x: Tensor, axes: Sequence[int] | None = None) -> None:
        self.x = x
        axes = range(1, x.ndim) if axes is None else axes
        sizes = {axis: x.shape[axis] for axis in axes}
        self.low = {axis: x.narrow(axis, 0, n - 1) for axis, n in sizes.items()}
        self.high = {axis: x.narrow(axis, 1, n - 1) for axis, n in sizes.items()}
        self.inner = {axis: x.narrow(axis, 1, n - 2) for axis, n in sizes.items() if n > 2}
        self.ends = {axis: (x.narrow(axis, 0, 1), x.narrow(axis, n - 1, 1)) for axis, n in sizes.items()}


def of_pairs(x: Tensor) -> dict[int, Lines]:
    """Room in `x` for the pairs of neighbours along each axis."""
    return {axis: Lines(x.narrow(axis, 0, x.shape[axis] - 1), [axis]) for axis in range(1, x.ndim)}


def windows(pairs: Lines, axis: int, extreme: Any, out: Lines) -> None:
    """The extremes of three neighbours along an axis, from those of pairs."""
    extreme(pairs.low[axis], pairs.high[axis], out=out.inner[axis])
    for end, pair in zip(out.ends[axis], pairs.ends[axis], strict=True):
        end.copy_(pair)


@dataclass(frozen=True)
class Level:
    """What a level begins with, x and the skeleton so far (None: nothing), and the erosion of x."""

    x: Lines
    eroded: Lines
    before: Tensor | None


class Back:
    """Levels from the last to the first. of_x: the gradient of what the last of them began with."""

    def __init__(self, valid: Tensor | None, of_skeleton: Tensor) -> None:
        self.valid = valid
        self.of_skeleton = of_skeleton.clone(memory_format=torch.contiguous_format)
        self.of_x, self.spare = torch.zeros_like(self.of_skeleton), torch.empty_like(self.of_skeleton)
        height, rest = of_skeleton.shape[1], of_skeleton[:, 0].numel()
        count = max(1, min(height // 2, round(height * rest / SLAB)))
        self.cuts = list(pairwise(height * i // count for i in range(count + 1)))
        rows = max(high - low for low, high in self.cuts) + 2
        self.memory = of_skeleton.new_empty(_Room.arrays(of_skeleton.ndim - 1), min(rows, height) * rest)
        self.rooms: dict[int, _Room] = {}

    def step(self, level: Level) -> None:
        """From the gradient of a level's erosion, and of the skeleton after it, to those of what it began with."""
        of_eroded, self.of_x, self.spare = self.of_x, self.spare, self.of_x
        for low, high in self.cuts:
            seen, own, room = self._enter(low, high)
            there = None if self.valid is None else self.valid[:, seen]
            before = None if level.before is None else level.before[:, seen]
            room.dilate(room.masked(level.eroded, seen, there, bare=False))
            room.of_ridge(level.x.x[:, seen], before, self.of_skeleton[:, seen], own)
            self.of_x[:, low:high] = room.g.x[:, own]
            of_eroded[:, seen].sub_(room.through_dilation(there))
        for low, high in self.cuts:
            seen, own, room = self._enter(low, high)
            there = None if self.valid is None else self.valid[:, seen]
            room.erode(room.masked(level.x, seen, there, bare=True))
            room.of_rows(of_eroded[:, seen], own)
            room.through_erosion(there, self.of_x[:, seen])

    def _enter(self, low: int, high: int) -> tuple[slice, slice, "_Room"]:
        """Some rows with those beside them; which of these they are; memory for them."""
        seen = slice(max(0, low - 1), min(self.of_x.shape[1], high + 1))
        rows = seen.stop - seen.start
        if rows not in self.rooms:
            self.rooms[rows] = _Room(self.memory, self.of_x[:, seen].shape)
        return seen, slice(low - seen.start, high - seen.start), self.rooms[rows]


class _Room:
    """Memory for some rows, and what a level does in it."""

    def __init__(self, memory: Tensor, shape: torch.Size) -> None:
        free = iter(memory[:, : shape.numel()].view(-1, *shape))
        axes = range(1, len(shape))
        self.one = memory.new_ones(())
        self.g, self.values, self.line, self.entry = (Lines(next(free)) for _ in range(4))
        self.of_pairs, self.product = of_pairs(next(free)), next(free)
        self.products = of_pairs(self.product)
        self.first = {axis: next(free).narrow(axis, 0, shape[axis] - 1) for axis in axes}
        self.left = {axis: next(free).narrow(axis, 0, shape[axis] - 2) for axis in axes}
        self.smaller = {axis: next(free) for axis in axes[1:]}

    @staticmethod
    def arrays(axes: int) -> int:
        """How many arrays of the rows there are."""
        return 5 + 3 * axes

    def masked(self, x: Lines, seen: slice, there: Tensor | None, *, bare: bool) -> Lines:
        """Rows of x, 1 (`bare`) or 0 at pixels that are not there."""
        rows = x.x[:, seen]
        if there is None:
            return x if rows.shape == x.x.shape else Lines(rows)
        torch.mul(rows, there, out=self.entry.x)
        if bare:
            self.entry.x.add_(torch.sub(self.one, there, out=self.product))
        return self.entry

    def _extremes(self, x: Lines, axis: int, extreme: Any, compare: Any, out: Lines) -> None:
        pairs = self.of_pairs[axis]
        compare(x.low[axis], x.high[axis], out=self.first[axis])
        extreme(x.low[axis], x.high[axis], out=pairs.x)
        compare(pairs.low[axis], pairs.high[axis], out=self.left[axis])
        windows(pairs, axis, extreme, out)

    def dilate(self, x: Lines) -> None:
        """To `values`."""
        for axis in self.first:
            self._extremes(x, axis, torch.maximum, torch.ge, self.values)
            x = self.values

    def erode(self, x: Lines) -> None:
        """No more than which neighbours are the least."""
        self._extremes(x, 1, torch.minimum, torch.le, self.values)
        for axis, smaller in self.smaller.items():
            self._extremes(x, axis, torch.minimum, torch.le, self.line)
            torch.le(self.values.x, self.line.x, out=smaller)
            torch.minimum(self.values.x, self.line.x, out=self.values.x)

    def of_ridge(self, x: Tensor, before: Tensor | None, of_skeleton: Tensor, own: slice) -> None:
        """The gradient of the ridge to `g`; that of the skeleton becomes that of the skeleton before."""
        ridge = torch.sub(x, self.values.x, out=self.values.x).clamp_min_(0)
        g = of_skeleton
        if before is not None:
            g = torch.sub(self.one, before, out=self.product).mul_(g)
        torch.ops.aten.threshold_backward(g, ridge, 0, grad_input=self.line.x)
        self.of_rows(self.line.x, own)
        rows = of_skeleton[:, own]
        rows.sub_(torch.mul(rows, ridge[:, own], out=self.product[:, own]))

    def of_rows(self, g: Tensor, own: slice) -> None:
        """A gradient of the rows' own to `g`; it is 0 beside them."""
        self.g.x[:, own] = g[:, own]
        self.g.x[:, : own.start] = 0
        self.g.x[:, own.stop :] = 0

    def through_dilation(self, there: Tensor | None) -> Tensor:
        """The gradient of what was dilated, from that of the outcome."""
        for axis in reversed(self.first):
            self._through(axis, self.g)
        return self.g.x if there is None else self.g.x.mul_(there)

    def through_erosion(self, there: Tensor | None, of_x: Tensor) -> None:
        """Add to the gradient of what was eroded, from that of the outcome."""
        g, rest = self.g, self.values
        for axis in reversed(self.smaller):
            torch.mul(g.x, self.smaller[axis], out=rest.x)
            torch.sub(g.x, rest.x, out=self.line.x)
            self._add(axis, self.line, there, of_x)
            g, rest = rest, g
        self._add(1, g, there, of_x)

    def _add(self, axis: int, g: Lines, there: Tensor | None, of_x: Tensor) -> None:
        self._through(axis, g)
        of_x.add_(g.x if there is None else g.x.mul_(there))

    def _through(self, axis: int, g: Lines) -> None:
        """From the gradient of windows along an axis to that of values, in place."""
        pairs, product = self.of_pairs[axis], self.products[axis]
        to_left = torch.mul(g.inner[axis], self.left[axis], out=product.low[axis])
        torch.sub(g.inner[axis], to_left, out=pairs.high[axis])
        pairs.ends[axis][0].copy_(g.ends[axis][0])
        pairs.low[axis].add_(to_left)
        pairs.ends[axis][1].add_(g.ends[axis][1])
        to_first = torch.mul(pairs.x, self.first[axis], out=product.x)
        torch.sub(pairs.x, to_first, out=g.high[axis])
        g.ends[axis][0].zero_()
        g.low[axis].add_(to_first)
