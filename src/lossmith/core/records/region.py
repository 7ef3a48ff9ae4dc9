"""The records of the region losses."""

from lossmith.core import lovasz, region
from lossmith.core.parameters import NONNEGATIVE, POSITIVE, UNIT, Choice, Classes, Flag, Parameter
from lossmith.core.records import choice
from lossmith.core.records.options import CLASS_WEIGHT, CLASSES, DOOR, EMPTY, INDEX, LOG, POOL, SMOOTH, SQUARED
from lossmith.core.records.record import Record

WEIGHTING = Parameter("weighting", "square", Choice(("square", "simple", "uniform")), "w_c = 1/T_c^2, 1/T_c or 1")

RECORDS = (
    Record(
        "dice", "DiceLoss", "region", "soft Dice: overlap of prediction and target",
        "1 - (2 I + s) / (P + T + s)",
        (SMOOTH, SQUARED, LOG, *INDEX),
        "Milletari 2016, sec. 3; Drozdzal 2016, sec. 3; soft targets: Wang 2023",
        "small foreground, scored by Dice or F1; add ce for calibrated probabilities", region.dice, range=UNIT,
    ),
    Record(
        "jaccard", "JaccardLoss", "region", "soft Jaccard (IoU)", "1 - (I + s) / (P + T - I + s)",
        (SMOOTH, LOG, *INDEX),
        "Rahman & Wang 2016; soft targets: Wang 2023",
        "scored by IoU; orders single predictions as Dice does", region.jaccard, range=UNIT,
    ),
    Record(
        "tversky", "TverskyLoss", "region", "Dice with false positives and false negatives weighed apart",
        "1 - (I + s) / (I + alpha FP + beta FN + s)",
        (
            Parameter("alpha", 0.5, NONNEGATIVE, "weight of false positives"),
            Parameter("beta", 0.5, NONNEGATIVE, "weight of false negatives"),
            SMOOTH, *INDEX,
        ),
        "Salehi 2017, Eq. 3",
        "precision and recall must be traded: beta > alpha for recall", region.tversky, range=UNIT,
        agree=choice.not_both_zero,
    ),
    Record(
        "focal_tversky", "FocalTverskyLoss", "region", "a power of the Tversky loss of each class",
        "(1 - TI)^gamma",
        (
            Parameter("alpha", 0.3, NONNEGATIVE, "weight of false positives"),
            Parameter("beta", 0.7, NONNEGATIVE, "weight of false negatives"),
            Parameter("gamma", 0.75, POSITIVE, "exponent; the paper's 1/gamma with gamma = 4/3"),
            SMOOTH, *INDEX,
        ),
        "Abraham & Khan 2018, Eq. 4",
        "small lesions beside large ones: classes that are nearly right keep a gradient",
        region.focal_tversky, range=UNIT, agree=choice.not_both_zero,
    ),
    Record(
        "gdice", "GeneralizedDiceLoss", "region", "one Dice over all classes, rare classes weighed up",
        "1 - (2 sum_c w_c I_c + s) / (sum_c w_c (P_c + T_c) + s)",
        (WEIGHTING, SMOOTH, POOL, CLASSES, EMPTY, *DOOR),
        "Sudre 2017, Eq. 3",
        "classes of very different size", region.generalized_dice, range=UNIT, joint=True,
    ),
    Record(
        "lovasz_hinge", "LovaszHingeLoss", "region",
        "Lovasz extension of the Jaccard loss on hinge errors of the logits",
        "sum_i m_(i) g_i,  m = max(0, 1 - z (2t - 1)) in falling order",
        (
            Parameter("per_image", True, Flag(), "the paper's name: pool='image' or 'batch'"),
            CLASS_WEIGHT, CLASSES, *DOOR,
        ),
        "Yu & Blaschko 2015; Berman 2018",
        "fine-tuning a trained binary network for IoU", lovasz.lovasz,
        prepare=lovasz.hinge_slopes, terms=lovasz.hinge_form, tasks=("binary", "multilabel"), hard_targets=True,
        choose=choice.formula_where_empty,
    ),
    Record(
        "lovasz", "LovaszSoftmaxLoss", "region", "Lovasz extension of the Jaccard loss on probability errors",
        "mean over classes of sum_i m_(i) g_i,  m = |t - p| in falling order",
        (
            Parameter("per_image", False, Flag(), "the paper's name: pool='image' or 'batch'"),
            CLASS_WEIGHT,
            Parameter("classes", None, Classes(optional=True), "None: present for multiclass, all for sigmoid tasks"),
            EMPTY, *DOOR,
        ),
        "Berman 2018, Eqs. 8-11",
        "scored by IoU; as ce + 0.5*lovasz, or to fine-tune", lovasz.lovasz,
        prepare=lovasz.softmax_slopes, terms=lovasz.softmax_form, range=UNIT, hard_targets=True,
    ),
)  # fmt: skip
