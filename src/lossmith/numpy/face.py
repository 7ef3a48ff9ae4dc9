"""What the functions are called with as arrays, and their values as Python's own numbers."""

from typing import Any

import numpy as np

from lossmith.core.functions import Face
from lossmith.core.namespaces.numpy import xp


def take(values: Any) -> np.ndarray | None:
    """Numbers as an array, floating ones in float64."""
    if values is None:
        return None
    array = np.asarray(values)
    return array if array.dtype.kind in "biu" else array.astype(np.float64)


def give(value: np.ndarray) -> float | np.ndarray:
    """A single value as a number."""
    return float(value) if np.ndim(value) == 0 else value


FACE = Face(xp, take, give)
