"""From what losses are called with to their values.

Beside logits, target and weight a call may have inputs by name, and some losses can do without a target.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lossmith.core.door import Batch, receive
from lossmith.core.inputs import INPUTS
from lossmith.core.namespaces.torch import xp
from lossmith.errors import must, suggest
from lossmith.torch import engine
from lossmith.torch.arguments import check_tensors
from lossmith.torch.distributed import shared

if TYPE_CHECKING:
    from lossmith.torch.loss import Loss

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def known_inputs(losses: Iterable[nn.Module], inputs: Mapping[str, Tensor]) -> None:
    """Raise at an input that none of the losses takes."""
    if not inputs:
        return
    known = {name for loss in losses for name in getattr(getattr(loss, "record", None), "inputs", ())}
    for name in inputs:
        if name not in known:
            expected = f"one of {sorted(known)}{suggest(name, known)}" if known else "logits, target or weight"
            raise TypeError(must("an input", expected, name))


def _chosen_inputs(losses: Sequence["Loss"], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs that these losses take, as constants; a TypeError where one is missing."""
    chosen = {}
    for loss in losses:
        for name in loss.record.inputs:
            value = inputs.get(name)
            if value is None:
                if INPUTS[name].required:
                    raise TypeError(f"{loss.record.name} must be called with {name}=: {INPUTS[name].meaning}")
                continue
            check_tensors(**{name: value})
            chosen[name] = value.detach()
    return chosen


def unlabelled(logits: Tensor, target: Tensor | None, task: str, ignore_index: int | None) -> Tensor:
    """The target of a loss that has none: it says which pixels are ignored, and no more."""
    if isinstance(target, Tensor) and ignore_index is not None and not target.is_floating_point():
        return torch.where(target == ignore_index, target, torch.zeros_like(target))
    alone = task == "binary" and (logits.ndim < 2 or logits.shape[1] != 1)
    shape = logits.shape if task == "multilabel" or alone else (logits.shape[0], *logits.shape[2:])
    if isinstance(target, Tensor) and target.shape != logits.shape:
        shape = target.shape  # whatever it holds; the door looks at the shape
    return torch.zeros((), dtype=torch.uint8, device=logits.device).expand(shape)


def signed(x: Any) -> Any:
    """A tensor in a dtype that torch compares and computes with; anything else as it is."""
    return x.long() if isinstance(x, Tensor) and x.dtype in UNSIGNED else x


def _received(
    losses: Sequence["Loss"],
    logits: Tensor,
    target: Tensor | None,
    weight: Tensor | None,
    inputs: Mapping[str, Tensor],
) -> Batch:
    """The batch of losses with the same door, checked by shape."""
    ignore_index, from_logits, supervised = losses[0].door
    if not supervised and isinstance(logits, Tensor):
        target = unlabelled(logits, target, losses[0].task, ignore_index)
    check_tensors(logits=logits, target=target, weight=weight)
    asked = _chosen_inputs(losses, inputs)
    task = losses[0].task
    target, weight = signed(target), signed(weight)
    return receive(
        xp, logits, target, weight, task=task, ignore_index=ignore_index, from_logits=from_logits, inputs=asked
    )


def values_of(
    losses: Sequence["Loss"],
    logits: Tensor,
    target: Tensor | None,
    weight: Tensor | None,
    inputs: Mapping[str, Tensor],
) -> list[Tensor]:
    """The values of losses with the same door, in one pass."""
    batch = _received(losses, logits, target, weight, inputs)
    learned = not torch.compiler.is_compiling() and any(loss.learned for loss in losses)
    asked = [loss.asked() for loss in losses]
    group = losses[0].settings["process_group"]
    if not shared(group):
        return engine.values(batch, asked, learned=learned)
    from lossmith.torch import eager

    found: list[Tensor] = eager.values(batch, asked, learned=learned, process_group=group)
    return found
