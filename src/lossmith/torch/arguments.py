"""Arguments of a loss and of its calls: as they come, as a signature shows them, as a spec and a sum write them."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossmith.core.catalogue import Record
from lossmith.errors import must

Numbers = Sequence[float] | np.ndarray | Tensor


def check_tensors(**given: object) -> None:
    """TypeError at what a loss is called with that is no tensor; only `weight` may be None."""
    for name, value in given.items():
        if not isinstance(value, Tensor) and (name != "weight" or value is not None):
            raise TypeError(must(name, "a tensor", type(value).__name__))


def plain(value: Any) -> Any:
    """Numbers and ranges of other libraries as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, range) else value


def floating(values: Any) -> Tensor:
    """Numbers by class as a tensor of its own: floating ones keep their dtype, lists get the default one."""
    tensor = torch.as_tensor(values)
    given = isinstance(values, Tensor | np.ndarray) and tensor.is_floating_point()
    return tensor.clone() if given else torch.as_tensor(values, dtype=torch.get_default_dtype()).clone()


def shortest(tensor: Tensor) -> Any:
    """The numbers of a tensor, each in the fewest digits that give it back."""
    if tensor.ndim:
        return [shortest(part) for part in tensor]
    number = tensor.detach().cpu().numpy()[()]
    return float(str(number)) if tensor.is_floating_point() else int(number)


def signature(record: Record) -> inspect.Signature:
    """What `help` and configuration tools see: every parameter of the record."""
    task = [inspect.Parameter("task", inspect.Parameter.POSITIONAL_OR_KEYWORD)] if record.tasks else []
    keywords = [inspect.Parameter(p.name, inspect.Parameter.KEYWORD_ONLY, default=p.default) for p in record.parameters]
    return inspect.Signature([*task, *keywords])


def factor(value: float) -> float:
    """A factor of a term of a sum."""
    if not 0 < value < float("inf"):
        raise ValueError(must("a coefficient", "> 0 and finite", value))
    return float(value)


def distinct(names: list[str]) -> tuple[str, ...]:
    """Names with a running number behind those that come again."""
    return tuple(
        name if names.index(name) == i else f"{name} #{names[: i + 1].count(name)}" for i, name in enumerate(names)
    )
