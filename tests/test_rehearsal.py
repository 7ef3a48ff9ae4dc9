import re
from typing import ClassVar

import pytest
import torch
from torch import nn

from lossmith.data import load
from lossmith.lab import compare
from lossmith.lab.machine import Machine

CRACKS = "cracks(images=8, size=64)"
SHAPE = "(2, 1, 24, 24)"


def tiny(*, in_channels, out_channels):
    return nn.Conv2d(in_channels, out_channels, 1)


class Fixed(nn.Module):
    """Gives whatever `made` makes of the logits."""

    def __init__(self, made):
        super().__init__()
        self.made = made
        self.net = nn.Conv2d(3, 1, 1)

    def forward(self, images):
        return self.made(self.net(images))


def a_dict(**_):
    return Fixed(lambda logits: {"out": logits})


def smaller(**_):
    return Fixed(lambda logits: logits[..., ::2, ::2])


def too_many(**_):
    return Fixed(lambda logits: torch.cat([logits, logits], dim=1))


def fussy(**_):
    return Fixed(lambda logits: logits.reshape(2, 1, 5, 5))


def crops_only(**_):
    return Fixed(lambda logits: logits.reshape(-1, 1, 24, 24))


class Images(nn.Module):
    def forward(self, logits, _target):
        return logits.mean(dim=(1, 2, 3))


class Constant(nn.Module):
    def forward(self, _logits, _target):
        return torch.ones(())


class Elsewhere(nn.Module):
    """Has a gradient, but not for the logits."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, _logits, _target):
        return self.weight * 2


class Raising(nn.Module):
    def forward(self, logits, _target):
        raise IndexError("class 1\nof 1")


class Called(nn.Module):
    """Writes down each call: which instance, on what, under which number of threads."""

    calls: ClassVar[list] = []

    def forward(self, logits, target):
        self.calls.append((self, tuple(logits.shape), tuple(target.shape), torch.get_num_threads()))
        return logits.mean()


class Drawing(nn.Module):
    def forward(self, logits, _target):
        return (logits * torch.rand(())).mean()


def run(out, losses=("ce",), **options):
    settings = {"seeds": 1, "steps": 2, "batch": 2, "crop": 24, "test": 0.3, "model": "test_rehearsal:tiny"}
    return compare(
        options.pop("data", CRACKS),
        list(losses),
        out=out,
        **{**settings, "threads": 1, "accelerator": "cpu", "progress": False, **options},
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"model": "unet", "crop": 20}, "crop must be a multiple of 8 for model unet; got 20"),
        ({"model": "unet-depthwise", "crop": 36}, "crop must be a multiple of 8 for model unet-depthwise; got 36"),
        ({"model": "test_rehearsal:a_dict"}, f"the model's output must be a tensor of shape {SHAPE}; got dict"),
        (
            {"model": "test_rehearsal:smaller"},
            f"the model's output must be a tensor of shape {SHAPE}; got (2, 1, 12, 12)",
        ),
        (
            {"model": "test_rehearsal:too_many"},
            f"the model's output must be a tensor of shape {SHAPE}; got (2, 2, 24, 24)",
        ),
        (
            {"model": "test_rehearsal:fussy"},
            "model test_rehearsal:fussy with crop 24 fails on an input of shape (2, 3, 24, 24): "
            "RuntimeError: shape '[2, 1, 5, 5]' is invalid for input of size 1152",
        ),
        (
            {"losses": ["ce", "test_rehearsal:Images"]},
            "loss test_rehearsal:Images must be a function to one number; got (2,)",
        ),
        (
            {"losses": ["ce", "test_rehearsal:Constant"]},
            "loss test_rehearsal:Constant must depend on the logits by differentiable operations; it has no gradient",
        ),
        (
            {"losses": ["ce", "test_rehearsal:Elsewhere"]},
            "loss test_rehearsal:Elsewhere must depend on the logits by differentiable operations; it has no gradient",
        ),
        (
            {"losses": ["ce", "test_rehearsal:Raising"]},
            f"loss test_rehearsal:Raising fails on an input of shape {SHAPE}: IndexError: class 1",
        ),
        ({"accelerator": "quantum"}, "accelerator must be one this machine has; got 'quantum'"),
        (
            {"precision": "16-mixed"},
            "precision must be 32-true, bf16-mixed or 64-true on a CPU; got '16-mixed'",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_made(tmp_path, options, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        run(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_take_whole_images(tmp_path):
    text = "model test_rehearsal:crops_only on whole images fails on an input of shape (3, 64, 64): "
    with pytest.raises(ValueError, match=f"^{re.escape(text)}.*$"):
        run(tmp_path / "out", model="test_rehearsal:crops_only")


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="needs a machine without")
def test_no_gpu():
    with pytest.raises(ValueError, match=r"^accelerator must be one this machine has; got 'gpu'$"):
        Machine("gpu").fabric("32-true")


def test_what_is_rehearsed_is_real_and_is_not_what_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(Called, "calls", [])
    run(tmp_path, ["test_rehearsal:Called"])
    instances = [call[0] for call in Called.calls]
    assert len(instances) == 3  # once in the rehearsal, in both steps
    assert instances[0] is not instances[1]
    assert instances[1] is instances[2]
    assert {call[1:] for call in Called.calls} == {((2, 1, 24, 24), (2, 24, 24), 1)}


def test_a_finished_comparison_needs_no_rehearsal(tmp_path, monkeypatch):
    monkeypatch.setattr(Called, "calls", [])
    run(tmp_path, ["test_rehearsal:Called", "ce"])
    run(tmp_path, ["test_rehearsal:Called", "dice"])
    assert len(Called.calls) == 3


def test_rehearsing_changes_no_random_state(tmp_path):
    data = load(CRACKS, test=0.3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(tmp_path, ["test_rehearsal:Drawing"], data=data)
    assert torch.equal(torch.get_rng_state(), before)
