"""Train what is missing: one run after another, or several at once in processes of their own."""

from __future__ import annotations

import math
import multiprocessing
import queue
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from lossmith.lab.machine import Machine
from lossmith.lab.plan import Plan, Trial
from lossmith.lab.progress import Progress, Run
from lossmith.lab.records import Record, Store
from lossmith.lab.rehearsal import rehearse
from lossmith.lab.train import run_trial

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

POLL_SECONDS = 0.2
KILLED = "a run's process was killed (out of memory?); finished runs are kept, the same command goes on"


def run_missing(plan: Plan, store: Store, *, machine: Machine, jobs: int, progress: bool) -> None:
    """Run every trial of `plan` that `store` does not hold yet; each is on disk before the next begins.

    What is to be trained is rehearsed before the folder is claimed, so that a mistake in the last loss does
    not wait for the first to finish.
    """
    from lossmith.data.base import UNKNOWN
    from lossmith.torch import class_counts

    store.check(plan)
    trials = plan.trials
    missing = [trial for trial in trials if store.find(trial) is None]
    counts = np.zeros((0, 2), dtype=np.int64)
    if missing:
        masks = (sample.mask for sample in plan.data.train)
        counts = class_counts(masks, len(plan.data.classes), ignore_index=UNKNOWN).numpy()
        rehearse(plan, list(dict.fromkeys(trial.loss for trial in missing)), counts=counts, machine=machine)
    store.open(plan)
    done = len(trials) - len(missing)
    with Progress(len(trials), done, plan.settings.steps, shown=progress) as bars:
        if jobs == 1 or len(missing) < 2:
            for trial in missing:
                bar = bars.start(trial)
                _close(bar, run_trial(plan, trial, store, counts=counts, machine=machine, on_step=bar))
        else:
            _in_processes(_Work(plan, store, counts, machine), missing, min(jobs, len(missing)), bars)


def _close(bar: Run, record: Record) -> None:
    bar.finish(cast(float, record.run["seconds"]), trained=record.trained)


@dataclass(frozen=True)
class _Work:
    """What a worker process is given once."""

    plan: Plan
    store: Store
    counts: NDArray[np.int64]
    machine: Machine


class _StoppedError(Exception):
    """The parent gives up; the run in progress is dropped."""


_Messages = multiprocessing.Queue  # of (number of the trial, steps done, loss)


def _in_processes(work: _Work, trials: list[Trial], jobs: int, bars: Progress) -> None:
    context = multiprocessing.get_context("spawn")  # fork would copy the threads of PyTorch in an unknown state
    messages, stop = context.Queue(), context.Event()
    runs: dict[int, Run] = {}
    with ProcessPoolExecutor(jobs, context, _begin, (work, messages, stop)) as pool:
        with _deaf_to_ctrl_c():  # Ctrl-C is the parent's affair: it sets `stop`
            futures: dict[Future[Record], int] = {pool.submit(_one, i, t): i for i, t in enumerate(trials)}
        try:
            waiting = set(futures)
            while waiting:
                finished, waiting = wait(waiting, POLL_SECONDS, return_when=FIRST_COMPLETED)
                _hear(messages, trials, runs, bars)
                for future in finished:
                    number = futures[future]
                    if number not in runs:
                        runs[number] = bars.start(trials[number])
                    _close(runs[number], future.result())
        except BrokenProcessPool as error:
            raise ChildProcessError(KILLED) from error
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that start meanwhile ignore the signal from their first instruction on, imports included."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)


def _hear(
    messages: _Messages[tuple[int, int, float]], trials: list[Trial], runs: dict[int, Run], bars: Progress
) -> None:
    while True:
        try:
            number, step, loss = messages.get_nowait()
        except queue.Empty:
            return
        if number not in runs:
            runs[number] = bars.start(trials[number])
        runs[number](step, loss)


_given: tuple[_Work, _Messages[tuple[int, int, float]], Event]


def _begin(work: _Work, messages: _Messages[tuple[int, int, float]], stop: Event) -> None:
    global _given
    _given = work, messages, stop


def _one(number: int, trial: Trial) -> Record:
    work, messages, stop = _given

    def on_step(step: int, loss: float) -> None:
        if stop.is_set():
            raise _StoppedError
        messages.put((number, step, loss if math.isfinite(loss) else math.nan))

    return run_trial(work.plan, trial, work.store, counts=work.counts, machine=work.machine, on_step=on_step)
