"""Box losses: one value for each pair of boxes, then the weighted mean."""

from typing import Literal, Unpack

from lossmith.torch.box_loss import BoxLoss, BoxOptions

Penalties = Literal["iou", "giou", "diou", "ciou"]


class BoxL1Loss(BoxLoss, name="box_l1"):
    r"""Sum of the absolute differences of the coordinates, as in DETR.

    .. math:: L = \mathrm{mean}_i \sum_k |p_{ik} - t_{ik}|

    Args:
        reduction: as in `IoULoss`; so are shapes and `weight`.

    Boxes of any coding (corners, offsets, centre and size) of 4 or 6 numbers: it says nothing that x2 < x1. Range
    [0, inf); 0 for equal boxes. 4 times `torch.nn.L1Loss`, which takes the mean over the coordinates. Has the unit of
    the boxes: a large box costs more than a small one as wrong.

    Source: Carion 2020 (DETR), sec. 3.1.

    >>> import torch
    >>> BoxL1Loss()(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 2.0, 4.0]])).item()
    3.0
    """

    def __init__(self, **options: Unpack[BoxOptions]) -> None:
        super().__init__(**options)


class BoxSmoothL1Loss(BoxLoss, name="box_smooth_l1"):
    r"""Smooth L1 summed over the coordinates, as in Fast R-CNN.

    .. math:: L = \mathrm{mean}_i \sum_k s(p_{ik} - t_{ik}),\quad
        s(d) = d^2 / 2\beta \text{ if } |d| < \beta \text{, else } |d| - \beta / 2

    Args:
        beta: > 0, in the unit of the boxes. beta -> 0 is `BoxL1Loss`; beta = 1 is the paper's.
        reduction: as in `IoULoss`; so are shapes and `weight`.

    Boxes of any coding, as in `BoxL1Loss`. Range [0, inf); 0 for equal boxes.

    Source: Girshick 2015 (Fast R-CNN), Eqs. 2, 3.

    >>> import torch
    >>> loss = BoxSmoothL1Loss(beta=1.0)
    >>> loss(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.5, 0.0, 2.0, 4.0]])).item()  # 1/8 + 3/2
    1.625
    """

    def __init__(self, *, beta: float = 1.0, **options: Unpack[BoxOptions]) -> None:
        super().__init__(beta=beta, **options)


class IoULoss(BoxLoss, name="box_iou"):
    r"""Intersection over union: what is missing to full overlap.

    .. math:: L = \mathrm{mean}_i\; 1 - \mathrm{IoU}_i,\quad \mathrm{IoU} = \frac{I}{P + T - I}

    Args:
        form: ``"linear"`` is 1 - IoU; ``"log"`` -log IoU (UnitBox), where boxes are apart the -log of the smallest
            normal number (87.3 in float32), without gradient; ``"square"`` 1 - IoU^2.
        reduction: ``"mean"``, weighted by `weight`; ``"sum"``; or ``"none"``.

    Shapes:
        pred and target (\*boxes, 4), each (x1, y1, x2, y2) in any one unit, or (\*boxes, 6), each
        (x1, y1, z1, x2, y2, z2); weight (\*boxes), how often a box counts, 0: as if it were not there. Nothing is
        broadcast. Value: a scalar, for ``"none"`` the shape (\*boxes). Half precision is computed in float32.

    Range [0, 1] (``"log"``: [0, inf)); 0 for equal boxes of any size. Boxes that are apart cost 1 and have no gradient.
    The same at every place and scale: sides of 1e-33 to 1e33 in float32 give the same digits.

    Boxes without area, here and in all that build on IoU: two that are equal have IoU 1, else 0. A side of `pred` that
    is inverted (x2 < x1) is shrunk to its middle, and costs o / (o + c), with the overshoot o = x1 - x2 and the side c
    of the hull of both boxes: continuous, below 1, and its gradient turns the box round. An inverted `target` is a
    ValueError (NaN where values cannot be read: in traces, on accelerators). A side or an overlap that is below about
    1e-18 of the hull's longest side (three axes: 1e-12), or below 1e-35, counts as none, since float32 has no number
    for the area and its slope; in float64 the limits are 1e-153, 1e-102 and 1e-304.

    Source: Yu 2016 (UnitBox), sec. 3.

    >>> import torch
    >>> pred = torch.tensor([[0.0, 0.0, 2.0, 2.0]], requires_grad=True)
    >>> IoULoss()(pred, torch.tensor([[1.0, 0.0, 3.0, 2.0]])).item()  # 1 - 2 / 6
    0.6666666865348816
    """

    def __init__(self, *, form: Literal["linear", "log", "square"] = "linear", **options: Unpack[BoxOptions]) -> None:
        super().__init__(form=form, **options)


