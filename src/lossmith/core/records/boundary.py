"""The records of the boundary losses."""

import math

from lossmith.core import boundary, contour
from lossmith.core.parameters import NONNEGATIVE, POSITIVE, UNIT, Count, Flag, Interval, Parameter, Spacing
from lossmith.core.records.options import REGION, SMOOTH
from lossmith.core.records.record import Record

SPACING = Parameter("spacing", None, Spacing(), "the size of a pixel along each axis; None: 1")

RECORDS = (
    Record(
        "boundary", "BoundaryLoss", "boundary", "mean signed distance of the prediction to the target's boundary",
        "sum w phi p / N,  phi the distance to the boundary, negative inside",
        (
            SPACING,
            Parameter("shift", False, Flag(), "phi + 1 inside, as the authors' code: 0 at the boundary pixels"),
            Parameter("bounded", False, Flag(), "each side of phi over its greatest distance: phi in [-1, 1]"),
            *REGION,
        ),
        "Kervadec 2019, Eq. 5",
        "small objects and outlines that matter: beside a region loss, its share rising by epochs",
        boundary.boundary, prepare=boundary.boundary_map, terms=boundary.boundary_terms,
        range=Interval(-math.inf, math.inf), zero_at_truth=False, hard_targets=True, neighbours=True, on_host=True,
        inputs=("distance",),
    ),
    Record(
        "hausdorff", "HausdorffDTLoss", "boundary", "squared errors weighed by their distance to both boundaries",
        "sum w (p - t)^2 (d_t^a + d_p^a) / N",
        (
            Parameter("alpha", 2.0, POSITIVE, "exponent of the distances"),
            Parameter("log", False, Flag(), "log(1 + loss) of each image and class"),
            SPACING, *REGION,
        ),
        "Karimi & Salcudean 2019, Eq. 8",
        "scored by the Hausdorff distance: beside a region loss", boundary.hausdorff,
        prepare=boundary.hausdorff_field, terms=boundary.hausdorff_terms, hard_targets=True, neighbours=True,
        inputs=("distance",), on_host=True,
    ),
    Record(
        "boundary_dou", "BoundaryDoULoss", "boundary", "difference over union, with less of the inside in the union",
        "(U - I) / (U - a I),  a = min(limit, 1 - 2 C / T),  U = sum p^2 + sum t^2 - I",
        (
            Parameter("limit", 0.8, Interval(-1.0, 1.0, high_open=True), "greatest a"),
            *REGION,
        ),
        "Sun 2023, Eqs. 2-4",
        "as jaccard, with more weight on the boundary of large objects", contour.boundary_dou,
        prepare=contour.outline, terms=contour.outline_terms, range=UNIT, hard_targets=True, neighbours=True,
    ),
    Record(
        "active_contour", "ActiveContourLoss", "boundary", "length of the predicted contour, and what it encloses",
        "(sum w |grad p| + region sum w (p (1 - t)^2 + (1 - p) t^2)) / N",
        (Parameter("region", 1.0, NONNEGATIVE, "weight of the region term"), *REGION),
        "Chen 2019, Eqs. 7-9",
        "smooth outlines from noisy masks", contour.active_contour, terms=contour.contour_terms,
        zero_at_truth=False, least_at_truth=False, neighbours=True, uncut=True,
    ),
    Record(
        "surface_dice", "SurfaceDiceLoss", "boundary", "Dice of the outlines, within a tolerance in pixels",
        "1 - (sum w S_p Z_t + sum w S_t Z_p) / (sum w S_p + sum w S_t)",
        (Parameter("tolerance", 2, Count(), "how far an outline may be off, in pixels"), *REGION),
        "Nikolov 2021, surface DSC; Bokhovkin & Burnaev 2019, soft outlines",
        "scored by surface Dice or boundary F1: beside a region loss", contour.surface_dice,
        terms=contour.surface_terms, range=UNIT, hard_targets=True, neighbours=True, uncut=True,
    ),
    Record(
        "structure", "StructureLoss", "boundary", "cross-entropy + Jaccard; pixels unlike those around weigh more",
        "sum a w ce / sum a w + 1 - (sum a w p t + s) / (sum a w (p + t - p t) + s),  a = 1 + lam |mean t - t|",
        (
            Parameter("lam", 5.0, NONNEGATIVE, "how much more"),
            Parameter("radius", 15, Count(), "of the window of the mean, 2 radius + 1 pixels wide"),
            SMOOTH, *REGION,
        ),
        "Wei 2020, Eqs. 4-8",
        "salient objects with fine outlines", contour.structure,
        prepare=contour.context, terms=contour.structure_terms, neighbours=True,
    ),
)  # fmt: skip
