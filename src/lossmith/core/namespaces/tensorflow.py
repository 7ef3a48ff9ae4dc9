"""TensorFlow, eager and in graphs whose sizes are known only when they run.

Its tensors are no arrays of the standard: a bool times a number is a bool, an unknown length is None. `Tensor` is one
with the standard's operators, whose unknown lengths are each a `Size`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lossmith.core import distance, thinning
from lossmith.core.namespaces.graphs import computed as computed
from lossmith.core.namespaces.plain import Plain
from lossmith.core.namespaces.tensors import Tensor as Tensor
from lossmith.core.namespaces.tensors import bare, permuted, reduced, reshaped, settled, together, total

BY_NUMPY = "on_the_CPU_so_jit_compile_must_be_False"  # of what XLA cannot compile it says no more than the name
KINDS = (("is_bool", "bool"), ("is_integer", "integer"), ("is_floating", "real"))


def _lifted(f: Callable[..., Any]) -> Callable[..., Tensor]:
    """A function of tensors as one of arrays."""

    def lifted(*args: Any, **named: Any) -> Tensor:
        return Tensor(f(*map(bare, args), **named))

    return lifted


def _elementwise(f: Callable[..., Any]) -> Callable[..., Tensor]:
    def lifted(*arrays: Tensor) -> Tensor:
        return together(f, *arrays)

    return lifted


def _reduction(f: Callable[..., Any]) -> Callable[..., Tensor]:
    def lifted(x: Tensor, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return reduced(f, x, axis, keepdims=keepdims)

    return lifted


class _TensorFlow(Plain):
    abs, exp, expm1, log, log1p, sqrt = map(
        staticmethod, map(_elementwise, (tf.abs, tf.exp, tf.math.expm1, tf.math.log, tf.math.log1p, tf.sqrt))
    )
    minimum, smaller, atan2 = map(staticmethod, map(_elementwise, (tf.minimum, tf.minimum, tf.math.atan2)))
    sum, mean, any, amax = map(staticmethod, map(_reduction, (total, tf.reduce_mean, tf.reduce_any, tf.reduce_max)))
    zeros_like, ones_like, stop_gradient = map(
        staticmethod, map(_elementwise, (tf.zeros_like, tf.ones_like, tf.stop_gradient))
    )
    sigmoid, log_sigmoid, relu = map(staticmethod, map(_elementwise, (tf.sigmoid, tf.math.log_sigmoid, tf.nn.relu)))
    expand_dims, concat, stack = map(staticmethod, map(_lifted, (tf.expand_dims, tf.concat, tf.stack)))
    permute_dims, reshape = staticmethod(permuted), staticmethod(reshaped)

    def softmax(self, x: Tensor, *, axis: int) -> Tensor:
        return Tensor(tf.nn.softmax(x.held, axis=x.place(axis)), last=x.last)

    def log_softmax(self, x: Tensor, *, axis: int) -> Tensor:
        held = tf.nn.log_softmax(x.held, axis=x.place(axis))
        return Tensor(held, last=x.last, scores=x if axis == 1 else None)

    def argmax(self, x: Tensor, *, axis: int) -> Tensor:
        held, place = (x.held, x.place(axis)) if axis == 1 else (x.values, axis)
        return Tensor(tf.argmax(held, place))

    def asarray(self, values: Any) -> Tensor:
        return values if isinstance(values, Tensor) else Tensor(tf.convert_to_tensor(values))

    def astype(self, x: Tensor, like: Tensor) -> Tensor:
        return x if x.dtype == like.dtype else Tensor(tf.cast(x.held, like.dtype), last=x.last)

    def constant(self, values: Any, like: Tensor) -> Tensor:
        return Tensor(tf.constant(values, dtype=like.dtype))

    def integers(self, x: Tensor) -> Tensor:
        return x if x.dtype == tf.int64 else Tensor(tf.cast(x.held, tf.int64), last=x.last)

    def kind(self, x: Tensor) -> str:
        return next((ours for name, ours in KINDS if getattr(x.dtype, name)), "other")

    def wide(self, x: Tensor) -> Tensor:
        return Tensor(tf.cast(x.held, tf.float32), last=x.last) if x.dtype.size < 4 else x

    def floor(self, x: Tensor) -> float:
        return float(np.finfo(x.dtype.as_numpy_dtype).smallest_normal)

    def power_of_two(self, x: Tensor) -> Tensor:
        exponent = tf.floor(tf.math.log(tf.stop_gradient(x.values)) / math.log(2.0))
        return Tensor(tf.constant(2.0, x.dtype) ** exponent)

    def read(self, flag: Tensor) -> bool | None:
        if not hasattr(flag.held, "numpy") or "CPU" not in flag.held.device:
            return None
        return bool(flag.held.numpy())

    def extremes(self, x: Tensor) -> tuple[float, float]:
        values = x.held.numpy()
        return values.min().item(), values.max().item()

    def outside(self, x: Tensor, low: float, high: float) -> bool | Tensor:
        if x.dtype.is_bool:
            return False
        number = int if x.dtype.is_integer else float
        inside = (x >= max(low, number(x.dtype.min))) & (x <= min(high, number(x.dtype.max)))
        flag = self.any(~inside)
        seen = self.read(flag)
        return flag if seen is None else seen

    def where(self, condition: Tensor, x: Any, y: Any) -> Tensor:
        like = x if isinstance(x, Tensor) else y
        return together(tf.where, condition, like.alike(x), like.alike(y))

    def maximum(self, x: Tensor, bound: Any) -> Tensor:
        return together(tf.maximum, x, x.alike(bound))

    def settled(self, x: Tensor, lengths: Mapping[int, Any]) -> Tensor:
        return settled(x, lengths)

    def unstack(self, x: Tensor) -> list[Tensor]:
        return [Tensor(part) for part in tf.unstack(x.values)]

    def corners(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        planes = tf.unstack(boxes.values, axis=-1)
        half = len(planes) // 2
        return Tensor(tf.stack(planes[:half])), Tensor(tf.stack(planes[half:]))

    def lookup(self, table: Tensor, index: Tensor) -> Tensor:
        return Tensor(tf.gather(table.values, index.values))

    def one_hot(self, index: Tensor, n: int, like: Tensor) -> Tensor:
        return Tensor(tf.one_hot(index.values, n, axis=-1 if like.last else 1, dtype=like.dtype), last=like.last)

    def take_along_axis(self, x: Tensor, index: Tensor, *, axis: int) -> Tensor:
        last = x.ndim - 1
        if axis % x.ndim == last:
            return Tensor(tf.gather(x.values, index.values, axis=-1, batch_dims=last))
        if x.scores is not None:
            return self._log_truth(x.scores, index)
        chosen = self.one_hot(index[:, 0, ...], x.shape[1], x)  # of a few classes: a gather is slower
        return self.sum(self.where(chosen > 0, x, self.zeros_like(x)), axis=1, keepdims=True)

    def _log_truth(self, scores: Tensor, index: Tensor) -> Tensor:
        """The log-softmax of scores (n, k, *space) at indices (n, 1, *space), by the kernel made for it."""
        rows = tf.reshape(scores.moved, (-1, scores.shape[1]))
        minus, _ = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=rows, labels=tf.reshape(index.values, (-1,)))
        return Tensor(tf.reshape(-minus, bare(index.shape)))

    def cumulative_sum(self, x: Tensor, *, axis: int) -> Tensor:
        """In float64: one number after another float32 loses digits, and counts no further than 2^24."""
        return self.astype(Tensor(tf.cumsum(tf.cast(x.values, tf.float64), axis)), x)

    def argsort_descending(self, x: Tensor) -> Tensor:
        return Tensor(tf.argsort(x.values, axis=-1, direction="DESCENDING", stable=True))

    def unsort(self, values: Tensor, order: Tensor) -> Tensor:
        n = tf.shape(values.values)[-1]
        rows = tf.reshape(order.values, (-1, n))
        places = tf.reshape(rows + n * tf.range(tf.shape(rows)[0])[:, None], (-1, 1))
        flat = tf.scatter_nd(places, tf.reshape(values.values, (-1,)), tf.shape(places)[:1])
        return self.reshape(Tensor(flat), values.shape)

    def kth_largest(self, x: Tensor, k: int) -> Tensor:
        values = tf.where(tf.math.is_nan(x.values), tf.constant(math.inf, x.dtype), x.values)
        return Tensor(tf.math.top_k(values, k).values[..., -1:])

    def signed_distance(
        self, inside: Tensor, valid: Tensor | None, spacing: Sequence[float], power: float, like: Tensor
    ) -> Tensor:
        def on_the_host(inside: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
            found = distance.signed_distance(inside, valid, spacing, power, np.float64)
            return found.astype(like.dtype.as_numpy_dtype)

        masks = [inside] if valid is None else [inside, valid]
        return self._computed(on_the_host, masks, like.dtype)

    def tube(self, masks: Tensor, axes: int, width: int) -> Tensor:
        return self._computed(lambda values: thinning.tube(values, axes, width), [masks], tf.bool)

    def _computed(self, f: Callable[..., np.ndarray], arrays: Sequence[Tensor], dtype: Any) -> Tensor:
        """By NumPy, with the shape of the first array."""
        with tf.name_scope(BY_NUMPY):
            found = tf.numpy_function(f, [array.values for array in arrays], dtype, stateful=False)
        return Tensor(tf.ensure_shape(found, arrays[0].values.shape))

    def line_max(self, x: Tensor, *, axis: int) -> Tensor:
        lines = self.reshape(x, (-1, x.shape[axis], 1, math.prod(x.shape[axis + 1 :])))
        return self.reshape(Tensor(tf.nn.max_pool2d(lines.values, (3, 1), 1, "SAME")), x.shape)

    def line_min(self, x: Tensor, *, axis: int) -> Tensor:
        return -self.line_max(-x, axis=axis)

    def pad(self, x: Tensor, width: int) -> Tensor:
        return Tensor(tf.pad(x.values, [(0, 0), (0, 0), *[(width, width)] * (x.ndim - 2)]))

    def portion(self, x: Tensor) -> Any:
        return math.prod(x.shape)


xp = _TensorFlow()


def replicas() -> int:
    """How many devices share a batch under `tf.distribute`."""
    count: int = tf.distribute.get_strategy().num_replicas_in_sync
    return count


as_it_is = tf.autograph.experimental.do_not_convert
