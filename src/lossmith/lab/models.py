"""The networks: a small U-Net, plain or depthwise-separable, or the user's own `module:factory`."""

from __future__ import annotations

import importlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lossmith.errors import must, suggest
from lossmith.lab.plan import see_working_directory

WIDTHS = {"unet": 8, "unet-depthwise": 24}
STRIDE = 32  # full images are padded to a multiple of it: enough for five halvings of a user's own model


def build_model(model: str, *, shares: NDArray[np.float64], binary: bool, seed: int) -> nn.Module:
    """The network with the weights of `seed`; global random state is left as found.

    Args:
        model: "unet", "unet-depthwise" or "module:factory", which is called as
            ``factory(in_channels=3, out_channels=C)``.
        shares: (classes,) share of each class in the training masks. Our networks start with it as their
            prediction (Lin et al. 2017, section 3.3), the same for every loss; a factory's is left as it
            comes.
        binary: one output channel, the logit of the second class; otherwise one per class.
        seed: of the weights.
    """
    channels = 1 if binary else len(shares)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if ":" in model:
            return _user_model(model, channels)
        if model not in WIDTHS:
            raise ValueError(must("model", "unet, unet-depthwise or module:factory", model) + suggest(model, WIDTHS))
        net = UNet(channels, width=WIDTHS[model], depthwise=model == "unet-depthwise")
    log_shares = np.log(np.clip(shares, 1e-6, None))
    prior = torch.as_tensor(log_shares[1:] - log_shares[0] if binary else log_shares)
    net.head.bias = nn.Parameter(prior.to(net.head.weight.dtype))
    return net


def _user_model(name: str, channels: int) -> nn.Module:
    module, _, attribute = name.partition(":")
    see_working_directory()
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise ValueError(must("model", "an importable module:factory", name)) from error
    except AttributeError as error:
        raise ValueError(f"model {name}: module {module} has no {attribute}") from error
    net = factory(in_channels=3, out_channels=channels)
    if not isinstance(net, nn.Module):
        raise TypeError(must(f"model {name}", "a factory of torch.nn.Module", type(net).__name__))
    return net


class UNet(nn.Module):
    """U-Net of four levels (Ronneberger et al. 2015) with BatchNorm and bilinear upsampling.

    Width 8 with plain 3x3 convolutions has 122 k parameters, width 24 with depthwise-separable ones 135 k.
    Takes (N, 3, H, W) with H and W multiples of 8, gives (N, channels, H, W).
    """

    def __init__(self, channels: int, *, width: int = 8, depthwise: bool = False) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(4)]
        ins = [3, *widths[:-1]]
        self.down = nn.ModuleList(_double(a, b, depthwise) for a, b in zip(ins, widths, strict=True))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_double(deep + skip, skip, depthwise) for deep, skip in pairs)
        self.head = nn.Conv2d(width, channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of `images`."""
        x, skips = images, []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


def _double(ins: int, outs: int, depthwise: bool) -> nn.Sequential:
    return nn.Sequential(*_convolution(ins, outs, depthwise), *_convolution(outs, outs, depthwise))


def _convolution(ins: int, outs: int, depthwise: bool) -> list[nn.Module]:
    if depthwise:
        spatial = nn.Conv2d(ins, ins, 3, padding=1, groups=ins, bias=False)
        kernels = [spatial, nn.Conv2d(ins, outs, 1, bias=False)]
    else:
        kernels = [nn.Conv2d(ins, outs, 3, padding=1, bias=False)]
    return [*kernels, nn.BatchNorm2d(outs), nn.ReLU(inplace=True)]


def parameter_count(net: nn.Module) -> int:
    """Number of trained numbers in `net`."""
    return sum(parameter.numel() for parameter in net.parameters())
