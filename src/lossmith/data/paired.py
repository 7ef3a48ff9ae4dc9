"""Data made of image files and mask files: checked whole before anything trains, read one by one later."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lossmith.data.base import Data, Sample, Samples, fingerprint, task_of
from lossmith.data.images import Values, read_image
from lossmith.data.legend import Legend
from lossmith.errors import must

Reader = Callable[[Path], Values]
Identity = tuple[str, int, str]  # of a file: path below the root, size in bytes, sha256 of the content

VERSION = 1  # raise it when files are read differently: old results then no longer count as the same data


@dataclass(frozen=True)
class Pair:
    """An image file and the file of its mask."""

    name: str
    image: Path
    mask: Path


def scan(pairs: Sequence[Pair], read: Reader) -> list[set[int]]:
    """Read every image and mask once, so that no training run dies of one; return the values of each mask.

    Raises:
        ValueError: a file that cannot be read, or an image and its mask of different sizes.
    """
    found = []
    for pair in pairs:
        image, values = read_image(pair.image), read(pair.mask)
        if image.shape[1:] != values.shape:
            (height, width), (rows, columns) = image.shape[1:], values.shape
            expected = f"as large as its image {pair.image} ({width} x {height})"
            raise ValueError(must(f"mask {pair.mask}", expected, f"{columns} x {rows}"))
        found.append({int(value) for value in np.unique(values)})
    return found


def paired_data(
    name: str, root: Path, *, train: Sequence[Pair], test: Sequence[Pair], legend: Legend, read: Reader
) -> Data:
    """The data set of these pairs, which have been scanned.

    Raises:
        ValueError: a test image that is a training image as well.
    """
    parts = {"train": train, "test": test}
    files = {part: [[_identity(root, path) for path in (p.image, p.mask)] for p in parts[part]] for part in parts}
    _check_apart(root, train=[image for image, _ in files["train"]], test=[image for image, _ in files["test"]])
    meaning = [list(legend.classes), sorted(legend.index.items()), legend.colour, legend.rest]

    def samples(pairs: Sequence[Pair]) -> Samples:
        return Samples([pair.name for pair in pairs], [partial(_read, pair, legend, read) for pair in pairs])

    identity = fingerprint("files", VERSION, files, meaning)
    return Data(name, task_of(legend.classes), legend.classes, samples(train), samples(test), identity)


def check_labels(labels: Sequence[int], found: Sequence[set[int]]) -> None:
    """Raise ValueError where a label is in none of the masks."""
    held = set().union(*found)
    absent = [label for label in labels if label not in held]
    if absent:
        seen = ", ".join(str(value) for value in sorted(held)[:10])
        raise ValueError(must("labels", f"values that the masks hold ({seen})", absent))


def check_annotated(root: Path, legend: Legend, found: Sequence[set[int]]) -> None:
    """Raise ValueError where no training mask holds anything but background: nothing could be learnt."""
    if not any(legend.foreground(values) for values in found):
        expected = "annotated: at least one needs a pixel that is not background"
        seen = sorted(set().union(*found))[:10]
        raise ValueError(must(f"the training masks of {root}", expected, f"mask values {seen}"))


def _check_apart(root: Path, *, train: Sequence[Identity], test: Sequence[Identity]) -> None:
    """Raise ValueError where a test image was trained on: its score would say nothing about new images."""
    trained = {digest: path for path, _, digest in train}
    for path, _, digest in test:
        if digest in trained:
            got = f"the same content as {root / trained[digest]}"
            raise ValueError(must(f"test image {root / path}", "different from every training image", got))


def _identity(root: Path, path: Path) -> Identity:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.relative_to(root).as_posix(), path.stat().st_size, digest


def _read(pair: Pair, legend: Legend, read: Reader) -> Sample:
    mask = legend.apply(read(pair.mask))
    return Sample(pair.name, read_image(pair.image), mask, mask)
