"""What every benchmark does with its results: the command line's common options, the folder, rows kept on disk."""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from machine import Environment, describe

HERE = Path(__file__).parent
R = TypeVar("R", bound=Mapping[str, object])


def parser(doc: str | None, *, rows: bool = True) -> argparse.ArgumentParser:
    """The options that all benchmarks have; `rows`: one that can go on where it was interrupted."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="reduced sizes, little time a row")
    options.add_argument(
        "--out", type=Path, help="folder of the results (default benchmarks/results, out/bench for a part)"
    )
    if rows:
        options.add_argument(
            "--resume", action="store_true", help="keep the rows of the same commit, versions and machine"
        )
    return options


def folder(out: Path | None, *, part: bool) -> Path:
    """Where results go: as asked, beside the code, or, so that a part never replaces the whole, to out/bench."""
    chosen = out or (HERE.parent / "out" / "bench" if part else HERE / "results")
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def circumstances() -> tuple[float, str]:
    """The load and the time at which a row starts."""
    return round(os.getloadavg()[0], 2), datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Ledger(Generic[R]):
    """NAME.json and NAME.md in a folder: every row is on disk when the next one starts."""

    path: Path
    page: Callable[[Environment, Sequence[R]], str]
    environment: Environment
    rows: list[R]

    def has(self, identity: Mapping[str, object]) -> bool:
        """Whether a row with these entries is there."""
        return any(row.items() >= identity.items() for row in self.rows)

    def add(self, row: R) -> None:
        """Write the row, with all before it, as numbers and as a page."""
        self.rows.append(row)
        write(self.path, json.dumps({"environment": self.environment, "rows": self.rows}, indent=1) + "\n")
        write(self.path.with_suffix(".md"), self.page(self.environment, self.rows))


def open_ledger(
    name: str, options: argparse.Namespace, page: Callable[[Environment, Sequence[R]], str], *, part: bool | None = None
) -> Ledger[R]:
    """The ledger of a benchmark, with the rows of an earlier run where --resume asks for them.

    part: whether this run leaves something out (default: whether it is --quick).
    """
    path = folder(options.out, part=options.quick if part is None else part) / f"{name}.json"
    environment = describe()
    return Ledger(path, page, environment, _finished(path, environment) if options.resume else [])


def _finished(path: Path, environment: Environment) -> list[R]:
    """The rows of an earlier run that was made in the same circumstances."""
    if not path.exists():
        return []
    earlier = json.loads(path.read_text())
    same = earlier["environment"] | {"date": ""} == environment | {"date": ""}
    if not same:
        print("the earlier results are of another commit, version or machine: starting anew")
    return list(earlier["rows"]) if same else []


def write(path: Path, text: str) -> None:
    """Write all of it or nothing."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text)
    os.replace(part, path)
