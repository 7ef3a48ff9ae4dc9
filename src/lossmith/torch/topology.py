"""Topology losses: skeletons of prediction and target."""

from typing import Unpack

from lossmith.core.pixels import Task
from lossmith.torch.loss import Loss
from lossmith.torch.region import RegionOptions


class ClDiceLoss(Loss, name="cldice"):
    r"""Soft centre-line Dice: the harmonic mean of how much of each skeleton lies inside of the other mask.

    .. math:: L = 1 - \frac{2\, T_{prec} T_{sens}}{T_{prec} + T_{sens}}, \qquad
        T_{prec} = \frac{\sum S(p)\, t + s}{\sum S(p) + s}, \quad T_{sens} = \frac{\sum S(t)\, p + s}{\sum S(t) + s}

    S(x) is the soft skeleton: what openings of x, of its erosion, of the erosion of that and so on do not give back.
    A gap in a thin structure costs as much as its length, however thin it is; the width of the structure costs nothing,
    so this loss needs another beside it: ``0.5 * DiceLoss(task) + 0.5 * ClDiceLoss(task)`` is the paper's.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``; each class has a skeleton of its own.
        iterations: erosions; half the width in pixels of the thickest structure, or more. More change nothing but cost
            time; with fewer, thick structures have no skeleton and are not seen.
        smooth: s >= 0.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`.

    Shapes:
        as `DiceLoss`, with 2 or 3 axes of space. Windows end at the border of the image, and ignored pixels are
        outside of the image.

    Range [0, 1], 0 where p = t. Soft targets take min(S(p), t) and min(S(t), p) in place of the products. A class whose
    target has pixels but (in so many iterations) no skeleton has sensitivity 1. Every class of the target is counted,
    the background of a multiclass task too unless `classes` says otherwise.

    Source: Shit 2021, Eqs. 1-3 and Alg. 1.

    >>> import torch
    >>> line = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
    >>> p = 0.5 * line.float()
    >>> round(ClDiceLoss("binary", from_logits=False)(p, line).item(), 6)  # precision 1, sensitivity 1/2
    0.333333
    """

    def __init__(
        self, task: Task, *, iterations: int = 10, smooth: float = 0.0, **options: Unpack[RegionOptions]
    ) -> None:
        super().__init__(task, iterations=iterations, smooth=smooth, **options)


class SkeletonRecallLoss(Loss, name="skeleton_recall"):
    r"""Recall on a tube round the exact skeleton of the target: where a thin structure breaks, it costs.

    .. math:: L = 1 - \frac{\sum_{tube} p\, t + s}{\sum_{tube} t + s}

    The skeleton is that of the foreground, all classes together (of a multilabel target: of each channel), by thinning
    that keeps connections; the tube is cut to the object, and each class has its part. Only the target has a skeleton,
    so this is much cheaper than `ClDiceLoss`, and needs a loss beside it that pushes false positives down, such as
    `DiceLoss`.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        tube: how many steps the skeleton is widened; 0 is the skeleton itself, the paper has 2.
        smooth: s >= 0.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`.

    Shapes:
        as `DiceLoss`, with 2 or 3 axes of space; the target is of class indices, or one-hot.

    Range [0, 1], 0 where p = t. A class with target pixels but without tube costs 0; so does the background of a
    multiclass task: leave it out with ``classes=[1, 2, ...]``, as the paper does, for the mean over the others. Needs
    scikit-image: ``pip install 'lossmith[topology]'``.

    Source: Kirchhoff 2024.

    >>> import torch
    >>> line = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
    >>> p = torch.tensor([[[0.0, 0, 0, 0], [1, 1, 0.5, 0.5], [0, 0, 0, 0]]])
    >>> round(SkeletonRecallLoss("binary", from_logits=False)(p, line).item(), 6)
    0.25
    """

    def __init__(self, task: Task, *, tube: int = 2, smooth: float = 0.0, **options: Unpack[RegionOptions]) -> None:
        super().__init__(task, tube=tube, smooth=smooth, **options)


class CbDiceLoss(Loss, name="cbdice"):
    r"""Centre-line boundary Dice: `ClDiceLoss` whose skeletons and masks are weighed by radius and distance.

    .. math:: L = 1 - \frac{2\, P\, R}{P + R}, \qquad
        P = \frac{\sum S(p)\, r_p^{-a}\, d_t}{\sum S(p)\, r_p^{-a}\, \rho_t}, \quad
        R = \frac{\sum S(t)\, r_t^{-a}\, d_p\, p}{\sum S(t)\, r_t^{-a}\, \rho_p}

    d: distance of a pixel to the border inside of the mask; r: d on the skeleton; both in units of the largest radius
    of the skeleton. rho_t is r_t where the target has its skeleton, else r_p p; rho_p is r_p p where the prediction has
    its skeleton, else r_t. a = 1 in 2D, 2 in 3D. Masks and skeletons of the prediction for d and r are cut at 1/2 and
    have no gradient; p and S(p) have.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``; the paper joins all
            foreground to one.
        iterations: as in `ClDiceLoss`.
        smooth: s >= 0, added to numerators and denominators (the published code: 1).
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`.

    Shapes:
        as `DiceLoss`, with 2 or 3 axes of space; the target is of class indices, or one-hot.

    Range (-inf, 1], 0 where p = t. It can be below 0: where the skeletons differ, d_t may be greater than r_p, and
    precision above 1, as in the published code. Where no pixel of a class is predicted above 1/2 there is no radius:
    the loss is 1 and has no gradient, so it needs a loss beside it that starts the network.

    Source: Shi 2024.

    >>> import torch
    >>> line = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
    >>> p = torch.tensor([[[0.0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]])
    >>> round(CbDiceLoss("binary", from_logits=False)(p, line).item(), 6)  # precision 1, sensitivity 3/4
    0.142857
    """

    def __init__(
        self, task: Task, *, iterations: int = 10, smooth: float = 0.0, **options: Unpack[RegionOptions]
    ) -> None:
        super().__init__(task, iterations=iterations, smooth=smooth, **options)
