"""Boundary losses: against slow loops, hand-worked numbers, other libraries, and what is promised of distance maps."""

import re
import subprocess
import sys
import warnings
from math import log, sqrt

import array_api_strict
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

import oracle_boundary
from lossmith.core.catalogue import CATALOGUE
from lossmith.core.distance import signed_distance
from lossmith.core.door import receive
from lossmith.core.evaluate import evaluate
from lossmith.core.namespaces.numpy import xp as numpy_namespace
from lossmith.core.namespaces.standard import Standard
from lossmith.core.spec import parse_spec
from lossmith.core.window import window_max, window_min, window_sum
from lossmith.torch import (
    BoundaryDoULoss,
    BoundaryLoss,
    DiceLoss,
    HausdorffDTLoss,
    StructureLoss,
    SurfaceDiceLoss,
    parse,
)
from paths import in_blocks
from test_oracle import make_batch

torch.set_num_threads(1)

VARIANTS = {
    "boundary": (
        "boundary",
        "boundary(spacing=[2.0, 0.5])",
        "boundary(shift=True)",
        "boundary(bounded=True)",
        "boundary(bounded=True, shift=True, pool='batch')",
        "boundary(class_weight=REGION, classes=[0], empty='skip')",
    ),
    "hausdorff": (
        "hausdorff",
        "hausdorff(alpha=1.0, spacing=[2.0, 0.5])",
        "hausdorff(alpha=0.5, log=True)",
        "hausdorff(log=True, pool='batch', empty='smooth')",
        "hausdorff(class_weight=REGION, classes='present')",
    ),
    "boundary_dou": (
        "boundary_dou",
        "boundary_dou(limit=-0.5)",
        "boundary_dou(pool='batch', class_weight=REGION)",
        "boundary_dou(empty='smooth', classes=[0])",
    ),
    "active_contour": (
        "active_contour",
        "active_contour(region=3.0, empty='smooth')",
        "active_contour(pool='batch', class_weight=REGION, classes='present')",
    ),
    "surface_dice": (
        "surface_dice",
        "surface_dice(tolerance=0, empty='smooth')",
        "surface_dice(tolerance=1, pool='batch')",
        "surface_dice(class_weight=REGION, classes='present')",
    ),
    "structure": (
        "structure",
        "structure(lam=2.0, radius=1)",
        "structure(radius=2, smooth=1.0, empty='smooth')",
        "structure(pool='batch', class_weight=REGION, radius=1)",
        "structure(classes='present', radius=3)",
    ),
}
REGION = {"binary": "[2.5]", "multiclass": "[0.75, 2.5, 1.25]", "multilabel": "[0.75, 2.5, 1.25]"}
MODES = ("plain", "background", "weight", "ignore", "one_hot", "probs", "one_image_ignored", "channel_weight", "full")
CASES = [
    pytest.param(name, variant, task, id=f"{variant}-{task}")
    for name, variants in VARIANTS.items()
    for variant in variants
    for task in CATALOGUE[name].tasks
]
STRICT = Standard(array_api_strict)


def batch_of(task, mode, seed=0, space=(3, 4)):
    batch = make_batch(task, "plain" if mode == "full" else mode, seed, pixels=int(np.prod(space)))
    if mode == "full":  # a class that fills its image
        batch.target[0] = 1
    return batch


def module_of(variant, batch, reduction="mean"):
    options = {"ignore_index": batch.ignore_index, "reduction": reduction, "from_logits": batch.from_logits}
    return parse(variant.replace("REGION", REGION[batch.task]), batch.task, **options)


def shaped(batch, space):
    """scores, target and weight with their axes of space; a one-hot target of integers."""
    arrays = [x if x is None else x.reshape(*x.shape[:-1], *space) for x in (batch.scores, batch.target, batch.weight)]
    if arrays[1].dtype == float:
        arrays[1] = arrays[1].astype(int)
    return arrays


def run(variant, batch, space, reduction="mean"):
    tensors = [None if x is None else torch.from_numpy(x) for x in shaped(batch, space)]
    return module_of(variant, batch, reduction)(*tensors)


def slow(variant, batch, space, reduction="mean"):
    (term,) = parse_spec(variant.replace("REGION", REGION[batch.task]))
    arguments = {key: list(x) if isinstance(x, tuple) else x for key, x in term.atom.arguments.items()}
    return oracle_boundary.loss(term.atom.name, batch, space, reduction=reduction, **arguments)


