"""Factors that change while training goes on, and the losses that have one."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from numbers import Real

import torch
from torch import Tensor, nn

from lossmith.core.parameters import NONNEGATIVE, POSITIVE, Count
from lossmith.errors import must
from lossmith.torch.loss import Loss
from lossmith.torch.sums import Composition, atom_of, leaves_of, lives_on, names_of, parts_of, together
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
            number of steps, a tensor of no dimensions, that gives such a tensor or a number.

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

    def __init__(self, loss: nn.Module, weight: Callable[[Tensor], Tensor | float]) -> None:
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
        steps = self.steps.to(exact(self.steps))
        found = self.schedule(steps)
        if isinstance(found, Tensor):
            if found.ndim:
                raise ValueError(must(f"the factor of {self._schedule}", "of no dimensions", tuple(found.shape)))
            return found
        if isinstance(found, bool) or not isinstance(found, Real):
            raise TypeError(must(f"the factor of {self._schedule}", "a number or a tensor", type(found).__name__))
        return torch.full_like(steps, float(found))

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


class Balanced(Composition):
    r"""Two losses of equal weight: the second times the ratio of their means in the epoch before.

    .. math:: L = L_1 + \lambda\, L_2, \qquad \lambda = \bar L_1 / \bar L_2

    The means are over the calls between the last two `step()`, so `step()` is called once an epoch; that of a sum
    reaches it, too. Lambda is a constant of the gradient. For losses of different units, such as the Hausdorff loss
    (squared pixels) and Dice, of which the one falls faster than the other, so that no constant factor fits for long.

    A call counts in training mode and where gradients are on, so one for validation, under ``torch.no_grad()`` or after
    ``eval()``, does not; nor does one with a value that is not finite. Without any call `step()` is a ValueError. Where
    a mean is 0, lambda stays as it was. Means and lambda are in the `state_dict`, so that a resumed run goes on where
    it was, also in the middle of an epoch.

    Args:
        loss, other: L_1 and L_2: any losses that are never below 0, sums, or modules called as
            ``loss(logits, target)``.
        start: lambda before the first `step()`, > 0.

    With a `process_group` the means, like the values, are those of all processes; without one each process has a lambda
    of its own.

    Source: Karimi & Salcudean 2019, whose losses are a Hausdorff loss and Dice.

    >>> import torch
    >>> from lossmith.torch import DiceLoss, HausdorffDTLoss
    >>> loss = Balanced(HausdorffDTLoss("binary"), DiceLoss("binary"))
    >>> logits, target = torch.zeros(1, 1, 1, 4), torch.tensor([[[1, 1, 0, 0]]])
    >>> loss(logits, target).item()  # 7/8 + 1/2
    1.375
    >>> loss.step()
    >>> loss.factor.item()
    1.75
    >>> loss(logits, target).item(), {name: part.item() for name, part in loss.terms.items()}
    (1.75, {'hausdorff': 0.875, 'lambda*dice': 0.875})
    """

    factor: Tensor
    sums: Tensor
    calls: Tensor

    def __init__(self, loss: nn.Module, other: nn.Module, *, start: float = 1.0) -> None:
        super().__init__()
        for name, given in (("loss", loss), ("other", other)):
            if not isinstance(given, nn.Module):
                raise TypeError(must(name, "a module", type(given).__name__))
        together([loss, other])
        for leaf in (*leaves_of(loss), *leaves_of(other)):
            if isinstance(leaf, Loss) and leaf.record.range.low < 0:
                raise ValueError(must("losses that are balanced", "never below 0", leaf.record.name))
        POSITIVE.check("start", start)
        self.loss, self.other = loss, other
        self.register_buffer("factor", torch.tensor(float(start)))
        self.register_buffer("sums", torch.zeros(2))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def leaves(self) -> list[nn.Module]:
        """Those of both losses."""
        return [*leaves_of(self.loss), *leaves_of(self.other)]

    def parts(self, values: Iterator[Tensor]) -> list[Tensor]:
        """Those of both losses, of the second each times lambda."""
        first, second = parts_of(self.loss, values), parts_of(self.other, values)
        if self.training and torch.is_grad_enabled():
            self._count(first, second)
        # A copy: it is set anew in place, which is no business of a backward pass that is still to come.
        factor = self.factor.to(second[0].dtype, copy=True)
        return [*first, *(factor * part for part in second)]

    def names(self) -> list[str]:
        """Those of both losses, of the second each with ``lambda``."""
        return [*names_of(self.loss), *(f"lambda*{name}" for name in names_of(self.other))]

    def _count(self, *losses: list[Tensor]) -> None:
        values = [torch.stack([part.detach().mean() for part in parts]).sum() for parts in losses]
        pair = torch.stack(values).to(self.sums)
        if lives_on(pair):
            finite = torch.isfinite(pair).all()
            self.sums += torch.where(finite, pair, torch.zeros_like(pair))
            self.calls += finite

    def _advance(self) -> None:
        if not self.calls:
            expected = "at least one of finite value, in training mode and with gradients on"
            raise ValueError(must("calls since the last step()", expected, 0))
        first, second = (self.sums / self.calls).tolist()
        if min(first, second) < 0:
            raise ValueError(must("the means of losses that are balanced", ">= 0", (first, second)))
        if min(first, second) > 0:
            self.factor.fill_(first / second)
        self.sums.zero_()
        self.calls.zero_()

    @property
    def _called(self) -> str:
        return f"Balanced({atom_of(self.loss)}, {atom_of(self.other)})"

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"factor={self.factor.item():g}"
