import numpy as np
import pytest
from scipy import stats

from lossmith.lab.statistics import Bootstrap, holm, p_value


def simulate(rng, seeds, images, *, mean=0.0, by_image=0.03, by_seed=0.01, rest=0.01):
    return (
        mean
        + rng.normal(size=(1, images)) * by_image
        + rng.normal(size=(seeds, 1)) * by_seed
        + rng.normal(size=(seeds, images)) * rest
    )


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).tolist() == []


def test_interval_of_equal_scores_is_a_point():
    interval = Bootstrap(3, 10).mean(np.full((3, 10), 0.25))
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.25, 0.25, 0.25))


def test_one_seed_gives_the_bootstrap_of_images():
    scores = np.random.default_rng(0).normal(size=(1, 40))
    interval = Bootstrap(1, 40).mean(scores)
    half = 1.96 * scores.std() / np.sqrt(40)
    assert interval.mean == pytest.approx(scores.mean())
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.05)


def test_seed_luck_widens_the_interval():
    """All images move with the seed: resampling seeds image by image would average it away."""
    scores = np.array([-0.1, 0.0, 0.1])[:, None] + np.zeros((1, 200))
    interval = Bootstrap(3, 200).mean(scores)
    assert interval.low < -0.09
    assert interval.high > 0.09


def test_stretch_gives_the_unbiased_variance_of_few_seeds():
    bootstrap = Bootstrap(3, 2, draws=50_000)
    deviations = np.array([-1.0, 0.2, 0.8])
    drawn = (bootstrap.seeds * bootstrap.stretch * deviations).sum(1)
    assert drawn.var() == pytest.approx(deviations.var(ddof=1) / 3, rel=0.03)


def test_interval_covers():
    rng = np.random.default_rng(0)
    covered = 0
    for run in range(300):
        interval = Bootstrap(5, 25, draws=400, random_state=run).mean(simulate(rng, 5, 25, mean=0.5))
        covered += interval.low <= 0.5 <= interval.high
    assert 0.88 < covered / 300 <= 1


def test_undefined_images_are_left_out():
    scores = np.array([[0.2, np.nan, 0.4]])
    interval = Bootstrap(1, 3).mean(scores)
    assert interval.mean == pytest.approx(0.3)
    assert 0.2 <= interval.low < interval.high <= 0.4
    assert np.isnan(Bootstrap(1, 3).mean(np.full((1, 3), np.nan)).mean)


def test_interval_stays_in_range():
    scores = np.array([[1.0, 1.0, 0.9, 1.0], [0.0, 0.1, 0.0, 0.0]])
    interval = Bootstrap(2, 4).mean(scores, within=(0.0, 1.0))
    assert interval.low >= 0
    assert interval.high <= 1


def test_pooled_is_the_metric_of_sums():
    counts = np.random.default_rng(0).integers(1, 50, size=(2, 3, 10, 2)).astype(float)
    interval = Bootstrap(3, 10).pooled(counts, lambda sums: sums[0] / sums.sum(0))
    sums = counts.sum(axis=2)
    assert interval.mean == pytest.approx((sums[0] / sums.sum(0)).mean())
    assert interval.low < interval.mean < interval.high


def test_p_value_needs_two_seeds():
    assert p_value(np.full((1, 30), 0.1) + np.random.default_rng(0).normal(size=30) * 1e-3) == 1


def test_p_value_of_no_difference():
    assert p_value(np.zeros((3, 20))) == 1


def test_p_value_of_a_difference_that_never_varies():
    differences = np.full((3, 20), 0.25)
    assert p_value(differences) == stats.wilcoxon(differences[0]).pvalue


def test_p_value_without_seed_noise_is_that_of_the_images():
    images = np.random.default_rng(1).normal(0.02, 0.03, size=24)
    differences = np.tile(images, (3, 1))
    expected = max(stats.ttest_1samp(images, 0).pvalue, stats.wilcoxon(images).pvalue)
    assert p_value(differences) == pytest.approx(expected)


def test_p_value_without_image_noise_is_that_of_the_seeds():
    seeds = np.array([0.02, 0.05, 0.01])
    differences = np.tile(seeds[:, None], (1, 24))
    assert p_value(differences) == pytest.approx(stats.ttest_1samp(seeds, 0).pvalue)


@pytest.mark.parametrize("by_seed", [0.0, 0.01, 0.05])
def test_p_value_of_seed_luck_is_rarely_small(by_seed):
    rng = np.random.default_rng(7)
    p = [p_value(simulate(rng, 3, 24, by_image=0.0, by_seed=by_seed)) for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) < 0.075


def test_p_value_finds_what_is_there():
    rng = np.random.default_rng(7)
    p = [p_value(simulate(rng, 3, 24, mean=0.024, by_seed=0.002)) for _ in range(100)]
    assert np.mean(np.array(p) < 0.05) > 0.8
