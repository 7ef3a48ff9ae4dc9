"""The tables of docs/numbers.md: one input, and what every library calls its Dice, focal and Tversky loss."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from libraries import LIBRARIES

from lossmith.torch import DiceLoss, FocalLoss, TverskyLoss
from preset_batches import Batch

LOSSES = {"dice": DiceLoss, "focal": FocalLoss, "tversky": TverskyLoss}
SHOWN = {
    "dice": ("smp", "kornia", "keras", "vnet", "monai", "nnunet"),
    "focal": ("kornia", "monai", "smp", "keras"),
    "tversky": ("smp", "kornia", "keras", "monai"),
}


def discs() -> Batch:
    """Two images of 32 x 32, each with a disc; the prediction is two pixels off, and a third class is not there."""
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    radius = torch.tensor([10.0, 4.0]).view(2, 1, 1)
    disc = radius - torch.hypot(row - 16, column - 18)
    logits = torch.stack([torch.zeros_like(disc), disc / 3, torch.full_like(disc, -1.0)], dim=1)
    target = (torch.hypot(row - 16, column - 16) < radius).long()
    return Batch("multiclass", "plain", logits.double(), target)


def table(name: str) -> list[str]:
    """Each library's number, and the options of ours that give it."""
    b = discs()
    rows = [f"| library | its {name} loss | options of `{LOSSES[name].__name__}` |", "|---|---|---|"]
    for library in SHOWN[name]:
        ours = LOSSES[name].like(library, b.task, ignore_index=None)
        theirs = float(LIBRARIES[library](name, b))
        assert abs(theirs - ours(b.logits, b.target).item()) < 1e-6
        rows.append(f"| {library} | {theirs:.4f} | `{ours.spec}` |")
    default = LOSSES[name](b.task)
    return [*rows, f"| lossmith | {default(b.logits, b.target).item():.4f} | `{default.spec}` |"]


if __name__ == "__main__":
    print("\n\n".join("\n".join(table(name)) for name in SHOWN))
