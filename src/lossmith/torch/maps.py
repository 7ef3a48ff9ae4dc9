"""Masks as maps of a number for each class and pixel, which is what shape priors are fitted to and compare."""

import torch
from torch import Tensor

from lossmith.core.namespaces.torch import xp
from lossmith.core.pixels import check_task
from lossmith.errors import must


def as_maps(labels: Tensor, task: str, channels: int) -> Tensor:
    """Class indices, for multilabel 0 and 1, as maps (N, C, *space) of bools."""
    if labels.is_floating_point():
        raise TypeError(must("target", "class indices of an integer dtype", str(labels.dtype)))
    top = channels - 1 if task == "multiclass" else 1
    flaw = xp.outside(labels, 0, top)
    if flaw is True:
        raise ValueError(must("target", f"class indices from 0 to {top}", xp.extremes(labels)))
    if task == "multilabel":
        return labels > 0
    classes = torch.arange(channels, device=labels.device) if task == "multiclass" else labels.new_ones(1).long()
    return labels.long().unsqueeze(1) == classes.view(1, -1, *[1] * (labels.ndim - 1))


def maps_of(masks: Tensor, task: str, classes: int | None) -> Tensor:
    """Masks that a prior is fitted to as maps (M, C, *space) of 0 and 1 in float64."""
    check_task(task)
    masks = torch.as_tensor(masks)
    least = 3 if task == "multilabel" else 2
    if masks.ndim < least or len(masks) < 2:
        raise ValueError(must("masks", "at least two masks of one size", tuple(masks.shape)))
    if masks.is_floating_point() or bool((masks < 0).any()):
        raise ValueError(must("masks", "class indices from 0 on", str(masks.dtype)))
    most = int(masks.max())
    channels = masks.shape[1] if task == "multilabel" else classes or most + 1 if task == "multiclass" else 1
    if most > (channels - 1 if task == "multiclass" else 1):
        raise ValueError(must("masks", f"class indices from 0 to {channels - 1 if task == 'multiclass' else 1}", most))
    return as_maps(masks, task, channels).double()


def smooth_maps(maps: Tensor, width: float) -> Tensor:
    """The logistic function of the distance to the border over `width`, above 1/2 inside."""
    from lossmith.core.distance import signed_distance  # and with it a library of transforms

    distance = signed_distance(maps.numpy() > 0, None, (1.0,) * (maps.ndim - 2))
    return torch.sigmoid(-torch.from_numpy(distance).double() / width)
