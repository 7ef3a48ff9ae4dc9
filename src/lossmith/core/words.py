"""What the arguments of a loss are called, and how their shapes look, where they come from: for errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Words:
    """The arguments of a loss in the words of its caller.

    axis: where the classes are. shapes: of the arguments as they were given, where the door sees others. per_image:
    whether a weight may be a number for each image.
    """

    logits: str = "logits"
    target: str = "target"
    weight: str = "weight"
    pred: str = "pred"
    axis: int = 1
    shapes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    per_image: bool = False

    def layout(self, classes: object) -> str:
        """The shape of logits with so many classes."""
        return f"(N, {classes}, *space)" if self.axis == 1 else f"(N, *space, {classes})"

    def seen(self, shape: Sequence[Any], space: int) -> tuple[Any, ...]:
        """A shape as the caller has it, of an array with so many axes of space."""
        lengths = list(shape)
        if len(lengths) == space + 2:
            classes = lengths.pop(1)
            lengths.insert(self.axis % len(shape), classes)
        return tuple(lengths)

    def given(self, name: str, shape: Sequence[Any]) -> tuple[Any, ...]:
        """The shape with which an argument was given; `shape`: what the door sees."""
        return self.shapes.get(name, tuple(shape))


TORCH = Words()