class GIoULoss(BoxLoss, name="giou"):
    r"""Generalised IoU: IoU, and the empty part of the hull of both boxes.

    .. math:: L = \mathrm{mean}_i\; 1 - \mathrm{IoU} + \frac{C - U}{C}

    with the area C of the smallest box that holds both.

    Args:
        reduction: as in `IoULoss`; so are shapes (boxes of three axes too), `weight` and boxes without area.

    Range [0, 2); 0 for equal boxes. Boxes that are apart have a gradient: first `pred` grows towards the target. One
    box inside the other: the same as `IoULoss`.

    Source: Rezatofighi 2019, Alg. 1.

    >>> import torch
    >>> loss = GIoULoss()
    >>> round(loss(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[2.0, 0.0, 3.0, 1.0]])).item(), 6)  # 1 + 1/3
    1.333333
    """

    def __init__(self, **options: Unpack[BoxOptions]) -> None:
        super().__init__(**options)


class DIoULoss(BoxLoss, name="diou"):
    r"""Distance IoU: IoU, and the distance of the centres.

    .. math:: L = \mathrm{mean}_i\; 1 - \mathrm{IoU} + \frac{\rho^2}{c^2}

    with the distance rho of the centres and the diagonal c of the smallest box that holds both.

    Args:
        reduction: as in `IoULoss`; so are shapes (boxes of three axes too), `weight` and boxes without area.

    Range [0, 2); 0 for equal boxes. Equal centres: the same as `IoULoss`.

    Source: Zheng 2020 (Distance-IoU loss, AAAI).

    >>> import torch
    >>> loss = DIoULoss()
    >>> round(loss(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[2.0, 0.0, 3.0, 1.0]])).item(), 6)  # 1 + 4/10
    1.4
    """

    def __init__(self, **options: Unpack[BoxOptions]) -> None:
        super().__init__(**options)


class CIoULoss(BoxLoss, name="ciou"):
    r"""Complete IoU: DIoU, and the aspect ratio.

    .. math:: L = \mathrm{mean}_i\; 1 - \mathrm{IoU} + \frac{\rho^2}{c^2} + \alpha v,\quad
        v = \frac{4}{\pi^2} \Bigl(\arctan\frac{w'}{h'} - \arctan\frac{w}{h}\Bigr)^2,\quad
        \alpha = \frac{v}{1 - \mathrm{IoU} + v}

    Args:
        gradient: what is done with alpha and the slope of v; the value is the same.

            - ``"constant"``: alpha is a constant, as the paper says and torchvision does;
            - ``"full"``: alpha is differentiated as well, as in Keras: the true gradient of the value;
            - ``"published"``: alpha is a constant, and the slope of v in w and h loses its factor 1 / (w^2 + h^2), as
              the paper has it lest small boxes in units of the image explode. Only give it boxes in that unit: for a
              box of 100 x 100 pixels the slope of v is 20 000 times the true one.
        threshold: alpha = 0 where IoU is below it; 0.5 is the form of the journal version.
        reduction: as in `IoULoss`; so are shapes (two axes), `weight` and boxes without area.

    Range [0, 3); 0 for equal boxes. Equal aspect ratios: the same as `DIoULoss`. The value jumps at the threshold.

    Sources: Zheng 2020 (Distance-IoU loss, AAAI); Zheng 2021 (journal version, threshold).

    >>> import torch
    >>> loss = CIoULoss()  # 2/3 + 0 + alpha v, v = (2/pi atan(3/4))^2 = .1678, alpha = v / (2/3 + v)
    >>> round(loss(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), torch.tensor([[0.5, -0.5, 1.5, 1.5]])).item(), 4)
    0.7004
    """

    def __init__(
        self,
        *,
        gradient: Literal["constant", "full", "published"] = "constant",
        threshold: float = 0.0,
        **options: Unpack[BoxOptions],
    ) -> None:
        super().__init__(gradient=gradient, threshold=threshold, **options)


class EIoULoss(BoxLoss, name="eiou"):
    r"""Efficient IoU: DIoU, and the differences of width and height.

    .. math:: L = \mathrm{mean}_i\; 1 - \mathrm{IoU} + \frac{\rho^2}{c^2} + \frac{(w - w')^2}{c_w^2}
        + \frac{(h - h')^2}{c_h^2}

    with width c_w and height c_h of the smallest box that holds both.

    Args:
        reduction: as in `IoULoss`; so are shapes (two axes), `weight` and boxes without area.

    Range [0, 4); 0 for equal boxes. Equal sizes: the same as `DIoULoss`.

    Source: Zhang 2021 (Focal and Efficient IOU Loss).

    >>> import torch
    >>> loss = EIoULoss()
    >>> loss(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.5, 2.0, 1.5]])).item()  # 1/2 + 0 + 0 + 1/4
    0.75
    """

    def __init__(self, **options: Unpack[BoxOptions]) -> None:
        super().__init__(**options)


