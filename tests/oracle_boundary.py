"""The boundary losses a second time: slow loops over pairs of pixels, written from the papers.

An image is a dictionary from a pixel's place to what is known of it in one class; pixels that do not count are not in it.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from oracle import Batch, open_items

Place = tuple[int, ...]


@dataclass(frozen=True)
class Pixel:
    """p and t of one class, how often the pixel counts, whether the class is predicted, and its cross-entropy."""

    p: float
    t: float
    w: float
    predicted: bool
    ce: float


Image = dict[Place, Pixel]
Sums = dict[str, float]


def images_of(batch: Batch, space: Place) -> list[list[Image]]:
    """The images by class: [image][class]. The cross-entropy of a multiclass pixel is that of all of its classes."""
    count, channels, _ = batch.scores.shape
    found: list[list[Image]] = [[{} for _ in range(channels)] for _ in range(count)]
    places = list(product(*map(range, space)))
    for item in open_items(batch):
        ce = -math.fsum(t * log_p for t, log_p in zip(item.t, item.log_p, strict=True) if t)
        for k in range(channels) if batch.task == "multiclass" else [item.channel]:
            c = k if batch.task == "multiclass" else 1
            best = item.p[c] == max(item.p) if batch.task == "multiclass" else item.p[1] > 0.5
            found[item.image][k][places[item.pixel]] = Pixel(item.p[c], item.t[c], item.weight, best, ce)
    return found


def distances(sides: dict[Place, bool], spacing: Iterable[float] | None) -> dict[Place, float]:
    """Of each pixel to the nearest one on the other side; 1 where there is none."""
    found = {}
    for here, side in sides.items():
        size = list(spacing) if spacing else [1.0] * len(here)
        others = [there for there, other in sides.items() if other != side]
        found[here] = min((math.dist(_scaled(here, size), _scaled(there, size)) for there in others), default=1.0)
    return found


def _scaled(place: Place, size: list[float]) -> list[float]:
    return [x * s for x, s in zip(place, size, strict=True)]


def around(image: Image, place: Place, radius: int) -> Iterator[Place]:
    """The pixels of the image in the window, itself among them."""
    for there in image:
        if all(abs(x - y) <= radius for x, y in zip(place, there, strict=True)):
            yield there


def beside(place: Place) -> Iterator[Place]:
    for axis in range(len(place)):
        for step in (-1, 1):
            yield (*place[:axis], place[axis] + step, *place[axis + 1 :])


def basic(image: Image) -> Sums:
    return {
        "N": math.fsum(x.w for x in image.values()),
        "P": math.fsum(x.w * x.p for x in image.values()),
        "T": math.fsum(x.w * x.t for x in image.values()),
    }


def signed(image: Image, *, spacing=None, shift=False, bounded=False) -> dict[Place, float]:
    sides = {place: pixel.t == 1 for place, pixel in image.items()}
    d = distances(sides, spacing)
    if shift and len(set(sides.values())) == 2:
        d = {place: x - 1 if sides[place] else x for place, x in d.items()}
    if bounded:
        top = {side: max((d[q] for q in d if sides[q] == side), default=0.0) for side in (True, False)}
        d = {place: x / top[sides[place]] if top[sides[place]] > 0 else x for place, x in d.items()}
    return {place: -x if sides[place] else x for place, x in d.items()}


def boundary(image: Image, **options) -> Sums:
    phi = signed(image, **options)
    return {"D": math.fsum(x.w * phi[q] * x.p for q, x in image.items())}


def hausdorff(image: Image, *, alpha=2.0, spacing=None, log=False) -> Sums:
    of_target = distances({q: x.t == 1 for q, x in image.items()}, spacing)
    of_prediction = distances({q: x.predicted for q, x in image.items()}, spacing)
    H = math.fsum(
        x.w * (x.p - x.t) ** 2 * (of_target[q] ** alpha + of_prediction[q] ** alpha) for q, x in image.items()
    )
    return {"H": H}


def boundary_dou(image: Image, *, limit=0.8) -> Sums:
    edge = [x for q, x in image.items() if x.t == 1 and any(r not in image or image[r].t == 0 for r in beside(q))]
    return {
        "C": math.fsum(x.w for x in edge),
        "I": math.fsum(x.w * x.p * x.t for x in image.values()),
        "U": math.fsum(x.w * (x.p**2 + x.t**2 - x.p * x.t) for x in image.values()),
    }


def dou_value(S: Sums, *, limit=0.8) -> float:
    a = min(limit, 1 - 2 * (S["C"] / S["T"] if S["T"] else 1.0))
    return (S["U"] - S["I"]) / (S["U"] - a * S["I"]) if S["U"] else 0.0


def active_contour(image: Image, *, region=1.0) -> Sums:
    E = 0.0
    for q, x in image.items():
        ahead = [(*q[:axis], q[axis] + 1, *q[axis + 1 :]) for axis in range(len(q))]
        slope = math.fsum((image[r].p - x.p) ** 2 for r in ahead if r in image)
        E += x.w * (math.sqrt(slope + 1e-8) - 1e-4)
    R = math.fsum(x.w * (x.p * (1 - x.t) ** 2 + (1 - x.p) * x.t**2) for x in image.values())
    return {"E": E, "R": R}


def surface_dice(image: Image, *, tolerance=2) -> Sums:
    mine = {q: x.p - min(image[r].p for r in around(image, q, 1)) for q, x in image.items()}
    truth = {q: x.t - min(image[r].t for r in around(image, q, 1)) for q, x in image.items()}
    near_mine, near_truth = (
        {q: max(surface[r] for r in around(image, q, tolerance)) for q in image} for surface in (mine, truth)
    )
    return {
        "A": math.fsum(x.w * mine[q] for q, x in image.items()),
        "B": math.fsum(x.w * truth[q] for q, x in image.items()),
        "hit": math.fsum(x.w * (mine[q] * near_truth[q] + truth[q] * near_mine[q]) for q, x in image.items()),
    }


def surface_value(S: Sums, *, tolerance=2) -> float:
    if S["B"] <= 0:
        return 1 - (S["P"] / S["N"] if S["N"] else 1.0)
    return 1 - S["hit"] / (S["A"] + S["B"])


def structure(image: Image, *, lam=5.0, radius=15, smooth=0.0, multiclass=False) -> Sums:
    S = dict.fromkeys("JQGUFM", 0.0)
    for q, x in image.items():
        window = [image[r].t for r in around(image, q, radius)]
        a = x.w * (1 + lam * abs(math.fsum(window) / len(window) - x.t))
        hit = min(x.p, x.t) if 0 < x.t < 1 else x.p * x.t
        S["J"] += a * hit
        S["U"] += a * (x.p + x.t - hit)
        share = a * x.t if multiclass else a
        S["F"] += (_share_of_ce(x) if multiclass else x.ce) * share if share else 0.0
        S["M"] += share
    return S


def _share_of_ce(x: Pixel) -> float:
    """The term of its own class in a soft pixel's cross-entropy."""
    return -math.log(x.p)


