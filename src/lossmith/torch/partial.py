"""Losses for partially labelled sets: in each image only some of the classes were annotated."""

from typing import Any, Literal, Unpack

from lossmith.core.catalogue import CATALOGUE, Record
from lossmith.core.partial import marginal
from lossmith.core.pixels import Task
from lossmith.core.records.choice import mergeable
from lossmith.torch.loss import Door, Loss
from lossmith.torch.parse import inner_loss
from lossmith.torch.region import Pool

# Made once: a compiled loss would find another record at every call, and compile again.
MARGINALS = {record.name: marginal(record) for record in CATALOGUE.values() if mergeable(record)}


class MarginalLoss(Loss, name="marginal"):
    r"""Any loss on partially labelled images: what was not annotated is merged with the background.

    .. math:: L = \mathrm{loss}(q, t),\qquad q_0 = p_0 + \sum_{c \notin A} p_c,\quad q_c = p_c \ (c \in A)

    with A the classes that were annotated in the image. Where class c was not, its pixels carry label 0, so label 0
    says "none of A": its probability is the sum of all others. Merged by adding probabilities (for logits by
    log-sum-exp), never by a softmax of merged logits.

    Args:
        task: ``"multiclass"``; class 0 is the background.
        loss: a loss of the catalogue or its spec, with its own options: ``"dice"``, ``"focal(gamma=2)"``. One
            that compares softmax probabilities with a target and needs nothing else.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`, and of this loss, not of `loss`.

    Call:
        ``loss(logits, target, weight, annotated=annotated)`` with `annotated` bool (N, C): the classes annotated in
        each image, even if it shows none of them. Column 0 is not looked at: the rest is always known. A label of a
        class that was not annotated in its image is an error.

    The value is that of `loss` on the merged problem, in which each image has classes of its own: a merged class is
    no item of its image (with ``pool="batch"``: a class has the pixels of the images that annotate it), and a mean
    over classes is over those that are left. Where everything is annotated it is `loss` itself. It takes no input but
    `annotated`: maps of distances are its own, of the merged classes. The losses of a sum are merged each:
    ``marginal(loss=ce) + marginal(loss=dice)``. Soft targets, shapes, range, identities and empty classes are those of
    `loss`.

    Source: Shi 2021, sec. 3; marginal Dice is the mean over the annotated classes and the merged background.

    >>> import torch
    >>> logits = torch.log(torch.tensor([[[0.5], [0.3], [0.2]]]))  # one pixel: 1/2, 3/10, 1/5
    >>> target = torch.tensor([[0]])
    >>> loss = MarginalLoss("multiclass", loss="ce")
    >>> round(loss(logits, target, annotated=torch.tensor([[True, True, False]])).item(), 6)  # -log(1/2 + 1/5)
    0.356675
    """

    loss: Loss

    def __init__(self, task: Task = "multiclass", *, loss: Loss | str = "ce", **options: Unpack[Door]) -> None:
        base = inner_loss(task, loss, "one loss of the catalogue; add up marginal losses for a sum")
        super().__init__(task, loss=base, **options)

    def asked(self) -> tuple[Record, dict[str, Any]]:
        """The loss on the merged classes, with the reduction of this one."""
        record, arguments = self.loss.asked()
        return MARGINALS[record.name], arguments | {"reduction": self.settings["reduction"]}


class ExclusionLoss(Loss, name="exclusion"):
    r"""What is predicted where it cannot be, in partially labelled images: a term beside a marginal loss.

    .. math:: L = \mathrm{mean}_c \frac{2 \sum_i w_i e_{ic} p_{ic}}{\sum_i w_i e_{ic} + \sum_i w_i p_{ic}}
        \qquad\text{or}\qquad L = \mathrm{mean}_i \sum_c e_{ic} \log(1 + p_{ic})

    e_c = 1 - t_c for an annotated class. Classes do not overlap, so no other class (background, or one without
    annotation) can be where an annotated one is labelled: there e_c = 1 - t_0. Nothing is asked of a pixel that is
    labelled 0 and predicted as a class that was not annotated.

    Args:
        task: ``"multiclass"``; class 0 is the background.
        form: ``"dice"``, the overlap of each class with where it cannot be (the mean over classes and images; the paper
            adds the classes up); ``"ce"``, a term of each pixel, its epsilon the paper's 1.
        pool: ``"image"`` or ``"batch"``, of the dice form.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`.

    Call and `annotated` as in `MarginalLoss`; shapes as in `CrossEntropyLoss`; hard targets only.

    Range [0, 1]; 0 where nothing is predicted that is excluded. A class that could be everywhere costs 0.

    Source: Shi 2021, sec. 3.

    >>> import torch
    >>> logits = torch.log(torch.tensor([[[0.5], [0.3], [0.2]]]))  # one pixel of class 1; class 2 was not annotated
    >>> loss = ExclusionLoss("multiclass", form="ce")
    >>> value = loss(logits, torch.tensor([[1]]), annotated=torch.tensor([[True, True, False]]))
    >>> round(value.item(), 6)  # log(1 + 1/2) + log(1 + 1/5)
    0.587787
    """

    def __init__(
        self,
        task: Task = "multiclass",
        *,
        form: Literal["dice", "ce"] = "dice",
        pool: Pool = "image",
        **options: Unpack[Door],
    ) -> None:
        super().__init__(task, form=form, pool=pool, **options)
