"""The view of a batch that every pixel and region loss is written on.

The door (`open_pixels`) checks the arguments, flattens space to one axis, widens half precision, and takes ignored
pixels out. Behind it a definition sees

    log_probs, probs, target   (N, K, P)      K channels, P pixels an image
    labels                     (N, P) class indices of a multiclass target, None for a soft one
    weight                     (N, 1, P) or (N, K, P), None where every pixel counts once

each computed at most once however many losses look at it.
"""

from collections.abc import Callable
from math import log
from typing import Literal, get_args

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.stable import log_complement, log_probability, log_sum_exp
from lossmith.errors import must

Task = Literal["binary", "multiclass", "multilabel"]
TASKS: tuple[str, ...] = get_args(Task)


class Pixels:
    """A checked batch, flattened to (images, channels, pixels). Made by `open_pixels`."""

    def __init__(
        self,
        xp: Namespace,
        task: str,
        space: tuple[int, ...],
        *,
        logits: Array | None = None,
        probs: Array | None = None,
        labels: Array | None = None,
        target: Array | None = None,
        soft: bool = False,
        weight: Array | None = None,
        flaw: Array | None = None,
    ) -> None:
        self.xp = xp
        self.task = task
        self.space = space
        self.labels = labels
        self.soft = soft
        self.weight = weight
        self._flaw = flaw
        like = logits if logits is not None else probs
        assert like is not None
        self.like = like
        self.images, self.channels, self.pixels = like.shape
        self._known: dict[str, Array] = {}
        for name, value in (("logits", logits), ("probs", probs), ("target", target)):
            if value is not None:
                self._known[name] = value

    def _once(self, name: str, make: Callable[[], Array]) -> Array:
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    @property
    def logits(self) -> Array:
        """The logits; from probabilities, log p (multiclass) or log p - log(1-p)."""
        if self.task == "multiclass":
            return self._once("logits", lambda: self.log_probs)
        return self._once("logits", lambda: self.log_probs - self.log_rest)

    @property
    def log_probs(self) -> Array:
        """log p of every channel."""
        return self._once("log_probs", lambda: self._log_probs(self._known.get("logits"), 1.0))

    @property
    def log_rest(self) -> Array:
        """log(1 - p) of every channel of a sigmoid task."""
        return self._once("log_rest", lambda: self._log_probs(self._known.get("logits"), -1.0))

    def _log_probs(self, logits: Array | None, sign: float) -> Array:
        xp = self.xp
        if logits is None:
            p = self._known["probs"]
            return log_probability(xp, p) if sign > 0 else log_complement(xp, p)
        if self.task == "multiclass":
            return xp.log_softmax(logits, axis=1)
        return xp.log_sigmoid(sign * logits)

    @property
    def probs(self) -> Array:
        """p of every channel."""

        def make() -> Array:
            if "log_probs" in self._known:
                return self.xp.exp(self._known["log_probs"])
            logits = self._known["logits"]
            return self.xp.softmax(logits, axis=1) if self.task == "multiclass" else self.xp.sigmoid(logits)

        return self._once("probs", make)

    @property
    def target(self) -> Array:
        """The target as probabilities: one-hot where it came as class indices."""
        return self._once("target", lambda: self.xp.one_hot(self.labels, self.channels, self.like))

    def expect(
        self,
        value: Callable[[Array], Array],
        hit_weight: Array | None = None,
        miss_weight: Array | None = None,
    ) -> Array:
        """The mean of ``value(log p)`` over the target's distribution: (N, 1, P), or (N, K, P) for sigmoid tasks.

        multiclass: ``sum_c t_c a_c value(log p_c)``; sigmoid: ``t a value(log p) + (1-t) b value(log(1-p))``,
        a and b being `hit_weight` and `miss_weight`, one number a channel (1 where None).
        """
        xp = self.xp
        a, b = (None if w is None else xp.reshape(w, (1, -1, 1)) for w in (hit_weight, miss_weight))
        if self.labels is not None:
            index = xp.expand_dims(self.labels, axis=1)
            term = value(xp.take_along_axis(self.log_probs, index, axis=1))
            return term if hit_weight is None else term * xp.lookup(hit_weight, index)
        if self.task == "multiclass":
            term = self.target * value(self._where(self.target > 0, self.log_probs))
            return xp.sum(term if a is None else a * term, axis=1, keepdims=True)
        if self.soft or "logits" not in self._known:
            hit = value(self._where(self.target > 0, self.log_probs))
            miss = value(self._where(self.target < 1, self.log_rest))
            hit, miss = (hit if a is None else a * hit), (miss if b is None else b * miss)
            return self.target * hit + (1.0 - self.target) * miss
        positive = self.target > 0
        term = value(xp.log_sigmoid(xp.where(positive, self.logits, -self.logits)))
        if a is None:
            return term
        assert b is not None
        return term * (self.target * a + (1.0 - self.target) * b)

    def _where(self, present: Array, log_p: Array) -> Array:
        """log p of the classes that the target holds; of others it may be -inf, and 0 times that is not 0."""
        return self.xp.where(present, log_p, self.xp.zeros_like(log_p))

    def sum(self, term: Array) -> Array:
        """Sum over the pixels, each counted `weight` times: (N, k, P) -> (N, k)."""
        return self.xp.sum(term if self.weight is None else term * self.weight, axis=2)

    def statistic(self, name: str) -> Array:
        """One of the sums that region losses are formulas of, (N, K).

        I = sum w p t (soft targets: sum w min(p, t), Wang 2023), P = sum w p, T = sum w t, N = sum w,
        PP = sum w p^2, TT = sum w t^2, PT = sum w p t.
        """
        return self._once(f"sum {name}", lambda: self._statistic(name))

    def _statistic(self, name: str) -> Array:
        match name:
            case "I" if self.soft:
                return self.sum(self.xp.minimum(self.probs, self.target))
            case "I" | "PT":
                return self.sum(self.probs * self.target)
            case "P":
                return self.sum(self.probs)
            case "T":
                return self.sum(self.target)
            case "PP":
                return self.sum(self.probs**2)
            case "TT":
                return self.sum(self.target**2)
            case "N":
                return self.sum(self.xp.ones_like(self.like[:, :1, :]))
        raise KeyError(name)

    def log_overlap(self, *, product: bool = False) -> Array:
        """log of sum w p t (soft targets, unless `product`: of sum w min(p, t)) by log-sum-exp: (N, K).

        Right where the sum underflows. Where there is no target, the log of the smallest normal number.
        """
        xp, log_p, floor = self.xp, self.log_probs, self.xp.floor(self.like)
        share = self.target if self.weight is None else self.target * self.weight
        inside = share > 0
        safe = xp.where(inside, share, xp.ones_like(share))
        if self.soft and not product:
            soft = xp.where(inside, self.target, xp.ones_like(share))
            log_p, safe = xp.minimum(log_p, xp.log(soft)), safe / soft
        terms = xp.where(inside, log_p + xp.log(safe), xp.zeros_like(log_p) - 1.0 / floor)
        total = log_sum_exp(xp, terms, axis=2)
        return xp.where(self.statistic("T") > 0, total, xp.zeros_like(total) + log(floor))

    def true_probability(self) -> Array:
        """p_t, the probability given to the truth: (N, 1, P), or (N, K, P) for sigmoid tasks."""
        return self.expect(self.xp.exp)

    def flagged(self, value: Array) -> Array:
        """`value`, or NaN where bad input was found in a trace or on a device that must not be waited for."""
        if self._flaw is None:
            return value
        return self.xp.where(self._flaw, self.xp.constant(float("nan"), value), value)

    def in_space(self, term: Array) -> Array:
        """A per-pixel term in the target's own shape."""
        shape = (self.images, *self.space)
        if self.task == "multilabel":
            shape = (self.images, self.channels, *self.space)
        return self.xp.reshape(term, shape)


def check_class_weight(class_weight: Array, expected: int, name: str = "class_weight") -> None:
    """Raise where there is not one number for each class."""
    if tuple(class_weight.shape) != (expected,):
        raise ValueError(must(name, f"{expected} numbers, one for each class", tuple(class_weight.shape)))
