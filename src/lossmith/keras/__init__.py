"""Every loss as a `keras.losses.Loss`, on TensorFlow, JAX and PyTorch; the classes are the last axis.

    model.compile("adam", loss=0.5 * CrossEntropyLoss("multiclass") + DiceLoss("multiclass"))
    model.fit(images, masks, sample_weight=how_often_each_pixel_counts)

The names are those of `lossmith.torch`; ``help(DiceLoss)`` says what a loss takes. `y_pred` (N, *space, C) are logits,
unless ``from_logits=False``. `y_true` is (N, *space) or (N, *space, 1) class indices, also as floating numbers, or
one-hot or soft as `y_pred`; of tasks "binary" and "multilabel" one map for each class. `sample_weight` is a number for
each pixel, or for each image, and the mean divides by its sum. `parse` makes a loss from its spec. Measures of
information are in `lossmith.keras.information`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from lossmith.core.catalogue import BOXES, CATALOGUE, absent, find_anywhere
from lossmith.core.functions import described, keywords_of
from lossmith.core.inputs import INPUTS
from lossmith.core.records.record import Record
from lossmith.core.spec import Atom, parse_spec
from lossmith.errors import must
from lossmith.keras.loss import PACKAGE, BoxLoss, CatalogueLoss, SegmentationLoss
from lossmith.keras.loss import Loss as Loss
from lossmith.keras.loss import SumLoss as SumLoss

NAME = inspect.Parameter("name", inspect.Parameter.KEYWORD_ONLY, default=None)
SAID_NAME = "of the loss in Keras; None: that of its class."


def _made(record: Record) -> type[CatalogueLoss]:
    """The class of a record, under the name by which Keras saves it."""
    arguments, said = [NAME, *keywords_of(record)], {"name": SAID_NAME}
    if record.tasks:
        arguments.insert(0, inspect.Parameter("task", inspect.Parameter.POSITIONAL_OR_KEYWORD))
        said = {"task": " or ".join(map(repr, record.tasks)) + ".", **said}
    doc = described(record, said)
    if record.inputs:
        lines = [f"    {name}: {INPUTS[name].meaning}." for name in record.inputs]
        doc = "\n".join([doc, "", "Called also with", *lines])
    base: type[CatalogueLoss] = SegmentationLoss if record.tasks else BoxLoss

    def construct(self: CatalogueLoss, *given: Any, **named: Any) -> None:
        base.__init__(self, *given, **named)

    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    construct.__signature__ = inspect.Signature([itself, *arguments])  # type: ignore[attr-defined]
    made = type(record.cls, (base,), {"record": record, "__doc__": doc, "__module__": __name__, "__init__": construct})
    registered: type[CatalogueLoss] = keras.saving.register_keras_serializable(package=PACKAGE)(made)
    return registered


_CLASSES = {record.cls: _made(record) for record in [*CATALOGUE.values(), *BOXES.values()]}
globals().update(_CLASSES)
__all__ = sorted([*_CLASSES, "Loss", "SumLoss", "parse"])


def parse(spec: str, task: str | None = None, **options: Any) -> Loss:
    """The loss that a spec names, such as ``"0.5*ce + focal(gamma=2)"``.

    Args:
        spec: in the language of `lossmith.torch.parse`, without classes of one's own.
        task: "binary", "multiclass" or "multilabel"; None for losses of boxes.
        **options: `ignore_index`, `reduction` and `from_logits` for every loss of the spec.
    """
    terms = parse_spec(spec)
    pairs = [(term.coefficient, _built(term.atom, task, options)) for term in terms]
    return pairs[0][1] if len(pairs) == 1 and pairs[0][0] == 1 else SumLoss(pairs)


def _built(atom: Atom, task: str | None, options: dict[str, Any]) -> CatalogueLoss:
    record = find_anywhere(atom.name)
    construct: Callable[..., CatalogueLoss] = _CLASSES[record.cls]
    if not record.tasks and task is not None:
        raise ValueError(must(f"task of {record.name}, a loss of boxes,", "None", task))
    return construct(*([task] if record.tasks else []), **{**options, **atom.arguments})


def __getattr__(name: str) -> Any:
    """For type checkers, which cannot see what is made from the catalogue."""
    raise absent(__name__, name, __all__)
