"""Intervals and tests over images and seeds, both seen as samples of what could have been.

Scores are arrays (..., S, N): S seeds, N images. Every loss meets the same seeds and images, so differences
of losses are taken first and their uncertainty afterwards; what images and seeds have in common cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def negative(self) -> Interval:
        """The interval of the negated quantity."""
        return Interval(-self.mean, -self.high, -self.low)

    def as_dict(self) -> dict[str, float]:
        """For summary.json."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


class Bootstrap:
    """Two-level bootstrap: each draw resamples the images and, independently, the seeds.

    Images and seeds are crossed (every seed is scored on every image), so a drawn seed is drawn for all
    images alike (Owen 2007, the pigeonhole bootstrap): the luck of one training run is not averaged away over
    images. Few seeds understate their own spread by (S - 1) / S (Davison and Hinkley 1997, section 3.8); the
    deviations of the seeds are stretched to undo it. With one seed an interval holds images only.
    """

    def __init__(self, seeds: int, images: int, *, draws: int = DRAWS, random_state: int = 0) -> None:
        random = np.random.default_rng(random_state)
        self.seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
        self.images = random.multinomial(images, np.full(images, 1 / images), size=draws) / images
        self.stretch = np.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1.0

    def mean(self, scores: Floats, *, within: tuple[float, float] | None = None) -> Interval:
        """Mean over seeds and images of `scores` (S, N), with its interval.

        Images that are NaN (for every seed) are left out. `within` clips to the metric's range.
        """
        defined = ~np.isnan(scores).any(axis=0)
        if not defined.any():
            return Interval(np.nan, np.nan, np.nan)
        kept = scores[:, defined]
        weights = self.images[:, defined]
        weights = weights[weights.sum(axis=1) > 0]
        by_seed = (weights / weights.sum(axis=1, keepdims=True)) @ kept.T
        return self._interval(kept.mean(axis=1), by_seed, within)

    def pooled(self, counts: Floats, metric: Callable[[Floats], Floats]) -> Interval:
        """A metric of counts summed over images, averaged over classes.

        Args:
            counts: (K, S, N, F): K counts of each image and class.
            metric: from sums (K, ..., F) to values (..., F) in [0, 1].
        """
        drawn = np.einsum("dn,ksnf->kdsf", self.images, counts)
        return self._interval(metric(counts.sum(axis=2)).mean(-1), metric(drawn).mean(-1), (0.0, 1.0))

    def _interval(self, seeds: Floats, drawn: Floats, within: tuple[float, float] | None) -> Interval:
        """Of the value at each seed (S,) and of each seed in each draw of images (draws, S)."""
        mean = seeds.mean()
        drawn = drawn + (self.stretch - 1) * (seeds - mean)
        values = (drawn * self.seeds[: len(drawn)]).sum(axis=1)
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        if within is not None:
            low, high = np.clip([low, high], *within)
        return Interval(float(mean), float(low), float(high))


def p_value(differences: Floats) -> float:
    """Two-sided p that the mean of paired `differences` (S, N) is zero; the larger of two tests.

    Over images: Wilcoxon's signed-rank test of the differences averaged over seeds. It takes the trained
    networks as given, so alone it would call the luck of a seed an effect. Over both: Student's t with the
    variance of the mean as the sum of its parts from images and from seeds, degrees of freedom after
    Satterthwaite (1946). One seed says nothing about seeds: p is 1.
    """
    seeds, images = differences.shape
    if seeds < 2 or images < 2 or not differences.any():
        return 1.0
    over_images = differences.mean(axis=0)
    parts = np.array([over_images.var(ddof=1) / images, differences.mean(axis=1).var(ddof=1) / seeds])
    if parts.sum() == 0:
        return float(stats.wilcoxon(over_images).pvalue)
    freedom = parts.sum() ** 2 / (parts**2 / [images - 1, seeds - 1]).sum()
    t = differences.mean() / np.sqrt(parts.sum())
    ranks = stats.wilcoxon(over_images).pvalue if over_images.any() else 1.0
    return float(max(2 * stats.t.sf(abs(t), freedom), ranks))


def holm(p_values: Floats) -> Floats:
    """P-values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
