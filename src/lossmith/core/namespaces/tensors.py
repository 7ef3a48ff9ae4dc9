"""TensorFlow's tensors as arrays of the standard: operators that convert, lengths that are numbers or a `Size`.

The definitions have the classes on axis 1, users of TensorFlow on the last. A `Tensor` may hold them there and show
them on axis 1, as a view of torch does: most operations work on what it holds, and nothing is moved in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from lossmith.core.namespaces.size import Size, known

ROW = 1024  # pixels


def _operator(f: Callable[[Any, Any], Any], *, swapped: bool = False) -> Callable[[Any, Any], "Tensor"]:
    """An operator of two operands."""

    def operate(self: "Tensor", other: Any) -> "Tensor":
        return together(f, *((self.alike(other), self) if swapped else (self, self.alike(other))))

    return operate


class Tensor:
    """A tensor as an array of the standard.

    held: the tensor. last: it has axis 1 of the array at its end. scores: that of which the array is the log-softmax.
    """

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("_shape", "_values", "held", "last", "scores")

    def __init__(self, held: Any, *, last: bool = False, scores: "Tensor | None" = None) -> None:
        self.held = held
        self.last = last
        self.scores = scores
        self._shape: tuple[Any, ...] | None = None
        self._values = None if last else held

    @property
    def values(self) -> Any:
        """The tensor with its axes where the array has them."""
        if self._values is None:
            self._values = tf.transpose(self.held, [self.place(axis) for axis in range(self.ndim)])
        return self._values

    @property
    def moved(self) -> Any:
        """The tensor with axis 1 at its end."""
        if self.last or self.ndim < 3:
            return self.held
        if self.held.shape[1] == 1:
            return tf.expand_dims(tf.squeeze(self.held, 1), -1)
        return tf.transpose(self.held, [0, *range(2, self.ndim), 1])

    def place(self, axis: int) -> int:
        """Where the tensor that is held has an axis of the array."""
        axis %= self.ndim
        return axis if not self.last or axis == 0 else self.ndim - 1 if axis == 1 else axis - 1

    @property
    def shape(self) -> tuple[Any, ...]:
        """The lengths of the axes, each an int or a `Size`."""
        if self._shape is None:
            lengths = [
                Size(tf.shape(self.held)[axis]) if length is None else length
                for axis, length in enumerate(self.held.shape.as_list())
            ]
            self._shape = tuple(lengths[self.place(axis)] for axis in range(self.ndim))
        return self._shape

    @property
    def dtype(self) -> Any:
        """The tensor's."""
        return self.held.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        rank: int = self.held.shape.rank
        return rank

    def __getitem__(self, key: Any) -> "Tensor":
        keys = [_cut(part) for part in (key if isinstance(key, tuple) else (key,))]
        if self.last:
            images, classes, *space = _whole(keys, self.ndim)
            if all(isinstance(part, slice) for part in (images, *space)):
                return Tensor(self.held[(images, *space, classes)], last=isinstance(classes, slice))
        return Tensor(self.values[tuple(keys)])

    __add__, __radd__ = _operator(tf.add), _operator(tf.add, swapped=True)
    __sub__, __rsub__ = _operator(tf.subtract), _operator(tf.subtract, swapped=True)
    __mul__, __rmul__ = _operator(tf.multiply), _operator(tf.multiply, swapped=True)
    __floordiv__, __rtruediv__ = _operator(tf.math.floordiv), _operator(tf.divide, swapped=True)
    __lt__, __le__ = _operator(tf.less), _operator(tf.less_equal)
    __gt__, __ge__ = _operator(tf.greater), _operator(tf.greater_equal)
    __eq__, __ne__ = _operator(tf.equal), _operator(tf.not_equal)  # type: ignore[assignment]
    __and__, __or__ = _operator(tf.logical_and), _operator(tf.logical_or)

    def __neg__(self) -> "Tensor":
        return Tensor(-self.held, last=self.last)

    def __invert__(self) -> "Tensor":
        return Tensor(tf.logical_not(self.held), last=self.last)

    def __pow__(self, exponent: float) -> "Tensor":
        return Tensor(tf.square(self.held) if exponent == 2 else tf.pow(self.held, exponent), last=self.last)

    def __truediv__(self, other: Any) -> "Tensor":
        if isinstance(other, Size):  # of nothing the sum is 0, and so is the mean
            return Tensor(self.held / tf.cast(tf.maximum(other.value, 1), self.dtype), last=self.last)
        return together(tf.divide, self, self.alike(other))

    def alike(self, other: Any) -> Any:
        """The other operand: another array as it is, a number or a length in this one's dtype."""
        if isinstance(other, Tensor):
            return other
        return tf.cast(other.value, self.dtype) if isinstance(other, Size) else tf.constant(other, self.dtype)


