"""Region losses: overlap of prediction and target, from sums over the pixels."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack

from lossmith.core.pixels import Task
from lossmith.torch.loss import Door, Loss, Numbers
from lossmith.torch.presets import preset
from lossmith.torch.sums import SumLoss

Pool = Literal["image", "batch"]
Classes = Literal["all", "present"] | Sequence[int]
Empty = Literal["area", "smooth", "skip", "zero"]


class ImageOptions(Door, total=False):
    """Options of losses of sums over images that fix themselves which classes count, and how much."""

    pool: Pool
    empty: Empty


class ItemOptions(ImageOptions, total=False):
    """Options of losses that give one value for each image and class."""

    classes: Classes


class RegionOptions(ItemOptions, total=False):
    """Options of region losses."""

    class_weight: Numbers | None


class IndexOptions(RegionOptions, total=False):
    """Options of losses that are an index of overlap."""

    average: Literal["macro", "image", "micro"]


class DiceLoss(Loss, name="dice"):
    r"""Soft Dice: the overlap of prediction and target.

    .. math:: L = 1 - \frac{2 I + s}{P + T + s}

    with the sums over pixels I = sum w p t, P = sum w p, T = sum w t, by image and class (or by class over the
    batch), then their mean.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        smooth: s >= 0.
        squared: V-Net's denominator, sum w p^2 + sum w t^2 in place of P + T.
        log: -log of the index in place of 1 - index.
        pool: ``"image"``: sums of each image; ``"batch"``: over the batch.
        classes: ``"all"``; ``"present"``, those with target pixels; or class indices. Binary has one, the foreground.
        empty: a class without target pixels costs its mean probability P/N (``"area"``: false positives are still
            pushed down, empty
            predicted empty costs 0), what the formula says (``"smooth"``), or is left out (``"skip"``); ``"zero"``: it
            costs 0 and counts in the mean.
        average: ``"macro"``, the mean is over all pairs of image and class that count; ``"image"``, over the classes of
            an image and then over the images, so that every image counts alike however many of its classes count;
            ``"micro"``, one index for all classes together, of their sums (times `class_weight`) added up.
        class_weight: one number for each class; the mean divides by them. Binary: one number.
        ignore_index: target value of pixels that do not count.
        reduction: ``"mean"`` over images and classes, ``"sum"``, or ``"none"``: (N, C), pooled (C,).
        from_logits: False where the first argument holds probabilities.
        process_group: the processes of which each has a part of the batch: ``"world"`` or a torch.distributed group.
            Value and gradient are then those of the whole batch; see the page "Exact across processes".

    Shapes:
        logits (N, C, \*space), binary also (N, 1, \*space) or (N, \*space); target (N, \*space) class indices or
        the logits' shape,
        one-hot or soft; weight (N, \*space).

    Range [0, 1] (with `log` [0, inf)), 0 where p = t. Soft targets take I = sum w min(p, t), least at p = t (Wang
    2023). Dice is `TverskyLoss` with alpha = beta = 1/2 (and half the smooth).

    Sources: Drozdzal 2016, sec. 3; squared: Milletari 2016, sec. 3.

    >>> import torch
    >>> loss = DiceLoss("binary")
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)  # 1 - 2 (1/2) / (2 + 1)
    0.666667
    """

    def __init__(
        self,
        task: Task,
        *,
        smooth: float = 0.0,
        squared: bool = False,
        log: bool = False,
        **options: Unpack[IndexOptions],
    ) -> None:
        super().__init__(task, smooth=smooth, squared=squared, log=log, **options)

    @classmethod
    def like(
        cls, library: Literal["monai", "smp", "kornia", "nnunet", "keras", "vnet"], task: Task, **options: Any
    ) -> Loss | SumLoss:
        """The Dice loss with the number of another library's class at its defaults, as options of this one.

        Args:
            library: ``"monai"``, ``"smp"`` (segmentation_models.pytorch), ``"kornia"`` (multiclass), ``"nnunet"`` (its
                `SoftDiceLoss`, plus 1), ``"keras"``, or ``"vnet"`` (the paper).
            task: as for the class.
            **options: options of this class, which go before those of the preset.

        The page "Six Dice losses" says what holds and what does not.

        >>> DiceLoss.like("smp", "multiclass", ignore_index=255).spec
        "dice(pool='batch', empty='zero', ignore_index=255)"
        """
        return preset("dice", library, task, options)


class JaccardLoss(Loss, name="jaccard"):
    r"""Soft Jaccard index (IoU).

    .. math:: L = 1 - \frac{I + s}{P + T - I + s}

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        smooth: s >= 0.
        log: -log of the index in place of 1 - index.
        pool, classes, empty, average, class_weight, ignore_index, reduction, from_logits, process_group: as in
            `DiceLoss`; so are shapes.

    Range [0, 1] (with `log` [0, inf)), 0 where p = t; J = D / (2 - D) for each item. It is `TverskyLoss` with alpha =
    beta = 1. Source: Rahman & Wang 2016; soft targets: Wang 2023.

    >>> import torch
    >>> loss = JaccardLoss("binary")
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)  # 1 - (1/2) / (5/2)
    0.8
    """

    def __init__(self, task: Task, *, smooth: float = 0.0, log: bool = False, **options: Unpack[IndexOptions]) -> None:
        super().__init__(task, smooth=smooth, log=log, **options)


class TverskyLoss(Loss, name="tversky"):
    r"""Dice with false positives and false negatives weighed apart.

    .. math:: L = 1 - \frac{I + s}{I + \alpha FP + \beta FN + s}, \qquad FP = P - I,\; FN = T - I

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        alpha: weight of false positives, >= 0.
        beta: weight of false negatives, >= 0; beta > alpha raises recall.
        smooth: s >= 0; with alpha = beta = 1/2 twice that of `DiceLoss`.
        pool, classes, empty, average, class_weight, ignore_index, reduction, from_logits, process_group: as in
            `DiceLoss`; so are shapes.

    Range [0, 1], 0 where p = t. alpha = beta = 1/2 is Dice, alpha = beta = 1 Jaccard. Source: Salehi 2017, Eq. 3.

    >>> import torch
    >>> loss = TverskyLoss("binary", alpha=0.3, beta=0.7)
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)
    0.615385
    """

    def __init__(
        self,
        task: Task,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        smooth: float = 0.0,
        **options: Unpack[IndexOptions],
    ) -> None:
        super().__init__(task, alpha=alpha, beta=beta, smooth=smooth, **options)

    @classmethod
    def like(cls, library: Literal["monai", "smp", "kornia", "keras"], task: Task, **options: Any) -> Loss | SumLoss:
        """The Tversky loss with the number of another library's class at its defaults; see `DiceLoss.like`.

        alpha and beta are 1/2 unless given, also where the library (kornia) has no default. Keras calls the weight of
        false negatives alpha; here it is beta.

        >>> TverskyLoss.like("kornia", "multiclass", alpha=0.3, beta=0.7).spec
        "tversky(alpha=0.3, beta=0.7, classes='present', average='image', ignore_index=-100)"
        """
        return preset("tversky", library, task, options)


class FocalTverskyLoss(Loss, name="focal_tversky"):
    r"""A power of the Tversky loss of each class.

    .. math:: L = \mathrm{mean}\,(1 - TI)^\gamma

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        alpha: weight of false positives, >= 0.
        beta: weight of false negatives, >= 0 (the paper calls this one alpha = 0.7).
        gamma: exponent > 0; the paper's 1/gamma with gamma = 4/3 is 0.75 here. gamma = 1 is `TverskyLoss`.
        smooth: s >= 0.
        pool, classes, empty, average, class_weight, ignore_index, reduction, from_logits, process_group: as in
            `DiceLoss`; so are shapes.
            An empty class costs
            its mean probability, without the power.

    Range [0, 1], 0 where p = t, with a finite gradient there. Source: Abraham & Khan 2018, Eq. 4.

    >>> import torch
    >>> loss = FocalTverskyLoss("binary")
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)  # (8/13)^0.75
    0.6948
    """

    def __init__(
        self,
        task: Task,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 0.0,
        **options: Unpack[IndexOptions],
    ) -> None:
        super().__init__(task, alpha=alpha, beta=beta, gamma=gamma, smooth=smooth, **options)


class GeneralizedDiceLoss(Loss, name="gdice"):
    r"""One Dice over all classes, rare classes weighed up.

    .. math:: L = 1 - \frac{2 \sum_c w_c I_c + s}{\sum_c w_c (P_c + T_c) + s}, \qquad w_c \propto 1 / T_c^2

    A ratio of sums, not a mean of ratios. Weights are relative to that of the rarest class present, which has 1
    (so `smooth` counts its
    pixels); an absent class gets that weight too, and so its false positives are pushed down.

    Args:
        task: ``"binary"`` (background and foreground, the paper's two classes), ``"multiclass"`` or ``"multilabel"``.
        weighting: ``"square"`` 1/T^2, ``"simple"`` 1/T, ``"uniform"`` 1.
        smooth: s >= 0.
        pool, classes, empty, ignore_index, from_logits: as in `DiceLoss`; so are shapes. `empty` matters where
            every class is absent.
        reduction: ``"none"`` gives (N,), pooled a scalar.

    Range [0, 1], 0 where p = t. Source: Sudre 2017, Eq. 3.

    >>> import torch
    >>> loss = GeneralizedDiceLoss("binary")
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)  # w = 1/9, 1
    0.625
    """

    def __init__(
        self,
        task: Task,
        *,
        weighting: Literal["square", "simple", "uniform"] = "square",
        smooth: float = 0.0,
        **options: Unpack[ItemOptions],
    ) -> None:
        super().__init__(task, weighting=weighting, smooth=smooth, **options)


class LovaszHingeLoss(Loss, name="lovasz_hinge"):
    r"""The Lovasz extension of the Jaccard loss on hinge errors of the logits.

    .. math:: L = \sum_i m_{(i)} g_i, \qquad m_i = \max(0, 1 - z_i (2 t_i - 1)) \text{ in falling order}

    g_i is what the Jaccard loss grows by as pixel i joins the errors.

    Args:
        task: ``"binary"`` or ``"multilabel"``.
        per_image: sort each image by itself (the authors' default), or the batch.
        classes, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so are shapes.
            Soft targets
            are refused.

    Range [0, inf), 0 where every pixel is right by a margin of 1; an image without foreground costs its largest
    error. The common form "BCE + lambda Lovasz" is ``ce + 0.5*lovasz_hinge``. Sources: Yu & Blaschko 2015; Berman
    2018.

    >>> import torch
    >>> loss = LovaszHingeLoss("binary")
    >>> round(loss(torch.tensor([[3.0, -0.5, -2.0]]), torch.tensor([[1, 1, 0]])).item(), 6)  # 1.5 * 1/2
    0.75
    """

    def __init__(
        self,
        task: Task,
        *,
        per_image: bool = True,
        classes: Classes = "all",
        class_weight: Numbers | None = None,
        **options: Unpack[Door],
    ) -> None:
        super().__init__(task, per_image=per_image, classes=classes, class_weight=class_weight, **options)


class LovaszSoftmaxLoss(Loss, name="lovasz"):
    r"""The Lovasz extension of the Jaccard loss on probability errors.

    .. math:: L = \mathrm{mean}_c \sum_i m_{(i)} g_i, \qquad m_i = |t_i - p_i| \text{ in falling order}

    g_i is what the Jaccard loss of class c grows by as pixel i joins the errors.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        per_image: sort each image by itself, or the batch (the authors' default).
        classes: ``"all"``, ``"present"`` or class indices; None: present for multiclass, all for sigmoid tasks.
        empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so are shapes. Soft
            targets
            are refused.

    Range [0, 1], 0 where p = t; equal to 1 - IoU for hard predictions. The common form "softmax loss + lambda Lovasz"
    is ``ce + 0.5*lovasz``. Source: Berman 2018, Eqs. 8-11.

    >>> import torch
    >>> loss = LovaszSoftmaxLoss("binary", from_logits=False)
    >>> value = loss(torch.tensor([[0.9, 0.4, 0.2]]), torch.tensor([[1, 1, 0]]))
    >>> round(value.item(), 6)  # .6 * 1/2 + .2 * 1/6 + .1 * 1/3
    0.366667
    """

    def __init__(
        self,
        task: Task,
        *,
        per_image: bool = False,
        classes: Classes | None = None,
        empty: Empty = "area",
        class_weight: Numbers | None = None,
        **options: Unpack[Door],
    ) -> None:
        super().__init__(task, per_image=per_image, classes=classes, empty=empty, class_weight=class_weight, **options)
