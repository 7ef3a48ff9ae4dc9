"""Every preset against the library itself: the number and its gradient. Run by `make test-peers`."""

import json
from pathlib import Path

import page
import pytest
import torch
from libraries import CASES, LIBRARIES, MORE, numbers
from torch import Tensor

from lossmith.torch import DiceLoss, FocalLoss, TverskyLoss
from preset_batches import IGNORED, STORED, Batch, batch

LOSSES = {"dice": DiceLoss, "tversky": TverskyLoss, "focal": FocalLoss}


def slope(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits, allow_unused=True, materialize_grads=True)[0]


@pytest.mark.parametrize(("name", "library", "task", "kind"), CASES)
def test_the_same_number_and_gradient(name, library, task, kind):
    for options in ({}, *MORE.get((name, library), {}).values()):
        b = batch(task, kind)
        b.logits.requires_grad_()
        ours = LOSSES[name].like(library, task, **b.options, **options)(b.logits, b.target)
        theirs = LIBRARIES[library](name, b, **options)
        torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(slope(ours, b.logits), slope(theirs, b.logits), rtol=1e-4, atol=1e-7)


def test_the_stored_numbers_are_those_of_the_libraries():
    assert json.loads(STORED.read_text()) == pytest.approx(numbers(), rel=1e-6)


def with_a_lost_image(task: str) -> Batch:
    """One image of three is ignored altogether."""
    b = batch(task, "ignore")
    b.target[1] = IGNORED
    return b


def both(name: str, library: str, b: Batch) -> tuple[float, float]:
    ours = LOSSES[name].like(library, b.task, **b.options)(b.logits, b.target)
    return ours.item(), float(LIBRARIES[library](name, b))


@pytest.mark.parametrize(
    ("name", "library", "cost"),
    [("dice", "monai", 0.0), ("tversky", "monai", 0.0), ("dice", "kornia", 1.0), ("tversky", "kornia", 1.0)],
)
def test_where_an_image_is_lost_others_count_it(name, library, cost):
    """For us it is as if it were not there."""
    ours, theirs = both(name, library, with_a_lost_image("multiclass"))
    assert theirs == pytest.approx((2 * ours + cost) / 3, abs=1e-6)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_kornias_focal_mean_counts_ignored_pixels(task):
    b = batch(task, "ignore")
    ours, theirs = both("focal", "kornia", b)
    assert theirs == pytest.approx(ours * (b.target != IGNORED).double().mean().item(), abs=1e-6)


def test_soft_targets_are_not_the_same():
    """Ours is least where p = t (Wang 2023), that of MONAI where p is 0 or 1."""
    from monai import losses

    b = batch("binary", "plain")
    soft = b.logits.sigmoid()
    assert DiceLoss.like("monai", "binary")(b.logits, soft).item() == pytest.approx(0.0, abs=1e-9)
    assert losses.DiceLoss(sigmoid=True)(b.logits, soft).item() > 0.3
    assert losses.DiceLoss(sigmoid=True, soft_label=True)(b.logits, soft).item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", page.SHOWN)
def test_the_page_of_numbers_is_what_the_script_prints(name):
    text = (Path(__file__).parents[2] / "docs" / "numbers.md").read_text()
    assert "\n".join(page.table(name)) in text
