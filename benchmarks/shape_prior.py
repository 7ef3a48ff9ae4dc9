"""Whether a shape prior lowers the Hausdorff distance on noisy `shapes`: `python benchmarks/shape_prior.py`.

Small U-Nets are trained on few noisy images, with the same initial weights and batches for every loss of a seed. The
priors are fitted to masks alone, of other images. Printed: the mean over test images and classes of the 95 % Hausdorff
distance in pixels (the image's diagonal where a class was not found), that of Dice, and the difference to the loss
without a prior with its bootstrap interval over images.
"""

import argparse

import numpy as np
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt

from lossmith.data.shapes import shapes
from lossmith.lab.models import UNet
from lossmith.torch import AutoEncoderShapePrior, PCAShapePrior, parse

CLASSES = 4


def hausdorff95(found: np.ndarray, truth: np.ndarray) -> float:
    if not found.any():
        return float(np.hypot(*truth.shape))
    borders = [mask & ~binary_erosion(mask) for mask in (found, truth)]
    distances = [distance_transform_edt(~border) for border in borders]
    return float(max(np.percentile(distances[1][borders[0]], 95), np.percentile(distances[0][borders[1]], 95)))


def arrays(samples) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = [samples[i] for i in range(len(samples))]
    images, masks = np.stack([s.image for s in drawn]), np.stack([s.truth for s in drawn])
    return torch.from_numpy(images), torch.from_numpy(masks)


def trained(loss, images, masks, steps: int, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    net = UNet(CLASSES, width=8)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    net.train()
    for _ in range(steps):
        index = torch.randint(len(images), (8,))
        optimizer.zero_grad()
        loss(net(images[index]), masks[index]).backward()
        optimizer.step()
    return net.eval()


def scores(net, images, masks) -> np.ndarray:
    """(images, classes, 2): HD95 and Dice of each foreground class."""
    with torch.no_grad():
        found = net(images).argmax(1).numpy()
    out = []
    for one, truth in zip(found, masks.numpy(), strict=True):
        row = []
        for label in range(1, CLASSES):
            a, b = one == label, truth == label
            row.append((hausdorff95(a, b), 2 * (a & b).sum() / max(1, a.sum() + b.sum())) if b.any() else (np.nan,) * 2)
        out.append(row)
    return np.array(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--weight", type=float, default=0.1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    _, fitted = arrays(shapes(images=500, size=32, seed=1000).train)
    priors = {
        "pca": PCAShapePrior.fit(fitted, "multiclass", components=64),
        "autoencoder": AutoEncoderShapePrior.fit(fitted, "multiclass", components=64, epochs=30),
    }
    base = parse("ce + dice", "multiclass")
    losses = {"ce + dice": base, **{f"+ {name}": base + options.weight * prior for name, prior in priors.items()}}
    data = shapes(images=80, size=32, noise=options.noise, seed=0, test=0.7)
    (images, masks), (tested, truth) = arrays(data.train), arrays(data.test)
    found = {
        name: np.stack(
            [scores(trained(loss, images, masks, options.steps, seed), tested, truth) for seed in range(options.seeds)]
        )
        for name, loss in losses.items()
    }
    print(f"{len(images)} noisy training images (noise {options.noise}), {options.seeds} seeds, {options.steps} steps")
    print("| loss | HD95 | Dice | HD95 against ce + dice |\n|---|---|---|---|")
    rng = np.random.default_rng(0)
    for name, values in found.items():
        distance, dice = np.nanmean(values, axis=(0, 1, 2))
        by_image = np.nanmean(values[..., 0] - found["ce + dice"][..., 0], axis=(0, 2))
        means = by_image[rng.integers(len(by_image), size=(2000, len(by_image)))].mean(1)
        low, high = np.percentile(means, [2.5, 97.5])
        against = "" if name == "ce + dice" else f"{by_image.mean():+.2f} ({low:+.2f} to {high:+.2f})"
        print(f"| {name} | {distance:.2f} | {dice:.3f} | {against} |")


if __name__ == "__main__":
    main()
