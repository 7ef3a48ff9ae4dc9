"""Skeletons, and the losses that compare them."""

import numpy as np
import pytest
import torch
from array_api_strict import asarray

import oracle_topology as oracle
from lossmith.core import topology
from lossmith.core.door import receive
from lossmith.core.evaluate import evaluate
from lossmith.core.namespaces import skeleton, skeleton_back
from lossmith.core.namespaces.numpy import xp as numpy_namespace
from lossmith.core.namespaces.torch import xp
from lossmith.torch import CbDiceLoss, ClDiceLoss, SkeletonRecallLoss, parse
from paths import IGNORE, given, in_blocks

SPACES = [(13, 11), (6, 7, 5)]


def thin(space, seed=0):
    """A mask with thin and thick parts, and a prediction of it that is mostly right: probabilities and labels."""
    rng = np.random.default_rng(seed)
    t = np.zeros(space, dtype=int)
    t[2:5, 1:-1] = 1
    t[:, 3] = 1
    t[-4:-1, -4:-1] = 1
    p = np.where(t > 0, 0.7, 0.3) + 0.29 * rng.uniform(-1, 1, space)
    return p, t


def tensors(p, t):
    return torch.from_numpy(p)[None, None].requires_grad_(), torch.from_numpy(t)[None]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("loss", ["cldice", "skeleton_recall", "cbdice"])
def test_a_binary_image_by_loops(loss, space):
    p, t = thin(space)
    given_options = {"skeleton_recall": {"tube": 1}}.get(loss, {"iterations": 3})
    expected = getattr(oracle, loss)(p, t, *given_options.values())
    options = ", ".join(f"{name}={value}" for name, value in given_options.items())
    value = parse(f"{loss}({options})", "binary", from_logits=False)(*tensors(p, t))
    assert value.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    ("loss", "option"), [("cldice", "iterations"), ("skeleton_recall", "tube"), ("cbdice", "iterations")]
)
def test_weights_and_smoothing_by_loops(loss, option, space):
    p, t = thin(space, 2)
    weight = np.random.default_rng(3).choice([0.5, 1.0, 2.0], size=space)
    expected = getattr(oracle, loss)(p, t, 2, weight, 0.5)
    module = parse(f"{loss}({option}=2, smooth=0.5)", "binary", from_logits=False)
    assert module(*tensors(p, t), torch.from_numpy(weight)[None]).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("space", SPACES)
def test_weights_and_ignored_pixels_by_loops(space):
    p, t = thin(space, 1)
    weight = np.random.default_rng(2).integers(0, 3, space).astype(float)
    loss = ClDiceLoss("binary", iterations=2, smooth=0.5, from_logits=False)
    value = loss(*tensors(p, t), torch.from_numpy(weight)[None])
    assert value.item() == pytest.approx(oracle.cldice(p, np.where(weight > 0, t, 0), 2, weight, 0.5), rel=1e-9)
    ignoring = ClDiceLoss("binary", iterations=2, from_logits=False, ignore_index=IGNORE)
    there = (weight > 0).astype(float)
    value = ignoring(*tensors(p, np.where(weight > 0, t, IGNORE)))
    assert value.item() == pytest.approx(oracle.cldice(p, np.where(weight > 0, t, 0), 2, there), rel=1e-9)


def test_soft_targets_by_loops():
    p, t = thin((13, 11), 3)
    soft = np.clip(0.9 * t + 0.05, 0, 1)
    value = ClDiceLoss("binary", iterations=2, from_logits=False)(tensors(p, t)[0], torch.from_numpy(soft)[None, None])
    assert value.item() == pytest.approx(oracle.cldice(p, soft, 2), rel=1e-9)


