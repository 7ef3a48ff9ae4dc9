"""The records of the pixel losses."""

from lossmith.core import balance, pixel, selection
from lossmith.core.parameters import (
    NONNEGATIVE,
    POSITIVE,
    UNIT,
    Choice,
    Count,
    Counts,
    Flag,
    Inner,
    Interval,
    Parameter,
    PerClass,
)
from lossmith.core.records import choice
from lossmith.core.records.options import DOOR, PIXEL
from lossmith.core.records.record import Record

FOREGROUND_WEIGHT = Parameter("foreground_weight", 1.0, NONNEGATIVE, "weight of foreground pixels, background has 1")
BASE = Parameter("loss", "ce", Inner("a pixel loss"), "the pixel loss whose hard examples are kept")

RECORDS = (
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
            Parameter("balance", "batch", Choice(balance.BALANCES), "how class counts become weights"),
            Parameter("lam", 1.0, NONNEGATIVE, "batch: factor on the background's weight (RCF: 1.1)"),
            Parameter("beta", 0.9999, Interval(0.0, 1.0, low_open=True, high_open=True), "effective_number: beta"),
            Parameter("counts", None, Counts("None (count the batch) or class counts of the data set"), "see fit()"),
            *DOOR,
        ),
        "HED: Xie 2015, Eq. 2; RCF: Liu 2017, Eq. 1; Eigen & Fergus 2015, sec. 6.2; Cui 2019, Eq. 2",
        "rare foreground where missing it costs more than false alarms: recall rises, precision falls",
        pixel.weighted_cross_entropy,
        prepare=balance.class_balance, own_weights=True, of_truth=True, agree=choice.counts_of_classes,
    ),
    Record(
        "focal", "FocalLoss", "pixel",
        "focal loss: cross-entropy that turns away from easy pixels",
        "-alpha_t (1 - p_t)^gamma log p_t",
        (
            Parameter("gamma", 2.0, NONNEGATIVE, "focusing; 0 is cross-entropy"),
            Parameter("alpha", None, PerClass(UNIT, scalar=True), "of foreground (background: 1 - alpha), or by class"),
            Parameter("normalize", "pixels", Choice(("pixels", "positives", "elements")), "what the mean divides by"),
            Parameter("one_vs_rest", False, Flag(), "multiclass: a sigmoid for each class, in place of the softmax"),
            *PIXEL,
        ),
        "Lin 2017, Eqs. 4, 5",
        "many easy background pixels; tune alpha together with the decision threshold",
        pixel.focal, of_truth=True, agree=choice.one_vs_rest_of_logits,
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
        agree=choice.of_pixels, choose=choice.hard_examples,
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
        agree=choice.of_pixels, choose=choice.hard_examples,
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
)  # fmt: skip
