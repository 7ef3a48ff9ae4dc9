"""How the cost grows: forward and backward from 1e5 to 3e8 logits, in pixels at fixed classes and in classes at fixed
pixels. Every size has a process of its own.

`python benchmarks/growth.py --quick` goes up to 1e6 logits, without it about half an hour and 12 GB.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isqrt, log, prod
from statistics import linear_regression
from typing import TypedDict

from contenders import OURS, YARDSTICK
from definitions import Definition
from isolate import LostError, isolated
from ledger import Ledger, circumstances, open_ledger, parser
from machine import Environment, free_memory, summary
from measure import Course, race
from rows import digits, what
from workloads import Task, Workload

PATIENCE = 600.0
LOGIT_BYTES = 4


class Size(TypedDict, total=False):
    """One size: what it is, and what came of it: milliseconds (median, least, most), or why there are none."""

    loss: str
    task: str
    who: str
    axis: str
    threads: int
    shape: list[int]
    logits: int
    load: float
    at: str
    ms: list[float]
    why: str


@dataclass(frozen=True)
class Series:
    """A loss, and the number of logits up to which it is followed."""

    loss: str
    task: Task = "multiclass"
    who: str = OURS
    limit: float = 3.1e8


SERIES = (
    Series("dice+ce"),
    Series("focal"),
    Series("lovasz", limit=1e8),
    Series("dice+ce", "binary"),
    Series("ce", who=YARDSTICK),
)
CLASSES = 21
PIXEL_SIZES = (1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8)
CLASS_SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
QUICK_LIMIT = 1e6
SIDE, QUICK_SIDE = 1024, 64


def main() -> None:
    """Measure size by size; each is on disk when the next one starts."""
    options = _options()
    ledger: Ledger[Size] = open_ledger("growth", options, page)
    sizes = [size for size in plan(options) if not ledger.has(size)]
    for number, size in enumerate(sizes, 1):
        print(f"[{number}/{len(sizes)}] {_name(size)}: {_shape(size)}, {size['logits']:.2g} logits", flush=True)
        size["load"], size["at"] = circumstances()
        size.update(measure(size, options.seconds))
        print("    " + _outcome(size), flush=True)
        ledger.add(size)
    print(f"results: {ledger.path.with_suffix('.md')}")


def _options() -> argparse.Namespace:
    command = parser(__doc__)
    command.add_argument("--threads", type=int, nargs="+", default=[1])
    command.add_argument("--seconds", type=float, help="time for the rounds of a size (default 5; quick 0.3)")
    options = command.parse_args()
    options.seconds = options.seconds or (0.3 if options.quick else 5.0)
    return options


def plan(options: argparse.Namespace) -> list[Size]:
    """The sizes of every series, from small to large."""
    return [
        {
            "loss": series.loss,
            "task": series.task,
            "who": series.who,
            "axis": axis,
            "threads": threads,
            "shape": list(shape),
            "logits": prod(shape),
        }
        for threads in options.threads
        for series in SERIES
        for axis, shape in _shapes(series, options.quick)
        if prod(shape) <= (1.1 * QUICK_LIMIT if options.quick else series.limit)
    ]


def _shapes(series: Series, quick: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    """One image each: ever larger, then, where there are classes, of ever more of them."""
    classes = 1 if series.task == "binary" else CLASSES
    for logits in PIXEL_SIZES:
        side = isqrt(round(logits / classes))
        yield "pixels", (1, classes, side, side)
    side = QUICK_SIDE if quick else SIDE
    if series.task != "binary":
        for classes in CLASS_SIZES:
            yield "classes", (1, classes, side, side)


def measure(size: Size, seconds: float) -> Size:
    """The time of a size in a process of its own, or why there is none."""
    if 4 * LOGIT_BYTES * size["logits"] > (free := free_memory()) / 2:
        return {"why": f"left out: four times the logits exceed half the free memory ({free / 1e9:.1f} GB)"}
    shape = tuple(size["shape"])
    task: Task = "binary" if size["task"] == "binary" else "multiclass"
    # Patches of 4, for the smallest image must hold 256 classes.
    course = Course(
        Definition(size["loss"], None if size["loss"] == "ce" else "image"), Workload(task, shape, shape, 4)
    )
    try:
        cell = isolated(PATIENCE, race, course, [size["who"]], size["threads"], seconds)[size["who"]]
    except LostError as lost:
        return {"why": lost.why}
    return {"ms": cell["ms"]} if cell["status"] == "timed" else {"why": f"{cell['status']}: {cell['why']}"}


def slope(sizes: Sequence[Size]) -> float | None:
    """The exponent of the growth: least squares on the logarithms of time and of logits; 1 is linear."""
    if len(sizes) < 2:
        return None
    return linear_regression([log(s["logits"]) for s in sizes], [log(s["ms"][0]) for s in sizes]).slope


def last_decade(sizes: Sequence[Size]) -> list[Size]:
    """The sizes from a tenth of the largest on; a side that was rounded is no reason to fall out."""
    top = max((size["logits"] for size in sizes), default=0)
    return [size for size in sizes if size["logits"] >= 0.099 * top]


INTRODUCTION = """# Growth of the cost with the size of the input

