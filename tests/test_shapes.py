"""The drawn shapes."""

import hashlib
import re

import numpy as np
import pytest

from lossmith.data import load
from lossmith.data.shapes import CLASSES, VERSION


def test_shape_of_the_set() -> None:
    data = load("shapes")
    assert (data.name, data.task, data.classes) == ("shapes", "multiclass", CLASSES)
    assert (len(data.train), len(data.test)) == (64, 16)
    assert len({*data.train.names, *data.test.names}) == 80
    sample = data.train[0]
    assert sample.image.shape == (3, 64, 64)
    assert sample.image.dtype == np.float32
    assert sample.mask.dtype == np.int64
    assert sample.mask is sample.truth
    for part in (data.train, data.test):
        for sample in part:
            assert sample.image.min() >= 0
            assert sample.image.max() <= 1
            assert set(np.unique(sample.mask)) == {0, 1, 2, 3}


def test_pixels_of_this_version() -> None:
    """Other pixels are other data: who changes them raises VERSION, then pins the new digest beside it here."""
    data = load("shapes")
    (first,) = (sample for part in (data.train, data.test) for sample in part if sample.name == "shapes-0000")
    pixels = np.rint(1000.0 * first.image).astype("<i2")  # coarse, so that the last bits of a machine do not count
    digest = hashlib.sha256(pixels.tobytes() + first.truth.astype("u1").tobytes()).hexdigest()
    assert (VERSION, digest) == (1, "fa006cb2a0b72076ab3df9bd2f3d79bfa8a24d2d686b2936f5aa9b3260adce75")


def compactness(region: np.ndarray) -> tuple[float, float]:
    """Ratio of the axes of inertia, and area over that of the ellipse with the same inertia."""
    points = np.argwhere(region).astype(float)
    low, high = np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))
    return float(low / high), float(len(points) / (4 * np.pi * low * high))


def test_classes_are_told_apart_by_form() -> None:
    data = load("shapes(images=12, size=256)")
    for sample in data.train:
        whole = {label: sample.truth == label for label in (1, 2, 3)}
        ratio, fill = compactness(whole[3])
        assert ratio > 0.97
        ratio, fill = compactness(whole[1])
        assert ratio < 0.7
        assert fill == pytest.approx(1.0, abs=0.02)
        ratio, fill = compactness(whole[2])  # a rectangle fills 3 / pi of the ellipse with its inertia
        assert ratio < 0.7
        assert fill == pytest.approx(3 / np.pi, abs=0.02)


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.3, 0.99])
def test_missing_leaves_out_exactly_that_many_annotations(missing: float) -> None:
    data, complete = load(f"shapes(images=20, missing={missing})"), load("shapes(images=20)")
    assert len(data.train) == 16
    absent = 0
    for sample, full in zip(data.train, complete.train, strict=True):
        assert np.array_equal(sample.image, full.image)
        assert np.array_equal(sample.truth, full.truth)
        for label in (1, 2, 3):
            seen = sample.mask == label
            assert np.array_equal(seen, sample.truth == label) or not seen.any()
            absent += not seen.any()
        assert not np.any((sample.mask > 0) & (sample.mask != sample.truth))
    assert absent == round(missing * 48)
    assert all(np.array_equal(sample.mask, sample.truth) for sample in data.test)


def test_same_seed_same_bits_other_seed_other_bits() -> None:
    one, two, other = load("shapes(images=3)"), load("shapes(images=3)"), load("shapes(images=3)", seed=1)
    assert np.array_equal(one.train[0].image, two.train[0].image)
    pictures = [{s.name: s.image for part in (data.train, data.test) for s in part} for data in (one, other)]
    assert not any(np.array_equal(image, pictures[1][name]) for name, image in pictures[0].items())
    prints = {
        load(source, seed=seed, test=test).fingerprint
        for source, seed, test in [
            ("shapes(images=3)", 0, 0.2),
            ("shapes(images=3)", 1, 0.2),
            ("shapes(images=3)", 0, 0.4),
            ("shapes(images=4)", 0, 0.2),
            ("shapes(images=3, noise=0.2)", 0, 0.2),
            ("shapes(images=3, missing=0.2)", 0, 0.2),
            ("shapes(images=3, size=65)", 0, 0.2),
        ]
    }
    assert len(prints) == 7
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint == load("shapes(images=3, noise=0.1, missing=0)").fingerprint


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("shapes(images=1)", "images must be a whole number >= 2; got 1"),
        ("shapes(images=4.0)", "images must be a whole number >= 2; got 4.0"),
        ("shapes(size=31)", "size must be a whole number >= 32; got 31"),
        ("shapes(missing=1)", "missing must be in [0, 1); got 1"),
        ("shapes(missing=-0.1)", "missing must be in [0, 1); got -0.1"),
        ("shapes(noise=2)", "noise must be in [0, 1]; got 2"),
        ("shapes(noise=1e999)", "noise must be in [0, 1]; got inf"),
    ],
)
def test_refuses(source: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        load(source)
