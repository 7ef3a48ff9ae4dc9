"""Every loss as a plain function on NumPy arrays, computed in float64: to look at a network's output by hand.

>>> from lossmith.numpy import dice, giou
>>> dice([[2.0, -1.0, 0.5]], [[1, 0, 1]], task="binary")
0.227...
>>> giou([[0.0, 0.0, 2.0, 2.0]], [[1.0, 0.0, 3.0, 2.0]], reduction="none")
array([0.66666667])

The names are those of the spec language (`lossmith list`); ``help(dice)`` says what a loss takes. No framework is
imported. Measures of information are in `lossmith.numpy.information`.
"""

from typing import Any

import numpy as np

from lossmith.core.functions import Function, functions
from lossmith.core.namespaces.numpy import xp


def _take(values: Any) -> np.ndarray | None:
    """Numbers as an array, floating ones in float64."""
    if values is None:
        return None
    array = np.asarray(values)
    return array if array.dtype.kind in "biu" else array.astype(np.float64)


def _give(value: np.ndarray) -> float | np.ndarray:
    """A single value as Python's own number."""
    return float(value) if np.ndim(value) == 0 else value


_LOSSES = functions(xp, _take, _give, __name__)
globals().update(_LOSSES)
__all__ = sorted(_LOSSES)


def __getattr__(name: str) -> Function:
    """For type checkers, which cannot see what is made from the catalogue."""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
