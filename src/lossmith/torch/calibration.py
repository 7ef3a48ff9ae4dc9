"""Losses that keep a network from being more certain than its labels are."""

from typing import Literal, Unpack

from lossmith.core.pixels import Task
from lossmith.torch.loss import Door, Loss


class NACLLoss(Loss, name="nacl"):
    r"""Neighbour-aware calibration: logits as large as the labels around a pixel agree.

    .. math:: L = \mathrm{mean}_i\, \frac{1}{C} \sum_c |u_{ic} - z_{ic}|,\qquad
        u_{ic} = \frac{\sum_{j \in \text{window}} w_j t_{jc}}{\sum_{j \in \text{window}} w_j}

    z are the logits. It is the penalty alone: the paper's loss is ``ce + 0.1*nacl``.

    Args:
        task: ``"multiclass"``, of which alone logits have a unit.
        radius: the window has 2 radius + 1 pixels along each axis, as far as they lie in the image and count.
        distance: ``"l1"`` or ``"l2"``, the squared difference.
        ignore_index, reduction, process_group: as in `CrossEntropyLoss`; so are shapes and weight. There is no
            `from_logits`: probabilities do not say what the logits were.

    Range [0, inf); least where the logits are the shares u, so a certain prediction is not best. Source: Murugesan
    2023, Eq. 6.

    >>> import torch
    >>> loss = NACLLoss("multiclass")
    >>> round(loss(torch.zeros(1, 2, 3), torch.tensor([[0, 0, 1]])).item(), 6)  # u sums to 1 everywhere
    0.5
    """

    def __init__(
        self, task: Task, *, radius: int = 1, distance: Literal["l1", "l2"] = "l1", **options: Unpack[Door]
    ) -> None:
        super().__init__(task, radius=radius, distance=distance, **options)
        self.settings["from_logits"] = True
