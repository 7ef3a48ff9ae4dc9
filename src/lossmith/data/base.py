"""What a data set is: named samples in two parts, and a fingerprint that says when two sets are the same."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from lossmith.errors import check_whole, must

Image = NDArray[np.float32]
Labels = NDArray[np.int64]

UNKNOWN = 255  # in a mask: nobody has said what this pixel is
CACHE_BYTES = 512 * 2**20  # samples of one part kept in memory; the rest is read again at each visit


@dataclass(frozen=True)
class Sample:
    """One image and its annotation. The arrays are shared between visits: treat them as read-only.

    `mask` is what training may see, `truth` the complete annotation to score against. They are one array,
    except where a data set leaves annotations out on purpose. In a weak mask (see `weaken`) 255 means unknown.
    """

    name: str
    image: Image  # (3, H, W), RGB in [0, 1]
    mask: Labels  # (H, W), class indices
    truth: Labels  # (H, W), class indices


class Samples(Sequence[Sample]):
    """Samples that are read when they are indexed; the first `CACHE_BYTES` of them stay in memory.

    Args:
        names: the name of each sample.
        readers: one function for each sample that reads or draws it. Picklable ones make the
            samples picklable.
    """

    def __init__(self, names: Sequence[str], readers: Sequence[Callable[[], Sample]]) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self._readers = tuple(readers)
        self._cache: dict[int, Sample] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self._readers)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...
    def __getitem__(self, index: int | slice) -> "Sample | Samples":
        if isinstance(index, slice):
            return Samples(self.names[index], self._readers[index])
        position = range(len(self))[index]
        if position in self._cache:
            return self._cache[position]
        sample = self._readers[position]()
        own_truth = 0 if sample.truth is sample.mask else sample.truth.nbytes
        size = sample.image.nbytes + sample.mask.nbytes + own_truth
        if self._cached_bytes + size <= CACHE_BYTES:
            self._cache[position] = sample
            self._cached_bytes += size
        return sample

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_cache": {}, "_cached_bytes": 0}


@dataclass(frozen=True)
class Data:
    """A data set ready for a comparison."""

    name: str  # "shapes", "cracks", "crackforest", or the folder's name
    task: str  # "binary" (background and one class) or "multiclass"
    classes: tuple[str, ...]  # names by class index, background first
    train: Samples
    test: Samples
    fingerprint: str  # sha256 over all that defines the data: equal exactly for the same data and split


def task_of(classes: Sequence[str]) -> str:
    """The task that a list of class names stands for: "binary" for two, "multiclass" for more."""
    return "binary" if len(classes) == 2 else "multiclass"


def fingerprint(*parts: object) -> str:
    """The sha256 (hex) of anything that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def split(count: int, *, seed: int, test: float) -> tuple[list[int], list[int]]:
    """Which of `count` samples train and which test: a seeded permutation, its last `test` share tested.

    Both parts keep at least one sample and list their indices in ascending order.

    Raises:
        ValueError: fewer than two samples, `test` outside (0, 1), or a negative seed.
    """
    check_split(seed=seed, test=test)
    if count < 2:
        raise ValueError(must("data", "at least 2 images, one to train on and one to test on", count))
    tested = min(max(round(test * count), 1), count - 1)
    order = np.random.default_rng(1000 + seed).permutation(count).tolist()
    return sorted(order[: count - tested]), sorted(order[count - tested :])


def check_split(*, seed: int, test: float) -> None:
    """Raise ValueError unless `seed` is a non-negative integer and `test` a share in (0, 1)."""
    check_whole("seed", seed, 0)
    if isinstance(test, bool) or not isinstance(test, int | float) or not 0 < test < 1:
        raise ValueError(must("test", "in (0, 1)", test))
