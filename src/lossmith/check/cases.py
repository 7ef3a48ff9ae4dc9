"""Batches to try a loss on: small, seeded, of every task."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

IGNORED = 255
CHANNELS = {"binary": 1, "multiclass": 4, "multilabel": 3}


@dataclass(frozen=True)
class Case:
    """Logits (N, C, *space) and a target of class indices (multilabel: 0/1 of the logits' shape)."""

    task: str
    logits: Tensor
    target: Tensor

    def leaf(self, dtype: torch.dtype | None = None) -> Tensor:
        """A copy of the logits that collects a gradient."""
        return self.logits.detach().to(dtype or self.logits.dtype).clone().requires_grad_()

    def with_logits(self, logits: Tensor) -> "Case":
        """The same target under other logits."""
        return replace(self, logits=logits)

    def pixels(self, index: Tensor) -> "Case":
        """The chosen pixels (in the order of `index`) of a batch of one spatial axis."""
        return replace(self, logits=self.logits[..., index], target=self.target[..., index])

    def images(self, index: Tensor) -> "Case":
        """The chosen images, in the order of `index`."""
        return replace(self, logits=self.logits[index], target=self.target[index])

    def reshape(self, *space: int) -> "Case":
        """The same pixels in another spatial shape."""
        target = self.target.reshape(*self.target.shape[: 2 if self.task == "multilabel" else 1], *space)
        return replace(self, logits=self.logits.reshape(*self.logits.shape[:2], *space), target=target)


def case(
    task: str, *space: int, images: int = 2, scale: float = 2.0, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Case:
    """A random batch that holds every class in every image where there are pixels enough."""
    generator = torch.Generator().manual_seed(seed)
    space = space or (24,)
    channels, pixels = CHANNELS[task], prod(space)
    logits = scale * torch.randn(images, channels, *space, generator=generator, dtype=torch.float64)
    shape = (images, channels) if task == "multilabel" else (images,)
    classes = 2 if task == "binary" else 3 if task == "multilabel" else channels
    ramp = torch.arange(pixels) % classes
    rows = [ramp[torch.randperm(pixels, generator=generator)] for _ in range(prod(shape))]
    target = torch.stack(rows).reshape(*shape, *space)
    if task == "multilabel":
        target = (target == 0).long()
    return Case(task, logits.to(dtype), target)


def certain(batch: Case, margin: float = 40.0) -> Case:
    """Logits that give the target with certainty."""
    if batch.task == "multiclass":
        hit = torch.nn.functional.one_hot(batch.target, batch.logits.shape[1]).movedim(-1, 1)
    else:
        hit = batch.target.reshape(batch.logits.shape)
    return batch.with_logits(margin * (2.0 * hit.to(batch.logits.dtype) - 1.0))


def vacant(task: str, *, dtype: torch.dtype = torch.float64) -> Case:
    """A batch of background alone, with logits that lean to it."""
    batch = case(task, 24, scale=0.1, dtype=dtype)
    logits = batch.logits.clone()
    if task == "multiclass":
        logits[:, 0] += 1.0
    else:
        logits -= 1.0
    return Case(task, logits, torch.zeros_like(batch.target))


def given_inputs(names: Sequence[str], logits: Tensor) -> dict[str, Tensor]:
    """Inputs to try a loss with, the same for every image: a smooth image of two channels; all classes but 1 annotated.

    What a loss can do without is not given.
    """
    images, channels, *space = logits.shape
    like = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    inputs = {}
    if "image" in names:
        wave = torch.arange(2 * prod(space), dtype=like.dtype, device=like.device).mul(0.37).sin()
        inputs["image"] = wave.reshape(1, 2, *space).expand(images, 2, *space)
    if "annotated" in names:
        inputs["annotated"] = (torch.arange(channels, device=like.device) != 1).expand(images, channels)
    return inputs


def unlabelled(target: Tensor, logits: Tensor) -> Tensor:
    """A multiclass target without labels of class 1, the one that `given_inputs` does not annotate."""
    if target.shape != logits.shape:
        return torch.where(target == 1, torch.zeros_like(target), target)
    background = torch.where(target[:, 1:2] > 0, target[:, :1] + target[:, 1:2], target[:, :1])
    return torch.cat([background, torch.zeros_like(background), target[:, 2:]], dim=1)


def rise(batch: Case) -> Tensor:
    """The direction in logit space that raises the foreground everywhere."""
    direction = torch.ones_like(batch.logits)
    if batch.task == "multiclass":
        direction[:, 0] = 0.0
    return direction
