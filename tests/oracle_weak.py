"""The losses of weak supervision and of calibration from their papers: loops over pixels and pairs of pixels, in plain floats.

A problem is one softmax of an image, or one channel of a sigmoid task with its two classes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

Pixel = tuple[int, ...]


@dataclass(frozen=True)
class Scene:
    """scores (N, K, *space); image (N, k, *space); weight (N, *space) or (N, K, *space), 0 where ignored.

    labels (N, *space), tags (N, K): for the losses that take them.
    """

    task: str
    scores: np.ndarray
    image: np.ndarray
    weight: np.ndarray
    from_logits: bool = True
    labels: np.ndarray | None = None
    tags: np.ndarray | None = None


@dataclass(frozen=True)
class Problem:
    """p[i]: a probability for each class; z[i] the logits, x[i] the colours, w[i] how often pixel i counts."""

    image: int
    channel: int
    pixels: list[Pixel]
    p: dict[Pixel, list[float]]
    z: dict[Pixel, list[float]]
    x: dict[Pixel, list[float]]
    w: dict[Pixel, float]

    @property
    def count(self) -> float:
        return math.fsum(self.w.values())


def problems(scene: Scene) -> Iterator[Problem]:
    images, channels, *space = scene.scores.shape
    pixels = list(product(*(range(size) for size in space)))
    for n in range(images):
        x = {i: [float(c[i]) for c in scene.image[n]] for i in pixels}
        if scene.task == "multiclass":
            z = {i: [float(c[i]) for c in scene.scores[n]] for i in pixels}
            p = {i: softmax(z[i]) if scene.from_logits else z[i] for i in pixels}
            yield Problem(n, 0, pixels, p, z, x, {i: float(scene.weight[n][i]) for i in pixels})
            continue
        for k in range(channels):
            z = {i: [0.0, float(scene.scores[n, k][i])] for i in pixels}
            p = {i: softmax(z[i]) if scene.from_logits else [1 - z[i][1], z[i][1]] for i in pixels}
            weight = scene.weight[n] if scene.weight.ndim == scene.image.ndim - 1 else scene.weight[n, k]
            yield Problem(n, k, pixels, p, z, x, {i: float(weight[i]) for i in pixels})


def softmax(z: list[float]) -> list[float]:
    e = [math.exp(s - max(z)) for s in z]
    return [s / math.fsum(e) for s in e]


def mean_over_pixels(scene: Scene, term: Callable[[Problem, Pixel], float], reduction: str) -> float:
    terms = [(q.w[i], term(q, i)) for q in problems(scene) for i in q.pixels if q.w[i]]
    total, count = math.fsum(w * t for w, t in terms), math.fsum(w for w, _ in terms)
    return total if reduction == "sum" else total / count if count else 0.0


def kernel(q: Problem, i: Pixel, j: Pixel, o: dict[str, Any]) -> float:
    radius = o.get("radius", 5)
    if i == j or any(abs(a - b) > radius for a, b in zip(i, j, strict=True)):
        return 0.0
    far = sum((a - b) ** 2 for a, b in zip(i, j, strict=True)) / o.get("sigma_xy", 6.0) ** 2
    unlike = sum((a - b) ** 2 for a, b in zip(q.x[i], q.x[j], strict=True)) / o.get("sigma_rgb", 0.1) ** 2
    bilateral = o.get("appearance", 0.9) * math.exp(-far / 2 - unlike / 2)
    return bilateral + o.get("smoothness", 0.1) * math.exp(-far / 2)


def gated_crf(scene: Scene, reduction: str = "mean", **o: Any) -> float:
    def term(q: Problem, i: Pixel) -> float:
        return math.fsum(
            kernel(q, i, j, o) * (1 - math.fsum(a * b for a, b in zip(q.p[i], q.p[j], strict=True)))
            for j in q.pixels
            if q.w[j] > 0
        )

    return mean_over_pixels(scene, term, reduction)


def ncut(scene: Scene, reduction: str = "mean", **o: Any) -> float:
    items = []
    for q in problems(scene):
        if q.count == 0:
            continue
        W = {(i, j): q.w[i] * q.w[j] * kernel(q, i, j, o) for i in q.pixels for j in q.pixels}
        ratios = []
        for c in range(len(q.p[q.pixels[0]])):
            cut = math.fsum(q.p[i][c] * k * (1 - q.p[j][c]) for (i, j), k in W.items())
            volume = math.fsum(k * q.p[j][c] for (i, j), k in W.items())
            ratios.append(cut / volume)
        items += ratios if scene.task == "multiclass" else [sum(ratios) / 2]
    return _of_items(items, reduction)


def _of_items(items: list[float], reduction: str) -> float:
    return math.fsum(items) / (1 if reduction == "sum" else max(1, len(items)))


def slope(q: Problem, i: Pixel, c: int, isotropic: bool) -> float:
    steps = []
    for axis in range(len(i)):
        j = (*i[:axis], i[axis] + 1, *i[axis + 1 :])
        if j in q.w and q.w[i] > 0 and q.w[j] > 0:
            steps.append(q.p[j][c] - q.p[i][c])
    return math.sqrt(sum(s * s for s in steps)) if isotropic else sum(abs(s) for s in steps)


def mumford_shah(scene: Scene, reduction: str = "mean", *, lam: float = 1e-3, isotropic: bool = False) -> float:
    def term(q: Problem, i: Pixel) -> float:
        value = 0.0
        for c in range(len(q.p[i])):
            size = math.fsum(q.w[j] * q.p[j][c] for j in q.pixels)
            colours = range(len(q.x[i]))
            means = [math.fsum(q.w[j] * q.p[j][c] * q.x[j][k] for j in q.pixels) / size for k in colours]
            value += q.p[i][c] * sum((q.x[i][k] - means[k]) ** 2 for k in colours)
            value += lam * slope(q, i, c, isotropic)
        return value

    return mean_over_pixels(scene, term, reduction)


def entropy(scene: Scene, reduction: str = "mean") -> float:
    return mean_over_pixels(scene, lambda q, i: -math.fsum(p * math.log(p) for p in q.p[i]), reduction)


def tv(scene: Scene, reduction: str = "mean", *, isotropic: bool = False) -> float:
    def term(q: Problem, i: Pixel) -> float:
        classes = range(len(q.p[i])) if scene.task == "multiclass" else [1]
        return sum(slope(q, i, c, isotropic) for c in classes) / len(classes)

    return mean_over_pixels(scene, term, reduction)


def nacl(scene: Scene, reduction: str = "mean", *, radius: int = 1, distance: str = "l1") -> float:
    def term(q: Problem, i: Pixel) -> float:
        window = [j for j in q.pixels if all(abs(a - b) <= radius for a, b in zip(i, j, strict=True))]
        count = math.fsum(q.w[j] for j in window)
        u = [math.fsum(q.w[j] for j in window if scene.labels[q.image][j] == c) / count for c in range(len(q.z[i]))]
        apart = [abs(a - b) ** (2 if distance == "l2" else 1) for a, b in zip(u, q.z[i], strict=True)]
        return sum(apart) / len(apart)

    return mean_over_pixels(scene, term, reduction)


def size(scene: Scene, reduction: str = "mean", *, low: Any = 0.01, high: Any = 0.1) -> float:
    items = []
    for q in problems(scene):
        for c in range(len(q.p[q.pixels[0]])) if scene.task == "multiclass" else [1]:
            place = c if scene.task == "multiclass" else q.channel
            free = scene.task == "multiclass" and c == 0
            a = (0.0 if free else low) if isinstance(low, float) else low[place]
            b = (1.0 if free else high) if isinstance(high, float) else high[place]
            if scene.tags is not None and not scene.tags[q.image, place]:
                a = b = 0.0
            if q.count:
                share = math.fsum(q.w[i] * q.p[i][c] for i in q.pixels) / q.count
                items.append(max(a - share, 0.0, share - b) ** 2)
    return _of_items(items, reduction)


ORACLES: dict[str, Callable[..., float]] = {
    function.__name__: function for function in (gated_crf, ncut, mumford_shah, entropy, tv, nacl, size)
}
