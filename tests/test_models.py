import re

import numpy as np
import pytest
import torch
from torch import nn

from lossmith.lab.models import build_model, parameter_count

SHARES = np.array([0.98, 0.02])


def not_a_net(*, in_channels, out_channels):
    return "net"


def tiny(*, in_channels, out_channels):
    return nn.Conv2d(in_channels, out_channels, 1)


def test_sizes_that_the_documentation_states():
    plain = build_model("unet", shares=SHARES, binary=True, seed=0)
    depthwise = build_model("unet-depthwise", shares=SHARES, binary=True, seed=0)
    assert round(parameter_count(plain) / 1000) == 122
    assert round(parameter_count(depthwise) / 1000) == 135


@pytest.mark.parametrize("model", ["unet", "unet-depthwise"])
def test_shapes(model):
    net = build_model(model, shares=np.array([0.7, 0.2, 0.1]), binary=False, seed=0)
    assert net(torch.rand(2, 3, 32, 48)).shape == (2, 3, 32, 48)


def test_far_pixels_are_seen_through_the_deepest_level():
    net = build_model("unet", shares=SHARES, binary=True, seed=0).eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    net(image)[0, 0, 32, 32].backward()
    reached = (image.grad != 0).any(1)[0].nonzero()
    assert (reached.max(0).values - reached.min(0).values).min() > 40


def test_weights_by_seed_and_by_nothing_else():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = build_model("unet", shares=SHARES, binary=True, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again = build_model("unet", shares=SHARES, binary=True, seed=1)
    other = build_model("unet", shares=SHARES, binary=True, seed=2)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(first.head.weight, other.head.weight)


def test_the_prior_is_the_share_of_the_classes():
    binary = build_model("unet", shares=SHARES, binary=True, seed=0)
    assert torch.sigmoid(binary.head.bias).tolist() == pytest.approx([0.02])
    shares = np.array([0.7, 0.2, 0.1])
    many = build_model("unet", shares=shares, binary=False, seed=0)
    assert torch.softmax(many.head.bias, 0).tolist() == pytest.approx(shares.tolist())
    absent = build_model("unet", shares=np.array([1.0, 0.0]), binary=True, seed=0)
    assert torch.isfinite(absent.head.bias).all()


def test_a_model_of_ones_own():
    net = build_model("test_models:tiny", shares=np.array([0.7, 0.2, 0.1]), binary=False, seed=0)
    assert isinstance(net, nn.Conv2d)
    assert net.out_channels == 3


@pytest.mark.parametrize(
    ("model", "kind", "text"),
    [
        (
            "unett",
            ValueError,
            "model must be unet, unet-depthwise or module:factory; got 'unett'; did you mean unet?",
        ),
        (
            "no_such_module:net",
            ValueError,
            "model must be an importable module:factory; got 'no_such_module:net'",
        ),
        ("test_models:nothing", ValueError, "model test_models:nothing: module test_models has no nothing"),
        (
            "test_models:not_a_net",
            TypeError,
            "model test_models:not_a_net must be a factory of torch.nn.Module; got 'str'",
        ),
    ],
)
def test_models_that_are_none(model, kind, text):
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        build_model(model, shares=SHARES, binary=True, seed=0)
