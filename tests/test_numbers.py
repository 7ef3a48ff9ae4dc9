"""Small numbers worked by hand, and the worked examples of the texts that the losses come from.

Where nothing else is said, `given` holds probabilities: (N, P) for binary, (N, C, P) for the other tasks.
"""

from math import cosh, exp, log, log10, sqrt

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lossmith.core.door import receive
from lossmith.core.evaluate import evaluate
from lossmith.core.namespaces.numpy import xp as numpy_namespace
from lossmith.torch import CrossEntropyLoss, FocalLoss, MissingAnnotationLoss, parse, unet_weight_map
from paths import SEPARABLE

HALVES = [[0.5, 0.5, 0.5, 0.5]]
ONE_OF_FOUR = [[1, 0, 0, 0]]
EIGHTHS = [[[1 / 8], [2 / 8], [5 / 8]]]  # one pixel, three classes
THREE_OF_THREE = [[[1 / 8, 1 / 8, 1 / 8], [2 / 8, 2 / 8, 2 / 8], [5 / 8, 5 / 8, 5 / 8]]]

# (spec, task, given, target, weight, value)
NUMBERS = [
    # ce: -log p_t, the mean over pixels.
    ("ce", "binary", [[0.75, 0.5]], [[1, 0]], None, (log(4 / 3) + log(2)) / 2),
    ("ce", "multiclass", EIGHTHS, [[0]], None, 3 * log(2)),
    # A pixel of weight 3 is there three times.
    ("ce", "binary", [[0.75, 0.5]], [[1, 0]], [[3, 1]], (3 * log(4 / 3) + log(2)) / 4),
    # Classes 0, 2, 2 with weights 1, -, 2: (1 log 8 + 2 log 8/5 + 2 log 8/5) / (1 + 2 + 2).
    ("ce(class_weight=[1, 7, 2])", "multiclass", THREE_OF_THREE, [[0, 2, 2]], None, (log(8) + 4 * log(1.6)) / 5),
    # The target 1 becomes .8 + .2/2 = .9.
    ("ce(label_smoothing=0.2)", "binary", [[0.75]], [[1]], None, -0.9 * log(0.75) - 0.1 * log(0.25)),
    # A soft target is a distribution: half of each way.
    ("ce", "binary", [[0.75]], [[0.5]], None, -0.5 * log(0.75) - 0.5 * log(0.25)),
    # Two labels of one pixel, two channels: each is a binary decision.
    ("ce", "multilabel", [[[0.75], [0.2]]], [[[1], [0]]], None, (log(4 / 3) + log(5 / 4)) / 2),
    # wce, HED: one positive weighs 3/4, each of three negatives 1/4; RCF makes that 1.1/4.
    ("wce", "binary", [[0.75, 0.5, 0.5, 0.5]], ONE_OF_FOUR, None, (0.75 * log(4 / 3) + 0.75 * log(2)) / 1.5),
    ("wce(lam=1.1)", "binary", [[0.75, 0.5, 0.5, 0.5]], ONE_OF_FOUR, None, (log(4 / 3) + 1.1 * log(2)) / 2.1),
    # N / (C n_c): background 4/(2 3) = 2/3, foreground 4/(2 1) = 2. Each class weighs 2 in all.
    ("wce(balance='inverse')", "binary", [[0.75, 0.5, 0.5, 0.5]], ONE_OF_FOUR, None, (log(4 / 3) + log(2)) / 2),
    # Both classes are in the one image, so f = (3/4, 1/4), median 1/2, weights (2/3, 2): the same again.
    ("wce(balance='median_frequency')", "binary", [[0.75, 0.5, 0.5, 0.5]], ONE_OF_FOUR, None, log(8 / 3) / 2),
    # (1 - 1/2) / (1 - 1/2^n): n = 3: 4/7, n = 1: 1. (1 log 4/3 + 3 (4/7) log 2) / (1 + 12/7).
    (
        "wce(balance='effective_number', beta=0.5)",
        *("binary", [[0.75, 0.5, 0.5, 0.5]], ONE_OF_FOUR, None),
        (log(4 / 3) + 12 / 7 * log(2)) / (19 / 7),
    ),
    # focal: (1 - 3/4)^2 log 4/3; alpha = 1/4 on foreground, 3/4 on background.
    ("focal", "binary", [[0.75]], [[1]], None, log(4 / 3) / 16),
    ("focal(alpha=0.25)", "binary", [[0.75, 0.5]], [[1, 0]], None, (log(4 / 3) / 64 + 3 / 16 * log(2)) / 2),
    ("focal(gamma=0.5)", "multiclass", EIGHTHS, [[2]], None, sqrt(3 / 8) * log(1.6)),
    ("focal(alpha=[0.125, 0.25, 0.75])", "multiclass", EIGHTHS, [[2]], None, 0.75 * 9 / 64 * log(1.6)),
    # RetinaNet divides by its one positive, not by four pixels: (log 2)/4 from each of four.
    ("focal(normalize='positives')", "binary", HALVES, ONE_OF_FOUR, None, log(2)),
    # mse: differences (1/8, 2/8, -3/8): (1 + 4 + 9) / 64 / 3.
    ("mse", "multiclass", EIGHTHS, [[2]], None, 14 / 192),
    # A foreground pixel weighs 8: (8/4 + 1/4) / 9.
    ("mse(foreground_weight=8)", "binary", [[0.5, 0.5]], [[1, 0]], None, 1 / 4),
    ("mse(foreground_weight=8)", "binary", [[0.5, 0.0]], [[1, 0]], None, 2 / 9),
    # l1: (1 + 2 + 3) / 8 / 3.
    ("l1", "multiclass", EIGHTHS, [[2]], None, 1 / 4),
    # smooth_l1: 1/8 lies below beta: (1/64) / (1/2); 2/8 and 3/8 beyond: minus 1/8. (1/32 + 1/8 + 1/4) / 3.
    ("smooth_l1(beta=0.25)", "multiclass", EIGHTHS, [[2]], None, 13 / 96),
    ("smooth_l1", "binary", [[0.5]], [[1]], None, 1 / 8),
    # topk: the worst two of four; then one and a half of them.
    ("topk(k=0.5, loss=l1)", "binary", [[0.1, 0.2, 0.4, 0.8]], [[0, 0, 0, 0]], None, 0.6),
    ("topk(k=0.375, loss=l1)", "binary", [[0.1, 0.2, 0.4, 0.8]], [[0, 0, 0, 0]], None, (0.8 + 0.5 * 0.4) / 1.5),
    # With weights the worst pixel is there twice, and fills the half of 4 by itself.
    ("topk(k=0.5, loss=l1)", "binary", [[0.1, 0.4, 0.8]], [[0, 0, 0]], [[1, 1, 2]], 0.8),
    # ohem: p_t = .9, .8, .6, .2; below .7 are two; or the three lowest.
    ("ohem(min_kept=1)", "binary", [[0.9, 0.2, 0.6, 0.8]], [[1, 0, 1, 0]], None, -(log(0.6) + log(0.2)) / 2),
    ("ohem(min_kept=3)", "binary", [[0.9, 0.2, 0.6, 0.8]], [[1, 0, 1, 0]], None, -(log(0.6) + log(0.2) + log(0.8)) / 3),
    # missing: pixel 2 looks like class 2, which the image has no label of, and is forgiven; pixel 3 looks like class 1,
    # which pixel 1 is labelled as, and counts.
    (
        "missing",
        "multiclass",
        [[[0.2, 0.1, 0.3], [0.7, 0.1, 0.6], [0.1, 0.8, 0.1]]],
        [[1, 0, 0]],
        None,
        -(log(0.7) + log(0.3)) / 2,
    ),
    # The other image has foreground labelled: its false positive counts.
    ("missing", "binary", [[0.8, 0.25], [0.8, 0.5]], [[0, 0], [0, 1]], None, -(log(0.75) + log(0.2) + log(0.5)) / 3),
    # dice: I = 1/2, P = 2, T = 1: 1 - 1/3; with s = 1: 1 - 2/4; squared: 1 - 1/(1 + 1); log: log 3.
    ("dice", "binary", HALVES, ONE_OF_FOUR, None, 2 / 3),
    ("dice(smooth=1.0)", "binary", HALVES, ONE_OF_FOUR, None, 1 / 2),
    ("dice(squared=True)", "binary", HALVES, ONE_OF_FOUR, None, 1 / 2),
    ("dice(log=True)", "binary", HALVES, ONE_OF_FOUR, None, log(3)),
    # The foreground pixel three times: I = 3/2, P = 3, T = 3.
    ("dice", "binary", HALVES, ONE_OF_FOUR, [[3, 1, 1, 1]], 1 / 2),
    # A background pixel ignored: I = 1/2, P = 3/2, T = 1.
    ("dice", "binary", HALVES, ONE_OF_FOUR, [[1, 1, 1, 0]], 3 / 5),
    # An image without foreground costs the mean probability, here 1/4; the formula says 1; or it is left out.
    ("dice", "binary", [*HALVES, [0.5, 0.5, 0.0, 0.0]], [*ONE_OF_FOUR, [0, 0, 0, 0]], None, (2 / 3 + 1 / 4) / 2),
    ("dice(empty='smooth')", "binary", [*HALVES, *HALVES], [*ONE_OF_FOUR, [0, 0, 0, 0]], None, (2 / 3 + 1) / 2),
    ("dice(empty='skip')", "binary", [*HALVES, *HALVES], [*ONE_OF_FOUR, [0, 0, 0, 0]], None, 2 / 3),
    # Pooled over both images: I = 1/2, P = 4, T = 1.
    ("dice(pool='batch')", "binary", [*HALVES, *HALVES], [*ONE_OF_FOUR, [0, 0, 0, 0]], None, 4 / 5),
    # Classes 0, 2, 2, p = (1, 2, 5)/8: 1 - 2 (1/8) / (3/8 + 1) = 9/11; absent: 2/8; 1 - 2 (10/8) / (15/8 + 2) = 11/31.
    ("dice", "multiclass", THREE_OF_THREE, [[0, 2, 2]], None, (9 / 11 + 1 / 4 + 11 / 31) / 3),
    ("dice(classes='present')", "multiclass", THREE_OF_THREE, [[0, 2, 2]], None, (9 / 11 + 11 / 31) / 2),
    ("dice(classes=[2])", "multiclass", THREE_OF_THREE, [[0, 2, 2]], None, 11 / 31),
    # Soft: I = sum min(p, t) = .25 + .5, P + T = 1 + 1.25. At p = t the loss is 0, which the product misses.
    ("dice", "binary", [[0.5, 0.5]], [[0.25, 1.0]], None, 1 - 1.5 / 2.25),
    ("dice", "binary", [[0.5, 0.25]], [[0.5, 0.25]], None, 0.0),
    # jaccard: 1 - (1/2) / (2 + 1 - 1/2); log 5; with s = 1/2: 1 - 1/3.
    ("jaccard", "binary", HALVES, ONE_OF_FOUR, None, 4 / 5),
    ("iou", "binary", HALVES, ONE_OF_FOUR, None, 4 / 5),
    ("jaccard(log=True)", "binary", HALVES, ONE_OF_FOUR, None, log(5)),
    ("jaccard(smooth=0.5)", "binary", HALVES, ONE_OF_FOUR, None, 2 / 3),
    # tversky: TP = 1/2, FP = 3/2, FN = 1/2: 1 - .5 / (.5 + .3 1.5 + .7 .5) = 1 - .5/1.3; focal: to the power 3/4.
    ("tversky(alpha=0.3, beta=0.7)", "binary", HALVES, ONE_OF_FOUR, None, 8 / 13),
    ("tversky(alpha=0.3, beta=0.7, smooth=1.0)", "binary", HALVES, ONE_OF_FOUR, None, 8 / 23),
    ("focal_tversky", "binary", HALVES, ONE_OF_FOUR, None, (8 / 13) ** 0.75),
    # gdice: T = (3, 1), weights (1/9, 1): 1 - 2 (1.5/9 + .5) / (5/9 + 3) = 1 - 12/32; 1/T: 1 - 2 (.5 + .5) / (5/3 + 3);
    # uniform: 1 - 2 (2) / (5 + 3).
    ("gdice", "binary", HALVES, ONE_OF_FOUR, None, 5 / 8),
    ("gdice(weighting='simple')", "binary", HALVES, ONE_OF_FOUR, None, 4 / 7),
    ("gdice(weighting='uniform')", "binary", HALVES, ONE_OF_FOUR, None, 1 / 2),
    # Classes 0, 2, 2: T = (1, 0, 2), weights (1, 1, 1/4), I = (1, 0, 10)/8, P = (3, 6, 15)/8:
    # 2 (1/8 + 10/32) = 7/8 over 11/8 + 6/8 + 31/32 = 99/32.
    ("gdice", "multiclass", THREE_OF_THREE, [[0, 2, 2]], None, 1 - 28 / 99),
    # poly: log 4/3 + eps 1/4; eps = -1 leaves the series from its second term on.
    ("poly", "binary", [[0.75]], [[1]], None, log(4 / 3) + 1 / 4),
    ("poly(epsilon=-1)", "multiclass", EIGHTHS, [[0]], None, 3 * log(2) - 7 / 8),
    # gce: (1 - sqrt(1/4)) / (1/2); q = 1 is 1 - p, q = 0 is ce.
    ("gce(q=0.5)", "binary", [[0.25]], [[1]], None, 1.0),
    ("gce(q=1)", "multiclass", EIGHTHS, [[2]], None, 3 / 8),
    ("gce(q=0)", "binary", [[0.75]], [[1]], None, log(4 / 3)),
    # sce: .1 log 4/3 + 4 (1/4); alpha = 2, beta = .5, A = -1: 2 log 8 + .5 (7/8).
    ("sce", "binary", [[0.75]], [[1]], None, 0.1 * log(4 / 3) + 1),
    ("sce(alpha=2, beta=0.5, A=-1)", "multiclass", EIGHTHS, [[0]], None, 6 * log(2) + 7 / 16),
    # Soft, the reverse alone: -(3/4) log(1/2) - (1/4) log(1/2).
    ("sce(alpha=0)", "binary", [[0.75]], [[0.5]], None, log(2)),
    # asl: (1/2)^1 log 2; p_m = 1/2 - 1/4: (1/4)^2 log 4/3; p below the margin.
    ("asl(gamma_pos=1, gamma_neg=2, clip=0.25)", "binary", [[0.5]], [[1]], None, log(2) / 2),
    ("asl(gamma_neg=2, clip=0.25)", "binary", [[0.5, 0.25]], [[0, 0]], None, log(4 / 3) / 32),
    ("asl(gamma_neg=1, clip=0)", "multilabel", [[[0.25], [0.5]]], [[[0], [1]]], None, (log(4 / 3) / 4 + log(2)) / 2),
    # mcc: TP = 1, FP = 1, FN = 0, TN = 2: 1 - 2 / sqrt(2 1 3 2); a prediction that says nothing costs 1.
    ("mcc", "binary", [[1.0, 1.0, 0.0, 0.0]], ONE_OF_FOUR, None, 1 - 1 / sqrt(3)),
    ("mcc", "binary", HALVES, ONE_OF_FOUR, None, 1.0),
    ("mcc", "binary", [[0.0, 1.0]], [[1, 0]], None, 2.0),
    # Nothing but foreground: the background is absent, and costs its mean probability.
    ("mcc", "binary", [[0.75, 0.5]], [[1, 1]], None, 3 / 8),
    # log cosh of dice's 2/3.
    ("logcosh_dice", "binary", HALVES, ONE_OF_FOUR, None, log(cosh(2 / 3))),
    # noise_robust_dice: 4 (1/2)^1.5 / (1 + 1); gamma = 2 is V-Net's Dice, 1/2; gamma = 1: 2/2.
    ("noise_robust_dice", "binary", HALVES, ONE_OF_FOUR, None, 1 / sqrt(2)),
    ("noise_robust_dice(gamma=2)", "binary", HALVES, ONE_OF_FOUR, None, 1 / 2),
    ("noise_robust_dice(gamma=1)", "binary", HALVES, ONE_OF_FOUR, None, 1.0),
    # sensitivity_specificity: .05 (1/4)^2 + .95 (1/4) / 3.
    ("sensitivity_specificity", "binary", [[0.75, 0.5, 0.0, 0.0]], ONE_OF_FOUR, None, 0.05 / 16 + 0.95 / 12),
    # combo: half of the mean cross-entropy's half, and of dice's 2/3; beta = 1/4: (1/4 + 3 3/4)/4 log 2.
    ("combo", "binary", HALVES, ONE_OF_FOUR, None, log(2) / 4 + 1 / 3),
    ("combo(alpha=1, beta=0.25)", "binary", HALVES, ONE_OF_FOUR, None, 5 / 8 * log(2)),
    # Without foreground: the cross-entropy stays, Dice becomes the mean probability.
    ("combo", "binary", HALVES, [[0, 0, 0, 0]], None, log(2) / 4 + 1 / 4),
    ("combo(empty='skip')", "binary", HALVES, [[0, 0, 0, 0]], None, log(2) / 4),
    # unified_focal with delta = 3/4, gamma = 1/2: focal (3/4 log 2 + 3 (1/4) sqrt(1/2) log 2) / 4; TI of the foreground
    # 1/2 / (1/2 + 3/8 + 3/8) = 2/5, of the background 3/2 / (3/2 + 3/4 3/2 + 1/4 1/2) = 6/11: (5/11 + sqrt(3/5)) / 2.
    (
        "unified_focal(delta=0.75)",
        *("binary", HALVES, ONE_OF_FOUR, None),
        3 / 32 * (1 + sqrt(1 / 2)) * log(2) + (5 / 11 + sqrt(3 / 5)) / 4,
    ),
    (
        "unified_focal(delta=0.75, asymmetric=False)",
        *("binary", HALVES, ONE_OF_FOUR, None),
        3 / 16 * sqrt(1 / 2) * log(2) + (sqrt(5 / 11) + sqrt(3 / 5)) / 4,
    ),
    # wasserstein_dice: classes 0, 2, 2: E = 7/8 + 3/8 + 3/8, R = 2 (1 - 3/8).
    ("wasserstein_dice", "multiclass", THREE_OF_THREE, [[0, 2, 2]], None, 13 / 33),
    # Class 1 is but half as far from 2 as from 0: W = (2/8 + 5/8), twice (1/8 + 2/16): E = 11/8, R = 2 (1 - 1/4).
    (
        "wasserstein_dice(distances=[[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]])",
        *("multiclass", THREE_OF_THREE, [[0, 2, 2]], None),
        11 / 35,
    ),
    # lovasz: errors .1, .6, .2 of labels 1, 1, 0. Worst first, the Jaccard loss of the wrong pixels grows from 0 to 1/2
    # (one of two lost), 2/3 (one of three left), 1: .6/2 + .2/6 + .1/3.
    ("lovasz", "binary", [[0.9, 0.4, 0.2]], [[1, 1, 0]], None, 11 / 30),
    # The worst pixel twice: 1/3, 2/3, then 3/4, then 1: .6 (2/3) + .2/12 + .1/4.
    ("lovasz", "binary", [[0.9, 0.4, 0.2]], [[1, 1, 0]], [[1, 2, 1]], 0.4 + 1 / 60 + 1 / 40),
    # Hard predictions give 1 - IoU: one of three.
    ("lovasz", "binary", [[1.0, 0.0, 1.0]], [[1, 1, 0]], None, 2 / 3),
    # An absent class: the mean probability, or by the formula its largest error.
    ("lovasz", "binary", [[0.9, 0.4, 0.2]], [[0, 0, 0]], None, 0.5),
    ("lovasz(empty='smooth')", "binary", [[0.9, 0.4, 0.2]], [[0, 0, 0]], None, 0.9),
]
# Given as logits. Hinge errors 0 (right by 3 > 1), 1.5, 0 (right by 2): 1.5 times the 1/2 that the lost pixel costs.
LOGIT_NUMBERS = [
    ("lovasz_hinge", "binary", [[3.0, -0.5, -2.0]], [[1, 1, 0]], None, 0.75),
    # The errors .5, 1.5, 2 of labels 1, 1, 0, worst first: 2 (1/3) + 1.5 (1/3) + .5 (1/3).
    ("lovasz_hinge", "binary", [[0.5, -0.5, 1.0]], [[1, 1, 0]], None, 4 / 3),
    # Without foreground: the largest error.
    ("lovasz_hinge", "binary", [[0.5, -0.5, 1.0]], [[0, 0, 0]], None, 2.0),
    ("ce", "binary", [[0.0]], [[1]], None, log(2)),
    ("ce", "multiclass", [[[0.0], [0.0], [0.0], [0.0]]], [[3]], None, log(4)),
]


