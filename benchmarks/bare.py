"""Dice as a bare loop over blocks, with nothing around it, beside `DiceLoss`: python benchmarks/bare.py.

What the blocks themselves cost: no label is checked, no weight, class without pixels or other reduction is thought of,
and autograd does not hear of it.
"""

import json
import os
from collections.abc import Callable, Iterator
from statistics import median
from time import process_time
from typing import TypedDict

import torch
from contenders import OURS
from ledger import folder, parser, write
from machine import Environment, describe, summary
from rows import digits
from torch import Tensor
from workloads import WORKLOADS, Batch, Workload, make_batch

from lossmith.torch import DiceLoss

ELEMENTS = 2**17  # of a block
ROUNDS, QUICK_ROUNDS = 40, 5
TOLERANCE = 1e-5
SHAPES = ((2, 4, 96, 96, 96), (16, 1, 512, 512))

Step = Callable[[], tuple[float, Tensor]]


class Row(TypedDict):
    """Milliseconds of every round, and how far value and gradient (relative to its largest) are apart."""

    workload: str
    bare: list[float]
    ours: list[float]
    off: float
    gradient_off: float


def main() -> None:
    """Both in turn on each workload; write bare.json and bare.md."""
    options = parser(__doc__, rows=False).parse_args()
    out = folder(options.out, part=options.quick)
    torch.set_num_threads(1)
    environment, load = describe(), os.getloadavg()[0]
    chosen = [workload for workload in WORKLOADS if workload.shape in SHAPES]
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    rows = [measure(workload.reduced() if options.quick else workload, rounds) for workload in chosen]
    write(out / "bare.json", json.dumps({"environment": environment, "load": load, "rows": rows}, indent=1) + "\n")
    text = page(environment, load, rows)
    write(out / "bare.md", text)
    print(f"{text}results: {out / 'bare.md'}")


def measure(workload: Workload, rounds: int) -> Row:
    """Rounds in turn, A B A B ..., after one that is compared and not timed."""
    batch = make_batch(workload, torch.float32)
    target = batch.mask.squeeze(1) if batch.task == "binary" else batch.labels
    steps: dict[str, Step] = {"bare": BareDice(batch, target).step, "ours": dice_loss(batch, target)}
    (value, gradient), (our_value, our_gradient) = (step() for step in steps.values())
    gradient = gradient.view_as(our_gradient)
    off = abs(value / our_value - 1)
    gradient_off = float((gradient - our_gradient).abs().max() / our_gradient.abs().max())
    if max(off, gradient_off) > TOLERANCE:
        raise ValueError(f"{workload.name}: another loss; value off by {off:.1e}, gradient by {gradient_off:.1e}")
    del gradient, our_gradient
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            started = process_time()
            step()
            times[name].append(round(1e3 * (process_time() - started), 3))
    return {"workload": workload.name, "bare": times["bare"], "ours": times["ours"], "off": off,
            "gradient_off": gradient_off}  # fmt: skip


def dice_loss(batch: Batch, target: Tensor) -> Step:
    """This library, at its defaults: sums over each image."""
    loss = DiceLoss(batch.task)

    def step() -> tuple[float, Tensor]:
        batch.logits.grad = None
        value = loss(batch.logits, target)
        torch.autograd.backward([value])
        assert batch.logits.grad is not None
        return value.item(), batch.logits.grad

    return step


class BareDice:
    """The loop: P, T and I of every block, the value, then block by block the gradient into new memory."""

    def __init__(self, batch: Batch, target: Tensor) -> None:
        self.z = batch.logits.detach().flatten(2)
        self.labels = target.flatten(1)
        images, self.channels, self.pixels = self.z.shape
        self.softmax = batch.task == "multiclass"
        self.P, self.T, self.I = (torch.zeros(images, self.channels) for _ in range(3))
        self.size = min(self.pixels, ELEMENTS // self.channels)
        self.p, self.t, self.g = (torch.empty(self.channels, self.size) for _ in range(3))
        self.top, self.total = torch.empty(1, self.size), torch.empty(self.size)
        self.bytes = torch.empty(self.size, dtype=torch.uint8)
        self.classes, self.ones = torch.arange(self.channels, dtype=torch.uint8).view(-1, 1), torch.ones(self.channels)

    def step(self) -> tuple[float, Tensor]:
        """Value and gradient."""
        for sums in (self.P, self.T, self.I):
            sums.zero_()
        for image, pixels in self._blocks():
            p, t, g = self._open(image, pixels)
            self.P[image] += p.sum(1)
            self.T[image] += t.sum(1)
            self.I[image] += torch.mul(p, t, out=g).sum(1)
        size = self.P + self.T
        slope_P, slope_I = 2 * self.I / size**2 / size.numel(), -2 / size / size.numel()
        out = torch.empty_like(self.z)
        for image, pixels in self._blocks():
            p, t, g = self._open(image, pixels)
            torch.mul(t, slope_I[image].unsqueeze(1), out=g).add_(slope_P[image].unsqueeze(1))
            into = out[image, :, pixels]
            if self.softmax:
                mean = torch.mv(torch.mul(p, g, out=t).t(), self.ones, out=self.total[: p.shape[1]])
                torch.mul(g.sub_(mean), p, out=into)
            else:
                torch.ops.aten.sigmoid_backward(g, p, grad_input=into)
        return float((1 - 2 * self.I / size).mean()), out

    def _blocks(self) -> Iterator[tuple[int, slice]]:
        for image in range(len(self.z)):
            for start in range(0, self.pixels, self.size):
                yield image, slice(start, min(start + self.size, self.pixels))

    def _open(self, image: int, pixels: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, one-hot target, and room of the same shape."""
        z, labels = self.z[image, :, pixels], self.labels[image, pixels]
        p, t, g = (room[:, : z.shape[1]] for room in (self.p, self.t, self.g))
        if not self.softmax:
            torch.sigmoid(z, out=p)
            t.copy_(labels)
            return p, t, g
        top, total = self.top[:, : z.shape[1]], self.total[: z.shape[1]]
        torch.sub(z, torch.amax(z, 0, keepdim=True, out=top), out=p).exp_()
        p.mul_(torch.mv(p.t(), self.ones, out=total).reciprocal_())
        torch.eq(self.bytes[: z.shape[1]].copy_(labels), self.classes, out=t)
        return p, t, g


def page(environment: Environment, load: float, rows: list[Row]) -> str:
    """The markdown page."""
    lines = [f"| ms | bare loop | {OURS} | ratio |", "|---|---|---|---|"]
    for row in rows:
        bare, ours = row["bare"], row["ours"]
        cells = (f"{digits(median(ms))} ({digits(min(ms))} to {digits(max(ms))})" for ms in (bare, ours))
        lines.append(f"| {row['workload']} | {' | '.join(cells)} | {median(ours) / median(bare):.2f} |")
    return f"""# Dice as a bare loop

Made by `benchmarks/bare.py`: forward and backward in one thread, milliseconds of processor time, median (least to most)
of {len(rows[0]["bare"])} rounds in turn. The loop has blocks of {ELEMENTS // 1024}k elements in buffers that are made
beforehand, and the gradient in new memory, as autograd wants it; nothing is checked. Value and gradient agree to
{TOLERANCE:g}.

{summary(environment)} Load at the start {load:.1f}.

{chr(10).join(lines)}
"""


if __name__ == "__main__":
    main()
