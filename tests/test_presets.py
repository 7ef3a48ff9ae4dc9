"""Presets against the stored numbers of other libraries, see tests/against_peers; the options that they are made of."""

import json

import pytest
import torch

from lossmith.torch import DiceLoss, FocalLoss, TverskyLoss, parse
from lossmith.torch.presets import PRESETS
from preset_batches import CHANNELS, STORED, batch

LOSSES = {"dice": DiceLoss, "tversky": TverskyLoss, "focal": FocalLoss}
NUMBERS: dict[str, float] = json.loads(STORED.read_text())


@pytest.mark.parametrize("key", NUMBERS)
def test_a_preset_gives_the_librarys_number(key, path):
    name, library, task, kind, *more = key.split()
    b = batch(task, kind)
    options = b.options | {"unequal": {"alpha": 0.3, "beta": 0.7}, "sum": {"reduction": "sum"}}.get("".join(more), {})
    loss = LOSSES[name].like(library, task, **options)
    assert loss(b.logits, b.target).item() == pytest.approx(NUMBERS[key], abs=1e-6)
    assert parse(loss.spec, task)(b.logits, b.target) == loss(b.logits, b.target)


def test_every_preset_is_compared():
    compared = {tuple(key.split()[:3]) for key in NUMBERS}
    offered = {
        (name, library, task) for name in PRESETS for library in PRESETS[name] for task in PRESETS[name][library]
    }
    assert compared == offered


@pytest.mark.parametrize(
    ("loss", "spec"),
    [
        (DiceLoss.like("monai", "binary"), "dice(smooth=1e-05, empty='smooth')"),
        (
            DiceLoss.like("monai", "multilabel", class_weight=[1.0, 2.0]),
            "1.5*dice(smooth=1e-05, class_weight=[1.0, 2.0], empty='smooth')",
        ),
        (
            DiceLoss.like("monai", "multiclass", class_weight=[9.0, 1.0, 2.0], classes=(1, 2)),
            "1.5*dice(smooth=1e-05, class_weight=[9.0, 1.0, 2.0], classes=(1, 2), empty='smooth')",
        ),
        (
            DiceLoss.like("monai", "multilabel", class_weight=[1.0, 2.0], reduction="sum"),
            "dice(smooth=1e-05, class_weight=[1.0, 2.0], empty='smooth', reduction='sum')",
        ),
        # the weight of a lone class says nothing there
        (DiceLoss.like("monai", "binary", class_weight=[3.0]), "dice(smooth=1e-05, empty='smooth')"),
        (
            DiceLoss.like("monai", "multiclass", class_weight=[9.0, 1.0, 2.0], classes=[2]),
            "dice(smooth=1e-05, classes=(2,), empty='smooth')",
        ),
        (DiceLoss.like("kornia", "multiclass"), "dice(empty='smooth', average='micro', ignore_index=-100)"),
        (DiceLoss.like("kornia", "multiclass", ignore_index=None), "dice(empty='smooth', average='micro')"),
        (DiceLoss.like("keras", "multiclass"), "dice(pool='batch', empty='smooth', average='micro')"),
        (DiceLoss.like("nnunet", "multiclass", smooth=1e-5, classes=[1, 2]), "dice(smooth=1e-05, classes=(1, 2), empty='smooth')"),
        (DiceLoss.like("vnet", "binary"), "dice(squared=True, empty='smooth')"),
        (FocalLoss.like("monai", "multiclass"), "focal(normalize='elements', one_vs_rest=True)"),
        (FocalLoss.like("monai", "multiclass", ignore_index=9), "focal(one_vs_rest=True, ignore_index=9)"),
        (
            FocalLoss.like("smp", "multiclass", class_weight=[1.0, 3.0]),
            "focal(normalize='elements', one_vs_rest=True, class_weight=[0.5, 1.5])",
        ),
    ],
)  # fmt: skip
def test_a_preset_is_options_of_ours(loss, spec):
    assert loss.spec == spec


@pytest.mark.parametrize("library", ["smp", "keras", "vnet"])
def test_on_an_empty_batch_most_push_nothing(library):
    """What the default is there to mend: without target pixels these have no gradient, whatever is predicted."""
    b = batch("binary", "vacant")
    for loss, pushes in ((DiceLoss.like(library, "binary"), False), (DiceLoss("binary"), True)):
        logits = b.logits.clone().requires_grad_()
        loss(logits, b.target).backward()
        assert bool(logits.grad.any()) is pushes


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: DiceLoss.like("mona", "binary"),
            "library must be 'monai' or 'smp' or 'kornia' or 'nnunet' or 'keras' or 'vnet'; got 'mona'; did you mean monai?",
        ),
        (lambda: DiceLoss.like("kornia", "binary"), "task of kornia's dice must be 'multiclass'; got 'binary'"),
        (
            lambda: FocalLoss.like("vnet", "binary"),
            "library must be 'monai' or 'smp' or 'kornia' or 'keras'; got 'vnet'",
        ),
        (lambda: DiceLoss.like("smp", "bogus"), "task must be 'binary', 'multiclass' or 'multilabel'; got 'bogus'"),
        (lambda: DiceLoss.like("smp", "binary", eps=1e-7), "dice has no parameter eps"),
        (
            lambda: DiceLoss.like("monai", "multiclass", class_weight=[1.0, 2.0], classes="present"),
            "classes, empty and average with class_weight must be such that the same classes count everywhere, each by "
            "itself; got ('present', 'smooth', None)",
        ),
        (
            lambda: DiceLoss.like("monai", "multiclass", class_weight=[1.0, 2.0], classes=[-1]),
            "classes must be 'all', 'present' or a list of class indices, each once; got [-1]",
        ),
        (
            lambda: FocalLoss.like("smp", "multiclass", from_logits=False),
            "from_logits of a one-vs-rest loss must be True; got False",
        ),
    ],
)
def test_what_there_is_no_preset_for_is_named(build, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build()
    assert str(caught.value) == message


def test_one_against_the_rest_is_multilabel(path):
    """Summed over the classes, on the same target as 0 and 1."""
    b = batch("multiclass", "absent")
    hot = torch.nn.functional.one_hot(b.target, CHANNELS["multiclass"]).movedim(-1, 1)
    for options in ({}, {"alpha": 0.25}, {"alpha": [0.1, 0.2, 0.3, 0.4]}, {"gamma": 0.5}):
        logits = b.logits.requires_grad_()
        ours = FocalLoss("multiclass", one_vs_rest=True, **options)(logits, b.target)
        theirs = 4 * FocalLoss("multilabel", **options)(logits, hot)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
        torch.testing.assert_close(
            *(torch.autograd.grad(value, logits)[0] for value in (ours, theirs)), rtol=1e-12, atol=1e-15
        )
        soft = FocalLoss("multiclass", one_vs_rest=True, **options)(b.logits, hot.double())
        torch.testing.assert_close(soft, ours, rtol=1e-12, atol=0)
