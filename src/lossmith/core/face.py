"""A loss on arrays of any framework, made from its record: what the faces for NumPy, JAX and Keras share.

`choose` checks the parameters, once; `SharedBatch` and `boxes_loss` then give values. The torch face has classes of its
own, which do the same and walk through large batches block by block.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from lossmith.core.boxes import box_loss
from lossmith.core.catalogue import find_anywhere
from lossmith.core.door import Batch, receive
from lossmith.core.evaluate import evaluate
from lossmith.core.inputs import INPUTS
from lossmith.core.namespaces import Array, Namespace
from lossmith.core.namespaces.size import settle
from lossmith.core.parameters import Counts, Group, Inner, Parameter, PerClass
from lossmith.core.pixels import TASKS, Pixels
from lossmith.core.records.record import Record
from lossmith.core.spec import Atom, parse_spec
from lossmith.core.words import TORCH, Words
from lossmith.errors import must, suggest

OPENING = ("ignore_index", "from_logits")  # parameters of the door, which no definition takes
ALONE = {"ignore_index": None, "from_logits": True, "reduction": "mean"}  # what a loss inside of another leaves alone


@dataclass(frozen=True, repr=False)
class Chosen:
    """A loss of the catalogue with all of its parameters, checked. task: None for a loss of boxes."""

    record: Record
    task: str | None
    parameters: Mapping[str, Any]

    def asked(self, xp: Namespace, like: Array) -> tuple[Record, dict[str, Any]]:
        """The record by which it is computed, and what that takes: numbers by class as arrays like `like`."""
        values: dict[str, Any] = {}
        for parameter in parameters_of(self.record):
            value = self.parameters[parameter.name]
            if isinstance(value, Chosen):
                value = value.asked(xp, like)
            elif isinstance(parameter.legal, PerClass | Counts) and not isinstance(value, Real | None):
                value = xp.constant(value, like)
            if parameter.name not in OPENING:
                values[parameter.name] = value
        return (self.record, values) if self.record.choose is None else self.record.choose(self.record, values)

    @property
    def atom(self) -> Atom:
        """Name and parameters that differ from the defaults, as the spec language writes them."""
        written = {}
        for parameter in parameters_of(self.record):
            value = self.parameters[parameter.name]
            value = value.atom if isinstance(value, Chosen) else value
            if (str(value) if isinstance(value, Atom) else value) != parameter.default:
                written[parameter.name] = value
        return Atom(self.record.name, written)

    def __repr__(self) -> str:
        return str(self.atom)


Sum = tuple[tuple[float, Chosen], ...]
"""Losses with their coefficients."""


def parameters_of(record: Record) -> list[Parameter]:
    """The parameters of a record that are not torch's alone."""
    return [parameter for parameter in record.parameters if not isinstance(parameter.legal, Group)]


def choose(record: Record, task: str | None, parameters: Mapping[str, Any]) -> Chosen:
    """Check task and parameters; ValueError or TypeError where they are not those of the loss."""
    _check_task(record, task)
    known = {parameter.name: parameter for parameter in parameters_of(record)}
    for name in parameters:
        if name not in known:
            raise TypeError(f"{record.name} has no parameter {name}{suggest(name, known)}")
    values = {name: _constant(name, parameters.get(name, parameter.default)) for name, parameter in known.items()}
    record.check(values)
    for name, parameter in known.items():
        if isinstance(parameter.legal, Inner):
            values[name] = _inner(values[name], task)
    if record.agree is not None:
        record.agree(task=task, **values)
    return Chosen(record, task, values)


def choose_sum(spec: str, task: str | None, options: Mapping[str, Any]) -> Sum:
    """The losses of a spec, each with its coefficient; the options are for all of them."""
    terms = [(term.coefficient, term.atom) for term in parse_spec(spec)]
    return tuple(
        (factor, choose(find_anywhere(atom.name), task, {**options, **atom.arguments})) for factor, atom in terms
    )


def add_up(terms: Iterable[tuple[float, Array]]) -> Array:
    """A sum of values, each times its coefficient."""
    values = [value if coefficient == 1 else coefficient * value for coefficient, value in terms]
    of_one_shape(values)
    return sum(values[1:], start=values[0])


