"""What `import lossmith.torch` costs beyond `import torch`, in fresh processes: python benchmarks/start.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from contenders import OURS
from ledger import folder, parser, write
from machine import Environment, describe, summary
from rows import digits

GOAL_MS = 50.0
ROUNDS, QUICK_ROUNDS = 20, 3
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
BASE = "import torch"
BOTH = """
import torch
from time import perf_counter
started = perf_counter()
import lossmith.torch
print(1e3 * (perf_counter() - started))
"""
INSIDE, WITHOUT, WITH = f"import {OURS}.torch, inside the process", f"process: {BASE}", f"process: {OURS}.torch too"


def main() -> None:
    """Start processes in turn, with and without this library; write start.json and start.md."""
    options = parser(__doc__, rows=False).parse_args()
    out = folder(options.out, part=options.quick)
    environment, load = describe(), os.getloadavg()[0]
    samples = measure(QUICK_ROUNDS if options.quick else ROUNDS)
    result = {"environment": environment, "load": round(load, 2), "governor": governor(), "ms": samples}
    write(out / "start.json", json.dumps(result, indent=1) + "\n")
    text = page(environment, load, samples)
    write(out / "start.md", text)
    print(f"{text}results: {out / 'start.md'}")


def measure(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round, A B A B ...; a first round, which may have to compile, is not counted."""
    samples: dict[str, list[float]] = {INSIDE: [], WITHOUT: [], WITH: []}
    for number in range(rounds + 1):
        without, _ = _process(BASE)
        both, inside = _process(BOTH)
        if number:
            for name, value in ((INSIDE, float(inside)), (WITHOUT, without), (WITH, both)):
                samples[name].append(round(value, 2))
    return samples


def _process(code: str) -> tuple[float, str]:
    """Milliseconds from start to end of a fresh interpreter, and what it printed."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}  # what is measured is the import of compiled code
    started = perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return 1e3 * (perf_counter() - started), done.stdout


def governor() -> str:
    """How the system sets the clock of the processor."""
    return GOVERNOR.read_text().strip() if GOVERNOR.exists() else "not visible, as in virtual machines"


def page(environment: Environment, load: float, samples: dict[str, list[float]]) -> str:
    """The markdown page."""
    inside, without, both = (samples[name] for name in (INSIDE, WITHOUT, WITH))
    verdict = "reached" if median(inside) < GOAL_MS else "not reached"
    apart, noise = median(both) - median(without), max(without) - min(without)
    lines = ["| ms | median | least | most |", "|---|---|---|---|"]
    for name, values in samples.items():
        lines.append(f"| {name} | {' | '.join(digits(f(values)) for f in (median, min, max))} |")
    return f"""# The cost of the import

Made by `benchmarks/start.py`: {len(inside)} rounds of fresh processes in turn, after one that is not counted.

{summary(environment)} Load at the start {load:.1f}; governor of the clock: {governor()}.

{chr(10).join(lines)}

`import {OURS}.torch` after `import torch` takes {digits(median(inside))} ms (goal: under {GOAL_MS:.0f} ms: {verdict}).
Whole processes differ by {apart:+.0f} ms in the median, while `import torch` alone varies by {noise:.0f} ms from round
to round: where that is more, only the time inside the process is a measure.
"""


if __name__ == "__main__":
    main()
