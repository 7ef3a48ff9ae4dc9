"""Every loss of the catalogue as a plain function, for a framework that has no classes of its own for them."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from lossmith.core import information as measures
from lossmith.core.catalogue import BOXES, CATALOGUE
from lossmith.core.face import Chosen, boxes_loss, choose, parameters_of, segmentation_loss
from lossmith.core.inputs import INPUTS
from lossmith.core.namespaces import Array, Namespace
from lossmith.core.records.record import Record

Function = Callable[..., Any]
LABELS = "(N, *space) class indices, or one-hot or soft of the logits' shape."
NO_LABELS = "None, or what says which pixels are ignored: the loss has no labels."


@dataclass(frozen=True)
class Face:
    """Functions of a framework's arrays.

    take: what a function is called with as an array; None stays. give: the value as a function returns it.
    """

    xp: Namespace
    take: Callable[[Any], Array]
    give: Callable[[Array], Any]

    def value(self, chosen: Chosen, axis: int, *arrays: Any) -> Array:
        """The loss of arrays of the framework."""
        return loss_of(self.xp, chosen, axis)(*arrays)

    def losses(self, module: str) -> dict[str, Function]:
        """The losses of the catalogue by name, for `module`."""
        made = {name: self._segmentation(record) for name, record in CATALOGUE.items()}
        made |= {name: self._boxes(record) for name, record in BOXES.items()}
        for function in made.values():
            function.__module__ = module
        return made

    def _segmentation(self, record: Record) -> Function:
        def loss(logits: Any, target: Any = None, weight: Any = None, *, task: str, axis: int = 1, **named: Any) -> Any:
            inputs = {name: self.take(named.pop(name)) for name in record.inputs if name in named}
            chosen = choose(record, task, named)
            arrays = (self.take(logits), self.take(target), self.take(weight))
            return self.give(self.value(chosen, axis, *arrays, inputs))

        arguments = [
            _argument("logits"),
            _argument("target") if record.supervised else _argument("target", None),
            _argument("weight", None),
            _argument("task", by_name=True),
            _argument("axis", 1, by_name=True),
            *(_argument(name, *(() if INPUTS[name].required else (None,)), by_name=True) for name in record.inputs),
        ]
        said = {
            "logits": "(N, C, *space), binary also (N, 1, *space) or (N, *space).",
            "target": LABELS if record.supervised else NO_LABELS,
            "weight": "(N, *space), multilabel also the logits' shape: how often each pixel counts. None: once.",
            "task": f"{' or '.join(map(repr, record.tasks))}.",
            "axis": "that of the classes, in all that has one: 1, or -1 for channels last.",
            **{name: f"{INPUTS[name].meaning}." for name in record.inputs},
        }
        return _finished(loss, record, arguments, said)

    def _boxes(self, record: Record) -> Function:
        def loss(pred: Any, target: Any, weight: Any = None, **parameters: Any) -> Any:
            chosen = choose(record, None, parameters)
            return self.give(self.value(chosen, 1, self.take(pred), self.take(target), self.take(weight)))

        solid = " or (*n, 6), of three axes" if 3 in record.axes else ""
        said = {
            "pred": f"(*n, 4) boxes (x1, y1, x2, y2){solid}.",
            "target": "boxes of the same shape.",
            "weight": "(*n): how often each pair counts. None: once.",
        }
        return _finished(loss, record, [_argument("pred"), _argument("target"), _argument("weight", None)], said)

    def information(self, module: str) -> tuple[Function, ...]:
        """Entropy, cross-entropy, and the divergences of Kullback and Leibler and of Jensen and Shannon."""
        named = (measures.entropy, measures.cross_entropy, measures.kl_divergence, measures.js_divergence)
        return tuple(self._measure(measure, module) for measure in named)

    def _measure(self, measure: Function, module: str) -> Function:
        def function(*distributions: Any, base: float = 2.0) -> Any:
            return self.give(measure(self.xp, *map(self.take, distributions), base=base))

        names = list(inspect.signature(measure).parameters)[1:-1]  # without the namespace and the base
        arguments = [*map(_argument, names), _argument("base", 2.0, by_name=True)]
        function.__name__ = function.__qualname__ = measure.__name__
        function.__module__ = module
        function.__doc__ = f"{measure.__doc__} Distributions are along the last axis; base 2 counts in bits."
        function.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
        return function


def loss_of(xp: Namespace, chosen: Chosen, axis: int) -> Function:
    """A function of arrays: of a batch of images, or of boxes."""
    if chosen.task is None:
        return partial(boxes_loss, xp, chosen)
    return partial(segmentation_loss, xp, chosen, axis=axis)


def _argument(name: str, default: object = inspect.Parameter.empty, *, by_name: bool = False) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY if by_name else inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=default)


def _finished(loss: Function, record: Record, arguments: list[inspect.Parameter], said: Mapping[str, str]) -> Function:
    """With a name, a signature and a docstring."""
    loss.__name__ = loss.__qualname__ = record.name
    loss.__signature__ = inspect.Signature([*arguments, *keywords_of(record)])  # type: ignore[attr-defined]
    loss.__doc__ = described(record, said)
    return loss


def keywords_of(record: Record) -> list[inspect.Parameter]:
    """The parameters of a loss as those of a signature."""
    return [inspect.Parameter(p.name, inspect.Parameter.KEYWORD_ONLY, default=p.default) for p in parameters_of(record)]


def described(record: Record, said: Mapping[str, str]) -> str:
    """A docstring; `said`: the arguments beside the loss's parameters."""
    lines = [f"{name}: {text}" for name, text in said.items()]
    lines += [f"{p.name}: {p.meaning}; {p.legal}." for p in parameters_of(record)]
    return "\n".join(
        [
            f"{record.summary[:1].upper()}{record.summary[1:]}.",
            "",
            f"    {record.formula}",
            "",
            "Args:",
            *(textwrap.fill(line, 112, initial_indent="    ", subsequent_indent=" " * 8) for line in lines),
            "",
            f"Range {str(record.range).removeprefix('in ')}. Source: {record.paper}.",
        ]
    )
