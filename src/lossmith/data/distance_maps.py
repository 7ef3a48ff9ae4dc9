"""Signed distance maps of targets, each computed once: for losses that take them as `distance=`."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossmith.core import boundary, distance
from lossmith.core.parameters import Count, Label, Spacing
from lossmith.core.pixels import check_task
from lossmith.errors import must

Maps = NDArray[np.float32]


class DistanceMaps:
    """Signed distance maps of targets, negative inside; what was computed is kept, and found again by the target.

    Give them to a loss as ``loss(logits, target, distance=maps)``: to `BoundaryLoss`, to `HausdorffDTLoss`, or to a
    sum with both. They are plain distances; `shift` and `bounded` are applied by the loss that has them.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``, as of the loss.
        classes: number of classes of a multiclass target, background included.
        spacing: the size of a pixel along each axis; None: 1. A `BoundaryLoss` that is given maps has none of its own.
        ignore_index: target value of pixels that are on no side.
        keep: bytes of maps that stay in memory; the ones used least recently go first.

    >>> import numpy as np
    >>> maps = DistanceMaps("binary")
    >>> maps(np.array([[0, 0, 1, 1]])).tolist()
    [[[2.0, 1.0, -1.0, -2.0]]]
    >>> pairs = maps.beside([("image", np.array([[0, 1]]))])  # a data set of (image, target)
    >>> image, target, phi = pairs[0]
    >>> phi.shape
    (1, 1, 2)
    """

    def __init__(
        self,
        task: str,
        classes: int | None = None,
        *,
        spacing: Sequence[float] | None = None,
        ignore_index: int | None = None,
        keep: int = 512 * 2**20,
    ) -> None:
        check_task(task)
        if task == "multiclass":
            Count(2).check("classes", classes)
        elif classes is not None:
            raise ValueError(must("classes", f"None for task={task!r}", classes))
        Spacing().check("spacing", spacing)
        Label().check("ignore_index", ignore_index)
        Count(0).check("keep", keep)
        self.task, self.classes, self.spacing = task, classes, spacing
        self.ignore_index, self.keep = ignore_index, keep
        self._kept: OrderedDict[bytes, Maps] = OrderedDict()
        self._bytes = 0

    def __call__(self, target: ArrayLike) -> Maps:
        """The maps of one image's target, (K, *space) float32: a copy, so they may be written to.

        target: (*space) class indices, multilabel (K, *space); an array or a tensor of integers or bool.
        """
        return self._found(target).copy()

    def batch(self, targets: Iterable[ArrayLike]) -> Maps:
        """The maps of a batch of targets, (N, K, *space): those of a tensor, or of a list of one size."""
        maps = [self._found(target) for target in targets]
        if not maps:
            raise ValueError(must("targets", "at least one", 0))
        return np.stack(maps)

    def _found(self, target: ArrayLike) -> Maps:
        """The maps of one image's target, computed where they are not kept."""
        array = np.ascontiguousarray(target)
        if array.dtype.kind not in "bui":
            raise TypeError(must("target", "of integers or bool", str(array.dtype)))
        key = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode())
        key.update(array.data if array.size else b"")
        found = self._kept.get(key.digest())
        if found is None:
            found = self._maps(array)
            self._remember(key.digest(), found)
        else:
            self._kept.move_to_end(key.digest())
        return found

    def beside(self, samples: Sequence[Any], target: int = 1) -> "WithMaps":
        """A data set whose samples, tuples with the target at place `target`, have its maps behind them."""
        return WithMaps(samples, self, target)

    def _maps(self, target: NDArray[Any]) -> Maps:
        inside, valid = self._sides(target)
        return distance.signed_distance(inside, valid, boundary.pixel_size(self.spacing, inside.ndim - 1))

    def _sides(self, target: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """Which pixels belong to each class, and which count."""
        valid = None if self.ignore_index is None else target != self.ignore_index
        counted = target if valid is None else target[valid]
        top = 1 if self.classes is None else self.classes - 1
        if counted.size and not 0 <= int(counted.min()) <= int(counted.max()) <= top:
            low, high = int(counted.min()), int(counted.max())
            raise ValueError(must("target", f"class indices from 0 to {top}", low if low < 0 else high))
        if self.task == "multilabel":
            return target == 1, valid
        labels = [1] if self.classes is None else range(self.classes)
        inside = np.stack([target == label for label in labels])
        return inside, None if valid is None else np.broadcast_to(valid, inside.shape)

    def _remember(self, key: bytes, maps: Maps) -> None:
        if maps.nbytes > self.keep:
            return
        self._kept[key] = maps
        self._bytes += maps.nbytes
        while self._bytes > self.keep:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_kept": OrderedDict(), "_bytes": 0}


class WithMaps:
    """A data set with distance maps behind every sample, see `DistanceMaps.beside`."""

    def __init__(self, samples: Sequence[Any], maps: DistanceMaps, target: int) -> None:
        self.samples, self.maps, self.target = samples, maps, target

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        sample = self.samples[index]
        return (*sample, self.maps(sample[self.target]))
