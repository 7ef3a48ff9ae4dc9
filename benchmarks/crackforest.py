"""The tables of docs/crackforest.md from summaries: python benchmarks/crackforest.py DIR/summary.json ...

Those that the page shows are kept in benchmarks/results/crackforest*.json; `make crackforest` makes the first again.
"""

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = {
    "F1 cross-fitted": ("cross_fitted", "f1"),
    "F1 at 0.5": ("at_0.5", "f1"),
    "precision at 0.5": ("at_0.5", "precision"),
    "recall at 0.5": ("at_0.5", "recall"),
    "average precision": ("average_precision",),
    "all pixels: F1 at 0.5": ("dataset", "at_0.5", "f1"),
    "within 2 px: F1 at 0.5": ("tolerance_2px", "at_0.5", "f1"),
}


def cell(entry: dict[str, Any], path: tuple[str, ...]) -> str:
    for key in path:
        entry = entry[key]
    return f"{entry['mean']:.3f} ({entry['low']:.3f}-{entry['high']:.3f})"


def table(summary: dict[str, Any]) -> str:
    lines = [f"| loss | {' | '.join(COLUMNS)} | behind the leader | s/run |", "|---" * (len(COLUMNS) + 3) + "|"]
    for entry in summary["losses"]:
        cells = [cell(entry, path) for path in COLUMNS.values()]
        behind = entry.get("behind_leader")
        gap = (
            f"{behind['mean']:.3f} ({behind['low']:.3f}-{behind['high']:.3f}), p {behind['p_holm']:.2g}"
            if behind
            else "-"
        )
        lines.append(f"| `{entry['loss']}` | {' | '.join(cells)} | {gap} | {entry['seconds']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    for path in sys.argv[1:]:
        summary = json.loads(Path(path).read_text())
        print(f"`{summary['settings']['command']}`\n\n> {summary['verdict']}\n\n{table(summary)}\n")


if __name__ == "__main__":
    main()
