"""Pixel losses of log p_t as sums that compiled code knows, whatever classes weigh in them.

Of a hard target a loss such as focal takes the class and log p_t, and it is linear in what `Pixels.expect` gives, so

    loss of a pixel = sum_m a_m(class) f_m(p_t)         f_m a power of 1 - p_t, times log p_t or not (`Powers`)

The numbers a_m are read off the definition itself: it is called on one pixel of every class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lossmith.core.catalogue import Record
from lossmith.core.door import Batch
from lossmith.core.namespaces.torch import xp
from lossmith.core.pixels import Pixels
from lossmith.core.stable import Powers, Probability

LIKELIHOOD = Powers(1.0, 0.0, 0.0)  # log p_t itself


@dataclass(frozen=True)
class Term:
    """A sum over the pixels of powers of the truth's probability, times a number of its class.

    table: that number, (1, K), or (K, 2) for sigmoid tasks, absent and present; None: 1.
    """

    powers: Powers
    table: Tensor | None = None


@dataclass(frozen=True)
class Curve:
    """A pixel loss as a sum of terms. share: what a pixel of a class counts in the mean, as `Term.table`."""

    terms: tuple[Term, ...]
    share: Tensor | None = None


class _Truths(Pixels):
    """One pixel of every class, to read a loss's numbers from; for sigmoid tasks of targets 0, 1/2 and 1.

    Losses are linear in what `expect` gives of a curve: here that is 1 for the curve numbered `one`, 0 for others.
    """

    def __init__(self, task: str, channels: int, soft: bool) -> None:
        indices = task == "multiclass"
        truths = channels if indices else 3
        super().__init__(
            xp,
            task,
            (truths,),
            logits=torch.zeros(1, channels, truths),
            labels=torch.arange(truths).unsqueeze(0) if indices else None,
            target=None if indices else torch.tensor([0.0, 0.5, 1.0]).expand(1, channels, truths),
            soft=soft,
        )
        self.one: int | None = None
        self.seen: list[tuple[Powers, ...] | None] = []

    def expect(
        self,
        value: Callable[[Probability], Tensor] | None,
        hit_weight: Tensor | None = None,
        miss_weight: Tensor | None = None,
    ) -> Tensor:
        """See `Pixels`."""
        powers = (LIKELIHOOD,) if value is None else getattr(value, "powers", None)
        curve = powers is not None or hasattr(value, "slope")  # else it is what the mean divides by
        counts: Tensor = super().expect(_one if curve else value, hit_weight, miss_weight)
        if not curve:
            return counts
        self.seen.append(powers)
        return counts * float(self.one == len(self.seen) - 1)

    def read(self, record: Record, prepared: Mapping[str, Any], one: int | None) -> tuple[Tensor, Tensor | None] | None:
        """The loss by class and its share; None where it is not as `Curve` says."""
        self.one = one
        self.seen.clear()
        loss, share, times = record.definition(self, **prepared)
        return None if times is not None else (loss, share)

    def by_class(self, term: Tensor) -> Tensor | None:
        """A term of the pixels, (1, K), or for sigmoid tasks (K, 2), absent and present; None: not linear in t."""
        if self.labels is not None:
            values: Tensor = term.expand(1, 1, self.pixels)[0]
            return values.contiguous()
        absent, half, present = term.expand(1, self.channels, 3)[0].unbind(1)
        if self.soft and not torch.allclose(half, 0.5 * (absent + present)):
            return None
        return torch.stack([absent, present], dim=1)


def curve_of(record: Record, prepared: Mapping[str, Any], batch: Batch) -> Curve | None:
    """A pixel loss, given what it knows of the whole batch, in powers; None where it cannot be."""
    plain = all(value is None or isinstance(value, int | float | str) for value in prepared.values())
    read = _known_curve if plain else _read_curve
    return read(record, tuple(prepared.items()), batch.task, int(batch.scores.shape[1]), not batch.hard)


@torch.no_grad()
def _read_curve(
    record: Record, parameters: tuple[tuple[str, Any], ...], task: str, channels: int, soft: bool
) -> Curve | None:
    prepared, truths = dict(parameters), _Truths(task, channels, soft)
    nothing = truths.read(record, prepared, None)
    powers = list(truths.seen)
    if nothing is None or None in powers or nothing[0].any():
        return None
    terms: list[Term] = []
    for number, some in enumerate(powers):
        loss = truths.read(record, prepared, number)
        table = None if loss is None else truths.by_class(loss[0])
        if table is None or some is None:
            return None
        terms += [Term(power, table) for power in some]
    share = None if nothing[1] is None else truths.by_class(nothing[1])
    if share is None and nothing[1] is not None:
        return None
    return Curve(tuple(terms), None if share is None else share.double())


_known_curve = lru_cache(maxsize=1024)(_read_curve)  # of parameters that are no tensors


def _one(p: Probability) -> Tensor:
    ones: Tensor = p.xp.ones_like(p.log)
    return ones
