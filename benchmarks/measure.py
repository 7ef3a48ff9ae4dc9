"""Time and memory of the contenders on one workload. Everything here runs in a process of its own; see `isolate`."""

import ctypes
import gc
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Literal, TypedDict

import torch
from contenders import CONTENDERS, OURS, YARDSTICK
from definitions import Definition, NotOfferedError, Run
from torch import Tensor
from workloads import Batch, Workload, make_batch


class Cell(TypedDict, total=False):
    """What came of one contender: measurements, or why there are none. Times are (median, min, max) of the rounds."""

    status: Literal["timed", "measured", "none", "differs", "failed", "absent"]
    why: str
    value: float
    off: float
    gradient_off: float
    same: bool
    rounds: int
    ms: list[float]
    forward_ms: list[float]
    backward_ms: list[float]
    peak: float
    saved: float


Progress = Callable[[str], None]
ASK = {contender.name: contender.ask for contender in CONTENDERS}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}
ENOUGH = 30
WARM_SPACE = 16
WARM_ELEMENTS = 600_000  # enough for code that is only for large inputs
SHORTEST_SAMPLE = 2e-3
M_MMAP_THRESHOLD = -3


@dataclass(frozen=True)
class Course:
    """One row of the table: a definition on a workload."""

    definition: Definition
    workload: Workload
    dtype: str = "fp32"


@dataclass
class Runner:
    """A contender in the race, and its samples in seconds."""

    run: Run
    repeats: int
    forward: list[float]
    backward: list[float]


def race(progress: Progress, course: Course, names: list[str], threads: int, seconds: float) -> dict[str, Cell]:
    """Milliseconds of each contender, round by round: A B C A B C ...

    Rounds go on for `seconds`, at least three and at most `ENOUGH`. A contender that has no such loss, raises or means
    another one by its name gets a cell that says so and is not timed.
    """
    _quiet(threads)
    batch = make_batch(course.workload, DTYPES[course.dtype])
    cells, runners = _line_up(progress, course, batch, names)
    started, rounds = perf_counter(), 0
    while rounds < 3 or (rounds < ENOUGH and perf_counter() - started < seconds):
        for name, runner in runners.items():
            progress(name)
            _sample(runner, batch.logits)
        rounds += 1
    for name, runner in runners.items():
        total = [f + b for f, b in zip(runner.forward, runner.backward, strict=True)]
        cells[name] |= {
            "rounds": rounds,
            "ms": _spread(total),
            "forward_ms": _spread(runner.forward),
            "backward_ms": _spread(runner.backward),
        }
    return cells


def _spread(seconds: list[float]) -> list[float]:
    """Median, least and most, in milliseconds."""
    return [round(1e3 * f(seconds), 4) for f in (median, min, max)]


def _line_up(
    progress: Progress, course: Course, batch: Batch, names: list[str]
) -> tuple[dict[str, Cell], dict[str, Runner]]:
    """Run every contender, and keep those that have the loss; this library comes first and is what they are held to."""
    cells: dict[str, Cell] = {}
    runners: dict[str, Runner] = {}
    truth: tuple[float, Tensor] | None = None
    for name in names:
        progress(name)
        try:
            difference = _difference(course, name)
            if difference:
                cells[name] = {"status": "differs", "why": difference}
                continue
            run = ASK[name](course.definition, batch)
            _step(run, batch.logits)
            value, forward, backward = _step(run, batch.logits)
        except NotOfferedError as reason:
            cells[name] = {"status": "none", "why": str(reason)}
            continue
        except Exception as error:
            cells[name] = _failure(error)
            continue
        gradient = batch.logits.grad
        assert gradient is not None
        truth = (value, gradient.clone()) if name == OURS else truth
        cells[name] = {"status": "timed", "value": value}
        if truth is not None and _comparable(course, name):
            cells[name]["off"] = abs(value / truth[0] - 1)
            cells[name]["same"] = cells[name]["off"] <= TOLERANCE[course.dtype]
            cells[name]["gradient_off"] = float((gradient - truth[1]).float().norm() / truth[1].float().norm())
        runners[name] = Runner(run, max(1, round(SHORTEST_SAMPLE / (forward + backward))), [], [])
    return cells, runners


