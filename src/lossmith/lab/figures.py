"""The drawings of the page, as SVG text to be put into HTML."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from lossmith.lab.score import HALF, Counts, Floats
from lossmith.lab.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito (2008), black last
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#000000")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lossmith",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
MAX_POINTS = 300


def colour(number: int) -> str:
    """The colour of loss `number`, the same in every drawing."""
    return COLOURS[number % len(COLOURS)]


def svg(figure: Figure) -> str:
    """The figure as an <svg> element, without prologue, metadata and name spaces, needless in HTML."""
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    found = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    found = found[found.index("<svg") :]
    found = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", found)
    return re.sub(r'<svg ([^>]*?)width="[^"]*"\s?', r"<svg \1", re.sub(r'(<svg [^>]*?)\sheight="[^"]*"', r"\1", found))


def intervals(losses: Sequence[str], rows: Sequence[tuple[str, Sequence[Interval]]]) -> str:
    """Dots with intervals: losses from top to bottom, one panel for each (title, interval of each loss)."""
    with rc_context(STYLE):
        figure = Figure(figsize=(10.5, 0.9 + 0.38 * len(losses)), layout="constrained")
        panels = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
        for axes, (title, values) in zip(panels, rows, strict=True):
            for place, value in enumerate(values):
                axes.plot(
                    [value.low, value.high],
                    [place, place],
                    color=colour(place),
                    lw=2.5,
                    solid_capstyle="round",
                )
                axes.plot(value.mean, place, "o", color=colour(place), ms=7)
            axes.set_title(title, fontsize=9, loc="left")
        panels[0].set_yticks(range(len(losses)), losses)
        panels[0].set_ylim(len(losses) - 0.5, -0.5)
        return svg(figure)


def training_curves(losses: Sequence[str], curves: Sequence[Sequence[Floats]]) -> str:
    """A panel for each loss, as values of different losses cannot be compared; one line for each seed."""
    columns = min(3, len(losses))
    rows = -(-len(losses) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 2.2 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for number, (axes, loss, seeds) in enumerate(zip(panels, losses, curves, strict=False)):
            for values in seeds:
                steps, smooth = _smooth(values)
                axes.plot(steps, smooth, color=colour(number), lw=1.2, alpha=0.8)
            axes.set_title(loss, fontsize=10, loc="left")
            axes.set_xlabel("step")
        for axes in panels[len(losses) :]:
            axes.set_visible(False)
        return svg(figure)


def _smooth(values: Floats) -> tuple[Floats, Floats]:
    """Means of consecutive runs of steps, at most 300 of them, and where they end."""
    finite = values[np.isfinite(values)]
    parts = np.array_split(finite, min(len(finite), MAX_POINTS, max(1, len(finite) // 5))) if len(finite) else []
    ends = np.cumsum([len(part) for part in parts], dtype=np.float64)
    return ends, np.array([part.mean() for part in parts])


def precision_recall(losses: Sequence[str], classes: Sequence[str], curves: Counts) -> str:
    """Precision against recall of all test pixels and seeds together, by class, with a dot at 0.5."""
    pooled = curves.map(lambda a: a.sum(axis=1))
    precision = pooled.right / np.maximum(pooled.predicted, 1)
    recall = pooled.found / np.maximum(pooled.true, 1)
    with rc_context(STYLE):
        figure = Figure(figsize=(min(9.0, 4.8 * len(classes)), 4.2), layout="constrained")
        panels = figure.subplots(1, len(classes), squeeze=False)[0]
        for c, (axes, name) in enumerate(zip(panels, classes, strict=True)):
            for number, loss in enumerate(losses):
                shown = pooled.predicted[number, c] > 0
                axes.plot(recall[number, c][shown], precision[number, c][shown], color=colour(number), label=loss)
                if shown[HALF]:
                    axes.plot(recall[number, c, HALF], precision[number, c, HALF], "o", color=colour(number))
            _unit_square(axes, name)
        panels[0].legend(loc="lower left", fontsize=9)
        return svg(figure)


def _unit_square(axes: Axes, name: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="recall", ylabel="precision", aspect="equal")
    axes.set_title(name, fontsize=10, loc="left")


def paired_differences(losses: Sequence[str], scores: Floats) -> str:
    """Leader minus each other loss, image by image; `scores` (L, N) averaged over seeds, the leader first."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 0.8 + 0.55 * (len(losses) - 1)))
        axes = figure.subplots()
        axes.axvline(0, color="0.3", lw=1)
        axes.set_yticks(range(len(losses) - 1), [f"over {loss}" for loss in losses[1:]])
        for place in range(len(losses) - 1):
            difference = scores[0] - scores[place + 1]
            jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(difference))
            axes.plot(difference, place + jitter, "o", color=colour(place + 1), ms=4.5, alpha=0.65, mew=0)
            axes.plot([difference.mean()] * 2, [place - 0.33, place + 0.33], color=colour(place + 1), lw=2.5)
            ahead = f"ahead on {(difference > 0).sum()} of {len(difference)}"
            axes.annotate(ahead, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        axes.set_ylim(len(losses) - 1.5, -0.5)
        axes.set_xlabel(f"F1 of {losses[0]} minus F1 of the other, each dot an image")
        return svg(figure)
