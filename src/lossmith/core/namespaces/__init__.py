"""One small module per framework: the only place that knows how a framework spells an operation.

Names are those of the Python array API standard. What the standard lacks is listed in `Namespace` below.
A definition receives its namespace as `xp` and uses nothing else.
"""

from typing import Any, Protocol

Array = Any
"""An array of any framework. The frameworks share no base class, so the type says no more than the name."""


class Namespace(Protocol):
    """The operations a definition may use, beyond `exp`, `log`, `where`, `sum` and their like of the standard."""

    def __getattr__(self, name: str) -> Any: ...

    def astype(self, x: Array, like: Array, /) -> Array:
        """`x` in the dtype (and on the device) of `like`."""

    def constant(self, values: object, like: Array, /) -> Array:
        """Python numbers as an array with dtype and device of `like`."""

    def kind(self, x: Array, /) -> str:
        """ "bool", "integer", "real" or "other"."""

    def wide(self, x: Array, /) -> Array:
        """Half precision as float32; float32 and float64 as they are."""

    def floor(self, x: Array, /) -> float:
        """The smallest normal number of `x`'s dtype."""

    def read(self, flag: Array, /) -> bool | None:
        """The value of a 0-d flag, or None where reading it would break a trace or wait for a device."""

    def extremes(self, x: Array, /) -> tuple[float, float]:
        """Least and greatest value, as Python numbers; only after `read` has given a value."""

    def outside(self, x: Array, low: float, high: float, /) -> bool | Array:
        """Whether a value is below `low`, above `high`, or NaN: a flag where that cannot be read (see `read`)."""

    def amax(self, x: Array, /, *, axis: int, keepdims: bool = False) -> Array:
        """The greatest value of an axis."""

    def maximum(self, x: Array, bound: Array | float, /) -> Array:
        """The greater of two, the second an array or a number."""

    def corners(self, boxes: Array, /) -> tuple[Array, Array]:
        """Boxes (*n, 2 d) as lower and upper corners (d, *n), laid out so that each coordinate is read quickly."""

    def lookup(self, table: Array, index: Array, /) -> Array:
        """``table[index]`` for a table of one axis and an integer array of any shape."""

    def argsort_descending(self, x: Array, /) -> Array:
        """Order of the last axis, largest first."""

    def unsort(self, values: Array, order: Array, /) -> Array:
        """Values of the last axis back from `order` into their own: ``result[order] = values``."""

    def kth_largest(self, x: Array, k: int, /) -> Array:
        """The k-th largest value of the last axis, kept as an axis; NaN counts as largest."""

    def log_sigmoid(self, x: Array, /) -> Array:
        """``-log(1 + exp(-x))``, stable."""

    def log_softmax(self, x: Array, /, *, axis: int) -> Array:
        """``x - log sum exp x``, stable."""

    def one_hot(self, index: Array, n: int, like: Array, /) -> Array:
        """Class axis of length `n` inserted at position 1, in the dtype of `like`."""

    def stop_gradient(self, x: Array, /) -> Array:
        """`x` as a constant."""
