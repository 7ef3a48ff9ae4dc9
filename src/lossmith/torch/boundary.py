"""Boundary losses: distance maps of the target, and outlines."""

from collections.abc import Sequence
from typing import Unpack

from lossmith.core.pixels import Task
from lossmith.torch.loss import Loss
from lossmith.torch.region import RegionOptions


class BoundaryLoss(Loss, name="boundary"):
    r"""Boundary loss: the mean signed distance of the prediction to the target's boundary.

    .. math:: L = \frac{1}{N} \sum_q w_q\, \phi(q)\, p(q)

    phi is the exact Euclidean distance to the nearest valid pixel of the other kind, negative inside the class.
    A class that an image does not have is at distance 1 everywhere, one that fills it at -1.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        spacing: the size of a pixel along each axis, for the distances; None: 1.
        shift: phi + 1 inside, as in the authors' code: the pixels of a class at its boundary have 0 in place of -1.
        bounded: each side of phi is divided by its greatest distance, so that phi and the loss lie in [-1, 1].
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`.
            The authors leave the background out: ``classes=[1, 2, ...]``.

    Shapes:
        logits (N, C, \*space), binary also (N, 1, \*space) or (N, \*space), of at most three spatial axes; target
        (N, \*space) class indices or the logits' shape, one-hot; weight (N, \*space); by name distance=, signed maps
        (N, C, \*space) made beforehand by `lossmith.data.DistanceMaps`, to which shift and bounded are then applied;
        spacing is an option of the maps then, and a ValueError here.

    Range: negative where the prediction is right; least, and below 0, at p = t. Alone it is hard to start with: the
    paper's schedule is (1 - a) boundary + a region, a falling from 1 to 0.01 by 0.01 an epoch.

    Source: Kervadec 2019, Eq. 5.

    >>> import torch
    >>> loss = BoundaryLoss("binary")
    >>> loss(torch.zeros(1, 1, 1, 4), torch.tensor([[[1, 1, 0, 0]]])).item()  # phi = -2, -1, 1, 2, p = 1/2
    0.0
    >>> certain = torch.tensor([[[[99.0, 99.0, -99.0, -99.0]]]])
    >>> loss(certain, torch.tensor([[[1, 1, 0, 0]]])).item()  # (-2 - 1) / 4
    -0.75
    """

    def __init__(
        self,
        task: Task,
        *,
        spacing: Sequence[float] | None = None,
        shift: bool = False,
        bounded: bool = False,
        **options: Unpack[RegionOptions],
    ) -> None:
        super().__init__(task, spacing=spacing, shift=shift, bounded=bounded, **options)


class HausdorffDTLoss(Loss, name="hausdorff"):
    r"""Hausdorff loss by distance transforms: squared errors, weighed by how far they are from both boundaries.

    .. math:: L = \frac{1}{N} \sum_q w_q (p(q) - t(q))^2 \left(d_t(q)^\alpha + d_p(q)^\alpha\right)

    d_t and d_p are exact Euclidean distances to the boundary of the target, and of what is predicted: the likeliest
    class, in sigmoid tasks p > 1/2. They are constants of the gradient. A class that is nowhere or everywhere has
    no boundary and distance 1 at every pixel. So a network that predicts nothing yet has the gradient of the target's
    distances and of the squared error, never none.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        alpha: exponent of the distances, > 0.
        log: log(1 + L) of each image and class.
        spacing: the size of a pixel along each axis, for the distances; None: 1.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`.

    Shapes: as in `BoundaryLoss`; a map given as distance=, made with the same spacing, saves the transform of the
    target. d_t is its absolute value.

    Range [0, inf), 0 where p = t; grows as the image's size to the power alpha. The paper trains it beside Dice, with
    a factor set by epochs: ``Balanced(hausdorff, dice)``.

    Source: Karimi & Salcudean 2019, Eq. 8; the log as in MONAI.

    >>> import torch
    >>> loss = HausdorffDTLoss("binary")
    >>> loss(torch.zeros(1, 1, 1, 4), torch.tensor([[[1, 1, 0, 0]]])).item()  # (1/4) (5 + 2 + 2 + 5) / 4
    0.875
    """

    def __init__(
        self,
        task: Task,
        *,
        alpha: float = 2.0,
        log: bool = False,
        spacing: Sequence[float] | None = None,
        **options: Unpack[RegionOptions],
    ) -> None:
        super().__init__(task, alpha=alpha, log=log, spacing=spacing, **options)


class BoundaryDoULoss(Loss, name="boundary_dou"):
    r"""Boundary difference over union: Jaccard with less of the inside in the union, so that the boundary weighs more.

    .. math:: L = \frac{U - I}{U - a I}, \qquad a = \min(\mathrm{limit},\; 1 - 2 C / T), \qquad U = P_2 + T_2 - I

    I = sum w p t, P_2 = sum w p^2, T_2 = sum w t^2; C is the number of the target's pixels that have a neighbour along
    an axis outside of it (or outside of the image, or ignored), T that of all its pixels.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        limit: greatest a, in [-1, 1); the authors' code recommends 0.8.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so
            are shapes, but soft targets are refused. The authors' code pools the batch.

    Range [0, 1], 0 where p = t. a = 0 is Jaccard, a = -1 (nothing but boundary) Dice, both with squares.

    Source: Sun 2023, Eqs. 2-4.

    >>> import torch
    >>> loss = BoundaryDoULoss("binary")
    >>> round(loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]])).item(), 6)  # U = 3/2, I = 1/2, a = -1
    0.5
    """

    def __init__(self, task: Task, *, limit: float = 0.8, **options: Unpack[RegionOptions]) -> None:
        super().__init__(task, limit=limit, **options)


