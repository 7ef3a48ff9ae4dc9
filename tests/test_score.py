import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import (
    binary_f1_score,
    binary_jaccard_index,
    binary_precision,
    binary_recall,
)

from lossmith.lab.score import (
    HALF,
    HIGHEST,
    LOWEST,
    THRESHOLDS,
    Counts,
    average_precision,
    count,
    count_image,
    cross_fit,
    overlap,
    score,
    to_levels,
    to_probabilities,
)

SHAPE = (23, 31)


def random_case(seed, share=0.1):
    rng = np.random.default_rng(seed)
    truth = rng.random(SHAPE) < share
    logits = rng.normal(size=SHAPE) * 3 + 3 * truth - 2
    return logits, truth


def test_half_is_the_threshold_one_half():
    assert THRESHOLDS[HALF] == 0.5
    assert THRESHOLDS[0] == 0
    assert (np.diff(THRESHOLDS) > 0).all()
    edge = np.array([[[np.nextafter(0, -1), 0.0]]])
    assert (to_levels(edge) >= 0).tolist() == [[[False, True]]]


def test_levels_cut_where_the_probability_does():
    logits, _ = random_case(0)
    levels = to_levels(logits[None])[0]
    probability = 1 / (1 + np.exp(-logits))
    for index in (40, 100, HALF, 150, 200):
        assert ((levels >= index + LOWEST) == (probability >= THRESHOLDS[index])).all()


def test_levels_of_many_classes_are_each_against_the_rest():
    logits = np.random.default_rng(0).normal(size=(4, *SHAPE)) * 2
    probability = np.exp(logits) / np.exp(logits).sum(0)
    levels = to_levels(logits)
    assert levels.shape == (3, *SHAPE)
    assert ((levels >= 0) == (probability[1:] >= 0.5)).all()
    assert np.abs(to_probabilities(levels) - probability[1:]).max() < 1 / 64  # half a level: 1/16 of a logit, slope 1/4


def test_levels_end_at_the_ends():
    assert to_levels(np.array([[[-1e30, 1e30]]])).tolist() == [[[LOWEST, HIGHEST]]]


def test_metrics_agree_with_torchmetrics():
    for seed in range(3):
        logits, truth = random_case(seed)
        counts = count(to_levels(logits[None])[0], truth)
        at_half = {name: value[HALF] for name, value in overlap(counts).items()}
        p, t = torch.from_numpy(1 / (1 + np.exp(-logits))), torch.from_numpy(truth.astype(int))
        for name, peer in (
            ("f1", binary_f1_score),
            ("iou", binary_jaccard_index),
            ("precision", binary_precision),
            ("recall", binary_recall),
        ):
            assert at_half[name] == pytest.approx(float(peer(p, t)), abs=1e-6), name


def test_average_precision_is_that_of_scikit_learn():
    for seed in range(3):
        logits, truth = random_case(seed)
        levels = to_levels(logits[None])[0]
        expected = average_precision_score(truth.ravel(), levels.ravel())
        assert average_precision(count(levels, truth)) == pytest.approx(expected, abs=1e-12)
        exact = average_precision_score(truth.ravel(), logits.ravel())
        assert expected == pytest.approx(exact, abs=0.01)  # 256 levels lose little


def within(mask, tolerance):
    """Slow: which pixels lie within `tolerance` of a pixel of `mask`."""
    points = np.argwhere(mask)
    near = np.zeros(mask.shape, bool)
    for y, x in np.ndindex(*mask.shape):
        near[y, x] = len(points) > 0 and (((points - (y, x)) ** 2).sum(1) <= tolerance**2).any()
    return near


@pytest.mark.parametrize("tolerance", [0, 1, 2, 3])
def test_counts_are_those_of_slow_loops(tolerance):
    logits, truth = random_case(1, share=0.03)
    levels = to_levels(logits[None])[0]
    counts = count(levels, truth, tolerance)
    for index in (0, 90, HALF, 140, 250):
        predicted = levels.astype(int) >= index + LOWEST
        assert counts.predicted[index] == predicted.sum()
        assert counts.true[index] == truth.sum()
        assert counts.right[index] == (predicted & within(truth, tolerance)).sum()
        assert counts.found[index] == (truth & within(predicted, tolerance)).sum()


def test_tolerance_by_hand():
    """A line of 5 predicted 2 pixels beside a line of 4: all right, all found within 2, none within 1."""
    truth, logits = np.zeros((9, 9), bool), np.full((1, 9, 9), -5.0)
    truth[2:6, 3], logits[0, 2:7, 5] = True, 5.0
    levels = to_levels(logits)[0]
    near, far = (overlap(count(levels, truth, d)) for d in (2, 1))
    assert near["precision"][HALF] == pytest.approx(4 / 5)  # the fifth is sqrt(5) away
    assert near["recall"][HALF] == 1
    assert near["f1"][HALF] == pytest.approx(8 / 9)
    assert far["f1"][HALF] == 0


def at_half_of(predicted, truth):
    logits = np.where(predicted, 5.0, -5.0)[None]
    return {k: v[HALF] for k, v in overlap(count(to_levels(logits)[0], np.asarray(truth, bool))).items()}


def test_empty_images():
    none, some = np.zeros(SHAPE), np.eye(*SHAPE)
    assert set(at_half_of(none, none).values()) == {1.0}
    assert set(at_half_of(some, none).values()) == {0.0}
    assert set(at_half_of(none, some).values()) == {0.0}
    assert np.isnan(average_precision(count(np.zeros(SHAPE, np.int8), np.zeros(SHAPE, bool))))


def test_classes_are_counted_apart():
    truth = np.array([[0, 1, 2, 2]])
    logits = np.array([[[9.0, 0, 0, 0]], [[0, 9.0, 9.0, 0]], [[0, 0, 0, 9.0]]])
    counts = count_image(to_levels(logits), truth)
    assert counts.predicted[:, HALF].tolist() == [2, 1]
    assert counts.right[:, HALF].tolist() == [1, 1]
    assert counts.true[:, HALF].tolist() == [1, 2]


def test_cross_fitted_threshold_does_not_see_the_image_it_scores():
    f1 = np.random.default_rng(0).random((9, 2, 256))
    before = cross_fit(f1)
    for image in range(9):
        changed = f1.copy()
        changed[image] = 0
        changed[image, :, 7] = 1
        assert (cross_fit(changed)[image] == before[image]).all()


def test_cross_fitted_threshold_is_the_best_of_the_others():
    f1 = np.zeros((8, 1, 256))
    f1[:, 0, 150] = 1
    assert (cross_fit(f1) == 150).all()


def test_of_equal_thresholds_the_one_nearest_to_one_half():
    f1 = np.zeros((8, 1, 256))
    f1[..., 100:120] = 1
    assert (cross_fit(f1) == 119).all()
    assert (cross_fit(np.ones((2, 1, 256))) == HALF).all()


def test_score_at_half_when_it_is_best():
    truth = [random_case(seed)[1] for seed in range(4)]
    levels = [to_levels(np.where(t, 0.05, -0.05)[None])[0] for t in truth]
    counts = Counts.stack([count_image(q[None], t.astype(np.int64)) for q, t in zip(levels, truth, strict=True)])
    columns = score(counts)
    assert {column.shape for column in columns.values()} == {(4, 1)}
    assert (columns["f1_at_0.5"] == 1).all()
    assert (columns["f1_cross_fitted"] == 1).all()
    assert (columns["threshold_cross_fitted"] == 0.5).all()
    assert (columns["average_precision"] == 1).all()