def value(spec, task, given, target, weight, *, from_logits):
    loss = parse(spec, task, from_logits=from_logits)
    weight = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    soft = any(isinstance(x, float) for x in np.ravel(np.array(target, dtype=object)))
    target = torch.tensor(target, dtype=torch.float64 if soft else torch.int64)
    return loss(torch.tensor(given, dtype=torch.float64), target, weight).item()


@pytest.mark.parametrize(("spec", "task", "given", "target", "weight", "expected"), NUMBERS)
def test_numbers_of_probabilities(spec, task, given, target, weight, expected):
    got = value(spec, task, given, target, weight, from_logits=False)
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("spec", "task", "given", "target", "weight", "expected"), LOGIT_NUMBERS)
def test_numbers_of_logits(spec, task, given, target, weight, expected):
    assert value(spec, task, given, target, weight, from_logits=True) == pytest.approx(expected, rel=1e-12)


def test_every_loss_has_a_number():
    assert {parse(row[0], row[1]).record.name for row in NUMBERS + LOGIT_NUMBERS} == set(SEPARABLE)


def test_unet_weight_map():
    """Distances (1, 2) and (2, 1) to the two objects; the objects themselves have no border term."""
    border = 1 + 10 * exp(-9 / 50)
    row = unet_weight_map(torch.tensor([[1, 0, 0, 1]]), w0=10, sigma=5, class_weight=None)[0]
    assert row.tolist() == pytest.approx([1, border, border, 1], rel=1e-6)
    # Two of four pixels each: 4 / (2 2) = 1. With one pixel of foreground: 4 / (2 3) and 4 / (2 1), and no border.
    assert unet_weight_map(torch.tensor([[1, 0, 0, 1]]))[0].tolist() == pytest.approx(row.tolist(), rel=1e-6)
    assert unet_weight_map(torch.tensor([[0, 0, 1, 0]]))[0].tolist() == pytest.approx(
        [2 / 3, 2 / 3, 2, 2 / 3], rel=1e-6
    )