def together(f: Callable[..., Any], *operands: Any) -> Tensor:
    """An operation on each element of arrays that fit one another, and of single numbers."""
    arrays = [x for x in operands if isinstance(x, Tensor)]
    axes = max(x.ndim for x in arrays)
    if any(x.last for x in arrays) and all(x.ndim in (0, axes) for x in arrays):
        return Tensor(f(*(x.moved if isinstance(x, Tensor) else x for x in operands)), last=True)
    return Tensor(f(*map(bare, operands)))


def reduced(f: Callable[..., Any], x: Tensor, axis: int | Sequence[int] | None, *, keepdims: bool) -> Tensor:
    """A reduction over axes."""
    if axis is None and not keepdims:
        return Tensor(f(x.held))
    if not x.last or not isinstance(axis, int) or (axis % x.ndim == 0 and not keepdims):
        return Tensor(f(x.values, axis=axis, keepdims=keepdims))
    last = keepdims or (axis % x.ndim != 1 and x.ndim > 3)
    return Tensor(f(x.held, axis=x.place(axis), keepdims=keepdims), last=last)


def total(values: Any, *, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """A sum. Down long columns it is taken in two steps: one number after another float32 loses digits."""
    if axis != 1 or values.shape.rank != 3 or (values.shape[1] is not None and values.shape[1] <= ROW):
        return tf.reduce_sum(values, axis=axis, keepdims=keepdims)
    images, pixels = tf.unstack(tf.shape(values)[:2])
    known, classes = values.shape[1:]
    row = ROW if known is None else next((n for n in range(ROW, ROW // 16, -1) if known % n == 0), ROW)
    if known is None or known % row:
        values = tf.pad(values, [(0, 0), (0, -pixels % row), (0, 0)])  # with nothing it is no copy
    rows = tf.reduce_sum(tf.reshape(values, (images, -1, row * classes)), axis=1)  # XLA cannot make one sum of this
    return tf.reduce_sum(tf.reshape(rows, (images, row, classes)), axis=1, keepdims=keepdims)


def permuted(x: Tensor, order: Sequence[int]) -> Tensor:
    """An array with its axes in another order; where the last comes to place 1, nothing is moved."""
    places = [x.place(axis) for axis in order]
    if places == list(range(x.ndim)):
        return Tensor(x.held)
    if x.ndim > 2 and places == [0, x.ndim - 1, *range(1, x.ndim - 1)]:
        return Tensor(x.held, last=True)
    return Tensor(tf.transpose(x.held, places))


def reshaped(x: Tensor, shape: Sequence[Any]) -> Tensor:
    """An array in another shape; where that has the images and the classes of the old one, nothing is moved."""
    if x.last and len(shape) > 2 and tuple(shape[:2]) == x.shape[:2]:
        return Tensor(tf.reshape(x.held, bare([shape[0], *shape[2:], shape[1]])), last=True)
    return Tensor(tf.reshape(x.values, bare(tuple(shape))))


def settled(x: Tensor, lengths: Mapping[int, Any]) -> Tensor:
    """An array, some of whose axes have these lengths: a graph fails where an unknown one turns out to be another."""
    wanted = list(x.shape)
    if not any(isinstance(wanted[axis], Size) for axis in lengths):
        return x
    for axis, length in lengths.items():
        if isinstance(length, Size) or isinstance(wanted[axis], Size):
            wanted[axis] = length
    order = sorted(range(x.ndim), key=x.place)
    shape = [wanted[axis] for axis in order]
    found, right = tf.shape(x.held), tf.stack(bare(shape))
    message = "what a loss is called with must have axes of equal lengths"
    with tf.control_dependencies([tf.debugging.assert_equal(found, right, message)]):
        # XLA leaves that out. Another shape does not fit with the right one, or has another number of values.
        held = tf.reshape(x.held, tf.broadcast_dynamic_shape(tf.identity(found), right))
    return Tensor(
        tf.ensure_shape(held, [None if isinstance(length, Size) else length for length in shape]), last=x.last
    )


def _cut(key: Any) -> Any:
    """An index as the framework takes it."""
    return slice(known(key.start), known(key.stop), key.step) if isinstance(key, slice) else key


def _whole(keys: Sequence[Any], axes: int) -> list[Any]:
    """Indices for each axis, all of it where there was none."""
    here = next((i for i, key in enumerate(keys) if key is Ellipsis), len(keys))
    before, behind = keys[:here], keys[here + 1 :]
    return [*before, *[slice(None)] * (axes - len(before) - len(behind)), *behind]


def bare(x: Any) -> Any:
    """The framework's own, of arrays, lengths and sequences of them."""
    if isinstance(x, Tensor):
        return x.values
    return [known(bare(part)) for part in x] if isinstance(x, list | tuple) else known(x)
