"""Weak labels made of masks: scribbles, points or boxes, to see what a loss makes of less annotation."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossmith.data.base import UNKNOWN, Data, Labels, Sample, Samples, fingerprint
from lossmith.errors import check_whole, must

KINDS = ("scribbles", "points", "boxes")
VERSION = 1  # raise it with every change that moves a label
DEEP = 0.5  # of a region's greatest depth: where its points lie, and the ends of its scribbles

Region = NDArray[np.bool_]


def weaken(data: Data, kind: str, *, seed: int = 0) -> Data:
    """The same data with weak labels in place of the training masks; `truth` and the test images stay complete.

    Pixels without a label are `255`: train with ``ignore_index=255``.

    Args:
        data: what `load` gave.
        kind: "scribbles", "points" or "boxes", see `weak_labels`.
        seed: decides where they lie. A non-negative integer.

    Raises:
        ValueError: another kind, or a negative seed.
    """
    _check(kind, seed)
    readers = [partial(_weakened, data.train, position, kind, seed) for position in range(len(data.train))]
    identity = fingerprint("weaken", VERSION, kind, seed, data.fingerprint)
    return replace(data, train=Samples(data.train.names, readers), fingerprint=identity)


def weak_labels(mask: ArrayLike, kind: str, *, seed: int = 0) -> Labels:
    """Weak labels of one mask (*space) of class indices, bool for two; 255 means unknown, as in what is returned.

    Regions are the connected components of each class, diagonals included. What is not said to be labelled is 255.

    - "scribbles": in every region, background included, a line of one pixel's width between two points deep inside,
      the second as far from the first as there are any, along the region's middle.
    - "points": one pixel deep inside every region, background included.
    - "boxes": the bounding box of every object is filled with its class, where boxes overlap with that of the smallest
      (Papandreou 2015, Bbox-Rect); all else is background. An object whose box smaller ones cover has no label.

    Raises:
        TypeError: a mask that is not of integers or bool.
        ValueError: another kind, a negative seed, or a mask with a value below 0 or above 255.

    >>> import numpy as np
    >>> mask = np.zeros((5, 7), dtype=np.int64)
    >>> mask[1:4, 1:4] = 1
    >>> sorted(np.unique(weak_labels(mask, "points"), return_counts=True)[1].tolist())  # 1, 1, and all others
    [1, 1, 33]
    """
    _check(kind, seed)
    mask = _indices(mask)
    if kind == "boxes":
        return _boxes(mask)
    rng = np.random.default_rng([seed, *mask.shape])
    labels: Labels = np.full(mask.shape, UNKNOWN, dtype=np.int64)
    for label, region in _regions(mask):
        depth = _depth(region)
        deep = np.flatnonzero(depth >= DEEP * depth.max())
        start = int(rng.choice(deep))
        chosen = [start] if kind == "points" else _line(depth, start, deep)
        labels.reshape(-1)[chosen] = label
    return labels


def _check(kind: str, seed: int) -> None:
    if kind not in KINDS:
        raise ValueError(must("weaken", "'scribbles', 'points' or 'boxes'", kind))
    check_whole("seed", seed, 0)


def _indices(mask: ArrayLike) -> Labels:
    """A mask as class indices."""
    labels = np.asarray(mask)
    if labels.dtype.kind not in "bui":
        raise TypeError(must("mask", "of integers or bool", str(labels.dtype)))
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= UNKNOWN:
        wrong = int(labels.min()) if labels.min() < 0 else int(labels.max())
        raise ValueError(must("mask", f"class indices from 0 to {UNKNOWN - 1}, or {UNKNOWN} for unknown", wrong))
    return labels.astype(np.int64, copy=False)


def _weakened(samples: Samples, position: int, kind: str, seed: int) -> Sample:
    sample = samples[position]
    own = int(np.random.default_rng([seed, position]).integers(2**31))
    return replace(sample, mask=weak_labels(sample.mask, kind, seed=own))


def _regions(mask: Labels) -> Iterator[tuple[int, Region]]:
    """Every connected component with its class."""
    from scipy import ndimage

    for label in np.unique(mask[mask != UNKNOWN]).tolist():
        components, count = ndimage.label(mask == label, structure=np.ones((3,) * mask.ndim))
        for number in range(1, count + 1):
            yield label, components == number


def _depth(region: Region) -> NDArray[np.float64]:
    """How far each pixel is from the region's outside; beyond the image is outside, too."""
    from scipy import ndimage

    inside = (slice(1, -1),) * region.ndim
    return np.asarray(ndimage.distance_transform_edt(np.pad(region, 1))[inside])


def _line(depth: NDArray[np.float64], start: int, deep: NDArray[np.int64]) -> list[int]:
    """The pixels (of the flattened image) of the way from `start` to the `deep` pixel that is hardest to reach.

    A step costs its length over its depth, so that the way keeps to the middle.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    pixels = np.flatnonzero(depth)
    number = np.full(depth.size, -1)
    number[pixels] = np.arange(pixels.size)
    flat, places = depth.reshape(-1), np.stack(np.unravel_index(pixels, depth.shape))
    tails, heads, costs = [], [], []
    for step in product((-1, 0, 1), repeat=depth.ndim):
        if not any(step):
            continue
        ahead = places + np.array(step)[:, None]
        there = np.all((ahead >= 0) & (ahead < np.array(depth.shape)[:, None]), axis=0)
        tail, head = pixels[there], np.ravel_multi_index(tuple(ahead[:, there]), depth.shape)
        linked = flat[head] > 0
        tail, head = tail[linked], head[linked]
        tails.append(number[tail])
        heads.append(number[head])
        costs.append(np.linalg.norm(step) * 2 / (flat[tail] + flat[head]))
    links = (np.concatenate(costs), (np.concatenate(tails), np.concatenate(heads)))
    graph = coo_array(links, shape=(pixels.size, pixels.size)).tocsr()
    cost, before = dijkstra(graph, indices=int(number[start]), return_predecessors=True)
    place = int(number[deep][np.argmax(cost[number[deep]])])
    way = [int(pixels[place])]
    while before[place] >= 0:
        place = int(before[place])
        way.append(int(pixels[place]))
    return way


def _boxes(mask: Labels) -> Labels:
    from scipy import ndimage

    found = []
    for label, region in _regions(mask):
        if label:
            (box,) = ndimage.find_objects(region.astype(np.int64))
            found.append((int(np.prod([side.stop - side.start for side in box])), label, box))
    labels = np.where(mask == UNKNOWN, UNKNOWN, 0)
    for _, label, box in sorted(found, key=lambda item: -item[0]):
        labels[box] = np.where(mask[box] == UNKNOWN, UNKNOWN, label)
    return labels
