"""What the functions are called with as arrays."""

from typing import Any

from jax import numpy as jnp

from lossmith.core.functions import Face
from lossmith.core.namespaces import Array
from lossmith.core.namespaces.jax import xp


def take(values: Any) -> Array:
    """Numbers as an array."""
    return None if values is None else jnp.asarray(values)


def give(value: Array) -> Array:
    """The value as it is."""
    return value


FACE = Face(xp, take, give)
