"""PyTorch: the soft skeleton of `core/topology.py` and its gradient, level by level in memory that all levels share.

A level takes x to its erosion e, and adds what an opening takes off, r = relu(x - dilate(e)), to the skeleton:
s + (1 - s) r. The gradient walks from the last level to the first. It needs x, e and s of each, and computes them anew,
one stretch of levels at a time. Extremes of three neighbours are made of those of pairs; of equal values the first has
the gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lossmith.core.namespaces.pieces import plain
from lossmith.core.namespaces.skeleton_back import Back, Level, Lines, of_pairs, windows


def soft_skeleton(
    f: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, valid: Tensor | None, levels: int, keep: int
) -> Tensor:
    """See `Namespace.soft_skeleton`."""
    if not plain(x) or x.numel() == 0 or min(x.shape[2:]) < 3:
        return f(x, valid)
    return _SoftSkeleton.apply(f, x, valid, levels, keep)  # type: ignore[no-untyped-call,no-any-return]


class _SoftSkeleton(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f: Callable[..., Tensor], x: Tensor, valid: Tensor | None, levels: int, keep: int) -> Tensor:
        ctx.f, ctx.levels, ctx.keep = f, levels, keep
        ctx.save_for_backward(x, valid)
        maps, there = _maps(x, valid)
        return _Forth(maps, there).through(Lines(maps), None, levels)[1].view(x.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None, None, None]:
        (x, valid), (g,) = ctx.saved_tensors, gradients
        if torch.is_grad_enabled():
            (found,) = torch.autograd.grad(ctx.f(x, valid), x, g, create_graph=True)
            return None, found, None, None, None
        maps, there = _maps(x, valid)
        back = Back(there, g.flatten(0, 1))
        for level in _downwards(maps, there, stretches(ctx.levels, ctx.keep)):
            back.step(level)
        return None, back.of_x.view(x.shape), None, None, None


def _maps(x: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Both as (n k, *space)."""
    return x.flatten(0, 1), None if valid is None else valid.expand_as(x).flatten(0, 1)


def stretches(levels: int, keep: int) -> list[int]:
    """Where to cut the levels, so that no more than `keep` arrays are kept, if that can be.

    Two arrays are kept for every level of a stretch, and two for each stretch before it: the later, the shorter.
    """

    def most(count: int) -> int:
        return -(-(levels + count * (count - 1) // 2) // count)

    counts = range(1, levels + 1)
    count = next((count for count in counts if 2 * most(count) <= keep), min(counts, key=most))
    cuts = [0]
    for number in range(count):
        cuts.append(min(levels, cuts[-1] + most(count) - number))
    return cuts


class _Forth:
    """Levels from the first to the last."""

    def __init__(self, like: Tensor, valid: Tensor | None) -> None:
        self.valid, self.bare = valid, None if valid is None else 1 - valid
        self.one = like.new_ones(())
        self.ridge, self.spare = Lines(torch.empty_like(like)), torch.empty_like(like)
        self.pairs = of_pairs(self.spare)

    def step(self, level: Level, skeleton: Tensor | None) -> None:
        """Fill in the erosion, and the skeleton if it is asked for."""
        self._erode(self._masked(level.x, self.bare), level.eroded)
        if skeleton is None:
            return
        self._dilate(self._masked(level.eroded, None))
        ridge = torch.sub(level.x.x, self.ridge.x, out=self.ridge.x).clamp_min_(0)
        if level.before is None:
            skeleton.copy_(ridge)
        else:
            torch.add(level.before, torch.sub(self.one, level.before, out=self.spare).mul_(ridge), out=skeleton)

    def through(self, x: Lines, before: Tensor | None, count: int) -> tuple[Lines, Tensor]:
        """x and skeleton after so many levels, in memory of their own."""
        spare = [Lines(torch.empty_like(self.spare)) for _ in range(2)]
        skeleton = torch.empty_like(self.spare)
        for number in range(count):
            self.step(Level(x, spare[number % 2], before), skeleton)
            x, before = spare[number % 2], skeleton
        return x, skeleton

    def _masked(self, x: Lines, bare: Tensor | None) -> Lines:
        if self.valid is None:
            return x
        torch.mul(x.x, self.valid, out=self.ridge.x)
        if bare is not None:
            self.ridge.x.add_(bare)
        return self.ridge

    def _erode(self, x: Lines, out: Lines) -> None:
        *others, last = self.pairs
        torch.minimum(x.low[last], x.high[last], out=self.pairs[last].x)
        windows(self.pairs[last], last, torch.minimum, out)
        for axis in others:
            pairs = torch.minimum(x.low[axis], x.high[axis], out=self.pairs[axis].x)
            for side in (out.low[axis], out.high[axis]):
                torch.minimum(side, pairs, out=side)

    def _dilate(self, x: Lines) -> None:
        for axis, pairs in self.pairs.items():
            torch.maximum(x.low[axis], x.high[axis], out=pairs.x)
            windows(pairs, axis, torch.maximum, self.ridge)
            x = self.ridge


def _downwards(x: Tensor, valid: Tensor | None, cuts: Sequence[int]) -> Iterator[Level]:
    """The levels from the last to the first. What is kept: where stretches begin, and the stretch at hand."""
    forth = _Forth(x, valid)
    begun: list[tuple[Lines, Tensor | None]] = [(Lines(x), None)]
    for low, high in pairwise(cuts[:-1]):
        begun.append(forth.through(*begun[-1], high - low))
    for low, high in reversed(list(pairwise(cuts))):
        below, before = begun.pop()
        stretch = []
        for number in range(low, high):
            level = Level(below, Lines(torch.empty_like(x)), before)
            after = torch.empty_like(x) if number < high - 1 else None
            forth.step(level, after)
            stretch.append(level)
            below, before = level.eroded, after
        while stretch:
            yield stretch.pop()
