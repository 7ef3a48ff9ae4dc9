"""Masks as maps of a number for each class and pixel, which is what shape priors are fitted to."""

import torch
from torch import Tensor

from lossmith.core.parameters import Count, Label
from lossmith.core.pixels import check_task
from lossmith.errors import must
from lossmith.torch.call import signed


def maps_of(masks: Tensor, task: str, classes: int | None, ignore_index: int | None) -> Tensor:
    """Masks that a prior is fitted to as maps (M, C, *space) of 0 and 1 in float64; ignored pixels are background."""
    check_task(task)
    Label().check("ignore_index", ignore_index)
    masks = signed(torch.as_tensor(masks))
    least = 3 if task == "multilabel" else 2
    if masks.ndim < least or len(masks) < 2 or masks.numel() == 0:
        raise ValueError(must("masks", "at least two masks of one size", tuple(masks.shape)))
    if masks.is_floating_point() or masks.is_complex():
        raise TypeError(must("masks", "class indices of an integer dtype", str(masks.dtype)))
    labels = masks.long()
    labels = labels if ignore_index is None else torch.where(labels == ignore_index, 0, labels)
    top = 1 if task != "multiclass" else _classes_of(labels, classes) - 1
    if task != "multiclass" and classes is not None:
        raise ValueError(must(f"classes of a {task} task", "None", classes))
    low, high = (int(x) for x in labels.aminmax())
    if low < 0 or high > top:
        raise ValueError(must("masks", f"class indices from 0 to {top}", low if low < 0 else high))
    if task == "multilabel":
        return labels.double()
    if task == "binary":
        return labels.unsqueeze(1).double()
    return torch.nn.functional.one_hot(labels, top + 1).movedim(-1, 1).double()


def _classes_of(labels: Tensor, classes: int | None) -> int:
    """How many classes a multiclass task has: as said, or as many as there are labels if all from 0 on occur."""
    if classes is not None:
        Count(2).check("classes", classes)
        return classes
    found = labels.unique().tolist()  # type: ignore[no-untyped-call]
    if found != list(range(len(found))):
        raise ValueError(must("classes", f"given for masks of labels {found}, or ignore_index one of them", None))
    return max(2, len(found))


def smooth_maps(maps: Tensor, width: float) -> Tensor:
    """The logistic function of the distance to the border over `width`, above 1/2 inside."""
    from lossmith.core.distance import signed_distance  # and with it a library of transforms

    distance = signed_distance(maps.numpy() > 0, None, (1.0,) * (maps.ndim - 2))
    return torch.sigmoid(-torch.from_numpy(distance).double() / width)