class SIoULoss(BoxLoss, name="siou"):
    r"""IoU, the distance of the centres led by its angle, and the shape.

    .. math:: L = \mathrm{mean}_i\; 1 - \mathrm{IoU} + \tfrac12 (\Delta + \Omega),\quad
        \Delta = \sum_{k = x, y} 1 - e^{-(2 - \Lambda) (d_k / c_k)^2},\quad
        \Omega = \sum_{k = w, h} (1 - e^{-|k - k'| / \max(k, k')})^\theta

    with the shift d of the centre, the sides c of the smallest box that holds both, and the angle cost
    Lambda = 1 - 2 sin^2(arcsin s - pi/4), s the sine of the shift's angle to an axis: computed as
    2 abs(d_x d_y) / (d_x^2 + d_y^2), which it equals. Lambda = 0 for equal centres.

    Args:
        theta: > 0; the paper takes 4, and finds 2 to 6.
        reduction: as in `IoULoss`; so are shapes (two axes), `weight` and boxes without area.

    Range [0, 3); 0 for equal boxes.

    Source: Gevorgyan 2022.

    >>> import torch
    >>> loss = SIoULoss()  # 2/3 + (1 - exp(-2/9)) / 2
    >>> round(loss(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]])).item(), 4)
    0.7663
    """

    def __init__(self, *, theta: float = 4.0, **options: Unpack[BoxOptions]) -> None:
        super().__init__(theta=theta, **options)


class AlphaIoULoss(BoxLoss, name="alpha_iou"):
    r"""A power of IoU and of its penalties.

    .. math:: L = \mathrm{mean}_i\; 1 - \mathrm{IoU}^\alpha + \sum_k R_k^\alpha

    with the penalties R of the form: none, (C - U) / C, rho^2 / c^2, or rho^2 / c^2 and CIoU's alpha v.

    Args:
        alpha: > 0; the paper takes 3. alpha = 1 is the loss of the form.
        form: ``"iou"``, ``"giou"``, ``"diou"`` or ``"ciou"``.
        reduction: as in `IoULoss`; so are shapes (two axes), `weight` and boxes without area.

    Range [0, 1], with penalties below 3; 0 for equal boxes.

    Source: He 2021 (Alpha-IoU).

    >>> import torch
    >>> loss = AlphaIoULoss(alpha=3)
    >>> loss(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])).item()  # 1 - 1/8
    0.875
    """

    def __init__(self, *, alpha: float = 3.0, form: Penalties = "iou", **options: Unpack[BoxOptions]) -> None:
        super().__init__(alpha=alpha, form=form, **options)


class FocalEIoULoss(BoxLoss, name="focal_eiou"):
    r"""EIoU weighed by a power of IoU: boxes that overlap little count little.

    .. math:: L = \mathrm{mean}_i\; \mathrm{IoU}^\gamma\, L_{\mathrm{EIoU}}

    Args:
        gamma: >= 0; the paper takes 0.5. gamma = 0 is `EIoULoss`.
        gradient: ``"constant"``: IoU^gamma is a weight without gradient; ``"full"``: it is differentiated, and then
            draws boxes of low IoU away from the target.
        reduction: as in `IoULoss`; so are shapes (two axes), `weight` and boxes without area.

    Range [0, 4); 0 for equal boxes. Boxes that are apart cost 0 and get no gradient, as the formula says: let another
    loss bring them together. The mean divides by the boxes, not by IoU^gamma.

    Source: Zhang 2021 (Focal and Efficient IOU Loss).

    >>> import torch
    >>> loss = FocalEIoULoss()  # sqrt(1/4) (3/4 + 0 + 1/4 + 1/4)
    >>> loss(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.5, 0.5, 1.5, 1.5]])).item()
    0.625
    """

    def __init__(
        self,
        *,
        gamma: float = 0.5,
        gradient: Literal["constant", "full"] = "constant",
        **options: Unpack[BoxOptions],
    ) -> None:
        super().__init__(gamma=gamma, gradient=gradient, **options)


