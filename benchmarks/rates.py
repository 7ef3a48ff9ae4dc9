"""What this machine can do: nanoseconds per float32 element of the operations that every loss is made of."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from time import perf_counter

import numpy as np
import torch
from workloads import Workload

Operation = Callable[[], object]
BLOCK = 128 * 1024
SORTS = ("torch.sort", "np.sort", "np.argsort")
_ROUNDS = 5


def rates(progress: Callable[[str], None], workload: Workload, threads: int, seconds: float) -> dict[str, float]:
    """The rates on a block of each thread, which stays in its cache, and on buffers of the workload's size.

    `seconds` is the time for each operation, five rounds at least. Runs in a process of its own; see `isolate`.
    """
    torch.set_num_threads(threads)
    size = prod(workload.shape)
    blocks, buffers = _streams(BLOCK * threads), _streams(size) | _fresh(size)
    operations: dict[str, tuple[Operation, int]] = {}
    operations |= {f"{name}, block": (operation, BLOCK * threads) for name, operation in blocks.items()}
    operations |= {name: (operation, size) for name, operation in buffers.items()}
    operations |= _sorts(workload, threads)
    found = {}
    for name, (operation, elements) in operations.items():
        progress(name)
        found[name] = round(1e9 * _seconds(operation, seconds) / elements, 4)
    return found


def _streams(size: int) -> dict[str, Operation]:
    """Operations from one existing buffer to another."""
    source, target = torch.rand(size).add_(0.5), torch.zeros(size)
    return {
        "read": source.sum,
        "copy": lambda: target.copy_(source),
        "exp": lambda: torch.exp(source, out=target),
        "log": lambda: torch.log(source, out=target),
        "sigmoid": lambda: torch.sigmoid(source, out=target),
    }


def _fresh(size: int) -> dict[str, Operation]:
    """Operations whose result is a new buffer, freed at once: what the allocator does for it is in the time."""
    source = torch.rand(size)
    return {"copy, new buffer": source.clone, "fill, new buffer": lambda: torch.ones(size)}


def _sorts(workload: Workload, threads: int) -> dict[str, tuple[Operation, int]]:
    """Sorting the N P floats of a class, a class for each thread."""
    images, channels, *space = workload.shape
    rows = min(channels, threads)
    values = torch.rand(rows, images * prod(space))
    arrays = list(values.numpy())
    pool = ThreadPoolExecutor(threads)

    def by_row(sort: Callable[[np.ndarray], np.ndarray]) -> Operation:
        # numpy sorts without the interpreter's lock, so that the rows are sorted side by side.
        return lambda: list(pool.map(sort, arrays))

    operations: tuple[Operation, ...] = (values.sort, by_row(np.sort), by_row(np.argsort))
    return {name: (operation, values.numel()) for name, operation in zip(SORTS, operations, strict=True)}


def _seconds(operation: Operation, seconds: float) -> float:
    """The least time of an operation after a first run: what the machine can do, whatever else disturbed it."""
    operation()
    samples: list[float] = []
    started = perf_counter()
    while len(samples) < _ROUNDS or perf_counter() - started < seconds:
        before = perf_counter()
        operation()
        samples.append(perf_counter() - before)
    return min(samples)
