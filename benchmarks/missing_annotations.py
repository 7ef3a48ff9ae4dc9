"""The tables of docs/missing-annotations.md: what missing annotations do to a network, and what helps.

    python benchmarks/missing_annotations.py [--missing 0.4 ...] [--seeds 3] [--steps 2000] [--jobs 1] [--out DIR]

`shapes` has an ellipse, a rectangle and a circle in every image; a share of them is not annotated in the training
masks. Test masks are complete. A finished run is kept in DIR; the same command goes on with what is missing.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from comparison import cell, run
from torch import Tensor, nn

from lossmith.data import Data, Samples
from lossmith.data.shapes import shapes
from lossmith.lab.statistics import Bootstrap, p_value
from lossmith.torch import MarginalLoss

OURS = "missing_annotations:Marginal"
LOSSES = ("ce", "missing", OURS)
IMAGES = 128


class Marginal(nn.Module):
    """`marginal(loss=ce)`; the annotated classes of an image are those that its mask shows."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = MarginalLoss("multiclass", loss="ce")

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        classes = torch.arange(logits.shape[1]).view(1, -1, 1)
        annotated = (target.flatten(1).unsqueeze(1) == classes).any(2)
        value: Tensor = self.loss(logits, target, annotated=annotated)
        return value


def complete_only(data: Data) -> Data:
    """Without the training images in which something is not annotated."""
    kept = [i for i, sample in enumerate(data.train) if np.array_equal(sample.mask, sample.truth)]
    train = Samples([data.train.names[i] for i in kept], [data.train._readers[i] for i in kept])
    return replace(data, train=train, fingerprint=f"{data.fingerprint}-complete")


def table(rate: float, args: argparse.Namespace) -> str:
    full = shapes(images=IMAGES, test=0.5)
    partial = shapes(images=IMAGES, test=0.5, missing=rate)
    kept = complete_only(partial)
    given = run(partial, LOSSES, args, f"missing-{rate}")
    rows = {
        "`ce`, everything annotated": (run(full, ("ce",), args, "complete"), 0),
        "`ce`": (given, 0),
        "`missing`": (given, 1),
        "`marginal(loss=ce)`": (given, 2),
        f"`ce` on the {len(kept.train)} complete images": (run(kept, ("ce",), args, f"kept-{rate}"), 0),
    }
    bootstrap = Bootstrap(args.seeds, len(full.test))
    lines = [
        f"**{rate:.0%} of the {3 * len(full.train)} training objects not annotated, {args.steps} steps**",
        "",
        "| trained with | F1 at 0.5 | F1, threshold cross-fitted | above `ce` (p) |",
        "|---|---|---|---|",
    ]
    fitted = {name: scores.mean_over_classes("f1_cross_fitted")[i] for name, (scores, i) in rows.items()}
    for name, (scores, i) in rows.items():
        at_half = bootstrap.mean(scores.mean_over_classes("f1_at_0.5")[i], within=(0.0, 1.0))
        gain = fitted[name] - fitted["`ce`"]
        above = "-" if name == "`ce`" else f"{cell(bootstrap.mean(gain))}, p {p_value(gain):.2g}"
        best = bootstrap.mean(fitted[name], within=(0.0, 1.0))
        lines.append(f"| {name} | {cell(at_half)} | {cell(best)} | {above} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--missing", type=float, nargs="+", default=[0.4])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/missing"))
    args = parser.parse_args()
    for rate in args.missing:
        print(table(rate, args), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
