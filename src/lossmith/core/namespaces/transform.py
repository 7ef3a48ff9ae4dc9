"""The distance transform as an operator of torch: one node of a traced graph, one call for all samples of a vmap."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, library

from lossmith.core import distance


@library.custom_op("lossmith::signed_distance", mutates_args=())
def signed_distance(inside: Tensor, valid: Tensor | None, spacing: list[float], power: float, double: bool) -> Tensor:
    """See `lossmith.core.distance`; the work is done on the CPU."""
    counted = None if valid is None else valid.cpu().numpy()
    dtype = np.float64 if double else np.float32
    found = distance.signed_distance(inside.cpu().numpy(), counted, spacing, power, dtype)
    return torch.from_numpy(found).to(inside.device)


@signed_distance.register_fake
def _(inside: Tensor, valid: Tensor | None, spacing: list[float], power: float, double: bool) -> Tensor:  # noqa: ARG001
    return torch.empty(inside.shape, dtype=torch.float64 if double else torch.float32, device=inside.device)


def _of_samples(
    info: Any, axes: tuple[int | None, ...], inside: Tensor, valid: Tensor | None, *rest: Any
) -> tuple[Tensor, int]:
    """The axis of the samples is one more of the leading axes."""

    def leading(mask: Tensor, axis: int | None) -> Tensor:
        return mask.expand(info.batch_size, *mask.shape) if axis is None else mask.movedim(axis, 0)

    counted = None if valid is None else leading(valid, axes[1])
    return signed_distance(leading(inside, axes[0]), counted, *rest), 0


signed_distance.register_vmap(_of_samples)
