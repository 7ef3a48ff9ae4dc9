"""Weak labels made of masks."""

import pickle
import re

import numpy as np
import pytest
import torch
from scipy import ndimage

from lossmith.data import Data, load, weak_labels, weaken
from lossmith.data.base import UNKNOWN
from lossmith.lab import compare

CORNERS = np.ones((3, 3))


@pytest.fixture(scope="module")
def data() -> Data:
    return load("shapes(images=12)")


def regions(mask, label):
    components, count = ndimage.label(mask == label, structure=CORNERS)
    return [components == number for number in range(1, count + 1)]


@pytest.mark.parametrize("kind", ["scribbles", "points"])
def test_every_region_has_one_connected_label_of_its_class(data, kind):
    for position, sample in enumerate(data.train):
        mask = sample.mask.copy()
        mask[0, 0], mask[-1, -3:] = 3, 2  # a pixel, and a thin bar, at the edge
        labels = weak_labels(mask, kind, seed=position)
        known = labels != UNKNOWN
        assert np.array_equal(labels[known], mask[known])
        for label in np.unique(mask):
            for region in regions(mask, label):
                assert len(regions(np.where(region, labels, UNKNOWN), label)) == 1
                count = (known & region).sum()
                assert count == 1 if kind == "points" else 1 <= count <= max(3, 0.4 * region.sum())


def test_scribbles_are_long_and_in_the_middle(data):
    sample = data.train[0]
    labels = weak_labels(sample.mask, "scribbles")
    for label in (1, 2, 3):
        depth = ndimage.distance_transform_edt(sample.mask == label)
        assert depth[labels == label].min() >= 0.5 * depth.max()
    rows, columns = np.nonzero(labels == 0)
    assert max(np.ptp(rows), np.ptp(columns)) > 20
    bar = np.zeros((5, 30), dtype=np.int64)
    bar[1:4, 2:28] = 1
    assert (weak_labels(bar, "scribbles") == 1)[2, 3:27].sum() >= 12  # at least from the middle to an end


def test_boxes_are_those_of_the_objects_the_smaller_above():
    mask = np.zeros((6, 8), dtype=np.int64)
    mask[0, 0] = mask[5, 5] = mask[0, 5] = 1
    mask[1:5, 1] = mask[1, 1:6] = 1  # with the corners: an L from (0, 0) to (4, 5)
    mask[3, 3] = 2
    expected = np.zeros((6, 8), dtype=np.int64)
    expected[0:5, 0:6] = 1
    expected[3, 3] = 2
    expected[5, 5] = 1
    assert np.array_equal(weak_labels(mask, "boxes"), expected)
    mask[4, 4] = UNKNOWN
    expected[4, 4] = UNKNOWN
    assert np.array_equal(weak_labels(mask, "boxes"), expected)


@pytest.mark.parametrize("kind", ["scribbles", "points"])
def test_volumes_and_what_was_unknown_before(kind):
    mask = np.zeros((4, 9, 9), dtype=np.int64)
    mask[1:3, 2:7, 2:7] = 1
    mask[:, :, 8] = UNKNOWN
    labels = weak_labels(mask, kind)
    assert (labels[mask == UNKNOWN] == UNKNOWN).all()
    assert sorted(np.unique(labels)) == [0, 1, UNKNOWN]
    assert np.array_equal(labels[labels != UNKNOWN], mask[labels != UNKNOWN])


def test_the_seed_decides(data):
    mask = data.train[0].mask
    assert np.array_equal(weak_labels(mask, "scribbles", seed=3), weak_labels(mask, "scribbles", seed=3))
    assert not np.array_equal(weak_labels(mask, "scribbles", seed=3), weak_labels(mask, "scribbles", seed=4))
    same = np.stack([data.train[0].mask] * 2)
    assert np.array_equal(weak_labels(same[0], "boxes", seed=1), weak_labels(same[0], "boxes", seed=2))


