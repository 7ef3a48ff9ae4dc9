"""From a spec to a module: ``parse("0.5*ce + dice", "binary")``."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any, Unpack

from torch import nn

from lossmith.core.catalogue import PRIORS, find
from lossmith.core.pixels import Task
from lossmith.core.spec import Atom, parse_spec
from lossmith.errors import must
from lossmith.torch.box_loss import BoxLoss
from lossmith.torch.loss import Door, Loss
from lossmith.torch.shape import AutoEncoderShapePrior, PCAShapePrior, ShapePrior
from lossmith.torch.sums import SumLoss


def parse(spec: str, task: str | None = None, **options: Unpack[Door]) -> Loss | BoxLoss | SumLoss:
    """The loss that a spec names, for a task.

    Args:
        spec: such as ``"ce"``, ``"focal(gamma=2, alpha=0.25)"``, ``"0.5*ce + dice"``, ``"topk(k=0.2, loss=focal)"`` or
            ``"my.module:MyLoss(width=3)"``, a class (or function that makes a module) of yours, called as
            ``loss(logits, target)``, or ``"dice + 0.1*shape_pca(path='prior.safetensors')"`` with a shape prior that
            was fitted and saved.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``; also given to a class of yours that has such a
            parameter. None for box losses.
        **options: `ignore_index`, `reduction`, `from_logits` and `process_group` for every loss of the catalogue in the
            spec; box losses have `reduction` alone.

    Raises:
        ValueError: for text that is no spec, an unknown loss or parameter, an illegal value.

    >>> parse("dice+0.5*ce", "binary").spec
    'dice + 0.5*ce'
    >>> parse("giou + 0.2*box_l1").spec
    'giou + 0.2*box_l1'
    """
    terms = parse_spec(spec)
    pairs = [(term.coefficient, _build(term.atom, task, options)) for term in terms]
    only = pairs[0][1]
    if len(pairs) == 1 and pairs[0][0] == 1 and isinstance(only, Loss | BoxLoss):
        return only
    return SumLoss(pairs)


def inner_loss(task: Task, loss: Loss | str, kind: str) -> Loss:
    """The loss that another is made of, from itself or its spec; `kind` says in errors what it must be.

    Its options of the door are those of the outer one, so they are refused on it.
    """
    found = parse(loss, task) if isinstance(loss, str) else loss
    if not isinstance(found, Loss):
        raise ValueError(must("loss", kind, loss))
    if found.task != task:
        raise ValueError(must("the task of loss", repr(task), found.task))
    door = tuple(found.settings[name] for name in ("ignore_index", "from_logits", "reduction"))
    if door != (None, True, "mean"):
        raise ValueError(must("ignore_index, from_logits and reduction of loss", "at their defaults", door))
    if found.settings["process_group"] is not None:
        raise ValueError(must("process_group of loss", "None", found.settings["process_group"]))
    return found


def _build(atom: Atom, task: str | None, options: Door) -> nn.Module:
    if ":" in atom.name:
        return _foreign(atom, task)
    if atom.name in PRIORS:
        return _prior(atom, task, options)
    record = find(atom.name)
    arguments: dict[str, Any] = dict(options)
    for name, value in atom.arguments.items():
        record.parameter(name)
        arguments[name] = _build(value, task, {}) if isinstance(value, Atom) else value
    if record.name in BoxLoss.registry:
        if task is not None:
            raise ValueError(must(f"task of {record.name}, a loss of boxes,", "None", task))
        return BoxLoss.registry[record.name](**arguments)
    return Loss.registry[record.name](task, **arguments)  # type: ignore[arg-type]


def _prior(atom: Atom, task: str | None, options: Door) -> ShapePrior:
    """The saved prior that a spec names, for a task; an `ignore_index` that is given goes before that of the file."""
    for option, expected in (("reduction", "mean"), ("from_logits", True), ("process_group", None)):
        if (got := options.get(option, expected)) != expected:
            raise ValueError(must(f"{option} with {atom.name}", repr(expected), got))
    arguments = {"ignore_index": options.get("ignore_index"), **atom.arguments}
    for name, value in arguments.items():
        PRIORS[atom.name].parameter(name).legal.check(name, value)
    path, ignore_index = arguments.get("path"), arguments["ignore_index"]
    if not isinstance(path, str):
        raise TypeError(must(f"path of {atom.name}", "the name of a file", path))
    kinds: tuple[type[ShapePrior], ...] = (PCAShapePrior, AutoEncoderShapePrior)
    prior = next(kind for kind in kinds if kind.name == atom.name).load(path)
    if prior.task != task:
        raise ValueError(must(f"task of the prior in {path}", repr(task), prior.task))
    if isinstance(ignore_index, int):
        prior.ignore_index = ignore_index
        prior._lossmith_atom = Atom(atom.name, {"path": path, "ignore_index": ignore_index})  # type: ignore[assignment]
    return prior


def _foreign(atom: Atom, task: str | None) -> nn.Module:
    """A loss of the user's own, from "module:name"."""
    module_name, _, name = atom.name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(f"{atom.name}: there is no module {error.name!r} to import") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise ValueError(must(f"{name} of module {module_name}", "a class or function that makes a loss", factory))
    arguments = dict(atom.arguments)
    if _takes_task(factory):
        arguments.setdefault("task", task)
    try:
        loss = factory(**arguments)
    except TypeError as error:
        raise ValueError(f"{atom}: {error}") from error
    if not isinstance(loss, nn.Module):
        raise ValueError(must(atom.name, "a class of torch.nn.Module, or a function that returns one", loss))
    if not isinstance(loss, Loss | BoxLoss):  # which have a name of their own
        loss._lossmith_atom = atom  # type: ignore[assignment]
    return loss


def _takes_task(factory: Callable[..., object]) -> bool:
    try:
        return "task" in inspect.signature(factory).parameters
    except ValueError:  # a builtin without a signature
        return False
