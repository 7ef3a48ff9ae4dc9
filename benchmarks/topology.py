"""clDice against MONAI's, time and memory: `python benchmarks/topology.py`, with MONAI installed.

Forward and backward in one thread, the least time of the processor of so many runs; memory is the greatest size of all
tensors that came into being in the meantime, over that of the logits.
"""

import argparse
import time

import torch
from monai.losses import SoftclDiceLoss
from torch.profiler import ProfilerActivity, profile

from lossmith.torch import ClDiceLoss, SkeletonRecallLoss

SHAPES = [(2, 21, 256, 256), (2, 4, 64, 64, 64)]


def monai(iterations: int):
    loss = SoftclDiceLoss(iter_=iterations)

    def value(logits, target):
        hot = torch.nn.functional.one_hot(target, logits.shape[1]).movedim(-1, 1).float()
        return loss(hot, logits.softmax(1))

    return value


def peak(step) -> int:
    """The most memory that was allocated at a time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    most = alive = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            most = max(most, alive)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| logits | iterations | loss | seconds | memory / logits |\n|---|---|---|---|---|")
    for shape in SHAPES:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(shape, generator=generator).requires_grad_()
        target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
        for iterations in (3, 10):
            losses = {"MONAI clDice": monai(iterations), "cldice": ClDiceLoss("multiclass", iterations=iterations)}
            if iterations == 3:
                losses["skeleton_recall"] = SkeletonRecallLoss("multiclass")
            best = dict.fromkeys(losses, float("inf"))

            def step(loss, logits=logits, target=target):
                loss(logits, target).backward()
                logits.grad = None

            for _ in range(options.runs):
                for name, loss in losses.items():
                    start = time.process_time()
                    step(loss)
                    best[name] = min(best[name], time.process_time() - start)
            for name, loss in losses.items():
                memory = peak(lambda loss=loss, step=step: step(loss)) / logits.nbytes
                print(f"| {shape} | {iterations} | {name} | {best[name]:.2f} | {memory:.1f} |", flush=True)


if __name__ == "__main__":
    main()
