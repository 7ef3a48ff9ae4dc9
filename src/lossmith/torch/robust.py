"""Pixel losses for wrong labels and for very rare foreground."""

from typing import Unpack

from lossmith.core.pixels import Task
from lossmith.torch.loss import Loss
from lossmith.torch.pixel import PixelOptions


class PolyLoss(Loss, name="poly"):
    r"""Cross-entropy with another first coefficient of its series in 1 - p_t (Poly-1).

    .. math:: \ell = -\log p_t + \epsilon (1 - p_t)

    -log p_t = sum_j (1 - p_t)^j / j; the term of j = 1, whose pull on p_t is the same for easy and hard pixels, gets
    the coefficient 1 + epsilon.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        epsilon: >= -1; 0 is `CrossEntropyLoss`, -1 takes the first term out.
        class_weight, ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes.

    Range [0, inf), 0 for a certain, right prediction. Source: Leng 2022, Poly-1.

    >>> import torch
    >>> round(PolyLoss("binary")(torch.zeros(1, 2), torch.tensor([[1, 0]])).item(), 6)  # log 2 + 1/2
    1.193147
    """

    def __init__(self, task: Task, *, epsilon: float = 1.0, **options: Unpack[PixelOptions]) -> None:
        super().__init__(task, epsilon=epsilon, **options)


class GeneralizedCrossEntropyLoss(Loss, name="gce"):
    r"""Between cross-entropy (q = 0) and absolute error (q = 1).

    .. math:: \ell = \frac{1 - p_t^q}{q}

    The gradient is that of cross-entropy times p_t^q: a pixel that stays at odds with its label, as a wrongly labelled
    one does, pulls less.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        q: in [0, 1]; 0 is `CrossEntropyLoss`, the limit; 1 is 1 - p_t, for one-hot targets half the sum of `L1Loss`'s
            errors over the classes.
        class_weight, ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes.

    Range [0, 1/q), 0 for a certain, right prediction. The paper's truncated form, which drops pixels of small p_t from
    time to time, is not here. Source: Zhang & Sabuncu 2018.

    >>> import torch
    >>> loss = GeneralizedCrossEntropyLoss("binary", q=0.5, from_logits=False)
    >>> round(loss(torch.tensor([[0.25]]), torch.tensor([[1]])).item(), 6)  # (1 - 1/2) / (1/2)
    1.0
    """

    def __init__(self, task: Task, *, q: float = 0.7, **options: Unpack[PixelOptions]) -> None:
        super().__init__(task, q=q, **options)


class SymmetricCrossEntropyLoss(Loss, name="sce"):
    r"""Cross-entropy of the target under the prediction, and of the prediction under the target.

    .. math:: \ell = -\alpha \log p_t - \beta \sum_c p_c \max(\log t_c, A) = -\alpha \log p_t - \beta A (1 - p_t)

    The second form holds for hard targets. With binary and multilabel tasks the classes of a pixel are background and
    foreground.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        alpha: share of cross-entropy, >= 0 (the paper: 0.1 for ten classes, 6 for a hundred).
        beta: share of reverse cross-entropy, >= 0 (the paper: 1 and 0.1).
        A: < 0, what log 0 counts in the reverse one. Other code takes log 1e-4 = -9.2: larger beta does the same.
        class_weight, ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes.

    Range [0, inf), 0 for a certain, right prediction of a hard target. alpha = 1, beta = 0 is `CrossEntropyLoss`;
    alpha = 0 is `GeneralizedCrossEntropyLoss` with q = 1, times -beta A. Source: Wang 2019.

    >>> import torch
    >>> loss = SymmetricCrossEntropyLoss("binary")
    >>> round(loss(torch.zeros(1, 1), torch.tensor([[1]])).item(), 6)  # log 2 / 10 + 4 / 2
    2.069315
    """

    def __init__(
        self, task: Task, *, alpha: float = 0.1, beta: float = 1.0, A: float = -4.0, **options: Unpack[PixelOptions]
    ) -> None:
        super().__init__(task, alpha=alpha, beta=beta, A=A, **options)


class AsymmetricLoss(Loss, name="asl"):
    r"""Focal loss with other exponents for what is there and what is not, and a margin for the latter.

    .. math:: \ell = \begin{cases} -(1 - p)^{\gamma_+} \log p & t = 1 \\
        -p_m^{\gamma_-} \log(1 - p_m), \quad p_m = \max(p - m, 0) & t = 0 \end{cases}

    Args:
        task: ``"binary"`` or ``"multilabel"``. The loss takes foreground and background apart, channel by channel; for
            one label out of many the authors' own form is a focal loss: use `FocalLoss` with `alpha`.
        gamma_pos: gamma_+ >= 0.
        gamma_neg: gamma_- >= 0; above gamma_pos, so that easy background counts less.
        clip: m in [0, 1): background predicted below m costs nothing and has no gradient.
        class_weight, ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes. The
            authors sum up: ``reduction="sum"``.

    Range [0, inf), 0 for a certain, right prediction. gamma_pos = gamma_neg and clip = 0 is `FocalLoss`. With the clip
    background pixels of p near 1, perhaps wrong labels, pull less, too. Source: Ridnik 2021.

    >>> import torch
    >>> loss = AsymmetricLoss("binary", gamma_neg=2.0, clip=0.25, reduction="none", from_logits=False)
    >>> value = loss(torch.tensor([[0.5, 0.5, 0.25]]), torch.tensor([[1, 0, 0]]))
    >>> [round(x, 6) for x in value[0].tolist()]  # log 2; (1/4)^2 log 4/3; below the margin
    [0.693147, 0.01798, 0.0]
    """

    def __init__(
        self,
        task: Task,
        *,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        clip: float = 0.05,
        **options: Unpack[PixelOptions],
    ) -> None:
        super().__init__(task, gamma_pos=gamma_pos, gamma_neg=gamma_neg, clip=clip, **options)
