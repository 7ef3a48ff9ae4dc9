"""The goals, and what the rows say of them: plain arithmetic on the rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from contenders import OURS, PLAIN, YARDSTICK
from rows import Row, digits, mean, milliseconds, over, over_fastest, what
from workloads import WORKLOADS, Workload

SEPARABLE = ("ce", "focal", "dice", "jaccard", "tversky", "gdice", "dice+ce", "dice+ce+focal")
ALONE = ("dice", "jaccard", "tversky", "focal", "gdice")
# A reduced workload stands for its full one.
_WORKLOAD = {w.name: full for full in WORKLOADS for w in (full.reduced(), full)}


@dataclass(frozen=True)
class Goal:
    """A number to reach: the ratio of a row must be at most `reach`, in every row or in the geometric mean."""

    text: str
    reach: float
    ratio: Callable[[Row, Sequence[Row]], float | None]
    losses: tuple[str, ...]
    on: Callable[[Workload], bool]
    mean: bool = False


def _against_yardstick(row: Row, _: Sequence[Row]) -> float | None:
    return over(row["cells"], YARDSTICK)


def _against_plain(row: Row, _: Sequence[Row]) -> float | None:
    return over(row["cells"], YARDSTICK if row["loss"] == "ce" else PLAIN)


def _against_peers(row: Row, _: Sequence[Row]) -> float | None:
    return over_fastest(row["cells"])


def _against_two_terms(row: Row, rows: Sequence[Row]) -> float | None:
    """Dice+CE+focal over Dice+CE of the same pool, workload, dtype and threads."""
    wanted = (row["loss"].replace("+focal", ""), row["workload"], row["dtype"], row["threads"])
    found = (other for other in rows if (other["loss"], other["workload"], other["dtype"], other["threads"]) == wanted)
    twin = next(found, None)
    ours = milliseconds(row["cells"], OURS)
    other = milliseconds(twin["cells"], OURS) if twin else None
    return ours / other if ours and other else None


def _peak(row: Row, _: Sequence[Row]) -> float | None:
    cell = row["cells"].get(OURS, {})
    return cell["peak"] if cell.get("status") == "measured" else None


def _many(w: Workload) -> bool:
    return not w.small and w.shape[1] in (21, 64)


def _few(w: Workload) -> bool:
    return not w.small and not _many(w)


def _large(w: Workload) -> bool:
    return not w.small


def _lovasz(w: Workload) -> bool:
    return w.shape[1] == 21


def _small(w: Workload) -> bool:
    return w.small


GOALS = (
    Goal("dice+ce over F.cross_entropy alone, 21 and 64 classes", 1.0, _against_yardstick, ("dice+ce",), _many),
    Goal("dice+ce over F.cross_entropy alone, 4 classes and binary", 1.5, _against_yardstick, ("dice+ce",), _few),
    Goal("dice+ce over the fastest peer's, geometric mean", 1 / 3, _against_peers, ("dice+ce",), _large, mean=True),
    Goal("dice+ce over the fastest peer's, every row", 1.0, _against_peers, ("dice+ce",), _large),
    *(Goal(f"{loss} over the fastest peer's", 1.0, _against_peers, (loss,), _large) for loss in ALONE),
    Goal("dice+ce+focal over dice+ce", 1.4, _against_two_terms, ("dice+ce+focal",), _large),
    Goal("memory at peak in units of the logits, separable losses and sums", 1.15, _peak, SEPARABLE, _large),
    Goal("memory at peak in units of the logits, Lovasz", 3.2, _peak, ("lovasz",), _large),
    Goal("Lovasz over the fastest peer's, 21 classes", 0.5, _against_peers, ("lovasz",), _lovasz),
    Goal("small input: over plain torch code", 1.3, _against_plain, (*SEPARABLE, "lovasz"), _small),
)


def concerned(goal: Goal, rows: Sequence[Row]) -> list[Row]:
    """The rows that a goal is about."""
    memory = goal.ratio is _peak
    return [
        row
        for row in rows
        if row["loss"].split(",")[0] in goal.losses
        and goal.on(_WORKLOAD[row["workload"]])
        and (row["threads"] is None) == memory
    ]


def table(rows: Sequence[Row]) -> list[str]:
    """The section on the goals, a table for each dtype."""
    if not rows:
        return []
    meaning = (
        f"{OURS}'s time, forward and backward, over another's, or its memory: at most the number beside it. Every pool "
        "and thread count measured is a row; the worst row decides, or the geometric mean where the goal is one."
    )
    if any(row["workload"] not in {w.name for w in WORKLOADS} for row in rows):
        meaning += " The inputs here are of reduced size, where the cost of calls weighs more: no proof either way."
    parts = ["## The goals", meaning]
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        lines = [f"| goal ({dtype}) | at most | measured | rows | reached | where |", "|---|---|---|---|---|---|"]
        parts.append("\n".join([*lines, *_lines([row for row in rows if row["dtype"] == dtype])]))
    return parts + _small_table(rows)


def _lines(rows: Sequence[Row]) -> Iterable[str]:
    for goal in GOALS:
        about = concerned(goal, rows)
        found = [(row, ratio) for row in about if (ratio := goal.ratio(row, rows)) is not None]
        failed = sum(row["cells"].get(OURS, {}).get("status") in ("failed", "absent") for row in about)
        if not found:
            yield f"| {goal.text} | {goal.reach:.2f} | - | 0 | not measured | |"
            continue
        row, worst = max(found, key=lambda pair: pair[1])
        number = mean(ratio for _, ratio in found) if goal.mean else worst
        kept = sum(ratio <= goal.reach for _, ratio in found)
        verdict = "yes" if number <= goal.reach and not failed else "no"
        if not goal.mean:
            verdict += f" ({kept} of {len(found)})"
        if failed:
            verdict += f", {failed} rows failed"
        where = "" if goal.mean else f"{row['loss']}, {row['workload']}, {what(row['threads'])}"
        yield f"| {goal.text} | {goal.reach:.2f} | {number:.2f} | {len(found)} | {verdict} | {where} |"


def _small_table(rows: Sequence[Row]) -> list[str]:
    """Every row on a small input beside the plain code."""
    lines = [f"| loss | on | {OURS}, ms | {PLAIN}, ms | ratio |", "|---|---|---|---|---|"]
    for row in rows:
        ratio, ours = _against_plain(row, rows), milliseconds(row["cells"], OURS)
        if _WORKLOAD[row["workload"]].small and ratio and ours:
            on = f"{row['workload']}, {row['dtype']}, {what(row['threads'])}"
            lines.append(f"| {row['loss']} | {on} | {digits(ours)} | {digits(ours / ratio)} | {ratio:.2f} |")
    return ["## Small input beside plain torch code", "\n".join(lines)] if len(lines) > 2 else []
