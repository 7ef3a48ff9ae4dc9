"""The runs of a box simulation: a loss with a kind of gradient, computed in parts that are on disk at once.

OUT/boxes.json                              what the simulation is
OUT/parts/<loss>-<gradient>/<number>.npz    what came of 50 starting points
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from lossmith.errors import must
from lossmith.lab.box_descent import Descent, Floats, descend
from lossmith.lab.box_gradients import CLAMPED, PUBLISHED, Gradient, box_loss, exact
from lossmith.lab.files import folder_name, read_identity, replaced
from lossmith.lab.progress import bars

IDENTITY = "boxes.json"
PART = 50  # starting points
GRADIENTS = ("all", "exact", "published")
KINDS = {"exact": "exact", "published": "published", "clamped": "published, clamped"}


@dataclass(frozen=True)
class Run:
    """One loss with one kind of gradient."""

    loss: str
    kind: str
    gradient: Gradient

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return f"{self.loss}, {KINDS[self.kind]}"

    @property
    def folder(self) -> Path:
        """Where its parts lie."""
        return Path(f"{folder_name(self.loss, self.loss)}-{self.kind}")


def make_runs(specs: Sequence[str], gradients: str) -> list[Run]:
    """Every loss with every kind of gradient that was asked for and that there is."""
    if gradients not in GRADIENTS:
        raise ValueError(must("gradients", "'all', 'exact' or 'published'", gradients))
    losses = {loss.spec: loss for loss in map(box_loss, specs)}
    if not losses:
        raise ValueError(must("losses", "one box loss or more", list(specs)))
    runs = [] if gradients == "published" else [Run(spec, "exact", exact(loss)) for spec, loss in losses.items()]
    if gradients != "exact":
        for kind, known in (("published", PUBLISHED), ("clamped", CLAMPED)):
            runs += [Run(spec, kind, known[spec]) for spec in losses if spec in known]
    if not runs:
        raise ValueError(must("losses", f"among {', '.join(PUBLISHED)}, which have published gradients", [*losses]))
    return runs


class Folder:
    """Where a simulation lies."""

    def __init__(self, out: Path, identity: Mapping[str, object]) -> None:
        """Take a new or empty folder, or one that holds this very simulation; else ValueError."""
        self.out = out
        path = out / IDENTITY
        if path.is_file():
            held = read_identity(path, "simulated")
            changed = [f"{key} {held.get(key)}, now {now}" for key, now in identity.items() if held.get(key) != now]
            if changed:
                raise ValueError(f"out {out} holds another simulation: {', '.join(changed)}")
        elif out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ValueError(f"out must be a new or empty folder or one that holds a simulation; got {out}")
        else:
            out.mkdir(parents=True, exist_ok=True)
            with self.replace(IDENTITY) as draft:
                draft.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")

    @contextmanager
    def replace(self, name: str | Path) -> Iterator[Path]:
        """Write a file whole or not at all: the block writes to a temporary name."""
        with replaced(self.out / name) as draft:
            yield draft

    def find(self, run: Run, number: int) -> Descent | None:
        """Part `number` of a run, or None where it has not been computed."""
        path = self.out / _part(run, number)
        if not path.exists():
            return None
        with np.load(path) as file:
            return Descent(**{name: file[name] for name in ("curve", "final", "arrived")})

    def keep(self, run: Run, number: int, part: Descent) -> None:
        """Write a part."""
        with self.replace(_part(run, number)) as draft:
            np.savez(draft, **asdict(part))


def _part(run: Run, number: int) -> Path:
    return Path("parts") / run.folder / f"{number}.npz"


def compute(runs: Sequence[Run], points: Floats, folder: Folder, *, progress: bool) -> dict[Run, Descent]:
    """What came of every run; parts that the folder holds are taken from it."""
    parts = [points[start : start + PART] for start in range(0, len(points), PART)]
    console = Console(stderr=True, quiet=not progress, highlight=False)
    found = {}
    with bars(console) as bar:
        whole = bar.add_task("", total=len(runs) * len(parts))
        for count, run in enumerate(runs, 1):
            bar.update(whole, description=escape(run.name))
            pieces = []
            for number, part in enumerate(parts):
                piece = folder.find(run, number)
                if piece is None:
                    piece = descend(run.gradient, part)
                    folder.keep(run, number, piece)
                pieces.append(piece)
                bar.advance(whole)
            found[run] = Descent.join(pieces)
            console.print(escape(f"[{count}/{len(runs)}] {run.name}"), soft_wrap=True)
    return found
