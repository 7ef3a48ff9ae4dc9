"""Do boundary losses train? On the built-in shapes: alone, with their schedules, and beside a region loss.

    python benchmarks/boundary_training.py > table.md

Foreground is any of the three shapes. Every loss of a seed starts with the same weights and sees the same batches.
Scores are means over the test images at p = 1/2; HD95 is the 95th percentile of the distances between the two outlines
in pixels, the image's diagonal where nothing is found.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from statistics import mean, stdev

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from lossmith.data import Data, load
from lossmith.data.augmentation import Batches
from lossmith.lab.models import build_model
from lossmith.torch import Balanced, BoundaryLoss, CrossEntropyLoss, DiceLoss, HausdorffDTLoss, Linear, Scheduled

TASK = "binary"  # any of the three shapes


def handed_over(epochs: int, loss: nn.Module) -> nn.Module:
    """From Dice to `loss`: a dice + (1 - a) loss, a falling from 1 to .01, as Kervadec 2019 does in 99 epochs."""
    falling, rising = Linear(1.0, 0.01, epochs), Linear(0.0, 0.99, epochs)
    return Scheduled(DiceLoss(TASK), falling) + Scheduled(loss, rising)


LOSSES: dict[str, Callable[[int], nn.Module]] = {
    "ce": lambda _: CrossEntropyLoss(TASK),
    "dice": lambda _: DiceLoss(TASK),
    "boundary": lambda _: BoundaryLoss(TASK),
    "a dice + (1 - a) boundary": lambda epochs: handed_over(epochs, BoundaryLoss(TASK)),
    "a dice + (1 - a) boundary(bounded=True)": lambda epochs: handed_over(epochs, BoundaryLoss(TASK, bounded=True)),
    "dice + boundary(bounded=True)": lambda _: DiceLoss(TASK) + BoundaryLoss(TASK, bounded=True),
    "hausdorff": lambda _: HausdorffDTLoss(TASK),
    "hausdorff(alpha=1)": lambda _: HausdorffDTLoss(TASK, alpha=1.0),
    "hausdorff + lambda dice": lambda _: Balanced(HausdorffDTLoss(TASK), DiceLoss(TASK)),
    "dice + 0.1 hausdorff(log=True)": lambda _: DiceLoss(TASK) + 0.1 * HausdorffDTLoss(TASK, log=True),
}


def train(
    loss: nn.Module, net: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epoch: int, lr: float
) -> nn.Module:
    adam = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=lr, total_steps=len(batches), pct_start=0.1)
    for number, (images, masks) in enumerate(batches, start=1):
        adam.zero_grad()
        loss(net(images), (masks > 0).long()).backward()
        adam.step()
        schedule.step()
        if number % epoch == 0 and hasattr(loss, "step"):
            loss.step()
    return net.eval()


def outline(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def hd95(one: np.ndarray, other: np.ndarray) -> float:
    """The 95th percentile of the distances from each outline to the other."""
    if not one.any() or not other.any():
        return 0.0 if one.any() == other.any() else math.hypot(*one.shape)
    outlines = outline(one), outline(other)
    maps = [ndimage.distance_transform_edt(~x) for x in outlines]
    return float(np.percentile(np.concatenate([maps[1][outlines[0]], maps[0][outlines[1]]]), 95))


@torch.no_grad()
def scores(net: nn.Module, data: Data) -> tuple[float, float]:
    """Mean F1 and HD95."""
    f1, distance = [], []
    for sample in data.test:
        found, truth = (net(torch.from_numpy(sample.image)[None])[0, 0] > 0).numpy(), sample.truth > 0
        f1.append(2 * (found & truth).sum() / max(1, found.sum() + truth.sum()))
        distance.append(hd95(found, truth))
    return float(np.mean(f1)), float(np.mean(distance))


def spread(values: Sequence[float], digits: int) -> str:
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}" if len(values) > 1 else f"{values[0]:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="shapes(images=80, size=32)")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--loss", action="append", choices=list(LOSSES), help="these only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load(options.data)
    share = float(np.mean([sample.mask > 0 for sample in data.train]))
    epoch, size = len(data.train) // options.batch, data.train[0].image.shape[-1]
    names = options.loss or list(LOSSES)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for seed in range(options.seeds):
        batches = list(Batches(data.train, seed=seed, steps=options.steps, batch=options.batch, crop=size))
        for name in names:
            net = build_model("unet", shares=np.array([1 - share, share]), binary=True, seed=seed)
            loss = LOSSES[name](options.steps // epoch)
            found[name].append(scores(train(loss, net, batches, epoch, options.lr), data))
    print(
        f"{options.data}, {options.steps} steps of {options.batch}, {options.seeds} seeds (mean ± standard deviation)\n"
    )
    print("| loss | F1 | HD95 in pixels |\n|---|---|---|")
    for name, values in found.items():
        f1, distance = zip(*values, strict=True)
        print(f"| {name} | {spread(f1, 3)} | {spread(distance, 1)} |")


if __name__ == "__main__":
    main()
