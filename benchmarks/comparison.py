"""Comparisons of losses as the command line makes them, for benchmarks that train."""

import argparse

from lossmith.data import Data
from lossmith.lab.machine import Machine
from lossmith.lab.plan import Settings, make_plan
from lossmith.lab.records import Store
from lossmith.lab.runs import run_missing
from lossmith.lab.statistics import Interval
from lossmith.lab.summary import Scores, collect


def run(data: Data, losses: tuple[str, ...], args: argparse.Namespace, folder: str) -> Scores:
    """Train what is not trained yet, and collect the scores; `args` has steps, seeds, out and jobs."""
    settings = Settings(steps=args.steps, crop=64)
    plan = make_plan(data, losses, seeds=args.seeds, settings=settings)
    store = Store(args.out / folder)
    run_missing(plan, store, machine=Machine("cpu", 1), jobs=args.jobs, progress=True)
    records = {loss: [store.find(trial) for trial in plan.trials if trial.loss == loss] for loss in plan.losses}
    return collect(plan, records)


def cell(interval: Interval) -> str:
    """A mean with its interval."""
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"