# The worked examples of the texts -----------------------------------------------------------------------------------


def imbalance() -> tuple[torch.Tensor, torch.Tensor]:
    """100 000 easy negatives with p_t = .95 and 10 hard positives with p_t = .05, as probabilities of foreground."""
    target = torch.zeros(1, 100_010, dtype=torch.int64)
    target[:, :10] = 1
    return torch.full((1, 100_010), 0.05, dtype=torch.float64), target


def sums(loss) -> tuple[float, float]:
    """Of negatives and positives, to base 10."""
    probs, target = imbalance()
    losses = loss(probs, target)[0] / log(10)
    return losses[10:].sum().item(), losses[:10].sum().item()


def test_focal_loss_of_easy_negatives_and_hard_positives():
    """100 000 (3/4) .05^2 log(1/.95) = 4.1768, where the text, which cuts log(1/.95) to .02227, has 4.1756;
    10 (1/4) .95^2 log(1/.05) = 2.935. The positives' share is .4127."""
    negatives, positives = sums(FocalLoss("binary", alpha=0.25, gamma=2.0, reduction="none", from_logits=False))
    assert negatives == pytest.approx(1e5 * 0.75 * 0.0025 * -log10(0.95), rel=1e-9)
    assert negatives == pytest.approx(4.1756, abs=2e-3)
    assert positives == pytest.approx(2.935, abs=5e-4)
    assert positives / (positives + negatives) == pytest.approx(0.4127, abs=1e-4)