def _comparable(course: Course, name: str) -> bool:
    """Whether a contender computes the loss of the row: the yardstick computes cross-entropy in every row."""
    return name != YARDSTICK or course.definition.loss == "ce"


def _difference(course: Course, name: str) -> str:
    """How the contender's value differs from this library's on a small float32 batch, where rounding is no matter."""
    if not _comparable(course, name):
        return ""
    small = _small(course, torch.float32)
    value, ours = (_step(ASK[who](course.definition, small), small.logits)[0] for who in (name, OURS))
    return "" if abs(value - ours) <= TOLERANCE["fp32"] * abs(ours) else f"{value:.5g}, not {ours:.5g}"


def _failure(error: Exception) -> Cell:
    return {"status": "failed", "why": f"{type(error).__name__}: {error}".splitlines()[0]}


def _step(run: Run, logits: Tensor) -> tuple[float, float, float]:
    """The value, and the seconds of the forward and of the backward pass."""
    logits.grad = None
    started = perf_counter()
    value = run(logits)
    between = perf_counter()
    torch.autograd.backward([value])
    return float(value), between - started, perf_counter() - between


def _sample(runner: Runner, logits: Tensor) -> None:
    """Add one sample, the mean of some steps where one is too short for the clock."""
    steps = [_step(runner.run, logits)[1:] for _ in range(runner.repeats)]
    forward, backward = (sum(part) / runner.repeats for part in zip(*steps, strict=True))
    runner.forward.append(forward)
    runner.backward.append(backward)


def footprint(progress: Progress, course: Course, name: str) -> Cell:
    """Bytes beyond logits and target, in units of the logits: at peak (gradient included), and saved for backward.

    Every block above 64 KiB is mapped by itself, so that the resident size follows what is in use.
    """
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 65536)
    _quiet(1)
    progress(name)
    batch = make_batch(course.workload, DTYPES[course.dtype])
    try:
        for space in (WARM_SPACE, WARM_ELEMENTS):
            small = _small(course, DTYPES[course.dtype], space)
            _step(ASK[name](course.definition, small), small.logits)
        run = ASK[name](course.definition, batch)
        given = {tensor.untyped_storage().data_ptr() for tensor in (batch.logits, batch.labels, batch.real, batch.mask)}
        unit = batch.logits.numel() * batch.logits.element_size()
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
        _step(run, batch.logits)
        peak = _resident("VmHWM") - before
        saved = _saved(run, batch.logits, given)
    except NotOfferedError as reason:
        return {"status": "none", "why": str(reason)}
    except Exception as error:
        return _failure(error)
    return {"status": "measured", "peak": round(peak / unit, 3), "saved": round(saved / unit, 3)}


def _small(course: Course, dtype: torch.dtype, size: int = WARM_SPACE) -> Batch:
    """A batch of the same kind on which code is loaded and pools are filled before anything is measured.

    size: pixels along each axis, or beyond 1000 the elements of the whole.
    """
    images, channels, *space = course.workload.shape
    images = min(images, 2)
    if size > 1000:
        size = math.ceil((size / (images * channels)) ** (1 / len(space)))
    shape = (images, channels, *(size for _ in space))
    return make_batch(replace(course.workload, shape=shape, patch=1), dtype)


def _resident(field: str) -> int:
    """Bytes of a field of this process's status, such as VmHWM, the highest resident size since it was reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _saved(run: Run, logits: Tensor, given: set[int]) -> int:
    """Bytes of the distinct storages that autograd keeps between forward and backward, those given apart."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = run(logits)
    torch.autograd.backward([value])
    return sum(t.untyped_storage().nbytes() for address, t in kept.items() if address not in given)


def _quiet(threads: int) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
