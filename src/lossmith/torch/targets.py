"""What is computed from targets before training: border weights, class counts."""

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from lossmith.core import border_weights
from lossmith.core.parameters import NONNEGATIVE, POSITIVE, Count
from lossmith.errors import must
from lossmith.torch.pixel import WeightedCrossEntropyLoss


def unet_weight_map(
    target: Tensor,
    w0: float = 10.0,
    sigma: float = 5.0,
    *,
    class_weight: str | Sequence[float] | None = "inverse",
    instances: bool = False,
    ignore_index: int | None = None,
    space: int | None = None,
) -> Tensor:
    r"""U-Net's border weight map: a `weight` for any loss that presses touching objects apart.

    .. math:: w(x) = w_c(x) + w_0 \exp\left(-\frac{(d_1(x) + d_2(x))^2}{2 \sigma^2}\right)

    d_1, d_2: Euclidean distances to the nearest and second nearest object. The second term is on background pixels
    only, as in the paper's figure 3d, and absent where there is one object.

    Args:
        target: one mask (H, W), or a batch (N, \*space), of class indices (objects are the connected components of
            each class, diagonals included), or with `instances` a number of its own for each object; 0 is background.
        w0: height of the border term, >= 0.
        sigma: width of the border term in pixels, > 0.
        class_weight: w_c: ``"inverse"``, N / (C n_c), C the classes of that image (the paper's balance);
            None, 1; or one number for each class.
        instances: the target's numbers are objects, not classes.
        ignore_index: value of pixels that do not count: they are no object and have weight 0.
        space: how many of the last axes are those of an image. None: two of two, else all but the first. One volume
            (D, H, W) needs ``space=3``, else it is a batch of images, and rows (N, L) need ``space=1``.

    Returns:
        The target's shape, float32, on its device.

    Source: Ronneberger 2015, Eq. 2.

    >>> import torch
    >>> mask = torch.tensor([[1, 0, 0, 1]])  # one image, of height 1
    >>> round(unet_weight_map(mask, w0=10, sigma=5, class_weight=None)[0, 1].item(), 6)  # 1 + 10 exp(-(1 + 2)^2 / 50)
    9.352702
    """
    if not isinstance(target, Tensor) or target.is_floating_point() or target.is_complex():
        raise TypeError(must("target", "a tensor of integers or bool", str(getattr(target, "dtype", type(target)))))
    if space is None:
        space = max(2, target.ndim - 1)
    Count(1).check("space", space)
    if target.ndim < space:
        raise ValueError(must("target", f"of {space} axes or more", tuple(target.shape)))
    NONNEGATIVE.check("w0", w0)
    POSITIVE.check("sigma", sigma)
    first = target.ndim - space
    masks = target.detach().cpu().long().numpy().reshape(prod(target.shape[:first]), *target.shape[first:])
    valid = np.full(masks.shape, True) if ignore_index is None else masks != ignore_index
    masks = np.where(valid, masks, 0)
    if masks.size and masks.min() < 0:
        raise ValueError(must("target", ">= 0", int(masks.min())))
    maps = [
        border_weights.unet_weight_map(mask, counted, w0, sigma, class_weight=class_weight, instances=instances)
        for mask, counted in zip(masks, valid, strict=True)
    ]
    stacked = np.stack(maps) if maps else np.zeros(masks.shape)
    return torch.as_tensor(stacked, dtype=torch.float32, device=target.device).view(target.shape)


def class_counts(targets: Iterable[Tensor | np.ndarray], classes: int, ignore_index: int | None = None) -> Tensor:
    """Class counts of a data set, for `WeightedCrossEntropyLoss(counts=...)`.

    Args:
        targets: masks of class indices, one image each.
        classes: C, background included (binary: 2).
        ignore_index: value of pixels that do not count.

    Returns:
        (C, 2) int64: per class its pixels, and the pixels of the images that contain it.

    >>> import torch
    >>> class_counts([torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [0, 0]])], classes=2).tolist()
    [[5, 8], [3, 4]]
    """
    Count(2).check("classes", classes)
    counts = torch.zeros(classes, 2, dtype=torch.int64)
    for number, target in enumerate(targets):
        labels = torch.as_tensor(target).reshape(-1)
        if labels.is_floating_point():
            raise TypeError(must(f"target {number}", "class indices of an integer dtype", str(labels.dtype)))
        labels = labels.long()
        labels = labels if ignore_index is None else labels[labels != ignore_index]
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            low, high = int(labels.min()), int(labels.max())
            raise ValueError(
                must(f"target {number}", f"class indices from 0 to {classes - 1}", low if low < 0 else high)
            )
        pixels = torch.bincount(labels, minlength=classes)
        counts[:, 0] += pixels
        counts[:, 1] += torch.where(pixels > 0, labels.numel(), 0)
    return counts


def fit(loss: nn.Module, counts: np.ndarray | Tensor) -> None:
    """Give the class counts of a data set to every `WeightedCrossEntropyLoss` inside `loss` that has none yet.

    Other losses stay as they are; so do those whose `counts` were given by hand.

    Args:
        loss: any module.
        counts: (C, 2), per class its pixels and the pixels of the images that contain it, see `class_counts`; for a
            multilabel loss (C, 2, 2), background and foreground of each channel.
    """
    for part in loss.modules():
        if isinstance(part, WeightedCrossEntropyLoss) and part.counts is None:
            part.use(torch.as_tensor(counts))
