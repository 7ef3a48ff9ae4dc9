"""Losses made of losses, and the first of them: the weighted sum."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lossmith.core.face import of_one_shape
from lossmith.core.spec import Atom, Term
from lossmith.errors import must
from lossmith.torch.arguments import distinct, factor
from lossmith.torch.call import known_inputs, values_of
from lossmith.torch.loss import Door, Loss

Names = Callable[[Any], list[str]]  # of a composition: bound to it, it would keep it alive


class Composition(nn.Module):
    """A loss made of losses, called as they are: ``loss(logits, target, weight=None)`` and inputs by name.

    What it is made of is looked at in one pass, through however many compositions: each says what its `leaves` are, the
    losses that see the batch, and makes `parts` of their values.
    """

    __call__: Callable[..., Tensor]
    _last: tuple[Names, list[Tensor]] | None

    def __init__(self) -> None:
        super().__init__()
        self._last = None

    def leaves(self) -> list[nn.Module]:
        """The losses that look at the batch, in the order in which `parts` takes their values."""
        raise NotImplementedError

    def parts(self, values: Iterator[Tensor]) -> list[Tensor]:
        """What adds up to the value, from the values of the leaves."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """What the parts are called."""
        raise NotImplementedError

    def forward(self, logits: Any, target: Any = None, weight: Any = None, **inputs: Tensor) -> Tensor:
        """The value; an input goes to the losses that take it."""
        known_inputs(takers(self), inputs)
        return self._total(self.parts(iter(values_at(self.leaves(), logits, target, weight, inputs))), type(self).names)

    def _total(self, parts: Sequence[Tensor], names: Names) -> Tensor:
        """The sum of the parts, which are kept for `terms`."""
        total = parts[0]
        for value in parts[1:]:
            total = total + value
        if not torch.compiler.is_compiling() and lives_on(total):
            self.__dict__["_last"] = (names, [value.detach() for value in parts])
        return total

    @property
    def terms(self) -> dict[str, Tensor]:
        """The parts of the last eager call's value by name, factors included; they add up to it.

        A compiled or transformed call keeps nothing: there, `terms` are still those of the last eager call.
        """
        if self._last is None:
            return {}
        names, parts = self._last
        return dict(zip(distinct(names(self)), parts, strict=True))

    def step(self) -> None:
        """Take every schedule inside one step further, see `Scheduled`."""
        for part in self.modules():
            if isinstance(part, Composition):
                part._advance()

    def _advance(self) -> None:
        """Take one's own schedule one step further."""

    @property
    def _called(self) -> str:
        """What it is called where `parse` gave it no name."""
        return type(self).__name__

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def __add__(self, other: nn.Module) -> "SumLoss":
        return SumLoss([(1.0, self)]) + other

    def __radd__(self, other: object) -> "SumLoss":
        return SumLoss([(1.0, self)]).__radd__(other)

    def __mul__(self, factor: float) -> "SumLoss":
        return SumLoss([(1.0, self)]) * factor

    __rmul__ = __mul__


def lives_on(value: Tensor) -> bool:
    """Whether a value can be kept: inside of a function transform or a trace of fake tensors there is nothing to keep.

    A compiled graph can keep it, in a buffer.
    """
    if torch.compiler.is_compiling():
        return not torch._C._are_functorch_transforms_active()
    try:
        value.data_ptr()
    except RuntimeError:
        return False
    return True


def leaves_of(loss: nn.Module) -> list[nn.Module]:
    """The losses inside that look at the batch."""
    return loss.leaves() if isinstance(loss, Composition) else [loss]


def takers(loss: nn.Module) -> list[Loss]:
    """The losses inside that are called; a loss inside of one of them gets no inputs of its own."""
    return [loss] if isinstance(loss, Loss) else [taker for part in loss.children() for taker in takers(part)]


def parts_of(loss: nn.Module, values: Iterator[Tensor]) -> list[Tensor]:
    """The value of a loss in its parts."""
    return loss.parts(values) if isinstance(loss, Composition) else [next(values)]


def names_of(loss: nn.Module) -> list[str]:
    """What the parts of a loss are called."""
    return loss.names() if isinstance(loss, Composition) else [name_of(loss)]


def together(losses: Iterable[nn.Module]) -> None:
    """Raise where losses cannot look at one batch."""
    leaves = [leaf for loss in losses for leaf in leaves_of(loss) if isinstance(leaf, Loss)]
    tasks = {leaf.task for leaf in leaves}
    if len(tasks) > 1:
        raise ValueError(must("the losses of a sum", "of one task", sorted(tasks)))
    for option in ("from_logits", "reduction", "process_group"):
        chosen = {leaf.settings[option] for leaf in leaves}
        if len(chosen) > 1:
            raise ValueError(must(f"{option} of a sum's losses", "the same", sorted(chosen, key=str)))


