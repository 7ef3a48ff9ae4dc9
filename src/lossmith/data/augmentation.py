"""Training batches: shuffled, cropped and augmented, a pure function of the samples, the seed and the step.

Every loss of a seed therefore sees the same bits, and a run resumed at step k goes on with the batch k it
would have seen. The random state of torch and NumPy is left as it was found.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
from kornia.augmentation import (
    AugmentationSequential,
    CenterCrop,
    RandomAffine,
    RandomBrightness,
    RandomContrast,
)
from kornia.constants import DataKey, Resample
from numpy.typing import NDArray
from torch import Tensor

from lossmith.data.base import Sample
from lossmith.errors import check_whole, must

MARGIN = 1 / 8  # of the crop, on each side: real surroundings for a rotation to bring in
ORDER, PLACE, CHANGE = range(3)  # the random streams of a seed: shuffling, cropping, augmenting


class Batches:
    """The batches of a training run; `batches[step]` is one of them, images and masks.

    Images are float32 `(B, 3, crop, crop)` in [0, 1], masks int64 `(B, crop, crop)`.

    An epoch visits every sample once, in an order drawn from the seed; epochs follow each other without a
    break, so a batch may hold the end of one and the start of the next. Each sample is cropped at a random
    place, put into one of the eight symmetries of the square, rotated by up to 30 degrees, scaled by 0.8 to
    1.2, made brighter or darker by up to 0.2 and of more or less contrast by a factor of 0.8 to 1.2. Images
    smaller than the crop, and what a rotation brings in from outside, are filled by reflection, image and mask
    alike: each pixel keeps a true label and no loss needs to ignore any.

    Args:
        samples: at least one; sizes may differ.
        seed: non-negative integer.
        steps: number of batches.
        batch: samples in a batch.
        crop: height and width of the batch.
        device: where the images are augmented and the batch lives. Random numbers are drawn on the
            CPU everywhere.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        seed: int,
        steps: int,
        batch: int = 8,
        crop: int = 256,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(samples) == 0:
            raise ValueError(must("samples", "at least one sample", 0))
        for name, value, least in (
            ("seed", seed, 0),
            ("steps", steps, 0),
            ("batch", batch, 1),
            ("crop", crop, 8),
        ):
            check_whole(name, value, least)
        self.samples = samples
        self.seed = seed
        self.steps = steps
        self.batch = batch
        self.crop = crop
        self.device = torch.device(device)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self[step] for step in range(self.steps))

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        if not 0 <= step < self.steps:
            raise IndexError(must("step", f"in [0, {self.steps})", step))
        images, masks = (part.to(self.device) for part in self._cut(step))
        state = np.random.SeedSequence([self.seed, CHANGE, step]).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(int(state[0]))
            images, masks = _augmentation(self.crop)(images, masks)
        return images.contiguous(), masks[:, 0].round().long()

    def order(self, step: int) -> list[int]:
        """The indices of the samples in the batch of this step."""
        places = range(step * self.batch, (step + 1) * self.batch)
        return [int(self._epoch(place // len(self.samples))[place % len(self.samples)]) for place in places]

    def _epoch(self, number: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, ORDER, number]).permutation(len(self.samples))

    def _cut(self, step: int) -> tuple[Tensor, Tensor]:
        """Cut a window, the crop and its margin, out of each sample of a step, and mirror or turn it."""
        rng = np.random.default_rng([self.seed, PLACE, step])
        margin = int(self.crop * MARGIN)
        side = self.crop + 2 * margin
        images = np.empty((self.batch, 3, side, side), dtype=np.float32)
        masks = np.empty((self.batch, 1, side, side), dtype=np.float32)
        for place, index in enumerate(self.order(step)):
            sample = self.samples[index]
            rows, columns = (
                _reflected(_start(rng, length, self.crop) - margin, side, length)[:: rng.choice([-1, 1])]
                for length in sample.mask.shape
            )
            image, mask = sample.image[:, rows][:, :, columns], sample.mask[rows][:, columns]
            transposed = rng.random() < 0.5  # with the two reversals: all eight symmetries of the square
            images[place] = image.swapaxes(1, 2) if transposed else image
            masks[place, 0] = mask.T if transposed else mask
        return torch.from_numpy(images), torch.from_numpy(masks)


def _start(rng: np.random.Generator, length: int, crop: int) -> int:
    """Where a crop starts: inside an image that is larger, around one that is smaller."""
    return int(rng.integers(min(0, length - crop), max(0, length - crop) + 1))


def _reflected(start: int, count: int, length: int) -> NDArray[np.int64]:
    """The indices start, start + 1, ... of an axis that is continued by its mirror images on both sides."""
    index = np.arange(start, start + count) % (2 * length)
    return np.minimum(index, 2 * length - 1 - index)


@cache
def _augmentation(crop: int) -> AugmentationSequential:
    return AugmentationSequential(
        RandomAffine(degrees=30.0, scale=(0.8, 1.2), padding_mode="reflection", align_corners=True, p=1.0),
        CenterCrop(crop, align_corners=True),
        RandomBrightness((0.8, 1.2), p=1.0),
        RandomContrast((0.8, 1.2), p=1.0),
        data_keys=["input", "mask"],
        extra_args={DataKey.MASK: {"resample": Resample.NEAREST, "align_corners": True}},
    )
