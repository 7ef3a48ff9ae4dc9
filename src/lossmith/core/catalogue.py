"""One record for each loss: what it is called, what it computes, what it takes, what holds for it.

Classes, docs, `lossmith list`, the law tests and the other frameworks' faces follow from the record.
"""

from collections.abc import Mapping

from lossmith.core import lovasz, pixel, region, selection
from lossmith.core.box_records import BOX_RECORDS
from lossmith.core.parameters import Anything, Choice, Classes, Count, Flag, Group, Interval, Label, Parameter, PerClass
from lossmith.core.record import NONNEGATIVE, POSITIVE, REDUCTION, UNIT
from lossmith.core.record import Record as Record
from lossmith.errors import suggest

IGNORE = Parameter("ignore_index", None, Label(), "target value of pixels that do not count")
FROM_LOGITS = Parameter("from_logits", True, Flag(), "False: the first argument holds probabilities")
PROCESS_GROUP = Parameter("process_group", None, Group(), "the processes that share the batch, see distributed.md")
DOOR = (IGNORE, REDUCTION, FROM_LOGITS, PROCESS_GROUP)
CLASS_WEIGHT = Parameter(
    "class_weight", None, PerClass(NONNEGATIVE), "a weight for each class; the mean divides by them"
)
PIXEL = (CLASS_WEIGHT, *DOOR)
REGION = (
    Parameter("pool", "image", Choice(region.POOLS), "sums over each image, or over the batch"),
    Parameter("classes", "all", Classes(), "the classes that count; present: those in the item's target"),
    Parameter(
        "empty",
        "area",
        Choice(region.EMPTIES),
        "a class without target: its mean probability, the formula, left out",
    ),
)
SMOOTH = Parameter("smooth", 0.0, NONNEGATIVE, "added to numerator and denominator")
SQUARED = Parameter("squared", False, Flag(), "V-Net's denominator sum p^2 + sum t^2")
LOG = Parameter("log", False, Flag(), "-log of the index in place of 1 - index")
FOREGROUND_WEIGHT = Parameter("foreground_weight", 1.0, NONNEGATIVE, "weight of foreground pixels, background has 1")
WEIGHTING = Parameter("weighting", "square", Choice(("square", "simple", "uniform")), "w_c = 1/T_c^2, 1/T_c or 1")
BASE = Parameter("loss", "ce", Anything("a pixel loss"), "the pixel loss whose hard examples are kept")

