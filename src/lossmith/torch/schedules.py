"""Factors that change while training goes on, and the loss that has one."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from lossmith.core.parameters import NONNEGATIVE, POSITIVE, Count
from lossmith.errors import must
from lossmith.torch.sums import Composition, atom_of, leaves_of, names_of, parts_of, together
from lossmith.torch.whole import exact


@dataclass(frozen=True)
class Schedule:
    """A factor as a function of the number of steps taken, a tensor of no dimensions."""

    def __post_init__(self) -> None:
        for field in fields(self):
            legal = Count(1) if field.name in ("steps", "every") else POSITIVE if field.name == "gamma" else NONNEGATIVE
            legal.check(field.name, getattr(self, field.name))

    def __call__(self, step: Tensor) -> Tensor:
        """The factor after `step` steps."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{getattr(self, field.name):g}' for field in fields(self))})"


@dataclass(frozen=True)
class Constant(Schedule):
    """Always `value`."""

    value: float

    def __call__(self, step: Tensor) -> Tensor:
        """The value."""
        return torch.full_like(step, self.value)


@dataclass(frozen=True)
class Linear(Schedule):
    """From `start` to `stop` in a straight line of `steps` steps, `stop` from then on.

    >>> [round(Linear(1.0, 0.0, 4)(torch.tensor(float(step))).item(), 2) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    start: float
    stop: float
    steps: int

    def __call__(self, step: Tensor) -> Tensor:
        """start + (stop - start) step / steps."""
        done = (step / self.steps).clamp(max=1.0)
        return self.start * (1.0 - done) + self.stop * done


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `start` to `stop` in half a wave of `steps` steps, slow at both ends; `stop` from then on.

    >>> [round(Cosine(1.0, 0.0, 4)(torch.tensor(float(step))).item(), 2) for step in range(6)]
    [1.0, 0.85, 0.5, 0.15, 0.0, 0.0]
    """

    start: float
    stop: float
    steps: int

    def __call__(self, step: Tensor) -> Tensor:
        """stop + (start - stop) (1 + cos(pi step / steps)) / 2."""
        left = 0.5 * (1.0 + torch.cos(math.pi * (step / self.steps).clamp(max=1.0)))
        return self.start * left + self.stop * (1.0 - left)


@dataclass(frozen=True)
class Exponential(Schedule):
    """`start`, times `gamma` at every step.

    >>> [Exponential(1.0, 0.5)(torch.tensor(float(step))).item() for step in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    start: float
    gamma: float

    def __call__(self, step: Tensor) -> Tensor:
        """start gamma^step."""
        return self.start * self.gamma**step


@dataclass(frozen=True)
class Step(Schedule):
    """`start`, times `gamma` after `every` so many steps.

    >>> [Step(1.0, 0.5, every=2)(torch.tensor(float(step))).item() for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    start: float
    gamma: float
    every: int

    def __call__(self, step: Tensor) -> Tensor:
        """start gamma^floor(step / every)."""
        return self.start * self.gamma ** torch.floor(step / self.every)


class Scheduled(Composition):
    r"""A loss times a factor that changes with the steps taken.

    .. math:: L = c(\tau)\, L_1, \qquad \tau \text{ the number of calls of } \texttt{step()}

    `step()` is called once an epoch or once an optimizer step, whichever the schedule counts in; that of a sum takes
    all schedules inside one step further. The number of steps is in the `state_dict`, so that a resumed run goes on
    where it was.

    Args:
        loss: any loss, a sum, or a module called as ``loss(logits, target)``.
        weight: the schedule of the factor: `Linear`, `Cosine`, `Exponential`, `Step`, `Constant`, or a function of the
            number of steps, a tensor of no dimensions, that gives a tensor of none.

    The schedule of Kervadec 2019, from the region loss to the boundary loss over 99 epochs, is
    ``Scheduled(dice, Linear(1, 0.01, 99)) + Scheduled(boundary, Linear(0, 0.99, 99))``.

    >>> import torch
    >>> from lossmith.torch import CrossEntropyLoss, DiceLoss
    >>> loss = CrossEntropyLoss("binary") + Scheduled(DiceLoss("binary"), Linear(0.0, 1.0, 10))
    >>> for _ in range(5):
    ...     loss.step()
    >>> value = loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]]))
    >>> {name: round(part.item(), 4) for name, part in loss.terms.items()}
    {'ce': 0.6931, 'Linear(0, 1, 10)*dice': 0.3333}
    """

    steps: Tensor

    def __init__(self, loss: nn.Module, weight: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        if not isinstance(loss, nn.Module):
            raise TypeError(must("loss", "a module", type(loss).__name__))
        if not callable(weight):
            raise TypeError(must("weight", "a schedule, such as Linear(1.0, 0.0, 100)", weight))
        together([loss])
        self.loss = loss
        self.schedule = weight
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @property
    def factor(self) -> Tensor:
        """The factor now."""
        return self.schedule(self.steps.to(exact(self.steps)))

    def leaves(self) -> list[nn.Module]:
        """Those of the loss."""
        return leaves_of(self.loss)

    def parts(self, values: Iterator[Tensor]) -> list[Tensor]:
        """Those of the loss, each times the factor."""
        factor = self.factor
        return [factor.to(value.dtype) * value for value in parts_of(self.loss, values)]

    def names(self) -> list[str]:
        """Those of the loss, each with the schedule."""
        return [f"{self._schedule}*{name}" for name in names_of(self.loss)]

    def _advance(self) -> None:
        self.steps += 1

    @property
    def _schedule(self) -> str:
        if isinstance(self.schedule, Schedule):
            return str(self.schedule)
        return getattr(self.schedule, "__name__", type(self.schedule).__name__)

    @property
    def _called(self) -> str:
        return f"{self._schedule}*{atom_of(self.loss)}"

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"weight={self._schedule}, steps={int(self.steps)}"
