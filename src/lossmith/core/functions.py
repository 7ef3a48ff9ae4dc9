"""Every loss of the catalogue as a plain function, for a framework that has no classes of its own for them."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from lossmith.core.catalogue import BOXES, CATALOGUE
from lossmith.core.face import boxes_loss, choose, parameters_of, segmentation_loss
from lossmith.core.inputs import INPUTS
from lossmith.core.namespaces import Array, Namespace
from lossmith.core.records.record import Record

Function = Callable[..., Any]
CALL = {
    "logits": "(N, C, *space), binary also (N, 1, *space) or (N, *space).",
    "target": "(N, *space) class indices, or one-hot or soft of the logits' shape.",
    "weight": "(N, *space), multilabel also the logits' shape: how often each pixel counts. None: once.",
    "pred": "(*n, 4) boxes (x1, y1, x2, y2){solid}.",
    "boxes": "boxes of the same shape.",
    "count": "(*n): how often each pair counts. None: once.",
}
UNLABELLED = "None, or what says which pixels are ignored: the loss has no labels."
AXIS = "that of the classes, in all that has one: 1, or -1 for channels last."


def functions(xp: Namespace, take: Callable[[Any], Array], give: Callable[[Array], Any], module: str) -> dict[str, Any]:
    """The losses by name.

    take: what a function is called with as an array; None stays. give: the value as a function returns it.
    """
    made = {name: _segmentation(record, xp, take, give) for name, record in CATALOGUE.items()}
    made |= {name: _boxes(record, xp, take, give) for name, record in BOXES.items()}
    for function in made.values():
        function.__module__ = module
    return made


def _segmentation(
    record: Record, xp: Namespace, take: Callable[[Any], Array], give: Callable[[Array], Any]
) -> Function:
    def loss(logits: Any, target: Any = None, weight: Any = None, *, task: str, axis: int = 1, **named: Any) -> Any:
        inputs = {name: take(named.pop(name)) for name in record.inputs if name in named}
        chosen = choose(record, task, named)
        arrays = (take(logits), take(target), take(weight))
        return give(segmentation_loss(xp, chosen, *arrays, inputs, axis=axis))

    kind, empty = inspect.Parameter, inspect.Parameter.empty
    return _finished(
        loss,
        record,
        [
            kind("logits", kind.POSITIONAL_OR_KEYWORD),
            kind("target", kind.POSITIONAL_OR_KEYWORD, default=empty if record.supervised else None),
            kind("weight", kind.POSITIONAL_OR_KEYWORD, default=None),
            kind("task", kind.KEYWORD_ONLY),
            kind("axis", kind.KEYWORD_ONLY, default=1),
            *(
                kind(name, kind.KEYWORD_ONLY, default=empty if INPUTS[name].required else None)
                for name in record.inputs
            ),
        ],
        {
            "logits": CALL["logits"],
            "target": CALL["target"] if record.supervised else UNLABELLED,
            "weight": CALL["weight"],
            "task": " or ".join(map(repr, record.tasks)) + ".",
            "axis": AXIS,
            **{name: f"{INPUTS[name].meaning}." for name in record.inputs},
        },
    )


def _boxes(record: Record, xp: Namespace, take: Callable[[Any], Array], give: Callable[[Array], Any]) -> Function:
    def loss(pred: Any, target: Any, weight: Any = None, **parameters: Any) -> Any:
        chosen = choose(record, None, parameters)
        return give(boxes_loss(xp, chosen, take(pred), take(target), take(weight)))

    kind = inspect.Parameter
    solid = " or (*n, 6), of three axes" if 3 in record.axes else ""
    return _finished(
        loss,
        record,
        [
            *(kind(name, kind.POSITIONAL_OR_KEYWORD) for name in ("pred", "target")),
            kind("weight", kind.POSITIONAL_OR_KEYWORD, default=None),
        ],
        {"pred": CALL["pred"].format(solid=solid), "target": CALL["boxes"], "weight": CALL["count"]},
    )


def _finished(
    loss: Function, record: Record, arguments: list[inspect.Parameter], said: Mapping[str, str]
) -> Function:
    """With a name, a signature and a docstring."""
    parameters = parameters_of(record)
    keywords = [inspect.Parameter(p.name, inspect.Parameter.KEYWORD_ONLY, default=p.default) for p in parameters]
    lines = [f"{name}: {text}" for name, text in said.items()]
    lines += [f"{p.name}: {p.meaning}; {p.legal}." for p in parameters]
    loss.__name__ = loss.__qualname__ = record.name
    loss.__signature__ = inspect.Signature([*arguments, *keywords])  # type: ignore[attr-defined]
    loss.__doc__ = "\n".join(
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
    return loss
