"""`shapes`: an ellipse, a rectangle and a circle in every image, told apart by form and not by colour."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from lossmith.data.base import Data, Image, Labels, Sample, Samples, fingerprint, split, task_of
from lossmith.errors import check_whole, must

CLASSES = ("background", "ellipse", "rectangle", "circle")
VERSION = 1  # raise it with every change that moves a pixel: old results then no longer count as the same data
PLACEMENT_TRIES = 50


def shapes(
    *,
    images: int = 80,
    size: int = 64,
    missing: float = 0.0,
    noise: float = 0.1,
    seed: int = 0,
    test: float = 0.2,
) -> Data:
    """Draw one ellipse, one rectangle and one circle into each of `images` square images of `size` pixels.

    Args:
        images: number of images, at least 2.
        size: height and width in pixels, at least 32.
        missing: share of the training objects, in [0, 1), whose annotation is left out although the
            object stays in the image: exactly `round(missing * objects)` of them, chosen at random. Every
            `truth` is complete.
        noise: standard deviation of the pixel noise, in [0, 1].
        seed: decides the images, the split and the missing annotations.
        test: share of the images that are tested.

    Raises:
        ValueError: a parameter outside of its interval.
    """
    check_whole("images", images, 2)
    check_whole("size", size, 32)
    if not 0 <= missing < 1:
        raise ValueError(must("missing", "in [0, 1)", missing))
    if not 0 <= noise <= 1:
        raise ValueError(must("noise", "in [0, 1]", noise))
    train, tested = split(images, seed=seed, test=test)
    objects = [(index, label) for index in train for label in range(1, len(CLASSES))]
    chosen = np.random.default_rng([seed, images]).permutation(len(objects))[: round(missing * len(objects))]
    hidden: dict[int, tuple[int, ...]] = {}
    for index, label in (objects[position] for position in chosen):
        hidden[index] = (*hidden.get(index, ()), label)

    def part(indices: list[int]) -> Samples:
        readers = [partial(_draw, seed, index, size, noise, hidden.get(index, ())) for index in indices]
        return Samples([_name(index) for index in indices], readers)

    identity = fingerprint("shapes", VERSION, images, size, float(missing), float(noise), seed, float(test))
    return Data("shapes", task_of(CLASSES), CLASSES, part(train), part(tested), identity)


def _name(index: int) -> str:
    return f"shapes-{index:04d}"


def _draw(seed: int, index: int, size: int, noise: float, hidden: tuple[int, ...]) -> Sample:
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    truth: Labels = np.zeros((size, size), dtype=np.int64)
    image = _background(rng, size)
    rows, columns = np.mgrid[:size, :size] + 0.5
    for label, (x, y, radius) in zip((1, 2, 3), _places(rng, size), strict=True):
        distance = _signed_distance(rng, label, columns - x, rows - y, radius)
        colour = _away_from(rng, image.mean(axis=(1, 2)))
        cover = np.clip(0.5 - distance, 0, 1)
        image += cover * (colour[:, None, None] - image)
        truth[distance <= 0] = label
    image += rng.normal(0, noise, image.shape)
    mask = truth if not hidden else np.where(np.isin(truth, hidden), 0, truth)
    pixels: Image = np.clip(image, 0, 1).astype(np.float32)
    return Sample(_name(index), pixels, mask, truth)


def _background(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """A colour gradient with waves of three lengths, `(3, size, size)`."""
    rows, columns = np.mgrid[:size, :size] / size
    texture = np.zeros((size, size))
    for waves in (1, 4, 11):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        texture += np.sin(2 * np.pi * waves * (np.cos(angle) * columns + np.sin(angle) * rows) + phase)
    return np.asarray(rng.uniform(0.2, 0.8, (3, 1, 1)) + 0.05 * texture)


def _places(rng: np.random.Generator, size: int) -> list[tuple[float, float, float]]:
    """Three circles (x, y, radius) inside the image that do not touch, unless no place is found for one."""
    places: list[tuple[float, float, float]] = []
    for _ in range(3):
        for _ in range(PLACEMENT_TRIES):
            radius = rng.uniform(0.1, 0.19) * size
            x, y = rng.uniform(radius + 1, size - radius - 1, 2)
            if all(np.hypot(x - u, y - v) > radius + r + 1 for u, v, r in places):
                break
        places.append((x, y, radius))
    return places


def _signed_distance(
    rng: np.random.Generator, label: int, x: NDArray[np.float64], y: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """Distance to the outline, negative inside, of a figure in the circle of this radius round 0."""
    angle, slimness = rng.uniform(0, np.pi), rng.uniform(0.4, 0.65)
    if label == CLASSES.index("circle"):
        return np.asarray(np.hypot(x, y) - 0.8 * radius)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if label == CLASSES.index("ellipse"):
        return np.asarray((np.hypot(u / radius, v / (slimness * radius)) - 1) * slimness * radius)
    corner = np.arctan(slimness)
    return np.asarray(np.maximum(np.abs(u) - radius * np.cos(corner), np.abs(v) - radius * np.sin(corner)))


def _away_from(rng: np.random.Generator, colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """A random colour that differs from the given one by at least 0.25 in some channel."""
    while True:
        candidate = rng.uniform(0, 1, 3)
        if np.abs(candidate - colour).max() >= 0.25:
            return candidate
