"""JAX. Every name here has a rule for `jit`, `grad` and `vmap`; values are read where there is no trace."""

import math
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from lossmith.core import distance
from lossmith.core.namespaces import Array
from lossmith.core.namespaces.standard import Standard
from lossmith.core.thinning import tube

KEPT = 1024


class _Jax(Standard):
    def __init__(self) -> None:
        super().__init__(jnp)
        names = ["log_softmax", "softmax", "sigmoid", "log_sigmoid", "relu"]
        self.__dict__.update({name: getattr(jax.nn, name) for name in names}, stop_gradient=jax.lax.stop_gradient)

    def astype(self, x: Array, like: Array) -> Array:
        return x.astype(like.dtype)

    def integers(self, x: Array) -> Array:
        return x.astype(int)  # as wide as JAX is configured to have them

    def read(self, flag: Array) -> bool | None:
        try:
            return bool(flag)
        except jax.errors.ConcretizationTypeError:
            return None

    def outside(self, x: Array, low: float, high: float) -> bool | Array:
        if x.dtype == bool or x.size == 0:
            return False
        most = float(jnp.finfo(x.dtype).max) if self.kind(x) == "real" else int(jnp.iinfo(x.dtype).max)
        flag = jnp.any(~((x >= low) & (x <= min(high, most))))
        seen = self.read(flag)
        return flag if seen is None else seen

    def maximum(self, x: Array, bound: Array | float) -> Array:
        """Of a tie with a number all of the gradient is `x`'s, as in the other frameworks; a NaN stays."""
        return jnp.maximum(x, bound) if isinstance(bound, jax.Array) else jnp.where(x < bound, bound, x)

    def one_hot(self, index: Array, n: int, like: Array) -> Array:
        return jax.nn.one_hot(index, n, axis=1, dtype=like.dtype)

    def line_max(self, x: Array, *, axis: int) -> Array:
        return self._line(x, axis, -jnp.inf, jax.lax.max)

    def line_min(self, x: Array, *, axis: int) -> Array:
        return self._line(x, axis, jnp.inf, jax.lax.min)

    def _line(self, x: Array, axis: int, least: float, extreme: Any) -> Array:
        """One operation: XLA would fuse chains of shifted comparisons, in time exponential in their length."""
        width, border = [1] * x.ndim, [(0, 0)] * x.ndim
        width[axis], border[axis] = 3, (1, 1)
        return jax.lax.reduce_window(x, least, extreme, width, [1] * x.ndim, border)

    def smaller(self, x: Array, y: Array) -> Array:
        return jnp.where(x <= y, x, y)

    def unsort(self, values: Array, order: Array) -> Array:
        *rows, _ = jnp.indices(values.shape, sparse=True)
        return jnp.zeros_like(values).at[(*rows, order)].set(values, unique_indices=True)

    def signed_distance(
        self, inside: Array, valid: Array | None, spacing: Sequence[float], power: float, like: Array
    ) -> Array:
        def squares(inside: Any, valid: Any = None) -> np.ndarray:
            return distance.signed_distance(inside, valid, spacing, 2.0, np.float32)

        # Whole float32 numbers come back: a thread of a callback may not know that float64 is enabled.
        masks = [inside] if valid is None else [inside, valid]
        signed = _on_the_host(squares, np.float32, *masks).astype(like.dtype)
        length = jnp.sqrt(jnp.abs(signed)) if power == 1 else jnp.abs(signed) ** (0.5 * power)
        return jnp.where(signed < 0, -length, length)

    def tube(self, masks: Array, axes: int, width: int) -> Array:
        return _on_the_host(lambda masks: tube(masks, axes, width), masks.dtype, masks)

    def by_piece(self, f: Callable[[Array, int], Array], pieces: Sequence[tuple[slice, ...]], x: Array) -> Array:
        return jnp.stack([self.recompute(lambda part, n=n: f(part, n), x[piece]) for n, piece in enumerate(pieces)])

    def recompute(self, f: Callable[..., Any], *arrays: Array) -> Any:
        return jax.checkpoint(f)(*arrays)

    def pad(self, x: Array, width: int) -> Array:
        return jnp.pad(x, [(0, 0), (0, 0), *[(width, width)] * (x.ndim - 2)])

    def portion(self, x: Array) -> int:
        return max(1, math.prod(map(int, x.shape)))


def _on_the_host(f: Callable[..., np.ndarray], dtype: Any, *masks: Array) -> Array:
    """What NumPy makes of masks, of the shape of the first; they have no gradient."""
    shape = jax.ShapeDtypeStruct(masks[0].shape, dtype)
    return jax.pure_callback(lambda *arrays: f(*map(np.array, arrays)), shape, *masks, vmap_method="broadcast_all")


xp = _Jax()


def computed(f: Callable[..., Array], key: Hashable, arrays: Sequence[Any]) -> Array:
    """``f(*arrays)`` as a compiled function, also where the caller does not compile: one call in place of hundreds.

    Equal keys stand for functions that compute the same. In a compiled function bad values can only make a value NaN.
    So where a NaN comes out and can be seen, f is called as it is, which raises at what is bad.
    """
    value = _compiled(_Keyed(key, f))(*arrays)
    return f(*arrays) if xp.read(jnp.isnan(value).any()) else value


class _Keyed:
    """A function that is equal to others of its key."""

    def __init__(self, key: Hashable, f: Callable[..., Array]) -> None:
        self.key, self.f = key, f

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=KEPT)
def _compiled(keyed: _Keyed) -> Callable[..., Array]:
    """jax.jit of the function, made once; it compiles once for each shape and dtype."""
    compiled: Callable[..., Array] = jax.jit(keyed.f)
    return compiled
