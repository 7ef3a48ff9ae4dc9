"""What the losses of Keras have in common, and their sums."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import keras

from lossmith.core.face import boxes_loss, choose, segmentation_loss
from lossmith.core.namespaces import Array
from lossmith.core.records.record import Record
from lossmith.core.spec import Atom, Term
from lossmith.errors import must
from lossmith.keras.backend import give, share, take, traced_as_it_is, xp

PACKAGE = "lossmith"
NOWHERE = -(2**30)  # a class index that none is


class Loss(keras.losses.Loss):  # type: ignore[misc]
    """A loss called as Keras calls it: ``loss(y_true, y_pred, sample_weight)``.

    The call of Keras would cast the labels to floating numbers, and weigh and average after the loss: here weights are
    part of it.
    """

    @traced_as_it_is
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, **inputs: Any) -> Any:
        """The value; an input goes to the losses that take it."""
        with keras.name_scope(self.name):
            return self._called(y_true, y_pred, sample_weight, inputs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss without weights."""
        return self(y_true, y_pred)

    def _called(self, y_true: Any, y_pred: Any, sample_weight: Any, inputs: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def _wanted(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Those of a sum's inputs that the loss takes."""
        return inputs

    def __add__(self, other: object) -> "SumLoss":
        return SumLoss([*self._terms(), *other._terms()]) if isinstance(other, Loss) else NotImplemented

    def __radd__(self, other: object) -> "SumLoss":
        return SumLoss(self._terms()) if other == 0 else NotImplemented  # the start of Python's sum()

    def __mul__(self, factor: float) -> "SumLoss":
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        return SumLoss([(factor * coefficient, loss) for coefficient, loss in self._terms()])

    __rmul__ = __mul__

    def _terms(self) -> "list[tuple[float, Loss]]":
        return [(1.0, self)]

    @property
    def spec(self) -> str:
        """The loss in the spec language."""
        raise NotImplementedError


class CatalogueLoss(Loss):
    """A loss of the catalogue; `record` says which."""

    record: Record

    def __init__(self, task: str | None, name: str | None, parameters: Mapping[str, Any]) -> None:
        self.chosen = choose(self.record, task, parameters)
        super().__init__(name=name, reduction=self.chosen.parameters["reduction"])

    def _share(self, value: Any) -> Any:
        return share(value) if self.reduction == "mean" else value

    def get_config(self) -> dict[str, Any]:
        """Name, task, and the parameters that differ from the defaults."""
        written = {
            name: str(value) if isinstance(value, Atom) else value for name, value in self.chosen.atom.arguments.items()
        }
        task = {} if self.chosen.task is None else {"task": self.chosen.task}
        return {"name": self.name, **task, **written}

    @property
    def spec(self) -> str:
        """The loss in the spec language. It is not its `str`: Keras compiles what prints as "ce" as its own."""
        return str(self.chosen)


class SegmentationLoss(CatalogueLoss):
    """A loss of images: y_pred (N, *space, C), y_true labels or a map for each class."""

    def __init__(self, task: str, *, name: str | None = None, **parameters: Any) -> None:
        super().__init__(task, name, parameters)

    def _called(self, y_true: Any, y_pred: Any, sample_weight: Any, inputs: Mapping[str, Any]) -> Any:
        mask = getattr(y_pred, "_keras_mask", None)
        arrays = {name: take(value) for name, value in inputs.items()}
        return self._share(_value(self, take(y_true), take(y_pred), take(sample_weight), take(mask), arrays))

    def _wanted(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: value for name, value in inputs.items() if name in self.record.inputs}


class BoxLoss(CatalogueLoss):
    """A loss of boxes: y_true and y_pred (*n, 4)."""

    def __init__(self, *, name: str | None = None, **parameters: Any) -> None:
        super().__init__(None, name, parameters)

    def _called(self, y_true: Any, y_pred: Any, sample_weight: Any, inputs: Mapping[str, Any]) -> Any:
        if inputs:
            raise TypeError(must(f"the inputs of {self.record.name}", "none", sorted(inputs)))
        return self._share(_box_value(self, take(y_true), take(y_pred), take(sample_weight)))


@keras.saving.register_keras_serializable(package=PACKAGE)
class SumLoss(Loss):
    """A weighted sum of losses, made by ``0.5 * a + b``."""

    def __init__(self, terms: Iterable[tuple[float, Loss]], *, name: str | None = None) -> None:
        self.terms = [(float(coefficient), loss) for coefficient, loss in terms]
        reductions = sorted({loss.reduction for _, loss in self.terms})
        if len(reductions) != 1:
            raise ValueError(must("reduction of a sum's losses", "the same", reductions))
        super().__init__(name=name, reduction=reductions[0])

    def _called(self, y_true: Any, y_pred: Any, sample_weight: Any, inputs: Mapping[str, Any]) -> Any:
        wanted = [loss._wanted(inputs) for _, loss in self.terms]
        for name in inputs:
            if not any(name in some for some in wanted):
                raise TypeError(must("an input of a sum", "one that a loss of it takes", name))
        values = [
            coefficient * loss(y_true, y_pred, sample_weight, **some)
            for (coefficient, loss), some in zip(self.terms, wanted, strict=True)
        ]
        shapes = [tuple(value.shape) for value in values]
        if len(set(shapes)) > 1:
            raise ValueError(must("the values of a sum's losses", "of one shape", shapes))
        return sum(values[1:], start=values[0])

    def _wanted(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: value for _, loss in self.terms for name, value in loss._wanted(inputs).items()}

    def _terms(self) -> list[tuple[float, Loss]]:
        return self.terms

    def get_config(self) -> dict[str, Any]:
        """Name and terms."""
        terms = [[coefficient, keras.saving.serialize_keras_object(loss)] for coefficient, loss in self.terms]
        return {"name": self.name, "terms": terms}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """What `get_config` describes."""
        terms = [(factor, keras.saving.deserialize_keras_object(loss)) for factor, loss in config["terms"]]
        return cls(terms, name=config["name"])

    @property
    def spec(self) -> str:
        """The sum in the spec language."""
        return " + ".join(str(Term(coefficient, Atom(loss.spec))) for coefficient, loss in self.terms)


def _box_value(loss: BoxLoss, y_true: Array, y_pred: Array, weight: Array | None) -> Any:
    return give(boxes_loss(xp, loss.chosen, y_pred, y_true, weight))


def _value(
    loss: SegmentationLoss,
    y_true: Array | None,
    y_pred: Array,
    weight: Array | None,
    mask: Array | None,
    inputs: Mapping[str, Array],
) -> Any:
    chosen, shape = loss.chosen, tuple(y_pred.shape)
    if len(shape) > 1 and chosen.task != "binary" and not isinstance(shape[-1], int):
        raise ValueError(must("the number of classes, the last axis of y_pred,", "known before the graph runs", shape))
    space = len(shape) - (1 if chosen.task == "binary" and shape[-1] != 1 else 2)
    target = None if y_true is None else _target(loss, y_true, space)
    weight = _pixels(weight, y_pred, space)
    if mask is not None:
        valid = xp.astype(_pixels(mask, y_pred, space), y_pred)
        weight = valid if weight is None else xp.astype(weight, y_pred) * valid
    return give(segmentation_loss(xp, chosen, y_pred, target, weight, inputs, axis=-1))


def _target(loss: SegmentationLoss, y_true: Array, space: int) -> Array | None:
    """Labels as whole numbers, without a last axis of length 1; anything else as it came."""
    record, chosen = loss.record, loss.chosen
    ignore_index = chosen.parameters["ignore_index"]
    if not record.supervised and ignore_index is None:
        return None
    labels = chosen.task == "multiclass" and (len(y_true.shape) <= space + 1 or y_true.shape[-1] == 1)
    if labels and len(y_true.shape) == space + 2:
        y_true = xp.reshape(y_true, tuple(y_true.shape[:-1]))
    if labels or record.hard_targets or not record.supervised:
        return _whole(y_true)
    return y_true


def _whole(labels: Array) -> Array:
    """Labels as integers: Keras makes floating numbers of them on their way."""
    if xp.kind(labels) != "real":
        return labels
    found = xp.integers(labels)
    right = xp.astype(found, labels) == labels
    if xp.read(xp.any(~right)):
        raise ValueError("y_true must hold class indices, whole numbers; got others")
    return xp.where(right, found, xp.zeros_like(found) + NOWHERE)


def _pixels(weight: Array | None, y_pred: Array, space: int) -> Array | None:
    """A weight for every pixel; that of an image is that of its pixels, as everywhere in Keras."""
    if weight is None:
        return None
    axes = len(weight.shape)
    if axes == space + 2 and weight.shape[-1] == 1:
        return xp.reshape(weight, tuple(weight.shape[:-1]))
    if space and (axes == 1 or (axes == 2 and space > 1 and weight.shape[1] == 1)):
        weight = xp.astype(weight, y_pred) if xp.kind(weight) != "real" else weight
        flat = xp.zeros_like(xp.astype(y_pred if len(y_pred.shape) == space + 1 else y_pred[..., 0], weight))
        return flat + xp.reshape(weight, (-1, *[1] * space))
    return weight
