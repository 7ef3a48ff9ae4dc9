"""What the losses are run on: logits of a half-trained network and a target in patches, every class in every image."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Task = Literal["binary", "multiclass"]


@dataclass(frozen=True)
class Workload:
    """Logits of one shape, (N, C, *space); binary has C = 1. small: there the cost of a call is all that is seen."""

    task: Task
    shape: tuple[int, ...]
    quick: tuple[int, ...]
    patch: int = 8
    small: bool = False

    @property
    def name(self) -> str:
        """Such as "multiclass 8x21x256x256"."""
        return f"{self.task} {'x'.join(map(str, self.shape))}"

    def reduced(self) -> "Workload":
        """The same kind of input at a size that runs in a moment."""
        return replace(self, shape=self.quick)


WORKLOADS = (
    Workload("multiclass", (8, 21, 256, 256), (2, 21, 64, 64)),
    Workload("multiclass", (2, 4, 96, 96, 96), (1, 4, 32, 32, 32)),
    Workload("multiclass", (1, 64, 96, 96, 96), (1, 64, 32, 32, 32)),
    Workload("binary", (16, 1, 512, 512), (4, 1, 128, 128)),
    Workload("multiclass", (2, 3, 32, 32), (2, 3, 32, 32), small=True),
)


@dataclass(frozen=True)
class Batch:
    """One batch: the logits, and the target in each of the forms that libraries ask for.

    labels: (N, *space) int64. channel: (N, 1, *space) int64. mask: the same, uint8.
    real: the same, in the logits' dtype.
    """

    task: Task
    logits: Tensor
    labels: Tensor

    @property
    def classes(self) -> int:
        """C, the channels of the logits."""
        return self.logits.shape[1]

    @cached_property
    def channel(self) -> Tensor:
        """The labels with a channel axis."""
        return self.labels.unsqueeze(1)

    @cached_property
    def mask(self) -> Tensor:
        """The labels with a channel axis, in bytes, as masks are read from files."""
        return self.channel.to(torch.uint8)

    @cached_property
    def real(self) -> Tensor:
        """The labels with a channel axis, as the sigmoid losses take them."""
        return self.channel.to(self.logits.dtype)


def make_batch(workload: Workload, dtype: torch.dtype, seed: int = 0) -> Batch:
    """The batch of a workload; the same seed gives the same numbers."""
    generator = torch.Generator().manual_seed(seed)
    images, channels, *space = workload.shape
    classes = max(2, channels)
    labels = torch.stack([_patches(space, classes, workload, generator) for _ in range(images)])
    logits = 2.0 * torch.randn(workload.shape, generator=generator)
    if workload.task == "binary":
        logits += 4.0 * labels.unsqueeze(1) - 2.0
    else:
        index = labels.unsqueeze(1)
        logits.scatter_add_(1, index, torch.full(index.shape, 2.0))
    return Batch(workload.task, logits.to(dtype).requires_grad_(), labels)


def _patches(space: list[int], classes: int, workload: Workload, generator: torch.Generator) -> Tensor:
    """Labels (*space) in square patches, as masks have them; one patch in ten is foreground where binary."""
    coarse = [-(-size // workload.patch) for size in space]
    count = torch.Size(coarse).numel()
    if workload.task == "binary":
        labels = (torch.rand(count, generator=generator) < 0.1).long()
    else:
        labels = torch.randint(classes, (count,), generator=generator)
    labels[torch.randperm(count, generator=generator)[:classes]] = torch.arange(classes)
    labels = labels.reshape(coarse)
    for axis, size in enumerate(space):
        labels = labels.repeat_interleave(workload.patch, axis).narrow(axis, 0, size)
    return labels.contiguous()
