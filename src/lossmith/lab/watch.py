"""What TensorBoard shows during a run: loss, learning rate, and the predictions of a few test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from lossmith.lab.pictures import heat_map, paint
from lossmith.lab.score import to_levels

if TYPE_CHECKING:
    from lossmith.data import Sample

IMAGES = 3
TIMES = 5


class Watch:
    """Writes scalars at every step and pictures five times a run. Nothing is chosen by them."""

    def __init__(self, folder: Path, samples: Sequence[Sample], steps: int) -> None:
        self.writer = SummaryWriter(str(folder))
        self.samples = [samples[i] for i in range(min(IMAGES, len(samples)))]
        self.every = max(1, steps // TIMES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()

    def step(self, step: int, loss: float, lr: float, predict: Callable[[Sample], NDArray[np.float32]]) -> None:
        """Record the step just done; `predict` gives the logits (C, H, W) of a sample."""
        self.writer.add_scalar("loss", loss, step)
        self.writer.add_scalar("learning rate", lr, step)
        if (step + 1) % self.every:
            return
        for number, sample in enumerate(self.samples):
            logits = predict(sample)
            if np.isfinite(logits).all():
                image = sample.image.transpose(1, 2, 0).astype(np.float64)
                row = np.hstack([image, paint(sample.truth, len(logits)), heat_map(to_levels(logits))])
                self.writer.add_image(f"image {number}: image, truth, prediction", row, step, dataformats="HWC")
