"""The view of a batch that every pixel and region loss is written on.

`open_pixels` is the door: it checks the arguments, flattens space to one axis, widens half precision, and takes
ignored pixels out. Behind it a definition sees

    log_probs, probs, target   (N, K, P)      K channels, P pixels an image
    labels                     (N, P) class indices of a multiclass target, None for a soft one
    weight                     (N, 1, P) or (N, K, P), None where every pixel counts once

each computed at most once however many losses look at it.
"""

from collections.abc import Callable
from math import prod
from typing import Literal, get_args

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.stable import log_complement, log_probability
from lossmith.errors import must

Task = Literal["binary", "multiclass", "multilabel"]
TASKS: tuple[str, ...] = get_args(Task)
SOFT_SUM_TOLERANCE = 1e-2  # half-precision soft targets sum to 1 no better than this


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
            term = self.target * value(self.log_probs)
            return xp.sum(term if a is None else a * term, axis=1, keepdims=True)
        if self.soft or "logits" not in self._known:
            hit, miss = value(self.log_probs), value(self.log_rest)
            hit, miss = (hit if a is None else a * hit), (miss if b is None else b * miss)
            return self.target * hit + (1.0 - self.target) * miss
        positive = self.target > 0
        term = value(xp.log_sigmoid(xp.where(positive, self.logits, -self.logits)))
        if a is None:
            return term
        assert b is not None
        return term * (self.target * a + (1.0 - self.target) * b)

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


def open_pixels(
    xp: Namespace,
    logits: Array,
    target: Array,
    weight: Array | None = None,
    *,
    task: str,
    ignore_index: int | None = None,
    from_logits: bool = True,
) -> Pixels:
    """Check a batch and open it as `Pixels`.

    Shapes: logits (N, C, *space), binary also (N, 1, *space) or (N, *space); target (N, *space) class indices, or soft
    / one-hot of the logits' shape; weight (N, *space), and for multilabel also the logits' shape. Which of them
    came is told by
    shape and dtype, never by values. Where values may be read, bad ones raise; elsewhere (traces, accelerators)
    they make the loss NaN.
    """
    space, channels = _layout(logits, task)
    images = logits.shape[0]
    if xp.kind(logits) != "real":
        raise TypeError(must("logits", "floating point", str(logits.dtype)))
    _check_shapes(logits, target, weight, task, space)
    cube = (images, channels, prod(space))
    scores = xp.reshape(xp.wide(logits), cube)
    hard = xp.kind(target) != "real"
    indices = task == "multiclass" and tuple(target.shape) != tuple(logits.shape)
    if indices and not hard:
        raise TypeError(must("target", "class indices of an integer dtype", str(target.dtype)))
    if xp.kind(target) == "other":
        raise TypeError(must("target", "of an integer, bool or floating dtype", str(target.dtype)))
    values = xp.reshape(target, (images, cube[2]) if indices else cube)
    values = xp.integers(values) if hard else xp.astype(xp.wide(values), scores)
    valid, weights = _validity(xp, values, weight, task, ignore_index, indices, scores)
    if valid is not None:
        keep = xp.expand_dims(valid, axis=1) if indices else valid
        values = xp.where(valid, values, xp.zeros_like(values))
        scores = xp.where(keep, scores, xp.zeros_like(scores) + (0.0 if from_logits else 1.0 / max(channels, 2)))
    flaws = [_label_flaw(xp, values, channels if indices else 2, hard, ignore_index)]
    if task == "multiclass" and not indices:
        flaws.append(_sum_flaw(xp, xp.astype(values, scores), valid, "target"))
    if not from_logits:
        flaws.append(_probability_flaw(xp, scores, task))
    if weights is not None and weight is not None:
        flaws.append(_found(xp, xp.any(weights < 0), "weight must be >= 0 everywhere; got negative values"))
    open_flaws = [flaw for flaw in flaws if flaw is not None]
    if indices:
        inside = (values >= 0) & (values < channels)
        values = xp.where(inside, values, xp.zeros_like(values))
    return Pixels(
        xp,
        task,
        space,
        logits=scores if from_logits else None,
        probs=None if from_logits else scores,
        labels=values if indices else None,
        target=None if indices else xp.astype(values, scores),
        soft=not hard,
        weight=weights,
        flaw=xp.any(xp.stack(open_flaws)) if open_flaws else None,
    )


