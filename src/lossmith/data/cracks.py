"""`cracks`: thin dark cracks on asphalt, drawn by chance, with the class balance of real road images.

The yardstick is CrackForest: crack pixels 1.6 % of an image on average (0.3 to 6 %), width 3 px in the
median, faint and broken places, stains, paint and joints that are not cracks. As in hand-made annotations the
mask follows the course of a crack, not every grain of its edge.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from lossmith.data.base import Data, Image, Labels, Sample, Samples, fingerprint, split, task_of
from lossmith.errors import check_whole

CLASSES = ("background", "crack")
VERSION = 1  # raise it with every change that moves a pixel: old results then no longer count as the same data
STEP = 0.25  # px between the points of a crack
SHARES = (0.003, 0.06)  # crack pixels of an image, least and most
REACH = 8.0  # px beyond which a crack is not felt

Field = NDArray[np.float64]
Cracks = tuple[Field, Field, Field]  # by point: course (n, 2) as x and y, width (n,) in px, share of light lost (n,)


def cracks(*, images: int = 64, size: int = 192, seed: int = 0, test: float = 0.2) -> Data:
    """Draw cracked asphalt: `images` square images of `size` pixels.

    Args:
        images: number of images, at least 2.
        size: height and width in pixels, at least 64. Cracks keep their width whatever the size.
        seed: decides the images and the split.
        test: share of the images that are tested.

    Raises:
        ValueError: a parameter outside of its interval.
    """
    check_whole("images", images, 2)
    check_whole("size", size, 64)
    train, tested = split(images, seed=seed, test=test)

    def part(indices: list[int]) -> Samples:
        return Samples([_name(i) for i in indices], [partial(_draw, seed, i, size) for i in indices])

    identity = fingerprint("cracks", VERSION, images, size, seed, float(test))
    return Data("cracks", task_of(CLASSES), CLASSES, part(train), part(tested), identity)


def _name(index: int) -> str:
    return f"cracks-{index:04d}"


def _draw(seed: int, index: int, size: int) -> Sample:
    from scipy.ndimage import gaussian_filter

    rng = np.random.Generator(np.random.PCG64([seed, index]))
    asphalt = _asphalt(rng, size) * _light(rng, size)
    _spoil(rng, asphalt)
    mask: Labels = np.zeros((size, size), dtype=np.int64)
    while not SHARES[0] <= mask.mean() <= SHARES[1]:
        course, width, depth = _network(rng, size)
        distance, nearest = _to_points(course, size)
        mask = (distance <= width[nearest] / 2).astype(np.int64)
    ragged = course + _wander(rng, len(course), 2, length=2.0) * 0.6
    distance, nearest = _to_points(ragged, size)
    cover = np.clip(0.5 + 0.45 * width[nearest] - distance, 0, 1)
    asphalt *= 1 - cover * depth[nearest]

    tint = np.array([-1.0, 0.0, 1.0]) * rng.normal(0.02, 0.035) + rng.normal(0, 0.006, 3)
    image = gaussian_filter(asphalt, 0.45)[None] * (1 + tint[:, None, None])
    image += rng.normal(0, 0.012, image.shape)
    pixels: Image = np.clip(image, 0, 1).astype(np.float32)
    return Sample(_name(index), pixels, mask, mask)


# ---- the road


def _noise(rng: np.random.Generator, size: int, scale: float) -> Field:
    """Smooth noise of mean 0 and standard deviation 1, with grains of `scale` pixels."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.normal(size=(size, size)), scale, mode="reflect")
    return np.asarray((field - field.mean()) / (field.std() + 1e-9))


def _asphalt(rng: np.random.Generator, size: int) -> Field:
    """Aggregate: grains of several sizes, bright stones and dark pores."""
    roughness = rng.uniform(0.7, 1.5)
    fine, middle, coarse = (_noise(rng, size, scale) for scale in (0.6, 1.1, 2.2))
    field = rng.uniform(0.42, 0.6) + roughness * (0.028 * fine + 0.026 * middle + 0.012 * coarse)
    stones = _noise(rng, size, rng.uniform(0.7, 1.1))
    field += roughness * (0.07 * np.clip(stones - 1.9, 0, 1.5) - 0.11 * np.clip(-stones - 1.8, 0, 1.5))
    return np.asarray(field)


