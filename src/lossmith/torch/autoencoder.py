"""A small convolutional autoencoder of masks."""

import torch
from torch import Tensor, nn


def encoder_of(like: Tensor, components: int, width: int) -> nn.Module:
    """Three convolutions that halve every axis, and a linear map to the code."""
    convolution: type[nn.Module] = nn.Conv2d if like.ndim == 3 else nn.Conv3d
    layers: list[nn.Module] = []
    channels = like.shape[0]
    for wide in (width, 2 * width, 4 * width):
        layers += [convolution(channels, wide, 3, stride=2, padding=1), nn.ReLU()]
        channels = wide
    size = channels * _small(like).numel()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, components))


def decoder_of(like: Tensor, components: int, width: int) -> nn.Module:
    """The way back: a linear map, and three convolutions that each double the axes."""
    convolution: type[nn.Module] = nn.Conv2d if like.ndim == 3 else nn.Conv3d
    small = tuple(_small(like).shape)
    size = 4 * width * _small(like).numel()
    layers: list[nn.Module] = [nn.Linear(components, size), nn.Unflatten(1, (4 * width, *small))]
    for channels, wide in ((4 * width, 2 * width), (2 * width, width)):
        layers += [nn.Upsample(scale_factor=2), convolution(channels, wide, 3, padding=1), nn.ReLU()]
    layers += [nn.Upsample(size=tuple(like.shape[1:])), convolution(width, like.shape[0], 3, padding=1)]
    return nn.Sequential(*layers)


def _small(like: Tensor) -> Tensor:
    """Of the size of space after three halvings."""
    return torch.empty([-(-side // 8) for side in like.shape[1:]], device="meta")


def train(model: nn.Module, maps: Tensor, task: str, *, epochs: int, batch: int, lr: float) -> None:
    """Teach the model to give the maps back."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(epochs):
        for index in torch.randperm(len(maps)).split(batch):  # type: ignore[no-untyped-call]
            truth = maps[index]
            if task == "multiclass":
                loss = nn.functional.cross_entropy(model(truth), truth)
            else:
                loss = nn.functional.binary_cross_entropy_with_logits(model(truth), truth)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
