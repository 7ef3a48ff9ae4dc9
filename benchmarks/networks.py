"""Time of a training step of the lab's networks: python benchmarks/networks.py.

Interleaved, medians of five rounds, one thread.
"""

import statistics
import time

import numpy as np
import torch

from lossmith.lab.models import WIDTHS, build_model, parameter_count
from lossmith.torch import parse

ROUNDS, BATCH, CROP = 5, 8, 256


def step(net: torch.nn.Module, loss: torch.nn.Module, half: bool) -> float:
    images = torch.rand(BATCH, 3, CROP, CROP).contiguous(memory_format=torch.channels_last)
    target = (torch.rand(BATCH, CROP, CROP) > 0.98).long()
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        logits = net(images)
    net.zero_grad()
    loss(logits, target).backward()
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    loss = parse("dice + ce", "binary")
    shares = np.array([0.98, 0.02])
    nets = {name: build_model(name, shares=shares, binary=True, seed=0) for name in WIDTHS}
    nets = {name: net.to(memory_format=torch.channels_last) for name, net in nets.items()}
    cases = [(name, half) for name in nets for half in (False, True)]
    seconds: dict[tuple[str, bool], list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS + 1):  # the first round warms up
        for case in cases:
            seconds[case].append(step(nets[case[0]], loss, case[1]))
    base = statistics.median(seconds["unet", False][1:])
    print(f"torch {torch.__version__}, batch {BATCH}x{CROP}x{CROP}, one thread")
    for (name, half), times in seconds.items():
        median = statistics.median(times[1:])
        kind = "bfloat16" if half else "float32"
        parameters = parameter_count(nets[name])
        print(f"{name:15} {kind:9} {parameters:7} parameters {median:.2f} s a step, {median / base:.1f}x")


if __name__ == "__main__":
    main()
