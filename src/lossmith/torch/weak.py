"""Losses that need no mask, or little of one: they look at the image, at the prediction alone, or at known sizes."""

from typing import Unpack

from lossmith.core.pixels import Task
from lossmith.torch.loss import Door, Loss, Numbers


class KernelOptions(Door, total=False):
    """Options of the losses that weigh neighbours by the image."""

    radius: int
    appearance: float
    smoothness: float
    sigma_xy: float
    sigma_rgb: float


class GatedCRFLoss(Loss, name="gated_crf"):
    r"""Gated conditional random field: neighbours that look alike should have the same class. It has no target.

    .. math:: L = \frac{\sum_i w_i \sum_{j \ne i} g_j\, k_{ij} \left(1 - \sum_c p_{ic} p_{jc}\right)}{\sum_i w_i},\qquad
        k_{ij} = a\, e^{-\frac{d_{xy}^2}{2 \sigma_{xy}^2} - \frac{d_{rgb}^2}{2 \sigma_{rgb}^2}}
        + b\, e^{-\frac{d_{xy}^2}{2 \sigma_{xy}^2}}

    over the pixels j in the window of pixel i, as far as it lies in the image. The gate g is 0 for pixels that are
    ignored or have weight 0, else 1. Sigmoid tasks: the two-class form, p_i + p_j - 2 p_i p_j.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"`` (each channel by itself).
        radius: the window has 2 radius + 1 pixels along each axis: 120 neighbours for 5 in 2-D, 1330 in 3-D.
        appearance: a, of neighbours that are near and look alike.
        smoothness: b, of neighbours that are near.
        sigma_xy: in pixels.
        sigma_rgb: in the unit of the image; 0.1 is for images in [0, 1].
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes and weight. Without
            an `ignore_index` every pixel takes part, labelled or not.

    Called as ``loss(logits, image=image)`` or ``loss(logits, target, weight, image=image)``, the image (N, k, \*space)
    as the network saw it, without gradient; of the target it only matters where it is `ignore_index`. Space has any
    number of dimensions. Time is in proportion to the neighbours; memory is not (no array has an entry for each).

    Range [0, inf); 0 where all pixels are of one class for certain: never use it alone. Source: Obukhov 2019,
    Eqs. 2-4; windows end at the image's edge, where the published code counts pixels that are not there.

    >>> import torch
    >>> loss = GatedCRFLoss("binary", radius=1, appearance=1.0, smoothness=0.0)
    >>> image = torch.tensor([[[0.5, 0.5]]])  # two pixels that look alike, one step apart: k = exp(-1/72)
    >>> round(loss(torch.tensor([[50.0, -50.0]]), image=image).item(), 6)
    0.986207
    """

    def __init__(self, task: Task, **options: Unpack[KernelOptions]) -> None:
        super().__init__(task, **options)


class NormalizedCutLoss(Loss, name="ncut"):
    r"""Normalised cut: classes that are cut off where neighbours look different. It has no target.

    .. math:: L = \mathrm{mean}_k \frac{p_k^\top W (1 - p_k)}{1^\top W p_k},\qquad W_{ij} = w_i w_j k_{ij},\ W_{ii} = 0

    for each image, k as in `GatedCRFLoss`: a window in place of the paper's dense Gaussian. The paper adds the classes
    up: its value is C times ours. Sigmoid tasks: the mean of foreground and background.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"`` (each channel by itself).
        radius, appearance, smoothness, sigma_xy, sigma_rgb: as in `GatedCRFLoss`.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; a value for each image and class.

    Called as `GatedCRFLoss`.

    Shapes:
        logits (N, C, \*space), binary also (N, \*space), and the image (N, k, \*space); space has any number of axes.
        target and weight as in `CrossEntropyLoss`; of the target it only matters where it is `ignore_index`. Value: a
        scalar, for ``reduction="none"`` (N, C), for binary tasks (N, 1).

    Range [0, 1]; 0 where one class has everything for certain: never use it alone. A class that is nowhere likely is
    still cut as its probabilities say, relative to the greatest of them. Source: Tang 2018, Eq. 3.

    >>> import torch
    >>> image = torch.tensor([[[0.0, 0.0, 9.0, 9.0]]])  # two halves that have nothing in common
    >>> logits = torch.tensor([[50.0, 50.0, -50.0, -50.0]])
    >>> round(NormalizedCutLoss("binary", smoothness=0.0)(logits, image=image).item(), 6)
    0.0
    """

    def __init__(self, task: Task, **options: Unpack[KernelOptions]) -> None:
        super().__init__(task, **options)