class MPDIoULoss(BoxLoss, name="mpdiou"):
    r"""IoU, and the distances of the corners in units of the image.

    .. math:: L = \mathrm{mean}_i\; 1 - \mathrm{IoU} + \frac{d_1^2 + d_2^2}{W^2 + H^2}

    with the distances d1 of the first and d2 of the second corners.

    Args:
        image_size: (width, height) in the unit of the boxes; (1, 1) for boxes in units of the image, as is right for
            images of several sizes. Must be given.
        reduction: as in `IoULoss`; so are shapes (two axes), `weight` and boxes without area.

    Range [0, inf), inside the image below 3; 0 for equal boxes.

    Source: Ma & Xu 2023.

    >>> import torch
    >>> loss = MPDIoULoss(image_size=(4, 3))
    >>> loss(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]])).item()  # 1/2 + 1/25
    0.5400000214576721
    """

    def __init__(self, *, image_size: tuple[float, float] | None = None, **options: Unpack[BoxOptions]) -> None:
        super().__init__(image_size=image_size, **options)


class InnerIoULoss(BoxLoss, name="inner_iou"):
    r"""IoU of both boxes scaled about their centres.

    .. math:: L = \mathrm{mean}_i\; 1 - \mathrm{IoU}_{\mathrm{ratio}} + \sum_k R_k

    with the penalties R of the form (see `AlphaIoULoss`), of the boxes as they are.

    Args:
        ratio: in [0.5, 1.5], the factor on width and height. Below 1 the gradient of boxes that nearly agree is
            steeper; above 1 boxes have a gradient before they touch. 1 is the loss of the form.
        form: ``"iou"``, ``"giou"``, ``"diou"`` or ``"ciou"``.
        reduction: as in `IoULoss`; so are shapes (two axes), `weight` and boxes without area.

    Range [0, 1], with penalties below 3; 0 for equal boxes.

    Source: Zhang 2023 (Inner-IoU).

    >>> import torch
    >>> loss = InnerIoULoss(ratio=0.5)  # boxes 1 x 1 whose centres are 1/2 apart: 1 - (1/2) / (3/2)
    >>> round(loss(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.5, 0.0, 2.5, 2.0]])).item(), 6)
    0.666667
    """

    def __init__(self, *, ratio: float = 0.75, form: Penalties = "iou", **options: Unpack[BoxOptions]) -> None:
        super().__init__(ratio=ratio, form=form, **options)


class WIoULoss(BoxLoss, name="wiou"):
    r"""Wise IoU, version 1: IoU weighed by the distance of the centres.

    .. math:: L = \mathrm{mean}_i\; e^{\rho^2 / c^2} (1 - \mathrm{IoU})

    with the distance rho of the centres and the diagonal c of the smallest box that holds both, a constant of the
    gradient. Versions 2 and 3 weigh boxes by a running mean over the batches before, and so are no function of the
    batch: they are not here.

    Args:
        reduction: as in `IoULoss`; so are shapes (two axes), `weight` and boxes without area.

    Range [0, e); 0 for equal boxes. Equal centres: the same as `IoULoss`.

    Source: Tong 2023 (Wise-IoU).

    >>> import torch
    >>> loss = WIoULoss()  # exp(4/10)
    >>> round(loss(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[2.0, 0.0, 3.0, 1.0]])).item(), 6)
    1.491825
    """

    def __init__(self, **options: Unpack[BoxOptions]) -> None:
        super().__init__(**options)


class NWDLoss(BoxLoss, name="nwd"):
    r"""Normalised Wasserstein distance of the Gaussians that the boxes stand for.

    .. math:: L = \mathrm{mean}_i\; 1 - e^{-W / C},\quad
        W^2 = \rho^2 + \frac{(w - w')^2 + (h - h')^2}{4}

    with the distance rho of the centres.

    Args:
        constant: C > 0, about the mean size of the objects in the unit of the boxes; 12.8 pixels is the paper's for
            AI-TOD. Boxes in units of the image need a C in that unit.
        reduction: as in `IoULoss`; so are shapes (two axes) and `weight`.

    Range [0, 1]; 0 for equal boxes, where the gradient (that of a distance) is taken as 0. Boxes that are apart have
    a gradient, which fades over the length C. Boxes without area and inverted ones need no rule: W is a distance in
    (centre, size), and leads any box to the target.

    Source: Wang 2021 (Normalized Gaussian Wasserstein distance).

    >>> import torch
    >>> loss = NWDLoss(constant=5.0)  # 1 - exp(-5/5)
    >>> round(loss(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[3.0, 4.0, 5.0, 6.0]])).item(), 6)
    0.632121
    """

    def __init__(self, *, constant: float = 12.8, **options: Unpack[BoxOptions]) -> None:
        super().__init__(constant=constant, **options)
