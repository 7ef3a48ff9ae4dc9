"""The batches on which presets and the libraries that they stand for are compared, the same wherever they are made.

A kind says what is special: "ignore" pixels of label 255, "class_weight", that for all "classes" but the first, a class
that is "absent" from the batch and others from an image, or a batch that is "vacant": background alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

STORED = Path(__file__).with_name("preset_numbers.json")
IGNORED = 255
CHANNELS = {"binary": 1, "multiclass": 4, "multilabel": 3}
WITHOUT_FIRST = "class_weight+classes"
WEIGHTS = {"multiclass": [0.5, 1.0, 2.0, 1.5], "multilabel": [0.5, 1.0, 2.0]}


@dataclass(frozen=True)
class Batch:
    """Logits (3, C, 8, 9), and a target of class indices (3, 8, 9), for multilabel 0 and 1 of the logits' shape."""

    task: str
    kind: str
    logits: Tensor
    target: Tensor

    @property
    def options(self) -> dict[str, object]:
        """What our loss is given beside."""
        if self.kind == "ignore":
            return {"ignore_index": IGNORED}
        weights = {"class_weight": WEIGHTS[self.task]} if self.weighted else {}
        return weights | ({"classes": list(range(1, CHANNELS[self.task]))} if self.kind == WITHOUT_FIRST else {})

    @property
    def weighted(self) -> bool:
        """Whether classes have weights."""
        return self.kind in ("class_weight", WITHOUT_FIRST)


def batch(task: str, kind: str) -> Batch:
    random = np.random.default_rng([len(task), len(kind)])
    channels = CHANNELS[task]
    logits = 1.5 * random.standard_normal((3, channels, 8, 9))
    shape = logits.shape if task == "multilabel" else (3, 8, 9)
    target = random.integers(channels if task == "multiclass" else 2, size=shape)
    if kind != "plain":
        target[0] = 0
        if task == "multiclass":
            target[1][target[1] == 2] = 1
            target[target == 3] = 0
        elif task == "multilabel":
            target[:, 2] = 0
    if kind == "ignore":
        target[random.random(shape) < 0.3] = IGNORED
    if kind == "vacant":
        target[...] = 0
    return Batch(task, kind, torch.from_numpy(logits), torch.from_numpy(target))
