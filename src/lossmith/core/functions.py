"""Every loss of the catalogue as a plain function, for a framework that has no classes of its own for them."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lossmith.core import information as measures
from lossmith.core.catalogue import ALIASES, BOXES, CATALOGUE
from lossmith.core.face import SharedBatch, Sum, add_up, boxes_loss, choose, choose_sum, parameters_of
from lossmith.core.inputs import INPUTS
from lossmith.core.namespaces import Array, Namespace
from lossmith.core.records.record import Record
from lossmith.core.spec import Term
from lossmith.errors import must

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

    def value(self, losses: Sum, axis: int, *arrays: Any) -> Array:
        """The sum of losses of arrays of the framework."""
        return loss_of(self.xp, losses, axis)(*arrays)

    def losses(self, module: str) -> dict[str, Function]:
        """The losses of the catalogue by name, for `module`."""
        made = {name: self._segmentation(record) for name, record in CATALOGUE.items()}
        made |= {name: self._boxes(record) for name, record in BOXES.items()}
        for function in made.values():
            function.__module__ = module
        return made | {alias: made[name] for alias, name in ALIASES.items()}

    def parse(self, spec: str, task: str | None = None, *, axis: int = 1, **options: Any) -> Function:
        """The loss that a spec names, such as ``"0.5*ce + dice"``, called as those of the catalogue.

        The losses of a sum look at a batch together: its softmax is computed once.

        Args:
            spec: in the language of `lossmith.torch.parse`, without classes of one's own.
            task: "binary", "multiclass" or "multilabel"; None for losses of boxes.
            axis: that of the classes, in all that has one: 1, or -1 for channels last.
            **options: `ignore_index`, `reduction` and `from_logits` for every loss of the spec.
        """
        losses = choose_sum(spec, task, options)
        known = {name for _, chosen in losses for name in chosen.record.inputs}

        def loss(logits: Any, target: Any = None, weight: Any = None, **inputs: Any) -> Any:
            for name in inputs:
                if name not in known:
                    raise TypeError(must("an input of a sum", "one that a loss of it takes", name))
            arrays = [self.take(logits), self.take(target), self.take(weight)]
            if task is not None:
                arrays.append({name: self.take(values) for name, values in inputs.items()})
            return self.give(self.value(losses, axis, *arrays))

        return loss

    def _segmentation(self, record: Record) -> Function:
        def loss(
            logits: Any, target: Any = None, weight: Any = None, *, task: Any = None, axis: int = 1, **named: Any
        ) -> Any:
            inputs = {name: self.take(named.pop(name)) for name in record.inputs if name in named}
            chosen = choose(record, task, named)
            arrays = (self.take(logits), self.take(target), self.take(weight))
            return self.give(self.value(((1.0, chosen),), axis, *arrays, inputs))

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
            arrays = (self.take(pred), self.take(target), self.take(weight))
            return self.give(self.value(((1.0, chosen),), 1, *arrays))

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


def loss_of(xp: Namespace, losses: Sum, axis: int) -> Function:
    """A sum of losses as a function of arrays: of a batch of images, or of boxes."""

    def of_images(logits: Array, target: Array, weight: Array, inputs: Mapping[str, Array]) -> Array:
        batch = SharedBatch(xp, logits, target, weight, inputs, axis=axis)
        return add_up((coefficient, batch.value(chosen)) for coefficient, chosen in losses)

    def of_boxes(*arrays: Array) -> Array:
        return add_up((coefficient, boxes_loss(xp, chosen, *arrays)) for coefficient, chosen in losses)

    return of_boxes if losses[0][1].task is None else of_images


def spec_of(losses: Sum) -> str:
    """A sum of losses in the spec language."""
    return " + ".join(str(Term(coefficient, chosen.atom)) for coefficient, chosen in losses)


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
