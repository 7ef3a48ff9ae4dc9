"""A namespace over any module that follows the Python array API standard, 2024.12 or later.

Serves NumPy, and array-api-strict as a lint in the tests.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from lossmith.core.distance import signed_distance
from lossmith.core.namespaces import Array
from lossmith.core.namespaces.plain import Plain
from lossmith.core.thinning import tube

CACHE = 2**17  # elements


class Standard(Plain):
    """The standard's names taken from `module`, the missing ones composed from them."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def astype(self, x: Array, like: Array) -> Array:
        return self.module.astype(x, like.dtype, copy=False)

    def constant(self, values: object, like: Array) -> Array:
        return self.module.asarray(values, dtype=like.dtype)

    def integers(self, x: Array) -> Array:
        return self.module.astype(x, self.module.int64, copy=False)

    def kind(self, x: Array) -> str:
        for standard, ours in (("bool", "bool"), ("integral", "integer"), ("real floating", "real")):
            if self.module.isdtype(x.dtype, standard):
                return ours
        return "other"

    def wide(self, x: Array) -> Array:
        half = self.module.finfo(x.dtype).bits < 32
        return self.module.astype(x, self.module.float32) if half else x

    def floor(self, x: Array) -> float:
        return float(self.module.finfo(x.dtype).smallest_normal)

    def power_of_two(self, x: Array) -> Array:
        return 2.0 ** self.module.floor(self.module.log2(self.stop_gradient(x)))

    def read(self, flag: Array) -> bool | None:
        return bool(flag)

    def extremes(self, x: Array) -> tuple[float, float]:
        kind = int if self.kind(x) == "integer" else float
        return kind(self.module.min(x)), kind(self.module.max(x))

    def outside(self, x: Array, low: float, high: float) -> bool:
        if self.kind(x) == "bool":
            return False
        return bool(self.module.any(~((x >= low) & (x <= high))))

    def amax(self, x: Array, *, axis: int, keepdims: bool = False) -> Array:
        return self.module.max(x, axis=axis, keepdims=keepdims)

    def maximum(self, x: Array, bound: Array | float) -> Array:
        return self.module.maximum(x, self.constant(bound, x))

    def corners(self, boxes: Array) -> tuple[Array, Array]:
        planes = self.module.moveaxis(boxes, -1, 0)
        half = planes.shape[0] // 2
        return planes[:half, ...], planes[half:, ...]

    def minimum(self, x: Array, y: Array) -> Array:
        return self.module.minimum(x, y)

    def lookup(self, table: Array, index: Array) -> Array:
        return self.module.reshape(self.module.take(table, self.module.reshape(index, (-1,)), axis=0), index.shape)

    def argsort_descending(self, x: Array) -> Array:
        return self.module.argsort(-x, axis=-1)

    def unsort(self, values: Array, order: Array) -> Array:
        return self.module.take_along_axis(values, self.module.argsort(order, axis=-1), axis=-1)

    def kth_largest(self, x: Array, k: int) -> Array:
        return self.module.sort(x, axis=-1)[..., x.shape[-1] - k :][..., :1]

    def signed_distance(
        self, inside: Array, valid: Array | None, spacing: Sequence[float], power: float, like: Array
    ) -> Array:
        counted = None if valid is None else np.asarray(valid)
        return self.constant(signed_distance(np.asarray(inside), counted, spacing, power, np.float64), like)

    def sigmoid(self, x: Array) -> Array:
        return self.module.exp(self.log_sigmoid(x))

    def log_sigmoid(self, x: Array) -> Array:
        xp = self.module
        return xp.where(x < 0, x, xp.zeros_like(x)) - xp.log1p(xp.exp(-xp.abs(x)))

    def log_softmax(self, x: Array, *, axis: int) -> Array:
        xp = self.module
        shifted = x - xp.max(x, axis=axis, keepdims=True)
        return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))

    def softmax(self, x: Array, *, axis: int) -> Array:
        return self.module.exp(self.log_softmax(x, axis=axis))

    def one_hot(self, index: Array, n: int, like: Array) -> Array:
        xp = self.module
        classes = xp.reshape(xp.arange(n), (1, n) + (1,) * (index.ndim - 1))
        return xp.astype(xp.expand_dims(index, axis=1) == classes, like.dtype)

    def tube(self, masks: Array, axes: int, width: int) -> Array:
        return self.module.asarray(tube(np.asarray(masks), axes, width))

    def relu(self, x: Array) -> Array:
        return self.maximum(x, 0.0)

    def line_max(self, x: Array, *, axis: int) -> Array:
        if x.shape[axis] == 1:
            return x

        def cut(values: Array, start: int | None, stop: int | None) -> Array:
            return values[(slice(None),) * axis + (slice(start, stop), ...)]

        pairs = self.module.maximum(cut(x, None, -1), cut(x, 1, None))
        inner = self.module.maximum(cut(pairs, None, -1), cut(pairs, 1, None))
        return self.module.concat([cut(pairs, 0, 1), inner, cut(pairs, -1, None)], axis=axis)

    def line_min(self, x: Array, *, axis: int) -> Array:
        return -self.line_max(-x, axis=axis)

    def smaller(self, x: Array, y: Array) -> Array:
        return self.module.minimum(x, y)

    def stop_gradient(self, x: Array) -> Array:
        return x

    def pad(self, x: Array, width: int) -> Array:
        for axis in range(2, x.ndim):
            zeros = self.module.zeros_like(x[(slice(None),) * axis + (slice(0, 1), ...)])
            x = self.module.concat([*[zeros] * width, x, *[zeros] * width], axis=axis)
        return x

    def portion(self, _: Array) -> int:
        return CACHE
