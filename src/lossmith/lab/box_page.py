"""The page of a box simulation: curves, table, where boxes fail, and boxes that move; one HTML file without network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from matplotlib import rc_context
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lossmith.lab import figures
from lossmith.lab.box_descent import CASES, STEPS, Descent, Floats, errors, walk
from lossmith.lab.box_runs import Run
from lossmith.lab.page import render

if TYPE_CHECKING:
    from torch import Tensor

Row = Mapping[str, Any]

EVERY = 2  # steps between two pictures of the animation
# Prediction and target as (x, y, w, h), the target's centre at (0, 0).
SCENES = {
    "apart, another shape": ((2.1, 1.4, 0.7, 1.4), (0.0, 0.0, 1.4, 0.7)),
    "apart along x": ((2.4, 0.0, 0.8, 0.8), (0.0, 0.0, 1.0, 1.0)),
    "around the target": ((0.2, 0.1, 1.4, 1.4), (0.0, 0.0, 1.0, 1.0)),
    "a corner in common": ((0.9, -0.8, 1.2, 1.2), (0.0, 0.0, 0.5, 2.0)),
}
# What can be read off the paper's figure of the same curves, in millions: step and error.
PAPER = {"box_iou": {200: "5.9"}, "giou": {160: "1.87", 200: "1.5"}, "diou": {160: "0.40", 200: "about 0"}}


def write_page(path: Path, summary: Mapping[str, Any], points: Floats, found: Mapping[Run, Descent]) -> None:
    """Write the page to `path`."""
    rows = cast(list[dict[str, Any]], summary["rows"])
    settings = cast(dict[str, Any], summary["settings"])
    page = render(
        "boxes.html.j2",
        rows=rows,
        sentence=sentence(rows),
        settings=settings,
        settings_json=json.dumps(settings, indent=2),
        paper=PAPER,
        colours=_colours(rows),
        cases=rows[0]["cases"],
        steps=list(rows[0]["errors"]),
        curves={scale: figures.svg(curves(rows, scale)) for scale in ("log", "linear")},
        maps=maps(rows, points, list(found.values())),
        scenes=json.dumps(scenes(list(found)), separators=(",", ":")),
    )
    path.write_text(page, encoding="utf-8")


def sentence(rows: Sequence[Row]) -> str:
    """What the page begins with: the final errors, smallest first."""
    parts = []
    for kind, words in (("exact", "With exact gradients"), ("published", "With those of the published code")):
        chosen = [row for row in rows if row["gradient"] == kind and row["errors"][str(STEPS)] is not None]
        ends = sorted((row["errors"][str(STEPS)], row["loss"]) for row in chosen)
        if ends:
            parts.append(f"{words}: {', '.join(f'{loss} {end:.3f}' for end, loss in ends)}.")
    return f"Error after {STEPS} steps, in millions. " + " ".join(parts)


def _colours(rows: Sequence[Row]) -> dict[str, str]:
    losses = dict.fromkeys(row["loss"] for row in rows)
    return {loss: figures.colour(number) for number, loss in enumerate(losses)}


def curves(rows: Sequence[Row], scale: str) -> Figure:
    """Error against steps: exact gradients in one panel, those of the published code in another."""
    titles = {"exact": "exact gradients", "published": "gradients of the published code"}
    panels = [kind for kind in titles if any((row["gradient"] == "exact") == (kind == "exact") for row in rows)]
    colours = _colours(rows)
    with rc_context(figures.STYLE):
        figure = Figure(figsize=(5.2 * len(panels), 4.2), layout="constrained")
        drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, kind in zip(drawn, panels, strict=True):
            for row in rows:
                if (row["gradient"] == "exact") == (kind == "exact"):
                    clamped = row["gradient"] == "clamped"
                    label = f"{row['loss']}, intersection clamped" if clamped else row["loss"]
                    values = [math.nan if value is None else value for value in row["curve"]]
                    axes.plot(values, color=colours[row["loss"]], ls="--" if clamped else "-", lw=1.8, label=label)
            limits = (1e-3, 60) if scale == "log" else (0, 9.5)  # room for the legend
            axes.set(yscale=scale, xlabel="step", xlim=(0, STEPS), ylim=limits)
            axes.set_title(titles[kind], fontsize=10, loc="left")
            axes.legend(fontsize=8, loc="upper right", ncols=2)
        drawn[0].set_ylabel("error, millions")
        return figure


def curves_file(path: Path, rows: Sequence[Row]) -> None:
    """Write the curves as an SVG file of their own."""
    with rc_context(figures.STYLE):
        curves(rows, "log").savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})


def maps(rows: Sequence[Row], points: Floats, found: Sequence[Descent]) -> str:
    """Where boxes that do not arrive have started: the mean error of each starting point after the last step."""
    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    with rc_context(figures.STYLE):
        figure = Figure(figsize=(2.6 * columns + 0.8, 2.7 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        size = min(60.0, 9000 / len(points))
        for axes, row, descent in zip(panels, rows, found, strict=False):
            seen = axes.scatter(
                *points.T, c=descent.final / CASES, s=size, norm=LogNorm(1e-3, 10), cmap="viridis", rasterized=True
            )
            axes.set(aspect="equal", xticks=[], yticks=[])
            axes.set_title(row["name"].replace(", ", "\n", 1), fontsize=8, loc="left")
        for axes in panels[len(rows) :]:
            axes.set_visible(False)
        figure.colorbar(seen, ax=panels, label="error after the last step", shrink=0.7)
        return figures.svg(figure)


def scenes(runs: Sequence[Run]) -> dict[str, Any]:
    """The boxes of some cases at every second step under each run, for the animation."""
    import torch

    boxes, targets = (torch.tensor([scene[i] for scene in SCENES.values()], dtype=torch.float64) for i in (0, 1))
    colours = _colours([{"loss": run.loss} for run in runs])
    return {
        "names": list(SCENES),
        "targets": targets.tolist(),
        "every": EVERY,
        "runs": [
            {
                "name": run.name,
                "colour": colours[run.loss],
                **_frames([*walk(run.gradient, boxes, targets)][::EVERY], targets),
            }
            for run in runs
        ],
    }


def _frames(steps: Sequence[Tensor], targets: Tensor) -> dict[str, Any]:
    """Boxes and errors by scene and picture, to three digits."""
    import torch

    seen = torch.stack([torch.nan_to_num(boxes, nan=0.0, posinf=99.0, neginf=-99.0) for boxes in steps])
    away = torch.stack([errors(boxes, targets) for boxes in seen])
    return {
        "boxes": [[[round(x, 3) for x in box] for box in scene] for scene in seen.transpose(0, 1).tolist()],
        "errors": [[round(x, 3) for x in scene] for scene in away.T.tolist()],
    }
