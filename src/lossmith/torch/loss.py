"""The base of every loss of pixels."""

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

from torch import Tensor, nn

from lossmith.core.catalogue import Record, find
from lossmith.core.parameters import PerClass
from lossmith.core.pixels import Task, check_task
from lossmith.core.spec import Atom
from lossmith.errors import must
from lossmith.torch import engine
from lossmith.torch.arguments import Numbers as Numbers
from lossmith.torch.arguments import floating, plain, shortest, signature
from lossmith.torch.call import known_inputs, values_of

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup  # torch may be built without it

    from lossmith.torch.sums import SumLoss

OPENING = ("ignore_index", "from_logits", "process_group")  # settings that no definition takes


class Door(TypedDict, total=False):
    """Options of every loss."""

    ignore_index: int | None
    reduction: Literal["mean", "sum", "none"]
    from_logits: bool
    process_group: "ProcessGroup | Literal['world'] | None"


class Loss(nn.Module):
    """A loss of the catalogue as a module; called as ``loss(logits, target, weight=None)``.

    Some take more, by name: ``loss(logits, target, image=image)``; see `Record.inputs`.
    Final classes name their record and spell their parameters out; everything else is here.
    """

    registry: ClassVar[dict[str, type["Loss"]]] = {}
    record: ClassVar[Record]
    task: Task
    __call__: Callable[..., Tensor]

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.record = find(name)
            cls.__signature__ = signature(cls.record)  # type: ignore[attr-defined]
            Loss.registry[name] = cls

    def __init__(self, task: Task, **parameters: Any) -> None:
        super().__init__()
        check_task(task)
        if task not in self.record.tasks:
            expected = " or ".join(repr(name) for name in self.record.tasks)
            raise ValueError(must(f"task of {self.record.name}", expected, task))
        parameters = {name: plain(value) for name, value in parameters.items()}
        self.record.check(parameters)
        if self.record.agree is not None:
            self.record.agree(task=task, **{p.name: parameters.get(p.name, p.default) for p in self.record.parameters})
        self.task = task
        self.settings: dict[str, Any] = {}
        for parameter in self.record.parameters:
            value = parameters.get(parameter.name, parameter.default)
            if isinstance(value, nn.Module):
                self.add_module(parameter.name, value)
            elif isinstance(parameter.legal, PerClass) and value is not None and not isinstance(value, int | float):
                self.register_buffer(parameter.name, floating(value))
            else:
                self.settings[parameter.name] = tuple(value) if isinstance(value, list) else value

    def forward(
        self, logits: Tensor, target: Tensor | None = None, weight: Tensor | None = None, **inputs: Tensor
    ) -> Tensor:
        """The loss of a batch. See the class for shapes; `weight` says how often each pixel counts."""
        known_inputs([self], inputs)
        return values_of([self], logits, target, weight, inputs)[0]

    @property
    def door(self) -> tuple[int | None, bool, bool]:
        """What decides how a batch is opened; losses of a sum with the same door share it."""
        return self.settings["ignore_index"], self.settings["from_logits"], self.record.supervised

    def asked(self) -> tuple[Record, dict[str, Any]]:
        """The record by which it is computed, its own or one that parameters choose, and what the definition takes."""
        chosen = {name: value for name, value in self.settings.items() if name not in OPENING} | self._buffers
        chosen |= {name: part.asked() for name, part in self._modules.items() if isinstance(part, Loss)}
        return (self.record, chosen) if self.record.choose is None else self.record.choose(self.record, chosen)

    @property
    def learned(self) -> bool:
        """Whether a gradient is asked for the numbers by class."""
        buffers = [buffer for buffer in self._buffers.values() if buffer is not None]
        own = any(buffer.requires_grad or engine.has_tangent(buffer) for buffer in buffers)
        return own or any(part.learned for part in self._modules.values() if isinstance(part, Loss))

    @property
    def atom(self) -> Atom:
        """Name and parameters that differ from the defaults, as the spec language writes them."""
        written: dict[str, object] = {}
        for parameter in self.record.parameters:
            name = parameter.name
            if name in self.settings:
                if self.settings[name] != parameter.default:
                    written[name] = self.settings[name]
            elif isinstance(part := getattr(self, name), Loss):
                if str(part.atom) != parameter.default:
                    written[name] = part.atom
            elif part is not None:
                written[name] = shortest(part)
        return Atom(self.record.name, written)

    @property
    def spec(self) -> str:
        """The loss in the spec language; ``parse(loss.spec, loss.task)`` makes it again.

        A process group has no name outside of its processes, so a loss with one has no spec.
        """
        group = self.settings["process_group"]
        if not isinstance(group, str | None):
            raise TypeError(must("process_group of a spec", "None or 'world'", group))
        return str(self.atom)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{self.atom}, task={self.task!r}"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Loss":
        """A copy with the same process group: processes cannot be copied."""
        other = type(self).__new__(type(self))
        group = self.settings["process_group"]
        memo |= {id(self): other, id(group): group}
        other.__dict__.update(deepcopy(self.__dict__, memo))
        return other

    @property
    def _sum(self) -> "SumLoss":
        from lossmith.torch.sums import SumLoss  # which is made of losses

        return SumLoss([(1.0, self)])

    def __add__(self, other: nn.Module) -> "SumLoss":
        return self._sum + other

    def __radd__(self, other: object) -> "SumLoss":
        return self._sum.__radd__(other)

    def __mul__(self, factor: float) -> "SumLoss":
        return self._sum * factor

    __rmul__ = __mul__
