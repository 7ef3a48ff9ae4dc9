"""The backend that Keras runs on: its namespace, and its tensors as arrays of that."""

import importlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import keras

from lossmith.core.namespaces import Array, Namespace
from lossmith.errors import must

NAME: str = keras.backend.backend()
F = TypeVar("F", bound=Callable[..., Any])

Arrays = tuple[Array | None, Array | None, Array | None, Array | None]
"""Truth, prediction, weight and mask."""

RUNS_ON = ("tensorflow", "jax", "torch", "numpy")
COMPILED = ("tensorflow", "jax")  # where a call outside of a graph or trace is one, too

if NAME not in RUNS_ON:
    raise NotImplementedError(must("the backend of Keras", " or ".join(RUNS_ON), NAME))
_module = importlib.import_module(f"lossmith.core.namespaces.{NAME}")
xp: Namespace = _module.xp
engine: Any = None
if NAME == "torch":
    from lossmith.torch import engine as of_torch

    engine = of_torch


def take(values: Any) -> Array | None:
    """What Keras takes for a tensor, as an array; None stays."""
    if values is None:
        return None
    tensor = keras.ops.convert_to_tensor(values)
    return _module.Tensor(tensor) if NAME == "tensorflow" else tensor


def give(array: Array) -> Any:
    """An array as a tensor of the backend."""
    return array.values if NAME == "tensorflow" else array


def computed(
    f: Callable[[Arrays, Mapping[str, Array | None]], Array], key: Hashable, tensors: Arrays, named: Mapping[str, Any]
) -> Any:
    """``f(tensors, named)``, f being a function of arrays; equal keys stand for functions that compute the same."""
    taken, names = [take(x) for x in (*tensors, *named.values())], tuple(named)

    def value(*arrays: Array | None) -> Array:  # it may be kept: it must not hold the tensors of this call
        y_true, y_pred, weight, mask, *inputs = arrays
        return f((y_true, y_pred, weight, mask), dict(zip(names, inputs, strict=True)))

    return give(_module.computed(value, (key, names), taken) if NAME in COMPILED else value(*taken))


def traced_as_it_is(f: F) -> F:
    """`f`, which a tracer need not rewrite: nothing in it depends on values."""
    return _module.as_it_is(f) if NAME == "tensorflow" else f


def share(mean: Any) -> Any:
    """What a replica's mean adds to that of all: Keras takes their sum."""
    count = _module.replicas() if NAME == "tensorflow" else 1
    return mean if count == 1 else mean / count
