"""The processes that share a batch, each with images of its own, as a loss sees them."""

from typing import Protocol

from lossmith.core.namespaces import Array


class Processes(Protocol):
    """What a loss asks of them. All ask the same in the same order, whatever their own images are."""

    shared: bool
    """Whether there is any other process."""

    def sum(self, *sums: Array) -> tuple[Array, ...]:
        """Each added up over the processes."""

    def log_sum(self, log_sum: Array) -> Array:
        """The same for a sum that is given by its logarithm."""

    def gather(self, *rows: Array) -> tuple[tuple[Array, ...], slice]:
        """Rows (k, pixels) with the pixels of all processes, without gradient, and which of them are our own."""


class Alone:
    """One process that has the whole batch."""

    shared = False

    def sum(self, *sums: Array) -> tuple[Array, ...]:
        """`sums`."""
        return sums

    def log_sum(self, log_sum: Array) -> Array:
        """`log_sum`."""
        return log_sum

    def gather(self, *rows: Array) -> tuple[tuple[Array, ...], slice]:
        """`rows`, all of them our own."""
        return rows, slice(None)


ALONE = Alone()
