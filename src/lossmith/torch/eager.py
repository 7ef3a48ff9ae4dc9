"""The engine outside of what torch.compile traces: a compiled function has a graph break here.

Losses across processes run here: collectives and their gradients are no part of a traced graph. A module of its own,
because loading it loads the compiler.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from lossmith.torch import engine

P = ParamSpec("P")
R = TypeVar("R")


def _disabled(function: Callable[P, R]) -> Callable[P, R]:
    disabled: Callable[P, R] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return disabled


values = _disabled(engine.values)
