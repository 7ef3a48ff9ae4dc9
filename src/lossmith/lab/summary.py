"""The table of scores and what is said about it: scores.parquet and summary.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, cast

import numpy as np

from lossmith.lab.files import Json
from lossmith.lab.plan import Plan
from lossmith.lab.records import Record
from lossmith.lab.score import RULES, Counts, Floats, overlap, score
from lossmith.lab.statistics import Bootstrap, Interval
from lossmith.lab.verdict import Judgement, judge, verdict

if TYPE_CHECKING:
    import pyarrow as pa

METRICS = ("f1", "precision", "recall", "iou")
UNIT = (0.0, 1.0)


@dataclass(frozen=True)
class Scores:
    """Every number of the losses that trained.

    Attributes:
        losses: L canonical specs.
        columns: name -> (L, S, N, F) over seeds, test images and foreground classes.
        curves: exact counts over all test images at every threshold, fields (L, S, F, T).
        failed: the losses that did not train, with when.
    """

    losses: tuple[str, ...]
    columns: Mapping[str, Floats]
    curves: Counts | None
    failed: Mapping[str, str]

    def mean_over_classes(self, name: str) -> Floats:
        """(L, S, N): mean over the foreground classes whose score is defined, NaN where there is none."""
        column = self.columns[name]
        defined = ~np.isnan(column)
        total = np.where(defined, column, 0.0).sum(axis=-1)
        return np.where(defined.any(axis=-1), total / np.maximum(defined.sum(axis=-1), 1), np.nan)


def collect(plan: Plan, records: Mapping[str, Sequence[Record]]) -> Scores:
    """Scores of the runs of each loss, seeds in order; a loss with a run that diverged is not scored."""
    failed = {loss: text for loss, runs in records.items() if (text := _failure(runs))}
    losses = tuple(loss for loss in plan.losses if loss not in failed)
    suffix = tolerance_suffix(plan)
    rows: list[list[dict[str, Floats]]] = []
    curves: list[Counts] = []
    for loss in losses:
        rows.append([])
        pooled = []
        for record in records[loss]:
            exact, near = record.counts()
            tolerant = {name + suffix: column for name, column in score(near).items()}
            rows[-1].append({**score(exact), **tolerant})
            pooled.append(exact.map(lambda a: a.sum(axis=0)))
        curves.append(Counts.stack(pooled))
    names = rows[0][0] if rows else {}
    columns = {name: np.array([[run[name] for run in runs] for runs in rows]) for name in names}
    return Scores(losses, columns, Counts.stack(curves) if curves else None, failed)


def tolerance_suffix(plan: Plan) -> str:
    """End of the names of the columns scored with tolerance."""
    return f"_{plan.settings.tolerance}px"


def _failure(runs: Sequence[Record]) -> str:
    parts = [f"seed {run['seed']} at step {run['diverged_at']}" for run in (r.run for r in runs) if run["diverged_at"]]
    return ", ".join(parts)


def table(plan: Plan, scores: Scores) -> pa.Table:
    """One row per loss, seed, test image and foreground class."""
    import pyarrow as pa

    shape = (len(scores.losses), len(plan.seeds), len(plan.data.test), len(plan.data.classes) - 1)
    keys = [scores.losses, plan.seeds, plan.data.test.names, plan.data.classes[1:]]
    axes = np.indices(shape).reshape(4, -1)
    head = {
        name: [values[i] for i in axis]
        for name, values, axis in zip(("loss", "seed", "image", "class"), keys, axes, strict=True)
    }
    return pa.table({**head, **{name: column.ravel() for name, column in scores.columns.items()}})


@dataclass(frozen=True)
class Result:
    """Everything the page shows besides pictures: judgements, and the content of summary.json."""

    fitted: Judgement | None
    at_half: Judgement | None
    summary: Json


def summarise(plan: Plan, scores: Scores, records: Mapping[str, Sequence[Record]], settings: Json) -> Result:
    """Intervals, judgements, verdict."""
    bootstrap = Bootstrap(len(plan.seeds), len(plan.data.test))
    fitted = at_half = None
    if scores.losses:
        at_half, fitted = (judge(scores.losses, scores.mean_over_classes(f"f1_{rule}"), bootstrap) for rule in RULES)
    ranking = [*(fitted.ranking if fitted else ()), *scores.failed]
    entries = [_entry(plan, loss, scores, records[loss], bootstrap, fitted) for loss in ranking]
    sentence = verdict(fitted, at_half, seeds=len(plan.seeds), failed=scores.failed)
    return Result(fitted, at_half, {"losses": entries, "verdict": sentence, "settings": settings})


def _entry(
    plan: Plan,
    loss: str,
    scores: Scores,
    runs: Sequence[Record],
    bootstrap: Bootstrap,
    fitted: Judgement | None,
) -> Json:
    facts = [record.run for record in runs]
    head: Json = {"loss": loss, "trained": loss in scores.losses, "seeds": len(runs)}
    peaks = [peak for run in facts if (peak := cast(float | None, run["peak_memory_mb"])) is not None]
    cost: Json = {
        "seconds": float(np.mean([cast(float, run["seconds"]) for run in facts])),
        "peak_memory_mb": max(peaks, default=None),
    }
    if loss in scores.failed:
        return {**head, "failure": scores.failed[loss], **cost}
    at, suffix = scores.losses.index(loss), tolerance_suffix(plan)
    rival = next((r for r in fitted.rivals if r.loss == loss), None) if fitted else None
    return {
        **head,
        **_metrics(scores, at, "", bootstrap),
        f"tolerance{suffix}": _metrics(scores, at, suffix, bootstrap),
        "dataset": {rule: _dataset(scores, at, rule, bootstrap) for rule in RULES},
        "behind_leader": {**_finite(rival.difference), "p_holm": rival.p} if rival else None,
        **cost,
    }


def _metrics(scores: Scores, at: int, suffix: str, bootstrap: Bootstrap) -> Json:
    def interval(name: str) -> Json:
        return _finite(bootstrap.mean(scores.mean_over_classes(name + suffix)[at], within=UNIT))

    rules: Json = {rule: {metric: interval(f"{metric}_{rule}") for metric in METRICS} for rule in RULES}
    thresholds = scores.columns[f"threshold_cross_fitted{suffix}"][at]
    cast(Json, rules["cross_fitted"])["threshold"] = float(thresholds.mean())
    return {**rules, "average_precision": interval("average_precision")}


def _dataset(scores: Scores, at: int, rule: str, bootstrap: Bootstrap) -> Json:
    """Metrics of the counts summed over all test images, then averaged over classes and seeds."""
    counts = np.stack([scores.columns[f"{field.name}_{rule}"][at] for field in fields(Counts)])

    def interval(metric: str) -> Interval:
        return bootstrap.pooled(counts, lambda sums: overlap(Counts(*sums))[metric])

    return {metric: _finite(interval(metric)) for metric in METRICS}


def _finite(interval: Interval) -> Json:
    return {key: value if math.isfinite(value) else None for key, value in interval.as_dict().items()}
