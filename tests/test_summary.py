import numpy as np
import pytest

import synthetic
from lossmith.lab.score import HALF


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return synthetic.comparison(tmp_path_factory.mktemp("summary"))


def f1_of(right, predicted, found, true):
    precision, recall = right / predicted, found / true
    return 2 * precision * recall / (precision + recall)


def counts_of(record, kind):
    counts = record.counts()[("exact", "near").index(kind)]
    return counts.right, counts.predicted, counts.found, counts.true


def test_each_group_is_scored_on_its_own_counts(done):
    for entry in done.result.summary["losses"]:
        for group, kind in ((entry, "exact"), (entry["tolerance_2px"], "near")):
            runs = [[a[:, 0, HALF] for a in counts_of(record, kind)] for record in done.records[entry["loss"]]]
            expected = np.mean([f1_of(*run) for run in runs])
            assert group["at_0.5"]["f1"]["mean"] == pytest.approx(expected)
            assert group["at_0.5"]["precision"]["mean"] == pytest.approx(np.mean([r / p for r, p, _, _ in runs]))
            assert group["at_0.5"]["recall"]["mean"] == pytest.approx(np.mean([f / t for _, _, f, t in runs]))
        exact, tolerant = entry["at_0.5"]["f1"]["mean"], entry["tolerance_2px"]["at_0.5"]["f1"]["mean"]
        assert tolerant > exact + 0.01


def test_the_data_set_is_scored_on_sums(done):
    for at, loss in enumerate(done.scores.losses):
        entry = next(entry for entry in done.result.summary["losses"] if entry["loss"] == loss)
        means = {}
        for rule in ("at_0.5", "cross_fitted"):
            names = ("right", "predicted", "found", "true")
            sums = [done.scores.columns[f"{name}_{rule}"][at].sum(axis=1)[:, 0] for name in names]
            means[rule] = f1_of(*sums).mean()
            assert entry["dataset"][rule]["f1"]["mean"] == pytest.approx(means[rule])
        assert abs(means["at_0.5"] - means["cross_fitted"]) > 0.002
        at_half = [[a[:, 0, HALF].sum() for a in counts_of(record, "exact")] for record in done.records[loss]]
        assert means["at_0.5"] == pytest.approx(np.mean([f1_of(*run) for run in at_half]))


def test_how_far_each_loss_is_behind_the_leader(done):
    leader, *others = done.result.summary["losses"]
    assert leader["behind_leader"] is None
    assert len(others) == 2
    for entry in others:
        gap = leader["cross_fitted"]["f1"]["mean"] - entry["cross_fitted"]["f1"]["mean"]
        behind = entry["behind_leader"]
        assert behind["mean"] == pytest.approx(gap)
        assert behind["low"] <= behind["mean"] <= behind["high"]
        assert 0 <= behind["p_holm"] <= 1


def test_memory_that_the_system_does_not_tell(tmp_path):
    done = synthetic.comparison(tmp_path, losses=("ce",), seeds=1, peak=None)
    assert done.result.summary["losses"][0]["peak_memory_mb"] is None