def _layout(logits: Array, task: str) -> tuple[tuple[int, ...], int]:
    """The spatial shape and the number of channels of the logits."""
    shape = tuple(logits.shape)
    if task not in TASKS:
        raise ValueError(must("task", "'binary', 'multiclass' or 'multilabel'", task))
    if task == "binary":
        if len(shape) < 1:
            raise ValueError(must("logits", "of shape (N, 1, *space) or (N, *space)", shape))
        return (shape[2:] if len(shape) > 1 and shape[1] == 1 else shape[1:]), 1
    if len(shape) < 2:
        raise ValueError(must("logits", "of shape (N, C, *space)", shape))
    if task == "multiclass" and shape[1] < 2:
        raise ValueError(
            f"logits of a multiclass task must have at least 2 channels; got shape {shape}; "
            "one channel is task='binary'"
        )
    return shape[2:], shape[1]


def _check_shapes(logits: Array, target: Array, weight: Array | None, task: str, space: tuple[int, ...]) -> None:
    full, flat = tuple(logits.shape), (logits.shape[0], *space)
    legal = (full,) if task == "multilabel" else (flat,) if flat == full else (flat, full)
    weights = (flat,) if task == "multiclass" or flat == full else (flat, full)
    for name, array, shapes in (("target", target, legal), ("weight", weight, weights)):
        if array is not None and tuple(array.shape) not in shapes:
            expected = " or ".join(str(shape) for shape in shapes)
            raise ValueError(
                f"{name} must be of shape {expected} for {task} logits of shape {full}; got {tuple(array.shape)}"
            )


def _validity(
    xp: Namespace,
    values: Array,
    weight: Array | None,
    task: str,
    ignore_index: int | None,
    indices: bool,
    like: Array,
) -> tuple[Array | None, Array | None]:
    """Which items count (as a mask of `values`' shape or one that broadcasts to it), and how often."""
    valid = None
    if ignore_index is not None:
        if task == "multiclass" and not indices:
            raise ValueError(
                f"ignore_index must be None for a target of the logits' shape; got {ignore_index}; "
                "give such pixels weight 0"
            )
        valid = values != ignore_index
    weights = None
    if weight is not None:
        images, channels, pixels = like.shape
        per_channel = prod(weight.shape) == prod(like.shape)
        weights = xp.reshape(xp.astype(weight, like), (images, channels if per_channel else 1, pixels))
        counted = weights != 0
        counted = xp.reshape(counted, (images, pixels)) if indices else counted
        valid = counted if valid is None else valid & counted
    if valid is None:
        return None, None
    mask = xp.astype(xp.expand_dims(valid, axis=1) if indices else valid, like)
    return valid, mask if weights is None else xp.where(mask > 0, weights, xp.zeros_like(mask))


def _found(xp: Namespace, flaw: Array, message: str) -> Array | None:
    """Raise where the flag can be read and is up; the flag itself where it cannot; None where all is well."""
    seen = xp.read(flaw)
    if seen:
        raise ValueError(message)
    return flaw if seen is None else None


def _label_flaw(xp: Namespace, values: Array, classes: int, hard: bool, ignore_index: int | None) -> Array | None:
    top = classes - 1 if hard else 1
    outside = (values < 0) | (values > top)
    flaw = xp.any(outside)
    seen = xp.read(flaw)
    if seen:
        low, high = xp.extremes(xp.where(outside, values, xp.zeros_like(values)))
        expected = f"class indices from 0 to {top}" if hard else "probabilities in [0, 1]"
        also = "" if ignore_index is None else f" or ignore_index {ignore_index}"
        raise ValueError(must("target", expected + also, low if low < 0 else high))
    return flaw if seen is None else None


def _probability_flaw(xp: Namespace, p: Array, task: str) -> Array | None:
    message = "logits must hold probabilities in [0, 1] when from_logits=False; got values outside"
    flaw = _found(xp, xp.any((p < 0) | (p > 1)), message)
    if task == "multiclass":
        total = _sum_flaw(xp, p, None, "logits")
        flaw = total if flaw is None else flaw if total is None else flaw | total
    return flaw


def _sum_flaw(xp: Namespace, p: Array, valid: Array | None, name: str) -> Array | None:
    off = xp.abs(xp.sum(p, axis=1, keepdims=True) - 1.0) > SOFT_SUM_TOLERANCE
    if valid is not None:
        off = off & valid
    return _found(xp, xp.any(off), f"{name} must hold probabilities that sum to 1 over the classes; got other sums")


def check_class_weight(class_weight: Array, expected: int, name: str = "class_weight") -> None:
    """Raise where there is not one number for each class."""
    if tuple(class_weight.shape) != (expected,):
        raise ValueError(must(name, f"{expected} numbers, one for each class", tuple(class_weight.shape)))
