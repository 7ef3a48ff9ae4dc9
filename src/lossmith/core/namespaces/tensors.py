"""TensorFlow's tensors as arrays of the standard: operators that convert, lengths that are numbers or a `Size`."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from lossmith.core.namespaces.size import Size, known


def _operator(f: Callable[[Any, Any], Any], *, swapped: bool = False) -> Callable[[Any, Any], "Tensor"]:
    """An operator of two operands."""

    def operate(self: "Tensor", other: Any) -> "Tensor":
        operands = (self.values, self.alike(other))
        return Tensor(f(*(operands[::-1] if swapped else operands)))

    return operate


class Tensor:
    """A tensor as an array of the standard."""

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("_shape", "values")

    def __init__(self, values: Any) -> None:
        self.values = values
        self._shape: tuple[Any, ...] | None = None

    @property
    def shape(self) -> tuple[Any, ...]:
        """The lengths of the axes, each an int or a `Size`."""
        if self._shape is None:
            self._shape = tuple(
                Size(tf.shape(self.values)[axis]) if length is None else length
                for axis, length in enumerate(self.values.shape.as_list())
            )
        return self._shape

    @property
    def dtype(self) -> Any:
        """The tensor's."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        rank: int = self.values.shape.rank
        return rank

    def __getitem__(self, key: Any) -> "Tensor":
        keys = key if isinstance(key, tuple) else (key,)
        return Tensor(self.values[tuple(map(_cut, keys))])

    __add__, __radd__ = _operator(tf.add), _operator(tf.add, swapped=True)
    __sub__, __rsub__ = _operator(tf.subtract), _operator(tf.subtract, swapped=True)
    __mul__, __rmul__ = _operator(tf.multiply), _operator(tf.multiply, swapped=True)
    __floordiv__, __rtruediv__ = _operator(tf.math.floordiv), _operator(tf.divide, swapped=True)
    __lt__, __le__ = _operator(tf.less), _operator(tf.less_equal)
    __gt__, __ge__ = _operator(tf.greater), _operator(tf.greater_equal)
    __eq__, __ne__ = _operator(tf.equal), _operator(tf.not_equal)  # type: ignore[assignment]
    __and__, __or__ = _operator(tf.logical_and), _operator(tf.logical_or)

    def __neg__(self) -> "Tensor":
        return Tensor(-self.values)

    def __invert__(self) -> "Tensor":
        return Tensor(tf.logical_not(self.values))

    def __pow__(self, exponent: float) -> "Tensor":
        return Tensor(tf.square(self.values) if exponent == 2 else tf.pow(self.values, exponent))

    def __truediv__(self, other: Any) -> "Tensor":
        if isinstance(other, Size):  # of nothing the sum is 0, and so is the mean
            return Tensor(self.values / tf.cast(tf.maximum(other.value, 1), self.dtype))
        return Tensor(self.values / self.alike(other))

    def alike(self, other: Any) -> Any:
        """The other operand: of another tensor its own, a number or a length in this one's dtype."""
        if isinstance(other, Tensor):
            return other.values
        return tf.cast(other.value, self.dtype) if isinstance(other, Size) else tf.constant(other, self.dtype)


def _cut(key: Any) -> Any:
    """An index as the framework takes it."""
    return slice(known(key.start), known(key.stop), key.step) if isinstance(key, slice) else key


def bare(x: Any) -> Any:
    """The framework's own, of arrays, lengths and sequences of them."""
    if isinstance(x, Tensor):
        return x.values
    return [known(bare(part)) for part in x] if isinstance(x, list | tuple) else known(x)
