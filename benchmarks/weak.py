"""The tables of docs/weak.md: what losses that look at the image add to scribbles, and what they cost.

    python benchmarks/weak.py [--cuts] [--seeds 3] [--steps 2000] [--jobs 1] [--out DIR]
    python benchmarks/weak.py --cost

`shapes` with a scribble in every object and in the background for a mask, 64 images to train on and 64 complete ones to
test on. A finished run is kept in DIR; the same command goes on with what is missing.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from comparison import cell, run
from torch import Tensor
from torch.nn import functional as F

from lossmith.data import load
from lossmith.lab.statistics import Bootstrap, p_value
from lossmith.torch import parse

CE = "ce(ignore_index=255)"
LOSSES = (
    CE,
    f"{CE} + 0.1*gated_crf(radius=3)",
    f"{CE} + 0.1*gated_crf(radius=3) + 0.03*ncut(radius=3, sigma_rgb=0.2)",
)
CUTS = (
    CE,
    f"{CE} + 0.03*ncut(radius=3, sigma_rgb=0.2)",
    f"{CE} + ncut(radius=3, sigma_rgb=0.2)",
    f"{CE} + ncut(radius=3)",
)
SHAPES = "shapes(images=128)"
SCRIBBLES = "shapes(images=128, weaken=scribbles)"


def table(args: argparse.Namespace) -> str:
    weak = load(SCRIBBLES, test=0.5)
    known = np.mean([np.mean(sample.mask != 255) for sample in weak.train])
    given = run(weak, CUTS if args.cuts else LOSSES, args, "cuts" if args.cuts else "scribbles")
    full = run(load(SHAPES, test=0.5), ("ce",), args, "complete")
    rows = [(f"scribbles: `{loss}`", given, i) for i, loss in enumerate(given.losses)]
    bootstrap = Bootstrap(args.seeds, len(weak.test))
    baseline = given.mean_over_classes("f1_cross_fitted")[0]
    lines = [
        f"{known:.1%} of the training pixels have a label.",
        "",
        "| trained with | F1 at 0.5 | F1, threshold cross-fitted | above cross-entropy alone (p) |",
        "|---|---|---|---|",
    ]
    for name, scores, i in [*rows, ("complete masks: `ce`", full, 0)]:
        fitted = scores.mean_over_classes("f1_cross_fitted")[i]
        at_half = bootstrap.mean(scores.mean_over_classes("f1_at_0.5")[i], within=(0.0, 1.0))
        gain = fitted - baseline
        above = f"{cell(bootstrap.mean(gain))}, p {p_value(gain):.2g}" if gain.any() else "-"
        lines.append(f"| {name} | {cell(at_half)} | {cell(bootstrap.mean(fitted, within=(0.0, 1.0)))} | {above} |")
    return "\n".join(lines)


def unfolded(logits: Tensor, image: Tensor, radius: int = 5) -> Tensor:
    """Gated CRF with an array for all neighbours of all pixels, as it is usually written."""
    p, d = logits.softmax(1), 2 * radius + 1
    n, _, height, width = p.shape

    def unfold(x: Tensor) -> Tensor:
        return F.unfold(x, d, 1, radius).view(n, x.shape[1], d * d, height, width)

    def kernel(features: Tensor) -> Tensor:
        apart = unfold(features) - features.unsqueeze(2)
        return (-0.5 * apart**2).sum(1, keepdim=True).exp()

    axes = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    xy = torch.stack(axes).expand(n, 2, height, width) / 6
    k = 0.9 * kernel(torch.cat([xy, image / 0.1], 1)) + 0.1 * kernel(xy)
    k[:, :, d * d // 2] = 0
    k = k * unfold(torch.ones(n, 1, height, width))
    return (k.sum() - ((k * unfold(p)).sum(2) * p).sum()) / (n * height * width)


def seconds(loss: Callable[[Tensor], Tensor], logits: Tensor) -> float:
    best = float("inf")
    for _ in range(3):
        logits.grad = None
        start = time.process_time()
        loss(logits).backward()
        best = min(best, time.process_time() - start)
    return best


def cost() -> str:
    """Forward and backward in one thread."""
    torch.set_num_threads(1)
    lines = [
        "| logits | `gated_crf` | `ncut` | gated CRF by unfolding |",
        "|---|---|---|---|",
    ]
    for shape in ((8, 4, 64, 64), (2, 4, 256, 256), (1, 4, 16, 64, 64)):
        logits, image = torch.randn(shape, requires_grad=True), torch.rand(shape[0], 3, *shape[2:])
        ours = [partial(parse(spec, "multiclass"), image=image) for spec in ("gated_crf", "ncut")]
        peers = [partial(unfolded, image=image)] if len(shape) == 4 else []
        times = [seconds(loss, logits) for loss in (*ours, *peers)]
        cells = [f"{t:.3f} s" for t in times] + ["-"] * (3 - len(times))
        lines.append(f"| {' x '.join(map(str, shape))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/weak"))
    parser.add_argument("--cuts", action="store_true", help="the normalised cut without gated CRF")
    parser.add_argument("--cost", action="store_true", help="times instead of training")
    args = parser.parse_args()
    print(cost() if args.cost else table(args), flush=True)


if __name__ == "__main__":
    main()
