"""Variants of cross-entropy and of Dice: what they are at the ends of their parameters, far out, and elsewhere."""

import math
import warnings
from types import ModuleType

import mpmath
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lossmith.core.spec import parse_spec
from lossmith.torch import (
    AsymmetricLoss,
    GeneralizedWassersteinDiceLoss,
    MCCLoss,
    SymmetricCrossEntropyLoss,
    UnifiedFocalLoss,
    parse,
)
from oracle import ORACLES, Batch
from paths import given, in_blocks, in_one

KINDS = [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]


@pytest.fixture(scope="module")
def monai() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at import
        return pytest.importorskip("monai.losses")


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    ("variant", "known"),
    [
        ("poly(epsilon=0)", "ce"),
        ("gce(q=0)", "ce"),
        ("gce(q=1e-9)", "ce"),
        ("sce(alpha=1, beta=0)", "ce"),
        ("sce(alpha=0, beta=0.5)", "2*gce(q=1)"),
        ("asl(gamma_pos=2, gamma_neg=2, clip=0)", "focal"),
        ("noise_robust_dice(gamma=2)", "dice(squared=True)"),
        ("combo(alpha=0, smooth=1.0)", "dice(smooth=1.0)"),
    ],
)
def test_the_ends_of_parameters_are_known_losses(variant, known, task):
    if variant.startswith("asl") and task == "multiclass":
        return
    for mode in ("ignore weight", "soft"):
        if not (variant.startswith("sce") and mode == "soft"):
            batch = given(task, mode)
            for path in (in_one, in_blocks):
                with path():
                    got, expected = batch.run(variant), batch.run(known)
                torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-9)


def test_q_of_1_is_the_absolute_error():
    batch = given("multiclass")  # whose mean over three classes is 2 (1 - p_t) / 3
    assert batch.run("gce(q=1)")[0].item() == pytest.approx(1.5 * batch.run("l1")[0].item(), rel=1e-12)


@pytest.mark.parametrize("mode", ["plain", "ignore weight"])
@pytest.mark.parametrize(
    "spec", ["unified_focal(delta=0.7, gamma=0.3)", "unified_focal(asymmetric=False, pool='batch')"]
)
def test_binary_unified_focal_is_that_of_two_classes(spec, mode):
    """The last image is background alone, so its foreground is an empty class."""
    batch = given("binary", mode)
    options = {"ignore_index": batch.ignore_index}
    scores = torch.cat([torch.zeros_like(batch.logits), batch.logits], dim=1)
    two = parse(spec, "multiclass", **options)(scores, batch.target, batch.weight)
    one = parse(spec, "binary", **options)(batch.logits, batch.target, batch.weight)
    assert one.item() == pytest.approx(two.item(), rel=1e-12)


@pytest.mark.parametrize("covered", [False, True])
def test_mcc_does_not_care_which_side_is_the_foreground(covered):
    """`covered`: one image is foreground alone, another background alone."""
    batch = given("binary", "weight")
    target = torch.where(batch.target[:1] >= 0, 1, batch.target) if covered else batch.target[:1]
    logits, weight = batch.logits[: len(target)], batch.weight[: len(target)]
    loss = MCCLoss("binary")
    assert loss(logits, target, weight).item() == pytest.approx(loss(-logits, 1 - target, weight).item(), rel=1e-12)


def test_an_absent_class_keeps_its_cross_entropy():
    """Every way to treat the empty class differs in the region part alone."""
    logits, target = torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, 4, dtype=torch.long)
    pixels = {"combo": math.log(2) / 4, "unified_focal": 0.5 * 0.4 * math.sqrt(0.5) * math.log(2)}
    # Unified focal's mean is also over the background, whose TI is 2 / (2 + .6 2).
    background = 1 - 2 / 3.2
    parts = {"combo": (0.25, 0.0), "unified_focal": ((background + 0.5) / 4, background / 2)}
    for name, (area, skip) in parts.items():
        for empty, part in (("area", area), ("skip", skip)):
            value = parse(f"{name}(empty='{empty}')", "binary")(logits, target)
            assert value.item() == pytest.approx(pixels[name] + part, rel=1e-12), (name, empty)


# Far out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "task"),
    [("asl", "binary"), ("asl(clip=0)", "binary"), ("combo", "binary"), ("combo", "multiclass"), ("mcc", "binary")],
)
def test_extreme_logits_in_many_digits(spec, task):
    """One minus a softmax that rounds to 1 is seen in its logarithm, as is that of a sigmoid."""
    (term,) = parse_spec(spec)
    for z in (0.0, 1e-30, 37.0, -37.0, 745.0, -745.0):
        scores = np.array([[[z, 0.5]] if task == "binary" else [[z, 0.5], [0.25, 0.0], [-0.5, 0.25]]])
        for labels in ([[0, 1]], [[1, 0]]):
            with mpmath.workdps(400):
                exact = float(
                    ORACLES[term.atom.name](Batch(task, scores, np.array(labels)), mpmath, **term.atom.arguments)
                )
            for path in (in_one, in_blocks):
                logits = torch.from_numpy(scores).requires_grad_()
                with path():
                    value = parse(spec, task)(logits, torch.tensor(labels))
                assert value.item() == pytest.approx(exact, rel=1e-13, abs=1e-14), (z, labels)
                assert torch.autograd.grad(value, logits)[0].isfinite().all()


