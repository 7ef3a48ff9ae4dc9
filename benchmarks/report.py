"""The results as a page that a person reads."""

from collections.abc import Iterable, Sequence

import goals
from contenders import OURS
from machine import Environment, summary
from measure import Cell
from rows import COLUMNS, Row, digits, mean, milliseconds, over_fastest, title, what

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
    parts = [INTRODUCTION.format(ours=OURS), summary(environment), *goals.table(rows), *_standing(rows)]
    for kind in dict.fromkeys((row["dtype"], row["workload"], row["threads"]) for row in rows):
        chosen = [row for row in rows if (row["dtype"], row["workload"], row["threads"]) == kind]
        dtype, workload, threads = kind
        loads = [row["load"] for row in chosen]
        heading = f"## {workload}, {dtype}, {what(threads)}"
        busy = f"Load of the machine when a row started: {min(loads):.1f} to {max(loads):.1f}."
        parts += [heading, busy, _table(chosen)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


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
        return f"{digits(middle)} ({digits(low)} to {digits(high)})"
    ours = milliseconds(cells, OURS)
    return (
        digits(middle)
        + (f" ({middle / ours:.2f}x)" if ours else "")
        + ("" if cell.get("same", True) else f", off {cell['off']:.1e}")
    )


def _standing(rows: Sequence[Row]) -> list[str]:
    """Where this library stands: its time over that of the fastest peer."""
    timed = [row for row in rows if row["threads"] is not None]
    lines = ["| loss | rows | faster than every peer | geometric mean | worst |", "|---|---|---|---|---|"]
    for loss in dict.fromkeys(row["loss"] for row in timed):
        ratios = {title(row): r for row in timed if row["loss"] == loss and (r := over_fastest(row["cells"]))}
        if ratios:
            worst = max(ratios, key=lambda name: ratios[name])
            faster = sum(ratio < 1 for ratio in ratios.values())
            where = worst.split(": ", 1)[1]
            lines.append(
                f"| {loss} | {len(ratios)} | {faster} | {mean(ratios.values()):.2f} | {ratios[worst]:.2f} ({where}) |"
            )
    if len(lines) == 2:
        return []
    meaning = (
        f"{OURS}'s time over that of the fastest peer (ce: of torch's own cross-entropy); below 1 {OURS} is faster."
    )
    return ["## Where it stands", meaning, "\n".join(lines)]


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| loss | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in rows:
        cells = row["cells"]
        lines.append(f"| {row['loss']} | {' | '.join(text(cells, name) for name in COLUMNS)} |")
    return "\n".join(lines)
