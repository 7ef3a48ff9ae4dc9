"""The records of the box losses."""

import math
from collections.abc import Callable
from typing import Any

from lossmith.core import box, box_variants
from lossmith.core.parameters import NONNEGATIVE, POSITIVE, UNIT, Choice, Interval, Parameter, Size
from lossmith.core.records.record import REDUCTION, Record

FORM = Parameter("form", "iou", Choice(box.PENALTIES), "whose penalties are added")
SOLID = (2, 3)


def _record(
    name: str,
    cls: str,
    summary: str,
    formula: str,
    parameters: tuple[Parameter, ...],
    paper: str,
    when: str,
    definition: Callable[..., Any],
    range: Interval = NONNEGATIVE,  # noqa: A002
    axes: tuple[int, ...] = (2,),
    coded: bool = False,
) -> Record:
    return Record(
        name, cls, "box", summary, formula, (*parameters, REDUCTION), paper, when, definition,
        tasks=(), range=range, axes=axes, coded=coded,
    )  # fmt: skip


RECORDS = (
    _record(
        "box_l1", "BoxL1Loss", "sum of the absolute differences of the coordinates", "sum |p - t|",
        (), "DETR: Carion 2020, sec. 3.1",
        "beside an overlap loss; alone it favours large boxes", box.l1, axes=SOLID, coded=True,
    ),
    _record(
        "box_smooth_l1", "BoxSmoothL1Loss", "sum over the coordinates, squared near zero, absolute beyond beta",
        "sum d^2 / (2 beta) if d < beta, else d - beta / 2;  d = |p - t|",
        (Parameter("beta", 1.0, POSITIVE, "where square turns into line, in the unit of the boxes"),),
        "Fast R-CNN: Girshick 2015, Eqs. 2, 3",
        "encoded offsets, or boxes of like size", box.smooth_l1, axes=SOLID, coded=True,
    ),
    _record(
        "box_iou", "IoULoss", "what is missing to full overlap", "1 - IoU, -log IoU or 1 - IoU^2",
        (Parameter("form", "linear", Choice(box.FORMS), "1 - IoU, -log IoU, 1 - IoU^2"),),
        "UnitBox: Yu 2016 (-log IoU)",
        "boxes that overlap already; apart it has no gradient", box.iou, range=UNIT, axes=SOLID,
    ),
    _record(
        "giou", "GIoULoss", "IoU, and the empty part of the hull of both boxes", "1 - IoU + (C - U) / C",
        (), "Rezatofighi 2019, Alg. 1",
        "the usual partner of L1 in set prediction; boxes that are apart grow together",
        box.giou, range=Interval(0.0, 2.0), axes=SOLID,
    ),
    _record(
        "diou", "DIoULoss", "IoU, and the distance of the centres", "1 - IoU + rho^2 / c^2",
        (), "Zheng 2020",
        "boxes that are apart or one inside the other", box.diou, range=Interval(0.0, 2.0), axes=SOLID,
    ),
    _record(
        "ciou", "CIoULoss", "DIoU, and the aspect ratio",
        "1 - IoU + rho^2 / c^2 + alpha v;  v = (2/pi)^2 (atan w'/h' - atan w/h)^2, alpha = v / (1 - IoU + v)",
        (
            Parameter(
                "gradient", "constant", Choice(box.GRADIENTS),
                "alpha a constant, differentiated, or a constant and the slope of v without 1/(w^2 + h^2)",
            ),
            Parameter("threshold", 0.0, UNIT, "alpha = 0 where IoU is below; the journal's form has 0.5"),
        ),
        "Zheng 2020; Zheng 2021 (journal)",
        "the default of anchor-based detectors", box.ciou, range=Interval(0.0, 3.0),
    ),
    _record(
        "eiou", "EIoULoss", "DIoU, and the differences of width and height",
        "1 - IoU + rho^2 / c^2 + (w - w')^2 / c_w^2 + (h - h')^2 / c_h^2",
        (), "Zhang 2021",
        "as ciou, where width and height must each be right", box_variants.eiou, range=Interval(0.0, 4.0),
    ),
    _record(
        "siou", "SIoULoss", "IoU, distance led by the angle between the centres, and shape",
        "1 - IoU + (Delta + Omega) / 2",
        (Parameter("theta", 4.0, POSITIVE, "exponent of the shape cost; the paper: 2 to 6"),),
        "Gevorgyan 2022",
        "as ciou; the centre is first led to the nearer axis", box_variants.siou, range=Interval(0.0, 3.0),
    ),
    _record(
        "alpha_iou", "AlphaIoULoss", "a power of IoU and of its penalties", "1 - IoU^alpha + sum penalty^alpha",
        (Parameter("alpha", 3.0, POSITIVE, "above 1, boxes of high IoU weigh more"), FORM),
        "He 2021",
        "scored at high IoU thresholds, or noisy boxes", box_variants.alpha_iou, range=Interval(0.0, 3.0),
    ),
    _record(
        "focal_eiou", "FocalEIoULoss", "EIoU weighed by a power of IoU", "IoU^gamma EIoU",
        (
            Parameter("gamma", 0.5, NONNEGATIVE, "0 is eiou"),
            Parameter("gradient", "constant", Choice(box_variants.WEIGHT_GRADIENTS), "IoU^gamma a constant or not"),
        ),
        "Zhang 2021",
        "many poor anchors; boxes that are apart cost nothing and get no gradient",
        box_variants.focal_eiou, range=Interval(0.0, 4.0),
    ),
    _record(
        "mpdiou", "MPDIoULoss", "IoU, and the distances of the corners in units of the image",
        "1 - IoU + (d1^2 + d2^2) / (W^2 + H^2)",
        (Parameter("image_size", None, Size(), "(width, height) in the unit of the boxes; must be given"),),
        "Ma & Xu 2023",
        "as diou, where centres agree and sizes differ", box_variants.mpdiou,
    ),
    _record(
        "inner_iou", "InnerIoULoss", "IoU of both boxes scaled about their centres", "1 - IoU_ratio + penalties",
        (Parameter("ratio", 0.75, Interval(0.5, 1.5), "below 1 for boxes nearly right, above for poor ones"), FORM),
        "Zhang 2023",
        "ratio above 1: small objects, where boxes hardly overlap", box_variants.inner_iou, range=Interval(0.0, 3.0),
    ),
    _record(
        "wiou", "WIoULoss", "IoU weighed by the distance of the centres (version 1)", "exp(rho^2 / c^2) (1 - IoU)",
        (), "Tong 2023",
        "boxes of doubtful quality; apart it still pulls the centres", box_variants.wiou,
        range=Interval(0.0, math.e),
    ),
    _record(
        "nwd", "NWDLoss", "distance of the Gaussians that the boxes stand for",
        "1 - exp(-W / C);  W^2 = |c - c'|^2 + |(w - w', h - h')|^2 / 4",
        (Parameter("constant", 12.8, POSITIVE, "C: about the size of the objects, in the unit of the boxes"),),
        "Wang 2021",
        "tiny objects: a shift of a pixel costs the same at every size near C", box_variants.nwd, range=UNIT,
    ),
)  # fmt: skip
