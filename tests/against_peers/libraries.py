"""Other libraries' losses at their defaults, each with the activation that the task needs.

Written as each library's documentation has it: the target in the library's form, and its own way of being told of
classes to weigh and pixels to ignore. nnU-Net is a program rather than a library, so its class is a formula here, and so
is the paper's V-Net. Run as a program, it writes what the libraries say to `preset_numbers.json`.
"""

import json
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from preset_batches import CHANNELS, IGNORED, STORED, WEIGHTS, WITHOUT_FIRST, Batch, batch

ALL = ("plain", "absent", "vacant")
Value = Callable[..., Tensor]


def one_hot(b: Batch) -> Tensor:
    """The target as 0 and 1 of the logits' shape; nothing where a pixel is ignored."""
    if b.task != "multiclass":
        return torch.where(b.target == IGNORED, 0, b.target).reshape(b.logits.shape).double()
    classes = b.logits.shape[1]
    known = torch.where(b.target == IGNORED, classes, b.target)
    return F.one_hot(known, classes + 1)[..., :-1].movedim(-1, 1).double()


def probs(b: Batch) -> Tensor:
    return b.logits.softmax(1) if b.task == "multiclass" else b.logits.sigmoid()


def weights(b: Batch) -> Tensor | None:
    return torch.tensor(WEIGHTS[b.task], dtype=torch.float64) if b.weighted else None


def monai(name: str, b: Batch, **options: Any) -> Tensor:
    from monai import losses

    cls = {"dice": losses.DiceLoss, "tversky": losses.TverskyLoss, "focal": losses.FocalLoss}[name]
    if name != "focal":
        options |= {"softmax": True} if b.task == "multiclass" else {"sigmoid": True}
    if b.weighted:
        options["weight"] = weights(b)
    if b.kind == WITHOUT_FIRST:
        options |= {"include_background": False, "weight": options["weight"][1:]}
    if b.kind == "ignore":
        options["ignore_index"] = IGNORED
    target = b.target if b.task == "multilabel" else b.target.unsqueeze(1)
    return cls(to_onehot_y=b.task == "multiclass", **options)(b.logits, target)


def smp(name: str, b: Batch, **options: Any) -> Tensor:
    from segmentation_models_pytorch import losses

    cls = {"dice": losses.DiceLoss, "tversky": losses.TverskyLoss, "focal": losses.FocalLoss}[name]
    if b.weighted:
        options["class_weights"] = WEIGHTS[b.task]
    if b.kind == WITHOUT_FIRST:
        options["classes"] = b.options["classes"]
    if b.kind == "ignore":
        options["ignore_index"] = IGNORED
    loss = cls(b.task, **options)
    return loss(b.logits, b.target)


def kornia(name: str, b: Batch, **options: Any) -> Tensor:
    from kornia import losses

    if b.kind == "ignore":
        options["ignore_index"] = IGNORED
    if b.weighted:
        options["weight"] = weights(b)
    if name == "dice":
        return losses.DiceLoss(**options)(b.logits, b.target)
    if name == "tversky":
        return losses.TverskyLoss(**{"alpha": 0.5, "beta": 0.5, **options})(b.logits, b.target)
    if b.task == "multiclass":
        return losses.FocalLoss(alpha=None, reduction="mean", **options)(b.logits, b.target)
    target = b.target.reshape(b.logits.shape)
    return losses.BinaryFocalLossWithLogits(alpha=None, reduction="mean", **options)(b.logits, target)


def keras(name: str, b: Batch, **options: Any) -> Tensor:
    from keras import losses

    if name == "focal":
        if b.task == "multiclass":
            return losses.CategoricalFocalCrossentropy()(one_hot(b).movedim(1, -1), probs(b).movedim(1, -1))
        return losses.BinaryFocalCrossentropy()(one_hot(b).movedim(1, -1), probs(b).movedim(1, -1))
    if options:  # what weighs false positives here weighs false negatives there
        options = {"alpha": options["beta"], "beta": options["alpha"]}
    return {"dice": losses.Dice, "tversky": losses.Tversky}[name](**options)(one_hot(b), probs(b))