@pytest.mark.parametrize("path", [in_one, in_blocks])
@pytest.mark.parametrize("spec", ["mcc", "noise_robust_dice(gamma=1.2)", "wasserstein_dice", "combo", "unified_focal"])
def test_probabilities_on_their_way_to_zero(spec, path):
    """Where squares, then the probabilities themselves, leave the normal numbers."""
    for z in (20.0, 43.0, 46.0, 60.0, 80.0, 87.5, 90.0, 95.0, 103.0, 110.0):
        for label in (0, 1):
            for sign in (1.0, -1.0):
                logits = torch.tensor([[[sign * z] * 2, [0.0, 0.0]]], requires_grad=True)
                with path():
                    value = parse(spec, "multiclass")(logits, torch.full((1, 2), label))
                assert value.isfinite()
                assert torch.autograd.grad(value, logits)[0].isfinite().all(), (z, label, sign)


# Bad arguments --------------------------------------------------------------------------------------------------------

TABLE = (
    "distances must be None or a distance for each pair of classes: square, symmetric, 0 on the diagonal, > 0 elsewhere"
)


@pytest.mark.parametrize(
    "distances",
    [[[0, 1], [2, 0]], [[0, 1], [1, 1]], [[0, 0], [0, 0]], [[0, 1, 1], [1, 0, 1]], [[0, -1], [-1, 0]], [[0]]],
    ids=str,
)
def test_tables_that_are_no_distances_are_refused(distances):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        GeneralizedWassersteinDiceLoss("multiclass", distances=distances)
    assert str(error.value) == f"{TABLE}; got {tuple(tuple(row) for row in distances)}"


@pytest.mark.parametrize("distances", [3.0, [1.0, 2.0], "far", [["0", "1"], ["1", "0"]]], ids=str)
def test_tables_that_are_none_are_refused(distances):
    with pytest.raises(TypeError, match=r"^distances must be None or a distance for each pair of classes"):
        GeneralizedWassersteinDiceLoss("multiclass", distances=distances)


def test_what_does_not_fit_is_named():
    batch = given("multiclass", "soft")
    with pytest.raises(
        ValueError, match=r"^target must be class indices or one-hot integers for wasserstein_dice; got"
    ):
        GeneralizedWassersteinDiceLoss("multiclass")(batch.logits, batch.target)
    loss = GeneralizedWassersteinDiceLoss("multiclass", distances=[[0, 1], [1, 0]])
    with pytest.raises(
        ValueError, match=r"^distances must be 3 x 3 numbers, one for each pair of classes; got '2 rows'$"
    ):
        loss(batch.logits, batch.target.argmax(1))
    with pytest.raises(ValueError, match=r"^task of asl must be 'binary' or 'multilabel'; got 'multiclass'$"):
        AsymmetricLoss("multiclass")
    with pytest.raises(ValueError, match=r"^alpha and beta must be not both 0; got \(0, 0\)$"):
        SymmetricCrossEntropyLoss("binary", alpha=0, beta=0)


def test_distances_in_every_form():
    batch = given("multiclass", "ignore")
    options = {"ignore_index": batch.ignore_index}
    expected = batch.run(f"wasserstein_dice(distances={KINDS})")[0]
    for distances in (np.array(KINDS), torch.tensor(KINDS), tuple(map(tuple, KINDS)), 8 * np.array(KINDS)):
        loss = GeneralizedWassersteinDiceLoss("multiclass", distances=distances, **options)
        assert loss(batch.logits, batch.target).item() == expected.item()
        again = parse(loss.spec, "multiclass")
        assert again(batch.logits, batch.target).item() == expected.item()


# Another library, where it computes the same --------------------------------------------------------------------------


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_monai_mcc(monai, task, pooled):
    """With smooth_dr = 0; its absent class costs 1, so all are present here."""
    batch = given(task, "one_hot", images=4)
    logits, target = batch.logits[:3], batch.target[:3]
    probs = logits.softmax(1) if task == "multiclass" else logits.sigmoid()
    loss = parse(f"mcc(pool='{'batch' if pooled else 'image'}')", task)
    expected = monai.MCCLoss(smooth_dr=0.0, batch=pooled)(probs, target.double())
    torch.testing.assert_close(loss(logits, target), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("distances", [None, KINDS], ids=str)
def test_monai_generalized_wasserstein_dice(monai, distances):
    """Foreground is at the largest distance from the background in both tables."""
    batch = given("multiclass", images=4)
    logits, target = batch.logits[:3], batch.target[:3]
    table = torch.tensor(distances or 1 - torch.eye(3).numpy(), dtype=torch.float64)
    reference = monai.GeneralizedWassersteinDiceLoss(table, smooth_nr=0.0, smooth_dr=0.0, reduction="none")
    loss = GeneralizedWassersteinDiceLoss("multiclass", distances=distances, reduction="none")
    torch.testing.assert_close(loss(logits, target), reference(logits, target), rtol=1e-10, atol=0)


def test_monai_unified_focal(monai):
    """On probabilities of two classes, whatever it says of logits; it halves the focal part."""
    batch = given("multiclass", channels=2)
    logits, target = batch.logits[:1], batch.target[:1]
    focal, tversky = (UnifiedFocalLoss("multiclass", lam=lam, delta=0.7, gamma=0.4)(logits, target) for lam in (1, 0))
    reference = monai.AsymmetricUnifiedFocalLoss(weight=0.3, gamma=0.4, delta=0.7)
    expected = reference(logits.softmax(1), F.one_hot(target, 2).movedim(-1, 1).double())
    torch.testing.assert_close(0.3 * focal / 2 + 0.7 * tversky, expected, rtol=1e-5, atol=0)
