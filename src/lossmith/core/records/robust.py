"""The records of the pixel losses for wrong labels and for very rare foreground."""

from lossmith.core import robust
from lossmith.core.parameters import NONNEGATIVE, UNIT, Interval, Parameter
from lossmith.core.records import choice
from lossmith.core.records.options import PIXEL
from lossmith.core.records.record import Record

RECORDS = (
    Record(
        "poly", "PolyLoss", "pixel", "cross-entropy with another first coefficient of its series in 1 - p (Poly-1)",
        "-log p_t + epsilon (1 - p_t)",
        (
            Parameter("epsilon", 1.0, Interval(-1.0), "added to the first coefficient, 1; 0 is cross-entropy"),
            *PIXEL,
        ),
        "Leng 2022",
        "in place of ce: epsilon > 0 pushes on easy pixels, epsilon < 0 lets go of them", robust.poly, of_truth=True,
    ),
    Record(
        "gce", "GeneralizedCrossEntropyLoss", "pixel", "between cross-entropy (q = 0) and absolute error (q = 1)",
        "(1 - p_t^q) / q",
        (Parameter("q", 0.7, UNIT, "0 is cross-entropy, 1 the absolute error"), *PIXEL),
        "Zhang & Sabuncu 2018",
        "wrong labels: the pull of a pixel that stays hard is bounded by 1, and learning is quicker than by l1",
        robust.generalized_cross_entropy, of_truth=True,
    ),
    Record(
        "sce", "SymmetricCrossEntropyLoss", "pixel", "cross-entropy and reverse cross-entropy",
        "alpha (-log p_t) + beta (-A) (1 - p_t)",
        (
            Parameter("alpha", 0.1, NONNEGATIVE, "share of cross-entropy"),
            Parameter("beta", 1.0, NONNEGATIVE, "share of reverse cross-entropy"),
            Parameter("A", -4.0, Interval(high=0.0, high_open=True), "what log 0 counts in the reverse one"),
            *PIXEL,
        ),
        "Wang 2019",
        "wrong labels; alpha trades speed of learning for robustness", robust.symmetric_cross_entropy, of_truth=True,
        agree=choice.not_both_zero,
    ),
    Record(
        "asl", "AsymmetricLoss", "pixel", "focal loss with other exponents for what is there and what is not",
        "-(1 - p)^gamma_pos log p, or -p_m^gamma_neg log(1 - p_m);  p_m = max(p - clip, 0)",
        (
            Parameter("gamma_pos", 0.0, NONNEGATIVE, "focusing where the class is there"),
            Parameter("gamma_neg", 4.0, NONNEGATIVE, "focusing where it is not"),
            Parameter("clip", 0.05, Interval(0.0, 1.0, high_open=True), "m: negatives below it cost nothing"),
            *PIXEL,
        ),
        "Ridnik 2021",
        "foreground so rare that easy background drowns it, some of it perhaps unlabelled",
        robust.asymmetric, tasks=("binary", "multilabel"), of_truth=True,
    ),
)  # fmt: skip