def atom_of(loss: nn.Module) -> Atom:
    """What a loss is called, with what differs from its defaults."""
    if isinstance(loss, Loss):
        return loss.atom
    named = getattr(loss, "_lossmith_atom", None)
    if isinstance(named, Atom):
        return named
    return Atom(loss._called if isinstance(loss, Composition) else type(loss).__name__)


def name_of(loss: nn.Module) -> str:
    """As `atom_of`, without the options that every loss has."""
    atom = atom_of(loss)
    arguments = {name: value for name, value in atom.arguments.items() if name not in Door.__annotations__}
    return str(Atom(atom.name, arguments))


def times(coefficient: float, name: str) -> str:
    """A name with its coefficient."""
    return str(Term(coefficient, Atom(name)))


def values_at(
    losses: Sequence[nn.Module], logits: Any, target: Any, weight: Any, inputs: Mapping[str, Tensor]
) -> list[Tensor]:
    """The values of losses on one batch: losses with the same door share a pass."""
    doors: dict[tuple[object, ...], list[int]] = {}
    found: dict[int, Tensor] = {}
    for number, loss in enumerate(losses):
        if isinstance(loss, Loss):
            doors.setdefault(loss.door, []).append(number)
        else:
            found[number] = _called(loss, logits, target, weight, inputs)
    for numbers in doors.values():
        alike = [loss for number in numbers if isinstance(loss := losses[number], Loss)]
        found.update(zip(numbers, values_of(alike, logits, target, weight, inputs), strict=True))
    values = [found[number] for number in range(len(found))]
    of_one_shape(values)
    return values


def _called(loss: nn.Module, logits: Any, target: Any, weight: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """The value of a module that is no loss of pixels: it gets what it takes."""
    wanted = {name for part in takers(loss) for name in part.record.inputs}
    more = {name: value for name, value in inputs.items() if name in wanted}
    if weight is not None:
        if "weight" not in inspect.signature(loss.forward).parameters:
            raise ValueError(must("weight", f"None in a sum with {type(loss).__name__}", tuple(weight.shape)))
        more["weight"] = weight
    value: Tensor = loss(logits, target, **more)
    return value


class SumLoss(Composition):
    r"""A weighted sum of losses, ``0.5 * ce + dice``: one look at the batch for all of its terms.

    .. math:: L = \sum_k c_k L_k

    Made by ``+`` and ``*``. Terms that open the batch alike (same `ignore_index` and `from_logits`) share it, so
    the softmax and the sums over pixels are computed once. A term may also be any module called as ``loss(logits,
    target)``; it gets the `weight` if its `forward` has such a parameter, and where it has none the sum refuses one.

    >>> import torch
    >>> from lossmith.torch import CrossEntropyLoss, DiceLoss
    >>> loss = 0.5 * CrossEntropyLoss("binary") + DiceLoss("binary")
    >>> value = loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 0], [0, 0]]]))
    >>> {name: round(part.item(), 4) for name, part in loss.terms.items()}
    {'0.5*ce': 0.3466, 'dice': 0.6667}
    """

    def __init__(self, terms: Iterable[tuple[float, nn.Module]]) -> None:
        super().__init__()
        pairs = list(terms)
        if not pairs:
            raise ValueError(must("terms", "at least one (coefficient, loss)", pairs))
        self.coefficients = tuple(factor(c) for c, _ in pairs)
        self.losses = nn.ModuleList(loss for _, loss in pairs)
        together(self.losses)

    def leaves(self) -> list[nn.Module]:
        """Those of all terms."""
        return [leaf for loss in self.losses for leaf in leaves_of(loss)]

    def parts(self, values: Iterator[Tensor]) -> list[Tensor]:
        """Those of all terms, each times its coefficient."""
        return [value if c == 1 else c * value for c, loss in self._pairs() for value in parts_of(loss, values)]

    def names(self) -> list[str]:
        """Those of all terms, each with its coefficient."""
        return [times(c, name) for c, loss in self._pairs() for name in names_of(loss)]

    @property
    def spec(self) -> str:
        """The sum in the spec language; ``parse(loss.spec, task)`` makes it again.

        So there is none for a sum with a module that `parse` did not make, with a shape prior that was not loaded from
        a file, or with a loss that changes with the steps.
        """
        for loss in self.losses:
            if hasattr(loss, "_lossmith_atom"):
                continue
            if not isinstance(loss, Loss | SumLoss):
                raise TypeError(must("a loss of a spec", "one that parse makes, or a loaded prior", str(atom_of(loss))))
            _ = loss.spec  # raises where it has none
        return self._written()

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return self._written()

    def _written(self) -> str:
        return " + ".join(str(Term(c, atom_of(loss))) for c, loss in self._pairs())

    @property
    def _called(self) -> str:
        return f"({self._written()})"

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
