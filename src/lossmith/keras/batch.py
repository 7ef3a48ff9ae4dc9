"""What Keras calls a loss with, as the losses of the catalogue take it."""

from collections.abc import Mapping
from typing import Any

from lossmith.core import door
from lossmith.core.catalogue import Record
from lossmith.core.face import Chosen, SharedBatch, boxes_loss
from lossmith.core.flaws import any_of, flagged, found
from lossmith.core.namespaces import Array
from lossmith.core.namespaces.size import settle
from lossmith.core.words import Words
from lossmith.errors import must
from lossmith.keras.backend import engine, xp

WORDS = Words("y_pred", "y_true", "sample_weight", "y_pred", per_image=True)


class Batch(SharedBatch):
    """Truth and prediction of images, the classes last, or of boxes.

    weight: for each pixel, or for each image; pixels outside of `mask` do not count.
    """

    def __init__(
        self,
        y_true: Array | None,
        y_pred: Array,
        weight: Array | None,
        mask: Array | None,
        inputs: Mapping[str, Array | None],
    ) -> None:
        given = {"y_true": y_true, "y_pred": y_pred, "sample_weight": weight, **inputs}
        for name, x in given.items():
            if x is not None and x.ndim is None:
                message = (
                    f"{name} must have a number of axes that is known before the graph runs: say it by tf.ensure_shape"
                )
                raise ValueError(message)
        super().__init__(xp, y_pred, y_true, weight, inputs, axis=-1, words=WORDS)
        self.mask = mask
        self._targets: dict[tuple[bool, bool], Array] = {}
        self._flaws: list[Array | None] = []

    def value(self, loss: Chosen) -> Array:
        """The value of a loss of images."""
        shape = tuple(self.logits.shape)
        if len(shape) > 1 and loss.task != "binary" and not isinstance(shape[-1], int):
            message = "the number of classes, the last axis of y_pred,"
            raise ValueError(must(message, "known before the graph runs", shape))
        return super().value(loss)

    def evaluated(self, batch: door.Batch, record: Record, arguments: Mapping[str, Any]) -> Array:
        """As any batch; on PyTorch by the engine of `lossmith.torch`, which need not see the whole of it at once."""
        if engine is None:
            return super().evaluated(batch, record, arguments)
        return engine.values(batch, [(record, arguments)])[0]

    def boxes_value(self, loss: Chosen) -> Array:
        """The value of a loss of boxes."""
        return boxes_loss(xp, loss, self.logits, self.target, self.weight_for(len(self.logits.shape) - 2), self.words)

    def checked(self, value: Array) -> Array:
        """`value`, or NaN where labels that could not be looked at are no whole numbers."""
        return flagged(xp, any_of(xp, self._flaws), value)

    def target_for(self, loss: Chosen, space: int) -> Array | None:
        """Labels as whole numbers, without a last axis of length 1; anything else as it came."""
        record, y_true, ignore_index = loss.record, self.target, loss.parameters["ignore_index"]
        if y_true is None or (not record.supervised and ignore_index is None):
            return None
        labels = loss.task == "multiclass" and (len(y_true.shape) <= space + 1 or y_true.shape[-1] == 1)
        flat = labels and len(y_true.shape) == space + 2
        whole = labels or record.hard_targets or not record.supervised
        if (flat, whole) not in self._targets:
            shaped = xp.reshape(y_true, tuple(y_true.shape[:-1])) if flat else y_true
            self._targets[flat, whole] = self._whole(shaped) if whole else shaped
        return self._targets[flat, whole]

    def _whole(self, labels: Array) -> Array:
        """Labels as integers: Keras makes floating numbers of them on their way."""
        if xp.kind(labels) != "real":
            return labels
        whole = xp.integers(labels)
        message = "y_true must hold class indices, whole numbers; got others"
        self._flaws.append(found(xp, xp.any(xp.astype(whole, labels) != labels), message))
        return whole

    def weight_for(self, space: int) -> Array | None:
        """A weight for every pixel."""
        weight = None if self.weight is None else self._by_pixel(self.weight, space)
        if self.mask is None:
            return weight
        valid = xp.astype(self._by_pixel(self.mask, space), self.logits)
        return valid if weight is None else xp.astype(weight, self.logits) * valid

    def _by_pixel(self, weight: Array, space: int) -> Array:
        """That of an image is that of its pixels, as everywhere in Keras."""
        y_pred, axes = self.logits, len(weight.shape)
        if axes == space + 2 and weight.shape[-1] == 1:
            return xp.reshape(weight, tuple(weight.shape[:-1]))
        if space > 0 and (axes == 1 or (axes == 2 and space > 1 and weight.shape[1] == 1)):
            weight = xp.astype(weight, y_pred) if xp.kind(weight) != "real" else weight
            y_pred, weight = settle(xp, [y_pred, weight], [(0,), (0,)])
            if weight.shape[0] != y_pred.shape[0]:
                message = f"of shape {(y_pred.shape[0],)}, a number for each image, or one for each pixel"
                raise ValueError(must(WORDS.weight, message, self.words.given("weight", weight.shape)))
            flat = xp.zeros_like(xp.astype(y_pred if len(y_pred.shape) == space + 1 else y_pred[..., 0], weight))
            return flat + xp.reshape(weight, (y_pred.shape[0], *[1] * space))
        return weight
