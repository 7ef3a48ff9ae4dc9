"""The backend that Keras runs on: its namespace, and its tensors as arrays of that."""

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import keras

from lossmith.core.namespaces import Array, Namespace

NAME: str = keras.backend.backend()
F = TypeVar("F", bound=Callable[..., Any])

try:
    _module = importlib.import_module(f"lossmith.core.namespaces.{NAME}")
except ModuleNotFoundError as error:
    raise NotImplementedError(f"lossmith.keras runs on TensorFlow, JAX, PyTorch and NumPy; Keras is on {NAME}") from error

xp: Namespace = _module.xp


def take(values: Any) -> Array | None:
    """What Keras takes for a tensor, as an array; None stays."""
    if values is None:
        return None
    tensor = keras.ops.convert_to_tensor(values)
    return _module.Tensor(tensor) if NAME == "tensorflow" else tensor


def give(array: Array) -> Any:
    """An array as a tensor of the backend."""
    return array.values if NAME == "tensorflow" else array


def traced_as_it_is(f: F) -> F:
    """`f`, which a tracer need not rewrite: nothing in it depends on values."""
    return _module.as_it_is(f) if NAME == "tensorflow" else f
