"""Compiled code gives the numbers of the definitions, and says no to what they say no to."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from lossmith.torch import compiled, parse
from paths import IGNORE, Given, given, in_one, without_compiled_code
from test_memory_of_losses import Watch

TASKS = ("binary", "multiclass", "multilabel")
MODES = ("plain", "ignore", "weight", "channel_weight", "ignore weight", "soft", "soft weight", "soft channel_weight")
SUMS = (
    *("ce", "dice", "dice + ce", "jaccard + 0.3*tversky", "gdice", "0.5*ce + dice(pool='batch')", "focal_tversky"),
    *("dice(squared=True)", "dice(empty='skip', pool='batch')"),
)
CURVES = (
    *("focal", "dice + ce + focal", "focal(alpha=0.3) + focal(gamma=0.5, normalize='positives')", "wce"),
    *("focal(gamma=3.5)", "focal(gamma=1) + focal(gamma=0)", "focal(normalize='elements')", "poly + sce"),
)
BY_CLASS = {"binary": "[1.0, 3.0]", "multiclass": "[1.0, 0.5, 0.0]", "multilabel": "[1.0, 0.5, 3.0]"}
PRECISION = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
SPACES = ((3, 37), (16,), (1,), (33, 65))  # pixels: a vector and a rest, one, less than one, more than a chunk


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    monkeypatch.setattr(compiled, "LEAST", 0)


needs_compiler = pytest.mark.skipif(compiled.loaded() is None, reason="installed without a compiler")


def test_it_was_compiled_where_there_is_a_compiler():
    """Else the tests below would be left out for nothing."""
    wanted = os.environ.get("LOSSMITH_COMPILE") != "0" and any(
        Path(folder, name).exists() for folder in os.get_exec_path() for name in ("cc", "gcc", "clang")
    )
    assert (compiled.loaded() is not None) == wanted


def both(batch: Given, spec: str, **options):
    """Value and gradient in double precision by the definitions, and by compiled code."""
    weight = None if batch.weight is None else batch.weight.double()
    with in_one():
        expected = replace(batch, logits=batch.logits.double(), weight=weight).run(spec, **options)
    with patch.object(compiled.Compiled, "pull_back", autospec=True, side_effect=compiled.Compiled.pull_back) as used:
        found = batch.run(spec, **options)
    assert used.call_count == 1, "went another way"
    return expected, found


def same(batch: Given, spec: str, **options):
    precision = PRECISION[batch.logits.dtype]
    for expected, found, what in zip(*both(batch, spec, **options), ("value", "gradient"), strict=True):
        scale = max(expected.abs().max().item(), 1e-3)
        off = (found.double() - expected).abs().max().item() / scale
        assert off < precision, f"{what} of {spec}, {batch.task} {tuple(batch.logits.shape)}: off by {off:.1e}"


@needs_compiler
@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize(
    ("task", "mode"), [(task, mode) for task in TASKS for mode in MODES if task != "multiclass" or "soft" not in mode]
)
def test_values_and_gradients(task, mode, dtype):
    for seed, spec in enumerate(SUMS + CURVES):
        batch = given(task, mode, space=SPACES[seed % len(SPACES)], dtype=dtype, seed=seed)
        target = batch.target.float() if "soft" in mode else batch.target
        if not ("soft" in mode and "sce" in spec):  # which looks at p itself there
            same(replace(batch, target=target), spec)


@needs_compiler
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_masks_of_floats(task):
    """Of 0 and 1, as many give them: the numbers of the same mask of integers. Also with -1 for ignored pixels."""
    batch = given(task, space=(33, 65), dtype=torch.float32)
    floats = replace(batch, target=batch.target.float())
    for spec in (*SUMS, "focal", f"ce(class_weight={BY_CLASS[task]}) + focal(alpha=0.25)"):
        same(floats, spec)
        torch.testing.assert_close(floats.run(spec), batch.run(spec), rtol=1e-5, atol=1e-6)
    lost = torch.rand(batch.target.shape, generator=torch.Generator().manual_seed(1)) < 0.2
    some = replace(batch, target=torch.where(lost, -1, batch.target), ignore_index=-1)
    same(replace(some, target=some.target.float()), "dice + ce + focal")
    torch.testing.assert_close(
        replace(some, target=some.target.float()).run("dice + ce"), some.run("dice + ce"), rtol=1e-5, atol=1e-6
    )


@needs_compiler
def test_a_mean_that_is_not_linear_in_a_soft_target_goes_another_way():
    batch = given("binary", "soft", dtype=torch.float32)
    spec = "focal(normalize='positives', class_weight=[1.0, 3.0])"
    with in_one():
        expected = batch.run(spec)
    with patch.object(compiled.Compiled, "look", side_effect=AssertionError):
        torch.testing.assert_close(batch.run(spec), expected, rtol=1e-6, atol=1e-8)


@needs_compiler
@pytest.mark.parametrize("bad", [-0.1, 1.1, torch.nan])
def test_soft_targets_that_are_none_are_refused(bad):
    batch = given("binary", "soft", dtype=torch.float32)
    batch.target[1, 0, 2, 14] = bad
    with pytest.raises(ValueError, match=r"^target must be probabilities in \[0, 1\]; got"):
        batch.run("dice + ce")


@needs_compiler
@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("channels", [2, 21, 300])
def test_any_number_of_classes(channels, space):
    same(given("multiclass", channels=channels, space=space, dtype=torch.float32), "dice + ce + focal")


@needs_compiler
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("mode", ["plain", "ignore weight"])
@pytest.mark.parametrize("task", BY_CLASS)
def test_class_weights(task, mode, reduction):
    """Losses of log p_t that weigh classes, each with a mean of its own."""
    batch, weights = given(task, mode, space=(3, 37), dtype=torch.float32), BY_CLASS[task]
    spec = f"ce(class_weight={weights}) + focal(class_weight={weights}, alpha=0.3) + sce"
    same(batch, spec, reduction=reduction)


@needs_compiler
@pytest.mark.parametrize("spec", ["asl(clip=0.0)", "asl(gamma_pos=1.0, gamma_neg=0.5, clip=0.0) + dice"])
def test_two_curves_of_one_loss(spec):
    same(given("multilabel", space=(3, 37), dtype=torch.float32), spec)


@needs_compiler
@pytest.mark.parametrize("spec", ["gce", "asl", "dice(log=True)", "ce(label_smoothing=0.1)", "lovasz", "mse + dice"])
def test_other_losses_go_another_way(spec):
    batch = given("binary", dtype=torch.float32)
    with in_one():
        expected = batch.run(spec)
    with patch.object(compiled.Compiled, "look", side_effect=AssertionError):
        torch.testing.assert_close(batch.run(spec), expected, rtol=0, atol=0)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_any_target_dtype(task, dtype):
    if task != "multiclass" or dtype != torch.bool:
        batch = given(task, "ignore" if dtype in (torch.int16, torch.int32) else "plain", dtype=torch.float32)
        same(replace(batch, target=batch.target.to(dtype)), "dice + ce")


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_in_half_precision(dtype):
    batch = given("binary", "weight", dtype=torch.float32)
    same(replace(batch, weight=batch.weight.to(dtype)), "dice + ce")


@needs_compiler
@pytest.mark.parametrize("task", TASKS)
def test_any_layout(task):
    batch = given(task, "weight", space=(5, 16), dtype=torch.float32)
    weight = torch.stack([batch.weight] * 2, -1)[..., 0]
    for logits in (
        batch.logits.to(memory_format=torch.channels_last),
        batch.logits.mT.contiguous().mT,
        torch.stack([batch.logits] * 2, 1)[:, 1],
        torch.stack([batch.logits] * 2, -1)[..., 0],
    ):
        same(replace(batch, logits=logits, target=torch.stack([batch.target] * 2, 0)[1], weight=weight), "dice + ce")
    same(replace(batch, logits=batch.logits.to(torch.bfloat16, memory_format=torch.channels_last)), "dice + ce")
    same(replace(batch, weight=batch.weight[:1, :1].expand_as(batch.weight)), "dice + ce")


@pytest.mark.parametrize("task", TASKS)
def test_targets_whose_pixels_do_not_lie_together(task):
    """They go another way, and are not copied."""
    batch = given(task, space=(5, 16), dtype=torch.float32)
    apart = replace(batch, target=torch.stack([batch.target] * 2, -1)[..., 0])
    torch.testing.assert_close(apart.run("dice + ce"), batch.run("dice + ce"), rtol=1e-5, atol=1e-7)


@needs_compiler
def test_a_column_of_single_pixels():
    """Whose steps say nothing."""
    batch = given("multiclass", images=40, space=(), dtype=torch.float32)
    same(batch, "focal + ce")


@needs_compiler
def test_threads_change_no_bit(monkeypatch):
    batch = given("multiclass", "weight", space=(130, 300), dtype=torch.float32)
    monkeypatch.setattr(compiled, "JOB", 2**12)
    found = []
    for threads in (1, 3):
        with patch.object(torch, "get_num_threads", lambda threads=threads: threads):
            found.append(batch.run("dice + ce + focal"))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    same(batch, "dice + ce + focal")


@needs_compiler
def test_large_sums_are_exact():
    """Float32 ends at 2^24; the sums of a large batch are those of double precision."""
    logits = torch.full((1, 1, 4100, 4100), -30.0, requires_grad=True)
    target = torch.zeros(1, 4100, 4100, dtype=torch.uint8)
    target[0, 0, 0] = 1
    value = parse("dice(empty='area')", "binary")(logits, target)
    p = torch.tensor(-30.0).double().sigmoid().item()
    assert value.item() == pytest.approx(1 - 2 * p / (4100**2 * p + 1), rel=1e-6)


@needs_compiler
@pytest.mark.parametrize("spec", ["ce", "dice", "focal", "poly"])
def test_equal_numbers_add_up_without_drift(spec):
    target = torch.zeros(1, 512, 512, dtype=torch.uint8)
    logits = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 512, 512).contiguous()
    loss = parse(spec, "multiclass")
    assert loss(logits, target).item() == pytest.approx(loss(logits.double(), target).item(), rel=6e-7)


@needs_compiler
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("spec", ["ce", "dice", "focal", "dice + ce + focal"])
def test_a_nan_is_not_lost(spec, task):
    for bad in (torch.nan, torch.inf):
        batch = given(task, dtype=torch.float32)
        batch.logits[1, 0, 2, 14] = bad
        with in_one():
            expected = batch.run(spec)[0]
        value = batch.run(spec)[0]
        assert value.isfinite() == expected.isfinite()
        if value.isfinite():  # a sigmoid of +inf
            assert value.item() == pytest.approx(expected.item(), rel=1e-5)


@needs_compiler
@pytest.mark.parametrize("task", TASKS)
def test_what_is_ignored_may_be_anything(task):
    batch = given(task, "ignore", dtype=torch.float32)
    lost = batch.target == IGNORE
    expected, gradient = batch.run("dice + ce + focal")
    for anything in (torch.nan, torch.inf, -torch.inf, 1e30):
        logits = batch.logits.clone()
        every = lost if task == "multilabel" else lost.unsqueeze(1)
        logits[every.expand_as(logits)] = anything
        value, slope = replace(batch, logits=logits).run("dice + ce + focal")
        torch.testing.assert_close((value, slope), (expected, gradient), rtol=0, atol=0)
        assert (slope[every.expand_as(slope)] == 0).all()


@needs_compiler
def test_masked_classes_may_be_minus_infinity():
    """A class that is ruled out by a logit of -inf has probability 0 and no gradient."""
    batch = given("multiclass", dtype=torch.float32)
    batch.logits[:, 1][batch.target != 1] = -torch.inf
    same(batch, "dice + ce")
    assert batch.run("dice + ce")[1].isfinite().all()


@needs_compiler
@pytest.mark.parametrize("size", [1e-6, 1.0, 20.0, 80.0, 100.0, 1e4, 1e36])
@pytest.mark.parametrize("task", TASKS)
def test_logits_of_any_size(task, size):
    batch = given(task, dtype=torch.float32)
    batch = replace(batch, logits=batch.logits.sign() * size)
    same(batch, "dice + ce + focal")


@needs_compiler
@pytest.mark.parametrize("task", TASKS)
def test_small_probabilities_keep_their_digits(task):
    """The gradient of a pixel that is right and certain is 1 - p_t, which has all of its digits."""
    batch = given(task, images=1, space=(64,), dtype=torch.float32)
    sign = 2.0 * batch.target.reshape(1, -1, 64) - 1 if task != "multiclass" else None
    if sign is None:
        logits = torch.zeros_like(batch.logits).scatter_(1, batch.target.unsqueeze(1), 15.0)
    else:
        logits = (15.0 * sign).reshape(batch.logits.shape).contiguous()
    for spec in ("ce", "focal", "focal(gamma=0.5)"):
        (value, slope), (ours, own) = both(replace(batch, logits=logits), spec)
        assert ours.item() == pytest.approx(value.item(), rel=2e-5)
        wrong = slope.abs() > 0 if task != "multiclass" else torch.zeros_like(slope, dtype=torch.bool)
        torch.testing.assert_close(own.double()[wrong], slope[wrong], rtol=2e-5, atol=0)


@needs_compiler
@pytest.mark.parametrize("label", [-1, 3, 255, 2**31 - 1, -(2**31), 2**32, 2**32 + 1, -(2**63)])
@pytest.mark.parametrize(("task", "last"), [("multiclass", 2), ("binary", 1)])
def test_labels_that_are_none_are_refused(task, last, label):
    batch = given(task, dtype=torch.float32)
    batch.target[1, 2, 14] = label
    with pytest.raises(ValueError, match=rf"^target must be class indices from 0 to {last}; got {label}$"):
        batch.run(f"dice + ce(class_weight={BY_CLASS[task]})")


@needs_compiler
@pytest.mark.parametrize("bad", [-1.0, torch.nan, torch.inf])
@pytest.mark.parametrize("task", TASKS)
def test_weights_that_are_none_are_refused(task, bad):
    batch = given(task, "weight", dtype=torch.float32)
    batch.weight[1, 2, 14] = bad
    with pytest.raises(ValueError, match=r"^weight must be finite and >= 0 everywhere; got other values$"):
        batch.run("dice + ce")


@needs_compiler
@pytest.mark.parametrize("task", TASKS)
def test_gradients_in_bfloat16_are_rounded_to_the_nearest(task):
    batch = given(task, space=(33, 65), dtype=torch.bfloat16)
    exact = replace(batch, logits=batch.logits.float()).run("dice + ce")[1]
    torch.testing.assert_close(batch.run("dice + ce")[1], exact.to(torch.bfloat16), rtol=0, atol=0)


@needs_compiler
def test_where_a_probability_is_its_target_the_slope_is_torchs():
    """That of min(p, t) at p = t."""
    logits, target = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    target[0, 0, 0] = 1.0
    same(Given("binary", logits, target), "dice")


@needs_compiler
@pytest.mark.parametrize("name", ["target", "weight"])
def test_what_is_on_another_device_is_not_looked_at(name):
    """Its address is none of the CPU's: torch says what it makes of it."""
    batch = given("multiclass", "weight", dtype=torch.float32)
    elsewhere = replace(batch, **{name: getattr(batch, name).to("meta")})
    with pytest.raises((RuntimeError, NotImplementedError)):
        elsewhere.run("dice + ce")


