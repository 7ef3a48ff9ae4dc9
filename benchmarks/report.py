"""The results as a page that a person reads."""

from collections.abc import Iterable, Sequence
from math import exp, log
from typing import TypedDict

from contenders import CONTENDERS, OURS, PLAIN, YARDSTICK
from machine import Environment
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
INTRODUCTION = """# Losses: time and memory beside other libraries

Made by `benchmarks/losses.py`; `benchmarks/README.md` says what is compared and how.

Time: forward and backward, median milliseconds ({ours}: fastest to slowest round in brackets); the factor says how many
times as long as {ours} it takes: above 1 {ours} is faster. The contenders of a row ran in turn, in one process, on the
same logits and target.
"differs": what the library has by this name is another loss; its value and {ours}'s on a small input, not timed.
"off": the same loss, but this value in this precision is so far from {ours}'s; timed, and not counted as a peer below.
"-": the library has no such loss, or not with these pools.

Memory: bytes beyond logits and target in units of the logits, at peak (the gradient is 1 of them) / saved for backward.

Times of rows that started at a load above the threads they used are those of a busy machine.

Not measured: GPUs (there was none), `torch.compile`, dtypes and thread counts without a table.
"""


def page(environment: Environment, rows: Sequence[Row]) -> str:
    """The markdown page of all rows."""
    parts = [INTRODUCTION.format(ours=OURS), _environment(environment), *_standing(rows)]
    for kind in dict.fromkeys((row["dtype"], row["workload"], row["threads"]) for row in rows):
        chosen = [row for row in rows if (row["dtype"], row["workload"], row["threads"]) == kind]
        dtype, workload, threads = kind
        loads = [row["load"] for row in chosen]
        heading = f"## {workload}, {dtype}, {_what(threads)}"
        busy = f"Load of the machine when a row started: {min(loads):.1f} to {max(loads):.1f}."
        parts += [heading, busy, _table(chosen)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def title(row: Row) -> str:
    """What a row is."""
    return f"{row['loss']}: {row['workload']}, {row['dtype']}, {_what(row['threads'])}"


def line(row: Row) -> str:
    """A row as one line, for the screen."""
    cells = row["cells"]
    return "  ".join(f"{name} {text(cells, name)}" for name in COLUMNS if text(cells, name) != "-")


def text(cells: dict[str, Cell], name: str) -> str:
    """A cell: what was measured, or why not."""
    cell = cells.get(name, {"status": "none"})
    status = cell["status"]
    if status == "none":
        return "-"
    if status == "measured":
        return f"{cell['peak']:.2f} / {cell['saved']:.2f}"
    if status != "timed":
        return f"{status}: {cell['why']}".replace("|", "/")
    middle, low, high = cell["ms"]
    if name == OURS:
        return f"{_digits(middle)} ({_digits(low)} to {_digits(high)})"
    ours = _milliseconds(cells, OURS)
    return (
        _digits(middle)
        + (f" ({middle / ours:.2f}x)" if ours else "")
        + ("" if cell.get("same", True) else f", off {cell['off']:.1e}")
    )


def _standing(rows: Sequence[Row]) -> list[str]:
    """Where this library stands: its time over that of the fastest peer."""
    timed = [row for row in rows if row["threads"] is not None]
    lines = ["| loss | rows | faster than every peer | geometric mean | worst |", "|---|---|---|---|---|"]
    for loss in dict.fromkeys(row["loss"] for row in timed):
        ratios = {title(row): r for row in timed if row["loss"] == loss and (r := _against_fastest(row["cells"]))}
        if ratios:
            worst = max(ratios, key=lambda name: ratios[name])
            faster = sum(ratio < 1 for ratio in ratios.values())
            where = worst.split(": ", 1)[1]
            lines.append(
                f"| {loss} | {len(ratios)} | {faster} | {_mean(ratios.values()):.2f} | {ratios[worst]:.2f} ({where}) |"
            )
    if len(lines) == 2:
        return []
    meaning = (
        f"{OURS}'s time over that of the fastest peer (ce: of torch's own cross-entropy); below 1 {OURS} is faster."
    )
    return ["## Where it stands", meaning, "\n".join(lines)]


def _against_fastest(cells: dict[str, Cell]) -> float | None:
    ours = _milliseconds(cells, OURS)
    rivals = [YARDSTICK] if "off" in cells.get(YARDSTICK, {}) else PEERS
    others = [ms for name in rivals if cells.get(name, {}).get("same") and (ms := _milliseconds(cells, name))]
    return ours / min(others) if ours and others else None


def _milliseconds(cells: dict[str, Cell], name: str) -> float | None:
    return cells[name]["ms"][0] if cells.get(name, {}).get("status") == "timed" else None


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| loss | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in rows:
        cells = row["cells"]
        lines.append(f"| {row['loss']} | {' | '.join(text(cells, name) for name in COLUMNS)} |")
    return "\n".join(lines)


def _environment(environment: Environment) -> str:
    e = environment
    versions = ", ".join(f"{package} {number}" for package, number in e["versions"].items())
    hardware = f"{e['processor']} ({e['instructions']}), {e['cores']} cores, {e['memory_gb']} GB"
    return f"{e['date']}, commit {e['commit']}. {hardware}, {e['system']}, Python {e['python']}; {versions}."


def _what(threads: int | None) -> str:
    return "memory" if threads is None else f"{threads} thread" + ("s" if threads != 1 else "")


def _digits(milliseconds: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def _mean(ratios: Iterable[float]) -> float:
    """The geometric mean."""
    logs = [log(ratio) for ratio in ratios]
    return exp(sum(logs) / len(logs))
