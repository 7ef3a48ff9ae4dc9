"""The base of every loss here, and sums of losses."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor, nn

from lossmith.core.catalogue import Record, find
from lossmith.core.parameters import PerClass
from lossmith.core.pixels import TASKS, Task
from lossmith.core.spec import Atom, Term
from lossmith.errors import must
from lossmith.torch import engine
from lossmith.torch.arguments import Numbers as Numbers
from lossmith.torch.arguments import distinct, factor, floating, plain, shortest, signature
from lossmith.torch.call import known_inputs, values_of

if TYPE_CHECKING:  # torch may be built without it
    from torch.distributed import ProcessGroup

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
        if task not in TASKS:
            raise ValueError(must("task", "'binary', 'multiclass' or 'multilabel'", task))
        if task not in self.record.tasks:
            expected = " or ".join(repr(name) for name in self.record.tasks)
            raise ValueError(must(f"task of {self.record.name}", expected, task))
        parameters = {name: plain(value) for name, value in parameters.items()}
        self.record.check(parameters)
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

    def arguments(self) -> dict[str, Any]:
        """The definition's keyword arguments: settings and buffers without the door's."""
        chosen = {name: value for name, value in self.settings.items() if name not in OPENING}
        return chosen | self._buffers

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
        """The loss in the spec language; ``parse(loss.spec, loss.task)`` makes it again."""
        return _spec([(1.0, self)])

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

    def __add__(self, other: nn.Module) -> "SumLoss":
        return SumLoss([(1.0, self)]) + other

    def __radd__(self, other: object) -> "SumLoss":
        return SumLoss([(1.0, self)]).__radd__(other)

    def __mul__(self, factor: float) -> "SumLoss":
        return SumLoss([(1.0, self)]) * factor

    __rmul__ = __mul__


class SumLoss(nn.Module):
    r"""A weighted sum of losses, ``0.5 * ce + dice``: one look at the batch for all of its terms.

    .. math:: L = \sum_k c_k L_k

    Made by ``+`` and ``*``. Terms that open the batch alike (same `ignore_index` and `from_logits`) share it, so
    the softmax and the sums
    over pixels are computed once. A term may also be any module called as ``loss(logits, target)``; it gets no
    `weight`, so a
    sum with such a term refuses one.

    >>> import torch
    >>> from lossmith.torch import CrossEntropyLoss, DiceLoss
    >>> loss = 0.5 * CrossEntropyLoss("binary") + DiceLoss("binary")
    >>> value = loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]]))
    >>> {name: round(part.item(), 4) for name, part in loss.terms.items()}
    {'0.5*ce': 0.3466, 'dice': 0.6667}
    """

    __call__: Callable[..., Tensor]

    def __init__(self, terms: Iterable[tuple[float, nn.Module]]) -> None:
        super().__init__()
        pairs = list(terms)
        if not pairs:
            raise ValueError(must("terms", "at least one (coefficient, loss)", pairs))
        self.coefficients = tuple(factor(c) for c, _ in pairs)
        self.losses = nn.ModuleList(loss for _, loss in pairs)
        tasks = {loss.task for loss in self.losses if isinstance(loss, Loss)}
        if len(tasks) > 1:
            raise ValueError(must("the losses of a sum", "of one task", sorted(tasks)))
        for option in ("from_logits", "reduction", "process_group"):
            chosen = {loss.settings[option] for loss in self.losses if isinstance(loss, Loss)}
            if len(chosen) > 1:
                raise ValueError(must(f"{option} of a sum's losses", "the same", sorted(chosen, key=str)))
        self.names = distinct(
            [str(Term(c, _short(_atom_of(loss)))) for c, loss in zip(self.coefficients, self.losses, strict=True)]
        )
        self._last: dict[str, Tensor] = {}

    def forward(
        self, logits: Tensor, target: Tensor | None = None, weight: Tensor | None = None, **inputs: Tensor
    ) -> Tensor:
        """The weighted sum of the terms' values; an input goes to the terms that take it."""
        known_inputs(self.losses, inputs)
        doors: dict[tuple[object, ...], list[int]] = {}
        found: dict[int, Tensor] = {}
        for number, loss in enumerate(self.losses):
            if isinstance(loss, Loss):
                doors.setdefault(loss.door, []).append(number)
            elif weight is not None:
                raise ValueError(must("weight", f"None in a sum with {type(loss).__name__}", tuple(weight.shape)))
            else:
                found[number] = loss(logits, target)
        for numbers in doors.values():
            losses = [loss for number in numbers if isinstance(loss := self.losses[number], Loss)]
            found.update(zip(numbers, values_of(losses, logits, target, weight, inputs), strict=True))
        shapes = [tuple(found[number].shape) for number in range(len(found))]
        if len(set(shapes)) > 1:
            raise ValueError(must("the values of a sum's losses", "of one shape", shapes))
        values = [found[number] if c == 1 else c * found[number] for number, c in enumerate(self.coefficients)]
        self._remember(values)
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total

    def _remember(self, values: list[Tensor]) -> None:
        """Keep the parts of this value for `terms`; inside a trace or a function transform there is nothing to keep."""
        if torch.compiler.is_compiling():
            return
        try:
            values[0].data_ptr()
        except RuntimeError:
            return
        self.__dict__["_last"] = {name: value.detach() for name, value in zip(self.names, values, strict=True)}

    @property
    def terms(self) -> dict[str, Tensor]:
        """The parts of the last eager call's value by name, coefficients included; they add up to it.

        A compiled or transformed call keeps nothing: there, `terms` are still those of the last eager call.
        """
        return dict(self._last)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": {}}

    @property
    def spec(self) -> str:
        """The sum in the spec language."""
        return _spec(self._pairs())

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return _written(self._pairs())

    def __add__(self, other: nn.Module) -> "SumLoss":
        if not isinstance(other, nn.Module):
            return NotImplemented
        more = other if isinstance(other, SumLoss) else SumLoss([(1.0, other)])
        return SumLoss([*self._pairs(), *more._pairs()])

    def __radd__(self, other: object) -> "SumLoss":
        if other == 0:  # the start of Python's sum()
            return self
        return SumLoss([(1.0, other)]) + self if isinstance(other, nn.Module) else NotImplemented

    def __mul__(self, factor: float) -> "SumLoss":
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        return SumLoss([(factor * c, loss) for c, loss in self._pairs()])

    __rmul__ = __mul__

    def _pairs(self) -> list[tuple[float, nn.Module]]:
        return list(zip(self.coefficients, self.losses, strict=True))


def _atom_of(loss: nn.Module) -> Atom:
    if isinstance(loss, Loss):
        return loss.atom
    named = getattr(loss, "_lossmith_atom", None)
    return named if isinstance(named, Atom) else Atom(type(loss).__name__)


def _written(pairs: Iterable[tuple[float, nn.Module]]) -> str:
    return " + ".join(str(Term(c, _atom_of(loss))) for c, loss in pairs)


def _spec(pairs: Iterable[tuple[float, nn.Module]]) -> str:
    """What the spec language can write: a process group has no name outside of its processes."""
    pairs = list(pairs)
    for _, loss in pairs:
        group = loss.settings["process_group"] if isinstance(loss, Loss) else None
        if not isinstance(group, str | None):
            raise TypeError(must("process_group of a spec", "None or 'world'", group))
    return _written(pairs)


def _short(atom: Atom) -> Atom:
    """The atom without the options that every loss has."""
    door = Door.__annotations__
    return Atom(atom.name, {name: value for name, value in atom.arguments.items() if name not in door})
