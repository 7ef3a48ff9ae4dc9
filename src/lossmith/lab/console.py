"""Results in the terminal: ranking and verdict of a comparison, errors of a simulation; where the page is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from lossmith.lab.boxes import Simulation
    from lossmith.lab.compare import Comparison


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print the table, the verdict and the path of the page to `console`, by default standard output."""
    console = console or Console(highlight=False)
    table = Table(caption="mean of images (95 % interval); the verdict rests on the first column")
    table.add_column("loss", overflow="fold")
    for title in ("F1, cross-fitted threshold", "F1 at 0.5", "average precision", "s/run"):
        table.add_column(title, justify="right")
    for entry in comparison.summary["losses"]:
        if entry["trained"]:
            scores = (entry["cross_fitted"]["f1"], entry["at_0.5"]["f1"], entry["average_precision"])
            cells = [_cell(score) for score in scores]
        else:
            cells = ["did not train", "", ""]
        table.add_row(escape(entry["loss"]), *cells, f"{entry['seconds']:.0f}")
    console.print(table)
    console.print(escape(comparison.verdict), soft_wrap=True)
    console.print(escape(f"The page: {comparison.report}"), soft_wrap=True)


def print_simulation(simulation: Simulation, console: Console | None = None) -> None:
    """Print the errors and the path of the page to `console`, by default standard output."""
    console = console or Console(highlight=False)
    rows = simulation.summary["rows"]
    table = Table(caption=f"error by step, in millions: {rows[0]['cases']:,} cases scaled to 1,715,000")
    table.add_column("loss, gradient", overflow="fold")
    for step in rows[0]["errors"]:
        table.add_column(step, justify="right")
    table.add_column("arrived", justify="right")
    for row in rows:
        cells = ["-" if error is None else f"{error:.3f}" for error in row["errors"].values()]
        table.add_row(escape(row["name"]), *cells, f"{row['arrived']:.1%}")
    console.print(table)
    console.print(escape(f"The page: {simulation.report}"), soft_wrap=True)


def _cell(score: Mapping[str, float | None]) -> str:
    mean, low, high = (score[key] for key in ("mean", "low", "high"))
    if mean is None or low is None or high is None:
        return "-"
    return f"{mean:.3f} ({low:.3f}-{high:.3f})"
