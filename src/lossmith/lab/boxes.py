"""The story of the box simulation: which losses bring a box to its target, and how fast."""

from __future__ import annotations

import csv
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossmith import __version__
from lossmith.errors import check_whole

if TYPE_CHECKING:
    from lossmith.lab.box_descent import Descent, Floats
    from lossmith.lab.box_runs import Folder, Run

LOSSES = ("box_l1", "box_smooth_l1", "box_iou", "giou", "diou", "ciou")
POINTS = 250
FULL_POINTS = 5000
SHOWN_STEPS = (1, 50, 100, 160, 200)


@dataclass(frozen=True)
class Simulation:
    """What a simulation found and where it lies.

    Attributes:
        summary: the content of simulation.json: "rows", one for each loss and kind of gradient, and "settings".
        out: the folder; `report` is the page in it.
    """

    summary: dict[str, Any]
    out: Path

    @property
    def report(self) -> Path:
        """The page, one self-contained HTML file."""
        return self.out / "boxes.html"


def simulate_boxes(
    losses: Sequence[str] = LOSSES,
    *,
    out: str | Path,
    points: int = POINTS,
    seed: int | None = None,
    gradients: str = "all",
    progress: bool = True,
) -> Simulation:
    """Let boxes descend to their targets under each loss, as in the simulation of the DIoU paper.

    Finished parts are on disk at once. The same call again continues an interrupted simulation; more losses or
    gradients with the same `out` compute only what is missing.

    Args:
        losses: specs of single box losses, such as "giou" or "ciou(gradient='full')".
        out: folder of the results.
        points: starting points, of 343 cases each; 5000 is the paper's size.
        seed: None for the points of a sunflower, evenly spread; else they are drawn at random, as the paper's are.
        gradients: "exact", those of the losses; "published", those of the code published with the paper, which has them
            for box_iou, giou, diou and ciou; or "all".
        progress: show a bar, or lines where there is no terminal.

    Returns:
        Summary and paths. boxes.html, curves.svg, curves.csv, points.csv and simulation.json are written to `out`.

    Raises:
        ValueError: an argument is out of range, a spec is not a box loss, or `out` holds another simulation.
    """
    check_whole("points", points, 1)
    check_whole("seed", 0 if seed is None else seed, 0)
    from lossmith.lab.box_descent import starting_points
    from lossmith.lab.box_runs import Folder, compute, make_runs

    runs = make_runs(losses, gradients)
    identity = {"simulation": "boxes", "points": points, "seed": seed, "lossmith": __version__}
    folder = Folder(Path(out), identity)
    places = starting_points(points, seed)
    found = compute(runs, places, folder, progress=progress)
    command = _command_line(losses, points=points, seed=seed, gradients=gradients, out=out)
    summary = {"rows": [_row(run, found[run]) for run in runs], "settings": _settings(identity, command)}
    _write(folder, summary, places, found)
    return Simulation(summary, folder.out)


def _row(run: Run, found: Descent) -> dict[str, Any]:
    """Errors are sums over all cases in millions, scaled to the paper's 5000 points."""
    from lossmith.lab.box_descent import CASES

    points = len(found.final)
    curve = [_number(error * FULL_POINTS / points / 1e6) for error in found.curve.tolist()]
    return {
        "loss": run.loss,
        "gradient": run.kind,
        "name": run.name,
        "cases": points * CASES,
        "arrived": float(found.arrived.sum()) / (points * CASES),
        "errors": {str(step): curve[step] for step in SHOWN_STEPS},
        "curve": curve,
    }


def _number(x: float) -> float | None:
    """As JSON has it."""
    return x if math.isfinite(x) else None


def _settings(identity: Mapping[str, object], command: str) -> dict[str, object]:
    from lossmith.lab.box_descent import AREAS, ASPECTS, NEAR, RADIUS, STEPS
    from lossmith.lab.environment import hardware, versions

    return {
        "command": command,
        **identity,
        "radius": RADIUS,
        "aspects": ASPECTS,
        "areas": AREAS,
        "steps": STEPS,
        "rates": {"1-160": 0.1, "161-180": 0.01, "181-200": 0.001},
        "arrived_below": NEAR,
        "versions": versions(),
        "hardware": hardware(),
    }


def _command_line(losses: Sequence[str], *, points: int, seed: int | None, gradients: str, out: str | Path) -> str:
    """The shell command of a simulation; defaults are left out."""
    words = ["lossmith", "simulate", "boxes"]
    for loss in losses if tuple(losses) != LOSSES else ():
        words += ["--loss", loss]
    if points == FULL_POINTS:
        words += ["--full"]
    elif points != POINTS:
        words += ["--points", str(points)]
    words += [] if seed is None else ["--seed", str(seed)]
    words += [] if gradients == "all" else ["--gradients", gradients]
    return shlex.join([*words, "--out", str(out)])


def _write(folder: Folder, summary: Mapping[str, Any], points: Floats, found: Mapping[Run, Descent]) -> None:
    """The files of a simulation but its parts."""
    from lossmith.lab.box_descent import CASES
    from lossmith.lab.box_page import curves_file, write_page

    names = [run.name for run in found]
    with folder.replace("simulation.json") as path:
        path.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    steps = zip(*(row["curve"] for row in summary["rows"]), strict=True)
    _table(folder, "curves.csv", ["step", *names], [(step, *errors) for step, errors in enumerate(steps)])
    ends = zip(points.tolist(), *((descent.final / CASES).tolist() for descent in found.values()), strict=True)
    _table(folder, "points.csv", ["x", "y", *names], [(*point, *errors) for point, *errors in ends])
    with folder.replace("curves.svg") as path:
        curves_file(path, summary["rows"])
    with folder.replace("boxes.html") as path:
        write_page(path, summary, points, found)


def _table(folder: Folder, name: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with folder.replace(name) as path, path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
