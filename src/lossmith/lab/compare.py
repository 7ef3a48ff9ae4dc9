"""The story of a comparison: plan, train, score, records, statistics, report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lossmith.errors import check_whole

if TYPE_CHECKING:
    import pyarrow as pa

    from lossmith.data import Data
    from lossmith.lab.plan import Plan
    from lossmith.lab.records import Record, Store

THRESHOLD_RULE = (
    "cross-fitted: the test images are dealt into 4 folds, the same for every loss and seed; the threshold "
    "of a fold is the one of 256 with the highest mean F1 per image on the other folds, so never chosen on the "
    "images it is scored on; one for each loss, seed and class"
)


@dataclass(frozen=True)
class Comparison:
    """What a comparison found and where it lies.

    Attributes:
        summary: the content of summary.json: "losses" (best first), "verdict", "settings".
        scores: the content of scores.parquet: one row per loss, seed, test image and class.
        out: the folder; `report` is the page in it.
    """

    summary: dict[str, Any]
    scores: pa.Table
    out: Path

    @property
    def verdict(self) -> str:
        """The sentence that the page begins with."""
        return str(self.summary["verdict"])

    @property
    def report(self) -> Path:
        """The page, one self-contained HTML file."""
        return self.out / "report.html"


def compare(
    data: str | Path | Data,
    losses: Sequence[str],
    *,
    out: str | Path,
    seeds: int = 3,
    steps: int | None = None,
    epochs: float | None = None,
    model: str = "unet",
    batch: int = 8,
    crop: int | None = None,
    lr: float = 3e-3,
    tolerance: int = 2,
    classes: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
    data_seed: int = 0,
    test: float = 0.2,
    accelerator: str = "auto",
    precision: str = "32-true",
    threads: int | None = None,
    jobs: int = 1,
    progress: bool = True,
) -> Comparison:
    """Train one model with each of `losses` on the same weights and batches, and say which loss did better.

    A finished run is on disk at once. The same call again continues an interrupted comparison; more losses or
    seeds with the same `out` train only what is missing.

    Args:
        data: "shapes", "cracks" or a folder, for which `classes`, `labels`, `data_seed` and `test` are those
            of `lossmith.data.load`; or what `load` gave, for which they are not used.
        losses: specs such as "ce", "0.5*ce + dice", "focal(gamma=2)" or "my.module:MyLoss".
        out: folder of the results.
        seeds: runs per loss, with seeds 0, 1, ... Fewer than 3 never name a winner.
        steps: training steps of a run (450 unless `epochs` is given).
        epochs: training steps as passes over the training images; excludes `steps`.
        model: "unet", "unet-depthwise" or "module:factory", which is called as
            ``factory(in_channels=3, out_channels=C)``.
        batch: images in a batch.
        crop: side of the training crops in pixels; 256, or less where the smallest image is smaller, if None.
        lr: peak learning rate.
        tolerance: distance in pixels within which the tolerant scores count a pixel as found.
        classes: names of the classes of a folder.
        labels: mask values that are foreground.
        data_seed: seed of the split.
        test: share of the images that are tested on.
        accelerator: "auto", "cpu", "gpu", as Lightning Fabric names them.
        precision: "32-true", "bf16-mixed", "16-mixed" or "64-true".
        threads: threads of a run; PyTorch's own number if None (1 where several runs go at once).
        jobs: runs that go at the same time, each in a process of its own.
        progress: show bars, or lines where there is no terminal.

    Returns:
        Summary, scores and paths. summary.json, scores.parquet and report.html are written to `out`.

    Raises:
        ValueError: an argument is out of range, a spec is not one, or `out` holds another comparison.
        FileNotFoundError: there is no such data.
    """
    from lossmith.data import load
    from lossmith.lab.environment import command_line
    from lossmith.lab.machine import Machine
    from lossmith.lab.plan import Settings, budget, default_crop, make_plan
    from lossmith.lab.records import Store
    from lossmith.lab.runs import run_missing

    check_whole("jobs", jobs, 1)
    if threads is not None:
        check_whole("threads", threads, 1)
    asked: dict[str, object] = {}
    source = str(data)
    if isinstance(data, str | Path):
        asked = {"classes": classes, "labels": labels, "data-seed": data_seed, "test": test}
        data = load(data, classes=classes, labels=labels, seed=data_seed, test=test)
    else:
        source = data.name
    number = budget(steps, epochs, images=len(data.train), batch=batch)
    crop = default_crop(data.train) if crop is None else crop
    settings = Settings(model, number, batch, crop, lr, tolerance, precision)
    plan = make_plan(data, losses, seeds=seeds, settings=settings)
    store = Store(Path(out))
    machine = Machine(accelerator, threads if threads is not None or jobs == 1 else 1)
    run_missing(plan, store, machine=machine, jobs=jobs, progress=progress)
    options = {**asked, **asdict(settings), "seeds": seeds, "accelerator": accelerator, "out": out}
    return _conclude(plan, store, command_line(source, plan.losses, options))


def _conclude(plan: Plan, store: Store, command: str) -> Comparison:
    """Score, judge and write the three files from the records of the runs."""
    import pyarrow.parquet as parquet

    from lossmith.lab.report import write_report
    from lossmith.lab.summary import collect, summarise, table

    records: dict[str, list[Record]] = {loss: [] for loss in plan.losses}
    for trial in plan.trials:
        record = store.find(trial)
        assert record is not None, trial
        records[trial.loss].append(record)
    scores = collect(plan, records)
    result = summarise(plan, scores, records, _settings(plan, records, command))
    rows = table(plan, scores)
    with store.replace("scores.parquet") as path:
        parquet.write_table(rows, path)
    with store.replace("summary.json") as path:
        path.write_text(json.dumps(result.summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    with store.replace("report.html") as path:
        write_report(path, plan, scores, records, result)
    return Comparison(result.summary, rows, store.out)


def _settings(plan: Plan, records: Mapping[str, Sequence[Record]], command: str) -> dict[str, object]:
    from lossmith.lab.environment import hardware, versions
    from lossmith.lab.train import OPTIMISER

    runs = [record.run for group in records.values() for record in group]
    return {
        "command": command,
        "data": {
            "name": plan.data.name,
            "task": plan.data.task,
            "classes": list(plan.data.classes),
            "train_images": len(plan.data.train),
            "test_images": len(plan.data.test),
            "fingerprint": plan.data.fingerprint,
        },
        **asdict(plan.settings),
        "seeds": list(plan.seeds),
        "parameters": runs[0]["parameters"],
        "optimiser": OPTIMISER,
        "threshold_rule": THRESHOLD_RULE,
        "threads": sorted({cast(int, run["threads"]) for run in runs}),
        "device": sorted({str(run["device"]) for run in runs}),
        "trained_with": {
            name: sorted({str(run.get(name, "unknown")) for run in runs}) for name in ("lossmith", "torch")
        },
        "versions": versions(),
        "hardware": hardware(),
    }
