"""Entropy and its relatives, for distributions along the last axis (Shannon 1948; Kullback & Leibler 1951; Lin 1991).

0 log 0 is 0, and exactly so. Where the second distribution excludes what the first has, the value is infinite.
"""

import math

from lossmith.core.flaws import any_of, flagged, found
from lossmith.core.namespaces import Array, Namespace
from lossmith.core.parameters import Interval
from lossmith.errors import must

BASE = Interval(1.0, low_open=True)
TOLERANCE, HALF_TOLERANCE = 1e-5, 1e-2  # how far a sum may be from 1


def entropy(xp: Namespace, p: Array, base: float = 2.0) -> Array:
    """-sum p log p."""
    (p,), flaw = _received(xp, base, p=p)
    return _answer(xp, _length(xp, p, p), base, flaw)


def cross_entropy(xp: Namespace, p: Array, q: Array, base: float = 2.0) -> Array:
    """-sum p log q."""
    (p, q), flaw = _received(xp, base, p=p, q=q)
    return _answer(xp, _length(xp, p, q), base, flaw)


def kl_divergence(xp: Namespace, p: Array, q: Array, base: float = 2.0) -> Array:
    """sum p log(p / q)."""
    (p, q), flaw = _received(xp, base, p=p, q=q)
    return _answer(xp, _divergence(xp, p, q), base, flaw)


def js_divergence(xp: Namespace, p: Array, q: Array, base: float = 2.0) -> Array:
    """(KL(p, m) + KL(q, m)) / 2, m = (p + q) / 2."""
    (p, q), flaw = _received(xp, base, p=p, q=q)
    middle = 0.5 * p + 0.5 * q
    return _answer(xp, 0.5 * (_divergence(xp, p, middle) + _divergence(xp, q, middle)), base, flaw)


def _length(xp: Namespace, p: Array, q: Array) -> Array:
    """-sum p log q, and no -0."""
    there = p > 0
    logs = xp.log(xp.where(there, q, xp.ones_like(q)))
    return 0.0 - xp.sum(xp.where(there, p * logs, xp.zeros_like(p)), axis=-1)


def _divergence(xp: Namespace, p: Array, q: Array) -> Array:
    """Sum of p log(p / q), the logarithm of each taken by itself, so that no quotient overflows."""
    there, one = p > 0, xp.ones_like(p)
    logs = xp.log(xp.where(there, p, one)) - xp.log(xp.where(there, q, one))
    return xp.sum(xp.where(there, p * logs, xp.zeros_like(p)), axis=-1)


def _answer(xp: Namespace, nats: Array, base: float, flaw: Array | None) -> Array:
    """In units of `base`; NaN where bad input was found that could not be looked at."""
    return flagged(xp, flaw, nats / math.log(base))


def _received(xp: Namespace, base: float, **distributions: Array) -> tuple[list[Array], Array | None]:
    """The distributions, of float32 at least, after a look at their shapes and values."""
    BASE.check("base", base)
    shapes = [tuple(x.shape) for x in distributions.values()]
    flaws, wide = [], []
    for name, x in distributions.items():
        if xp.kind(x) != "real":
            raise TypeError(must(name, "floating point", str(x.dtype)))
        if tuple(x.shape) != shapes[0]:
            raise ValueError(must(name, f"of the shape of p, {shapes[0]}", tuple(x.shape)))
        if not x.shape or x.shape[-1] == 0:
            raise ValueError(must(name, "of at least one probability along its last axis", tuple(x.shape)))
        p = xp.wide(x)
        tolerance = TOLERANCE if p.dtype == x.dtype else HALF_TOLERANCE
        flaw = xp.any(~(p >= 0)) | xp.any(~(xp.abs(xp.sum(p, axis=-1) - 1.0) <= tolerance))
        message = f"{name} must be probabilities >= 0 that sum to 1 along the last axis; got others"
        flaws.append(found(xp, flaw, message))
        wide.append(p)
    return wide, any_of(xp, flaws)