def of_one_shape(values: Sequence[Array]) -> None:
    """Raise where values cannot be added."""
    shapes = [tuple(value.shape) for value in values]
    if len(set(shapes)) > 1:
        raise ValueError(must("the values of a sum's losses", "of one shape", shapes))


def _check_task(record: Record, task: str | None) -> None:
    if not record.tasks and task is not None:
        raise ValueError(must(f"task of {record.name}, a loss of boxes,", "None", task))
    if record.tasks and task not in TASKS:
        raise ValueError(must("task", "'binary', 'multiclass' or 'multilabel'", task))
    if record.tasks and task not in record.tasks:
        expected = " or ".join(repr(name) for name in record.tasks)
        raise ValueError(must(f"task of {record.name}", expected, task))


def _inner(spec: object, task: str | None) -> Chosen:
    """The loss that another is made of, from its spec."""
    if isinstance(spec, str):
        terms = parse_spec(spec)
        spec = terms[0].atom if len(terms) == 1 and terms[0].coefficient == 1 else spec
    if not isinstance(spec, Atom):
        raise ValueError(must("loss", "the spec of one loss", spec))
    found = choose(find_anywhere(spec.name), task, spec.arguments)
    door = tuple(found.parameters.get(name, default) for name, default in ALONE.items())
    if door != tuple(ALONE.values()):
        raise ValueError(must("ignore_index, from_logits and reduction of loss", "at their defaults", door))
    return found


def _constant(name: str, value: Any) -> Any:
    """A parameter as Python's own numbers."""
    try:
        return plain(value)
    except TypeError:  # of an array of a trace no framework gives the values
        expected = "a constant of the trace: Python's numbers, or NumPy's"
        raise TypeError(must(name, expected, "a traced array")) from None


