"""The losses against loops written from the papers, high-precision arithmetic, and other libraries."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import oracle
from lossmith.core.spec import Atom, parse_spec
from lossmith.torch import (
    CrossEntropyLoss,
    FocalLoss,
    Loss,
    TopKLoss,
    WeightedCrossEntropyLoss,
    class_counts,
    parse,
    unet_weight_map,
)
from oracle import ORACLES, Batch
from paths import SEPARABLE, in_blocks

torch.set_num_threads(1)

# Every parameter of every loss away from its default at least once. PIXEL and REGION stand for class weights of the
# task: pixel losses weigh background and foreground of a binary task, region losses have the foreground alone.
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "ce": ("ce", "ce(label_smoothing=0.1)", "ce(class_weight=PIXEL)", "ce(class_weight=PIXEL, label_smoothing=0.2)"),
    "wce": (
        "wce",
        "wce(lam=1.1)",
        "wce(balance='inverse')",
        "wce(balance='median_frequency')",
        "wce(balance='effective_number')",
        "wce(balance='effective_number', beta=0.9)",
    ),
    "focal": (
        "focal",
        "focal(gamma=0)",
        "focal(gamma=0.5, alpha=0.25)",
        "focal(gamma=5, alpha=PIXEL01)",
        "focal(normalize='positives', alpha=0.25)",
        "focal(normalize='elements', alpha=0.25)",
        "focal(class_weight=PIXEL)",
        "focal(class_weight=PIXEL, alpha=0.25, gamma=1)",
    ),
    "mse": ("mse", "mse(foreground_weight=8)", "mse(class_weight=PIXEL)"),
    "l1": ("l1", "l1(foreground_weight=8)", "l1(class_weight=PIXEL)"),
    "smooth_l1": (
        "smooth_l1",
        "smooth_l1(beta=0.3)",
        "smooth_l1(foreground_weight=0.5)",
        "smooth_l1(class_weight=PIXEL)",
    ),
    "topk": (
        "topk(k=0.25)",
        "topk(k=0.37)",
        "topk(k=1.0)",
        "topk(k=0.3, loss=l1)",
        "topk(k=0.3, loss=ce(class_weight=PIXEL))",
    ),
    "ohem": (
        "ohem(min_kept=1)",
        "ohem(threshold=0.2, min_kept=5)",
        "ohem(threshold=0.0, min_kept=3)",
        "ohem",
        "ohem(threshold=0.5, min_kept=2, loss=ce(class_weight=PIXEL))",
        "ohem(threshold=0.3, min_kept=2, loss=l1)",
    ),
    "missing": ("missing", "missing(class_weight=PIXEL)"),
    "dice": (
        "dice",
        "dice(smooth=1.0)",
        "dice(squared=True)",
        "dice(squared=True, smooth=0.5)",
        "dice(log=True, smooth=0.1)",
        "dice(pool='batch')",
        "dice(class_weight=REGION)",
        "dice(class_weight=REGION, pool='batch', empty='skip')",
        "dice(classes='present')",
        "dice(classes=[0])",
        "dice(average='micro')",
        "dice(average='micro', class_weight=REGION, classes='present', squared=True)",
        "dice(average='micro', pool='batch', log=True, smooth=0.1)",
        "dice(average='image', classes='present')",
        "dice(average='image', classes='present', class_weight=REGION, empty='smooth', smooth=1.0)",
        "dice(empty='zero', pool='batch')",
        "dice(empty='smooth', smooth=1.0)",
        "dice(empty='skip')",
    ),
    "jaccard": (
        "jaccard",
        "jaccard(smooth=1.0)",
        "jaccard(log=True)",
        "jaccard(pool='batch', class_weight=REGION)",
        "jaccard(classes='present', empty='smooth')",
        "jaccard(classes=[0], empty='skip')",
        "jaccard(average='micro', log=True, class_weight=REGION)",
    ),
    "tversky": (
        "tversky",
        "tversky(alpha=0.3, beta=0.7)",
        "tversky(alpha=1, beta=1, smooth=0.5)",
        "tversky(pool='batch', class_weight=REGION)",
        "tversky(classes=[0], empty='smooth')",
        "tversky(average='micro', alpha=0.3, beta=0.7, empty='skip')",
    ),
    "focal_tversky": (
        "focal_tversky",
        "focal_tversky(alpha=0.5, beta=0.5, gamma=2.0)",
        "focal_tversky(smooth=1.0, pool='batch', class_weight=REGION)",
        "focal_tversky(classes='present', empty='skip')",
        "focal_tversky(average='image', empty='skip')",
    ),
    "gdice": (
        "gdice",
        "gdice(weighting='simple')",
        "gdice(weighting='uniform', smooth=1.0)",
        "gdice(pool='batch', smooth=0.5)",
        "gdice(classes='present')",
        "gdice(classes=[2])",
        "gdice(classes=[2], empty='skip')",
        "gdice(classes=[2], empty='smooth', smooth=1.0)",
    ),
    "lovasz_hinge": (
        "lovasz_hinge",
        "lovasz_hinge(per_image=False)",
        "lovasz_hinge(class_weight=REGION)",
        "lovasz_hinge(classes='present')",
        "lovasz_hinge(classes=[0])",
    ),
    "lovasz": (
        "lovasz",
        "lovasz(per_image=True)",
        "lovasz(classes='all')",
        "lovasz(classes='all', empty='smooth')",
        "lovasz(classes='all', empty='skip')",
        "lovasz(classes=[0], per_image=True)",
        "lovasz(classes='all', class_weight=REGION)",
    ),
    "poly": ("poly", "poly(epsilon=-1)", "poly(epsilon=0.5, class_weight=PIXEL)"),
    "gce": ("gce", "gce(q=0)", "gce(q=1)", "gce(q=0.3, class_weight=PIXEL)"),
    "sce": ("sce", "sce(alpha=1.0, beta=0)", "sce(A=-0.5, beta=2.0)", "sce(class_weight=PIXEL)"),
    "asl": (
        "asl",
        "asl(clip=0)",
        "asl(gamma_pos=1, gamma_neg=2, clip=0.3)",
        "asl(gamma_neg=0.5, clip=0.2, class_weight=PIXEL)",
        "asl(gamma_neg=0)",
    ),
    "mcc": (
        "mcc",
        "mcc(pool='batch')",
        "mcc(class_weight=REGION)",
        "mcc(classes='present')",
        "mcc(classes=[0], empty='smooth')",
        "mcc(empty='skip')",
    ),
    "logcosh_dice": (
        "logcosh_dice",
        "logcosh_dice(smooth=1.0, empty='smooth')",
        "logcosh_dice(squared=True, pool='batch')",
        "logcosh_dice(classes=[0], class_weight=REGION)",
    ),
    "noise_robust_dice": (
        "noise_robust_dice",
        "noise_robust_dice(gamma=1)",
        "noise_robust_dice(gamma=2, pool='batch')",
        "noise_robust_dice(classes='present')",
        "noise_robust_dice(empty='smooth')",
        "noise_robust_dice(class_weight=REGION)",
    ),
    "sensitivity_specificity": (
        "sensitivity_specificity",
        "sensitivity_specificity(r=0.7, pool='batch')",
        "sensitivity_specificity(class_weight=REGION, empty='smooth')",
        "sensitivity_specificity(classes=[0])",
    ),
    "combo": (
        "combo",
        "combo(alpha=0.3, beta=0.8)",
        "combo(pool='batch', smooth=1.0)",
        "combo(empty='skip', class_weight=REGION)",
        "combo(empty='smooth', smooth=1.0, beta=0)",
        "combo(classes=[0])",
        "combo(classes='present')",
        "combo(alpha=1)",
    ),
    "unified_focal": (
        "unified_focal",
        "unified_focal(asymmetric=False, gamma=0.2)",
        "unified_focal(lam=0.3, delta=0.9, gamma=0.75, pool='batch')",
        "unified_focal(empty='skip')",
        "unified_focal(empty='smooth', smooth=1.0)",
        "unified_focal(gamma=0, asymmetric=False, lam=1)",
    ),
    "wasserstein_dice": (
        "wasserstein_dice",
        "wasserstein_dice(distances=[[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]])",
        "wasserstein_dice(distances=[[0, 1, 2], [1, 0, 4], [2, 4, 0]], pool='batch')",
        "wasserstein_dice(distances=[[0, 1, 2], [1, 0, 4], [2, 4, 0]], empty='skip')",
        "wasserstein_dice(empty='smooth')",
    ),
}
CLASS_WEIGHTS = {
    "PIXEL01": {"binary": "[0.25, 0.875]", "multiclass": "[0.25, 0.875, 0.5]", "multilabel": "[0.25, 0.875, 0.5]"},
    "PIXEL": {"binary": "[0.75, 2.5]", "multiclass": "[0.75, 2.5, 1.25]", "multilabel": "[0.75, 2.5, 1.25]"},
    "REGION": {"binary": "[2.5]", "multiclass": "[0.75, 2.5, 1.25]", "multilabel": "[0.75, 2.5, 1.25]"},
}
MODES = (
    "plain",
    "background",
    "weight",
    "ignore",
    "soft",
    "one_hot",
    "soft_weight",
    "probs",
    "one_image_ignored",
    "channel_weight",
)
TASK_VARIANTS = [
    pytest.param(name, variant, task, id=f"{variant}-{task}")
    for name, variants in VARIANTS.items()
    for variant in variants
    for task in SEPARABLE[name].tasks
    if not (task == "binary" and "gdice(classes" in variant)  # see test_binary_gdice_is_the_two_class_gdice
]
IGNORE = 255


@pytest.fixture(scope="module")
def monai() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at import
        return pytest.importorskip("monai.losses")


def for_task(variant: str, task: str) -> str:
    for name, weights in CLASS_WEIGHTS.items():
        variant = variant.replace(name, weights[task])
    return variant


def oracle_of(variant: str, task: str):
    """The slow loop of a variant, called as f(batch, m, reduction=...)."""
    (term,) = parse_spec(for_task(variant, task))
    arguments = dict(term.atom.arguments)
    if isinstance(base := arguments.get("loss"), Atom):
        arguments |= {"loss": base.name, "options": base.arguments}
    return lambda batch, m=math, **options: ORACLES[term.atom.name](batch, m, **arguments, **options)


def module_of(variant: str, batch: Batch, reduction: str = "mean") -> Loss:
    options = {"ignore_index": batch.ignore_index, "reduction": reduction, "from_logits": batch.from_logits}
    loss = parse(for_task(variant, batch.task), batch.task, **options)
    assert isinstance(loss, Loss)
    return loss


def run(variant: str, batch: Batch, reduction: str = "mean") -> torch.Tensor:
    scores, target, weight = (None if x is None else torch.from_numpy(x) for x in arrays(batch))
    return module_of(variant, batch, reduction)(scores, target, weight)


def arrays(batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    return batch.scores, batch.target, batch.weight


def make_batch(task: str, mode: str, seed: int = 0, images: int = 3, pixels: int = 8) -> Batch:
    """Random logits; the second image lacks the last class, the third has background alone."""
    rng = np.random.default_rng(seed)
    channels = 1 if task == "binary" else 3
    scores = 1.5 * rng.normal(size=(images, channels, pixels))
    target = _labels(rng, task, images, pixels)
    if mode == "background":
        target = np.zeros_like(target)
    weight, ignore_index = None, None
    if "weight" in mode:
        shape = (images, channels, pixels) if mode == "channel_weight" and task == "multilabel" else (images, pixels)
        weight = rng.choice([0.0, 0.25, 0.5, 1.0, 2.0], size=shape)
    if mode in ("ignore", "one_image_ignored"):
        ignore_index = IGNORE
        target = np.where(rng.random(target.shape) < 0.3, IGNORE, target)
    if mode == "one_image_ignored":
        target[1] = IGNORE
    if "soft" in mode or mode == "one_hot":
        target = _soft(rng, task, target, mode)
    if mode == "probs":
        e = np.exp(scores)
        scores = e / e.sum(1, keepdims=True) if task == "multiclass" else 1 / (1 + 1 / e)
    return Batch(task, scores, target, weight, ignore_index, mode != "probs")


def _labels(rng: np.random.Generator, task: str, images: int, pixels: int) -> np.ndarray:
    if task == "multilabel":
        target = rng.integers(2, size=(images, 3, pixels))
        target[1, 2], target[2] = 0, 0
        return target
    target = rng.integers(3 if task == "multiclass" else 2, size=(images, pixels))
    target[1] = np.where(target[1] == 2, 0, target[1])
    target[2] = 0
    return target


def _soft(rng: np.random.Generator, task: str, target: np.ndarray, mode: str) -> np.ndarray:
    if task == "multiclass":
        target = np.moveaxis(np.eye(3)[target], -1, 1)
    target = target.astype(float)
    if mode == "one_hot":
        return target
    mixed = 0.6 * target + 0.4 * (
        rng.dirichlet([1, 1, 1], size=target[:, 0].shape).swapaxes(1, 2)
        if task == "multiclass"
        else rng.random(target.shape)
    )
    mixed[2] = target[2]
    return mixed


def takes(name: str, mode: str) -> bool:
    """Lovasz losses refuse soft targets; which class a soft pixel was annotated as is left open for the others."""
    soft = "soft" in mode or mode == "one_hot"
    return not soft or not (SEPARABLE[name].hard_targets or (name in ("missing", "ohem") and mode != "one_hot"))


def test_every_loss_has_an_oracle_and_every_parameter_is_varied():
    assert set(ORACLES) == set(VARIANTS) == set(SEPARABLE)
    elsewhere = {"ignore_index", "reduction", "from_logits", "process_group", "counts", "one_vs_rest"}
    for name, record in SEPARABLE.items():
        varied = {key for variant in VARIANTS[name] for term in parse_spec(variant) for key in term.atom.arguments}
        assert varied == {parameter.name for parameter in record.parameters} - elsewhere, name


@pytest.mark.parametrize(("name", "variant", "task"), TASK_VARIANTS)
def test_values_against_loops(name, variant, task):
    slow = oracle_of(variant, task)
    for seed, mode in enumerate(MODES):
        if takes(name, mode):
            batch = make_batch(task, mode, seed)
            for reduction in ("mean", "sum", "none"):
                got, said = run(variant, batch, reduction).numpy(), f"{mode}, {reduction}"
                np.testing.assert_allclose(got, slow(batch, reduction=reduction), rtol=1e-9, atol=1e-12, err_msg=said)


@pytest.mark.parametrize(("name", "variant", "task"), TASK_VARIANTS)
def test_values_of_blocks_against_loops(name, variant, task):
    """19 pixels an image are a block of 16 and one of 3."""
    slow = oracle_of(variant, task)
    for mode, reduction in (("weight", "mean"), ("one_image_ignored", "none"), ("soft_weight", "sum")):
        if takes(name, mode):
            batch = make_batch(task, mode, seed=11, pixels=19)
            with in_blocks(16):
                got = run(variant, batch, reduction).numpy()
            np.testing.assert_allclose(got, slow(batch, reduction=reduction), rtol=1e-9, atol=1e-12, err_msg=mode)


# The mean of these has a derivative everywhere but at thresholds and equal values, which random batches miss.
@pytest.mark.parametrize(("name", "variant", "task"), TASK_VARIANTS)
def test_gradients_against_differences_of_the_loops(name, variant, task):
    slow = oracle_of(variant, task)
    for mode in ("ignore", "soft_weight"):
        if takes(name, mode):
            batch = make_batch(task, mode, seed=7, pixels=4)
            scores = torch.from_numpy(batch.scores).requires_grad_()
            target, weight = (None if x is None else torch.from_numpy(x) for x in (batch.target, batch.weight))
            (gradient,) = torch.autograd.grad(module_of(variant, batch)(scores, target, weight), scores)
            np.testing.assert_allclose(gradient, differences(slow, batch), rtol=1e-5, atol=1e-8, err_msg=mode)


def differences(slow, batch: Batch, h: Any = 1e-5, m=math) -> np.ndarray:
    """Central differences with respect to the scores."""
    out = np.zeros(batch.scores.shape, dtype=batch.scores.dtype)
    for at in np.ndindex(batch.scores.shape):
        sides = []
        for step in (h, -h):
            moved = batch.scores.copy()
            moved[at] += step
            sides.append(slow(replace(batch, scores=moved), m))
        out[at] = (sides[0] - sides[1]) / (2 * h)
    return out


SMOOTH = (
    *("ce(class_weight=PIXEL, label_smoothing=0.2)", "wce", "focal", "focal(gamma=0.5, alpha=0.25)", "mse", "missing"),
    *("dice", "dice(squared=True)", "dice(log=True)", "dice(pool='batch')", "jaccard", "tversky(alpha=0.3, beta=0.7)"),
    *("focal_tversky", "gdice", "gdice(pool='batch')", "poly", "gce", "sce", "asl(clip=0.3)", "mcc", "logcosh_dice"),
    *("noise_robust_dice", "sensitivity_specificity", "combo(pool='batch')", "unified_focal", "wasserstein_dice"),
)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("variant", SMOOTH)
def test_first_and_second_derivatives(variant, task):
    if task not in SEPARABLE[variant.partition("(")[0]].tasks:
        return
    batch = make_batch(task, "weight", seed=3, pixels=3)
    loss = module_of(variant, batch)
    scores, target, weight = (torch.from_numpy(x) for x in (batch.scores, batch.target, batch.weight))
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, target, weight), scores)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, target, weight), scores)


@pytest.mark.parametrize("mode", ["plain", "weight", "ignore", "soft"])
@pytest.mark.parametrize("options", ["", "pool='batch', smooth=1.0", "weighting='simple'", "classes='present'"])
def test_binary_gdice_is_the_two_class_gdice(options, mode):
    batch = make_batch("binary", mode)
    scores = np.concatenate([np.zeros_like(batch.scores), batch.scores], axis=1)
    target = np.stack([1 - batch.target, batch.target], axis=1) if mode == "soft" else batch.target
    two_class = replace(batch, task="multiclass", scores=scores, target=target)
    variant = f"gdice({options})"
    torch.testing.assert_close(run(variant, batch), run(variant, two_class), rtol=1e-12, atol=0)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_a_sum_is_the_sum_of_the_loops(task):
    batch = make_batch(task, "weight")
    slow = 0.5 * oracle.ce(batch) + oracle.dice(batch, smooth=1.0) + 2 * oracle.focal(batch, gamma=1.0)
    loss = parse("0.5*ce + dice(smooth=1.0) + 2*focal(gamma=1.0)", task)
    value = loss(*(torch.from_numpy(x) for x in (batch.scores, batch.target, batch.weight)))
    assert value.item() == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("balance", ["inverse", "median_frequency", "effective_number"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_class_weights_from_the_counts_of_a_data_set(task, balance):
    rng = np.random.default_rng(5)
    classes = 3 if task == "multiclass" else 2
    counts = rng.integers(1, 100, size=(classes, 2))
    counts[:, 1] += counts[:, 0]
    if task == "multiclass":
        counts[2] = 0  # absent from the data set: the largest weight of the others
    counts = np.stack([counts, counts[::-1], 2 * counts]) if task == "multilabel" else counts
    batch = make_batch(task, "ignore", seed=1)
    loss = WeightedCrossEntropyLoss(task, balance=balance, counts=counts.tolist(), ignore_index=IGNORE)
    value = loss(torch.from_numpy(batch.scores), torch.from_numpy(batch.target))
    assert value.item() == pytest.approx(oracle.wce(batch, balance=balance, counts=counts), rel=1e-9)


def test_class_counts_by_loop():
    rng = np.random.default_rng(0)
    masks = [rng.choice([0, 1, 3, IGNORE], size=(5, 4)), rng.choice([0, 1], size=(3, 3)), np.full((2, 2), IGNORE)]
    expected = np.zeros((4, 2), dtype=int)
    for mask in masks:
        valid = [label for label in mask.ravel() if label != IGNORE]
        for label in range(4):
            expected[label, 0] += valid.count(label)
            expected[label, 1] += len(valid) if label in valid else 0
    assert class_counts(masks, classes=4, ignore_index=IGNORE).tolist() == expected.tolist()


@pytest.mark.parametrize("instances", [False, True])
@pytest.mark.parametrize("class_weight", [None, "inverse", [1.0, 3.0, 0.5]])
@pytest.mark.parametrize("shape", [(25,), (9, 11), (4, 5, 6)])
def test_unet_weight_map_by_all_distances(shape, class_weight, instances):
    rng = np.random.default_rng(len(shape))
    labels = np.stack([rng.choice(3, size=shape, p=[0.8, 0.1, 0.1]), np.zeros(shape, dtype=int)])
    if class_weight == "inverse" and not instances:
        labels = labels[:1]  # with all classes there, N / (C n_c) leaves nothing open
    if instances and class_weight is not None:
        class_weight = class_weight if class_weight == "inverse" else class_weight[:2]
        labels = labels[:1]
    options = {"class_weight": class_weight, "instances": instances, "space": len(shape)}
    got = unet_weight_map(torch.from_numpy(labels), w0=7, sigma=2.5, **options)
    slow = [oracle.unet_weight_map(image, 7, 2.5, class_weight, instances) for image in labels]
    np.testing.assert_allclose(got, slow, rtol=1e-6)
    assert got.dtype == torch.float32


DOUBLE = torch.tensor([0.1, 0.7], dtype=torch.float64)


@pytest.mark.parametrize(
    ("variant", "loss"),
    [
        ("ce(class_weight=[0.1, 0.7])", CrossEntropyLoss("binary", class_weight=DOUBLE, reduction="sum")),
        ("focal(alpha=[0.1, 0.7])", FocalLoss("binary", alpha=DOUBLE, reduction="sum")),
        (
            "topk(loss=ce(class_weight=[0.1, 0.7]))",
            TopKLoss("binary", loss=CrossEntropyLoss("binary", class_weight=DOUBLE), reduction="sum"),
        ),
    ],
    ids=str,
)
def test_class_weights_keep_their_digits(variant, loss):
    """0.1 and 0.7 are no float32 numbers: double precision in must be double precision out."""
    batch = make_batch("binary", "plain")
    scores, target, weight = (None if x is None else torch.from_numpy(x) for x in arrays(batch))
    expected = oracle_of(variant, "binary")(batch, reduction="sum")
    assert loss(scores, target, weight).item() == pytest.approx(expected, rel=1e-12)


# Extreme logits, in 50 digits and more ----------------------------------------------------------------------------

EXTREME = (0.0, 1e-30, 37.0, 88.0, 745.0, 1e4)
PRECISE = (
    *("ce", "focal(gamma=0)", "focal(gamma=0.5)", "focal(gamma=2, alpha=0.25)", "focal(gamma=5)"),
    *("mse", "dice", "dice(squared=True)", "poly", "gce", "gce(q=0)", "sce", "logcosh_dice"),
    *("noise_robust_dice", "sensitivity_specificity"),
)


def extreme_batch(task: str, z: float, label: int, dtype: torch.dtype) -> Batch:
    """One extreme pixel, given as `label`."""
    row = [z] if task == "binary" else [z, 0.25, -0.5]
    scores = torch.tensor([row], dtype=dtype).double().numpy()[..., None]
    return Batch(task, scores, np.array([[label]]))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("variant", PRECISE)
def test_extreme_logits_against_mpmath(variant, task, dtype):
    slow, info = oracle_of(variant, task), torch.finfo(dtype)
    for size in EXTREME:
        for z in (size, -size):
            for label in range(2 if task == "binary" else 3):
                batch = extreme_batch(task, z, label, dtype)
                scores = torch.from_numpy(batch.scores).to(dtype).requires_grad_()
                value = module_of(variant, batch)(scores, torch.from_numpy(batch.target))
                (gradient,) = torch.autograd.grad(value, scores)
                with mpmath.workdps(60):
                    exact = slow(batch, mpmath)
                # What is left of 1 - p near p = 1 is seen by binary ce and focal alone; below gamma = 1 the power has
                # a floor, which keeps its gradient finite.
                relative = task == "binary" and variant.startswith(("ce", "focal")) and "0.5" not in variant
                rounding = info.tiny if relative else 4 * info.eps
                assert value.item() == pytest.approx(float(exact), rel=16 * info.eps, abs=info.tiny + rounding), (
                    z,
                    label,
                )
                assert torch.isfinite(gradient).all(), (z, label)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("variant", ["dice(log=True)", "jaccard(log=True)"])
@pytest.mark.parametrize("z", [-50.0, -200.0, -1e4])
def test_the_log_forms_keep_pulling_at_a_lost_object(z, variant):
    """-log(2 p / (p + 1)) of the only pixel falls by nearly 1 for each unit of z, however far it is from found."""
    batch = extreme_batch("binary", z, 1, torch.float32)
    scores = torch.from_numpy(batch.scores).float().requires_grad_()
    value = module_of(variant, batch)(scores, torch.from_numpy(batch.target))
    (gradient,) = torch.autograd.grad(value, scores)
    with mpmath.workdps(60):
        exact = oracle_of(variant, "binary")(batch, mpmath)
    assert value.item() == pytest.approx(float(exact), rel=1e-6)
    assert gradient.item() == pytest.approx(-1.0, rel=1e-6)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("variant", PRECISE)
def test_extreme_gradients_against_mpmath(variant, task):
    slow = oracle_of(variant, task)
    for z in (*EXTREME, *(-size for size in EXTREME)):
        for label in range(2 if task == "binary" else 3):
            batch = extreme_batch(task, z, label, torch.float64)
            scores = torch.from_numpy(batch.scores).requires_grad_()
            (gradient,) = torch.autograd.grad(module_of(variant, batch)(scores, torch.from_numpy(batch.target)), scores)
            with mpmath.workdps(150):
                precise = np.vectorize(mpmath.mpf, otypes=[object])(batch.scores)
                exact = differences(slow, replace(batch, scores=precise), mpmath.mpf(10) ** -60, mpmath)
            np.testing.assert_allclose(gradient, exact.astype(float), rtol=1e-12, atol=1e-15, err_msg=f"{z} {label}")


# Other libraries, where they compute the same ---------------------------------------------------------------------


def tensors(task: str, mode: str = "plain", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    batch = make_batch(task, mode, seed)
    return torch.from_numpy(batch.scores), torch.from_numpy(batch.target)


def assert_same(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected.to(got.dtype), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weight", [None, [0.75, 2.5, 1.25]])
def test_torch_cross_entropy(class_weight, smoothing, reduction):
    logits, target = tensors("multiclass", "ignore")
    loss = CrossEntropyLoss(
        "multiclass",
        class_weight=class_weight,
        label_smoothing=smoothing,
        reduction=reduction,
        ignore_index=IGNORE,
    )
    weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float64)
    options = {"label_smoothing": smoothing, "reduction": reduction, "ignore_index": IGNORE}
    assert_same(loss(logits, target), F.cross_entropy(logits, target, weight, **options))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_torch_cross_entropy_of_soft_targets(reduction, smoothing):
    """Without class weights: with them torch divides the mean by the pixels, not by the weights."""
    logits, target = tensors("multiclass", "soft")
    loss = CrossEntropyLoss("multiclass", reduction=reduction, label_smoothing=smoothing)
    expected = F.cross_entropy(logits, target, reduction=reduction, label_smoothing=smoothing)
    assert_same(loss(logits, target), expected)


@pytest.mark.parametrize("mode", ["plain", "soft"])
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_torch_binary_cross_entropy(task, mode):
    logits, target = tensors(task, mode)
    shaped = target.reshape(logits.shape).double()
    for reduction in ("mean", "sum"):
        expected = F.binary_cross_entropy_with_logits(logits, shaped, reduction=reduction)
        assert_same(CrossEntropyLoss(task, reduction=reduction)(logits, target), expected)


def test_torch_pos_weight():
    """pos_weight is the class weight (1, pos_weight) of the sum; torch's mean divides by the pixels alone."""
    logits, target = tensors("binary")
    loss = CrossEntropyLoss("binary", class_weight=[1.0, 2.5], reduction="sum")
    options = {"pos_weight": torch.tensor(2.5, dtype=torch.float64), "reduction": "sum"}
    assert_same(loss(logits, target), F.binary_cross_entropy_with_logits(logits[:, 0], target.double(), **options))