_RECORDS = (
    Record(
        "ce", "CrossEntropyLoss", "pixel",
        "cross-entropy: softmax for multiclass, sigmoid (BCE) for binary and multilabel",
        "-log p_t",
        (Parameter("label_smoothing", 0.0, Interval(0.0, 1.0, high_open=True), "share given to all classes"), *PIXEL),
        "Bridle 1990; label smoothing: Szegedy 2016, sec. 7",
        "the baseline: start here, and beat it",
        pixel.cross_entropy, statistics=pixel.likelihood, of_truth=True,
    ),
    Record(
        "wce", "WeightedCrossEntropyLoss", "pixel",
        "cross-entropy with class weights taken from the data, or from each batch",
        "-w_t log p_t, divided by the sum of w_t",
        (
            Parameter("balance", "batch", Choice(pixel.BALANCES), "how class counts become weights"),
            Parameter("lam", 1.0, NONNEGATIVE, "batch: factor on the background's weight (RCF: 1.1)"),
            Parameter("beta", 0.9999, Interval(0.0, 1.0, low_open=True, high_open=True), "effective_number: beta"),
            Parameter("counts", None, Anything("None (count the batch) or class counts of the data set"), "see fit()"),
            *DOOR,
        ),
        "HED: Xie 2015, Eq. 2; RCF: Liu 2017, Eq. 1; Eigen & Fergus 2015, sec. 6.2; Cui 2019, Eq. 2",
        "rare foreground where missing it costs more than false alarms: recall rises, precision falls",
        pixel.weighted_cross_entropy,
        prepare=pixel.class_balance, own_weights=True, of_truth=True,
    ),
    Record(
        "focal", "FocalLoss", "pixel",
        "focal loss: cross-entropy that turns away from easy pixels",
        "-alpha_t (1 - p_t)^gamma log p_t",
        (
            Parameter("gamma", 2.0, NONNEGATIVE, "focusing; 0 is cross-entropy"),
            Parameter("alpha", None, PerClass(UNIT, scalar=True), "of foreground (background: 1 - alpha), or by class"),
            Parameter("normalize", "pixels", Choice(("pixels", "positives")), "what the mean divides by"),
            *PIXEL,
        ),
        "Lin 2017, Eqs. 4, 5",
        "many easy background pixels; tune alpha together with the decision threshold",
        pixel.focal, of_truth=True,
    ),
    Record(
        "mse", "MSELoss", "pixel", "mean squared error of the probabilities (Brier score)", "(p - t)^2",
        (FOREGROUND_WEIGHT, *PIXEL), "Brier 1950",
        "noisy labels: a wrong label's pull is bounded", pixel.mean_squared_error, range=UNIT,
    ),
    Record(
        "l1", "L1Loss", "pixel", "mean absolute error of the probabilities", "|p - t|",
        (FOREGROUND_WEIGHT, *PIXEL), "Ghosh 2017",
        "very noisy labels; learns slowly", pixel.mean_absolute_error, range=UNIT,
    ),
    Record(
        "smooth_l1", "SmoothL1Loss", "pixel", "squared error near zero, absolute error beyond beta",
        "d^2 / (2 beta) if d < beta, else d - beta / 2;  d = |p - t|",
        (Parameter("beta", 1.0, POSITIVE, "where square turns into line"), FOREGROUND_WEIGHT, *PIXEL),
        "Girshick 2015, Eq. 3",
        "between mse and l1", pixel.smooth_l1, range=UNIT,
    ),
    Record(
        "topk", "TopKLoss", "pixel", "the worst fraction k of the pixels by a pixel loss",
        "mean of the largest k N pixel losses",
        (Parameter("k", 0.1, Interval(0.0, 1.0, low_open=True), "the fraction kept"), BASE, *DOOR),
        "Shrivastava 2016; Wu 2016, sec. 3; Rockafellar & Uryasev 2000",
        "clean labels and a few hard pixels; wrong labels are the hardest of all",
        selection.chosen_pixels, prepare=selection.top_k, own_weights=True,
    ),
    Record(
        "ohem", "OhemLoss", "pixel", "all pixels with p_t below a threshold, and at least so many",
        "mean over {p_t < threshold} and the min_kept lowest p_t",
        (
            Parameter("threshold", 0.7, UNIT, "pixels with p_t below it are kept"),
            Parameter("min_kept", 10_000, Count(1), "pixels kept at least (of the batch)"),
            BASE, *DOOR,
        ),
        "Shrivastava 2016, sec. 4",
        "as topk, when the share of hard pixels falls during training",
        selection.chosen_pixels, prepare=selection.ohem, own_weights=True,
    ),
    Record(
        "missing", "MissingAnnotationLoss", "pixel",
        "cross-entropy that forgives background where an object without annotation is predicted",
        "-log p_t, without the background pixels whose argmax is a class that is not labelled in the image",
        PIXEL, "none: described here",
        "some objects of some images were never annotated",
        selection.missing_annotation,
        prepare=selection.annotated_classes, tasks=("binary", "multiclass"), own_weights=True,
    ),
    Record(
        "dice", "DiceLoss", "region", "soft Dice: overlap of prediction and target",
        "1 - (2 I + s) / (P + T + s)",
        (SMOOTH, SQUARED, LOG, CLASS_WEIGHT, *REGION, *DOOR),
        "Milletari 2016, sec. 3; Drozdzal 2016, sec. 3; soft targets: Wang 2023",
        "small foreground, scored by Dice or F1; add ce for calibrated probabilities", region.dice, range=UNIT,
    ),
    Record(
        "jaccard", "JaccardLoss", "region", "soft Jaccard (IoU)", "1 - (I + s) / (P + T - I + s)",
        (SMOOTH, LOG, CLASS_WEIGHT, *REGION, *DOOR),
        "Rahman & Wang 2016; soft targets: Wang 2023",
        "scored by IoU; orders single predictions as Dice does", region.jaccard, range=UNIT,
    ),
    Record(
        "tversky", "TverskyLoss", "region", "Dice with false positives and false negatives weighed apart",
        "1 - (I + s) / (I + alpha FP + beta FN + s)",
        (
            Parameter("alpha", 0.5, NONNEGATIVE, "weight of false positives"),
            Parameter("beta", 0.5, NONNEGATIVE, "weight of false negatives"),
            SMOOTH, CLASS_WEIGHT, *REGION, *DOOR,
        ),
        "Salehi 2017, Eq. 3",
        "precision and recall must be traded: beta > alpha for recall", region.tversky, range=UNIT,
    ),
    Record(
        "focal_tversky", "FocalTverskyLoss", "region", "a power of the Tversky loss of each class",
        "(1 - TI)^gamma",
        (
            Parameter("alpha", 0.3, NONNEGATIVE, "weight of false positives"),
            Parameter("beta", 0.7, NONNEGATIVE, "weight of false negatives"),
            Parameter("gamma", 0.75, POSITIVE, "exponent; the paper's 1/gamma with gamma = 4/3"),
            SMOOTH, CLASS_WEIGHT, *REGION, *DOOR,
        ),
        "Abraham & Khan 2018, Eq. 4",
        "small lesions beside large ones: classes that are nearly right keep a gradient",
        region.focal_tversky, range=UNIT,
    ),
    Record(
        "gdice", "GeneralizedDiceLoss", "region", "one Dice over all classes, rare classes weighed up",
        "1 - (2 sum_c w_c I_c + s) / (sum_c w_c (P_c + T_c) + s)",
        (WEIGHTING, SMOOTH, *REGION, *DOOR),
        "Sudre 2017, Eq. 3",
        "classes of very different size", region.generalized_dice, range=UNIT, joint=True,
    ),
    Record(
        "lovasz_hinge", "LovaszHingeLoss", "region",
        "Lovasz extension of the Jaccard loss on hinge errors of the logits",
        "sum_i m_(i) g_i,  m = max(0, 1 - z (2t - 1)) in falling order",
        (
            Parameter("per_image", True, Flag(), "the paper's name: pool='image' or 'batch'"),
            CLASS_WEIGHT, *REGION[1:2], *DOOR,
        ),
        "Yu & Blaschko 2015; Berman 2018",
        "fine-tuning a trained binary network for IoU", lovasz.lovasz,
        prepare=lovasz.hinge_slopes, terms=lovasz.hinge_form, tasks=("binary", "multilabel"), hard_targets=True,
    ),
    Record(
        "lovasz", "LovaszSoftmaxLoss", "region", "Lovasz extension of the Jaccard loss on probability errors",
        "mean over classes of sum_i m_(i) g_i,  m = |t - p| in falling order",
        (
            Parameter("per_image", False, Flag(), "the paper's name: pool='image' or 'batch'"),
            CLASS_WEIGHT,
            Parameter("classes", None, Classes(optional=True), "None: present for multiclass, all for sigmoid tasks"),
            REGION[2], *DOOR,
        ),
        "Berman 2018, Eqs. 8-11",
        "scored by IoU; as ce + 0.5*lovasz, or to fine-tune", lovasz.lovasz,
        prepare=lovasz.softmax_slopes, terms=lovasz.softmax_form, range=UNIT, hard_targets=True,
    ),
)  # fmt: skip

CATALOGUE: Mapping[str, Record] = {record.name: record for record in _RECORDS}  # of segmentation: those with tasks
BOXES: Mapping[str, Record] = {record.name: record for record in BOX_RECORDS}
ALIASES: Mapping[str, str] = {"iou": "jaccard"}


def find(name: str) -> Record:
    """The record of a spec name, or a ValueError that suggests one."""
    record = CATALOGUE.get(ALIASES.get(name, name)) or BOXES.get(name)
    if record is None:
        raise ValueError(f"there is no loss {name!r}{suggest(name, [*CATALOGUE, *ALIASES, *BOXES])}")
    return record