class ActiveContourLoss(Loss, name="active_contour"):
    r"""Active contours without edges: the length of the predicted contour, and what it encloses.

    .. math:: L = \frac{1}{N} \sum_q w_q \left(|\nabla p| + \lambda\, (p\,(1 - t)^2 + (1 - p)\, t^2)\right)

    The gradient is that of differences to the next pixel along each axis, 0 at the border of the image and beside
    ignored pixels; under its root stands the published 1e-8, whose root is taken off again.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        region: lambda >= 0.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so
            are shapes.

    Range [0, inf). The truth costs the length of its contour. The paper sums over the pixels, here is their mean.

    Source: Chen 2019, Eqs. 7-9, with c1 = 1 and c2 = 0.

    >>> import torch
    >>> loss = ActiveContourLoss("binary")
    >>> row = torch.tensor([[[99.0, 99.0, -99.0, -99.0]]])
    >>> round(loss(row, torch.tensor([[1, 1, 0, 0]])).item(), 4)  # one step of 1 over four pixels
    0.25
    """

    def __init__(self, task: Task, *, region: float = 1.0, **options: Unpack[RegionOptions]) -> None:
        super().__init__(task, region=region, **options)


class SurfaceDiceLoss(Loss, name="surface_dice"):
    r"""Surface Dice at a tolerance: the part of both outlines that is near the other.

    .. math:: L = 1 - \frac{\sum w\, S_p Z_t + \sum w\, S_t Z_p}{\sum w\, S_p + \sum w\, S_t}

    S_x, x minus its least value in a window of 3 pixels, is the soft outline (of 0 and 1 the inner one), Z_x the
    greatest S_x within the tolerance. What is outside of the image or ignored is in no window: the border of the image
    is no outline.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        tolerance: how far an outline may be off, in pixels along each axis; the window has 2 tolerance + 1.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so
            are shapes, but soft targets are refused.

    Range [0, 1], 0 where p = t. A class that fills the image has no outline and costs 1 - P / N. For certain
    predictions it is 1 minus the surface Dice of Nikolov 2021 with square windows for balls. It sees outlines alone:
    use it beside a region loss.

    Source: surface DSC, Nikolov 2021; soft outlines and zones by pooling, Bokhovkin & Burnaev 2019, Eqs. 1-4.

    >>> import torch
    >>> far = 99 * (2.0 * torch.eye(9)[4:5] - 1)  # a point in the middle of a row of nine
    >>> loss = SurfaceDiceLoss("binary", tolerance=1)
    >>> loss(far, torch.eye(9)[5:6].long()).item(), loss(far, torch.eye(9)[6:7].long()).item()
    (0.0, 1.0)
    """

    def __init__(self, task: Task, *, tolerance: int = 2, **options: Unpack[RegionOptions]) -> None:
        super().__init__(task, tolerance=tolerance, **options)


class StructureLoss(Loss, name="structure"):
    r"""Structure loss: cross-entropy and Jaccard in which pixels unlike their surroundings weigh more.

    .. math::
        L = \frac{\sum w a\, ce}{\sum w a} + 1 - \frac{\sum w a\, p t + s}{\sum w a\, (p + t - p t) + s},
        \qquad a = 1 + \lambda\, |\bar t - t|

    The mean of t is over what of the window is in the image and not ignored: the border of the image gets no extra
    weight. ce is the binary cross-entropy of each channel, for multiclass tasks that of the true class.

    Args:
        task: ``"binary"`` (the foreground), ``"multiclass"`` or ``"multilabel"``.
        lam: lambda >= 0; 0 is cross-entropy + Jaccard.
        radius: of the window, which is 2 radius + 1 pixels wide; the paper's 31 is 15.
        smooth: s >= 0; the authors' code has 1.
        pool, classes, empty, class_weight, ignore_index, reduction, from_logits, process_group: as in `DiceLoss`; so
            are shapes. What is said about empty classes holds for the Jaccard part.

    Range [0, inf), 0 where p = t. In the code that is copied most the weights of the cross-entropy cancel; here they
    weigh.

    Source: Wei 2020 (F3Net), Eqs. 4-8.

    >>> import torch
    >>> loss = StructureLoss("binary", radius=1)
    >>> round(loss(torch.zeros(1, 1, 1, 2), torch.tensor([[[1, 0]]])).item(), 6)  # log 2 + 1 - (1/2) / (3/2)
    1.359814
    """

    def __init__(
        self,
        task: Task,
        *,
        lam: float = 5.0,
        radius: int = 15,
        smooth: float = 0.0,
        **options: Unpack[RegionOptions],
    ) -> None:
        super().__init__(task, lam=lam, radius=radius, smooth=smooth, **options)