def _light(rng: np.random.Generator, size: int) -> Field:
    """Illumination: a slope across the image and slow patches, round 1."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0.02, 0.22) * (np.cos(angle) * columns + np.sin(angle) * rows)
    return np.asarray(1 + slope + 0.025 * _noise(rng, size, size / 8))


def _spoil(rng: np.random.Generator, road: Field) -> None:
    """Add, in place, what a careless detector takes for a crack: stains, oil, paint, joints and pits."""
    size = len(road)
    rows, columns = np.mgrid[:size, :size].astype(float)
    for _ in range(rng.poisson(1.2)):  # stains, large and soft; oil, small and dark
        x, y = rng.uniform(0, size, 2)
        spread, dark = (rng.uniform(18, 45), 0.12) if rng.random() < 0.5 else (rng.uniform(3, 8), 0.35)
        shape = np.hypot((columns - x) * rng.uniform(0.6, 1.4), rows - y) / spread + 0.25 * _noise(
            rng, size, spread / 3
        )
        road *= 1 - dark * rng.uniform(0.4, 1) / (1 + np.exp(6 * (shape - 1)))
    across = _across(rng, rows, columns)
    if rng.random() < 0.25:  # worn paint
        worn = 1 / (1 + np.exp(-1.6 * (_noise(rng, size, 0.8) + 0.5)))
        edge = np.clip(rng.uniform(8, 16) - np.abs(across) + _noise(rng, size, 2.0), 0, 1)
        road += edge * worn * rng.uniform(0.1, 0.25)
    across = _across(rng, rows, columns)
    if rng.random() < 0.3:  # a joint: straight, wide and soft
        road *= 1 - rng.uniform(0.1, 0.24) * np.exp(-((across / rng.uniform(2.5, 5)) ** 2))
    for _ in range(rng.poisson(5)):  # pits
        x, y = rng.uniform(0, size, 2)
        distance = np.hypot((columns - x) * rng.uniform(0.6, 1.6), rows - y)
        road *= 1 - rng.uniform(0.15, 0.4) * np.clip(rng.uniform(1.0, 2.6) - distance, 0, 1)


def _across(rng: np.random.Generator, rows: Field, columns: Field) -> Field:
    """Signed distance to a random straight line through the image."""
    angle = rng.uniform(0, np.pi)
    x, y = rng.uniform(0.15, 0.85, 2) * len(rows)
    return np.asarray(np.cos(angle) * (columns - x) + np.sin(angle) * (rows - y))


# ---- the cracks


def _network(rng: np.random.Generator, size: int) -> Cracks:
    """One to four cracks in each 192 x 192 pixels, most of them across the image, and their branches."""
    base_width = float(np.clip(rng.lognormal(np.log(3.1), 0.22), 1.7, 4.6))
    base_depth = rng.uniform(0.16, 0.52)
    heading = rng.uniform(0, np.pi)
    lines: list[Cracks] = []
    fields = max(round(size / 192), 1)  # larger images hold more cracks, so that the balance stays
    for number in range(int(rng.choice([1, 2, 3, 4], size=fields, p=[0.8, 0.14, 0.04, 0.02]).sum())):
        angle = heading + rng.normal(0, 0.2) + (np.pi / 2 if number and rng.random() < 0.3 else 0)
        direction = np.array([np.cos(angle), np.sin(angle)])
        middle = rng.uniform(0.15, 0.85, 2) * size
        reach = 1.5 * size if rng.random() < 0.5 else rng.uniform(0.25, 0.45) * size
        main = _line(rng, middle - reach * direction, middle + reach * direction, base_width, base_depth, size)
        lines.append(main)
        for _ in range(rng.poisson(0.4)):
            start = main[0][rng.integers(len(main[0]))]
            turn = angle + rng.choice([-1, 1]) * rng.uniform(0.4, 1.4)
            end = start + rng.uniform(0.12, 0.45) * size * np.array([np.cos(turn), np.sin(turn)])
            lines.append(_line(rng, start, end, 0.75 * base_width, 0.8 * base_depth, size))
    courses, widths, depths = zip(*lines, strict=True)
    return np.concatenate(courses), np.concatenate(widths), np.concatenate(depths)


def _line(rng: np.random.Generator, start: Field, end: Field, width: float, depth: float, size: int) -> Cracks:
    """A crack from start to end by midpoint displacement; width and depth wander and fade to the ends."""
    course = np.stack([start, end])
    spread = rng.uniform(0.03, 0.08) * np.hypot(*(end - start))
    normal = np.array([start[1] - end[1], end[0] - start[0]]) / np.hypot(*(end - start))
    while np.hypot(*(course[1] - course[0])) > 3:
        middle = (course[:-1] + course[1:]) / 2 + rng.normal(0, spread, (len(course) - 1, 1)) * normal
        course = np.insert(course, np.arange(1, len(course)), middle, axis=0)
        spread *= 0.56
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(course, axis=0).T))])
    fine = np.arange(0.0, along[-1], STEP)
    course = np.stack([np.interp(fine, along, axis) for axis in course.T], axis=1)
    taper = np.clip(np.minimum(fine, along[-1] - fine) / (0.08 * size), 0, 1)
    widths = np.clip(width * (1 + 0.16 * _wander(rng, len(fine), 1, length=12.0)[:, 0]), 1.5, 5.0)
    fading = np.clip(0.8 + 0.35 * _wander(rng, len(fine), 1, length=20.0)[:, 0], 0.25, 1.15)
    inside = np.all((course > -REACH) & (course < size + REACH), axis=1)
    inside[len(inside) // 2] = True  # a line that leaves the image at once still has a point
    widths = 1.5 + (widths - 1.5) * taper
    depths = depth * fading * (0.4 + 0.6 * taper)
    return course[inside], widths[inside], depths[inside]


def _wander(rng: np.random.Generator, count: int, axes: int, *, length: float) -> Field:
    """`(count, axes)` noise of unit variance along a line, smooth over `length` pixels."""
    from scipy.ndimage import gaussian_filter1d

    sigma = length / STEP
    smooth = gaussian_filter1d(rng.normal(size=(count, axes)), sigma, axis=0, mode="reflect")
    return np.asarray(smooth * np.sqrt(2 * np.sqrt(np.pi) * sigma))


def _to_points(points: Field, size: int) -> tuple[Field, NDArray[np.intp]]:
    """Distance of each pixel centre to the nearest point (infinite beyond `REACH`), and its index."""
    from scipy.spatial import cKDTree

    rows, columns = np.mgrid[:size, :size] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    distance, nearest = cKDTree(points).query(centres, distance_upper_bound=REACH)
    nearest = np.minimum(nearest, len(points) - 1)  # the tree says len(points) where nothing is near
    return distance.reshape(size, size), nearest.reshape(size, size)
