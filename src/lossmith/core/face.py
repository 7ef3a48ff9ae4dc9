"""A loss on arrays of any framework, made from its record: what the faces for NumPy, JAX and Keras share.

`choose` checks the parameters, once; `segmentation_loss` and `boxes.box_loss` then give values. The torch face has
classes of its own, which do the same and walk through large batches block by block.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from lossmith.core.boxes import box_loss
from lossmith.core.catalogue import find
from lossmith.core.door import receive
from lossmith.core.evaluate import evaluate
from lossmith.core.inputs import INPUTS
from lossmith.core.namespaces import Array, Namespace
from lossmith.core.parameters import Counts, Group, Inner, Parameter, PerClass
from lossmith.core.pixels import TASKS
from lossmith.core.records.record import Record
from lossmith.core.spec import Atom, parse_spec
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
    values = {name: plain(parameters.get(name, parameter.default)) for name, parameter in known.items()}
    record.check(values)
    for name, parameter in known.items():
        if isinstance(parameter.legal, Inner):
            values[name] = _inner(values[name], task)
    if record.agree is not None:
        record.agree(task=task, **values)
    return Chosen(record, task, values)


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
    found = choose(find(spec.name), task, spec.arguments)
    door = tuple(found.parameters.get(name, default) for name, default in ALONE.items())
    if door != tuple(ALONE.values()):
        raise ValueError(must("ignore_index, from_logits and reduction of loss", "at their defaults", door))
    return found


def plain(value: Any) -> Any:
    """Arrays, lists and ranges as tuples, numbers of other libraries as Python's own."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, list | tuple | range) else value


def segmentation_loss(
    xp: Namespace,
    loss: Chosen,
    logits: Array,
    target: Array | None,
    weight: Array | None = None,
    inputs: Mapping[str, Array | None] | None = None,
    *,
    axis: int = 1,
) -> Array:
    """The value on a batch. axis: that of the classes, in all that has one."""
    record, parameters = loss.record, loss.parameters
    space = _space(logits, loss.task, axis)
    logits, weight = (first(xp, x, axis, space) for x in (logits, weight))
    given = {name: first(xp, x, axis, space) for name, x in _inputs_of(record, inputs or {}).items()}
    ignore_index, from_logits = parameters["ignore_index"], parameters.get("from_logits", True)
    if record.supervised:
        if target is None:
            raise TypeError(f"{record.name} must be called with a target")
        target = first(xp, target, axis, space)
    else:
        target = unlabelled(xp, logits, first(xp, target, axis, space), loss.task, ignore_index)
    options = {"task": loss.task, "ignore_index": ignore_index, "from_logits": from_logits, "inputs": given}
    px = receive(xp, logits, target, weight, **options).open()
    evaluated, arguments = loss.asked(xp, px.like)
    value = evaluate(evaluated, px, **arguments)
    by_pixel = parameters["reduction"] == "none" and loss.task == "multilabel" and not evaluated.of_sums
    return last(xp, value, axis) if by_pixel else value


def boxes_loss(xp: Namespace, loss: Chosen, pred: Array, target: Array, weight: Array | None = None) -> Array:
    """The value on pairs of boxes."""
    record = loss.record
    return box_loss(xp, record.definition, pred, target, weight, axes=record.axes, **loss.parameters)


def _inputs_of(record: Record, inputs: Mapping[str, Array | None]) -> dict[str, Array]:
    """The inputs that are given, as the record knows them."""
    for name in inputs:
        if name not in record.inputs:
            raise TypeError(must(f"an input of {record.name}", f"one of {sorted(record.inputs)}", name))
    for name in record.inputs:
        if INPUTS[name].required and inputs.get(name) is None:
            raise TypeError(f"{record.name} must be called with {name}=: {INPUTS[name].meaning}")
    return {name: value for name, value in inputs.items() if value is not None}


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
        return axes - 2
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
