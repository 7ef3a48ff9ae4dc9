"""What torch has a better way for, and other frameworks do as it is written."""

from collections.abc import Callable, Sequence
from typing import Any

from lossmith.core.namespaces import Array


class Plain:
    """Operations that differ from their definition in speed or memory alone; see `Namespace`."""

    stack: Any

    def by_piece(self, f: Callable[[Array, int], Array], pieces: Sequence[tuple[Any, ...]], x: Array) -> Array:
        return self.stack([f(x[piece], number) for number, piece in enumerate(pieces)])

    def bits(self, x: Array) -> Array:
        return x

    def soft_skeleton(
        self,
        f: Callable[[Array, Array | None], Array],
        x: Array,
        valid: Array | None,
        levels: int,  # noqa: ARG002
        keep: int,  # noqa: ARG002
    ) -> Array:
        return f(x, valid)

    def recompute(self, f: Callable[..., Any], *arrays: Array) -> Any:
        return f(*arrays)

    def add_product(self, total: Array, a: Array, b: Array) -> Array:
        return total + a * b

    def symmetric(self, f: Callable[[Array], Array], x: Array) -> Array:
        return f(x)
