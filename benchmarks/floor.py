"""How far each loss is from the least work there is: bytes that must move and exponentials that must be computed, at
the rates measured on this machine.

`python benchmarks/floor.py --quick` takes a minute or two, without it about a quarter of an hour.
"""

import argparse
from collections.abc import Sequence
from math import prod
from typing import TypedDict

from contenders import OURS
from definitions import Definition, Pool
from isolate import LostError, isolated
from ledger import Ledger, circumstances, open_ledger, parser
from machine import Environment, summary
from measure import Course, race
from rates import BLOCK, SORTS, rates
from rows import digits, what
from workloads import WORKLOADS, Workload

PATIENCE = 600.0
# Dice, its kin and Lovasz need probabilities; the others log-probabilities too, a logarithm a pixel.
WITHOUT_LOG = ("dice", "jaccard", "tversky", "gdice", "lovasz")
LOSSES = ("dice+ce", "dice", "jaccard", "tversky", "gdice", "focal", "dice+ce+focal", "ce", "lovasz")


class Measured(TypedDict, total=False):
    """A loss: the parts of its floor in milliseconds, its time (median, least, most) or why there is none."""

    floor: dict[str, float]
    ms: list[float]
    why: str


class Row(TypedDict, total=False):
    """A workload with so many threads: the rates in ns per element, and what came of each loss."""

    workload: str
    shape: list[int]
    threads: int
    load: float
    at: str
    rates: dict[str, float]
    losses: dict[str, Measured]


def main() -> None:
    """Measure workload by workload, rates first; each is on disk when the next one starts."""
    options = _options()
    ledger: Ledger[Row] = open_ledger("floor", options, page, part=bool(options.quick or options.workload))
    for full in WORKLOADS:
        if options.workload and not any(part in full.name for part in options.workload):
            continue
        workload = full.reduced() if options.quick else full
        for threads in options.threads:
            row: Row = {"workload": workload.name, "shape": list(workload.shape), "threads": threads}
            if not ledger.has(row):
                print(_title(row), flush=True)
                row["load"], row["at"] = circumstances()
                row.update(measure(workload, threads, options.seconds))
                print(_table(row), flush=True)
                ledger.add(row)
    print(f"results: {ledger.path.with_suffix('.md')}")


def _options() -> argparse.Namespace:
    command = parser(__doc__)
    command.add_argument("--workload", action="append", help="only workloads with this in their name; may be repeated")
    command.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    command.add_argument("--seconds", type=float, help="time for the rounds of a loss (default 5; quick 0.5)")
    options = command.parse_args()
    options.seconds = options.seconds or (0.5 if options.quick else 5.0)
    return options


def measure(workload: Workload, threads: int, seconds: float) -> Row:
    """The rates and the losses, each in a process of its own."""
    found = isolated(PATIENCE, rates, workload, threads, seconds / 10)
    losses: dict[str, Measured] = {}
    for loss in LOSSES:
        pool: Pool | None = None if loss in ("ce", "focal") else "batch"
        losses[loss] = {"floor": floor(loss, workload, found)}
        try:
            cell = isolated(PATIENCE, race, Course(Definition(loss, pool), workload), [OURS], threads, seconds)[OURS]
        except LostError as lost:
            losses[loss]["why"] = lost.why
            continue
        if cell["status"] == "timed":
            losses[loss]["ms"] = cell["ms"]
        else:
            losses[loss]["why"] = cell["why"]
    return {"rates": found, "losses": losses}


def floor(loss: str, workload: Workload, rate: dict[str, float]) -> dict[str, float]:
    """The least milliseconds of forward and backward, part by part.

    Logits and target are read twice, for the backward pass keeps nothing; the gradient is written once to new memory;
    every logit is exponentiated in the forward and in the backward pass. All other arithmetic counts nothing.
    """
    logits = prod(workload.shape)
    pixels = logits // workload.shape[1]
    binary = workload.task == "binary"
    exponential = rate["sigmoid, block" if binary else "exp, block"]
    hinge = binary and loss == "lovasz"
    parts = {
        "read logits": 2 * logits * rate["read"],
        # A label is int64, as large as two floats.
        "read target": 2 * pixels * 2 * rate["read"],
        "write gradient": logits * rate["fill, new buffer"],
        "exp": 0.0 if hinge else 2 * logits * exponential,
        "log": 0.0 if loss in WITHOUT_LOG else pixels * rate["log, block"],
        "sort": logits * min(rate[sort] for sort in SORTS) if loss == "lovasz" else 0.0,
    }
    return {name: round(1e-6 * nanoseconds, 6) for name, nanoseconds in parts.items()}


