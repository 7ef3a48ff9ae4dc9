"""The door: logits, target and weight are checked by shape (`receive`), then by value (`Batch.open`)."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

from lossmith.core.flaws import any_of, found
from lossmith.core.inputs import INPUTS
from lossmith.core.namespaces import Array, Namespace
from lossmith.core.pixels import Pixels, check_task
from lossmith.core.words import TORCH, Words
from lossmith.errors import must

SOFT_SUM_TOLERANCE = 1e-2  # half-precision soft targets sum to 1 no better than this


class Content(NamedTuple):
    """A target as numbers: class indices (N, P) or probabilities (N, K, P); which count, and how often."""

    values: Array
    valid: Array | None
    weight: Array | None


@dataclass
class Batch:
    """What came, right in shape and dtype and flattened; nobody has looked at the values.

    scores: (N, K, P), logits or probabilities. target: (N, P) where it holds class indices of a multiclass task
    (`indices`), else (N, K, P). weight: (N, 1, P) or (N, K, P), or None. hard: the target is of integers or bool.
    inputs: see `inputs.py`, each (N, k, P) or (N, K). words: what errors call all this.
    """

    xp: Namespace
    task: str
    space: tuple[int, ...]
    scores: Array
    target: Array
    weight: Array | None
    ignore_index: int | None
    from_logits: bool
    indices: bool
    hard: bool
    inputs: Mapping[str, Array] = field(default_factory=dict)
    words: Words = TORCH

    @property
    def one_hot(self) -> bool:
        """Whether the classes of a multiclass task came as integers of the logits' shape."""
        return self.task == "multiclass" and self.hard and not self.indices

    def part(self, images: slice, pixels: slice) -> "Batch":
        """Some pixels of some images."""
        part = self.holding(
            self.scores[images, :, pixels],
            self.target[images, ..., pixels],
            None if self.weight is None else self.weight[images, :, pixels],
        )
        part.inputs = {
            name: values[images, :, pixels] if len(values.shape) == 3 else values[images, :]
            for name, values in self.inputs.items()
        }
        if part.scores.shape[2] != self.scores.shape[2]:
            part.space = part.scores.shape[2:]
        return part

    def holding(self, scores: Array, target: Array, weight: Array | None) -> "Batch":
        """The same with other arrays."""
        other = object.__new__(Batch)  # as `copy`, in a tenth of its time: there are many blocks
        other.__dict__.update(self.__dict__)
        other.scores, other.target, other.weight = scores, target, weight
        return other

    def content(self, like: Array) -> Content:
        """The target in numbers, 0 where it does not count; `like` has the dtype to compute in."""
        xp, target = self.xp, self.target
        if not self.hard:
            values = xp.astype(xp.wide(target), like)
        else:  # bytes and bools do as they are where they are only read as 0 and 1
            plain = self.task != "multiclass" and self.ignore_index is None and self.weight is None
            values = target if plain else xp.integers(target)
        valid = None if self.ignore_index is None else values != self.ignore_index
        weights = None
        if self.weight is not None:
            weights = xp.astype(self.weight, like)
            counted = weights != 0
            counted = counted[:, 0, :] if self.indices else counted
            valid = counted if valid is None else valid & counted
        if valid is None:
            return Content(values, None, None)
        mask = xp.astype(xp.expand_dims(valid, axis=1) if self.indices else valid, like)
        weights = mask if weights is None else xp.where(mask > 0, weights, xp.zeros_like(mask))
        return Content(xp.where(valid, values, xp.zeros_like(values)), valid, weights)

    def open(self) -> Pixels:
        """Look at the values: bad ones raise where they may be read, elsewhere they make the loss NaN."""
        xp = self.xp
        scores = xp.wide(self.scores)
        channels = scores.shape[1]
        values, valid, weight = self.content(scores)
        if valid is not None:
            keep = xp.expand_dims(valid, axis=1) if self.indices else valid
            neutral = 0.0 if self.from_logits else 1.0 / max(channels, 2)
            scores = xp.where(keep, scores, xp.zeros_like(scores) + neutral)
        flaw = any_of(xp, self.flaws(scores, values, valid))
        if self.indices and flaw is not None:  # maybe wrong labels: the value will be NaN, no index may point outside
            inside = (values >= 0) & (values < channels)
            values = xp.where(inside, values, xp.zeros_like(values))
        labels = values if self.indices else xp.argmax(values, axis=1) if self.one_hot else None
        opened = Pixels(
            xp,
            self.task,
            self.space,
            logits=scores if self.from_logits else None,
            probs=None if self.from_logits else scores,
            labels=labels,
            target=None if self.indices else xp.astype(values, scores),
            soft=not self.hard,
            weight=weight,
            flaw=flaw,
            inputs=self.inputs,
        )
        opened.words = self.words
        return opened

    def label_flaw(self, values: Array) -> Array | None:
        """Raise where `values` of the target are none; an unread flag where that cannot be seen."""
        xp = self.xp
        top = self.scores.shape[1] - 1 if self.indices else 1
        flaw = xp.outside(values, 0, top)
        if flaw is True:
            low, high = xp.extremes(values)
            expected = f"class indices from 0 to {top}" if self.hard else "probabilities in [0, 1]"
            also = "" if self.ignore_index is None else f" or ignore_index {self.ignore_index}"
            raise ValueError(must(self.words.target, expected + also, low if low < 0 else high))
        return None if flaw is False else flaw

    def flaws(self, scores: Array, values: Array, valid: Array | None) -> list[Array | None]:
        """Raise where the batch holds what it must not; unread flags where that cannot be seen."""
        xp = self.xp
        flaws = [self.label_flaw(values)]
        if self.weight is not None:
            message = f"{self.words.weight} must be finite and >= 0 everywhere; got other values"
            flaws.append(found(xp, xp.outside(self.weight, 0, sys.float_info.max), message))
        if self.task == "multiclass" and not self.indices:
            flaws.append(_sum_flaw(xp, xp.astype(values, scores), valid, self.words.target))
        if not self.from_logits:
            flaws.append(_probability_flaw(xp, scores, self.task, self.words.logits))
        return flaws