def test_cross_entropy_of_easy_negatives_and_hard_positives():
    """10 log 20 = 13.01 beside 100 000 log(1/.95) = 2227.6: a share of .0058, of which focal makes 71 times as much."""
    negatives, positives = sums(CrossEntropyLoss("binary", reduction="none", from_logits=False))
    share = positives / (positives + negatives)
    assert share == pytest.approx(0.0058, abs=5e-5)
    focal = sums(FocalLoss("binary", alpha=0.25, gamma=2.0, reduction="none", from_logits=False))
    assert focal[1] / sum(focal) / share == pytest.approx(71, abs=0.5)


def test_alpha_of_focal_trades_precision_for_recall():
    """One number a pixel, foreground one in ten and 1.5 deviations higher, trained to the end with each alpha."""
    target = torch.zeros(1, 2000, dtype=torch.long)
    target[:, :200] = 1
    feature = torch.randn(1, 2000, generator=torch.Generator().manual_seed(0)) + 1.5 * target
    recalls, precisions = [], []
    for alpha in (0.25, 0.5, 0.75, 0.9, 0.99):
        loss, w = FocalLoss("binary", alpha=alpha), torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.LBFGS([w], max_iter=100)

        def step(loss=loss, w=w, optimizer=optimizer):
            optimizer.zero_grad()
            value = loss(w[0] * feature + w[1], target)
            value.backward()
            return value

        optimizer.step(step)
        found = w[0] * feature + w[1] > 0
        right = (found & (target == 1)).sum().item()
        recalls.append(right / 200)
        precisions.append(right / found.sum().item())
    assert recalls == sorted(recalls)
    assert precisions == sorted(precisions, reverse=True)
    assert recalls[0] < 0.1
    assert recalls[-1] > 0.95


