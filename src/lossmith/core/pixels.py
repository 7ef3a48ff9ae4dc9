"""The view of a batch that every pixel and region loss is written on.

The door (`receive`, then `Batch.open`) checks the arguments, flattens space to one axis, widens half precision, and
takes ignored pixels out. Behind it a definition sees

    log_probs, probs, target   (N, K, P)      K channels, P pixels an image
    labels                     (N, P) class indices of a multiclass target, None for a soft one
    weight                     (N, 1, P) or (N, K, P), None where every pixel counts once
    inputs                     what else the loss was called with, by name: (N, k, P) or (N, K)

each computed at most once however many losses look at it. A definition must not care whether it sees the whole batch
or a block of its pixels: what it needs to know of the whole is prepared for it (`evaluate`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from lossmith.core.flaws import flagged
from lossmith.core.namespaces import Array, Namespace
from lossmith.core.processes import ALONE, Processes
from lossmith.core.stable import Probability, log_complement, log_probability, log_sum_exp, of_soft
from lossmith.core.words import TORCH, Words
from lossmith.errors import must

Task = Literal["binary", "multiclass", "multilabel"]
TASKS: tuple[str, ...] = get_args(Task)
STATISTICS = ("N", "P", "T", "I", "PP", "TT", "PT", "L", "log I", "log PT")


class Pixels:
    """A checked batch, flattened to (images, channels, pixels). Made by `Batch.open`."""

    processes: Processes = ALONE
    words: Words = TORCH

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
        inputs: Mapping[str, Array] | None = None,
    ) -> None:
        self.xp = xp
        self.task = task
        self.space = space
        self.labels = labels
        self.soft = soft
        self.weight = weight
        self.weighted = weight is not None
        self.from_logits = logits is not None
        self.flaw = flaw
        self.inputs = inputs or {}
        like = logits if logits is not None else probs
        assert like is not None
        self.like = like
        self.images, self.channels, self.pixels = like.shape
        self.place: tuple[slice, slice] | None = None
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
        return self._once("log_probs", self._log_probs)

    def _log_probs(self) -> Array:
        if not self.from_logits:
            return log_probability(self.xp, self.probs)
        if self.task == "multiclass":
            return self.xp.log_softmax(self.logits, axis=1)
        return self.xp.log_sigmoid(self.logits)

    @property
    def log_rest(self) -> Array:
        """log(1 - p) of every channel of a sigmoid task."""
        return self._once("log_rest", self._log_rest)

    def _log_rest(self) -> Array:
        return self.xp.log_sigmoid(-self.logits) if self.from_logits else log_complement(self.xp, self.probs)

    @property
    def probs(self) -> Array:
        """p of every channel."""
        return self._once("probs", self._probs)

    def _probs(self) -> Array:
        if "log_probs" in self._known:
            return self.xp.exp(self._known["log_probs"])
        return self.xp.softmax(self.logits, axis=1) if self.task == "multiclass" else self.xp.sigmoid(self.logits)

    @property
    def target(self) -> Array:
        """The target as probabilities: one-hot where it came as class indices."""
        return self._once("target", self._target)

    def _target(self) -> Array:
        return self.xp.one_hot(self.labels, self.channels, self.like)

    @property
    def log_truth(self) -> Array:
        """log of the probability given to the truth of a hard target: (N, 1, P), for sigmoid tasks (N, K, P)."""
        return self._once("log_truth", self._log_truth)

    def _log_truth(self) -> Array:
        xp = self.xp
        if self.labels is not None:
            return xp.take_along_axis(self.log_probs, xp.expand_dims(self.labels, axis=1), axis=1)
        return xp.log_sigmoid(xp.where(self.target > 0, self.logits, -self.logits))

    @property
    def truth(self) -> Probability:
        """The probability given to the truth of a hard target, see `log_truth`."""
        return Probability(self.xp, self.log_truth)

    def expect(
        self,
        value: Callable[[Probability], Array] | None,
        hit_weight: Array | None = None,
        miss_weight: Array | None = None,
    ) -> Array:
        """The mean of ``value(p)`` over the target's distribution: (N, 1, P), or (N, K, P) for sigmoid tasks.

        multiclass: ``sum_c t_c a_c value(p_c)``; sigmoid: ``t a value(p) + (1-t) b value(1-p)``,
        a and b being `hit_weight` and `miss_weight`, one number a channel (1 where None). No `value`: log p.
        In a loss that takes nothing else of a pixel (`Record.of_truth`) a `value` has a method ``slope(p)``, its
        derivative by log p, and what comes of it is used linearly: in the loss's derivative the slope takes its place.
        """
        xp = self.xp
        a, b = (None if w is None else xp.reshape(w, (1, -1, 1)) for w in (hit_weight, miss_weight))
        if self.labels is not None:
            term = self._of_truth(value)
            return term if hit_weight is None else term * xp.lookup(hit_weight, xp.expand_dims(self.labels, axis=1))
        if self.task != "multiclass" and not self.soft and self.from_logits:
            term = self._of_truth(value)
            if a is None:
                return term
            assert b is not None
            return term * (self.target * a + (1.0 - self.target) * b)
        if self.task != "multiclass" and self.from_logits:
            return of_soft(xp, self.logits, self.target, value, a, b)
        value = value or _log
        if self.task == "multiclass":
            term = self.target * value(self._where(self.target > 0, self.log_probs))
            return xp.sum(term if a is None else a * term, axis=1, keepdims=True)
        hit = value(self._where(self.target > 0, self.log_probs))
        miss = value(self._where(self.target < 1, self.log_rest))
        hit, miss = (hit if a is None else a * hit), (miss if b is None else b * miss)
        return self.target * hit + (1.0 - self.target) * miss

    def _of_truth(self, value: Callable[[Probability], Array] | None) -> Array:
        """`value` of the truth's probability, or the logarithm of that."""
        return self.log_truth if value is None else value(self.truth)

    def _where(self, present: Array, log_p: Array) -> Probability:
        """p of the classes that the target holds; of others log p may be -inf, and 0 times that is not 0."""
        return Probability(self.xp, self.xp.where(present, log_p, self.xp.zeros_like(log_p)))

    def sum(self, term: Array) -> Array:
        """Sum over the pixels, each counted `weight` times: (N, k, P) -> (N, k)."""
        return self.xp.sum(term if self.weight is None else term * self.weight, axis=2)

    def statistic(self, name: str) -> Array:
        """One of the sums that region losses are formulas of, (N, K).

        I = sum w p t (soft targets: sum w min(p, t), Wang 2023), P = sum w p, T = sum w t, N = sum w,
        PP = sum w p^2, TT = sum w t^2, PT = sum w p t; log I, log PT: their logarithms (N, K, 1).
        L = sum w log p_t, hard targets only: (N, 1), for sigmoid tasks (N, K).
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
            case "L":
                return self.sum(self.log_truth)
            case "log I" | "log PT":
                return self._log_overlap(product=name == "log PT")
        raise KeyError(name)

    def _log_overlap(self, *, product: bool) -> Array:
        """log of sum w p t (soft targets, unless `product`: of sum w min(p, t)) by log-sum-exp: (N, K, 1).

        Right where the sum underflows. Where there is no target, a number whose exponential is 0.
        """
        xp, log_p, floor = self.xp, self.log_probs, self.xp.floor(self.like)
        share = self.target if self.weight is None else self.target * self.weight
        inside = share > 0
        safe = xp.where(inside, share, xp.ones_like(share))
        if self.soft and not product:
            soft = xp.where(inside, self.target, xp.ones_like(share))
            log_p, safe = xp.minimum(log_p, xp.log(soft)), safe / soft
        terms = xp.where(inside, log_p + xp.log(safe), xp.zeros_like(log_p) - 1.0 / floor)
        return xp.expand_dims(log_sum_exp(xp, terms, axis=2), axis=2)

    def true_probability(self) -> Array:
        """p_t, the probability given to the truth: (N, 1, P), or (N, K, P) for sigmoid tasks."""
        return self.expect(_value)

    def map(self, term: Callable[["Pixels"], Array]) -> Array:
        """A term of every pixel of the whole, without gradient."""
        return self.xp.stop_gradient(term(self))

    def part(self, whole: Array) -> Array:
        """The part of what was prepared for the whole, (N, k) or (N, k, P), that belongs to these pixels."""
        if self.place is None:
            return whole
        images, pixels = self.place
        return whole[images, :] if len(whole.shape) == 2 else whole[images, :, pixels]

    def chunks(self, by_image: bool) -> tuple[Sequence[slice], Sequence[slice]]:
        """Images and channels that are looked at together where a loss sorts: all, or what every process cuts alike."""
        if by_image or not self.processes.shared:
            return [slice(None)], [slice(None)]
        return [slice(None)], [slice(c, c + 1) for c in range(self.channels)]

    def cut(self, name: str, images: slice, channels: slice) -> Array:
        """`probs`, `logits`, `target` or `count` of some images and channels, without gradient."""
        if name == "count":
            count = self.count()
            return count[images, :, :] if count.shape[1] == 1 else count[images, channels, :]
        values: Array = getattr(self, name)
        return self.xp.stop_gradient(values[images, channels, :])

    def count(self) -> Array:
        """How often each pixel counts: (N, 1, P) or (N, K, P)."""
        if self.weight is not None:
            return self.weight
        return self.xp.ones_like(self.like[:, :1, :] if self.task == "multiclass" else self.like)

    def valid(self) -> Array:
        """1 for pixels that count, 0 for others: (N, 1, P) or (N, K, P)."""
        return self.xp.astype(self.count() > 0, self.like)

    def gathered(self, *rows: Array) -> tuple[tuple[Array, ...], slice]:
        """Rows (k, pixels) with the pixels of all processes that share the batch, and which of them are our own."""
        return self.processes.gather(*rows)

    def everywhere(self, *sums: Array) -> tuple[Array, ...]:
        """Sums over the batch, added up over the processes that share it."""
        return self.processes.sum(*sums)

    def everywhere_log(self, log_sum: Array) -> Array:
        """As `everywhere`, for a sum that is given by its logarithm."""
        if self.images * self.pixels == 0:  # nothing has the logarithm of 0, near enough
            log_sum = 0.0 * log_sum - 1.0 / self.xp.floor(self.like)
        return self.processes.log_sum(log_sum)

    def flagged(self, value: Array) -> Array:
        """`value`, or NaN where bad input was found in a trace or on a device that must not be waited for."""
        return flagged(self.xp, self.flaw, value)

    def grid(self, values: Array) -> Array:
        """(N, k, P) as (N, k, *space), for a loss that looks at neighbours: it always sees whole images."""
        return self.xp.reshape(values, (*values.shape[:2], *self.space))

    def in_space(self, term: Array) -> Array:
        """A per-pixel term in the target's own shape."""
        shape = (self.images, *self.space)
        if self.task == "multilabel":
            shape = (self.images, self.channels, *self.space)
        return self.xp.reshape(term, shape)


def _log(p: Probability) -> Array:
    return p.log


def _value(p: Probability) -> Array:
    return p.value


def check_task(task: object) -> None:
    """Raise where it is none of the tasks."""
    if task not in TASKS:
        raise ValueError(must("task", "'binary', 'multiclass' or 'multilabel'", task))


def check_class_weight(class_weight: Array, expected: int, name: str = "class_weight") -> None:
    """Raise where there is not one number for each class."""
    if tuple(class_weight.shape) != (expected,):
        raise ValueError(must(name, f"{expected} numbers, one for each class", tuple(class_weight.shape)))
