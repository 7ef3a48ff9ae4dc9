"""The CrackForest road images (118 annotated ones), as their authors distribute them.

Y. Shi, L. Cui, Z. Qi, F. Meng, Z. Chen: Automatic road crack detection using random structured forests. IEEE
Transactions on Intelligent Transportation Systems 17(12), 2016. For non-commercial research only.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lossmith.data.base import Data, check_split, split
from lossmith.data.images import Values
from lossmith.data.legend import foreground_labels
from lossmith.data.paired import Pair, check_annotated, check_labels, paired_data, scan
from lossmith.errors import must

CLASSES = ("background", "crack")
CRACK = 2


def load_crackforest(
    root: Path, *, classes: Sequence[str] | None, labels: Sequence[int] | None, seed: int, test: float
) -> Data:
    """Load `root/image/*.jpg` with `root/groundTruth/*.mat`; images without truth are left out.

    The truth is `groundTruth.Segmentation`: 1 pavement, 2 crack, 3 pavement that cracks enclose (not crack,
    although it is above 1), 4 thin cracks, in five files only. Crack is 2 unless `labels` says otherwise,
    such as `(2, 4)`.

    Raises:
        ValueError: a file that does not fit, named; or a label that no mask holds.
    """
    check_split(seed=seed, test=test)
    chosen = (CRACK,) if labels is None else tuple(labels)
    legend = foreground_labels(chosen, CLASSES if classes is None else classes)
    truths = sorted((root / "groundTruth").glob("*.mat"))
    pairs = [Pair(path.stem, _image(root, path), path) for path in truths if not path.name.startswith(".")]
    if len(pairs) < 2:
        raise ValueError(must(f"{root / 'groundTruth'}", "filled with at least 2 .mat files", len(pairs)))
    found = scan(pairs, read_segmentation)
    check_labels(chosen, found)
    train, tested = split(len(pairs), seed=seed, test=test)
    check_annotated(root, legend, [found[i] for i in train])
    return paired_data(
        "crackforest",
        root,
        train=[pairs[i] for i in train],
        test=[pairs[i] for i in tested],
        legend=legend,
        read=read_segmentation,
    )


def _image(root: Path, truth: Path) -> Path:
    image = root / "image" / f"{truth.stem}.jpg"
    if not image.is_file():
        raise ValueError(must(f"mask {truth}", f"matched by its image {image}", "none"))
    return image


def read_segmentation(path: Path) -> Values:
    """The field `groundTruth.Segmentation` of a MATLAB file, `(H, W)`."""
    from scipy.io import loadmat

    try:
        truth = loadmat(path)["groundTruth"]
        values = np.asarray(truth[0, 0]["Segmentation"])
    except Exception as error:  # a broken file fails in scipy's reader in many ways
        expected = "a MATLAB file with the field groundTruth.Segmentation"
        raise ValueError(must(f"mask {path}", expected, f"{type(error).__name__}: {error}")) from error
    if values.ndim != 2 or values.dtype.kind not in "ui":
        got = f"{values.dtype} of shape {values.shape}"
        raise ValueError(must(f"mask {path}", "a matrix of integers", got))
    return values.astype(np.int32)