def test_classes_are_separate():
    batch = given("multiclass", space=(9, 8))
    values = ClDiceLoss("multiclass", iterations=2, reduction="none", empty="smooth")(batch.logits, batch.target)
    p = batch.logits.softmax(1).numpy()
    for n in range(2):
        for c in range(3):
            t = (batch.target[n] == c).numpy().astype(int)
            if t.any():
                assert values[n, c].item() == pytest.approx(oracle.cldice(p[n, c], t, 2), rel=1e-9)


def test_a_gap_costs_its_length_and_a_rim_nothing():
    """A bar of three rows and eight columns: its middle row is the skeleton (corners aside)."""
    bar = torch.zeros(1, 5, 8, dtype=torch.long)
    bar[:, 1:4] = 1
    thinner = torch.zeros(1, 1, 5, 8)
    thinner[:, :, 2] = 1
    loss = ClDiceLoss("binary", from_logits=False)
    assert loss(thinner, bar).item() == 0
    broken = thinner.clone()
    broken[..., 3:5] = 0
    assert loss(broken, bar).item() == pytest.approx(1 - 2 * 0.75 / 1.75, rel=1e-6)  # sensitivity 6/8


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # A line of four pixels is its own skeleton, three of them are found: precision 1, sensitivity 3/4.
        ("cldice(iterations=1)", 1 - 2 * 0.75 / 1.75),
        ("skeleton_recall(tube=0)", 1 / 4),
        # All radii are 1, so the weights are, too.
        ("cbdice(iterations=1)", 1 - 2 * 0.75 / 1.75),
    ],
)
def test_numbers(spec, expected):
    line = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
    p = torch.tensor([[[0.0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]])
    assert parse(spec, "binary", from_logits=False)(p, line).item() == pytest.approx(expected, rel=1e-6)


def test_centre_line_boundary_dice_has_no_gradient_where_nothing_is_predicted():
    """Nothing is above 1/2: there is no radius to weigh by, and the loss is at its greatest."""
    line = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
    logits = torch.linspace(-3, -1, 12).view(1, 1, 3, 4).requires_grad_()
    value = CbDiceLoss("binary")(logits, line)
    value.backward()
    assert value.item() == pytest.approx(1)
    assert (logits.grad == 0).all()


def test_a_mask_that_is_too_thick_for_the_iterations_has_no_skeleton():
    """Sensitivity is 1 then: what is left is that the skeleton of the prediction lies inside."""
    full = torch.ones(1, 6, 6, dtype=torch.long)
    certain = torch.full((1, 1, 6, 6), 30.0)
    assert ClDiceLoss("binary", iterations=1)(certain, full).item() == 0


@pytest.mark.parametrize("space", [(40, 6), (41, 5, 4)])
def test_slabs_of_a_large_image_are_the_image(space, monkeypatch):
    batch = given("multiclass", "weight ignore", space=space)
    spec = "cldice(iterations=2)"
    expected = batch.run(spec)
    monkeypatch.setattr(topology, "PIECE", 64)
    with in_blocks(16):
        for got, want in zip(batch.run(spec), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("keep", [1, 6, topology.ALL])
@pytest.mark.parametrize("slab", [30, 10**6])
@pytest.mark.parametrize("space", [(9, 10), (7, 5, 6)])
@pytest.mark.parametrize("steps", [3, 10**6])  # with ties between neighbours, and without
def test_the_gradient_by_hand_is_that_of_autograd(keep, slab, space, steps, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x, g = (torch.rand(2, 2, *space, generator=generator, dtype=torch.float64) for _ in range(2))
    x = (x * steps).round() / steps
    monkeypatch.setattr(skeleton_back, "SLAB", slab)
    for valid in (None, (torch.rand(2, 1, *space, generator=generator) < 0.8).double()):
        found = []
        for by_hand in (True, False):
            monkeypatch.setattr(skeleton, "plain", lambda _, by_hand=by_hand: by_hand)
            z = x.clone().requires_grad_()
            value = topology.soft_skeleton(xp, z, 5, valid, keep=keep)
            value.backward(g)
            found.append((value.detach(), z.grad))
        assert torch.equal(found[0][0], found[1][0])
        torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("levels", "keep", "cuts"),
    [(4, 8, [0, 4]), (4, 6, [0, 3, 4]), (11, 12, [0, 6, 11]), (11, 1, [0, 5, 9, 11]), (1, 1, [0, 1])],
)
def test_stretches_keep_no_more_than_they_may(levels, keep, cuts):
    assert skeleton.stretches(levels, keep) == cuts


def test_the_skeleton_of_bits_is_that_of_numbers():
    for space in SPACES:
        x = (torch.rand(1, 2, *space) < 0.8).double()
        valid = (torch.rand(1, 1, *space) < 0.9).double()
        found = topology.soft_skeleton(xp, xp.bits(x), 3, xp.bits(valid))
        assert found.dtype == torch.int8
        assert torch.equal(found.double(), topology.soft_skeleton(xp, x, 3, valid))


@pytest.mark.parametrize("keep", [1, topology.ALL])
def test_first_and_second_derivatives(keep, monkeypatch):
    monkeypatch.setattr(topology, "share", lambda *_: keep)
    p, t = thin((7, 8))
    logits, target = tensors(p, t)
    loss = ClDiceLoss("binary", iterations=2)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, target), logits)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_windows_of_short_lines(n):
    x = torch.rand(1, 1, n, 2, generator=torch.Generator().manual_seed(n), dtype=torch.float64).requires_grad_()
    padded = torch.nn.functional.max_pool2d(x, (3, 1), 1, (1, 0))
    torch.testing.assert_close(xp.line_max(x, axis=2), padded)
    torch.testing.assert_close(-xp.line_min(-x, axis=2), padded)
    assert torch.autograd.gradcheck(lambda v: xp.line_max(v, axis=2), x)


