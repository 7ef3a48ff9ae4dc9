"""Region losses beyond overlap: correlation, distances between classes, region and pixel losses in one."""

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from torch import Tensor

from lossmith.core.pixels import Task
from lossmith.torch.loss import Loss
from lossmith.torch.region import ImageOptions, RegionOptions


class MCCLoss(Loss, name="mcc"):
    r"""Matthews correlation coefficient of prediction and target.

    .. math:: L = 1 - \frac{TP\,TN - FP\,FN}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}

    with TP = I, FP = P - I, FN = T - I, TN = N - P - T + I, by image and class. Background counts as much as
    foreground: swapping the two changes nothing.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so
            are shapes. The authors pool over the batch. A class that covers everything leaves the background without
            pixels: it costs 1 - P/N, what `empty` says of an absent class (``"smooth"``: an absent one costs 1).

    Range [0, 2]: 0 where p = t, 1 for a prediction that says nothing, 2 for the opposite. Source: Abhishek & Hamarneh
    2021.

    >>> import torch
    >>> loss = MCCLoss("binary", from_logits=False)
    >>> value = loss(torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.tensor([[1, 0, 0, 0]]))
    >>> round(value.item(), 6)  # 1 - (1 2 - 1 0) / sqrt(2 1 3 2)
    0.42265
    """

    def __init__(self, task: Task, **options: Unpack[RegionOptions]) -> None:
        super().__init__(task, **options)


class LogCoshDiceLoss(Loss, name="logcosh_dice"):
    r"""The logarithm of the hyperbolic cosine of the Dice loss.

    .. math:: L = \log \cosh(1 - \mathrm{Dice})

    Near 0 half the square of the Dice loss, so its gradient fades as the overlap becomes right.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        smooth, squared: as in `DiceLoss`.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so
            are shapes. An empty class costs its mean probability.

    Range [0, 1], at most log cosh 1 = 0.434 for a class with target pixels; 0 where p = t. Source: Jadon 2020.

    >>> import torch
    >>> loss = LogCoshDiceLoss("binary")
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)  # log cosh 2/3
    0.207482
    """

    def __init__(
        self, task: Task, *, smooth: float = 0.0, squared: bool = False, **options: Unpack[RegionOptions]
    ) -> None:
        super().__init__(task, smooth=smooth, squared=squared, **options)


class NoiseRobustDiceLoss(Loss, name="noise_robust_dice"):
    r"""Between V-Net's Dice loss (gamma = 2) and an absolute error (gamma = 1).

    .. math:: L = \frac{\sum w |p - t|^\gamma}{\sum w p^2 + \sum w t^2}

    The smaller gamma, the less a pixel that is wrong counts beside many that are a little off.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        gamma: in [1, 2]; 2 is `DiceLoss` with ``squared=True``.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so
            are shapes. Without target pixels the formula itself would grow as p falls: ``empty="smooth"`` is 0, too.

    Range [0, inf) (gamma = 2: [0, 1]), 0 where p = t. Some code divides by sum p + sum t, which gamma = 2 does not
    make Dice. Source: Wang 2020.

    >>> import torch
    >>> loss = NoiseRobustDiceLoss("binary", gamma=1.0)
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)  # 2 / (1 + 1)
    1.0
    """

    def __init__(self, task: Task, *, gamma: float = 1.5, **options: Unpack[RegionOptions]) -> None:
        super().__init__(task, gamma=gamma, **options)


class SensitivitySpecificityLoss(Loss, name="sensitivity_specificity"):
    r"""The mean squared error of a class's pixels and that of all others.

    .. math:: L = r \frac{\sum w t (t - p)^2}{\sum w t} + (1 - r) \frac{\sum w (1 - t) (t - p)^2}{\sum w (1 - t)}

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        r: in [0, 1], share of the class's own pixels; larger raises recall. Each of few pixels counts much: at r =
            0.05 classes of less than 5 % of the pixels are still weighed up.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so
            are shapes. Where a class covers everything, the second mean is 0.

    Range [0, 1], 0 where p = t. Source: Brosch 2015.

    >>> import torch
    >>> loss = SensitivitySpecificityLoss("binary", r=0.5, from_logits=False)
    >>> value = loss(torch.tensor([[0.5, 0.5, 0.0, 0.0]]), torch.tensor([[1, 0, 0, 0]]))
    >>> round(value.item(), 6)  # (1/4 + (1/4) / 3) / 2
    0.166667
    """

    def __init__(self, task: Task, *, r: float = 0.05, **options: Unpack[RegionOptions]) -> None:
        super().__init__(task, r=r, **options)


class ComboLoss(Loss, name="combo"):
    r"""Weighted cross-entropy of each class against the rest, and Dice.

    .. math:: L = \alpha \frac{-\sum w (\beta t \log p + (1 - \beta) (1 - t) \log(1 - p))}{N}
        + (1 - \alpha) \Bigl(1 - \frac{2 I + s}{P + T + s}\Bigr)

    by image and class. (The paper subtracts Dice itself, a constant less.)

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        alpha: share of the cross-entropy, in [0, 1].
        beta: in [0, 1]; above 1/2 misses cost more, below it false alarms. 1/2 halves the cross-entropy.
        smooth: s >= 0.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so
            are shapes. `empty` is about the Dice part alone: an absent class keeps its cross-entropy.

    Range [0, inf), 0 for a certain, right prediction. alpha = 0 is `DiceLoss`. Source: Taghanaki 2019.

    >>> import torch
    >>> loss = ComboLoss("binary")
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)  # log(2)/4 + (2/3)/2
    0.50662
    """

    def __init__(
        self,
        task: Task,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        smooth: float = 0.0,
        **options: Unpack[RegionOptions],
    ) -> None:
        super().__init__(task, alpha=alpha, beta=beta, smooth=smooth, **options)


