"""Calls of the Keras face: the classes are the last axis."""

from typing import Any

import numpy as np

import lossmith.keras
from faces import Call
from lossmith.core.catalogue import BOXES, CATALOGUE


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
