"""Before the first run: one real batch through the model and every loss, on instances that are thrown away.

A mistake in the last loss, or a crop that the model cannot take, is told at once, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from lossmith.errors import must
from lossmith.lab.machine import Machine
from lossmith.lab.models import WIDTHS, build_model
from lossmith.lab.plan import Plan
from lossmith.lab.train import class_shares, loss_inputs, make_batches, make_loss, predict

CROP_MULTIPLE = 8  # our networks halve three times

T = TypeVar("T")


def rehearse(plan: Plan, losses: Sequence[str], *, counts: NDArray[np.int64], machine: Machine) -> None:
    """Try `losses` on the logits of the first batch of the first seed.

    A loss that is not finite passes: that it did not train is a result.

    Raises:
        ValueError: what is wrong with accelerator, precision, crop, model or a loss.
    """
    s = plan.settings
    if s.model in WIDTHS and s.crop % CROP_MULTIPLE:
        raise ValueError(must("crop", f"a multiple of {CROP_MULTIPLE} for model {s.model}", s.crop))
    with machine.limited(), torch.random.fork_rng():
        fabric = machine.fabric(s.precision)
        images, logits, masks = _forward(plan, counts, fabric)
        for spec in losses:
            loss = make_loss(spec, plan.data.task, counts).to(fabric.device)
            _try_loss(spec, loss, logits.clone(), masks, loss_inputs(loss, images))


def _forward(plan: Plan, counts: NDArray[np.int64], fabric: Fabric) -> tuple[Tensor, Tensor, Tensor]:
    s = plan.settings
    seed = plan.seeds[0]
    model = build_model(s.model, shares=class_shares(counts), binary=plan.data.task == "binary", seed=seed)
    net = fabric.setup_module(model.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    images, masks = (fabric.to_device(part) for part in make_batches(plan, seed)[0])
    name = f"model {s.model} with crop {s.crop}"
    with torch.no_grad():
        logits = _attempt(name, images, lambda: net(images.contiguous(memory_format=torch.channels_last)))
    channels = 1 if plan.data.task == "binary" else len(plan.data.classes)
    expected = (len(images), channels, s.crop, s.crop)
    if not isinstance(logits, Tensor):
        name = type(logits).__name__
        raise ValueError(f"the model's output must be a tensor of shape {expected}; got {name}")
    if logits.shape != expected:
        raise ValueError(must("the model's output", f"a tensor of shape {expected}", tuple(logits.shape)))
    sample = plan.data.test[0]
    _attempt(f"model {s.model} on whole images", sample.image, lambda: predict(net, sample, fabric.device))
    return images, logits, masks


def _attempt(name: str, given: Tensor | NDArray[np.float32], call: Callable[[], T]) -> T:
    """What `call` gives; an error of somebody else's code becomes one line that says whose it is."""
    try:
        return call()
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        text = f"{name} fails on an input of shape {tuple(given.shape)}: {type(error).__name__}: {lines[0]}"
        raise ValueError(text) from error


def _try_loss(spec: str, loss: nn.Module, logits: Tensor, masks: Tensor, inputs: Mapping[str, Tensor]) -> None:
    logits.requires_grad_()
    value = _attempt(f"loss {spec}", logits, lambda: loss(logits, masks, **inputs))
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(must(f"loss {spec}", "a function to one number", got))
    reached = value.requires_grad and torch.autograd.grad(value.sum(), logits, allow_unused=True)[0] is not None
    if not reached:
        raise ValueError(f"loss {spec} must depend on the logits by differentiable operations; it has no gradient")