class MumfordShahLoss(Loss, name="mumford_shah"):
    r"""Mumford-Shah functional: classes of even colour with short outlines. It has no target.

    .. math:: L = \frac{\sum_i w_i \sum_k \left(p_{ik} |x_i - c_k|^2 + \lambda |\nabla p_k|_i\right)}{\sum_i w_i},\qquad
        c_k = \frac{\sum_i w_i p_{ik} x_i}{\sum_i w_i p_{ik}}

    c_k is the mean colour of class k in the image. Sigmoid tasks have two classes a channel: what is in it, and the
    rest.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        lam: >= 0. What suits depends on the image's unit, as its square does.
        isotropic: as in `TotalVariationLoss`.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes and weight.

    Called as `GatedCRFLoss`; the image may have any number of channels. Range [0, inf). Source: Kim & Ye 2020, Eq. 11,
    whose sums over pixels are means here.

    >>> import torch
    >>> image = torch.tensor([[[0.0, 0.0, 1.0]]])
    >>> logits = torch.tensor([[50.0, -50.0, -50.0]])  # {0} and {0, 1}: the second has mean 1/2
    >>> round(MumfordShahLoss("binary", lam=0.0)(logits, image=image).item(), 6)  # (0 + 1/4 + 1/4) / 3
    0.166667
    """

    def __init__(self, task: Task, *, lam: float = 1e-3, isotropic: bool = False, **options: Unpack[Door]) -> None:
        super().__init__(task, lam=lam, isotropic=isotropic, **options)


class EntropyLoss(Loss, name="entropy"):
    r"""Entropy of the prediction, in nats: be certain where nobody says what is right. It has no target.

    .. math:: L = \mathrm{mean}_i\, -\sum_c p_{ic} \log p_{ic}

    sigmoid tasks: -p log p - (1-p) log(1-p) of every element.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes and weight. To look
            at unlabelled pixels alone, give the others weight 0.

    Called as ``loss(logits)`` or ``loss(logits, target, weight)``. Range [0, log C]; 0 for any certain prediction:
    never use it alone. Source: Grandvalet & Bengio 2004.

    >>> import torch
    >>> round(EntropyLoss("multiclass")(torch.zeros(1, 4, 2)).item(), 6)  # log 4
    1.386294
    """

    def __init__(self, task: Task, **options: Unpack[Door]) -> None:
        super().__init__(task, **options)


class TotalVariationLoss(Loss, name="tv"):
    r"""Total variation of the probabilities: smooth regions. It has no target.

    .. math:: L = \mathrm{mean}_i \sum_a |p_{i + e_a} - p_i|
        \quad\text{or, isotropic, }\quad \mathrm{mean}_i \sqrt{\sum_a (p_{i + e_a} - p_i)^2}

    over the axes a of space; multiclass: the mean over the classes, so that two classes cost what a binary task does.
    A pixel has no difference to one that is outside of the image, ignored or of weight 0.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        isotropic: False adds the axes up (outlines along them are cheapest); True takes the gradient's length.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; so are shapes and weight.

    Called as ``loss(logits)`` or ``loss(logits, target, weight)``. Range [0, number of axes]; 0 for any constant
    prediction: never use it alone. Source: Rudin 1992.

    >>> import torch
    >>> logits = torch.tensor([[[50.0, -50.0], [-50.0, -50.0]]])
    >>> round(TotalVariationLoss("binary")(logits).item(), 6)  # two differences, four pixels
    0.5
    >>> round(TotalVariationLoss("binary", isotropic=True)(logits).item(), 6)  # both at one pixel: sqrt 2 / 4
    0.353553
    """

    def __init__(self, task: Task, *, isotropic: bool = False, **options: Unpack[Door]) -> None:
        super().__init__(task, isotropic=isotropic, **options)


class SizeConstraint(Loss, name="size"):
    r"""Size constraint: each class takes a share of the image between two bounds. It has no target.

    .. math:: L = \mathrm{mean}_k \begin{cases} (l_k - V_k)^2 & V_k < l_k \\ (V_k - h_k)^2 & V_k > h_k \\ 0 &
        \text{else} \end{cases},\qquad V_k = \frac{\sum_i w_i p_{ik}}{\sum_i w_i}

    for each image. The paper's sizes are in pixels: its value is the squared number of pixels times ours.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        low, high: bounds in [0, 1]: one number for each class (binary: of the foreground), or one for all classes
            but the background (class 0 of a multiclass task, which is then free). None: no such bound, as 0 for `low`
            and 1 for `high` are. The defaults are a small object: give your own.
        ignore_index, reduction, from_logits, process_group: as in `CrossEntropyLoss`; a value for each image and class.

    Called as ``loss(logits)`` or ``loss(logits, target, weight, tags=tags)``. `tags` (N, K), bool, says which classes
    are in an image (binary: K = 1); those that are not must have size 0.

    Shapes:
        logits (N, C, \*space), binary also (N, \*space); space has any number of axes. target and weight as in
        `CrossEntropyLoss`; of the target it only matters where it is `ignore_index`. Value: a scalar, for
        ``reduction="none"`` (N, C), for binary tasks (N, 1).

    Range [0, 1]; 0 where every size is between its bounds. Source: Kervadec 2019, Eq. 3.

    >>> import torch
    >>> loss = SizeConstraint("binary", low=0.1, high=0.3)
    >>> round(loss(torch.zeros(1, 1, 4, 4)).item(), 6)  # half of the image: (1/2 - 3/10)^2
    0.04
    >>> round(loss(torch.zeros(1, 1, 4, 4), tags=torch.tensor([[False]])).item(), 6)  # nothing may be there
    0.25
    """

    def __init__(
        self,
        task: Task,
        *,
        low: float | Numbers | None = 0.01,
        high: float | Numbers | None = 0.1,
        **options: Unpack[Door],
    ) -> None:
        super().__init__(task, low=low, high=high, **options)
