"""One small module per framework: the only place that knows how a framework spells an operation.

Names are those of the Python array API standard. What the standard lacks is listed in `Namespace` below.
A definition receives its namespace as `xp` and uses nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
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

    def power_of_two(self, x: Array, /) -> Array:
        """The greatest power of two that is not above x > 0, as a constant; where that is inexact, a number near it."""

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

    def line_max(self, x: Array, /, *, axis: int) -> Array:
        """The greatest of each value and its neighbours along an axis, which ends at the border. `line_min`: the least.

        Of equal values one has the gradient.
        """

    def smaller(self, x: Array, y: Array, /) -> Array:
        """The lesser of two arrays of one shape, for where many are compared: all of the gradient of a tie is `x`'s."""

    def tube(self, masks: Array, axes: int, width: int, /) -> Array:
        """A tube round the exact skeleton of masks (*n, *space); see `core/thinning.py`."""

    def relu(self, x: Array, /) -> Array:
        """max(x, 0), with slope 0 at 0."""

    def by_piece(self, f: Callable[[Array, int], Array], pieces: Sequence[tuple[Any, ...]], x: Array, /) -> Array:
        """``f(x[piece], number)`` of all pieces, stacked; a piece at a time, computed anew in the backward pass.

        Pieces may overlap. There is a gradient for `x` alone, not for what `f` knows otherwise.
        """

    def bits(self, x: Array, /) -> Array:
        """Zeros and ones in a dtype that is quick to compute with."""

    def soft_skeleton(
        self, f: Callable[[Array, Array | None], Array], x: Array, valid: Array | None, levels: int, keep: int, /
    ) -> Array:
        """``f(x, valid)``, the soft skeleton of maps (n, k, *space); see `core/topology.py`."""

    def recompute(self, f: Callable[..., Any], /, *arrays: Array) -> Any:
        """``f(*arrays)``, with what happens inside computed anew in the backward pass rather than kept."""

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

    def signed_distance(
        self, inside: Array, valid: Array | None, spacing: Sequence[float], power: float, like: Array, /
    ) -> Array:
        """Distances to the boundaries of masks (*n, *space), to a power; negative inside. See `core/distance.py`."""

    def log_sigmoid(self, x: Array, /) -> Array:
        """``-log(1 + exp(-x))``, stable."""

    def log_softmax(self, x: Array, /, *, axis: int) -> Array:
        """``x - log sum exp x``, stable."""

    def one_hot(self, index: Array, n: int, like: Array, /) -> Array:
        """Class axis of length `n` inserted at position 1, in the dtype of `like`."""

    def settled(self, x: Array, lengths: Mapping[int, Any], /) -> Array:
        """`x`, some of whose axes have these lengths; what is not known is compared when a graph runs, see `Size`."""

    def stop_gradient(self, x: Array, /) -> Array:
        """`x` as a constant."""

    def pad(self, x: Array, width: int, /) -> Array:
        """`x` (n, k, *space) with so many zeros on both sides of every axis of space."""

    def add_product(self, total: Array, a: Array, b: Array, /) -> Array:
        """``total + a * b``, of the shape of `total`, which is used up."""

    def symmetric(self, f: Callable[[Array], Array], x: Array, /) -> Array:
        """``f(x)`` for a linear f that is its own adjoint: its derivative is f again, and nothing is kept for it."""

    def portion(self, x: Array, /) -> int:
        """How many elements like those of `x` are best looked at together: a cache's worth, or all of a trace."""
