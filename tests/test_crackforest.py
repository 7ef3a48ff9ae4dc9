"""The CrackForest reader, on files made in its form."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from lossmith.data import load


def truth(path: Path, segmentation: np.ndarray) -> None:
    fields = {"Segmentation": segmentation, "Boundaries": np.zeros_like(segmentation)}
    cell = np.empty((1, 1), dtype=[("Segmentation", "O"), ("Boundaries", "O")])
    cell[0, 0] = (fields["Segmentation"], fields["Boundaries"])
    savemat(path, {"groundTruth": cell})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten pairs with labels 1 and 2, also 3 and 4 in one of them, and an image without truth."""
    (tmp_path / "image").mkdir()
    (tmp_path / "groundTruth").mkdir()
    rng = np.random.default_rng(0)
    for number in range(1, 12):
        pixels = rng.integers(0, 256, (8, 12, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "image" / f"{number:03d}.jpg")
        if number < 11:
            labels = rng.choice([1, 2], (8, 12), p=[0.9, 0.1]).astype(np.uint8)
            labels[0, :4] = [1, 2, 3, 4] if number == 3 else [1, 2, 1, 1]
            truth(tmp_path / "groundTruth" / f"{number:03d}.mat", labels)
    return tmp_path


def refused(root: Path, text: str, **options: object) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        load(root, **options)  # type: ignore[arg-type]


def test_only_pairs_and_only_label_2(root: Path) -> None:
    data = load(root)
    assert (data.name, data.task, data.classes) == ("crackforest", "binary", ("background", "crack"))
    assert (len(data.train), len(data.test)) == (8, 2)
    samples = {sample.name: sample for part in (data.train, data.test) for sample in part}
    assert sorted(samples) == [f"{number:03d}" for number in range(1, 11)]
    assert samples["003"].mask[0, :4].tolist() == [0, 1, 0, 0]
    assert samples["003"].image.shape == (3, 8, 12)


def test_labels_2_and_4(root: Path) -> None:
    data = load(root, labels=(2, 4), classes=("road", "any crack"))
    samples = {sample.name: sample for part in (data.train, data.test) for sample in part}
    assert data.classes == ("road", "any crack")
    assert samples["003"].mask[0, :4].tolist() == [0, 1, 0, 1]
    assert data.fingerprint != load(root, labels=(2,)).fingerprint
    assert load(root, labels=(2,)).fingerprint == load(root).fingerprint


def test_the_split_is_the_permutation_of_the_seed(root: Path) -> None:
    order = np.random.default_rng(1000 + 5).permutation(10)
    data = load(root, seed=5)
    assert data.train.names == tuple(f"{index + 1:03d}" for index in sorted(order[:8]))
    assert data.test.names == tuple(f"{index + 1:03d}" for index in sorted(order[8:]))


def test_refusals(root: Path) -> None:
    refused(root, "labels must be values that the masks hold (1, 2, 3, 4); got [5]", labels=(2, 5))
    mask = root / "groundTruth" / "004.mat"
    image = root / "image" / "004.jpg"
    truth(mask, np.ones((12, 8), dtype=np.uint8))
    refused(root, f"mask {mask} must be as large as its image {image} (12 x 8); got '8 x 12'")
    truth(mask, np.ones((8, 12)))
    refused(root, f"mask {mask} must be a matrix of integers; got 'float64 of shape (8, 12)'")
    savemat(mask, {"other": 1})
    field = "a MATLAB file with the field groundTruth.Segmentation"
    refused(root, f"mask {mask} must be {field}; got \"KeyError: 'groundTruth'\"")
    mask.write_bytes(b"broken")
    with pytest.raises(ValueError, match=f"^{re.escape(f'mask {mask} must be {field}; got ')}"):
        load(root)
    image.unlink()
    refused(root, f"mask {mask} must be matched by its image {image}; got 'none'")


def test_too_few_pairs(root: Path) -> None:
    for path in sorted((root / "groundTruth").iterdir())[1:]:
        path.unlink()
    refused(root, f"{root / 'groundTruth'} must be filled with at least 2 .mat files; got 1")


@pytest.mark.skipif("LOSSMITH_CRACKFOREST" not in os.environ, reason="LOSSMITH_CRACKFOREST names no folder")
def test_the_real_data() -> None:
    data = load(os.environ["LOSSMITH_CRACKFOREST"])
    assert (len(data.train), len(data.test)) == (94, 24)
    shares = np.array([sample.mask.mean() for part in (data.train, data.test) for sample in part])
    assert shares.mean() == pytest.approx(0.0162, abs=5e-5)
    assert np.median(shares) == pytest.approx(0.0131, abs=5e-5)
