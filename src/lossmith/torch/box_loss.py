"""The base of the box losses."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypedDict

from torch import Tensor, nn

from lossmith.core.boxes import box_loss
from lossmith.core.catalogue import find
from lossmith.core.namespaces.torch import xp
from lossmith.core.records.record import Record
from lossmith.core.spec import Atom
from lossmith.torch.arguments import check_tensors, signature
from lossmith.torch.sums import SumLoss


class BoxOptions(TypedDict, total=False):
    """Options of every box loss."""

    reduction: Literal["mean", "sum", "none"]


class BoxLoss(nn.Module):
    """A box loss of the catalogue as a module; called as ``loss(pred, target, weight=None)``.

    Final classes name their record and spell their parameters out; everything else is here.
    """

    registry: ClassVar[dict[str, type["BoxLoss"]]] = {}
    record: ClassVar[Record]
    __call__: Callable[..., Tensor]

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.record = find(name)
            cls.__signature__ = signature(cls.record)  # type: ignore[attr-defined]
            BoxLoss.registry[name] = cls

    def __init__(self, **parameters: Any) -> None:
        super().__init__()
        self.record.check(parameters)
        self.settings: dict[str, Any] = {
            p.name: tuple(value) if isinstance(value := parameters.get(p.name, p.default), list) else value
            for p in self.record.parameters
        }

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of boxes (..., 4); `weight` (...) says how often each counts, 0 that it is not there."""
        check_tensors(pred=pred, target=target, weight=weight)
        result: Tensor = box_loss(xp, self.record, pred, target, weight, **self.settings)
        return result

    @property
    def atom(self) -> Atom:
        """Name and parameters that differ from the defaults, as the spec language writes them."""
        written = {p.name: self.settings[p.name] for p in self.record.parameters if self.settings[p.name] != p.default}
        return Atom(self.record.name, written)

    @property
    def _lossmith_atom(self) -> Atom:
        """By this name a sum finds what to call a term."""
        return self.atom

    @property
    def spec(self) -> str:
        """The loss in the spec language; ``parse(loss.spec)`` makes it again."""
        return str(self.atom)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return self.spec

    def __add__(self, other: nn.Module) -> SumLoss:
        return SumLoss([(1.0, self)]) + other

    def __radd__(self, other: object) -> SumLoss:
        return SumLoss([(1.0, self)]).__radd__(other)

    def __mul__(self, factor: float) -> SumLoss:
        return SumLoss([(1.0, self)]) * factor

    __rmul__ = __mul__
