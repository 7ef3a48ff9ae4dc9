"""A batch seen block by block gives what the whole of it gives, for every loss, task and form of input."""

import itertools
from dataclasses import replace

import pytest
import torch

from lossmith.torch import Loss, parse
from paths import IGNORE, SEPARABLE, fits, given, in_blocks, in_one

ROWS = [(name, task) for name, record in SEPARABLE.items() for task in record.tasks]
MODES = (
    *("plain", "ignore", "weight", "channel_weight", "ignore weight", "one_hot", "one_hot weight"),
    *("soft", "soft weight", "soft channel_weight", "probs", "probs ignore", "probs soft weight"),
)
REDUCTIONS = ("mean", "sum", "none")
# Formulas that reach what the losses' defaults leave alone, binary and multiclass (with 3, 11 and 21 channels).
VARIANTS = (
    *(
        "ce(label_smoothing=0.1)",
        "focal(gamma=0.5, alpha=0.25)",
        "focal(normalize='positives')",
        "mse(foreground_weight=8)",
    ),
    *("wce(balance='median_frequency')", "topk(k=0.37, loss=focal)", "ohem(threshold=0.3, min_kept=7, loss=mse)"),
    *(
        "dice(squared=True, smooth=1.0)",
        "dice(log=True)",
        "jaccard(log=True, pool='batch')",
        "dice(pool='batch', empty='skip')",
    ),
    *(
        "gdice(weighting='uniform', pool='batch')",
        "tversky(classes='present')",
        "lovasz(per_image=True, classes='all')",
    ),
    "0.5*ce + dice + 2*focal + mse + topk(k=0.3) + dice(log=True)",
)


def same(spec, batch, reductions=REDUCTIONS, rtol=1e-12, atol=1e-13, elements=32):
    for reduction in reductions:
        with in_one():
            expected = batch.run(spec, reduction=reduction)
        with in_blocks(elements):
            got = batch.run(spec, reduction=reduction)
        for one, other, what in zip(got, expected, ("value", "gradient"), strict=True):
            said = f"{what} of {spec}, {reduction}"
            assert one.dtype == other.dtype
            torch.testing.assert_close(one, other, rtol=rtol, atol=atol, msg=lambda text, s=said: f"{s}: {text}")


@pytest.mark.parametrize(("name", "task"), ROWS)
def test_every_loss_on_every_kind_of_input(name, task):
    """45 pixels an image: blocks of 16 (32 of a binary task), and a shorter one."""
    reductions = itertools.cycle(REDUCTIONS)
    for seed, mode in enumerate(MODES):
        if fits(Loss.registry[name], mode):
            same(name, given(task, mode, seed=seed), [next(reductions), next(reductions)])


@pytest.mark.parametrize("name", [name for name, record in SEPARABLE.items() if "multiclass" in record.tasks])
@pytest.mark.parametrize("channels", [11, 21])
def test_many_classes(name, channels):
    """Which go by the index of the true class; from 20 on, what the forward pass knows of a pixel is kept."""
    reductions = itertools.cycle(REDUCTIONS)
    for seed, mode in enumerate(("plain", "ignore weight", "one_hot weight", "soft weight", "probs")):
        if fits(Loss.registry[name], mode):
            same(name, given("multiclass", mode, channels=channels, seed=seed), [next(reductions)])


@pytest.mark.parametrize("spec", VARIANTS)
@pytest.mark.parametrize(
    ("task", "channels"), [("binary", 1), ("multiclass", 3), ("multiclass", 11), ("multiclass", 21)]
)
def test_every_formula(spec, task, channels):
    pooled = ("none",) if spec.count("+") == 0 else ()  # the terms of the sum have no common shape
    for seed, mode in enumerate(("ignore weight", "one_hot")):
        same(spec, given(task, mode, channels=channels, seed=seed), ["mean", *pooled])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    "spec", ["ce + dice(smooth=1.0) + focal", "mse + wce", "dice(squared=True, log=True)", "lovasz"]
)
@pytest.mark.parametrize("class_weight", [False, True])
def test_several_small_images_are_one_block(spec, task, class_weight):
    """7 images of 10 pixels in blocks of 2 (or 6 of a binary task): sums stay those of the images."""
    for mode in ("plain", "ignore weight", "soft weight"):
        if not (spec == "lovasz" and "soft" in mode):
            batch = given(task, mode, images=7, space=(10,))
            chosen = "ce(class_weight=[0.5, 2.0, 1.5])" if task != "binary" else "ce(class_weight=[0.5, 2.0])"
            same(spec.replace("ce ", f"{chosen} ") if class_weight else spec, batch, ["mean"], elements=64)


@pytest.mark.parametrize("elements", [16, 48, 1000, 10**6])
def test_no_size_of_block_matters(elements):
    for task, channels in (("binary", 1), ("multiclass", 3), ("multiclass", 21)):
        same("ce + dice + jaccard(log=True)", given(task, "weight", channels=channels), ["mean"], elements=elements)