def three_shapes() -> torch.Tensor:
    """8 images with a rectangle (1), a disc (2) and an ellipse (3) each."""
    y, x = np.mgrid[:24, :24]
    images = []
    for i in range(8):
        image = np.zeros((24, 24), dtype=np.int64)
        image[1 : 6 + i % 3, 2 : 8 + i % 2] = 1
        image[(y - 6) ** 2 + (x - 17) ** 2 < 9 + 2 * i] = 2
        image[((y - 17) / 4) ** 2 + ((x - 8 - i % 4) / 7) ** 2 < 1] = 3
        images.append(image)
    return torch.from_numpy(np.stack(images))


def confident(mask: torch.Tensor) -> torch.Tensor:
    """Logits of a network that finds every object, more or less surely."""
    noise = torch.randn(8, 4, 24, 24, generator=torch.Generator().manual_seed(0))
    return 6.0 * F.one_hot(mask, 4).movedim(-1, 1) + noise


def on_numpy(loss, logits: torch.Tensor, target: torch.Tensor) -> float:
    px = receive(numpy_namespace, logits.double().numpy(), target.numpy(), task="multiclass").open()
    return float(evaluate(loss.record, px, **loss.asked()[1]))


def test_missing_annotations_cost_less_than_cross_entropy():
    mask = three_shapes()
    partial = mask.clone()
    partial[0][mask[0] == 2] = 0
    partial[5][mask[5] == 3] = 0
    logits = confident(mask)
    missing, ce = MissingAnnotationLoss("multiclass"), CrossEntropyLoss("multiclass")
    assert missing(logits, partial) < 0.5 * ce(logits, partial)
    # Forgiven, the objects leave almost the loss of the complete annotation.
    assert missing(logits, partial).item() == pytest.approx(ce(logits, mask).item(), rel=0.05)
    for loss in (missing, ce):
        assert on_numpy(loss, logits, partial) == pytest.approx(loss(logits, partial).item(), abs=1e-6)


def test_missing_annotations_are_cross_entropy_where_nothing_is_missing():
    mask = three_shapes()
    logits = confident(mask)
    missing, ce = MissingAnnotationLoss("multiclass"), CrossEntropyLoss("multiclass")
    assert missing(logits, mask).item() == ce(logits, mask).item()
    assert on_numpy(missing, logits, mask) == pytest.approx(ce(logits, mask).item(), abs=1e-6)
