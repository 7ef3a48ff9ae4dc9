"""Calls of the Keras face: the classes are the last axis."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np

import lossmith.keras
from faces import Call, direction
from lossmith.core.catalogue import BOXES, CATALOGUE
from lossmith.keras.backend import NAME
from parity import IN_LITTLE_TIME

Toward = Callable[[tuple[int, ...]], np.ndarray]


def channels_last(x: np.ndarray | None, axes: int = 4) -> np.ndarray | None:
    return np.moveaxis(x, 1, -1) if x is not None and x.ndim == axes else x


def channels_first(x: np.ndarray, axes: int = 4) -> np.ndarray:
    return np.moveaxis(x, -1, 1) if x.ndim == axes else x


def loss_of(given: Call, **more: Any) -> lossmith.keras.Loss:
    record = CATALOGUE.get(given.name) or BOXES[given.name]
    return getattr(lossmith.keras, record.cls)(**{**given.parameters, **more})


def agree(got: Any, expected: Any, tolerance: float, said: str) -> None:
    scale = np.abs(expected).max(initial=1e-3)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale, err_msg=said)


def _by_tensorflow(value: Callable[[Any], Any], y_pred: Any, toward: Toward) -> tuple[Any, Any]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        found = value(y_pred)
    return found, tape.gradient(found, y_pred, output_gradients=tf.constant(toward(tuple(found.shape)), found.dtype))


def _by_torch(value: Callable[[Any], Any], y_pred: Any, toward: Toward) -> tuple[Any, Any]:
    import torch

    found = value(y_pred.requires_grad_())
    gradient = torch.autograd.grad(found, y_pred, torch.as_tensor(toward(tuple(found.shape))).to(found.dtype))
    return found.detach(), gradient[0]


def _by_jax(value: Callable[[Any], Any], y_pred: Any, toward: Toward) -> tuple[Any, Any]:
    import jax

    def both(y_pred: Any) -> tuple[Any, Any]:
        found, back = jax.vjp(value, y_pred)
        return found, back(jax.numpy.asarray(toward(found.shape), found.dtype))[0]

    return jax.jit(both).lower(y_pred).compile(compiler_options=IN_LITTLE_TIME)(y_pred)


def _wide(dtype: str) -> AbstractContextManager[Any]:
    """Where the backend has the dtype."""
    if NAME != "jax" or dtype != "float64":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


DERIVE = {"tensorflow": _by_tensorflow, "torch": _by_torch, "jax": _by_jax}


def value_and_gradient(given: Call, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """By the backend of this run, each as NumPy has it: classes on axis 1, that of a map by `direction`."""
    axes, loss = given.logits.ndim, loss_of(given)

    def tensor(x: np.ndarray | None, kind: str) -> Any:
        moved = channels_last(x, axes)
        return None if x is None else keras.ops.convert_to_tensor(moved, kind if x.dtype.kind == "f" else None)

    wide = dtype if dtype == "float64" else "float32"
    with _wide(dtype):
        y_pred, (y_true, weight) = tensor(given.logits, dtype), (tensor(x, wide) for x in given.arrays[1:])
        inputs = {name: tensor(x, wide) for name, x in given.inputs.items()}

        def value(y_pred: Any) -> Any:
            return loss(y_true, y_pred, weight, **inputs)

        found, gradient = DERIVE[NAME](value, y_pred, lambda shape: _toward(shape, axes, wide))
        numbers = [keras.ops.convert_to_numpy(keras.ops.cast(x, wide)) for x in (found, gradient)]
    return channels_first(numbers[0], axes), channels_first(numbers[1], axes)


def _toward(shape: tuple[int, ...], axes: int, dtype: str) -> np.ndarray:
    """The direction of a map that has its classes last."""
    first = (shape[0], shape[-1], *shape[1:-1]) if len(shape) == axes else shape
    return channels_last(direction(first), axes).astype(dtype)