@pytest.mark.parametrize("space", [(33,), (5, 7), (2, 3, 11), ()], ids=str)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_every_number_of_axes(task, space):
    images = 70 if space == () else 3
    same("ce + dice(pool='batch') + focal", given(task, "ignore", space=space, images=images), ["mean"])
    same("ce", given(task, "ignore", space=space, images=images), ["none"])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("spec", ["ce + dice", "focal + mse", "lovasz"])
def test_every_layout_of_memory(spec, task):
    batch = given(task, images=4, space=(6, 20))
    value, gradient = batch.run(spec)
    logits, target = batch.logits, batch.target
    layouts = {
        "channels_last": logits.contiguous(memory_format=torch.channels_last),
        "transposed": logits.transpose(2, 3).contiguous().transpose(2, 3),
        "strided": torch.stack([logits, -logits], dim=-1)[..., 0],
        "images inside": logits.transpose(0, 1).contiguous().transpose(0, 1),
    }
    for layout in layouts.values():
        with in_blocks():
            got = replace(batch, logits=layout, target=target.transpose(-1, -2).contiguous().transpose(-1, -2)).run(
                spec
            )
        torch.testing.assert_close(got[0], value, rtol=1e-12, atol=0)
        torch.testing.assert_close(got[1], gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("spec", ["ce + dice", "lovasz"])
def test_expanded_logits_collect_all_of_their_gradient(spec):
    batch = given("multiclass", images=4, space=(6, 20))
    found = []
    for path in (in_one, in_blocks):
        one = batch.logits[:1, :, :, :1].clone().requires_grad_()
        with path():
            value = parse(spec, "multiclass")(one.expand(4, 3, 6, 20), batch.target)
        found.append((value.item(), *torch.autograd.grad(value, one)[0].flatten().tolist()))
    assert found[0] == pytest.approx(found[1], rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
def test_every_dtype_of_labels(dtype):
    for task in ("binary", "multiclass", "multilabel"):
        for mode in ("plain", "one_hot", "ignore weight"):
            batch = given(task, mode, channels=2 if task == "multiclass" else None)
            if batch.ignore_index is not None:
                batch = replace(batch, target=batch.target.where(batch.target != IGNORE, 0), ignore_index=None)
            with in_blocks():
                expected = batch.run("ce + dice + focal")
                got = replace(batch, target=batch.target.to(dtype)).run("ce + dice + focal")
            torch.testing.assert_close(got, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32], ids=str)
@pytest.mark.parametrize("label", [-1, 100])
def test_an_ignored_label_of_any_sign_and_dtype(dtype, label):
    for task in ("binary", "multiclass", "multilabel"):
        batch = given(task, "ignore")
        with in_one():
            expected = batch.run("ce + dice")
        target = batch.target.where(batch.target != IGNORE, label).to(dtype)
        with in_blocks():
            got = replace(batch, target=target, ignore_index=label).run("ce + dice")
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("spec", ["ce", "dice", "ce + dice + focal", "mse", "lovasz", "dice(log=True)"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_blocks_of_real_size_in_single_precision(task, spec):
    """An image of 97 x 211 pixels is no whole number of blocks."""
    for mode in ("plain", "ignore weight"):
        batch = given(task, mode, images=2, space=(97, 211), dtype=torch.float32)
        with in_one():
            exact = replace(batch, logits=batch.logits.double()).run(spec)
        with in_blocks(2**12):
            value, gradient = batch.run(spec)
        assert value.item() == pytest.approx(exact[0].item(), rel=2e-6)
        error = (gradient - exact[1]).norm() / exact[1].norm()
        assert error < (1e-5 if spec == "lovasz" else 2e-6)  # errors that differ in double precision alone change order


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("spec", ["ce + dice", "focal + mse", "lovasz", "dice(log=True)"])
def test_half_precision_is_widened_inside(spec, dtype):
    for task, channels in (("binary", 1), ("multiclass", 3), ("multiclass", 21), ("multilabel", 3)):
        batch = given(task, "weight", channels=channels, dtype=dtype)
        wide = replace(batch, logits=batch.logits.float())
        with in_blocks():
            (value, gradient), expected = batch.run(spec), wide.run(spec)
        assert value.dtype == torch.float32
        assert gradient.dtype == dtype
        assert value.item() == pytest.approx(expected[0].item(), rel=1e-6)
        torch.testing.assert_close(gradient, expected[1].to(dtype), rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("spec", ["ce + dice", "lovasz", "topk", "ohem(min_kept=1)", "wce"])
def test_a_batch_without_images_or_pixels(spec):
    for shape in ((0, 3, 4), (2, 3, 0)):
        logits = torch.zeros(shape, requires_grad=True)
        found = []
        for path in (in_one, in_blocks):
            with path():
                value = parse(spec, "multiclass")(logits, torch.zeros(shape[0], shape[2], dtype=torch.long))
            found.append(value.item())
            assert torch.autograd.grad(value, logits)[0].shape == shape
        assert found[0] == found[1]


def test_threads_change_nothing():
    batch = given("multiclass", "weight", channels=5, space=(32, 63), dtype=torch.float32)
    before = torch.get_num_threads()
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            with in_blocks(2**11):
                found.append(batch.run("ce + dice + lovasz"))
        finally:
            torch.set_num_threads(before)
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-6, atol=1e-10)
