"""The ways of a loss through a batch: the whole of it under ordinary autograd, block by block, and compiled code."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from lossmith.core.catalogue import CATALOGUE
from lossmith.torch import Loss, compiled, engine, parse, whole

# Losses of pixels that know nothing of one another: the others have pages of tests of their own.
SEPARABLE = {
    name: record
    for name, record in CATALOGUE.items()
    if not (record.neighbours or record.inputs or not record.supervised)
}
IGNORE = 255
CHANNELS = {"binary": 1, "multiclass": 3, "multilabel": 3}


@contextmanager
def in_one() -> Iterator[None]:
    """Losses look at every batch as one."""
    with without_compiled_code(), patch.object(engine, "SMALL", 2**62):
        yield


@contextmanager
def in_blocks(elements: int = 32) -> Iterator[None]:
    """Losses look at every batch in blocks of so many elements (and never less than 16 pixels)."""
    with (
        without_compiled_code(),
        patch.object(engine, "SMALL", 0),
        patch.object(whole, "CACHE", (elements, elements)),
    ):
        yield


def without_compiled_code() -> Any:
    """As where lossmith was installed without a compiler."""
    return patch.object(compiled, "loaded", lambda: None)


@dataclass(frozen=True)
class Given:
    """What a loss is called with, and the options of its door."""

    task: str
    logits: Tensor
    target: Tensor
    weight: Tensor | None = None
    ignore_index: int | None = None
    from_logits: bool = True

    def loss(self, spec: str, **options: object) -> torch.nn.Module:
        return parse(spec, self.task, ignore_index=self.ignore_index, from_logits=self.from_logits, **options)

    def run(self, spec: str, **options: object) -> tuple[Tensor, Tensor]:
        """Value and gradient; that of a map by a fixed direction."""
        logits = self.logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        value = self.loss(spec, **options)(logits, self.target, self.weight)
        direction = (1 + torch.arange(value.numel(), dtype=value.dtype) / value.numel()).reshape(value.shape)
        return value.detach(), torch.autograd.grad(value, logits, direction)[0]


def given(
    task: str,
    mode: str = "plain",
    *,
    channels: int | None = None,
    images: int = 2,
    space: tuple[int, ...] = (3, 15),
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Given:
    """A random batch whose last image is background alone. `mode` holds words: what is special about it."""
    words, generator = mode.split(), torch.Generator().manual_seed(seed)
    channels = channels or CHANNELS[task]
    logits = 2 * torch.randn(images, channels, *space, generator=generator, dtype=torch.float64)
    shape = (images, channels, *space) if task == "multilabel" else (images, *space)
    target = torch.randint(channels if task == "multiclass" else 2, shape, generator=generator)
    target[-1] = 0
    batch = Given(task, logits.to(dtype), target)
    if "ignore" in words:
        lost = torch.rand(shape, generator=generator) < 0.3
        batch = replace(batch, target=torch.where(lost, IGNORE, target), ignore_index=IGNORE)
    if "weight" in words or "channel_weight" in words:
        shape = logits.shape if "channel_weight" in words and task != "multiclass" else (images, *space)
        weight = torch.randint(5, shape, generator=generator).double() / 2
        batch = replace(batch, weight=weight.to(dtype))
    if "one_hot" in words or "soft" in words:
        hot = target.reshape(logits.shape) if task != "multiclass" else _one_hot(target, channels)
        if "soft" in words:
            other = torch.randn(logits.shape, generator=generator, dtype=torch.float64)
            other = other.softmax(1) if task == "multiclass" else other.sigmoid()
            hot = (0.6 * hot + 0.4 * other).to(dtype)
        batch = replace(batch, target=hot)
    if "probs" in words:
        probs = batch.logits.softmax(1) if task == "multiclass" else batch.logits.sigmoid()
        batch = replace(batch, logits=probs, from_logits=False)
    return batch


def fits(loss: type[Loss], mode: str) -> bool:
    """Whether a loss takes such a batch."""
    return not ("soft" in mode and loss.record.hard_targets)


def _one_hot(target: Tensor, channels: int) -> Tensor:
    return torch.nn.functional.one_hot(target, channels).movedim(-1, 1)
