"""The whole batch as `Pixels` for what a loss prepares and finishes, without ever holding what belongs to blocks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lossmith.core.catalogue import Record
from lossmith.core.door import Batch
from lossmith.core.namespaces.torch import xp
from lossmith.core.pixels import Pixels
from lossmith.core.region import names_of
from lossmith.core.stable import log_complement, log_probability
from lossmith.torch.blocks import Place, Scratch
from lossmith.torch.softmax import SoftmaxBlock, open_block

CACHE = (2**16, 2**19)  # elements of a block, least and most: a quarter to two megabytes, what a core's cache holds
SHARE = 8  # the arrays of a block are together at most this part of the batch, so that they do not weigh
DEVICE = 2**24  # elements of a block on an accelerator
SUMS = frozenset({"N", "P", "T", "I"})  # what region losses take at the least
SORTED = 2**19  # elements that are sorted together, where they need not be more


def rows(batch: Batch, size: int, uncut: bool = False) -> list[list[Place]]:
    """The blocks of a batch, those of the same images together: some pixels of one image, or several small images.

    size: elements of a block, about. uncut: no image may be cut.
    """
    images, channels, pixels = batch.scores.shape
    size = min(CACHE[1], max(CACHE[0], size)) if batch.scores.device.type == "cpu" else DEVICE
    if uncut or channels * pixels <= size:
        some = max(1, size // max(1, channels * pixels))
        return [[(slice(n, n + some), slice(0, pixels))] for n in range(0, images, some)]
    some = max(16, size // channels // 16 * 16)
    cuts = [slice(i, min(i + some, pixels)) for i in range(0, pixels, some)]
    return [[(slice(n, n + 1), cut) for cut in cuts] for n in range(images)]


def arrays(batch: Batch, losses: Sequence[tuple[Record, Mapping[str, Any]]]) -> int:
    """How many arrays of a block's size its losses need at a time, about.

    Few where they take only sums and log p_t: the softmax, its gradient, and vectors with one number a pixel.
    """
    mapped = False
    for record, parameters in losses:
        if not record.of_sums:
            few = record.takes_truth_alone(parameters)
            mapped = mapped or record.statistics is None
        else:
            few = record.terms is None and SUMS.issuperset(names_of(record.definition, parameters))
        if not few or not batch.hard or not batch.from_logits:
            return 9
    if batch.task == "multiclass":
        return 3 + 12 // int(batch.scores.shape[1])
    return 11 if mapped else 4 if all(record.of_sums for record, _ in losses) else 6


def fair_share(batch: Batch, arrays: int) -> int:
    """Elements of a block of which so many arrays are alive at a time, that they do not weigh."""
    return int(batch.scores.numel()) // (SHARE * arrays)


class Whole(Pixels):
    """A batch that is looked at block by block. size, uncut: see `rows`."""

    def __init__(self, batch: Batch, size: int, uncut: bool = False) -> None:
        self.xp = xp
        self.batch = batch
        self.task, self.space, self.soft = batch.task, batch.space, not batch.hard
        self.images, self.channels, self.pixels = batch.scores.shape
        self.from_logits = batch.from_logits
        self.weighted = batch.weight is not None or batch.ignore_index is not None
        self.like = xp.wide(batch.scores.new_empty(0, self.channels, self.pixels))  # of its own: a view would hold all
        self.place = None
        self.inputs = batch.inputs
        self.words = batch.words
        self.rows = rows(batch, size, uncut)
        self.flaws: list[Tensor | None] = []
        self._known = {}

    def map(self, term: Callable[[Pixels], Tensor]) -> Tensor:
        """A term of every pixel, without gradient."""
        scratch = Scratch()
        return torch.cat(
            [torch.cat([term(open_block(self.batch, place, scratch)) for place in row], dim=2) for row in self.rows]
        )

    def _statistic(self, name: str) -> Tensor:
        """A statistic of the target: it has no gradient."""
        if name == "N" and not self.weighted:
            return self.like.new_full((self.images, 1), self.pixels, dtype=exact(self.like))
        scratch = Scratch()
        return add_up([[open_block(self.batch, place, scratch).statistic(name) for place in row] for row in self.rows])

    def count(self) -> Tensor:
        """How often each pixel counts: (N, 1, P) or (N, K, P)."""
        weight = self.batch.content(self.like).weight
        if weight is not None:
            return weight
        return self.like.new_ones(1).expand(self.images, 1 if self.task == "multiclass" else self.channels, self.pixels)

    def chunks(self, by_image: bool) -> tuple[Sequence[slice], Sequence[slice]]:
        """Images and channels that are looked at together where a loss sorts."""
        if self.processes.shared and not by_image:
            return super().chunks(by_image)
        images = min(self.images, max(1, SORTED // self.pixels)) if by_image else self.images
        channels = max(1, SORTED // (images * self.pixels))
        return (
            [slice(n, n + images) for n in range(0, self.images, images)],
            [slice(c, c + channels) for c in range(0, self.channels, channels)],
        )

    def cut(self, name: str, images: slice, channels: slice) -> Tensor:
        """`probs`, `logits`, `target` or `count` of some images and channels."""
        if name == "count":
            return super().cut(name, images, channels)
        batch = self.batch.part(images, slice(None))
        values, valid, _ = batch.content(self.like)
        if name == "target":
            if not batch.indices:
                return values[:, channels].to(self.like.dtype)
            classes = torch.arange(self.channels, device=values.device)[channels]
            return (values.unsqueeze(1) == classes.view(1, -1, 1)).to(self.like.dtype)
        scores = xp.wide(batch.scores[:, channels])
        if not batch.from_logits:
            scores = scores if name == "probs" else log_probability(xp, scores) - log_complement(xp, scores)
        elif name == "probs":
            if batch.task == "multiclass":
                top, inverse = (norm[images] for norm in self.norm)
                scores = (scores - top).exp_().mul_(inverse)
            else:
                scores = torch.sigmoid(scores)
        if valid is None:
            return scores
        valid = valid.unsqueeze(1) if batch.indices else valid
        return torch.where(valid if valid.shape[1] == 1 else valid[:, channels], scores, 0.0)

    @property
    def norm(self) -> tuple[Tensor, Tensor]:
        """max_c z_c and 1 / sum_c exp(z_c - max) of each pixel, (N, 1, P) each."""

        def both(block: Pixels) -> Tensor:
            assert isinstance(block, SoftmaxBlock)
            return torch.cat(block.norm, dim=1)

        top, inverse = self._once("norm", lambda: self.map(both)).split(1, dim=1)
        return top, inverse

    def forget(self) -> None:
        """Let go of the batch; what is left is what it takes to finish."""
        self.batch = self.batch.holding(None, None, None)
        self._known.clear()

    def flagged(self, value: Tensor) -> Tensor:
        """`value`, or NaN where a block found bad input that must not be waited for."""
        for flaw in self.flaws:
            if flaw is not None:
                value = torch.where(flaw, torch.full_like(value, torch.nan), value)
        return value


def add_up(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Sums of blocks (b, k), image rows of them, as sums of images (N, k), in double precision where there is one."""
    dtype = exact(rows[0][0])
    found = [row[0].to(dtype) if len(row) == 1 else torch.stack(list(row)).sum(0, dtype=dtype) for row in rows]
    return found[0] if len(found) == 1 else torch.cat(found)


def exact(x: Tensor) -> torch.dtype:
    """The dtype that counts pixels exactly on the device of `x`: float64 where it has one."""
    return torch.float32 if x.device.type == "mps" else torch.float64
