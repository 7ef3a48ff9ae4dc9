"""What is called outside of any graph of TensorFlow, as a graph: one call in place of hundreds."""

import math
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from lossmith.core.namespaces.tensors import Tensor

Arrays = Sequence[Tensor | None]
KEPT = 256


class _Graph:
    """A function of tensors of certain shapes and dtypes: computed as it is once, from its second call by a graph."""

    def __init__(self) -> None:
        self.seen = False
        self.graph: Callable[..., Any] | None = None

    def __call__(self, f: Callable[..., Tensor], arrays: Arrays) -> Tensor:
        if not self.seen:
            value = f(*arrays)
            self.seen = True
            return value
        if self.graph is None:
            self.graph = _traced(f, arrays)
        value = Tensor(self.graph(*(x.held for x in arrays if x is not None)))
        return f(*arrays) if _bad(value.held) else value


@lru_cache(maxsize=KEPT)
def _known(key: Hashable) -> _Graph:  # noqa: ARG001
    return _Graph()


def computed(f: Callable[..., Tensor], key: Hashable, arrays: Arrays) -> Tensor:
    """``f(*arrays)``; equal keys stand for functions that compute the same.

    In a graph bad values can only make a value NaN. So where a NaN comes out and can be seen, f is called as it is,
    which raises at what is bad.
    """
    if not tf.executing_eagerly() or tf.config.functions_run_eagerly():
        return f(*arrays)
    kinds = tuple(None if x is None else (tuple(x.held.shape), x.dtype, x.held.device) for x in arrays)
    return _known((key, kinds))(f, arrays)


def _traced(f: Callable[..., Tensor], arrays: Arrays) -> Callable[..., Any]:
    """The graph of f for arrays like these; those that are None stay so."""
    given = [x is not None for x in arrays]

    def traced(*tensors: Any) -> Any:
        rest = iter(tensors)
        return f(*(Tensor(next(rest)) if here else None for here in given)).values

    specs = [tf.TensorSpec(x.held.shape, x.dtype) for x in arrays if x is not None]
    graph: Callable[..., Any] = tf.function(traced, autograph=False).get_concrete_function(*specs)
    return graph


def _bad(value: Any) -> bool:
    """Whether there is a NaN, where that can be seen without waiting for a device."""
    if "CPU" not in value.device:
        return False
    return math.isnan(value.numpy()) if value.shape.rank == 0 else bool(np.isnan(value.numpy()).any())
