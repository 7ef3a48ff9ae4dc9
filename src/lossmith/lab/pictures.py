"""Arrays into pictures: truth in class colours, probabilities as heat maps, and where a prediction errs."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

from lossmith.lab.score import Floats, Levels, to_probabilities

# Okabe and Ito (2008): told apart by colour-blind readers
CLASS_COLOURS = np.array(
    [
        [0, 0, 0],
        [255, 255, 255],
        [230, 159, 0],
        [86, 180, 233],
        [240, 228, 66],
        [0, 158, 115],
        [204, 121, 167],
    ]
)
RIGHT, EXTRA, MISSED, CONFUSED = (0, 158, 115), (213, 94, 0), (86, 180, 233), (240, 228, 66)
MAX_WIDTH = 320


def class_colours(classes: int) -> Floats:
    """(classes, 3) in [0, 1]: background black, one class white, several in colours."""
    if classes <= 2:
        return CLASS_COLOURS[:2] / 255
    colours = np.concatenate([CLASS_COLOURS[:1], np.resize(CLASS_COLOURS[2:], (classes - 1, 3))])
    return colours / 255


def paint(mask: NDArray[np.int64], classes: int) -> Floats:
    """Class indices (H, W) -> colours (H, W, 3)."""
    return np.asarray(class_colours(classes)[mask])


def heat_map(levels: Levels) -> Floats:
    """Levels (F, H, W) -> (H, W, 3): the inferno map for one class, mixed class colours for several."""
    from matplotlib import colormaps

    probability = to_probabilities(levels)
    if len(probability) == 1:
        return np.asarray(colormaps["inferno"](probability[0])[..., :3])
    return np.clip(np.tensordot(probability, class_colours(len(levels) + 1)[1:], axes=(0, 0)), 0, 1)


def error_map(image: NDArray[np.float32], truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> Floats:
    """Right, extra, missed and confused pixels in colour over the faded image (3, H, W) -> (H, W, 3)."""
    gray = np.repeat(image.mean(axis=0)[..., None] * 0.5, 3, axis=-1).astype(np.float64)
    for colour, where in (
        (RIGHT, (truth == predicted) & (truth > 0)),
        (EXTRA, (truth == 0) & (predicted > 0)),
        (MISSED, (truth > 0) & (predicted == 0)),
        (CONFUSED, (truth != predicted) & (truth > 0) & (predicted > 0)),
    ):
        gray[where] = np.asarray(colour) / 255
    return gray


def decide(levels: Levels, thresholds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class indices (H, W): of the classes at or above their threshold (a level), the one furthest above."""
    margin = levels.astype(np.int64) - thresholds[:, None, None]
    return np.where(margin.max(axis=0) >= 0, margin.argmax(axis=0) + 1, 0)


def data_uri(picture: Floats) -> str:
    """A JPEG of (H, W, 3) in [0, 1], at most 320 pixels wide, as a data URI."""
    from PIL import Image

    image = Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8))
    if image.width > MAX_WIDTH:
        image = image.resize((MAX_WIDTH, max(1, round(image.height * MAX_WIDTH / image.width))))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
