"""Progress of a comparison: bars on a terminal, one line per finished run elsewhere, or nothing."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from lossmith.lab.plan import Trial


def bars(console: Console) -> Bars:
    """Bars that say how much is done and how long it takes, on a terminal alone."""
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=console.quiet or not console.is_terminal,
        transient=True,
    )


class Progress:
    """One bar for the whole (in steps), one for each run in progress with its loss."""

    def __init__(self, trials: int, done: int, steps: int, *, shown: bool, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, quiet=not shown, highlight=False)
        self.trials, self.done, self.steps = trials, done, steps
        self.bars = bars(self.console)
        self.whole = self.bars.add_task("all runs, steps", total=trials * steps, completed=done * steps)

    def __enter__(self) -> Self:
        if self.done:
            self.console.print(f"{self.done} of {self.trials} runs are on disk already")
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def start(self, trial: Trial) -> Run:
        """A bar for one run."""
        return Run(self, trial)


class Run:
    """The bar of one run; call it after every step."""

    def __init__(self, progress: Progress, trial: Trial) -> None:
        self.progress = progress
        self.name = f"{trial.loss}, seed {trial.seed}"
        self.task = progress.bars.add_task(escape(self.name), total=progress.steps)
        self.step = 0
        self.loss = math.nan

    def __call__(self, step: int, loss: float) -> None:
        """`step` steps are done, the last one with `loss`."""
        bars = self.progress.bars
        bars.update(self.progress.whole, advance=step - self.step)
        bars.update(self.task, completed=step, description=escape(f"{self.name}  loss {loss:.4f}"))
        self.step, self.loss = step, loss

    def finish(self, seconds: float, *, trained: bool) -> None:
        """The run is on disk."""
        p = self.progress
        p.bars.update(p.whole, advance=p.steps - self.step)
        p.bars.remove_task(self.task)
        p.done += 1
        end = f"loss {self.loss:.4f}" if trained else "did not train: loss or output not finite"
        p.console.print(escape(f"[{p.done}/{p.trials}] {self.name}: {end}, {seconds:.0f} s"), soft_wrap=True)
