"""The files of a comparison. A finished run is on disk at once and whole: its folder gets its name last.

OUT/comparison.json                    what the comparison is
OUT/trials/<loss>/seed-<k>/            run.json  curve.npz  counts.npz  predictions.npz
OUT/tensorboard/<loss>/seed-<k>/       event files, also of the run in progress
OUT/summary.json  scores.parquet  report.html
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from lossmith.lab.files import Json, read_identity, replaced
from lossmith.lab.plan import Plan, Trial
from lossmith.lab.score import Counts, Levels

COMPARISON = "comparison.json"


@dataclass(frozen=True)
class Record:
    """A finished run as it lies on disk."""

    folder: Path

    @property
    def run(self) -> Json:
        """Its facts: loss, seed, seconds, peak memory, the step at which it diverged or None, and so on."""
        return cast(Json, json.loads((self.folder / "run.json").read_text(encoding="utf-8")))

    @property
    def trained(self) -> bool:
        """False where the loss or the network's output stopped being finite."""
        return self.run["diverged_at"] is None

    def curve(self) -> NDArray[np.float64]:
        """Loss at every step."""
        with np.load(self.folder / "curve.npz") as file:
            return cast(NDArray[np.float64], file["loss"])

    def counts(self) -> tuple[Counts, Counts]:
        """Counts (N, F, T): exact, and with the comparison's tolerance."""
        with np.load(self.folder / "counts.npz") as file:
            exact, near = (Counts(**{f.name: file[f"{k}_{f.name}"] for f in fields(Counts)}) for k in KINDS)
        return exact, near

    def prediction(self, image: int) -> Levels:
        """Levels (F, H, W) of test image number `image`."""
        with np.load(self.folder / "predictions.npz") as file:
            return cast(Levels, file[str(image)])


KINDS = ("exact", "near")


class Draft:
    """A run being written, in a folder that is not yet a record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, *, run: Mapping[str, object], curve: NDArray[np.float64], counts: tuple[Counts, ...]) -> None:
        """Write all but the predictions; a run that diverged has no counts."""
        named = zip(KINDS, counts, strict=False)
        arrays = {f"{kind}_{f.name}": getattr(c, f.name) for kind, c in named for f in fields(Counts)}
        np.savez_compressed(self.folder / "curve.npz", loss=curve)
        if arrays:
            np.savez_compressed(self.folder / "counts.npz", **arrays)
        (self.folder / "run.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")

    @contextmanager
    def predictions(self) -> Iterator[PredictionWriter]:
        """Open the file of predictions; images go in one by one, so that no set needs to fit in memory."""
        path = self.folder / "predictions.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
            yield PredictionWriter(archive)


@dataclass(frozen=True)
class PredictionWriter:
    """Adds images to an .npz file that is being written."""

    archive: zipfile.ZipFile

    def add(self, image: int, levels: Levels) -> None:
        """Append the levels (F, H, W) of one image."""
        with self.archive.open(f"{image}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(levels), allow_pickle=False)


class Store:
    """The folder of one comparison."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def open(self, plan: Plan) -> None:
        """Make the folder, or go on in the one that holds this very comparison; else ValueError as in `check`."""
        self.check(plan)
        if self._held() == plan.identity:
            return
        for name in ("trials", "tensorboard"):  # of another comparison that finished no run
            shutil.rmtree(self.out / name, ignore_errors=True)
        self.out.mkdir(parents=True, exist_ok=True)
        with self.replace(COMPARISON) as draft:
            draft.write_text(json.dumps(plan.identity, indent=2) + "\n", encoding="utf-8")

    def check(self, plan: Plan) -> None:
        """ValueError where `plan` cannot have the folder, as another comparison or something else is in it.

        Another comparison of which no run is finished or in progress gives way.
        """
        held = self._held()
        if held is None:
            if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
                raise ValueError(f"out must be a new or empty folder or one that holds a comparison; got {self.out}")
            return
        differences = _differences(held, plan.identity)
        if differences and self._in_use():
            raise ValueError(f"out {self.out} holds another comparison: {differences}")

    def _held(self) -> Json | None:
        path = self.out / COMPARISON
        return read_identity(path, "compared") if path.is_file() else None

    def _in_use(self) -> bool:
        trials = self.out / "trials"
        return any(trials.glob("*/seed-*/run.json")) or any(_in_progress(d) for d in trials.glob("*/.seed-*-*"))

    def find(self, trial: Trial) -> Record | None:
        """The record of `trial`, or None where it has not been finished."""
        folder = self.out / "trials" / trial.folder
        return Record(folder) if (folder / "run.json").exists() else None

    @contextmanager
    def draft(self, trial: Trial) -> Iterator[Draft]:
        """Write a run: it becomes a record when the block ends well, and leaves nothing when it does not."""
        folder = self.out / "trials" / trial.folder
        draft = folder.with_name(f".{folder.name}-{os.getpid()}")
        for left in folder.parent.glob(f".{folder.name}-*"):
            if left == draft or not _in_progress(left):  # its process was killed
                shutil.rmtree(left, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            yield Draft(draft)
            if folder.exists():  # another process finished the same run in the meantime
                shutil.rmtree(folder)
            os.replace(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    @contextmanager
    def replace(self, name: str) -> Iterator[Path]:
        """Write a file whole or not at all: the block writes to a temporary name."""
        with replaced(self.out / name) as draft:
            yield draft

    def tensorboard(self, trial: Trial) -> Path:
        """An empty folder for the event files of `trial`."""
        folder = self.out / "tensorboard" / trial.folder
        shutil.rmtree(folder, ignore_errors=True)
        return folder


def _differences(held: Json, now: Mapping[str, object]) -> str:
    keys = [*now, *(key for key in held if key not in now)]
    return ", ".join(f"{k} {held.get(k)}, now {now.get(k)}" for k in keys if held.get(k) != now.get(k))


def _in_progress(draft: Path) -> bool:
    """Whether the process that a draft is named after may still be writing it."""
    if os.name != "posix":  # elsewhere signal 0 is no mere question
        return True
    try:
        os.kill(int(draft.name.rpartition("-")[2]), 0)
    except PermissionError:  # it lives, and is another user's
        return True
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    return True