@pytest.mark.parametrize("loss", ["cldice", "skeleton_recall", "cbdice"])
def test_numpy_gives_the_value_of_torch(loss):
    batch = given("multiclass", space=(9, 8))
    module = batch.loss(loss)
    for make, namespace in ((np.asarray, numpy_namespace), (asarray, None)):
        if namespace is None:
            import array_api_strict

            from lossmith.core.namespaces.standard import Standard

            namespace = Standard(array_api_strict)
        px = receive(namespace, make(batch.logits.numpy()), make(batch.target.numpy()), task="multiclass").open()
        value = evaluate(module.record, px, **module.asked()[1])
        assert float(value) == pytest.approx(module(batch.logits, batch.target).item(), rel=1e-10)


def test_monai_skeleton(monkeypatch):
    from monai.losses.cldice import soft_skel

    for space in SPACES:
        x = torch.rand(2, 3, *space, dtype=torch.float64)
        torch.testing.assert_close(topology.soft_skeleton(xp, x, 3), soft_skel(x, 3), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", [ClDiceLoss, SkeletonRecallLoss, CbDiceLoss])
@pytest.mark.parametrize("space", [(9,), (3, 3, 3, 3)])
def test_other_spaces_are_refused(loss, space):
    logits = torch.zeros(1, 1, *space)
    with pytest.raises(ValueError, match=r"^the space of logits must be of 2 or 3 axes; got \("):
        loss("binary")(logits, torch.zeros(1, *space, dtype=torch.long))


def test_the_background_of_a_multiclass_task_costs_no_skeleton_recall():
    batch = given("multiclass", space=(9, 8))
    values = SkeletonRecallLoss("multiclass", reduction="none")(batch.logits, batch.target)
    assert values[0, 0] == 0
    assert (values[0, 1:] > 0).all()


@pytest.mark.parametrize("loss", ["skeleton_recall", "cbdice", "cldice"])
def test_blocks_are_the_whole(loss):
    batch = given("multiclass", "weight", space=(12, 10))
    expected = batch.run(loss)
    with in_blocks():
        for got, want in zip(batch.run(loss), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)