Made by `benchmarks/growth.py`. Forward and backward on one float32 image, median milliseconds (least to most), each
size in a process of its own; region losses by image. Slope: the exponent of time over logits, least squares on the
logarithms; 1 is linear. At small sizes the cost of a call flattens it, and in classes what is done once for a pixel;
the last decade, from a tenth of the largest size on, has the least of both. New memory is dearer where the allocator
takes fresh pages from the system each time (on glibc: blocks above 32 MB), which steepens it between 1e6 and 1e7
logits: {yardstick}, measured in the same way, shows by how much.
"""


def page(environment: Environment, rows: Sequence[Size]) -> str:
    """The markdown page: the slopes of all series, then each series size by size."""
    overview = [
        "| series | grows in | sizes | logits | ns per logit, least size to largest | slope | slope, last decade |",
        "|---|---|---|---|---|---|---|",
    ]
    details = []
    for _, members in groupby(rows, key=lambda size: (_name(size), size["axis"])):
        series = list(members)
        details += _details(series)
        if timed := [size for size in series if "ms" in size]:
            overview.append(_overview(timed))
    parts = [INTRODUCTION.format(yardstick=YARDSTICK), summary(environment), "\n".join(overview), *details]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _overview(timed: list[Size]) -> str:
    first, last = timed[0], timed[-1]
    slopes = (slope(timed), slope(last_decade(timed)))
    return (
        f"| {_name(first)} | {first['axis']} | {len(timed)} | {first['logits']:.2g} to {last['logits']:.2g} "
        f"| {digits(_nanoseconds(first))} to {digits(_nanoseconds(last))} "
        f"| {' | '.join('-' if s is None else f'{s:.3f}' for s in slopes)} |"
    )


def _details(series: list[Size]) -> list[str]:
    lines = ["| shape | logits | ms | ns per logit | load |", "|---|---|---|---|---|"]
    lines += [f"| {_shape(s)} | {s['logits']:.3g} | {_outcome(s)} | {s['load']} |" for s in series]
    return [f"## {_name(series[0])}: in {series[0]['axis']}", "\n".join(lines)]


def _outcome(size: Size) -> str:
    if "ms" not in size:
        return f"{size['why']} | -"
    middle, low, high = size["ms"]
    return f"{digits(middle)} ({digits(low)} to {digits(high)}) | {digits(_nanoseconds(size))}"


def _nanoseconds(size: Size) -> float:
    return 1e6 * size["ms"][0] / size["logits"]


def _name(size: Size) -> str:
    return f"{size['who']}: {size['loss']}, {size['task']}, {what(size['threads'])}"


def _shape(size: Size) -> str:
    return "x".join(map(str, size["shape"]))


if __name__ == "__main__":
    main()
