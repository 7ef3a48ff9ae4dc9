"""One run: train the network of a seed with one loss, predict the test images, write the record.

Runs are paired: the seed alone decides the weights and the batches, so the losses of a seed start from the
same network and see the same pixels in the same order. Two runs of the same trial give the same numbers bit
for bit on one machine with the same number of threads (on a CPU; some CUDA kernels add in varying order).
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from lossmith import __version__
from lossmith.errors import must
from lossmith.lab.machine import Machine
from lossmith.lab.memory import PeakMemory
from lossmith.lab.models import STRIDE, build_model, parameter_count
from lossmith.lab.plan import Plan, Trial
from lossmith.lab.records import Draft, Record, Store
from lossmith.lab.score import Counts, count_image, to_levels
from lossmith.lab.watch import Watch

if TYPE_CHECKING:
    from lossmith.data import Sample
    from lossmith.data.augmentation import Batches

OnStep = Callable[[int, float], None]
WARM_UP = 0.15
WEIGHT_DECAY = 1e-2
OPTIMISER = f"AdamW, weight decay {WEIGHT_DECAY}, one cycle with {WARM_UP:.0%} warm-up"


def run_trial(
    plan: Plan, trial: Trial, store: Store, *, counts: NDArray[np.int64], machine: Machine, on_step: OnStep
) -> Record:
    """Train, predict and record one trial.

    Args:
        plan: the comparison.
        trial: the loss and the seed.
        store: where the record goes.
        counts: (classes, 2) from `lossmith.torch.class_counts` over the training images.
        machine: device and threads.
        on_step: called after every step with the number of steps done and the loss.
    """
    with machine.limited(), torch.random.fork_rng(), store.draft(trial) as draft:
        fabric = machine.fabric(plan.settings.precision)
        peak = PeakMemory(fabric.device)
        start = time.perf_counter()
        net, curve = _train(plan, trial, store, fabric, counts, on_step)
        seconds = time.perf_counter() - start
        diverged_at = None if math.isfinite(curve[-1]) else len(curve)
        tested = None if diverged_at else _test(plan, net, fabric.device, draft)
        if tested is None and diverged_at is None:
            diverged_at = len(curve)
        facts = {
            "loss": trial.loss,
            "seed": trial.seed,
            "steps": len(curve),
            "diverged_at": diverged_at,
            "seconds": seconds,
            "peak_memory_mb": peak.megabytes(),
            "parameters": parameter_count(net),
            "device": str(fabric.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "lossmith": __version__,
        }
        draft.write(run=facts, curve=np.asarray(curve), counts=tested or ())
    record = store.find(trial)
    assert record is not None
    return record


def _train(
    plan: Plan, trial: Trial, store: Store, fabric: Fabric, counts: NDArray[np.int64], on_step: OnStep
) -> tuple[nn.Module, list[float]]:
    s = plan.settings
    weights = build_model(s.model, shares=class_shares(counts), binary=plan.data.task == "binary", seed=trial.seed)
    batches = make_batches(plan, trial.seed)
    loss_fn = make_loss(trial.loss, plan.data.task, counts).to(fabric.device)
    torch.manual_seed(trial.seed)  # for dropout, after whatever making the loss may have drawn
    trained = [*weights.parameters(), *loss_fn.parameters()]
    adam = torch.optim.AdamW(trained, lr=s.lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=s.lr, total_steps=s.steps, pct_start=WARM_UP)
    net, optimiser = fabric.setup(weights.to(memory_format=torch.channels_last), adam)  # type: ignore[call-overload]
    curve: list[float] = []
    with Watch(store.tensorboard(trial), plan.data.test, s.steps) as watch:
        for step in range(s.steps):
            images, masks = (fabric.to_device(part) for part in batches[step])
            logits = net(images.contiguous(memory_format=torch.channels_last))
            loss = loss_fn(logits, masks, **loss_inputs(loss_fn, images))
            optimiser.zero_grad()
            curve.append(float(loss.detach()))
            if not math.isfinite(curve[-1]):
                break
            fabric.backward(loss)
            optimiser.step()
            schedule.step()
            watch.step(
                step, curve[-1], float(schedule.get_last_lr()[0]), lambda image: predict(net, image, fabric.device)
            )
            on_step(step + 1, curve[-1])
    return net, curve


def class_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each class in the training masks."""
    return np.asarray(counts[:, 0] / counts[:, 0].sum())


def make_batches(plan: Plan, seed: int) -> Batches:
    """The batches of a seed, the same for every loss."""
    from lossmith.data.augmentation import Batches

    s = plan.settings
    return Batches(plan.data.train, seed=seed, batch=s.batch, crop=s.crop, steps=s.steps)


def make_loss(spec: str, task: str, counts: NDArray[np.int64]) -> nn.Module:
    """The loss of a spec, told the class counts of the training masks."""
    from lossmith.torch import fit, parse

    loss = parse(spec, task)
    fit(loss, counts)
    return loss


def loss_inputs(loss: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What a loss is called with beside logits and masks: the images, where it looks at them."""
    from lossmith.torch import Loss

    asked = "image" in inspect.signature(loss.forward).parameters
    asked = asked or any("image" in part.record.inputs for part in loss.modules() if isinstance(part, Loss))
    return {"image": images} if asked else {}


def _test(plan: Plan, net: nn.Module, device: torch.device, draft: Draft) -> tuple[Counts, Counts] | None:
    """Exact and tolerant counts (N, F, T) of the test images; None where an output is not finite."""
    exact, near = [], []
    with draft.predictions() as file:
        for number, sample in enumerate(plan.data.test):
            logits = predict(net, sample, device)
            if not np.isfinite(logits).all():
                return None
            levels = to_levels(logits)
            file.add(number, levels)
            exact.append(count_image(levels, sample.truth))
            near.append(count_image(levels, sample.truth, plan.settings.tolerance))
    return Counts.stack(exact), Counts.stack(near)


@torch.no_grad()
def predict(net: nn.Module, sample: Sample, device: torch.device) -> NDArray[np.float32]:
    """Logits (C, H, W) of a whole image, padded by reflection to a multiple of 32 and cropped back."""
    height, width = sample.image.shape[1:]
    pads = [(0, 0), *((0, -size % STRIDE) for size in (height, width))]
    image = torch.from_numpy(np.pad(sample.image, pads, mode="reflect"))[None].to(device)
    training = net.training
    net.eval()
    logits = net(image.contiguous(memory_format=torch.channels_last))
    net.train(training)
    if logits.ndim != 4 or logits.shape[2:] != image.shape[2:]:
        expected = f"logits of shape (N, C, {image.shape[2]}, {image.shape[3]})"
        raise ValueError(must("the model's output", expected, tuple(logits.shape)))
    cropped: NDArray[np.float32] = logits[0, :, :height, :width].float().cpu().numpy()
    return cropped
