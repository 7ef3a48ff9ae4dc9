"""Numbers that are not there, that do not fit, and more of them than single precision counts; block by block."""

import math
import re
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from lossmith.torch import parse
from paths import IGNORE, SEPARABLE, given, in_blocks, in_one

TASKS = ("binary", "multiclass", "multilabel")
pytestmark = pytest.mark.usefixtures("walked")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SEPARABLE)
def test_what_is_ignored_may_hold_anything(name, task):
    if task not in SEPARABLE[name].tasks:
        return
    for rubbish in (math.nan, math.inf, -math.inf, 3e38, -3e38):
        for mode in ("ignore", "weight"):
            batch = given(task, mode, dtype=torch.float32)
            lost = (batch.target == IGNORE) if mode == "ignore" else batch.weight == 0
            lost = (lost if lost.ndim == 4 else lost.unsqueeze(1)).expand_as(batch.logits)
            expected = batch.run(name)
            value, gradient = replace(batch, logits=torch.where(lost, rubbish, batch.logits)).run(name)
            assert value.item() == pytest.approx(expected[0].item(), rel=1e-6), (rubbish, mode)
            assert (gradient[lost] == 0).all(), (rubbish, mode)
            torch.testing.assert_close(gradient, expected[1], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "name",
    [name for name, record in SEPARABLE.items() if "multiclass" in record.tasks],
)
@pytest.mark.parametrize("channels", [3, 11])
def test_an_ignored_pixel_may_be_as_far_off_as_numbers_go(name, channels):
    """Its log p is -inf, though each of its logits, and their sum, is finite."""
    batch = given("multiclass", channels=channels, dtype=torch.float32)
    batch.target[0, 1, 7] = IGNORE
    batch = replace(batch, ignore_index=IGNORE)
    expected = batch.run(name)
    batch.logits[0, :, 1, 7] = torch.tensor([-3e38, 3e38] + [0.0] * (channels - 2))
    torch.testing.assert_close(batch.run(name), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("task", "rubbish"),
    [(task, p) for task in TASKS for p in (0.0, 5.0, -1.0, math.nan)],
)
def test_ignored_probabilities_may_be_none(task, rubbish):
    batch = given(task, "probs ignore")
    lost = batch.target == IGNORE
    lost = (lost if lost.ndim == 4 else lost.unsqueeze(1)).expand_as(batch.logits)
    expected = batch.run("ce + dice")
    got = replace(batch, logits=torch.where(lost, rubbish, batch.logits)).run("ce + dice")
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SEPARABLE)
def test_a_nan_that_counts_is_seen(name, task):
    if task in SEPARABLE[name].tasks:
        for mode in ("plain", "ignore"):
            batch = given(task, mode, dtype=torch.float32)
            at = tuple((batch.target == 1).nonzero()[-1].tolist())
            batch.logits[at if task == "multilabel" else (at[0], slice(None), *at[1:])] = math.nan
            with in_one():
                assert batch.run(name)[0].isnan()
            assert batch.run(name)[0].isnan()


def test_what_is_wrong_in_the_last_pixel_is_named():
    batch = given("multiclass", "weight")
    wrong = {
        "target must be class indices from 0 to 2; got 3": replace(batch, target=_last(batch.target, 3)),
        "weight must be finite and >= 0 everywhere; got other values": replace(batch, weight=_last(batch.weight, -1.0)),
        "target must hold probabilities that sum to 1 over the classes; got other sums": replace(
            given("multiclass", "soft"), target=_last(given("multiclass", "soft").target, 0.9)
        ),
        "logits must hold probabilities in [0, 1] when from_logits=False; got values outside": replace(
            given("binary", "probs"), logits=_last(given("binary", "probs").logits, 1.1)
        ),
    }
    for message, some in wrong.items():
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            some.run("ce + dice")


def _last(x, value):
    x = x.clone(memory_format=torch.contiguous_format)
    x.view(-1)[-1] = value
    return x


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("mode", ["ignore", "weight"])
def test_where_no_pixel_counts_nothing_pulls(task, mode):
    batch = given(task, mode)
    batch = replace(batch, target=torch.full_like(batch.target, IGNORE)) if mode == "ignore" else batch
    batch = replace(batch, weight=torch.zeros_like(batch.weight)) if mode == "weight" else batch
    for spec in ("ce + dice + mse", "lovasz", "topk + wce", "dice(log=True)", "gdice"):
        value, gradient = batch.run(spec)
        with in_one():
            assert value.item() == batch.run(spec)[0].item() == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize("channels", [3, 11, 21])
@pytest.mark.parametrize("spec", ["ce", "dice", "ce + dice + focal + mse", "lovasz", "dice(log=True)", "topk", "wce"])
def test_classes_that_are_switched_off(spec, channels):
    """Logits of -inf for a class that never occurs: all is as finite as in `F.cross_entropy`."""
    batch = given("multiclass", channels=channels, dtype=torch.float32)
    batch.logits[:, -1] = -math.inf
    batch = replace(batch, target=batch.target.clamp(max=channels - 2))
    value, gradient = batch.run(spec)
    assert value.isfinite()
    assert gradient.isfinite().all()
    if spec == "ce":
        torch.testing.assert_close(value, F.cross_entropy(batch.logits, batch.target), rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [3e38, 1e30, 1e4])
@pytest.mark.parametrize("task", TASKS)
def test_huge_logits(task, size):
    batch = given(task, dtype=torch.float32)
    batch = replace(batch, logits=batch.logits.sign() * size)
    for spec in ("ce", "dice", "mse", "focal", "lovasz"):
        with in_one():
            expected = batch.run(spec)
        value, gradient = batch.run(spec)
        assert not value.isnan()
        if spec == "ce":
            hot = batch.target.float().reshape(batch.logits.shape) if task != "multiclass" else None
            reference = F.binary_cross_entropy_with_logits if task != "multiclass" else F.cross_entropy
            torch.testing.assert_close(value, reference(batch.logits, batch.target if hot is None else hot))
        if expected[0].isfinite():
            torch.testing.assert_close((value, gradient), expected, rtol=1e-6, atol=1e-8)


def test_counts_are_exact_beyond_the_whole_numbers_of_single_precision():
    """2^24 + 3 pixels, one of them wrong: one number in memory for all logits, a byte for each label."""
    pixels = 2**24 + 3
    target = torch.ones(1, pixels, dtype=torch.uint8)
    target[0, 0] = 0
    logits = torch.full((1, 1), 40.0).expand(1, pixels)
    with in_blocks(2**19):
        value = parse("dice", "binary")(logits, target).item()
    assert value == pytest.approx(1 / (2 * pixels - 1), rel=1e-6)


@pytest.mark.parametrize(
    ("task", "channels", "spec"),
    [
        (task, channels, spec)
        for task, channels in (("binary", 1), ("multilabel", 3), ("multiclass", 4), ("multiclass", 10))
        for spec in ("dice", "jaccard", "ce")
    ],
)
def test_sums_of_equal_numbers_do_not_drift(task, channels, spec):
    """Adding one number up in single precision without care is wrong in the fourth digit after half a million times."""
    batch = given(task, channels=channels, images=1, space=(512, 1024))
    batch = replace(batch, logits=torch.linspace(-2.2, 1.0, channels).view(1, -1, 1, 1).expand_as(batch.logits))
    batch.target[0, 100:] = 1
    found = []
    for dtype in (torch.float32, torch.float64):
        with in_blocks(2**19):
            found.append(batch.loss(spec)(batch.logits.to(dtype), batch.target).item())
    assert found[0] == pytest.approx(found[1], rel=2e-6)
