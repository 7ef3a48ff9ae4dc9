"""The length of an axis that is known only when a graph runs."""

from typing import Any

Scalar = Any
"""A 0-d integer array."""


class Size:
    """A length as a 0-d integer array, for definitions that calculate with lengths as with Python's numbers.

    Compared, it is larger than any number and equal to any other unknown length; an operation on axes of different
    lengths fails when the graph runs.
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
