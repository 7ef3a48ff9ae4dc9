"""The records of the region losses beyond overlap."""

from lossmith.core import region_variants as variants
from lossmith.core.parameters import UNIT, Distances, Flag, Interval, Parameter
from lossmith.core.records.options import DOOR, EMPTY, POOL, REGION, SMOOTH, SQUARED
from lossmith.core.records.record import Record

RECORDS = (
    Record(
        "mcc", "MCCLoss", "region", "Matthews correlation of prediction and target",
        "1 - (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))", REGION,
        "Abhishek & Hamarneh 2021",
        "the background counts, too: foreground may be rare or nearly everything",
        variants.mcc, terms=variants.background, range=Interval(0.0, 2.0),
    ),
    Record(
        "logcosh_dice", "LogCoshDiceLoss", "region", "log cosh of the Dice loss", "log cosh(1 - Dice)",
        (SMOOTH, SQUARED, *REGION), "Jadon 2020",
        "as dice, with a gradient that fades as the overlap becomes right",
        variants.log_cosh_dice, range=UNIT,
    ),
    Record(
        "noise_robust_dice", "NoiseRobustDiceLoss", "region", "between Dice (gamma = 2) and absolute error (gamma = 1)",
        "sum |p - t|^gamma / (sum p^2 + sum t^2)",
        (Parameter("gamma", 1.5, Interval(1.0, 2.0), "2 is V-Net's Dice"), *REGION), "Wang 2020",
        "small foreground with wrong labels", variants.noise_robust_dice, terms=variants.powers_of_errors,
    ),
    Record(
        "sensitivity_specificity", "SensitivitySpecificityLoss", "region",
        "squared error of a class's pixels and of all others, each by its own mean",
        "r sum t (t - p)^2 / sum t + (1 - r) sum (1 - t) (t - p)^2 / sum (1 - t)",
        (Parameter("r", 0.05, UNIT, "share of the class's own pixels (sensitivity)"), *REGION),
        "Brosch 2015",
        "very rare foreground; r trades recall for precision",
        variants.sensitivity_specificity, terms=variants.squared_errors, range=UNIT,
    ),
    Record(
        "combo", "ComboLoss", "region", "weighted cross-entropy of each class, and Dice",
        "alpha (-beta t log p - (1 - beta) (1 - t) log(1 - p)) + (1 - alpha) (1 - Dice)",
        (
            Parameter("alpha", 0.5, UNIT, "share of the cross-entropy"),
            Parameter("beta", 0.5, UNIT, "above 0.5 misses cost more, below it false alarms"),
            SMOOTH, *REGION,
        ),
        "Taghanaki 2019",
        "misses and false alarms must be traded", variants.combo, terms=variants.one_against_the_rest,
    ),
    Record(
        "unified_focal", "UnifiedFocalLoss", "region", "focal and focal Tversky loss with common parameters",
        "lam delta_t (1 - p_t)^gamma (-log p_t) + (1 - lam) (1 - TI)^(1 - gamma)",
        (
            Parameter("lam", 0.5, UNIT, "share of the focal loss"),
            Parameter("delta", 0.6, UNIT, "weight of foreground, and of misses in TI"),
            Parameter("gamma", 0.5, Interval(0.0, 1.0, high_open=True), "focusing; 0 is cross-entropy and Tversky"),
            Parameter("asymmetric", True, Flag(), "foreground without focusing, background without the power"),
            SMOOTH, POOL, EMPTY, *DOOR,
        ),
        "Yeung 2022",
        "rare foreground beside much background", variants.unified_focal, terms=variants.focal_terms,
    ),
    Record(
        "wasserstein_dice", "GeneralizedWassersteinDiceLoss", "region",
        "Dice by how far the predicted class is from the true one",
        "1 - 2 R / (2 R + E);  E = sum W_i, R = sum a_i (a_i - W_i)",
        (Parameter("distances", None, Distances(), "how far classes are apart; None: all alike"), POOL, EMPTY, *DOOR),
        "Fidon 2017",
        "some confusions of classes are worse than others",
        variants.wasserstein_dice, prepare=variants.class_distances, terms=variants.distances_moved,
        tasks=("multiclass",), range=Interval(0.0, 2.0), hard_targets=True, joint=True,
    ),
)  # fmt: skip
