"""A finished comparison without training: predictions made of truth, blur and noise, recorded as a run records them."""

from types import SimpleNamespace

import numpy as np
from scipy.ndimage import gaussian_filter

from lossmith.data import load
from lossmith.lab.plan import Settings, make_plan
from lossmith.lab.records import Store
from lossmith.lab.score import Counts, count_image, to_levels
from lossmith.lab.summary import collect, summarise

SETTINGS = {
    "command": "lossmith compare cracks",
    "optimiser": "AdamW",
    "lr": 0.003,
    "parameters": 1234,
    "model": "unet",
    "threshold_rule": "cross-fitted",
    "trained_with": {"lossmith": ["7.8.9"], "torch": ["2.3.4"]},
}
NOISE = {"ce": 1.0, "dice": 2.5, "mse": 4.0}


def comparison(out, *, losses=("ce", "dice", "mse"), seeds=2, peak=100.0):
    """Plan, records, scores and result; the logits lie too low, so that 0.5 is not the best threshold."""
    data = load("cracks(images=12, size=64)", test=0.4)
    plan = make_plan(data, losses, seeds=seeds, settings=Settings(steps=3, crop=64))
    store = Store(out)
    store.open(plan)
    for trial in plan.trials:
        rng = np.random.default_rng([trial.seed, len(trial.loss)])
        exact, near = [], []
        with store.draft(trial) as draft:
            with draft.predictions() as file:
                for number, sample in enumerate(data.test):
                    soft = gaussian_filter((sample.truth > 0).astype(float), 0.8)
                    logits = 8 * soft - 5 + NOISE[trial.loss] * rng.normal(size=soft.shape)
                    levels = to_levels(logits[None])
                    file.add(number, levels)
                    exact.append(count_image(levels, sample.truth))
                    near.append(count_image(levels, sample.truth, plan.settings.tolerance))
            run = {"loss": trial.loss, "seed": trial.seed, "diverged_at": None, "seconds": 12.0, "peak_memory_mb": peak}
            draft.write(run=run, curve=np.array([3.0, 2.0, 1.0]), counts=(Counts.stack(exact), Counts.stack(near)))
    records = {loss: [store.find(trial) for trial in plan.trials if trial.loss == loss] for loss in plan.losses}
    scores = collect(plan, records)
    result = summarise(plan, scores, records, SETTINGS)
    return SimpleNamespace(plan=plan, records=records, scores=scores, result=result)
