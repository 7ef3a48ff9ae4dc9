"""What the losses of Keras have in common, and their sums."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Self

import keras

from lossmith.core.face import add_up, choose
from lossmith.core.inputs import INPUTS
from lossmith.core.namespaces import Array
from lossmith.core.records.record import Record
from lossmith.core.spec import Atom, Term
from lossmith.errors import must
from lossmith.keras.backend import Arrays, computed, share, traced_as_it_is
from lossmith.keras.batch import Batch

PACKAGE = "lossmith"
WEIGHTED_MEAN = "mean_with_sample_weight"  # what Keras calls the mean of ours


class Loss(keras.losses.Loss):  # type: ignore[misc]
    """A loss called as Keras calls it: ``loss(y_true, y_pred, sample_weight)``.

    The call of Keras would cast the labels to floating numbers, and weigh and average after the loss: here weights are
    part of it.
    """

    @traced_as_it_is
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, **inputs: Any) -> Any:
        """The value; an input goes to the losses that take it."""
        mask = getattr(y_pred, "_keras_mask", None)
        with keras.name_scope(self.name):
            value = computed(self._of, self._key(), (y_true, y_pred, sample_weight, mask), inputs)
        return share(value) if self.reduction == "mean" else value

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss without weights."""
        return self(y_true, y_pred)

    def _of(self, arrays: Arrays, inputs: Mapping[str, Array | None]) -> Array:
        """The value on arrays of the backend's namespace: truth, prediction, weight and mask."""
        batch = Batch(*arrays, inputs)
        return batch.checked(self._value(batch, inputs))

    def _value(self, batch: Batch, inputs: Iterable[str]) -> Array:
        """The value on a batch that the losses of a sum share; `inputs`: those that this one is called with."""
        raise NotImplementedError

    def _key(self) -> Hashable:
        """What is equal for losses that compute the same."""
        raise NotImplementedError

    def _wanted(self, inputs: Iterable[str]) -> list[str]:
        """Those of a sum's inputs that the loss takes."""
        raise NotImplementedError

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
        if "dtype" in parameters:
            raise TypeError(f"{self.record.name} has no parameter dtype: it is computed in that of y_pred, or float32")
        self.chosen = choose(self.record, task, {**parameters, **_ours(parameters)})
        super().__init__(name=name, reduction=self.chosen.parameters["reduction"])

    def _key(self) -> Hashable:
        return self.spec, self.chosen.task

    def _wanted(self, inputs: Iterable[str]) -> list[str]:
        return [name for name in inputs if name in self.record.inputs]

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


def _ours(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The reduction that Keras calls otherwise; an error for the one that the losses do not have."""
    reduction = parameters.get("reduction", "mean")
    if reduction == "sum_over_batch_size":
        expected = "'mean', which divides by the sum of the weights, 'sum' or 'none'"
        raise ValueError(must("reduction", expected, reduction))
    return {"reduction": "none" if reduction is None else "mean" if reduction == WEIGHTED_MEAN else reduction}


class SegmentationLoss(CatalogueLoss):
    """A loss of images: y_pred (N, *space, C), y_true labels or a map for each class."""

    def __init__(self, task: str | None = None, *, name: str | None = None, **parameters: Any) -> None:
        super().__init__(task, name, parameters)

    def _value(self, batch: Batch, inputs: Iterable[str]) -> Array:
        known = self.record.inputs
        for name in inputs:
            if name not in known:
                raise TypeError(must(f"an input of {self.record.name}", f"one of {sorted(known)}", name))
        for name in known:
            if INPUTS[name].required and name not in inputs:
                message = f"{self.record.name} must be called with {name}=: {INPUTS[name].meaning}"
                raise TypeError(f"{message}; fit has none to give, a train_step of your own has")
        return batch.value(self.chosen)


class BoxLoss(CatalogueLoss):
    """A loss of boxes: y_true and y_pred (*n, 4)."""

    def __init__(self, *, name: str | None = None, **parameters: Any) -> None:
        super().__init__(None, name, parameters)

    def _value(self, batch: Batch, inputs: Iterable[str]) -> Array:
        if inputs:
            raise TypeError(must(f"the inputs of {self.record.name}", "none", sorted(inputs)))
        return batch.boxes_value(self.chosen)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SumLoss(Loss):
    """A weighted sum of losses, made by ``0.5 * a + b``."""

    def __init__(self, terms: Iterable[tuple[float, Loss]], *, name: str | None = None) -> None:
        self.terms = [(float(coefficient), loss) for coefficient, loss in terms]
        reductions = sorted({loss.reduction for _, loss in self.terms})
        if len(reductions) != 1:
            raise ValueError(must("reduction of a sum's losses", "the same", reductions))
        super().__init__(name=name, reduction=reductions[0])

    def _value(self, batch: Batch, inputs: Iterable[str]) -> Array:
        wanted = [loss._wanted(inputs) for _, loss in self.terms]
        for name in inputs:
            if not any(name in some for some in wanted):
                raise TypeError(must("an input of a sum", "one that a loss of it takes", name))
        terms = zip(self.terms, wanted, strict=True)
        return add_up((coefficient, loss._value(batch, some)) for (coefficient, loss), some in terms)

    def _wanted(self, inputs: Iterable[str]) -> list[str]:
        return [name for name in inputs if any(loss._wanted([name]) for _, loss in self.terms)]

    def _key(self) -> Hashable:
        return tuple((coefficient, loss._key()) for coefficient, loss in self.terms)

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
