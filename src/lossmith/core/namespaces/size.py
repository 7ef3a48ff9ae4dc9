"""The length of an axis that is known only when a graph runs."""

from collections.abc import Sequence
from typing import Any

from lossmith.core.namespaces import Array, Namespace

Scalar = Any
"""A 0-d integer array."""


class Size:
    """A length as a 0-d integer array, for definitions that calculate with lengths as with Python's numbers.

    Compared, it is larger than any number and equal to any other unknown length; `settle` says which lengths agree.
    """

    def __init__(self, value: Scalar) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "?"

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return hash(Size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size)

    def __gt__(self, other: object) -> bool:
        return not isinstance(other, Size)

    def __lt__(self, other: object) -> bool:
        return False

    def __ge__(self, other: object) -> bool:
        return True

    def __le__(self, other: object) -> bool:
        return isinstance(other, Size)

    def __add__(self, other: "int | Size") -> "Size":
        return Size(self.value + known(other))

    def __radd__(self, other: int) -> "Size":
        return Size(other + self.value)

    def __sub__(self, other: "int | Size") -> "Size":
        return Size(self.value - known(other))

    def __mul__(self, other: "int | Size") -> "Size":
        return Size(self.value * known(other))

    def __rmul__(self, other: int) -> "Size":
        return Size(other * self.value)

    def __floordiv__(self, other: "int | Size") -> "Size":
        return Size(self.value // known(other))


def known(length: Any) -> Any:
    """A length as an operation of the framework takes it; what is none, as it is."""
    return length.value if isinstance(length, Size) else length


def settle(xp: Namespace, arrays: Sequence[Array | None], axes: Sequence[Sequence[int]]) -> list[Any]:
    """Arrays of one batch, where a length that one of them knows is that of all.

    axes: those of each array that all have, in one order; an array may have fewer. Lengths that are not known are
    compared when the graph runs.
    """
    lengths: dict[int, list[Any]] = {}
    for x, of in zip(arrays, axes, strict=True):
        if x is not None:
            for place, axis in enumerate(of):
                lengths.setdefault(place, []).append(x.shape[axis])
    if not any(isinstance(length, Size) for some in lengths.values() for length in some):
        return list(arrays)
    agreed = {place: min(some) for place, some in lengths.items()}  # of numbers any: whoever sees them compares them
    return [
        x if x is None else xp.settled(x, {axis: agreed[place] for place, axis in enumerate(of)})
        for x, of in zip(arrays, axes, strict=True)
    ]