class UnifiedFocalLoss(Loss, name="unified_focal"):
    r"""Focal and focal Tversky loss with common parameters.

    .. math:: L = \lambda \frac{\sum w\, \delta_t (1 - p_t)^{\gamma_t} (-\log p_t)}{N}
        + (1 - \lambda)\, \mathrm{mean}_c (1 - TI_c)^{g_c}, \qquad
        TI = \frac{I + s}{I + \delta FN + (1 - \delta) FP + s}

    with delta_t = delta for foreground, 1 - delta for background. Symmetric: gamma_t = gamma and g_c = 1 - gamma for
    all classes. Asymmetric: for foreground gamma_t = 0 and g_c = 1 - gamma, for the background gamma_t = gamma and
    g_c = 1. So easy background is turned down, and a class that is nearly right keeps a gradient.

    Args:
        task: ``"binary"``, ``"multiclass"`` (class 0 is the background) or ``"multilabel"``; in sigmoid tasks the
            background of each channel is a class, too.
        lam: lambda in [0, 1], share of the focal loss.
        delta: in [0, 1]; above 1/2 misses cost more.
        gamma: in [0, 1). 0 is weighted cross-entropy and Tversky.
        asymmetric: the asymmetric form.
        smooth: s >= 0.
        pool, ignore_index, from_logits, process_group: as in `DiceLoss`; so are shapes.
        empty: as in `DiceLoss`, of the Tversky part alone: an absent class keeps its pixels' focal loss.
        reduction: ``"none"`` gives (N, C), of sigmoid tasks (N, 2 C), backgrounds first; pooled (C,) or (2 C,). The
            focal loss is in each of them.

    Range [0, inf), 0 for a certain, right prediction. In the paper's symmetric form gamma and 1 - gamma are swapped;
    at 1/2 all agree. The authors' code gives lambda to the Tversky part. Source: Yeung 2022.

    >>> import torch
    >>> loss = UnifiedFocalLoss("binary", delta=0.5, gamma=0.0)
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)  # log(2)/4 + (2/5 + 2/3)/4
    0.439953
    """

    def __init__(
        self,
        task: Task,
        *,
        lam: float = 0.5,
        delta: float = 0.6,
        gamma: float = 0.5,
        asymmetric: bool = True,
        smooth: float = 0.0,
        **options: Unpack[ImageOptions],
    ) -> None:
        super().__init__(task, lam=lam, delta=delta, gamma=gamma, asymmetric=asymmetric, smooth=smooth, **options)


class GeneralizedWassersteinDiceLoss(Loss, name="wasserstein_dice"):
    r"""Dice by how far the predicted class is from the true one.

    .. math:: L = 1 - \frac{2 R}{2 R + E}, \quad E = \sum_i w_i W_i, \quad R = \sum_i w_i a_i (a_i - W_i), \quad
        W_i = \sum_c p_{ic}\, d(t_i, c), \quad a_i = d(t_i, 0)

    W_i is the Wasserstein distance between prediction and truth, a_i the distance between truth and background (0 for
    background itself): a pixel's credit is what the prediction is nearer to the truth than the background is.

    Args:
        task: ``"multiclass"``; class 0 is the background.
        distances: d, (C, C): symmetric, 0 on the diagonal, > 0 elsewhere; divided by the largest. None: 1 for all
            pairs, so that W_i = 1 - p_t.
        pool, ignore_index, from_logits, process_group: as in `DiceLoss`; so are shapes. Soft targets are refused.
        empty: of an image without foreground: ``"area"``: E / N, the mean distance; ``"smooth"``: 1, what the formula
            says; ``"skip"``: nothing.
        reduction: ``"none"`` gives (N,), pooled a scalar.

    Range [0, 2], at most 1 where no class is farther from another than from the background; 0 where p = t. MONAI's
    ``weighting_mode="default"`` puts 1 for a_i, which is the same where all classes are at the largest distance from
    the background. Source: Fidon 2017.

    >>> import torch
    >>> distances = [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]  # classes 1 and 2 are kinds of one thing
    >>> loss = GeneralizedWassersteinDiceLoss("multiclass", distances=distances, from_logits=False)
    >>> probs = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]])
    >>> round(loss(probs, torch.tensor([[0, 1]])).item(), 6)  # E = 1/2, R = 1/2: confused with its like
    0.333333
    """

    def __init__(
        self,
        task: Task,
        *,
        distances: Sequence[Sequence[float]] | np.ndarray | Tensor | None = None,
        **options: Unpack[ImageOptions],
    ) -> None:
        super().__init__(task, distances=_nested(distances), **options)


def _nested(value: Any) -> Any:
    """Lists, arrays and tensors as tuples, which a spec can write."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(map(_nested, value)) if isinstance(value, list | tuple) else value
