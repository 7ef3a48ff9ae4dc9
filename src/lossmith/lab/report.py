"""The page: verdict, ranking, curves, gallery, cost, settings, in one HTML file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from markupsafe import Markup

from lossmith.lab import figures, pictures
from lossmith.lab.page import render
from lossmith.lab.plan import Plan
from lossmith.lab.records import Record
from lossmith.lab.score import LOWEST, THRESHOLDS
from lossmith.lab.statistics import Interval
from lossmith.lab.summary import Result, Scores
from lossmith.lab.verdict import ALPHA, MARGIN


def write_report(
    path: Path, plan: Plan, scores: Scores, records: Mapping[str, Sequence[Record]], result: Result
) -> None:
    """Write the page to `path`."""
    summary = cast(dict[str, Any], result.summary)
    ranking = list(result.fitted.ranking) if result.fitted else []
    page = render(
        "report.html.j2",
        filters={"points": _points},
        plan=plan,
        verdict=summary["verdict"],
        losses=summary["losses"],
        settings=summary["settings"],
        settings_json=json.dumps(summary["settings"], indent=2),
        tolerance=f"tolerance_{plan.settings.tolerance}px",
        figures=_figures(plan, scores, records, result) if ranking else {},
        gallery=gallery(plan, scores, records, ranking) if ranking else [],
        colours={loss: figures.colour(number) for number, loss in enumerate(ranking)},
        legend=[("found", pictures.RIGHT), ("extra", pictures.EXTRA), ("missed", pictures.MISSED)]
        + ([("other class", pictures.CONFUSED)] if len(plan.data.classes) > 2 else []),
        margin=MARGIN,
        alpha=ALPHA,
    )
    path.write_text(page, encoding="utf-8")


def _points(interval: Mapping[str, float | None]) -> str:
    """The mean with its interval below it, "0.705" and "0.690 to 0.721"; a dash where the score is undefined."""
    mean, low, high = (interval[key] for key in ("mean", "low", "high"))
    if mean is None or low is None or high is None:
        return "-"
    return Markup(f"{mean:.3f}<small>{low:.3f} to {high:.3f}</small>")


def _figures(plan: Plan, scores: Scores, records: Mapping[str, Sequence[Record]], result: Result) -> dict[str, str]:
    assert result.fitted is not None
    assert scores.curves is not None
    ranking = result.fitted.ranking
    order = [scores.losses.index(loss) for loss in ranking]
    entries = cast(list[dict[str, Any]], result.summary["losses"])[: len(ranking)]
    behind = [Interval(0.0, 0.0, 0.0), *(rival.difference.negative() for rival in result.fitted.rivals)]
    panels = [
        ("F1, cross-fitted threshold", [_interval(e["cross_fitted"]["f1"]) for e in entries]),
        ("against the leader, paired", behind),
        ("F1 at 0.5", [_interval(e["at_0.5"]["f1"]) for e in entries]),
        ("average precision", [_interval(e["average_precision"]) for e in entries]),
    ]
    drawn = {
        "intervals": figures.intervals(ranking, panels),
        "training": figures.training_curves(
            [*ranking, *scores.failed],
            [[r.curve() for r in records[loss]] for loss in (*ranking, *scores.failed)],
        ),
        "precision_recall": figures.precision_recall(
            ranking, plan.data.classes[1:], scores.curves.map(lambda a: a[order])
        ),
    }
    if len(ranking) > 1:
        by_image = scores.mean_over_classes("f1_cross_fitted").mean(axis=1)[order]
        drawn["differences"] = figures.paired_differences(ranking, by_image)
    return drawn


def _interval(entry: Mapping[str, float | None]) -> Interval:
    return Interval(*(np.nan if entry[key] is None else float(entry[key] or 0) for key in ("mean", "low", "high")))


@dataclass(frozen=True)
class Tile:
    """One loss on one image: its probabilities, its errors at the cross-fitted threshold, its F1 there."""

    loss: str
    heat: str
    errors: str
    f1: float


@dataclass(frozen=True)
class Row:
    """One test image under every loss."""

    title: str
    image: str
    truth: str
    tiles: list[Tile]


def gallery(plan: Plan, scores: Scores, records: Mapping[str, Sequence[Record]], ranking: Sequence[str]) -> list[Row]:
    """The images of best, median and worst mean F1 over losses and seeds, as predicted by the first seed."""
    f1 = scores.mean_over_classes("f1_cross_fitted")
    order = np.argsort(-f1.mean(axis=(0, 1)), kind="stable")
    places = {"Best": 0, "Median": len(order) // 2, "Worst": len(order) - 1}
    rows, seen = [], set[int]()
    for title, place in places.items():
        number = int(order[place])
        if number not in seen:
            seen.add(number)
            rows.append(_row(f"{title} image", plan, scores, records, ranking, number))
    return rows


def _row(
    title: str,
    plan: Plan,
    scores: Scores,
    records: Mapping[str, Sequence[Record]],
    ranking: Sequence[str],
    number: int,
) -> Row:
    sample = plan.data.test[number]
    f1 = scores.mean_over_classes("f1_cross_fitted")
    tiles = []
    for loss in ranking:
        at = scores.losses.index(loss)
        levels = records[loss][0].prediction(number)
        chosen = scores.columns["threshold_cross_fitted"][at, 0, number]
        predicted = pictures.decide(levels, np.searchsorted(THRESHOLDS, chosen) + LOWEST)
        errors = pictures.error_map(sample.image, sample.truth, predicted)
        heat = pictures.data_uri(pictures.heat_map(levels))
        tiles.append(Tile(loss, heat, pictures.data_uri(errors), float(f1[at, 0, number])))
    truth = pictures.paint(sample.truth, len(plan.data.classes))
    image = pictures.data_uri(sample.image.transpose(1, 2, 0).astype(np.float64))
    return Row(f"{title}: {sample.name}", image, pictures.data_uri(truth), tiles)
