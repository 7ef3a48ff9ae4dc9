"""Time and memory of every loss against the libraries that have it; what is compared and how is in README.md.

`python benchmarks/losses.py --quick` takes minutes, without it an hour or more.
"""

import argparse
import importlib
import json
import os
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import machine
import report
from contenders import CONTENDERS, OURS, YARDSTICK
from definitions import DEFINITIONS
from isolate import LostError, isolated
from measure import DTYPES, Cell, Course, footprint, race
from report import Row
from workloads import WORKLOADS

HERE = Path(__file__).parent
PATIENCE = 600.0


@dataclass(frozen=True)
class Job:
    """One row to measure: its time with so many threads, or its memory (threads None)."""

    course: Course
    threads: int | None

    def row(self) -> Row:
        """The row's identity, as it is written."""
        return {
            "loss": self.course.definition.name,
            "workload": self.course.workload.name,
            "dtype": self.course.dtype,
            "threads": self.threads,
        }


def main() -> None:
    """Measure row by row; every row is on disk when the next one starts."""
    options = _options()
    absent = import_all()
    partial = options.quick or options.loss or options.workload
    out: Path = options.out or (HERE.parent / "out" / "bench" if partial else HERE / "results")
    out.mkdir(parents=True, exist_ok=True)
    environment = machine.describe()
    rows = _finished(out / "losses.json", environment) if options.resume else []
    jobs = [job for job in plan(options) if not any(row.items() >= job.row().items() for row in rows)]
    for number, job in enumerate(jobs, 1):
        row = job.row()
        print(f"[{number}/{len(jobs)}] {report.title(row)}", flush=True)
        row |= {"load": round(os.getloadavg()[0], 2), "at": datetime.now(UTC).isoformat(timespec="seconds")}
        row["cells"] = measure(job, options.seconds, absent)
        print("    " + report.line(row), flush=True)
        rows.append(row)
        _write(out / "losses.json", json.dumps({"environment": environment, "rows": rows}, indent=1) + "\n")
        _write(out / "losses.md", report.page(environment, rows))
    print(f"results: {out / 'losses.md'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="reduced sizes, 1 s a row")
    parser.add_argument("--loss", action="append", help="only this loss, such as dice or dice+ce; may be repeated")
    parser.add_argument("--workload", action="append", help="only workloads with this in their name; may be repeated")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", choices=list(DTYPES), nargs="+", default=["fp32"])
    parser.add_argument("--seconds", type=float, help="time for the rounds of a row (default 20; quick 1)")
    parser.add_argument("--no-memory", action="store_true", help="time only")
    parser.add_argument("--resume", action="store_true", help="keep the rows of the same commit, versions and machine")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of losses.json and losses.md (default benchmarks/results, out/bench for a part)",
    )
    options = parser.parse_args()
    options.seconds = options.seconds or (1.0 if options.quick else 20.0)
    return options


def import_all() -> dict[str, str]:
    """Import every library before the first fork. Returns those that cannot be had, and why."""
    warnings.simplefilter("ignore")
    absent = {}
    for contender in CONTENDERS:
        try:
            importlib.import_module(contender.module)
        except Exception as error:
            absent[contender.name] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"absent: {contender.name}: {absent[contender.name]}", flush=True)
    return absent


def plan(options: argparse.Namespace) -> list[Job]:
    """The rows that were asked for: workload by workload, loss by loss, time and then memory."""
    workloads = [w for w in WORKLOADS if not options.workload or any(part in w.name for part in options.workload)]
    definitions = [d for d in DEFINITIONS if not options.loss or d.loss in options.loss]
    return [
        Job(Course(definition, workload.reduced() if options.quick else workload, dtype), threads)
        for dtype in options.dtype
        for workload in workloads
        for definition in definitions
        for threads in [*options.threads, None]
        if threads is not None or (workload.memory and not options.no_memory)
    ]


def measure(job: Job, seconds: float, absent: dict[str, str]) -> dict[str, Cell]:
    """The cells of a row; one that takes its process down is left out and the row is measured again."""
    cells: dict[str, Cell] = {name: {"status": "absent", "why": why} for name, why in absent.items()}
    names = [c.name for c in CONTENDERS if c.name not in absent]
    if job.course.definition.loss == "ce":
        names = [name for name in names if name in (OURS, YARDSTICK)]
    if job.threads is None:
        for name in names:
            try:
                cells[name] = isolated(PATIENCE, footprint, job.course, name)
            except LostError as lost:
                cells[name] = {"status": "failed", "why": lost.why}
        return cells
    while names:
        try:
            return cells | isolated(PATIENCE, race, job.course, names, job.threads, seconds)
        except LostError as lost:
            culprit = lost.running if lost.running in names else names[0]
            cells[culprit] = {"status": "failed", "why": lost.why}
            names.remove(culprit)
    return cells


def _finished(path: Path, environment: machine.Environment) -> list[Row]:
    """The rows of an earlier run that was made in the same circumstances."""
    if not path.exists():
        return []
    earlier = json.loads(path.read_text())
    same = earlier["environment"] | {"date": ""} == environment | {"date": ""}
    if not same:
        print("the earlier results are of another commit, version or machine: starting anew")
    return list(earlier["rows"]) if same else []


def _write(path: Path, text: str) -> None:
    """Write all of it or nothing."""
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


if __name__ == "__main__":
    main()
