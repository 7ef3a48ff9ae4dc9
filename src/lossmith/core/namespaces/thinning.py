"""Exact skeletons as an operator of torch: one node of a traced graph, one call for all samples of a vmap."""

from typing import Any

import torch
from torch import Tensor, library

from lossmith.core import thinning


@library.custom_op("lossmith::tube", mutates_args=())
def tube(masks: Tensor, axes: int, width: int) -> Tensor:
    """See `lossmith.core.thinning`; the work is done on the CPU."""
    found = thinning.tube(masks.detach().cpu().numpy(), axes, width)
    return torch.from_numpy(found).to(masks.device)


@tube.register_fake
def _(masks: Tensor, axes: int, width: int) -> Tensor:  # noqa: ARG001
    return torch.empty(masks.shape, dtype=torch.bool, device=masks.device)


def _of_samples(
    info: Any,  # noqa: ARG001
    where: tuple[int | None, ...],
    masks: Tensor,
    axes: int,
    width: int,
) -> tuple[Tensor, int]:
    """The axis of the samples is one more of the leading axes."""
    assert where[0] is not None
    return tube(masks.movedim(where[0], 0), axes, width), 0


tube.register_vmap(_of_samples)
