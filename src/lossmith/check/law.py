"""A law, where laws are entered, and what they compare with."""

from collections.abc import Callable

import torch
from torch import Tensor

from lossmith.check.cases import Case
from lossmith.check.subject import Broken, LossFunction, Subject

Law = Callable[[Subject], None]
LAWS: dict[str, Law] = {}


def law(function: Law) -> Law:
    """Enter a function into `LAWS`."""
    LAWS[function.__name__] = function
    return function


def gradient(loss: LossFunction, batch: Case, *weight: Tensor) -> tuple[Tensor, Tensor]:
    """The summed value and its gradient with respect to the logits."""
    logits = batch.leaf()
    value = loss(logits, batch.target, *weight).sum()
    if not value.requires_grad:
        raise Broken("the value has no gradient: the graph is broken")
    (slope,) = torch.autograd.grad(value, logits)
    return value.detach(), slope


def same(name: str, got: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """Raise unless two tensors agree, relative to the larger of 1 and the expected values."""
    if got.shape != expected.shape:
        raise Broken(f"{name}: shape {tuple(expected.shape)} expected; got {tuple(got.shape)}")
    error = (got.double() - expected.double()).abs() / expected.double().abs().clamp(min=1.0)
    if got.numel() and not bool((error <= tolerance).all()):
        worst = int(error.nan_to_num(float("inf")).argmax())
        want, have = expected.flatten()[worst].item(), got.flatten()[worst].item()
        raise Broken(f"{name}: {want!r} expected; got {have!r} (tolerance {tolerance:g})")