@pytest.mark.parametrize(
    ("variant", "reference"),
    [
        ("mse", F.mse_loss),
        ("l1", F.l1_loss),
        ("smooth_l1", F.smooth_l1_loss),
        ("smooth_l1(beta=0.3)", partial(F.smooth_l1_loss, beta=0.3)),
    ],
)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_torch_distances_of_probabilities(variant, reference, task):
    logits, target = tensors(task, "one_hot")
    probs = logits.softmax(1) if task == "multiclass" else logits.sigmoid()
    assert_same(parse(variant, task)(logits, target), reference(probs, target.reshape(probs.shape)))


def monai_target(task: str, target: torch.Tensor) -> torch.Tensor:
    return F.one_hot(target, 3).movedim(-1, 1).double() if task == "multiclass" else target.reshape(3, -1, 8).double()


# MONAI adds smooth_nr and smooth_dr where we add `smooth`, to twice the overlap also for Jaccard. Classes are averaged
# as here; an absent class follows the formula, our empty="smooth". It has no weight maps and no soft minimum.
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    ("variant", "cls", "options"),
    [
        ("dice(smooth=1.0, empty='smooth')", "DiceLoss", {}),
        ("dice(smooth=1.0, squared=True, empty='smooth')", "DiceLoss", {"squared_pred": True}),
        ("dice(smooth=1.0, pool='batch', empty='smooth')", "DiceLoss", {"batch": True}),
        ("jaccard(smooth=0.5, empty='smooth')", "DiceLoss", {"jaccard": True}),
        ("tversky(alpha=0.3, beta=0.7, smooth=1.0, empty='smooth')", "TverskyLoss", {"alpha": 0.3, "beta": 0.7}),
    ],
)
def test_monai_regions(monai, variant, cls, options, task):
    logits, target = tensors(task)
    activation = "softmax" if task == "multiclass" else "sigmoid"
    reference = getattr(monai, cls)(smooth_nr=1, smooth_dr=1, **options, **{activation: True})
    assert_same(parse(variant, task)(logits, target), reference(logits, monai_target(task, target)))


# Absent classes get the largest weight in both; MONAI's weights are 1/T^2 themselves, which cancels without `smooth`.
@pytest.mark.parametrize("weighting", ["square", "simple", "uniform"])
def test_monai_generalized_dice(monai, weighting):
    logits, target = tensors("multiclass")
    reference = monai.GeneralizedDiceLoss(softmax=True, w_type=weighting, smooth_nr=0, smooth_dr=0)
    loss = parse(f"gdice(weighting='{weighting}')", "multiclass")
    assert_same(loss(logits, target), reference(logits, monai_target("multiclass", target)))


# MONAI's mean also divides by the number of classes, and its sum is that of the means of images and classes.
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.5])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_monai_focal(monai, task, gamma, alpha):
    logits, target = tensors(task)
    reference = monai.FocalLoss(gamma=gamma, alpha=alpha, use_softmax=task == "multiclass", reduction="sum")
    loss = FocalLoss(task, gamma=gamma, alpha=alpha, reduction="sum")
    expected = logits.shape[-1] * reference(logits, monai_target(task, target)).double()
    torch.testing.assert_close(loss(logits, target), expected, rtol=1e-6, atol=1e-6)  # MONAI computes in float32
