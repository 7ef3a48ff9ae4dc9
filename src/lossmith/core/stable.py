"""Operations whose value and gradient stay finite where the textbook form has 0/0, log 0 or 0**gamma."""

from collections.abc import Callable
from typing import NamedTuple

from lossmith.core.namespaces import Array, Namespace

POWER_FLOOR = 1e-16  # below float64's resolution of 1 - p, above which x**gamma has a finite slope


def divide(
    xp: Namespace, numerator: Array, denominator: Array, otherwise: float | None = 0.0, *, positive: bool = False
) -> Array:
    """Numerator / denominator, and `otherwise` (None: the numerator) where the denominator is 0 or less; NaN stays.

    positive: the denominator is known to be greater than 0.
    """
    if positive:
        return numerator / denominator
    vacant = denominator <= 0
    if xp.read(xp.any(vacant)) is False:
        return numerator / denominator
    ratio = numerator / xp.where(vacant, xp.ones_like(denominator), denominator)
    return ratio if otherwise is None else xp.where(vacant, xp.zeros_like(ratio) + otherwise, ratio)


def power(xp: Namespace, x: Array, gamma: float) -> Array:
    """x**gamma for x >= 0, with finite derivatives at x = 0 also for gamma < 2."""
    if gamma == 0:
        return xp.ones_like(x)
    if gamma == 1:
        return x
    return (x if gamma >= 2 else xp.maximum(x, POWER_FLOOR)) ** gamma


def power_slope(xp: Namespace, x: Array, gamma: float) -> Array:
    """The derivative of `power` by x, divided by gamma."""
    if gamma in (0, 1):
        return xp.ones_like(x)
    if gamma == 2:
        return x
    if gamma > 2:
        return x ** (gamma - 1)
    return xp.where(x > POWER_FLOOR, xp.maximum(x, POWER_FLOOR) ** (gamma - 1), xp.zeros_like(x))


class Powers(NamedTuple):
    """(log * log p + one) * (1 - p)^gamma, a function of a probability p; losses of log p_t may be sums of such."""

    log: float
    one: float
    gamma: float


class Probability:
    """A probability given by its logarithm; p and 1 - p are computed once. rest: 1 - p, where that is known better."""

    def __init__(self, xp: Namespace, log: Array, rest: Array | None = None) -> None:
        self.xp = xp
        self.log = log
        self._value: Array | None = None
        self._rest = rest

    @property
    def value(self) -> Array:
        """p."""
        if self._value is None:
            self._value = self.xp.exp(self.log)
        return self._value

    @property
    def rest(self) -> Array:
        """1 - p, without cancellation."""
        if self._rest is None:
            self._rest = -self.xp.expm1(self.log)
        return self._rest


def of_soft(
    xp: Namespace,
    z: Array,
    t: Array,
    value: Callable[[Probability], Array] | None = None,
    a: Array | None = None,
    b: Array | None = None,
) -> Array:
    """``t a value(p) + (1-t) b value(1-p)`` for p = sigmoid(z), by one sigmoid; no `value`: log p. See `Pixels.expect`.

    With z', less = z, 1 - t where t > 1/2, else -z, t, and q = sigmoid(z'), it is
    (1 - less) value(q) + less value(1 - q), and log(1 - q) = log q - z'. Little cancels: where z' is far below 0 the
    first term is the greater by far. A target of 0 or 1 has no second term, nor needs one.
    """
    near = t > 0.5
    nearer, less = xp.where(near, z, -z), xp.where(near, 1.0 - t, t)
    log_q = xp.log_sigmoid(nearer)
    if value is None and a is None:
        return log_q - less * xp.where(less > 0, nearer, xp.zeros_like(z))
    log_rest = log_q - nearer
    q = Probability(xp, log_q, xp.exp(log_rest))
    rest = Probability(xp, xp.where(less > 0, log_rest, xp.zeros_like(z)), xp.exp(log_q))
    first, second = (p.log if value is None else value(p) for p in (q, rest))
    if a is not None:
        first, second = first * xp.where(near, a, b), second * xp.where(near, b, a)
    return (1.0 - less) * first + less * second


def log_probability(xp: Namespace, p: Array) -> Array:
    """log p; at p = 0 the log of the smallest normal number, with a gradient that still points up."""
    return xp.log(p + xp.floor(p))


def log_complement(xp: Namespace, p: Array) -> Array:
    """log(1 - p) without cancellation for small p, and finite at p = 1."""
    small = xp.where(p > 0.5, xp.zeros_like(p), p)
    return xp.where(p > 0.5, log_probability(xp, 1.0 - p), xp.log1p(-small))


def log_sum_exp(xp: Namespace, x: Array, *, axis: int) -> Array:
    """log sum exp x over an axis."""
    if x.shape[axis] == 0:
        return xp.sum(x, axis=axis)
    top = xp.stop_gradient(xp.amax(x, axis=axis, keepdims=True))
    return xp.log(xp.sum(xp.exp(x - top), axis=axis)) + xp.sum(top, axis=axis)


def log_add_exp(xp: Namespace, x: Array, y: float) -> Array:
    """log(exp x + exp y)."""
    return y - xp.log_sigmoid(y - x)