def test_every_parameter_is_varied():
    assert {record.name for record in CATALOGUE.values() if record.family == "boundary"} == set(VARIANTS)
    for name, variants in VARIANTS.items():
        varied = {key for variant in variants for term in parse_spec(variant) for key in term.atom.arguments}
        door = {"ignore_index", "reduction", "from_logits", "process_group"}
        assert varied == {parameter.name for parameter in CATALOGUE[name].parameters} - door, name


@pytest.mark.parametrize(("name", "variant", "task"), CASES)
def test_values_against_loops(name, variant, task):
    for seed, mode in enumerate(MODES):
        batch, reduction = batch_of(task, mode, seed), ("mean", "sum", "none")[seed % 3]
        got = run(variant, batch, (3, 4), reduction).numpy()
        expected = slow(variant, batch, (3, 4), reduction)
        rounding = 1e-6 if "spacing" in variant else 1e-10  # squares of other sizes than 1 are not whole numbers
        np.testing.assert_allclose(got, expected, rtol=rounding, atol=rounding, err_msg=f"{mode}, {reduction}")


@pytest.mark.parametrize(("name", "variant", "task"), CASES)
def test_values_of_blocks_and_namespaces(name, variant, task):
    """6 x 5 pixels an image are a block of 16 and one of 14, unless images may not be cut."""
    for mode in ("weight", "ignore", "plain"):
        batch = batch_of(task, mode, seed=11, space=(6, 5))
        expected = run(variant, batch, (6, 5))
        with in_blocks(16):
            got = run(variant, batch, (6, 5))
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12, msg=mode)
        loss, (scores, target, weight) = module_of(variant, batch), shaped(batch, (6, 5))
        for xp in (STRICT, numpy_namespace):
            arrays = (None if x is None else xp.asarray(x) for x in (scores, target, weight))
            px = receive(xp, *arrays, task=task, ignore_index=batch.ignore_index).open()
            parameters = {key: xp.asarray(x.numpy()) if torch.is_tensor(x) else x for key, x in loss.asked()[1].items()}
            np.testing.assert_allclose(np.asarray(evaluate(loss.record, px, **parameters)), expected, rtol=1e-10)


@pytest.mark.parametrize("space", [(7,), (2, 3, 2), ()], ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_other_numbers_of_axes(name, space):
    for task in CATALOGUE[name].tasks:
        batch = batch_of(task, "weight", seed=3, space=space)
        expected = slow(name, batch, space)
        np.testing.assert_allclose(run(name, batch, space).numpy(), expected, rtol=1e-10, atol=1e-12, err_msg=task)


@pytest.mark.parametrize(("name", "task"), [(name, task) for name in VARIANTS for task in CATALOGUE[name].tasks])
def test_first_and_second_derivatives(name, task):
    batch = batch_of(task, "weight", seed=5, space=(2, 3))
    scores, target, weight = (torch.from_numpy(x) for x in shaped(batch, (2, 3)))
    loss = module_of(name, batch)
    scores.requires_grad_()
    with in_blocks(16):
        assert torch.autograd.gradcheck(lambda z: loss(z, target, weight), scores, fast_mode=True)
    assert torch.autograd.gradcheck(lambda z: loss(z, target, weight), scores)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, target, weight), scores, atol=1e-4, fast_mode=True)


# Numbers worked by hand -----------------------------------------------------------------------------------------------