@pytest.mark.parametrize("kind", ["scribbles", "points", "boxes"])
def test_data_keep_truth_and_tests(data, kind):
    weak = weaken(data, kind)
    for sample, full in zip(weak.train, data.train, strict=True):
        assert (sample.name, sample.truth is full.truth, sample.image is full.image) == (full.name, True, True)
        assert not np.array_equal(sample.mask, full.mask)
    assert weak.test is data.test
    assert len({data.fingerprint, weak.fingerprint, weaken(data, kind, seed=1).fingerprint}) == 3
    assert not np.array_equal(weak.train[0].mask, weak.train[1].mask)
    again = pickle.loads(pickle.dumps(weak))
    assert np.array_equal(again.train[1].mask, weak.train[1].mask)


@pytest.mark.parametrize("spec", ["shapes(images=12, weaken=scribbles)", "shapes(weaken='scribbles', images=12)"])
def test_specs(data, spec):
    weak = load(spec, seed=0)
    assert weak.fingerprint == weaken(data, "scribbles").fingerprint
    assert np.array_equal(weak.train[2].mask, weaken(data, "scribbles").train[2].mask)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("cracks(weaken=dots)", "weaken must be 'scribbles', 'points' or 'boxes'; got 'dots'"),
        ("cracks(weaken=3)", "weaken must be 'scribbles', 'points' or 'boxes'; got '3'"),
        ("shapes(weakn=points)", "shapes has no parameter weakn; did you mean weaken?"),
        ("shapes(images=points)", "images must be a number; got 'points'"),
        (
            "shapes(weaken=points, weaken=boxes)",
            "data must be a name or name(parameter=number, ...); got 'shapes(weaken=points, weaken=boxes)'",
        ),
    ],
)
def test_specs_that_are_none(spec, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        load(spec)


@pytest.mark.parametrize(
    ("mask", "error", "text"),
    [
        (np.zeros((4, 4), dtype=np.int64) - 1, ValueError, "mask must be class indices from 0 to 254, or 255 for unknown; got -1"),
        (np.array([[0, 256]]), ValueError, "mask must be class indices from 0 to 254, or 255 for unknown; got 256"),
        (np.zeros((4, 4)), TypeError, "mask must be of integers or bool; got 'float64'"),
        (torch.zeros(4, 4), TypeError, "mask must be of integers or bool; got 'float32'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["scribbles", "points", "boxes"])
def test_masks_that_are_none(kind, mask, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        weak_labels(mask, kind)


@pytest.mark.parametrize("kind", ["scribbles", "points", "boxes"])
def test_masks_of_other_types(kind):
    mask = np.zeros((9, 9), dtype=bool)
    mask[2:6, 3:8] = True
    expected = weak_labels(mask.astype(np.int64), kind)
    for other in (mask, mask.astype(np.uint8), torch.from_numpy(mask), mask.tolist()):
        found = weak_labels(other, kind)
        assert found.dtype == np.int64
        assert np.array_equal(found, expected)


def test_seeds_that_are_none(data):
    for seed in (-1, True, 0.5):
        with pytest.raises(ValueError, match=f"^{re.escape(f'seed must be a whole number >= 0; got {seed}')}$"):
            weaken(data, "points", seed=seed)


def test_a_comparison_on_scribbles_gives_the_image_to_the_loss(tmp_path):
    ce = "ce(ignore_index=255)"
    found = compare(
        "shapes(images=10, size=32, weaken=scribbles)",
        [ce, f"{ce} + 0.1*gated_crf(radius=1)"],
        out=tmp_path,
        seeds=1,
        steps=1,
        crop=32,
        batch=2,
        threads=1,
        progress=False,
    )
    assert sorted(entry["loss"] for entry in found.summary["losses"]) == [ce, f"{ce} + 0.1*gated_crf(radius=1)"]
    with pytest.raises(ValueError, match=r"^loss ce fails on an input of shape"):
        compare("shapes(images=10, size=32, weaken=points)", ["ce"], out=tmp_path / "x", steps=1, progress=False)
