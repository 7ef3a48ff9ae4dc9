"""Time and memory of every loss against the libraries that have it; what is compared and how is in README.md.

`python benchmarks/losses.py --quick` takes minutes, without it an hour or more.
"""

import argparse
import importlib
import warnings
from dataclasses import dataclass

import report
from contenders import CONTENDERS, OURS, YARDSTICK
from definitions import DEFINITIONS
from isolate import LostError, isolated
from ledger import Ledger, circumstances, open_ledger, parser
from measure import DTYPES, Cell, Course, footprint, race
from rows import Row, title
from workloads import WORKLOADS

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
    """Measure row by row."""
    options = _options()
    absent = import_all()
    part = bool(options.quick or options.loss or options.workload)
    ledger: Ledger[Row] = open_ledger("losses", options, report.page, part=part)
    jobs = [job for job in plan(options) if not ledger.has(job.row())]
    for number, job in enumerate(jobs, 1):
        row = job.row()
        print(f"[{number}/{len(jobs)}] {title(row)}", flush=True)
        row["load"], row["at"] = circumstances()
        row["cells"] = measure(job, options.seconds, absent)
        print("    " + report.line(row), flush=True)
        ledger.add(row)
    print(f"results: {ledger.path.with_suffix('.md')}")


def _options() -> argparse.Namespace:
    command = parser(__doc__)
    command.add_argument("--loss", action="append", help="only this loss, such as dice or dice+ce; may be repeated")
    command.add_argument("--workload", action="append", help="only workloads with this in their name; may be repeated")
    command.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    command.add_argument("--dtype", choices=list(DTYPES), nargs="+", default=["fp32"])
    command.add_argument("--seconds", type=float, help="time for the rounds of a row (default 20; quick 1)")
    command.add_argument("--no-memory", action="store_true", help="time only")
    options = command.parse_args()
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
        if threads is not None or not (workload.small or options.no_memory)
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


if __name__ == "__main__":
    main()