def plain(value: Any) -> Any:
    """Arrays, lists and ranges as tuples, numbers of other libraries as Python's own."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple | range) else value


class SharedBatch:
    """A batch of images that losses look at: it is opened once for all that look at it in the same way.

    axis: that of the classes, in all that has one. words: what errors call the arguments.
    """

    def __init__(
        self,
        xp: Namespace,
        logits: Array,
        target: Array | None,
        weight: Array | None = None,
        inputs: Mapping[str, Array | None] | None = None,
        *,
        axis: int = 1,
        words: Words = TORCH,
    ) -> None:
        self.xp, self.logits, self.target, self.weight, self.axis = xp, logits, target, weight, axis
        self.inputs = {name: value for name, value in (inputs or {}).items() if value is not None}
        given = {"logits": logits, "target": target, "weight": weight, **self.inputs}
        shapes = {name: tuple(x.shape) for name, x in given.items() if x is not None}
        self.words = replace(words, axis=axis, shapes=shapes)
        self._ways: dict[tuple[object, ...], Batch] = {}
        self._opened: dict[int, Pixels] = {}

    def value(self, loss: Chosen) -> Array:
        """The value of a loss."""
        for name in loss.record.inputs:
            if INPUTS[name].required and name not in self.inputs:
                raise TypeError(f"{loss.record.name} must be called with {name}=: {INPUTS[name].meaning}")
        batch = self._received(loss)
        record, arguments = loss.asked(self.xp, self.xp.wide(batch.scores[:0, :, :]))
        value = self.evaluated(batch, record, arguments)
        by_pixel = loss.parameters["reduction"] == "none" and loss.task == "multilabel" and not record.of_sums
        return last(self.xp, value, self.axis) if by_pixel else value

    def evaluated(self, batch: Batch, record: Record, arguments: Mapping[str, Any]) -> Array:
        """The value of a loss, by its definition on the whole batch; it is opened at most once."""
        if id(batch) not in self._opened:
            self._opened[id(batch)] = batch.open()
        return evaluate(record, self._opened[id(batch)], **arguments)

    def target_for(self, loss: Chosen, space: int) -> Array | None:  # noqa: ARG002
        """The target as a loss takes it, of images with so many axes."""
        return self.target

    def weight_for(self, space: int) -> Array | None:  # noqa: ARG002
        """The weight of pixels or of their classes, of images with so many axes."""
        return self.weight

    def _received(self, loss: Chosen) -> Batch:
        """The batch as a loss looks at it, checked by shape."""
        xp, axis, task, record = self.xp, self.axis, loss.task, loss.record
        space = _space(self.logits, task, axis)
        ignore_index, from_logits = loss.parameters["ignore_index"], loss.parameters.get("from_logits", True)
        target = self.target_for(loss, space)
        if record.supervised and target is None:
            raise TypeError(f"{record.name} must be called with a target")
        way = (task, ignore_index, from_logits, record.supervised, id(target))
        if way not in self._ways:
            arrays = (self.logits, target, self.weight_for(space), *self.inputs.values())
            logits, target, weight, *inputs = self._settled([first(xp, x, axis, space) for x in arrays], space)
            if not record.supervised:
                target = unlabelled(xp, logits, target, task, ignore_index)
            options = {"task": task, "ignore_index": ignore_index, "from_logits": from_logits, "words": self.words}
            named = dict(zip(self.inputs, inputs, strict=True))
            self._ways[way] = receive(xp, logits, target, weight, inputs=named, **options)
        return self._ways[way]

    def _settled(self, arrays: Sequence[Array | None], space: int) -> list[Any]:
        """Logits, target, weight and inputs, which have the axes of images and space in common."""
        by_class = [False] * 3 + [INPUTS[name].axes == "channels" for name in self.inputs]
        axes = []
        for x, number in zip(arrays, by_class, strict=True):
            n = 0 if x is None else len(x.shape)
            fits = n in (space + 1, space + 2) and not number
            axes.append([*range(min(n, 1)), *(range(n - space, n) if fits else ())])
        return settle(self.xp, arrays, axes)


def boxes_loss(
    xp: Namespace, loss: Chosen, pred: Array, target: Array, weight: Array | None = None, words: Words = TORCH
) -> Array:
    """The value on pairs of boxes."""
    arrays = [pred, target, weight]
    pred, target, weight = settle(xp, arrays, [range(0 if x is None else len(x.shape)) for x in arrays])
    return box_loss(xp, loss.record, pred, target, weight, words=words, **loss.parameters)


def unlabelled(xp: Namespace, logits: Array, target: Array | None, task: str | None, ignore_index: int | None) -> Array:
    """The target of a loss that has none: it says which pixels are ignored, and no more."""
    if target is not None and ignore_index is not None and xp.kind(target) == "integer":
        return xp.where(target == ignore_index, target, xp.zeros_like(target))
    if target is not None and tuple(target.shape) != tuple(logits.shape):
        return xp.integers(xp.zeros_like(target))  # whatever it holds; the door looks at the shape
    alone = task == "binary" and (len(logits.shape) < 2 or logits.shape[1] != 1)
    return xp.integers(xp.zeros_like(logits if task == "multilabel" or alone else logits[:, 0, ...]))


def _space(logits: Array, task: str | None, axis: int) -> int:
    """The number of spatial axes; binary logits may have no axis of classes."""
    axes = len(logits.shape)
    if axis == 1 or axes < 2:
        return max(axes - 2, 0)
    if not -axes <= axis < axes or axis % axes == 0:
        raise ValueError(must("axis", f"that of the classes of logits of shape {tuple(logits.shape)}", axis))
    return axes - 1 if task == "binary" and logits.shape[axis] != 1 else axes - 2


def first(xp: Namespace, x: Array | None, axis: int, space: int) -> Array | None:
    """`x` with its axis of classes, if it has one beside the `space` others, behind that of the images."""
    if x is None or axis == 1 or len(x.shape) != space + 2:
        return x
    order = list(range(len(x.shape)))
    order.insert(1, order.pop(axis))
    return xp.permute_dims(x, tuple(order))


def last(xp: Namespace, x: Array, axis: int) -> Array:
    """`x` with the axis of classes back from 1."""
    axes = len(x.shape)
    if axis == 1:
        return x
    order = [0, *range(2, axes)]
    order.insert(axis % axes, 1)
    return xp.permute_dims(x, tuple(order))