def nnunet(name: str, b: Batch) -> Tensor:
    """1 + MemoryEfficientSoftDiceLoss(apply_nonlin), nnunetv2/training/loss/dice.py."""
    mask = (b.target != IGNORED).unsqueeze(1) if b.kind == "ignore" else torch.ones(1)
    p, y = probs(b) * mask, one_hot(b)
    both, size = (p * y).sum((2, 3)), (y * mask).sum((2, 3)) + p.sum((2, 3))
    return 1 - ((2 * both + 1) / (size + 1).clip(1e-8)).mean()


def vnet(name: str, b: Batch) -> Tensor:
    """Milletari 2016, sec. 3, for each image and class."""
    p, y = probs(b), one_hot(b)
    both, size = (p * y).sum((2, 3)), (p**2 + y**2).sum((2, 3))
    return (1 - 2 * both / size).mean()


LIBRARIES: dict[str, Value] = {
    "monai": monai, "smp": smp, "kornia": kornia, "keras": keras, "nnunet": nnunet, "vnet": vnet,
}  # fmt: skip
# By loss and library: the kinds of batches that the library takes, by task.
OFFERED: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("dice", "monai"): {
        "binary": (*ALL, "ignore"),
        "multiclass": (*ALL, "ignore", "class_weight", WITHOUT_FIRST),
        "multilabel": (*ALL, "class_weight", WITHOUT_FIRST),
    },
    ("dice", "smp"): {
        "binary": (*ALL, "ignore"),
        "multiclass": (*ALL, "ignore", "class_weight", WITHOUT_FIRST),
        "multilabel": (*ALL, "ignore", "class_weight", WITHOUT_FIRST),
    },
    ("dice", "kornia"): {"multiclass": (*ALL, "ignore", "class_weight")},
    ("dice", "keras"): dict.fromkeys(CHANNELS, ALL),
    ("dice", "nnunet"): {"binary": (*ALL, "ignore"), "multiclass": (*ALL, "ignore"), "multilabel": ALL},
    ("dice", "vnet"): dict.fromkeys(CHANNELS, ALL),
    ("tversky", "monai"): {"binary": (*ALL, "ignore"), "multiclass": (*ALL, "ignore"), "multilabel": ALL},
    ("tversky", "smp"): {
        "binary": (*ALL, "ignore"),
        "multiclass": (*ALL, "ignore", "class_weight", WITHOUT_FIRST),
        "multilabel": (*ALL, "ignore", "class_weight", WITHOUT_FIRST),
    },
    ("tversky", "kornia"): {"multiclass": (*ALL, "ignore")},
    ("tversky", "keras"): dict.fromkeys(CHANNELS, ALL),
    ("focal", "monai"): {
        "binary": (*ALL, "ignore"),
        "multiclass": (*ALL, "ignore", "class_weight"),
        "multilabel": (*ALL, "class_weight"),
    },
    ("focal", "smp"): {
        "binary": (*ALL, "ignore"),
        "multiclass": (*ALL, "ignore", "class_weight"),
        "multilabel": (*ALL, "class_weight"),
    },
    ("focal", "kornia"): {
        "binary": ALL,
        "multiclass": (*ALL, "class_weight"),
        "multilabel": (*ALL, "class_weight"),
    },
    ("focal", "keras"): dict.fromkeys(CHANNELS, ALL),
}
CASES = [
    (name, library, task, kind)
    for (name, library), by_task in OFFERED.items()
    for task, kinds in by_task.items()
    for kind in kinds
]
UNEQUAL = {"alpha": 0.3, "beta": 0.7}  # of Tversky losses, where the library calls them as we do
SUM = {"reduction": "sum"}
# What else each is called with, by what a stored number's name says of it.
MORE: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    **{("tversky", library): {"unequal": UNEQUAL} for library in ("monai", "smp", "kornia", "keras")},
    ("dice", "monai"): {"sum": SUM},
}


def numbers() -> dict[str, float]:
    """Every library's number on every batch that it takes."""
    found: dict[str, float] = {}
    for name, library, task, kind in CASES:
        value = partial(LIBRARIES[library], name, batch(task, kind))
        found[f"{name} {library} {task} {kind}"] = float(value())
        for word, options in MORE.get((name, library), {}).items():
            found[f"{name} {library} {task} {kind} {word}"] = float(value(**options))
    return found


def write() -> None:
    rounded = {key: float(f"{value:.9g}") for key, value in numbers().items()}
    STORED.write_text(json.dumps(rounded, indent=0) + "\n")


if __name__ == "__main__":
    write()