INTRODUCTION = f"""# The floor: the least work of a loss, and how far {OURS} is from it

Made by `benchmarks/floor.py`; sums over the batch, float32. The floor is a sum, as if nothing overlapped, of

- reading the logits twice and the target (int64) twice, forward and backward: at the rate of a sum over a whole buffer;
- writing the gradient once into a new buffer: at the rate of filling one. Where the allocator takes fresh pages from
  the system each time (on glibc: blocks above 32 MB) that is dear, and no loss is without it;
- an exponential of every logit (binary: a sigmoid; Lovasz hinge: none), forward and backward, and, where there is a
  logarithm in the loss, one for every pixel: at the rate in cache;
- Lovasz: a sort of the N P values of every class by the fastest of {", ".join(f"`{sort}`" for sort in SORTS)};
  `np.sort` gives no order, which the gradient needs.

Maxima, sums, products, the choice of the target's class are not in it. The time above the floor is therefore also told
in passes: one is a copy of all logits block by block in cache, the least that an elementwise operation costs. On
2x3x32x32 the cost of the calls is all there is to see.

Rates: nanoseconds per float, the fastest of the rounds; "block": {BLOCK // 1024}k floats for each thread, in cache; the
others on buffers of the size of the logits. Times: median milliseconds (least to most), forward and backward.
"""


def page(environment: Environment, rows: Sequence[Row]) -> str:
    """The markdown page: the ratios of all, then each workload with its rates."""
    lines = [f"| time over floor | {' | '.join(LOSSES)} |", "|---" * (len(LOSSES) + 1) + "|"]
    for row in rows:
        ratios = (ratio(row["losses"][loss]) for loss in LOSSES)
        lines.append(f"| {_title(row)} | {' | '.join('-' if r is None else f'{r:.2f}' for r in ratios)} |")
    parts = [INTRODUCTION, summary(environment), "\n".join(lines)]
    for row in rows:
        parts += [f"## {_title(row)}", f"Load when it started: {row['load']}.", _rates(row["rates"]), _table(row)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def ratio(loss: Measured) -> float | None:
    """The time over the floor."""
    return loss["ms"][0] / sum(loss["floor"].values()) if "ms" in loss else None


def _rates(found: dict[str, float]) -> str:
    return "\n".join(
        [
            f"| ns per float | {' | '.join(found)} |",
            "|---" * (len(found) + 1) + "|",
            f"| | {' | '.join(digits(rate) for rate in found.values())} |",
        ]
    )


def _table(row: Row) -> str:
    names = list(next(iter(row["losses"].values()))["floor"])
    head = f"| loss | {' | '.join(names)} | floor, ms | measured, ms | ratio | above the floor, in passes |"
    lines = [head, "|---" * (len(names) + 5) + "|"]
    block_pass = 1e-6 * prod(row["shape"]) * row["rates"]["copy, block"]
    for loss, found in row["losses"].items():
        total = sum(found["floor"].values())
        cells = [*(digits(part) for part in found["floor"].values()), digits(total)]
        if "ms" in found:
            middle, low, high = found["ms"]
            cells += [f"{digits(middle)} ({digits(low)} to {digits(high)})", f"{middle / total:.2f}"]
            cells += [digits((middle - total) / block_pass)]
        else:
            cells += [found["why"], "-", "-"]
        lines.append(f"| {loss} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _title(row: Row) -> str:
    return f"{row['workload']}, {what(row['threads'])}"


if __name__ == "__main__":
    main()