LOSSES: dict[str, tuple[Callable[..., Sums], Callable[..., float]]] = {
    "boundary": (boundary, lambda S, **_: S["D"] / S["N"]),
    "hausdorff": (
        hausdorff,
        lambda S, log=False, **_: math.log(1 + S["H"] / S["N"]) if log else S["H"] / S["N"],
    ),
    "boundary_dou": (boundary_dou, dou_value),
    "active_contour": (active_contour, lambda S, region=1.0: (S["E"] + region * S["R"]) / S["N"]),
    "surface_dice": (surface_dice, surface_value),
    "structure": (
        structure,
        lambda S, smooth=0.0, **_: 1 - (S["J"] + smooth) / (S["U"] + smooth) if S["U"] + smooth else 0.0,
    ),
}


def loss(
    name: str,
    batch: Batch,
    space: Place,
    *,
    pool="image",
    classes="all",
    empty="area",
    class_weight=None,
    reduction="mean",
    **options,
):
    """The value of a loss: sums of each image and class, the formula, and the mean over what counts."""
    sums_of, formula = LOSSES[name]
    extra = {"multiclass": batch.task == "multiclass"} if name == "structure" else {}
    table = [[basic(image) | sums_of(image, **options, **extra) for image in row] for row in images_of(batch, space)]
    if pool == "batch":
        table = [[{key: math.fsum(row[k][key] for row in table) for key in table[0][k]} for k in range(len(table[0]))]]
    values, weights, beside_values, beside_weights = [], [], [], []
    for row in table:
        for k, S in enumerate(row):
            weight = 1.0 if class_weight is None else class_weight[k]
            if (
                S["N"] == 0
                or (classes == "present" and S["T"] == 0)
                or (isinstance(classes, list) and k not in classes)
            ):
                weight = 0.0
            beside_weights.append(weight)
            together = {key: math.fsum(s[key] for s in row) for key in "FM"} if extra.get("multiclass") else S
            beside_values.append(together["F"] / together["M"] if name == "structure" and together["M"] else 0.0)
            if S["T"] == 0 and empty == "skip":
                weight = 0.0
            vacant = S["T"] == 0 and empty == "area"
            values.append(0.0 if weight == 0 else S["P"] / S["N"] if vacant else formula(S, **options))
            weights.append(weight)
    return _reduced(values, weights, reduction, table, pool) + _reduced(
        beside_values, beside_weights, reduction, table, pool
    )


def _reduced(values: list[float], weights: list[float], reduction: str, table: list[list[Sums]], pool: str):
    weighted = [w * v for w, v in zip(weights, values, strict=True)]
    if reduction == "none":
        array = np.array(weighted).reshape(len(table), -1)
        return array[0] if pool == "batch" else array
    total = math.fsum(weighted)
    return total / math.fsum(weights) if reduction == "mean" and math.fsum(weights) else total