@needs_compiler
def test_a_second_derivative_goes_the_plain_way():
    batch = given("binary", space=(2, 20), dtype=torch.float32)
    logits = batch.logits.clone().requires_grad_()

    def second():
        (slope,) = torch.autograd.grad(parse("dice + ce", "binary")(logits, batch.target), logits, create_graph=True)
        return torch.autograd.grad((slope**2).sum(), logits)[0]

    with in_one():
        expected = second()
    torch.testing.assert_close(second(), expected, rtol=1e-4, atol=1e-7)


def test_a_library_of_another_version_is_left_alone(tmp_path):
    """What was compiled before an update does not answer for it."""
    source = tmp_path / "other.py"
    source.write_text(
        "from lossmith.torch import compiled\ncompiled.VERSION += 1\nassert compiled.loaded() is None\n"
        "import torch, lossmith.torch as lt\nprint(lt.DiceLoss('binary')(torch.zeros(1, 1, 4), torch.ones(1, 4).long()).item())\n"
    )
    done = subprocess.run([sys.executable, str(source)], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(1 / 3)


@pytest.mark.parametrize("task", TASKS)
def test_nothing_depends_on_it(task):
    batch = given(task, "ignore weight", dtype=torch.float32)
    expected = batch.run("dice + ce + focal")
    with without_compiled_code():
        torch.testing.assert_close(batch.run("dice + ce + focal"), expected, rtol=1e-5, atol=1e-7)


@needs_compiler
@pytest.mark.parametrize("mode", ["plain", "ignore weight"])
@pytest.mark.parametrize(("task", "channels"), [("binary", 1), ("multiclass", 3), ("multiclass", 21)])
def test_nothing_as_large_as_a_number_a_pixel_is_made_but_the_gradient(task, channels, mode):
    batch = given(task, mode, channels=channels, space=(40, 40), dtype=torch.float32)
    logits, loss = batch.logits.requires_grad_(), batch.loss("ce + dice + focal")
    loss(logits, batch.target, batch.weight)  # the numbers of its classes are kept
    with Watch(logits, batch.target, batch.weight) as watch:
        loss(logits, batch.target, batch.weight).backward()
    made = watch.sizes(0.9 * logits.nbytes / channels)
    assert [size for _, size in made] == [logits.nbytes], made
