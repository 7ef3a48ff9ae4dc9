"""What the faces of all frameworks are tried with: for each row and task a batch, its value in float64 by the NumPy
face, and its gradient by torch in float64.

Exact ties and points without slope (equal errors, a box on a box, |p - t| at p = t, a logit at the threshold of a
mask) are kept out: there the frameworks' gradients differ, and all are right. The values of such points are compared
in the files test_ties.py.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import lossmith.numpy
from lossmith.check.cases import given_inputs, unlabelled
from lossmith.core.catalogue import BOXES, CATALOGUE
from lossmith.core.face import choose
from lossmith.core.records.record import Record
from lossmith.torch import parse
from paths import CHANNELS, given

SHORT = {"iterations": 2, "radius": 2, "min_kept": 7, "k": 0.3}  # as the defaults, in less time
SPACE = (4, 5)
TASKS = [(name, task) for name, record in CATALOGUE.items() for task in record.tasks]


@dataclass(frozen=True)
class Call:
    """Arrays and parameters that a function of a face is called with."""

    name: str
    logits: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None = None
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def arrays(self) -> tuple[Any, ...]:
        return self.logits, self.target, self.weight

    def numpy(self, **more: Any) -> Any:
        """By the NumPy face."""
        function = getattr(lossmith.numpy, self.name)
        return function(*self.arrays, **self.inputs, **{**self.parameters, **more})

    def torch(self, **more: Any) -> tuple[Any, Any]:
        """Value and gradient by torch in float64; that of a map by `direction`."""
        parameters = {**self.parameters, **more}
        task = parameters.pop("task", None)
        record = CATALOGUE.get(self.name) or BOXES[self.name]
        atom = choose(record, task, parameters).atom
        loss = parse(str(atom), task).double()
        logits = torch.tensor(self.logits, dtype=torch.float64, requires_grad=True)
        rest = [None if x is None else torch.tensor(x) for x in self.arrays[1:]]
        value = loss(logits, *rest, **{name: torch.tensor(x) for name, x in self.inputs.items()})
        toward = torch.tensor(direction(tuple(value.shape)))
        return value.detach().numpy(), torch.autograd.grad(value, logits, toward)[0].numpy()


def direction(shape: tuple[int, ...]) -> np.ndarray:
    """What a map of values is multiplied with before its gradient is taken; of one value, 1."""
    count = int(np.prod(shape))
    return (1 + np.arange(count) / 4).reshape(shape)


def call(name: str, task: str, mode: str = "plain", *, space: tuple[int, ...] = SPACE, **parameters: Any) -> Call:
    """A batch whose last image is background alone.

    mode: words, see `given`; "class_weight": of the loss; "absent": a class has no pixel.
    """
    record = CATALOGUE[name]
    hard = record.hard_targets or not record.supervised  # of the latter the target says what is ignored
    words = mode.replace("soft", "one_hot") if hard else mode
    if task == "multiclass" and "channel_weight" not in words and ("soft" in words or "one_hot" in words):
        words = words.replace("ignore", "")  # pixels of such a target are left out by their weight
    batch = given(task, words, space=space, seed=3)
    logits, target = batch.logits, batch.target
    if "absent" in mode:
        target = _without(target, task)
    inputs = given_inputs(record.inputs, logits)
    if "annotated" in inputs:
        target = unlabelled(target, logits)
    arrays = (None if x is None else x.numpy() for x in (logits, target, batch.weight))
    given_inputs_ = {key: np.array(x.numpy()) for key, x in inputs.items()}
    fixed = _parameters(record, task, mode, batch.ignore_index)
    if not batch.from_logits:
        fixed["from_logits"] = False
    return Call(name, *arrays, given_inputs_, fixed | parameters)


def _without(target: torch.Tensor, task: str) -> torch.Tensor:
    """Labels without the class 1; of channels, without pixels of the last."""
    if task == "multilabel":
        return torch.cat([target[:, :-1], torch.where(target[:, -1:] == 1, 0, target[:, -1:])], dim=1)
    return torch.where(target == 1, 0, target)


def _parameters(record: Record, task: str, mode: str, ignore_index: int | None) -> dict[str, Any]:
    known = {parameter.name: parameter for parameter in record.parameters}
    found: dict[str, Any] = {"task": task, "ignore_index": ignore_index}
    found |= {name: value for name, value in SHORT.items() if name in known}
    if "class_weight" in mode and "class_weight" in known:
        both = record.family == "pixel" and task != "multiclass"  # a weight for the background of each channel, too
        found["class_weight"] = [0.5, 2.0] if both and task == "binary" else [1.0, 0.25, 2.0][: CHANNELS[task]]
    return found


def boxes(name: str, *, reduction: str = "mean") -> Call:
    """Pairs of boxes that overlap, lie apart, or one in the other; one does not count."""
    generator = np.random.default_rng(5)
    low, size = generator.uniform(0, 6, (2, 6, 2)), generator.uniform(1, 5, (2, 6, 2))
    pred, target = np.concatenate([low, low + size], axis=-1)
    if BOXES[name].coded:  # no corners, so that any coordinate may be the greater
        pred[0], target[:2] = pred[0, [2, 3, 0, 1]], target[:2, [2, 1, 0, 3]]
    weight = np.array([1.0, 2.0, 0.0, 1.0, 0.5, 1.0])
    parameters = {"reduction": reduction} | ({"image_size": (12.0, 10.0)} if name == "mpdiou" else {})
    return Call(name, pred, target, weight, {}, parameters)
