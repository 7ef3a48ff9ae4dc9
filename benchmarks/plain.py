"""The same formulas as plain torch code, the way one writes them in a training script."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from definitions import ALPHA, BETA, GAMMA, Definition, Run, choose, cross_entropy
from torch import Tensor
from workloads import Batch


def plain_torch(d: Definition, b: Batch) -> Run:
    """The formula as plain torch code."""
    by_image = d.pool == "image"

    def overlap(alpha: float, beta: float) -> Run:
        return lambda x: _region(x, b, by_image, lambda i, p, t: i / (i + alpha * (p - i) + beta * (t - i)))

    return choose(
        {
            "ce": cross_entropy(b),
            "focal": lambda x: _focal(x, b, GAMMA),
            "dice": overlap(0.5, 0.5),
            "jaccard": overlap(1.0, 1.0),
            "tversky": overlap(ALPHA, BETA),
            "gdice": lambda x: _generalized_dice(x, b, by_image),
            "lovasz": lambda x: _lovasz(x, b, by_image),
        },
        d,
    )


def _focal(x: Tensor, b: Batch, gamma: float) -> Tensor:
    """mean of (1 - p_t)^gamma (-log p_t)."""
    if b.task == "binary":
        ce = F.binary_cross_entropy_with_logits(x, b.real, reduction="none")
    else:
        ce = F.cross_entropy(x, b.labels, reduction="none")
    return ((1 - (-ce).exp()) ** gamma * ce).mean()


def _region(x: Tensor, b: Batch, by_image: bool, index: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """1 - mean index(I, P, T), the sums of each class over each image or the batch."""
    intersection, prediction, target = _sums(x, b, by_image)
    return 1 - index(intersection, prediction, target).mean()


def _generalized_dice(x: Tensor, b: Batch, by_image: bool) -> Tensor:
    """1 - 2 sum w I / sum w (P + T), w = 1 / T^2."""
    intersection, prediction, target = _sums(x, b, by_image)
    w = 1 / target**2
    return 1 - (2 * (w * intersection).sum(-1) / (w * (prediction + target)).sum(-1)).mean()


def _lovasz(x: Tensor, b: Batch, by_image: bool) -> Tensor:
    """Lovasz-softmax, or the hinge where binary: the mean over images and classes of <sorted errors, gradient>."""
    if b.task == "binary":
        t = b.real
        error = F.relu(1 - (2 * t - 1) * x)
    else:
        t = F.one_hot(b.labels, b.classes).movedim(-1, 1).to(x.dtype)
        error = (t - x.softmax(1)).abs()
    if by_image:
        error, t = error.flatten(2), t.flatten(2)
    else:
        error, t = error.movedim(1, 0).flatten(1), t.movedim(1, 0).flatten(1)
    error, order = error.sort(-1, descending=True)
    t = t.gather(-1, order)
    total = t.sum(-1, keepdim=True)
    jaccard = 1 - (total - t.cumsum(-1)) / (total + (1 - t).cumsum(-1))
    return (error * jaccard.diff(dim=-1, prepend=torch.zeros_like(total))).sum(-1).mean()


def _sums(x: Tensor, b: Batch, by_image: bool) -> tuple[Tensor, Tensor, Tensor]:
    if b.task == "binary":
        p, t = x.sigmoid(), b.real
    else:
        p, t = x.softmax(1), F.one_hot(b.labels, b.classes).movedim(-1, 1).to(x.dtype)
    axes = [axis for axis in range(x.ndim) if axis != 1 and (axis or not by_image)]
    return (p * t).sum(axes), p.sum(axes), t.sum(axes)
