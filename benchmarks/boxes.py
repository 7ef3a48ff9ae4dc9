"""Box losses: forward and backward of IoU, GIoU, DIoU and CIoU beside torchvision and the formula as plain torch code.

`python benchmarks/boxes.py` takes about two minutes.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import median
from time import perf_counter
from typing import TypedDict

import torch
from isolate import isolated
from ledger import Ledger, circumstances, open_ledger, parser
from machine import Environment, summary
from torch import Tensor
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from lossmith import torch as ours

Run = Callable[[Tensor, Tensor], Tensor]
SIZES = (8, 100, 10_000, 1_000_000)
QUICK_SIZES = SIZES[:3]
LOSSES = ("IoU", "GIoU", "DIoU", "CIoU")
PATIENCE = 300.0
FEWEST, MOST = 5, 2000
EPS = 1e-7


class Row(TypedDict, total=False):
    """Milliseconds (median, least, most) of each contender."""

    loss: str
    boxes: int
    threads: int
    load: float
    at: str
    rounds: int
    ms: dict[str, list[float]]


def main() -> None:
    """Measure row by row; each is on disk when the next one starts."""
    options = _options()
    ledger: Ledger[Row] = open_ledger("boxes", options, page)
    sizes = QUICK_SIZES if options.quick else SIZES
    rows: list[Row] = [
        {"loss": loss, "boxes": n, "threads": threads} for threads in options.threads for n in sizes for loss in LOSSES
    ]
    for row in rows:
        if ledger.has(row):
            continue
        row["load"], row["at"] = circumstances()
        row["rounds"], row["ms"] = isolated(PATIENCE, race, row["loss"], row["boxes"], row["threads"], options.seconds)
        print(f"{row['loss']}, {row['boxes']} boxes, {row['threads']} threads: {row['ms']}", flush=True)
        ledger.add(row)
    print(f"results: {ledger.path.with_suffix('.md')}")


def _options() -> argparse.Namespace:
    command = parser(__doc__)
    command.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    command.add_argument("--seconds", type=float, help="time for the rounds of a row (default 3; quick 0.5)")
    options = command.parse_args()
    options.seconds = options.seconds or (0.5 if options.quick else 3.0)
    return options


def race(
    progress: Callable[[str], None], loss: str, n: int, threads: int, seconds: float
) -> tuple[int, dict[str, list[float]]]:
    """Rounds A B C A B C ... of all that agree in value and gradient."""
    torch.set_num_threads(threads)
    pred, target = make_boxes(n)
    runs = contenders(loss)
    results = {name: _gradient(run, pred, target) for name, run in runs.items()}
    for name, result in results.items():
        torch.testing.assert_close(result, results["lossmith"], rtol=1e-3, atol=1e-6, msg=f"{name} has another {loss}")
    times: dict[str, list[float]] = {name: [] for name in runs}
    warm, started, rounds = 2, perf_counter(), -2
    while rounds < FEWEST or (rounds < MOST and perf_counter() - started < seconds):
        for name, run in runs.items():
            progress(name)
            before = perf_counter()
            _gradient(run, pred, target)
            times[name].append(1e3 * (perf_counter() - before))
        rounds += 1
    return rounds, {name: [round(f(t[warm:]), 4) for f in (median, min, max)] for name, t in times.items()}


def make_boxes(n: int) -> tuple[Tensor, Tensor]:
    """Targets of 10 to 90 pixels, and predictions a few pixels off."""
    draw = torch.Generator().manual_seed(n)
    centre, size = 500 * torch.rand(n, 2, generator=draw), 10 + 80 * torch.rand(n, 2, generator=draw)
    target = torch.cat([centre - size / 2, centre + size / 2], dim=1)
    return (target + torch.rand(n, 4, generator=draw) * 8 - 4).requires_grad_(), target


def contenders(loss: str) -> dict[str, Run]:
    """Who takes part: torchvision has no IoU loss of pairs."""
    module = {"IoU": ours.IoULoss, "GIoU": ours.GIoULoss, "DIoU": ours.DIoULoss, "CIoU": ours.CIoULoss}[loss]()
    runs: dict[str, Run] = {"lossmith": module, "plain torch": lambda pred, target: plain(pred, target, loss)}
    functions: dict[str, Callable[..., Tensor]] = {
        "GIoU": generalized_box_iou_loss,
        "DIoU": distance_box_iou_loss,
        "CIoU": complete_box_iou_loss,
    }
    if loss in functions:
        runs["torchvision"] = lambda pred, target: functions[loss](pred, target, reduction="mean")
    return runs


def plain(pred: Tensor, target: Tensor, loss: str) -> Tensor:
    """The formula the way one writes it in a training script."""
    x1, y1, x2, y2 = pred.unbind(-1)
    u1, v1, u2, v2 = target.unbind(-1)
    width, height, target_width, target_height = x2 - x1, y2 - y1, u2 - u1, v2 - v1
    across = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)
    down = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp(min=0)
    union = width * height + target_width * target_height - across * down
    result = 1 - across * down / (union + EPS)
    if loss == "IoU":
        return result.mean()
    hull_width = torch.maximum(x2, u2) - torch.minimum(x1, u1)
    hull_height = torch.maximum(y2, v2) - torch.minimum(y1, v1)
    if loss == "GIoU":
        hull = hull_width * hull_height
        return (result + (hull - union) / (hull + EPS)).mean()
    centres = ((x1 + x2 - u1 - u2) ** 2 + (y1 + y2 - v1 - v2) ** 2) / 4
    far = result + centres / (hull_width**2 + hull_height**2 + EPS)
    if loss == "DIoU":
        return far.mean()
    angle = torch.atan(target_width / (target_height + EPS)) - torch.atan(width / (height + EPS))
    v = 4 / math.pi**2 * angle**2
    with torch.no_grad():
        alpha = v / (result + v + EPS)
    return (far + alpha * v).mean()


def _gradient(run: Run, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    value = run(pred, target)
    return value.detach(), torch.autograd.grad(value, pred)[0]


def page(environment: Environment, rows: Sequence[Row]) -> str:
    """The results as a page."""
    lines = [
        "# Box losses: time beside torchvision and plain torch code",
        "",
        "Made by `benchmarks/boxes.py`. Forward and backward of the mean over N boxes in float32, median milliseconds;",
        "the factor says how many times as long as lossmith it takes: above 1 lossmith is faster. Before the timing",
        "all agree in value and gradient; then they run in turn, in one process, on the same boxes. torchvision has no",
        "IoU loss of pairs. lossmith checks its input (shapes, inverted and empty boxes); the others do not.",
        "",
        summary(environment),
    ]
    for threads, part in groupby(rows, key=lambda row: row["threads"]):
        lines += ["", f"## {threads} thread{'s' if threads > 1 else ''}", ""]
        lines += ["| loss | boxes | lossmith | plain torch | torchvision | load |", "|---|---|---|---|---|---|"]
        for row in part:
            own = row["ms"]["lossmith"][0]
            others = [
                f"{row['ms'][name][0]:.3g} ({row['ms'][name][0] / own:.2f})" if name in row["ms"] else "-"
                for name in ("plain torch", "torchvision")
            ]
            lines.append(
                f"| {row['loss']} | {row['boxes']:,} | {own:.3g} | {others[0]} | {others[1]} | {row['load']} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
