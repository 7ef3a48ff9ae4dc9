"""A partially labelled batch as its labels see it: what was not annotated is part of the background.

q_0 = p_0 + sum of p_c over the classes that were not annotated      q_c = p_c, c annotated
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from lossmith.core.flaws import flagged
from lossmith.core.namespaces import Array
from lossmith.core.pixels import Pixels
from lossmith.core.stable import log_probability
from lossmith.errors import must

OF_TARGET = ("N", "T", "TT")  # sums over the target alone
UNDERFLOW = 1e-30  # a probability above it has all of its digits


class Merged(Pixels):
    """A batch, or a block of it, after the classes without annotation were merged into class 0, image by image.

    The channels stay; those merged have probability 0, no target and no pixels.
    annotated: (N, K), which classes there are; class 0 always.
    """

    def __init__(self, px: Pixels) -> None:
        xp = self.xp = px.xp
        self.px = px
        self.processes = px.processes
        annotated = px.inputs["annotated"]
        self.first = xp.constant([True] + [False] * (px.channels - 1), annotated)
        self.annotated = annotated | self.first
        self.inputs = {"classes": self.annotated}
        # Processes that share a batch must take the same path whatever their own images are.
        self.merges = px.processes.shared or xp.read(xp.any(~self.annotated)) is not False
        self.weighted = px.weighted or self.merges
        self._known = {}

    def __getattr__(self, name: str) -> Any:
        """What is not said here is that of the batch: a label, too, can only be of a class that was annotated."""
        return getattr(self.px, name)

    def _target(self) -> Array:
        return self.px.target

    def _probs(self) -> Array:
        if not self.merges:
            return self.checked(self.px.probs)
        return self.checked(self._with_rest(self.rest, self.px.probs, 0.0))

    @property
    def rest(self) -> Array:
        """q_0, (N, 1, P)."""
        return self._once("rest", lambda: self._rest(self.px.probs, self.annotated))

    def _rest(self, probs: Array, annotated: Array) -> Array:
        xp = self.xp
        of_rest = xp.expand_dims(xp.astype(~annotated | self.first, probs), axis=2)
        total = xp.sum(probs * of_rest, axis=1, keepdims=True)
        return xp.minimum(total, xp.ones_like(total))  # rounding may have made it more

    def _with_rest(self, rest: Array, values: Array, merged: float) -> Array:
        """What belongs to q_0 in the first place, `merged` in those of the classes that went into it."""
        xp = self.xp
        shape = (-1, *values.shape[1:2], *(1 for _ in values.shape[2:]))
        others = xp.where(xp.reshape(self.annotated, shape), values, xp.zeros_like(values) + merged)
        return xp.where(xp.reshape(self.first, shape), rest + xp.zeros_like(values), others)

    def _log_probs(self) -> Array:
        if not self.from_logits:
            return log_probability(self.xp, self.probs)
        if not self.merges:
            return self.checked(self.px.log_probs)
        nothing = math.log(self.xp.floor(self.like))
        return self.checked(self._with_rest(self._log_rest(), self.px.log_probs, nothing))

    def _log_rest(self) -> Array:
        """log q_0, (N, 1, P); by log-sum-exp where a sum of probabilities may underflow."""
        xp, rest = self.xp, self.rest
        if not self.from_logits:
            return log_probability(xp, rest)
        if xp.read(xp.any(~(rest > UNDERFLOW))) is False:
            return xp.log(rest)
        of_rest = xp.expand_dims(~self.annotated | self.first, axis=2)
        log_p = self.px.log_probs
        least = xp.zeros_like(log_p) - 1.0 / xp.floor(log_p)
        top = xp.stop_gradient(xp.amax(xp.where(of_rest, log_p, least), axis=1, keepdims=True))
        share = xp.sum(xp.exp(xp.where(of_rest, log_p - top, least)), axis=1, keepdims=True)
        return xp.minimum(xp.log(share) + top, xp.zeros_like(top))

    def _log_truth(self) -> Array:
        if not self.merges:
            return self.checked(self.px.log_truth)
        return self.checked(self.xp.where(self._background > 0, self._log_rest(), self.px.log_truth))

    @property
    def _background(self) -> Array:
        """t_0, (N, 1, P)."""
        if self.labels is None:
            return self.px.target[:, :1, :]
        return self._once("t_0", lambda: self.xp.astype(self.xp.expand_dims(self.labels == 0, axis=1), self.like))

    def checked(self, values: Array) -> Array:
        """`values`; an error, or NaN where none may be raised, if a label is of a class that was not annotated."""
        flaw = self._once("label flaw", lambda: _label_flaw(self.px, self.annotated))
        return flagged(self.xp, flaw, values)

    def statistic(self, name: str) -> Array:
        """As of any batch; N is (N, K), a merged class having no pixels."""
        return self._once(f"sum {name}", lambda: self._statistic(name))

    def _statistic(self, name: str) -> Array:
        if name not in OF_TARGET:
            return super()._statistic(name)
        return self.of_target(self.px.statistic(name))

    def of_target(self, total: Array) -> Array:
        """A sum over the target, (N, K), after the classes were merged."""
        total = total + self.xp.zeros_like(self.xp.astype(self.annotated, total))
        return self.xp.where(self.annotated, total, self.xp.zeros_like(total))

    def of_rest(self, name: str) -> Array:
        """The statistic of q_0 alone, (N, 1)."""
        rest, t = self.rest, self._background
        match name:
            case "P":
                term = rest
            case "PP":
                term = rest**2
            case "I" if self.soft:
                term = self.xp.minimum(rest, t)
            case "I" | "PT":
                term = rest * t
            case _:
                raise KeyError(name)
        return self.checked(self.px.sum(term))

    def with_rest(self, total: Array, of_rest: Array) -> Array:
        """A statistic of the batch, (N, K), after the classes were merged: what it was, but for q_0."""
        return self._with_rest(of_rest, total, 0.0)

    def map(self, term: Callable[[Pixels], Array]) -> Array:
        """See `Pixels`."""
        return self.px.map(lambda block: term(Merged(block)))

    def count(self) -> Array:
        """See `Pixels`."""
        return self.px.count()

    def chunks(self, by_image: bool) -> tuple[Sequence[slice], Sequence[slice]]:
        """See `Pixels`; a merged class needs all of the channels."""
        return self.px.chunks(by_image)[0], [slice(None)]

    def cut(self, name: str, images: slice, channels: slice) -> Array:
        """See `Pixels`; where a class is merged its pixels count 0."""
        if name == "target":
            return self.px.cut(name, images, channels)
        xp, known = self.xp, self.annotated[images, :]
        if name == "count":
            count = self.px.cut(name, images, slice(None))
            return xp.where(xp.expand_dims(known[:, channels], axis=2), count, xp.zeros_like(count))
        values = self.px.cut(name, images, slice(None))
        if name == "probs":
            kept = xp.where(xp.expand_dims(known, axis=2), values, xp.zeros_like(values))
            return xp.concat([self._rest(values, known), kept[:, 1:, :]], axis=1)[:, channels, :]
        raise KeyError(name)


def _label_flaw(px: Pixels, known: Array) -> Array | None:
    """Raise where a label is of a class that was not annotated in its image; a flag where that cannot be read."""
    xp = px.xp
    labels = px.labels
    if labels is not None:
        wrong = xp.take_along_axis(xp.integers(known), labels, axis=1) == 0
    else:
        wrong = (px.target > 0) & ~xp.expand_dims(known, axis=2)
    flaw = xp.any(wrong)
    seen = xp.read(flaw)
    if seen:
        classes = xp.argmax(xp.integers(wrong), axis=1) if labels is None else xp.where(wrong, labels, 0 * labels)
        _, highest = xp.extremes(classes)
        expected = "labelled with classes that are annotated in the image"
        raise ValueError(must(px.words.target, expected, f"class {highest}"))
    return flaw if seen is None else None
