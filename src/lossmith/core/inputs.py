"""What some losses are called with beside logits, target and weight: an image, maps made beforehand, what is annotated.

An input has no gradient. It is called by name, ``loss(logits, target, image=image)``; a sum hands it to those of its
losses that take it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from lossmith.core.namespaces import Array, Namespace
from lossmith.core.words import Words
from lossmith.errors import must


@dataclass(frozen=True)
class Input:
    """An input: its axes behind the images', and whether a loss can do without.

    axes: "any *space": channels of its own for every pixel; "channels *space": those of the logits; "channels": a
    number for each class of an image.
    kinds: what its dtype may be, see `Namespace.kind`.
    """

    axes: str
    required: bool
    meaning: str
    kinds: tuple[str, ...] = ("real",)

    def receive(
        self,
        xp: Namespace,
        name: str,
        values: Array,
        shape: tuple[int, ...],
        space: tuple[int, ...],
        channels: int,
        words: Words,
    ) -> Array:
        """The input as (N, k, P), or (N, K) for one number a class; `shape` is that of the logits."""
        images, got = shape[0], tuple(values.shape)
        if xp.kind(values) not in self.kinds:
            raise TypeError(must(name, f"of a dtype that is {' or '.join(self.kinds)}", str(values.dtype)))
        if self.axes == "channels":
            if got != (images, channels):
                raise ValueError(must(name, f"of shape {(images, channels)}", got))
            return values
        if self.axes == "any *space" and len(got) == len(space) + 2:
            k = got[1]
        else:  # binary logits may have no axis of channels
            k = channels if got == (images, channels, *space) or got == shape else -1
        if got[0] != images or k < 1 or got[len(got) - len(space) :] != space:
            full = (images, "k" if self.axes == "any *space" else channels, *space)
            expected = f"({', '.join(map(str, words.seen(full, len(space))))})"
            logits = f"{words.logits} of shape {words.given('logits', shape)}"
            raise ValueError(must(name, f"of shape {expected} for {logits}", words.given(name, got)))
        return xp.reshape(values, (images, k, prod(space)))


INPUTS: Mapping[str, Input] = {
    "image": Input("any *space", True, "the image that the logits were made from, as floating numbers"),
    "distance": Input("channels *space", False, "signed distance maps made beforehand, see `DistanceMaps`"),
    "annotated": Input("channels", True, "which classes were annotated in each image", ("bool",)),
    "tags": Input("channels", False, "which classes are in each image", ("bool",)),
}
