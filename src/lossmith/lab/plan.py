"""What a comparison is: the settings all runs share, the runs, and when two comparisons are the same one."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lossmith import __version__
from lossmith.core.spec import Atom, parse_spec
from lossmith.errors import check_whole, must
from lossmith.lab.files import folder_name

if TYPE_CHECKING:
    from lossmith.data import Data, Sample

DEFAULT_STEPS = 450
RECORD_VERSION = 1
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")


@dataclass(frozen=True)
class Settings:
    """What every run of a comparison shares. `steps` is the budget: seconds would punish the busy machine."""

    model: str = "unet"
    steps: int = DEFAULT_STEPS
    batch: int = 8
    crop: int = 256
    lr: float = 3e-3
    tolerance: int = 2
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop", "tolerance"):
            check_whole(name, getattr(self, name), 1)
        if not (isinstance(self.lr, int | float) and math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(must("lr", "a positive number", self.lr))
        if self.precision not in PRECISIONS:
            raise ValueError(must("precision", "one of " + ", ".join(PRECISIONS), self.precision))


@dataclass(frozen=True)
class Trial:
    """One run: a loss, a seed, and the digest of the source and the files that the spec names, or ""."""

    loss: str
    seed: int
    code: str = ""

    @property
    def folder(self) -> Path:
        """Where its record lies."""
        return Path(folder_name(self.loss, f"{self.loss}\n{self.code}")) / f"seed-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """Data, settings, losses (in canonical spelling) and seeds; every loss meets every seed."""

    data: Data
    settings: Settings
    losses: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def trials(self) -> list[Trial]:
        """Every run, seed by seed, so that an interrupted comparison has all losses at the same seeds."""
        codes = {loss: source_digest(loss) for loss in self.losses}
        return [Trial(loss, seed, codes[loss]) for seed in self.seeds for loss in self.losses]

    @property
    def identity(self) -> dict[str, object]:
        """What two comparisons must share to be one: all but the losses and the seeds, which may be added."""
        model = self.settings.model
        return {
            "data": f"{self.data.name} {self.data.fingerprint[:16]}",
            **asdict(self.settings),
            "model_code": _digest([_source(model)] if ":" in model else []),
            "record_version": RECORD_VERSION,
            "lossmith": __version__,
        }


def make_plan(data: Data, losses: Sequence[str], *, seeds: int, settings: Settings) -> Plan:
    """The plan of a comparison; `losses` are spec strings, and two spellings of one loss are an error."""
    from lossmith.torch import parse

    see_working_directory()
    check_whole("seeds", seeds, 1)
    if isinstance(losses, str) or not losses:
        raise ValueError(must("losses", "a sequence of at least one spec", losses))
    canonical: list[str] = []
    for spec in losses:
        name = str(getattr(parse(spec, data.task), "spec", spec))
        if name in canonical:
            raise ValueError(must("losses", "different from one another", list(losses)))
        canonical.append(name)
    if len(data.train) < 1:
        raise ValueError(must("data.train", "at least 1 image", len(data.train)))
    if len(data.test) < 2:
        raise ValueError(
            must(
                "data.test",
                "at least 2 images (the threshold is chosen on images not scored)",
                len(data.test),
            )
        )
    return Plan(data, settings, tuple(canonical), tuple(range(seeds)))


def budget(steps: int | None, epochs: float | None, *, images: int, batch: int) -> int:
    """Steps to train: as given, or `epochs` passes over the training images, or the default of 450."""
    if steps is not None and epochs is not None:
        raise ValueError(f"steps and epochs exclude each other; got steps={steps!r} and epochs={epochs!r}")
    if epochs is not None:
        if not (isinstance(epochs, int | float) and math.isfinite(epochs) and epochs > 0):
            raise ValueError(must("epochs", "a positive number", epochs))
        check_whole("batch", batch, 1)
        return math.ceil(epochs * images / batch)
    return DEFAULT_STEPS if steps is None else steps


def default_crop(samples: Sequence[Sample]) -> int:
    """256, or what fits into the smallest image, in steps of 32."""
    smallest: int = min(min(sample.image.shape[1:]) for sample in samples)
    return min(256, max(32, smallest // 32 * 32))


def source_digest(spec: str) -> str:
    """Digest of what a loss spec names outside of itself; "" where it names nothing.

    That is the source file behind every `module:name`, and every file that an argument names, such as a fitted prior.
    A loss whose file was edited is another one: old runs must not pass for it.
    """
    return _digest([path for term in parse_spec(spec) for path in _named(term.atom)])


def _digest(paths: Sequence[Path | None]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if path is not None:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16] if paths else ""


def _named(atom: Atom) -> Iterator[Path | None]:
    """The files that a spec names; None for a module without one."""
    if ":" in atom.name:
        yield _source(atom.name)
    for value in atom.arguments.values():
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, Atom):
                yield from _named(part)
            elif isinstance(part, str) and _is_file(part):
                yield Path(part)


def _source(reference: str) -> Path | None:
    """The file of the module of `module:name`."""
    see_working_directory()
    found = None
    with suppress(ModuleNotFoundError):  # a package that is not there: whoever imports it will say so
        found = importlib.util.find_spec(reference.partition(":")[0])
    return Path(found.origin) if found is not None and found.origin is not None and _is_file(found.origin) else None


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long for a name
        return False


def see_working_directory() -> None:
    """Let `module:name` be found in the working directory, as with ``python -m``."""
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)
