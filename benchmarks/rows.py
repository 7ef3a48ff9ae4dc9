"""A row of the results, and the arithmetic on rows: times, ratios, means."""

from collections.abc import Iterable
from math import exp, log
from typing import TypedDict

from contenders import CONTENDERS, OURS, PLAIN, YARDSTICK
from measure import Cell


class Row(TypedDict, total=False):
    """One row: what it is (threads None: memory), when it was measured, and a cell for each contender."""

    loss: str
    workload: str
    dtype: str
    threads: int | None
    load: float
    at: str
    cells: dict[str, Cell]


COLUMNS = [contender.name for contender in CONTENDERS]
PEERS = [name for name in COLUMNS if name not in (OURS, PLAIN, YARDSTICK)]


def title(row: Row) -> str:
    """What a row is."""
    return f"{row['loss']}: {row['workload']}, {row['dtype']}, {what(row['threads'])}"


def what(threads: int | None) -> str:
    """What a row measures: time with so many threads, or memory."""
    return "memory" if threads is None else f"{threads} thread" + ("s" if threads != 1 else "")


def milliseconds(cells: dict[str, Cell], name: str) -> float | None:
    """The median time of a contender; None if it was not timed."""
    return cells[name]["ms"][0] if cells.get(name, {}).get("status") == "timed" else None


def over(cells: dict[str, Cell], name: str) -> float | None:
    """This library's time over that of a contender; below 1 this library is faster."""
    ours, other = milliseconds(cells, OURS), milliseconds(cells, name)
    return ours / other if ours and other else None


def over_fastest(cells: dict[str, Cell]) -> float | None:
    """This library's time over that of the fastest peer; for cross-entropy, over torch's own."""
    rivals = [YARDSTICK] if "off" in cells.get(YARDSTICK, {}) else PEERS
    return max((r for name in rivals if cells.get(name, {}).get("same") and (r := over(cells, name))), default=None)


def mean(ratios: Iterable[float]) -> float:
    """The geometric mean."""
    logs = [log(ratio) for ratio in ratios]
    return exp(sum(logs) / len(logs))


def digits(number: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
