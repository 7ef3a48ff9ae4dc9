"""Scores of one image after another: counts at every threshold, and what is computed from them.

A prediction is kept as *levels*: the logit of a class against all others in steps of 1/8, as int8. Level k or
more is "positive at threshold sigmoid(k / 8)", so a histogram of levels gives the exact counts at 256
thresholds, 0.5 among them. Steps in the logit treat a loss that saturates its probabilities as fairly as one
that keeps them near 0.5.

Everything is per image and per foreground class, one class against the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.special import expit, logsumexp

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Levels = NDArray[np.int8]

STEPS_PER_LOGIT = 8
LOWEST, HIGHEST = -128, 127
HALF = -LOWEST  # index of the threshold 0.5, which is level 0
THRESHOLDS: Floats = np.concatenate([[0.0], expit(np.arange(LOWEST + 1, HIGHEST + 1) / STEPS_PER_LOGIT)])
FOLDS = 4
RULES = ("at_0.5", "cross_fitted")


def to_levels(logits: NDArray[np.floating]) -> Levels:
    """Logits (1, H, W) of a binary task or (C, H, W) -> levels (F, H, W) of the foreground classes."""
    z = logits.astype(np.float64)
    if len(z) > 1:
        others = [logsumexp(np.delete(z, c, axis=0), axis=0) for c in range(1, len(z))]
        z = z[1:] - np.stack(others)
    return np.clip(np.floor(z * STEPS_PER_LOGIT), LOWEST, HIGHEST).astype(np.int8)


def to_probabilities(levels: Levels) -> Floats:
    """The probability in the middle of each level."""
    return np.asarray(expit((levels + 0.5) / STEPS_PER_LOGIT), dtype=np.float64)


@dataclass(frozen=True)
class Counts:
    """Pixel counts, each (..., T) over the T = 256 thresholds.

    With a tolerance of d pixels a predicted pixel is right when a true one lies within d of it, and a true
    pixel is found when a predicted one does (Euclidean distance between pixel centres). With d = 0 both are
    the true positives.
    """

    predicted: Integers
    right: Integers
    true: Integers
    found: Integers

    def pick(self, index: Integers) -> Counts:
        """Counts at one threshold each: `index` (...) into the last axis -> fields (...)."""
        return self.map(lambda a: np.take_along_axis(a, index[..., None], axis=-1)[..., 0])

    def map(self, function: Callable[[Integers], Integers]) -> Counts:
        """Apply `function` to every field."""
        return Counts(**{field.name: function(getattr(self, field.name)) for field in fields(self)})

    @staticmethod
    def stack(items: Sequence[Counts]) -> Counts:
        """Counts with a new first axis."""
        return Counts(**{f.name: np.stack([getattr(item, f.name) for item in items]) for f in fields(Counts)})


def count(levels: Levels, truth: NDArray[np.bool_], tolerance: int = 0) -> Counts:
    """Counts of one class of one image at every threshold; levels and truth (H, W)."""
    near_truth, near_levels = truth, levels
    if tolerance > 0:
        y, x = np.ogrid[-tolerance : tolerance + 1, -tolerance : tolerance + 1]
        disc = y * y + x * x <= tolerance * tolerance
        near_truth = maximum_filter(truth, footprint=disc)
        near_levels = maximum_filter(levels, footprint=disc)  # thresholding commutes with the maximum
    total = np.full(len(THRESHOLDS), int(truth.sum()), dtype=np.int64)
    return Counts(_at_least(levels), _at_least(levels[near_truth]), total, _at_least(near_levels[truth]))


def count_image(levels: Levels, truth: NDArray[np.int64], tolerance: int = 0) -> Counts:
    """Counts (F, T) of the foreground classes of an image; levels (F, H, W), truth (H, W) class indices."""
    return Counts.stack([count(level, truth == c, tolerance) for c, level in enumerate(levels, start=1)])


def _at_least(levels: Levels) -> Integers:
    histogram = np.bincount(levels.ravel().astype(np.int64) - LOWEST, minlength=len(THRESHOLDS))
    return histogram[::-1].cumsum()[::-1]


def overlap(counts: Counts) -> dict[str, Floats]:
    """Precision, recall, F1 and IoU = F1 / (2 - F1).

    Nothing true and nothing predicted scores 1; nothing true but something predicted, or the reverse, scores
    0.
    """
    empty = (counts.true == 0) & (counts.predicted == 0)
    precision = np.where(empty, 1.0, counts.right / np.maximum(counts.predicted, 1))
    recall = np.where(empty, 1.0, counts.found / np.maximum(counts.true, 1))
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return {"precision": precision, "recall": recall, "f1": f1, "iou": f1 / (2 - f1)}


def average_precision(counts: Counts) -> Floats:
    """Sum over thresholds of precision times gain in recall, not interpolated; NaN where nothing is true."""
    precision = counts.right / np.maximum(counts.predicted, 1)
    recall = counts.found / np.maximum(counts.true, 1)
    gain = recall - np.concatenate([recall[..., 1:], np.zeros_like(recall[..., :1])], axis=-1)
    return np.where(counts.true[..., 0] > 0, (precision * gain).sum(-1), np.nan)


def cross_fit(f1: Floats) -> Integers:
    """The threshold for each image, chosen on other images only.

    The images are dealt into four folds (the same for every loss and seed); the threshold of a fold is the
    one with the highest mean F1 over the images of the other folds; of equals the one nearest to 0.5.

    Args:
        f1: (N, F, T), F1 of each image and class at each threshold.

    Returns:
        (N, F) indices into `THRESHOLDS`.
    """
    order = np.random.default_rng(0).permutation(len(f1))
    from_half = np.argsort(np.abs(np.arange(f1.shape[-1]) - HALF), kind="stable")
    index = np.empty(f1.shape[:-1], dtype=np.int64)
    for fold in np.array_split(order, min(FOLDS, len(f1))):
        others = np.delete(f1, fold, axis=0).mean(axis=0)
        index[fold] = from_half[np.argmax(others[:, from_half], axis=-1)]
    return index


def score(counts: Counts) -> dict[str, Floats]:
    """Every number of one run from its counts (N, F, T): columns (N, F) such as "f1_cross_fitted"."""
    columns = {"average_precision": average_precision(counts)}
    fitted = cross_fit(overlap(counts)["f1"])
    for rule, index in zip(RULES, (np.full_like(fitted, HALF), fitted), strict=True):
        picked = counts.pick(index)
        columns[f"threshold_{rule}"] = THRESHOLDS[index]
        columns.update({f"{name}_{rule}": column for name, column in overlap(picked).items()})
        for field in fields(Counts):
            columns[f"{field.name}_{rule}"] = getattr(picked, field.name).astype(np.float64)
    return columns
