"""Marginal and exclusion losses from the paper, image by image: what was not annotated is no class at all.

An image is rewritten as a smaller problem, whose classes are the rest and those that were annotated, and given to the
slow loops of `oracle.py`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from oracle import Batch, open_items

OF_PIXELS = ("ce", "focal", "mse", "smooth_l1")


def classes_of(annotated: Sequence[bool]) -> list[int]:
    return [0] + [c for c in range(1, len(annotated)) if annotated[c]]


def merged(batch: Batch, annotated: np.ndarray, images: Sequence[int]) -> Batch:
    """Some images, all of the same annotated classes, with as many channels as there are classes left."""
    kept = classes_of(annotated[images[0]])
    lost = [c for c in range(annotated.shape[1]) if c not in kept]
    scores = np.zeros((len(images), len(kept), batch.scores.shape[2]))
    for place, n in enumerate(images):
        for i in range(batch.scores.shape[2]):
            rest = [float(batch.scores[n, c, i]) for c in [0, *lost]]
            top = max(rest)
            total = math.fsum(math.exp(z - top) for z in rest)
            scores[place, 0, i] = top + math.log(total) if batch.from_logits else min(1.0, math.fsum(rest))
            for k, c in enumerate(kept[1:], start=1):
                scores[place, k, i] = batch.scores[n, c, i]
    target = batch.target[list(images)]
    if target.ndim == 3:
        target = target[:, kept]
    else:
        target = np.array(
            [[label if label == batch.ignore_index else kept.index(label) for label in row] for row in target]
        )
    weight = None if batch.weight is None else batch.weight[list(images)]
    return replace(batch, scores=scores, target=target, weight=weight)


def chosen(options: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """Options with numbers by class, for the classes that are left."""
    return {name: [x[c] for c in kept] if isinstance(x, list) else x for name, x in options.items()}


def marginal(function: Callable[..., Any], batch: Batch, annotated: np.ndarray, **options: Any) -> float:
    """The mean over the items of all images, for a loss whose items are of one image.

    An image of which nothing is annotated has one class, which is always right: it costs nothing, and counts.
    """
    total = count = 0.0
    for n in range(len(annotated)):
        kept = classes_of(annotated[n])
        own = chosen(options, kept)
        image = merged(batch, annotated, [n])
        value, mean = (function(image, reduction=name, **own) for name in ("sum", "mean"))
        total += value
        if mean:
            count += value / mean
        elif len(kept) == 1:
            pixels = sum(item.weight for item in open_items(image))
            count += own.get("class_weight", [1.0])[0] * (pixels if function.__name__ in OF_PIXELS else pixels > 0)
    return total / count if count else 0.0


def exclusion(form: str, batch: Batch, annotated: np.ndarray, pool: str = "image") -> float:
    """Loops over classes and pixels."""
    rows: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    total = count = 0.0
    for item in open_items(batch):
        count += item.weight
        for c, p in enumerate(item.p):
            there = c > 0 and annotated[item.image][c]
            e = 1 - item.t[c] if there else 1 - item.t[0]
            total += item.weight * e * math.log(p + 1)
            rows.setdefault((item.image if pool == "image" else 0, c), []).append((item.weight, e, p))
    if form == "ce":
        return total / count if count else 0.0
    values = []
    for pixels in rows.values():
        size = math.fsum(w * (e + p) for w, e, p in pixels)
        values.append(2 * math.fsum(w * e * p for w, e, p in pixels) / size if size else 0.0)
    return math.fsum(values) / len(values) if values else 0.0
