"""The losses that are compared, one definition for every library: smooth = 0, the mean over images and classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor
from workloads import Batch

ALPHA, BETA, GAMMA = 0.3, 0.7, 2.0

Run = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class NotOfferedError(Exception):
    """The library has no such loss, or not with this pool or task."""


Pool = Literal["image", "batch"]


@dataclass(frozen=True)
class Definition:
    """A loss, and the pixels that its sums go over: each "image", or the "batch"; None where it makes no difference."""

    loss: str
    pool: Pool | None = None

    @property
    def name(self) -> str:
        """Such as "dice, by image"."""
        return self.loss if self.pool is None else f"{self.loss}, by {self.pool}"


_POOLS: tuple[Pool, ...] = ("image", "batch")
_POOLED = ("dice", "jaccard", "tversky", "gdice", "lovasz", "dice+ce", "dice+ce+focal")
DEFINITIONS = (
    Definition("ce"),
    Definition("focal"),
    *(Definition(loss, pool) for loss in _POOLED for pool in _POOLS),
)


def on(loss: Loss, target: Tensor) -> Run:
    """The loss as a function of the logits."""
    return lambda x: loss(x, target)


def choose(offered: Mapping[str, Run], d: Definition) -> Run:
    """The loss itself, or the sum of its parts where the library has no such sum."""
    if d.loss in offered:
        return offered[d.loss]
    head, _, last = d.loss.rpartition("+")
    if not head:
        raise NotOfferedError("no such loss")
    first, second = choose(offered, Definition(head, d.pool)), choose(offered, Definition(last, d.pool))
    return lambda x: first(x) + second(x)


def cross_entropy(b: Batch) -> Run:
    """torch's own cross-entropy: the yardstick, and the "ce" of libraries without one of their own."""
    if b.task == "binary":
        return partial(F.binary_cross_entropy_with_logits, target=b.real)
    return partial(F.cross_entropy, target=b.labels)