def receive(
    xp: Namespace,
    logits: Array,
    target: Array,
    weight: Array | None = None,
    *,
    task: str,
    ignore_index: int | None = None,
    from_logits: bool = True,
    inputs: Mapping[str, Array] | None = None,
    words: Words = TORCH,
) -> Batch:
    """Check shapes and dtypes.

    Shapes: logits (N, C, *space), binary also (N, 1, *space) or (N, *space); target (N, *space) class indices, or soft
    / one-hot of the logits' shape; weight (N, *space), and for multilabel also the logits' shape. Which of them came
    is told by shape and dtype, never by values. words: what errors call these arguments.
    """
    space, channels = _layout(logits, task, words)
    images = logits.shape[0]
    if xp.kind(logits) != "real":
        raise TypeError(must(words.logits, "floating point", str(logits.dtype)))
    _check_shapes(logits, target, weight, task, space, words)
    pixels = prod(space)
    kind = xp.kind(target)
    indices = task == "multiclass" and not _same(target.shape, logits.shape)
    if indices and kind not in ("bool", "integer"):
        raise TypeError(must(words.target, "class indices of an integer dtype", str(target.dtype)))
    if kind == "other":
        raise TypeError(must(words.target, "of an integer, bool or floating dtype", str(target.dtype)))
    if ignore_index is not None and task == "multiclass" and not indices:
        raise ValueError(
            f"ignore_index must be None for a {words.target} of the shape of {words.logits}; got {ignore_index}; "
            f"give such pixels {words.weight} 0"
        )
    if weight is not None:
        per_channel = _same(weight.shape, logits.shape)
        weight = xp.reshape(weight, (images, channels if per_channel else 1, pixels))
    return Batch(
        xp,
        task,
        space,
        scores=xp.reshape(logits, (images, channels, pixels)),
        target=xp.reshape(target, (images, pixels) if indices else (images, channels, pixels)),
        weight=weight,
        ignore_index=ignore_index,
        from_logits=from_logits,
        indices=indices,
        hard=kind != "real",
        inputs={
            name: INPUTS[name].receive(xp, name, values, tuple(logits.shape), space, channels, words)
            for name, values in (inputs or {}).items()
        },
        words=words,
    )


def _layout(logits: Array, task: str, words: Words) -> tuple[tuple[int, ...], int]:
    """The spatial shape and the number of channels of the logits."""
    shape = tuple(logits.shape)
    given = words.given("logits", shape)
    check_task(task)
    if task == "binary":
        if len(shape) < 1:
            raise ValueError(must(words.logits, f"of shape {words.layout(1)} or (N, *space)", given))
        return (shape[2:] if len(shape) > 1 and shape[1] == 1 else shape[1:]), 1
    if len(shape) < 2:
        raise ValueError(must(words.logits, f"of shape {words.layout('C')}", given))
    if task == "multiclass" and shape[1] < 2:
        raise ValueError(
            f"{words.logits} of a multiclass task must have at least 2 channels; got shape {given}; "
            "one channel is task='binary'"
        )
    return shape[2:], shape[1]


def _check_shapes(
    logits: Array, target: Array, weight: Array | None, task: str, space: tuple[int, ...], words: Words
) -> None:
    full, flat = tuple(logits.shape), (logits.shape[0], *space)
    legal = (full,) if task == "multilabel" else (flat,) if _same(flat, full) else (flat, full)
    weights = (flat,) if task == "multiclass" or _same(flat, full) else (flat, full)
    for name, array, shapes in (("target", target, legal), ("weight", weight, weights)):
        if array is not None and not any(_same(array.shape, shape) for shape in shapes):
            also = [flat[:1]] if name == "weight" and words.per_image and space else []
            expected = " or ".join(str(words.seen(shape, len(space))) for shape in (*also, *shapes))
            flat_target = task == "binary" and _same(flat, full) and _same(array.shape, (full[0], *full[2:]))
            hint = f"; binary {words.logits} have one channel, {words.layout(1)}, or none" if flat_target else ""
            raise ValueError(
                f"{getattr(words, name)} must be of shape {expected} for {task} {words.logits} of shape "
                f"{words.given('logits', full)}; got {words.given(name, array.shape)}{hint}"
            )


def _same(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two shapes are equal; ranks first, so that no exporter sees sizes of different axes compared."""
    return len(one) == len(other) and tuple(one) == tuple(other)


def _probability_flaw(xp: Namespace, p: Array, task: str, name: str) -> Array | None:
    message = f"{name} must hold probabilities in [0, 1] when from_logits=False; got values outside"
    flaw = found(xp, xp.any((p < 0) | (p > 1)), message)
    return any_of(xp, [flaw, _sum_flaw(xp, p, None, name)]) if task == "multiclass" else flaw


def _sum_flaw(xp: Namespace, p: Array, valid: Array | None, name: str) -> Array | None:
    off = xp.abs(xp.sum(p, axis=1, keepdims=True) - 1.0) > SOFT_SUM_TOLERANCE
    if valid is not None:
        off = off & valid
    return found(xp, xp.any(off), f"{name} must hold probabilities that sum to 1 over the classes; got other sums")
