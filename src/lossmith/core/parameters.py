"""Legal values of a loss's parameters: checked at construction, shown by `lossmith show`, searched by a tuner."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

from lossmith.errors import must


class Legal(Protocol):
    """A set of legal values."""

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is not in the set."""

    def __str__(self) -> str: ...


@dataclass(frozen=True)
class Interval:
    """Finite real numbers between two bounds."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and math.isfinite(value)

    def __str__(self) -> str:
        left = "(" if self.low_open or math.isinf(self.low) else "["
        right = ")" if self.high_open or math.isinf(self.high) else "]"
        return f"in {left}{_number(self.low)}, {_number(self.high)}{right}"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is no number of the interval."""
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(must(name, f"a number {self}", value))
        if float(value) not in self:
            raise ValueError(must(name, str(self), value))


UNIT = Interval(0.0, 1.0)
NONNEGATIVE = Interval(0.0)
POSITIVE = Interval(0.0, low_open=True)


@dataclass(frozen=True)
class Count:
    """Whole numbers from `low` on."""

    low: int = 0

    def __str__(self) -> str:
        return f"a whole number >= {self.low}"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is no such number."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(must(name, str(self), value))
        if value < self.low:
            raise ValueError(must(name, str(self), value))


@dataclass(frozen=True)
class Label:
    """None, or a whole number that marks pixels."""

    def __str__(self) -> str:
        return "None or a whole number"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is neither."""
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise TypeError(must(name, str(self), value))


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        quoted = [repr(word) for word in self.words]
        return f"{', '.join(quoted[:-1])} or {quoted[-1]}"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is none of the words."""
        if not isinstance(value, str):
            raise TypeError(must(name, str(self), value))
        if value not in self.words:
            raise ValueError(must(name, str(self), value))


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def __str__(self) -> str:
        return "True or False"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is not a bool."""
        if not isinstance(value, bool):
            raise TypeError(must(name, str(self), value))


@dataclass(frozen=True)
class PerClass:
    """None, or one number of an interval for each class, or (with `scalar`) one number."""

    interval: Interval
    scalar: bool = False

    def __str__(self) -> str:
        one = "a number or " if self.scalar else ""
        return f"None, {one}one number for each class, {self.interval}"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is neither."""
        if value is None:
            return
        if self.scalar and isinstance(value, Real):
            self.interval.check(name, value)
            return
        numbers = value.tolist() if hasattr(value, "tolist") else value
        if not isinstance(numbers, Sequence) or isinstance(numbers, str):
            raise TypeError(must(name, str(self), value))
        for number in numbers:
            self.interval.check(name, number)


@dataclass(frozen=True)
class Classes:
    """ "all", "present", or class indices; with `optional` also None."""

    optional: bool = False

    def __str__(self) -> str:
        return f"{'None, ' if self.optional else ''}'all', 'present' or a list of class indices"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is none of these."""
        if value in ("all", "present") or (value is None and self.optional):
            return
        if isinstance(value, str):
            raise ValueError(must(name, str(self), value))
        if not isinstance(value, list | tuple) or any(type(c) is not int for c in value):
            raise TypeError(must(name, str(self), value))
        if not value or min(value) < 0 or len(set(value)) != len(value):
            raise ValueError(must(name, f"{self}, each once", value))


@dataclass(frozen=True)
class Distances:
    """None, or how far each class is from each other one."""

    def __str__(self) -> str:
        return "None or a distance for each pair of classes: square, symmetric, 0 on the diagonal, > 0 elsewhere"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is no such table."""
        if value is None:
            return
        if not isinstance(value, Sequence) or not all(isinstance(row, Sequence) for row in value):
            raise TypeError(must(name, str(self), value))
        for i, row in enumerate(value):
            for j, number in enumerate(row):
                if isinstance(number, bool) or not isinstance(number, Real):
                    raise TypeError(must(name, str(self), value))
                legal = number == 0 if i == j else float(number) in POSITIVE
                if len(row) != len(value) or not legal or number != value[j][i]:
                    raise ValueError(must(name, str(self), value))
        if len(value) < 2:
            raise ValueError(must(name, str(self), value))


@dataclass(frozen=True)
class Size:
    """Width and height."""

    def __str__(self) -> str:
        return "(width, height), two numbers in (0, inf)"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is no such pair."""
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise TypeError(must(name, str(self), value))
        for number in value:
            POSITIVE.check(name, number)


@dataclass(frozen=True)
class Spacing:
    """None, or the size of a pixel along each spatial axis."""

    def __str__(self) -> str:
        return "None or a list of numbers in (0, inf), one for each spatial axis"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is neither."""
        if value is None:
            return
        if not isinstance(value, list | tuple):
            raise TypeError(must(name, str(self), value))
        for number in value:
            POSITIVE.check(name, number)


@dataclass(frozen=True)
class Group:
    """None, "world", or a process group of torch."""

    def __str__(self) -> str:
        return "None, 'world' or a torch.distributed.ProcessGroup"

    def check(self, name: str, value: object) -> None:
        """Raise where `value` is none of these."""
        if value is None or value == "world":
            return
        if isinstance(value, str):
            raise ValueError(must(name, str(self), value))
        kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(value).__mro__}
        if not any(kind.startswith("torch.") and kind.endswith(".ProcessGroup") for kind in kinds):
            raise TypeError(must(name, str(self), value))


@dataclass(frozen=True)
class Anything:
    """What the loss itself checks (another loss, class counts)."""

    what: str

    def __str__(self) -> str:
        return self.what

    def check(self, name: str, value: object) -> None:
        """Nothing to check here."""


@dataclass(frozen=True)
class Inner(Anything):
    """A loss of the catalogue, by its spec, which the loss itself checks."""


@dataclass(frozen=True)
class Counts(Anything):
    """Class counts: a table of whole numbers, whose shape the loss itself checks."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a loss: name, default, legal values, meaning."""

    name: str
    default: object
    legal: Legal
    meaning: str


def _number(x: float) -> str:
    return {math.inf: "inf", -math.inf: "-inf"}.get(x, f"{x:g}")
