"""The loss under test, seen through what it says of itself."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import isqrt
from typing import Any, cast

from torch import Tensor, nn

from lossmith.check.cases import given_inputs, unlabelled
from lossmith.core.catalogue import Record
from lossmith.core.parameters import Interval
from lossmith.core.pixels import check_task
from lossmith.torch.loss import Loss

LossFunction = Callable[..., Tensor]


class Broken(AssertionError):  # noqa: N818
    """A law does not hold; the message says what was expected and what came."""


class Skipped(Exception):  # noqa: N818
    """A law does not apply; the message says why."""


@dataclass(frozen=True)
class Facts:
    """What a loss claims; laws about what it does not claim are skipped. Taken from the record of a catalogue loss.

    least_at_truth: nothing costs less than the certain, right prediction. neighbours: it looks at pixels together with
    those around them. supervised: it compares with a target. calibrates: it holds logits back from certainty. axes: how
    many spatial axes it can have; empty: any number.
    """

    range: Interval | None = None
    zero_at_truth: bool | None = None
    own_weights: bool = False
    hard_targets: bool = False
    neighbours: bool = False
    supervised: bool = True
    least_at_truth: bool = True
    calibrates: bool = False
    axes: tuple[int, ...] = ()

    @classmethod
    def of(cls, record: Record, parameters: Mapping[str, Any]) -> "Facts":
        """The facts of a catalogue loss; the range is that of the index, not of its logarithm."""
        facts = cls(**{field.name: getattr(record, field.name) for field in fields(cls)})
        return replace(facts, range=None) if parameters.get("log") else facts


class Fed(nn.Module):
    """A loss that is given its inputs (`Record.inputs`): the same for every image of a batch."""

    def __init__(self, loss: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.loss = loss
        self.names = tuple(names)

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss with its inputs; what was not annotated has no labels."""
        target = unlabelled(target, logits) if "annotated" in self.names else target
        value: Tensor = self.loss(logits, target, weight, **given_inputs(self.names, logits))
        return value


class Planar(nn.Module):
    """A loss that cannot have one spatial axis: where there is one, it becomes a plane."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of the plane; a map as it was."""
        if logits.ndim != 3:
            value: Tensor = self.loss(logits, target, weight)
            return value
        pixels = logits.shape[2]
        height = max(side for side in range(1, isqrt(pixels) + 1) if pixels % side == 0)
        plane = (height, pixels // height)
        planes = [None if x is None else x.reshape(*x.shape[:-1], *plane) for x in (logits, target, weight)]
        value = self.loss(*planes)
        return value.flatten(-2) if value.ndim > 2 else value


class Subject:
    """A loss, or a class or function that makes one, with a task.

    Args:
        loss: a module or function called as ``loss(logits, target)``, or a class that makes one; only of a class
            can laws about options (ignore_index, reduction, from_logits) be checked.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``; given to a class that has such a parameter.
        facts: what the loss claims.
        **fixed: constructor arguments of a class.
    """

    def __init__(self, loss: type | LossFunction, /, task: str, facts: Facts | None = None, **fixed: Any) -> None:
        check_task(task)
        if fixed and not isinstance(loss, type):
            raise TypeError(f"an instance takes no parameters; got {', '.join(fixed)}; give the class")
        self.loss = loss
        self.task = task
        self.fixed = fixed
        record = getattr(loss, "record", None)
        self.record = record if isinstance(record, Record) else None
        self.facts = facts or self._claimed()

    def _claimed(self) -> Facts:
        """What the record says; of a loss made from another, what that one's does."""
        if self.record is None:
            return Facts()
        loss = self.loss(self.task, **self.fixed) if self.own else self.loss
        if not isinstance(loss, Loss):
            return Facts.of(self.record, self.fixed)
        return Facts.of(*loss.asked())

    def build(self, **options: Any) -> LossFunction:
        """The loss with these options; `Skipped` where it has no such option."""
        if not isinstance(self.loss, type):
            if options:
                raise Skipped(f"an instance's {', '.join(options)} cannot be set; give the class")
            return self.loss
        known = inspect.signature(self.loss).parameters
        names = {p.name for p in self.record.parameters} if self.record else set(known)
        missing = [name for name in options if name not in names]
        if missing:
            raise Skipped(f"it has no {', '.join(missing)}")
        task = {"task": self.task} if "task" in known else {}
        loss = self.loss(**task, **self.fixed, **options)
        if self.record and self.record.inputs:
            loss = Fed(loss, self.record.inputs)
        if self.facts.axes and 1 not in self.facts.axes:
            loss = Planar(loss)
        return cast(LossFunction, loss)

    def weighted(self, **options: Any) -> LossFunction:
        """As `build`; `Skipped` where the loss takes no weight map."""
        loss = self.build(**options)
        function = loss.forward if isinstance(loss, nn.Module) else loss
        if "weight" not in inspect.signature(function).parameters:
            raise Skipped("it takes no weight")
        return loss

    def supervised(self, *, pushing: bool = False) -> LossFunction:
        """As `build`; `Skipped` where the loss has no target, or with `pushing` holds logits back from certainty."""
        if not self.facts.supervised:
            raise Skipped("it has no target")
        if pushing and self.facts.calibrates:
            raise Skipped("it holds every logit back from certainty")
        return self.build()

    @property
    def own(self) -> bool:
        """Whether the loss is one of the catalogue, held to the whole contract."""
        return isinstance(self.loss, type) and issubclass(self.loss, Loss)
