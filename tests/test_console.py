import io
from pathlib import Path

from rich.console import Console

from lossmith.lab.compare import Comparison
from lossmith.lab.console import print_comparison


def interval(mean):
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}


def test_each_score_is_in_its_column():
    entries = [
        {
            "loss": "dice[a]",
            "trained": True,
            "cross_fitted": {"f1": interval(0.71)},
            "at_0.5": {"f1": interval(0.52)},
            "average_precision": interval(0.63),
            "seconds": 84.2,
        },
        {"loss": "mse", "trained": False, "seconds": 5.0},
        {
            "loss": "ce",
            "trained": True,
            "cross_fitted": {"f1": interval(0.41)},
            "at_0.5": {"f1": interval(0.32)},
            "average_precision": {"mean": None, "low": None, "high": None},
            "seconds": 9.0,
        },
    ]
    console = Console(width=200, record=True, file=io.StringIO())
    comparison = Comparison({"losses": entries, "verdict": "No winner [x].", "settings": {}}, None, Path("out"))
    print_comparison(comparison, console)
    lines = console.export_text().splitlines()
    rows = [[cell.strip() for cell in line.replace("┃", "│").split("│") if cell.strip()] for line in lines]
    assert ["loss", "F1, cross-fitted threshold", "F1 at 0.5", "average precision", "s/run"] in rows
    assert ["dice[a]", "0.710 (0.700-0.720)", "0.520 (0.510-0.530)", "0.630 (0.620-0.640)", "84"] in rows
    assert ["mse", "did not train", "5"] in rows
    assert ["ce", "0.410 (0.400-0.420)", "0.320 (0.310-0.330)", "-", "9"] in rows
    assert "No winner [x]." in lines
    assert f"The page: {Path('out') / 'report.html'}" in lines
