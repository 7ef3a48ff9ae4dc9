"""From a record, an open batch and parameters to the value of the loss, in three steps.

    prepare   what a loss must know of the whole batch: class weights, the order of the errors. It has no gradient.
    add       what a block of pixels gives: sums, or terms of every pixel. All of the gradient comes through here.
    finish    the formula and the reduction: light work on the sums.

`evaluate` takes the whole batch for one block. Whoever walks through blocks adds up what `add` and the statistics
give where it has two axes, and lays it side by side along the last axis where it has three.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lossmith.core.catalogue import Record
from lossmith.core.namespaces import Array
from lossmith.core.pixels import STATISTICS, Pixels
from lossmith.core.reduce import add_pixels, reduce_pixels
from lossmith.core.region import names_of, region_loss
from lossmith.errors import must


@dataclass(frozen=True)
class Part:
    """A loss on its way to a value: its record, its parameters, and what it knows of the whole batch.

    parameters: those of the record except for the door's (ignore_index, from_logits). names: the sums over pixels
    that its formula takes.
    """

    record: Record
    parameters: Mapping[str, Any]
    prepared: Mapping[str, Any]
    names: tuple[str, ...]

    @property
    def statistics(self) -> tuple[str, ...]:
        """Those of the sums that losses share."""
        return tuple(name for name in self.names if name in STATISTICS)

    @property
    def of_truth(self) -> bool:
        """Whether it takes of a pixel log p_t alone, see `Record`."""
        return self.record.takes_truth_alone(self.prepared)

    def add(self, px: Pixels) -> dict[str, Array]:
        """What the pixels of a block give to this loss alone."""
        if not self.record.of_sums:
            if self.names:
                return {}
            return add_pixels(px, self.record.definition(px, **self.prepared), self.parameters["reduction"])
        return {} if self.record.terms is None else self.record.terms(px, **self.prepared)

    def value(self, px: Pixels) -> Array:
        """The value on a batch as one block."""
        return self.finish(px, _Sums(px, self.add(px)))

    def map(self, px: Pixels) -> Array:
        """The terms of a pixel loss, as often as each pixel counts, (b, k, B)."""
        return add_pixels(px, self.record.definition(px, **self.prepared), "none")["map"]

    def finish(self, px: Pixels, sums: Mapping[str, Array]) -> Array:
        """The reduced value, from the statistics and what `add` gave."""
        if not self.record.of_sums:
            if self.names:
                likelihood, count = sums["L"], sums["N"] if px.weighted else None
                sums = {"loss": -likelihood}
                if px.weighted:
                    sums = sums | {"weight": count + px.xp.zeros_like(likelihood)}
            return reduce_pixels(px, sums, self.parameters["reduction"])
        return region_loss(px, sums, self.names, self.record.definition, joint=self.record.joint, **self.parameters)


def prepare(record: Record, whole: Pixels, *, reduction: str = "mean", **parameters: Any) -> Part:
    """The loss, ready to look at blocks of the batch."""
    if record.hard_targets and whole.soft:
        expected = f"class indices or one-hot integers for {record.name}"
        raise ValueError(must(whole.words.target, expected, "a floating dtype"))
    if not record.of_sums:
        names = () if record.statistics is None else record.statistics(whole, reduction, **parameters)
        prepared = parameters if record.prepare is None else record.prepare(whole, **parameters)
        return Part(record, {"reduction": reduction}, prepared, names)
    if "per_image" in parameters:
        parameters["pool"] = "image" if parameters.pop("per_image") else "batch"
    if parameters.get("classes", "all") is None:
        parameters["classes"] = "present" if whole.task == "multiclass" else "all"
    prepared = parameters if record.prepare is None else record.prepare(whole, **parameters)
    names = names_of(record.definition, parameters)
    return Part(record, {**parameters, "reduction": reduction}, prepared, names)


def evaluate(record: Record, px: Pixels, **parameters: Any) -> Array:
    """The value of a loss on a batch as one block."""
    return prepare(record, px, **parameters).value(px)


class _Sums(dict[str, Array]):
    """What `add` gave, and the statistics of a batch as they are asked for."""

    def __init__(self, px: Pixels, own: Mapping[str, Array]) -> None:
        super().__init__(own)
        self.px = px

    def __missing__(self, name: str) -> Array:
        self[name] = total = self.px.statistic(name)
        return total
