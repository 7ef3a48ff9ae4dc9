"""Partially labelled sets: in each image only some of the classes were annotated (Shi 2021).

Where class c was not annotated its pixels carry label 0, so label 0 says "none of the annotated classes". `Merged`
is the batch as its labels see it,

    q_0 = p_0 + sum of p_c over the classes that were not annotated      q_c = p_c, c annotated

and `marginal` makes of any loss the same loss on that. A class that was merged is as if the image did not have it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lossmith.core.flaws import flagged
from lossmith.core.namespaces import Array
from lossmith.core.pixels import STATISTICS, Pixels
from lossmith.core.records.record import Record
from lossmith.core.reduce import Terms
from lossmith.core.region import Sums, names_of, takes
from lossmith.core.stable import divide, log_probability
from lossmith.errors import must

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
            return self._checked(self.px.probs)
        return self._checked(self._with_rest(self.rest, self.px.probs, 0.0))

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
            return self._checked(self.px.log_probs)
        nothing = math.log(self.xp.floor(self.like))
        return self._checked(self._with_rest(self._log_rest(), self.px.log_probs, nothing))

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
            return self._checked(self.px.log_truth)
        return self._checked(self.xp.where(self._background > 0, self._log_rest(), self.px.log_truth))

    @property
    def _background(self) -> Array:
        """t_0, (N, 1, P)."""
        if self.labels is None:
            return self.px.target[:, :1, :]
        return self.xp.astype(self.xp.expand_dims(self.labels == 0, axis=1), self.like)

    def _checked(self, values: Array) -> Array:
        """`values`; an error, or NaN where none may be raised, if a label is of a class that was not annotated."""
        flaw = self._once("label flaw", lambda: _label_flaw(self.px, self.annotated))
        return flagged(self.xp, flaw, values)

    def statistic(self, name: str) -> Array:
        """As of any batch; N is (N, K), a merged class having no pixels."""
        return self._once(f"sum {name}", lambda: self._statistic(name))

    def _statistic(self, name: str) -> Array:
        """Merged class by class after the pixels are added up, but for q_0."""
        xp, px = self.xp, self.px
        if name in ("N", "T", "TT"):
            total = px.statistic(name)
            total = total + xp.zeros_like(xp.astype(self.annotated, total))
            return xp.where(self.annotated, total, xp.zeros_like(total))
        if name.startswith("log ") or name == "L":
            return super()._statistic(name)
        if not self.merges:
            return self._checked(px.statistic(name))
        rest, t = self.rest, self._background
        match name:
            case "P":
                term = rest
            case "PP":
                term = rest**2
            case "I" if self.soft:
                term = xp.minimum(rest, t)
            case _:
                term = rest * t
        return self._checked(self._with_rest(px.sum(term), px.statistic(name), 0.0))

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
        raise ValueError(must("target", expected, f"class {highest}"))
    return flaw if seen is None else None


def marginal(record: Record) -> Record:
    """The loss of a record on the merged classes of each image."""
    if record.of_sums:
        return replace(
            record,
            inputs=("annotated",),
            prepare=_prepare_sums(record),
            terms=_merged_sums(record),
            own_weights=True,  # items of merged classes are 0 in "none" and do not count in the mean
        )

    def definition(px: Pixels, **prepared: Any) -> Terms:
        found: Terms = record.definition(Merged(px), **prepared)
        return found

    prepare = None if record.prepare is None else _prepare_pixels(record)
    return replace(
        record, inputs=("annotated",), definition=definition, prepare=prepare, statistics=None, of_truth=False
    )


def _prepare_pixels(record: Record) -> Callable[..., Mapping[str, Any]]:
    def prepare(whole: Pixels, **parameters: Any) -> Mapping[str, Any]:
        assert record.prepare is not None
        found: Mapping[str, Any] = record.prepare(Merged(whole), **parameters)
        return found

    return prepare


def _prepare_sums(record: Record) -> Callable[..., Mapping[str, Any]]:
    """The names of the sums, too: those of the merged classes are the loss's own, not shared."""

    def prepare(whole: Pixels, **parameters: Any) -> Mapping[str, Any]:
        names = tuple(name for name in names_of(record.definition, parameters) if name in STATISTICS)
        prepared = parameters if record.prepare is None else record.prepare(Merged(whole), **parameters)
        return {"names": names, "prepared": prepared}

    return prepare


def _merged_sums(record: Record) -> Callable[..., dict[str, Array]]:
    def terms(px: Pixels, *, names: Sequence[str], prepared: Mapping[str, Any]) -> dict[str, Array]:
        merged = Merged(px)
        own = {} if record.terms is None else record.terms(merged, **prepared)
        return {name: merged.statistic(name) for name in names} | own

    return terms


def excluded(px: Pixels) -> Array:
    """Where each class cannot be, (N, K, P): an annotated one where its label is not, any other where a label is."""
    xp, merged = px.xp, Merged(px)
    labelled = 1.0 - px.target[:, :1, :]
    own = xp.expand_dims(merged.annotated & ~merged.first, axis=2)
    return merged._checked(xp.where(own, 1.0 - px.target, labelled + xp.zeros_like(px.target)))


def exclusion_cross_entropy(px: Pixels) -> Terms:
    """sum_c e_c log(1 + p_c), e what `excluded` gives."""
    return Terms(px.xp.sum(excluded(px) * px.xp.log1p(px.probs), axis=1, keepdims=True))


@takes(lambda **_: ["E", "EP"])
def exclusion_dice(S: Sums) -> Array:
    """2 sum e p / (sum e + sum p); 0 where nothing is excluded."""
    return divide(S.xp, 2.0 * S.EP, S.E + S.P)


def exclusion_sums(px: Pixels, **_: object) -> dict[str, Array]:
    """E = sum w e and EP = sum w e p of a block. T is all pixels: no class is without those that it is asked about."""
    e = excluded(px)
    E = px.sum(e)
    return {"E": E, "EP": px.sum(e * px.probs), "T": px.statistic("N") + px.xp.zeros_like(E)}
