"""Losses that sort: batches large enough for the fast way of sorting, equal values, and what cannot be ordered."""

import math
from dataclasses import replace

import pytest
import torch

import oracle
from lossmith.core.namespaces.torch import xp
from lossmith.torch import parse
from paths import given, in_blocks, in_one

PIXELS = 300
LOVASZ = [
    ("lovasz_hinge", "binary"),
    ("lovasz_hinge", "multilabel"),
    *(("lovasz", t) for t in ("binary", "multiclass", "multilabel")),
]
pytestmark = pytest.mark.usefixtures("path")


def slow(name, batch, **options) -> float:
    """The loop of tests/oracle.py on the same numbers."""
    weight = None if batch.weight is None else batch.weight.double().numpy()
    loop = oracle.Batch(batch.task, batch.logits.double().numpy(), batch.target.numpy(), weight, batch.ignore_index)
    return oracle.ORACLES[name](loop, **options)


def levels(batch, number=8):
    """Logits of few values, so that many errors are equal."""
    return replace(batch, logits=(batch.logits * 2).round().clamp(-number // 2, number // 2) / 2)


@pytest.mark.parametrize(("name", "task"), LOVASZ)
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("mode", ["plain", "ignore", "weight"])
def test_lovasz_against_the_loop(name, task, per_image, mode):
    pixels = 50 if mode == "weight" else 130  # 2 images of 130 are enough for the fast way, and for a slow loop
    batch = given(task, mode, images=2, space=(pixels,), dtype=torch.float32)
    batch.target[-1, ..., :7] = 1
    for some in (batch, levels(batch)):
        value = some.run(f"{name}(per_image={per_image})")[0]
        assert value.item() == pytest.approx(slow(name, some, per_image=per_image), rel=2e-6)


@pytest.mark.parametrize(("name", "task"), LOVASZ)
@pytest.mark.parametrize("mode", ["plain", "ignore weight"])
def test_the_gradient_of_lovasz_in_single_precision(name, task, mode):
    """Against double precision, which is sorted by torch itself; errors far enough apart to be ordered alike."""
    batch = given(task, mode, images=2, space=(PIXELS,))
    spread = torch.linspace(-3, 3, batch.logits.numel(), dtype=torch.float64)
    spread += (spread[1] - spread[0]) / 4  # z and -z are errors of different pixels
    spread = spread[torch.randperm(spread.numel(), generator=torch.Generator().manual_seed(0))]
    batch = replace(batch, logits=spread.reshape(batch.logits.shape).float().double())
    expected = batch.run(name)
    single = replace(batch, logits=batch.logits.float(), weight=None if batch.weight is None else batch.weight.float())
    value, gradient = single.run(name)
    assert value.item() == pytest.approx(expected[0].item(), rel=1e-6)
    torch.testing.assert_close(gradient.double(), expected[1], rtol=1e-4, atol=1e-6 * expected[1].abs().max().item())


@pytest.mark.parametrize("size", [1, 255, 256, 257, 3000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_order_of_anything(size, dtype):
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(3, size, generator=generator, dtype=dtype)
    x[1] = x[1].round()  # ties, and both zeros
    x[2, ::5] = torch.inf
    x[2, 1::5] = -torch.inf
    x[2, 2::7] = 3e-42
    before = x.clone()
    order = xp.argsort_descending(x)
    assert torch.equal(order.sort().values, torch.arange(size).expand(3, size))
    assert torch.equal(x.gather(-1, order), x.sort(descending=True).values)
    assert torch.equal(x, before)
    for nan in (math.nan, -math.nan):  # which differ in a bit
        x[0, size // 2] = nan
        assert xp.argsort_descending(x[:1])[0, 0] == size // 2
    assert torch.equal(xp.unsort(x.gather(-1, order)[1:], order[1:]), x[1:])


def test_the_order_of_views():
    x = torch.randn(600, 4).t()
    assert torch.equal(xp.argsort_descending(x[:, ::2]), torch.argsort(x[:, ::2], descending=True))
    assert torch.equal(xp.argsort_descending(torch.zeros(1, 1).expand(2, 300)).sort().values[0], torch.arange(300))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("mode", ["plain", "ignore", "weight"])
@pytest.mark.parametrize("k", [0.001, 0.37, 1.0])
def test_topk_of_equal_losses(task, mode, k):
    """Shares of 300 pixels that are no whole number; equal losses share what is left."""
    batch = levels(given(task, mode, images=2, space=(PIXELS,)), 4)
    for name, options in (("topk", {"k": k}), ("ohem", {"threshold": 0.2, "min_kept": int(1 + 77 * k)})):
        spec = f"{name}({', '.join(f'{key}={value}' for key, value in options.items())})"
        value, gradient = batch.run(spec)
        assert value.item() == pytest.approx(slow(name, batch, **options), rel=1e-10)
        alike = gradient[(batch.logits == batch.logits.flatten()[0]) & _same_truth(batch)]
        if mode != "weight" and task == "binary":
            assert alike.min() == alike.max()


def _same_truth(batch):
    target = batch.target.reshape(batch.logits.shape) if batch.task != "multiclass" else batch.target.unsqueeze(1)
    return (target == target.flatten()[0]).expand_as(batch.logits)


@pytest.mark.parametrize("spec", ["lovasz", "lovasz(per_image=True)", "topk(k=0.01)", "ohem(min_kept=1)"])
def test_an_error_that_is_not_a_number_is_among_the_largest(spec):
    batch = given("multiclass", images=2, space=(PIXELS,), dtype=torch.float32)
    batch.logits[0, 1, 17] = torch.nan
    assert batch.run(spec)[0].isnan()


def test_absent_classes_cost_no_sorting_and_no_value():
    """Present classes alone count: those of 30 that the target holds."""
    batch = given("multiclass", channels=30, images=2, space=(PIXELS,), dtype=torch.float32)
    batch.target.clamp_(max=2)
    value, gradient = batch.run("lovasz")
    per_class = parse("lovasz(classes='all', reduction='none', empty='smooth')", "multiclass")(
        batch.logits, batch.target
    )
    assert value.item() == pytest.approx(per_class[:3].mean().item(), rel=1e-6)
    assert gradient.isfinite().all()


def test_lovasz_of_both_paths_is_one():
    for task in ("binary", "multiclass", "multilabel"):
        batch = given(task, "ignore weight", images=3, space=(PIXELS,), dtype=torch.float32)
        found = []
        for way in (in_one, in_blocks):
            with way():
                found.append(batch.run("lovasz(per_image=True)"))
        torch.testing.assert_close(found[0], found[1], rtol=2e-6, atol=1e-9)
