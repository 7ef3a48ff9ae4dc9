"""Pixel losses for wrong labels and for very rare foreground: variants of cross-entropy by what they do to log p_t."""

from collections.abc import Callable
from dataclasses import dataclass

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixel import Focusing, class_share, class_tables
from lossmith.core.pixels import Pixels
from lossmith.core.reduce import Terms
from lossmith.core.stable import Powers, Probability, power, power_slope


@dataclass(frozen=True)
class Poly:
    """-log p + epsilon (1 - p)."""

    xp: Namespace
    epsilon: float

    def __call__(self, p: Probability) -> Array:
        """The value."""
        return -p.log + self.epsilon * p.rest

    @property
    def powers(self) -> tuple[Powers, ...]:
        """As a sum of powers."""
        return Powers(-1.0, 0.0, 0.0), Powers(0.0, self.epsilon, 1.0)

    def slope(self, p: Probability) -> Array:
        """By log p: -1 - epsilon p."""
        return -1.0 - self.epsilon * p.value


def poly(px: Pixels, *, epsilon: float = 1.0, class_weight: Array | None = None) -> Terms:
    """-log p_t + epsilon (1 - p_t), Poly-1 (Leng 2022)."""
    return _of_truth(px, Poly(px.xp, epsilon), class_weight)


@dataclass(frozen=True)
class BoxCox:
    """(1 - p^q) / q; -log p for q = 0."""

    xp: Namespace
    q: float

    def __call__(self, p: Probability) -> Array:
        """The value."""
        return -p.log if self.q == 0 else -self.xp.expm1(self.q * p.log) / self.q

    def slope(self, p: Probability) -> Array:
        """By log p: -p^q."""
        return -self.xp.exp(self.q * p.log)


def generalized_cross_entropy(px: Pixels, *, q: float = 0.7, class_weight: Array | None = None) -> Terms:
    """(1 - p_t^q) / q (Zhang & Sabuncu 2018)."""
    return _of_truth(px, BoxCox(px.xp, q), class_weight)


def _of_truth(px: Pixels, value: Callable[[Probability], Array], class_weight: Array | None) -> Terms:
    """A function of p_t, with class weights."""
    tables = class_tables(px, class_weight)
    return Terms(px.expect(value, *tables), class_share(px, tables))


@dataclass(frozen=True)
class Symmetric:
    """-alpha log p - beta A (1 - p)."""

    xp: Namespace
    alpha: float
    reverse: float  # beta A

    def __call__(self, p: Probability) -> Array:
        """The value."""
        return -self.alpha * p.log - self.reverse * p.rest

    @property
    def powers(self) -> tuple[Powers, ...]:
        """As a sum of powers."""
        return Powers(-self.alpha, 0.0, 0.0), Powers(0.0, -self.reverse, 1.0)

    def slope(self, p: Probability) -> Array:
        """By log p: -alpha + beta A p."""
        return -self.alpha + self.reverse * p.value


def symmetric_cross_entropy(
    px: Pixels, *, alpha: float = 0.1, beta: float = 1.0, A: float = -4.0, class_weight: Array | None = None
) -> Terms:
    """alpha CE + beta RCE, RCE = -sum_c p_c log t_c with log t_c >= A (Wang 2019); hard: -A (1 - p_t)."""
    tables = class_tables(px, class_weight)
    share = class_share(px, tables)
    if not px.soft:
        return Terms(px.expect(Symmetric(px.xp, alpha, beta * A), *tables), share)
    reverse = beta * _reverse(px, A)
    return Terms(-alpha * px.expect(None, *tables) + (reverse if share is None else share * reverse), share)


def _reverse(px: Pixels, A: float) -> Array:
    """-sum_c p_c max(log t_c, A) over the classes of a decision, for soft targets."""
    xp = px.xp

    def log(t: Array) -> Array:
        return xp.maximum(xp.log(xp.where(t > 0, t, xp.zeros_like(t) + xp.floor(t))), A)

    if px.task == "multiclass":
        return -xp.sum(px.probs * log(px.target), axis=1, keepdims=True)
    return -(px.probs * log(px.target) + (1.0 - px.probs) * log(1.0 - px.target))


@dataclass(frozen=True)
class Shifted:
    """-(p - m)^gamma log(1 - (p - m)) as a function of 1 - p, 0 where p <= m; m > 0."""

    xp: Namespace
    gamma: float
    m: float

    def _shifted(self, complement: Probability) -> tuple[Array, Array]:
        """max(p - m, 0), and 1 less that."""
        excess = self.xp.maximum(complement.rest - self.m, 0.0)
        return excess, 1.0 - excess

    def __call__(self, complement: Probability) -> Array:
        """The value."""
        excess, rest = self._shifted(complement)
        return 0.0 - power(self.xp, excess, self.gamma) * self.xp.log(rest)

    def slope(self, complement: Probability) -> Array:
        """By log(1 - p): (1 - p) (gamma (p - m)^(gamma - 1) log(1 - p + m) - (p - m)^gamma / (1 - p + m))."""
        xp, gamma = self.xp, self.gamma
        excess, rest = self._shifted(complement)
        if gamma == 0:
            return xp.where(excess > 0, -complement.value / rest, xp.zeros_like(rest))
        return complement.value * power_slope(xp, excess, gamma) * (gamma * xp.log(rest) - excess / rest)


def asymmetric(
    px: Pixels,
    *,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    class_weight: Array | None = None,
) -> Terms:
    """-(1 - p)^gamma_pos log p where the class is there, else -p_m^gamma_neg log(1 - p_m), p_m = max(p - clip, 0).

    Ridnik 2021.
    """
    xp = px.xp
    tables = class_tables(px, class_weight)
    one, none = xp.constant([1.0], px.like), xp.constant([0.0], px.like)
    hit, miss = (one, one) if tables[0] is None else tables
    negative = Shifted(xp, gamma_neg, clip) if clip > 0 else Focusing(xp, gamma_neg)
    positive = px.expect(Focusing(xp, gamma_pos), hit, none) if gamma_pos > 0 else -px.expect(None, hit, none)
    return Terms(positive + px.expect(negative, none, miss), class_share(px, tables))
