"""The short way through a batch of hard targets gives the numbers of the long one."""

from unittest.mock import patch

import pytest
import torch

from lossmith.torch import lean, parse
from paths import given, in_blocks, in_one

SUMS = ("ce", "dice", "dice + ce", "jaccard + 0.3*tversky", "gdice", "0.5*ce + dice(pool='batch')", "focal_tversky")
OF_TRUTH = (
    "focal",
    "dice + ce + focal",
    "focal(alpha=0.3) + focal(gamma=0.5, normalize='positives')",
    "wce",
    "poly + gce",
)
BY_CLASS = {"binary": "[1.0, 3.0]", "multiclass": "[1.0, 0.5, 0.0]", "multilabel": "[1.0, 0.5, 3.0]"}
TASKS = ("binary", "multiclass", "multilabel")
LOGITS = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-3}


def both(batch, spec, **options):
    """Value and gradient by the long way and by the short one."""
    with in_blocks(), patch.object(lean, "takes", lambda batch: False):
        expected = batch.run(spec, **options)
    with in_blocks(), patch.object(lean.Lean, "look", Counted(lean.Lean.look)) as look:
        found = batch.run(spec, **options)
    assert look.calls > 1
    return expected, found


class Counted:
    """A method that knows how often it was called."""

    def __init__(self, method):
        self.method, self.calls = method, 0

    def __get__(self, owner, _):
        def call(*arguments):
            self.calls += 1
            return self.method(owner, *arguments)

        call.calls = self.calls
        return call if owner is not None else self


@pytest.mark.parametrize("dtype", LOGITS, ids=str)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("spec", SUMS + OF_TRUTH)
def test_both_ways_agree(spec, task, dtype):
    batch = given(task, space=(3, 37), dtype=dtype)
    for expected, found in zip(*both(batch, spec), strict=True):
        torch.testing.assert_close(found, expected, rtol=LOGITS[dtype], atol=LOGITS[dtype] / 100)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("task", BY_CLASS)
def test_both_ways_agree_with_class_weights(task, reduction):
    """Losses of log p_t that weigh classes, each with a mean of its own."""
    batch = given(task, space=(3, 37))
    weights = BY_CLASS[task]
    spec = f"ce(class_weight={weights}) + focal(class_weight={weights}, alpha=0.3) + sce"
    for expected, found in zip(*both(batch, spec, reduction=reduction), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    "spec", ["asl", "asl(clip=0.0)", "asl(gamma_neg=0.0) + dice", "asl(gamma_pos=1.0, gamma_neg=0.5)"]
)
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_both_ways_agree_on_asymmetric_losses(task, spec):
    for expected, found in zip(*both(given(task, space=(3, 37)), spec), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_any_target_dtype(task, dtype):
    if task == "multiclass" and dtype == torch.bool:
        return
    batch = given(task)
    expected = batch.run("dice + ce")
    batch = type(batch)(task, batch.logits, batch.target.to(dtype))
    for found in both(batch, "dice + ce"):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("task", TASKS)
def test_any_layout(task):
    batch = given(task, space=(5, 16))
    expected = batch.run("dice + ce")
    for logits in (
        batch.logits.to(memory_format=torch.channels_last),
        batch.logits.mT.contiguous().mT,
        torch.stack([batch.logits] * 2, -1)[..., 0],
    ):
        target = torch.stack([batch.target] * 2, -1)[..., 1]
        for found in both(type(batch)(task, logits, target), "dice + ce"):
            torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)


def test_masked_classes_may_be_minus_infinity():
    """A class that is ruled out by a logit of -inf has probability 0 and no gradient."""
    batch = given("multiclass")
    batch.logits[:, 1][batch.target != 1] = -torch.inf
    expected, found = both(batch, "dice + ce")
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)
    assert found[1].isfinite().all()


@pytest.mark.parametrize("label", [-1, 3, 255, 256, 2**32, 2**32 + 1, -(2**63)])
def test_labels_that_are_none_are_refused(label):
    batch = given("multiclass")
    batch.target[1, 2, 14] = label
    with in_blocks(), pytest.raises(ValueError, match=rf"^target must be class indices from 0 to 2; got {label}$"):
        batch.run("dice")


def test_a_second_derivative_goes_the_plain_way():
    batch = given("binary", space=(2, 20))
    logits = batch.logits.clone().requires_grad_()

    def second():
        (slope,) = torch.autograd.grad(parse("dice + ce", "binary")(logits, batch.target), logits, create_graph=True)
        return torch.autograd.grad((slope**2).sum(), logits)[0]

    with in_one():
        expected = second()
    with in_blocks():
        torch.testing.assert_close(second(), expected, rtol=1e-12, atol=1e-15)
