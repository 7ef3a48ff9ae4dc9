"""What a loss costs beside one written by hand in the same framework: value and gradient, ours over theirs.

    .venv-frameworks/bin/python benchmarks/frameworks.py [--quick] [--resume]

JAX and Keras on JAX under `jit` and without, Keras on TensorFlow in `tf.function`, without and with XLA, and Keras on
PyTorch, which compiles nothing. Both are measured in turn, the best of many rounds counts. The environment is that of
`make test-frameworks`; each backend of Keras has a process of its own.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import TypedDict

from ledger import Ledger, circumstances, open_ledger, parser
from machine import Environment, summary

SIZES = {"small": (2, 64, 64), "large": (8, 256, 256)}
LOSSES = ("ce", "focal", "dice", "ce + dice")
TASKS = ("multiclass", "binary")
GOALS = {"jit": 1.2, "tf.function": 1.2, "XLA": 1.2, "eager": 1.3}
MODES = {
    "JAX": ("jit", "eager"),
    "Keras on JAX": ("jit", "eager"),
    "Keras on TensorFlow": ("tf.function", "XLA", "eager"),
    "Keras on PyTorch": ("eager",),
}
BACKENDS = {"Keras on TensorFlow": "tensorflow", "Keras on PyTorch": "torch"}  # else: jax


class Row(TypedDict, total=False):
    """A loss in a mode of a framework: the least milliseconds of ours and of the other."""

    framework: str
    mode: str
    task: str
    loss: str
    shape: list[int]
    load: float
    at: str
    ours: float
    by_hand: float


def main() -> None:
    """Measure row by row; each is on disk when the next one starts."""
    options = parser(__doc__).parse_args()
    ledger: Ledger[Row] = open_ledger("frameworks", options, page)
    for framework in MODES:
        for size in ("small",) if options.quick else SIZES:
            for task in TASKS:
                measure(ledger, framework, task, SIZES[size], 0.3 if options.quick else 0.8)
    print(f"results: {ledger.path.with_suffix('.md')}")


def measure(ledger: Ledger[Row], framework: str, task: str, size: Sequence[int], seconds: float) -> None:
    """The rows of a framework, task and size, by a process of their own."""
    shape = [*size, 4 if task == "multiclass" else 1]
    known: Row = {"framework": framework, "task": task, "shape": shape}
    if ledger.has({**known, "mode": MODES[framework][-1], "loss": LOSSES[-1]}):
        return
    backend = BACKENDS.get(framework, "jax")
    command = [sys.executable, os.path.join(os.path.dirname(__file__), "by_hand.py"), framework, task, str(seconds)]
    quiet = {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    load, at = circumstances()
    words = [*command, *map(str, shape)]
    done = subprocess.run(words, env={**os.environ, **quiet}, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        loss, mode, ours, by_hand = line.split("\t")
        row: Row = {**known, "mode": mode, "loss": loss, "load": load, "at": at}
        row.update(ours=float(ours), by_hand=float(by_hand))
        print(f"{framework}, {mode}; {task} {loss}, {shape}: {row['ours'] / row['by_hand']:.2f}", flush=True)
        ledger.add(row)


INTRODUCTION = """# Losses beside the same written by hand in JAX, TensorFlow and PyTorch

Made by `benchmarks/frameworks.py`: value and gradient, milliseconds, the best of many rounds that took turns, and the
ratio ours over by hand; what is written by hand checks nothing. Shapes are (N, H, W, classes). Labels of multiclass
batches are integers, those of binary ones floating 0 and 1, as Keras' own losses take them. "jit" and "tf.function":
the whole step is compiled; "eager": it is not, though ours then are one compiled call on JAX and TensorFlow.
"""


def page(environment: Environment, rows: Sequence[Row]) -> str:
    """The markdown page: the ratios of all, then the times."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "keras", "tensorflow-cpu", "torch"))
    head = [f"{task} {loss}, {shape}" for task, loss, shape in _columns(rows)]
    lines = [f"| ours over by hand | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for framework, modes in MODES.items():
        for mode in modes:
            found = {_column(row): row for row in rows if (row["framework"], row["mode"]) == (framework, mode)}
            ratios = [f"{found[c]['ours'] / found[c]['by_hand']:.2f}" if c in found else "-" for c in _columns(rows)]
            lines.append(f"| {framework}, {mode} (goal {GOALS[mode]}) | {' | '.join(ratios)} |")
    times = ["| framework | mode | batch | loss | ours, ms | by hand, ms | load |", "|---" * 7 + "|"]
    for row in rows:
        task, loss, shape = _column(row)
        cells = row["framework"], row["mode"], shape, f"{task} {loss}", f"{row['ours']:.3f}", f"{row['by_hand']:.3f}"
        times.append(f"| {' | '.join(cells)} | {row['load']} |")
    return (
        "\n\n".join([INTRODUCTION.strip(), f"{summary(environment)} {packages}.", *map("\n".join, (lines, times))])
        + "\n"
    )


def _columns(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys(map(_column, rows)))


def _column(row: Row) -> tuple[str, str, str]:
    return row["task"], row["loss"], "x".join(map(str, row["shape"]))


if __name__ == "__main__":
    main()