HALF = torch.full((1, 4), 0.5, dtype=torch.float64)
TWO = torch.tensor([[1, 1, 0, 0]])
SURE = torch.tensor([[1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("spec", "probs", "target", "expected"),
    [
        # phi = -2, -1, 1, 2.
        ("boundary", HALF, TWO, 0.0),
        ("boundary", SURE, TWO, -3 / 4),
        ("boundary", 1 - SURE, TWO, 3 / 4),
        # The authors' code: -1, 0, 1, 2. Bounded: -1, -1/2, 1/2, 1. Pixels of size 3: -6, -3, 3, 6.
        ("boundary(shift=True)", HALF, TWO, 1 / 4),
        ("boundary(bounded=True)", SURE, TWO, -3 / 8),
        ("boundary(spacing=[3])", SURE, TWO, -9 / 4),
        # Nothing there: p's mean. Everything: its negative.
        ("boundary", HALF, 0 * TWO, 1 / 2),
        ("boundary", HALF, 1 + 0 * TWO, -1 / 2),
        # (1/4) (4 + 1 + 1 + 4) / 4 of the target; nothing is predicted at p = 1/2: (1/4) (1 + 1 + 1 + 1) / 4.
        ("hausdorff", HALF, TWO, 10 / 16 + 1 / 4),
        ("hausdorff(alpha=1.0)", HALF, TWO, 6 / 16 + 1 / 4),
        ("hausdorff(log=True)", HALF, TWO, log(15 / 8)),
        # All wrong: 4 + 1 + 1 + 4 twice.
        ("hausdorff", 1 - SURE, TWO, 5.0),
        # I = 1, U = 1 + 2 - 1; the object ends at the image's edge, so both of its pixels are boundary and a = -1.
        ("boundary_dou", HALF, TWO, 1 / 3),
        # One step of 1 and nothing wrong; no step and half wrong everywhere.
        ("active_contour", SURE, TWO, (sqrt(1 + 1e-8) - 1e-4) / 4),
        ("active_contour(region=3.0)", HALF, TWO, 3 / 2),
        # The outlines are the pixels 1 and 0 beside the step: S_t = 0, 1, 0, 0; S_p of the shifted one 1, 0, 0, 0.
        ("surface_dice(tolerance=0)", torch.eye(4).double()[:1], TWO, 1.0),
        ("surface_dice(tolerance=1)", torch.eye(4).double()[:1], TWO, 0.0),
        # Means 1, 2/3, 1/3, 0 over what of the window is in the image: a = 1, 8/3, 8/3, 1.
        ("structure(radius=1)", HALF, TWO, log(2) + 1 - (11 / 6) / (11 / 3 + 11 / 6)),
        ("structure(radius=1, smooth=1.0)", HALF, TWO, log(2) + 1 - (17 / 6) / (13 / 2)),
    ],
)
def test_numbers(spec, probs, target, expected):
    assert parse(spec, "binary", from_logits=False)(probs, target).item() == pytest.approx(expected, rel=1e-12)


def test_the_weights_of_the_structure_loss_weigh():
    """Wrong beside the boundary costs more than wrong far from it; where the weights cancel, they cost the same."""
    target = torch.zeros(1, 1, 21)
    target[..., 10] = 1
    near, far = (torch.full((1, 1, 21), 0.1).index_fill(2, torch.tensor(i), 0.9) for i in (11, 3))
    near[..., 10] = far[..., 10] = 0.9
    target = target[:, 0].long()
    for lam, alike in ((5.0, False), (0.0, True)):
        loss = StructureLoss("binary", lam=lam, radius=2, from_logits=False)
        costs = loss(near, target).item(), loss(far, target).item()
        assert (costs[0] == pytest.approx(costs[1])) is alike
        assert costs[0] >= costs[1] - 1e-6


def test_the_border_of_the_image_gets_no_extra_weight():
    """An image that the object fills weighs 1 everywhere; an average over zeros outside would give the border more."""
    logits, target = torch.randn(1, 1, 40, 40, dtype=torch.float64), torch.ones(1, 40, 40, dtype=torch.int64)
    expected = parse("ce + jaccard", "binary")(logits, target)
    torch.testing.assert_close(StructureLoss("binary")(logits, target), expected)


# Identities -----------------------------------------------------------------------------------------------------------


def test_boundary_dou_lies_between_dice_and_jaccard():
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(1, 17, 17, generator=generator, dtype=torch.float64)
    target = torch.zeros(1, 17, 17, dtype=torch.int64)
    target[:, 1:16, 1:16] = 1  # C = 56 of 225 pixels: a = .502 where nothing limits it
    value = {
        limit: BoundaryDoULoss("binary", limit=limit, from_logits=False)(probs, target) for limit in (-1.0, 0.0, 0.8)
    }
    dice = DiceLoss("binary", squared=True, from_logits=False)(probs, target)
    torch.testing.assert_close(value[-1.0], dice)
    torch.testing.assert_close(value[0.0], 2 * dice / (1 + dice))  # Jaccard of the same sums
    assert dice < value[0.0] < value[0.8]


def test_surface_dice_of_certain_masks_is_that_of_distances():
    """Against counting: the part of each outline within the tolerance of the other, by a maximum of two offsets."""
    generator = np.random.default_rng(0)
    masks = [ndimage.gaussian_filter(generator.normal(size=(30, 30)), 4) > 0 for _ in range(2)]
    outlines = [mask & ndimage.binary_dilation(~mask, np.ones((3, 3))) for mask in masks]
    for tolerance in (0, 1, 3):
        window = np.ones((2 * tolerance + 1,) * 2, dtype=bool)
        zones = [ndimage.binary_dilation(outline, window) for outline in outlines]
        near = (outlines[0] & zones[1]).sum() + (outlines[1] & zones[0]).sum()
        expected = 1 - near / sum(outline.sum() for outline in outlines)
        probs, target = (torch.from_numpy(mask)[None] for mask in masks)
        loss = SurfaceDiceLoss("binary", tolerance=tolerance, from_logits=False)
        assert loss(probs.double(), target).item() == pytest.approx(expected, rel=1e-12)


# What makes it train --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_hausdorff_moves_an_undecided_network(task):
    """At p = 1/K every pixel has a gradient towards its class, in an image with objects, without, and full of one."""
    channels = 1 if task == "binary" else 4
    loss = HausdorffDTLoss(task)
    for fill in ("object", "empty", "full"):
        target = torch.zeros(1, 8, 8, dtype=torch.int64)
        if fill != "empty":
            target[:, 2 : 8 if fill == "full" else 5, :] = 1
            target[:, :2] = int(fill == "full")
        if task == "multilabel":
            target = target.unsqueeze(1).repeat(1, channels, 1, 1)
        logits = torch.zeros(1, channels, 8, 8, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(logits, target), logits)
        if task == "multiclass":
            hit = F.one_hot(target, 4).movedim(-1, 1) == 1
        else:
            hit = target.reshape(1, channels, 8, 8) == 1
        assert (gradient[hit] < 0).all(), fill
        assert (gradient[~hit] > 0).all() or task == "multiclass", fill


def test_far_errors_cost_more():
    target = torch.zeros(1, 1, 20, 20)
    target[..., 8:12, 8:12] = 1
    costs = {name: [] for name in ("boundary", "hausdorff")}
    for column in (13, 15, 19):
        probs = target.clone()
        probs[..., 10, column] = 1
        for name, found in costs.items():
            found.append(parse(name, "binary", from_logits=False)(probs, target[:, 0].long()).item())
    assert all(found == sorted(set(found)) for found in costs.values())


# Distance maps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [(40,), (17, 23), (9, 7, 8)], ids=str)
@pytest.mark.parametrize("spacing", [None, (0.5, 3.0, 1.25)], ids=str)
def test_maps_are_those_of_scipy(space, spacing):
    spacing = (spacing or (1.0,) * 3)[: len(space)]
    masks = np.random.default_rng(0).random((2, 3, *space)) < np.array([0.05, 0.5, 0.98]).reshape(
        1, 3, *[1] * len(space)
    )
    masks[0, 0] = True
    masks[0, 1] = False
    found = signed_distance(masks, None, spacing, 1.0, np.float64)
    for index in np.ndindex(2, 3):
        mask = masks[index]
        if mask.all() or not mask.any():
            expected = np.where(mask, -1.0, 1.0)
        else:
            out, into = (ndimage.distance_transform_edt(side, sampling=spacing) for side in (~mask, mask))
            expected = out - into
        np.testing.assert_allclose(found[index], expected, rtol=1e-12 if spacing[0] == 1 else 1e-6)
    whole = signed_distance(masks, np.ones_like(masks), spacing, 1.0, np.float64)
    np.testing.assert_array_equal(whole, found)
    if spacing[0] == 1:  # the squares are whole numbers, so nothing is rounded
        np.testing.assert_array_equal(np.abs(signed_distance(masks, None, spacing, 2.0)), np.round(found**2))


def test_ignored_pixels_are_on_no_side():
    """0 0 ? ? 1: the distance from the second to the object is that to its first valid pixel."""
    mask = np.array([[False, False, True, False, True]])
    valid = np.array([[True, True, False, False, True]])
    found = signed_distance(mask, valid, (1.0,), 1.0)
    assert found.tolist() == [[4.0, 3.0, 0.0, 0.0, -3.0]]
    assert signed_distance(mask, np.array([[True, True, False, False, False]]), (1.0,), 1.0).tolist() == [
        [1, 1, 0, 0, 0]
    ]


def test_a_map_can_be_given():
    batch = batch_of("multiclass", "weight", space=(6, 5))
    logits, target, weight = (torch.from_numpy(x) for x in shaped(batch, (6, 5)))
    hot = F.one_hot(target, 3).movedim(-1, 1).bool().numpy()
    there = np.broadcast_to(weight.numpy()[:, None] > 0, hot.shape)
    phi = torch.from_numpy(signed_distance(hot, there, (1.0, 1.0), 1.0))
    for loss in (
        BoundaryLoss("multiclass"),
        HausdorffDTLoss("multiclass"),
        parse("boundary + 2*hausdorff", "multiclass"),
    ):
        expected = loss(logits, target, weight)
        torch.testing.assert_close(loss(logits, target, weight, distance=phi), expected, rtol=1e-6, atol=1e-6)
        with in_blocks(16):
            torch.testing.assert_close(loss(logits, target, weight, distance=phi), expected, rtol=1e-6, atol=1e-6)


def test_the_spacing_of_a_map_is_refused_beside_a_map():
    logits, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    expected = "spacing must be left out with distance=: it is an option of the map then; got [2.0, 1.0]"
    loss = BoundaryLoss("binary", spacing=[2.0, 1.0])
    loss(logits, target)
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        loss(logits, target, distance=torch.ones(1, 1, 4, 4))
    HausdorffDTLoss("binary", spacing=[2.0, 1.0])(logits, target, distance=torch.ones(1, 1, 4, 4))


def test_bad_maps_and_spacings_are_refused():
    logits, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    with pytest.raises(
        ValueError, match=r"^distance must be of shape \(1, 1, 4, 4\) for logits of shape \(1, 1, 4, 4\); "
    ):
        BoundaryLoss("binary")(logits, target, distance=torch.zeros(1, 1, 4, 5))
    with pytest.raises(ValueError, match=r"^spacing must be None or 2 numbers, one for each spatial axis; got \[1\]$"):
        BoundaryLoss("binary", spacing=[1])(logits, target)
    with pytest.raises(ValueError, match=r"^spacing must be in \(0, inf\); got 0$"):
        BoundaryLoss("binary", spacing=[0, 1])
    with pytest.raises(
        TypeError, match=r"^spacing must be None or a list of numbers in \(0, inf\), one for each spatial"
    ):
        HausdorffDTLoss("binary", spacing=2.0)
    with pytest.raises(ValueError, match=r"^images of a distance map must be of at most 3 spatial axes; got 4$"):
        HausdorffDTLoss("binary")(torch.zeros(1, 1, 2, 2, 2, 2), torch.zeros(1, 2, 2, 2, 2, dtype=torch.int64))


def test_windows():
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 3, 7, 5)))
    for radius in (0, 1, 2, 9):
        size = 2 * radius + 1
        total = ndimage.convolve(x.numpy(), np.ones((1, 1, size, size)), mode="constant")
        for xp, array in ((STRICT, STRICT.asarray(x.numpy())), (numpy_namespace, x.numpy())):
            np.testing.assert_allclose(np.asarray(window_sum(xp, array, radius)), total, rtol=1e-9, atol=1e-12)
            greatest = ndimage.maximum_filter(x.numpy(), (1, 1, size, size), mode="nearest")
            np.testing.assert_array_equal(np.asarray(window_max(xp, array, radius)), greatest)
            least = ndimage.minimum_filter(x.numpy(), (1, 1, size, size), mode="nearest")
            np.testing.assert_array_equal(np.asarray(window_min(xp, array, radius)), least)


def test_importing_the_losses_loads_no_transform():
    code = "import lossmith.torch, sys; print([name for name in ('edt', 'scipy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Other libraries ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def monai():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at import
        return pytest.importorskip("monai.losses")


@pytest.mark.parametrize("log", [False, True])
def test_monai_hausdorff(monai, log):
    """Of one image with objects in it, predicted somewhere: its log is that of the mean over all."""
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(1, 1, 12, 12, generator=generator), torch.zeros(1, 1, 12, 12)
    target[..., 3:8, 4:9] = 1
    reference = (monai.LogHausdorffDTLoss if log else monai.HausdorffDTLoss)(sigmoid=True, include_background=True)
    expected = reference(logits, target)
    torch.testing.assert_close(HausdorffDTLoss("binary", log=log)(logits, target[:, 0].long()), expected)
