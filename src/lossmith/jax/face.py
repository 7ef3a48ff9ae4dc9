"""What the functions are called with as arrays, and how they get their values."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
from jax import numpy as jnp

from lossmith.core.face import Sum, choose_sum
from lossmith.core.functions import Face, loss_of, spec_of
from lossmith.core.namespaces import Array
from lossmith.core.namespaces.jax import xp


class JaxFace(Face):
    """Losses as compiled functions, also where the caller does not compile: one call in place of hundreds.

    In a compiled function bad values can only make the loss NaN. So where a NaN comes out and can be seen, the loss is
    computed once more, operation by operation, which raises at what is bad.
    """

    def value(self, losses: Sum, axis: int, *arrays: Any) -> Array:
        """The sum of losses of arrays."""
        found = _compiled(spec_of(losses), losses[0][1].task, axis)(*arrays)
        return loss_of(xp, losses, axis)(*arrays) if xp.read(jnp.isnan(found).any()) else found


@lru_cache(maxsize=1024)
def _compiled(spec: str, task: str | None, axis: int) -> Callable[..., Array]:
    """The function of a sum of losses, made once; jax.jit compiles it once for each shape and dtype."""
    compiled: Callable[..., Array] = jax.jit(loss_of(xp, choose_sum(spec, task, {}), axis))
    return compiled


def take(values: Any) -> Array:
    """Numbers as an array."""
    return None if values is None else jnp.asarray(values)


def give(value: Array) -> Array:
    """The value as it is."""
    return value


FACE = JaxFace(xp, take, give)
