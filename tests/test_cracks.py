"""The drawn cracks, measured against what CrackForest looks like."""

import hashlib
import re

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, distance_transform_edt, label

from lossmith.data import Data, Sample, load
from lossmith.data.cracks import VERSION


@pytest.fixture(scope="module")
def data() -> Data:
    return load("cracks")


@pytest.fixture(scope="module")
def samples(data: Data) -> list[Sample]:
    return [*data.train, *data.test]


def test_shape_of_the_set(data: Data, samples: list[Sample]) -> None:
    assert (data.name, data.task, data.classes) == ("cracks", "binary", ("background", "crack"))
    assert (len(data.train), len(data.test)) == (51, 13)
    for sample in samples:
        assert sample.image.shape == (3, 192, 192)
        assert sample.image.dtype == np.float32
        assert sample.mask.dtype == np.int64
        assert sample.image.min() >= 0
        assert sample.image.max() <= 1
        assert set(np.unique(sample.mask)) == {0, 1}


def test_pixels_of_this_version(samples: list[Sample]) -> None:
    """Other pixels are other data: who changes them raises VERSION, then pins the new digest beside it here."""
    (first,) = (sample for sample in samples if sample.name == "cracks-0000")
    pixels = np.rint(1000.0 * first.image).astype("<i2")  # coarse, so that the last bits of a machine do not count
    digest = hashlib.sha256(pixels.tobytes() + first.mask.astype("u1").tobytes()).hexdigest()
    assert (VERSION, digest) == (1, "e2f70507ef0fe568620a5d80fcab0942793812a768e9de63ca66d028cf9a9965")


def test_class_balance_is_that_of_real_roads(samples: list[Sample]) -> None:
    shares = np.array([sample.mask.mean() for sample in samples])
    assert 0.01 < shares.mean() < 0.03
    assert 0.009 < np.median(shares) < 0.02
    assert shares.min() >= 0.003
    assert shares.max() <= 0.06


def test_width_is_that_of_real_cracks(samples: list[Sample]) -> None:
    peaks = np.concatenate([2 * distance_transform_edt(sample.mask)[ridge(sample.mask)] - 1 for sample in samples[:16]])
    assert 1 <= np.median(peaks) <= 3  # CrackForest measured in this way: median 1.8, 5.0 at 95 %
    assert 2.5 <= np.percentile(peaks, 95) <= 6


def ridge(mask: np.ndarray) -> np.ndarray:
    depth = distance_transform_edt(mask)
    around = np.pad(depth, 1)
    return (
        (mask > 0)
        & (depth >= around[:-2, 1:-1])
        & (depth >= around[2:, 1:-1])
        & (depth >= around[1:-1, :-2])
        & (depth >= around[1:-1, 2:])
    )


def test_cracks_are_darker_but_brightness_alone_does_not_find_them(samples: list[Sample]) -> None:
    scores = []
    for sample in samples:
        gray = sample.image.mean(axis=0)
        crack = sample.mask == 1
        beside = binary_dilation(crack, iterations=6) & ~binary_dilation(crack, iterations=2)
        assert gray[crack].mean() < gray[beside].mean()
        dark = gray < np.quantile(gray, crack.mean())
        scores.append(2 * (dark & crack).sum() / (dark.sum() + crack.sum()))
    assert 0.2 < np.mean(scores) < 0.6


def test_cracks_are_long_and_few(samples: list[Sample]) -> None:
    pieces = [label(sample.mask, np.ones((3, 3)))[1] for sample in samples]
    assert np.median(pieces) <= 2
    assert max(pieces) < 20


def test_the_background_has_dark_things_that_are_no_cracks(samples: list[Sample]) -> None:
    darkest = [sample.image.mean(axis=0)[sample.mask == 0].min() for sample in samples]
    cracks = [sample.image.mean(axis=0)[sample.mask == 1].mean() for sample in samples]
    assert np.mean(np.array(darkest) < np.array(cracks)) > 0.9


@pytest.mark.parametrize("size", [64, 100, 400])
def test_balance_holds_for_other_sizes(size: int) -> None:
    data = load(f"cracks(images=4, size={size})", seed=5)
    for sample in [*data.train, *data.test]:
        assert sample.image.shape == (3, size, size)
        assert 0.003 <= sample.mask.mean() <= 0.06


def test_same_seed_same_bits_other_seed_other_bits() -> None:
    spec = "cracks(images=2, size=64)"
    one, two, other = load(spec), load(spec), load(spec, seed=1)
    assert np.array_equal(one.train[0].image, two.train[0].image)
    assert np.array_equal(one.train[0].mask, two.train[0].mask)
    pictures = [{s.name: s.image for part in (data.train, data.test) for s in part} for data in (one, other)]
    assert not any(np.array_equal(image, pictures[1][name]) for name, image in pictures[0].items())
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint != load("cracks(images=2, size=65)").fingerprint


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("cracks(size=63)", "size must be a whole number >= 64; got 63"),
        ("cracks(images=0)", "images must be a whole number >= 2; got 0"),
    ],
)
def test_refuses(source: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        load(source)
