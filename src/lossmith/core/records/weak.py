"""The records of the losses that need no mask, or little of one."""

from lossmith.core import weak
from lossmith.core.affinity import Kernel
from lossmith.core.parameters import NONNEGATIVE, POSITIVE, UNIT, Count, Flag, Parameter, PerClass
from lossmith.core.records import choice
from lossmith.core.records.options import DOOR
from lossmith.core.records.record import Record

KERNEL = (
    Parameter("radius", Kernel.radius, Count(1), "neighbours are the pixels so many steps away along each axis"),
    Parameter("appearance", Kernel.appearance, NONNEGATIVE, "weight of neighbours that are near and look alike"),
    Parameter("smoothness", Kernel.smoothness, NONNEGATIVE, "weight of neighbours that are near"),
    Parameter("sigma_xy", Kernel.sigma_xy, POSITIVE, "what near means, in pixels"),
    Parameter("sigma_rgb", Kernel.sigma_rgb, POSITIVE, "what alike means, in the unit of the image"),
)
ISOTROPIC = Parameter("isotropic", False, Flag(), "length of the gradient in place of the sum over the axes")
TAGGED = "one number for each class, or one for all but the background; None: there is no such bound"

RECORDS = (
    Record(
        "gated_crf", "GatedCRFLoss", "weak", "neighbours that look alike should have the same class",
        "mean_i sum_{j != i} k_ij (1 - sum_c p_ic p_jc)",
        (*KERNEL, *DOOR),
        "Obukhov 2019, Eqs. 2-4",
        "scribbles, points, few masks: ce(ignore_index=255) + 0.1*gated_crf",
        weak.gated_crf,
        zero_at_truth=False, neighbours=True, uncut=True, supervised=False, inputs=("image",),
        agree=choice.some_neighbours_count,
    ),
    Record(
        "ncut", "NormalizedCutLoss", "weak", "classes that are cut off where neighbours look different",
        "mean_k p_k' W (1 - p_k) / (1' W p_k)",
        (*KERNEL, *DOOR),
        "Tang 2018, Eq. 3; Shi & Malik 2000",
        "as gated_crf, where regions are of very different size",
        weak.normalized_cut, terms=weak.cut_sums, range=UNIT,
        zero_at_truth=False, neighbours=True, uncut=True, supervised=False, inputs=("image",),
        agree=choice.some_neighbours_count,
    ),
    Record(
        "mumford_shah", "MumfordShahLoss", "weak", "classes of even colour with short outlines",
        "mean_i sum_k p_ik |x_i - c_k|^2 + lam |grad p_k|_i",
        (Parameter("lam", 1e-3, NONNEGATIVE, "weight of the outlines' length"), ISOTROPIC, *DOOR),
        "Kim & Ye 2020, Eq. 11; Mumford & Shah 1989",
        "objects of even brightness (CT, fluorescence) and few masks",
        weak.mumford_shah,
        zero_at_truth=False, neighbours=True, uncut=True, supervised=False, inputs=("image",),
    ),
    Record(
        "entropy", "EntropyLoss", "weak", "entropy of the prediction: be certain where nobody says what is right",
        "-sum_c p_c log p_c",
        DOOR, "Grandvalet & Bengio 2004",
        "images without masks beside a supervised loss, with a small coefficient",
        weak.entropy, zero_at_truth=False, supervised=False,
    ),
    Record(
        "tv", "TotalVariationLoss", "weak", "total variation of the probabilities: smooth regions",
        "sum over the axes of |p_{i+1} - p_i|",
        (ISOTROPIC, *DOOR), "Rudin 1992; isotropic: discretised as in Chambolle 2004",
        "noisy predictions; it also rounds corners",
        weak.total_variation,
        zero_at_truth=False, neighbours=True, uncut=True, supervised=False,
    ),
    Record(
        "size", "SizeConstraint", "weak", "each class takes a share of the image between two bounds",
        "(low - V)^2 if V < low, (V - high)^2 if V > high;  V = P / N",
        (
            Parameter("low", 0.01, PerClass(UNIT, scalar=True), f"least share of the image, {TAGGED}"),
            Parameter("high", 0.1, PerClass(UNIT, scalar=True), f"greatest share, {TAGGED}"),
            *DOOR,
        ),
        "Kervadec 2019, Eq. 3",
        "the size of an object is known (anatomy) but not its outline; image-level tags",
        weak.size_bounds, terms=weak.size_sums, range=UNIT,
        zero_at_truth=False, supervised=False, inputs=("tags",), agree=choice.ordered_bounds,
    ),
)  # fmt: skip
