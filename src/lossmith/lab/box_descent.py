"""The experiment of the DIoU paper: boxes that descend to their targets, from every place, size and shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossmith.lab.box_gradients import Gradient, iou_of

Floats = NDArray[np.float64]

RADIUS = 3.0
ASPECTS = (1 / 4, 1 / 3, 1 / 2, 1.0, 2.0, 3.0, 4.0)  # width to height
AREAS = (0.5, 0.67, 0.75, 1.0, 1.33, 1.5, 2.0)  # of a prediction; a target has area 1
CASES = len(ASPECTS) * len(AREAS) * len(ASPECTS)  # at each starting point
RATES = (0.1,) * 160 + (0.01,) * 20 + (0.001,) * 20
STEPS = len(RATES)
NEAR = 0.1  # an error below it counts as arrived


def starting_points(count: int, seed: int | None = None) -> Floats:
    """Points (count, 2) of the disc round the target's centre: a sunflower's, or at random as the paper has them."""
    if seed is None:
        number = np.arange(count)
        radius, angle = np.sqrt((number + 0.5) / count), number * math.pi * (3 - math.sqrt(5))
    else:
        radius, angle = np.random.default_rng(seed).random((2, count))
        radius, angle = np.sqrt(radius), 2 * math.pi * angle
    return RADIUS * np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def cases(points: Floats) -> tuple[Tensor, Tensor]:
    """Predictions and targets (343 for each point, 4) as (x, y, w, h), point by point."""
    ratio = torch.tensor(ASPECTS, dtype=torch.float64)
    shape = torch.stack([ratio.sqrt(), 1 / ratio.sqrt()], dim=1)
    side = torch.tensor(AREAS, dtype=torch.float64).sqrt()
    grid = (len(points), len(ASPECTS), len(AREAS), len(ASPECTS), 2)
    centre = torch.from_numpy(points)[:, None, None, None, :].expand(grid)
    size = (side[:, None, None] * shape).expand(grid)
    target_size = shape[:, None, None, :].expand(grid)
    boxes, targets = torch.cat([centre, size], dim=-1), torch.cat([0 * centre, target_size], dim=-1)
    return boxes.reshape(-1, 4), targets.reshape(-1, 4)


def walk(gradient: Gradient, boxes: Tensor, targets: Tensor) -> Iterator[Tensor]:
    """The boxes at the start and after each step; boxes that overlap less take longer steps."""
    yield boxes
    for rate in RATES:
        boxes = boxes - rate * (2 - iou_of(boxes, targets)) * gradient(boxes, targets)
        yield boxes


def errors(boxes: Tensor, targets: Tensor) -> Tensor:
    """|dx| + |dy| + |dw| + |dh| of each box."""
    return (boxes - targets).abs().sum(dim=1)


@dataclass(frozen=True)
class Descent:
    """What came of some starting points: sums over cases.

    curve: (201,) the error at the start and after each step. final: (points,) the error after the last. arrived:
    (points,) how many cases are nearer than 0.1.
    """

    curve: Floats
    final: Floats
    arrived: Floats

    @classmethod
    def join(cls, parts: list[Descent]) -> Descent:
        """Of all points of several."""
        return cls(
            np.sum([part.curve for part in parts], axis=0),
            np.concatenate([part.final for part in parts]),
            np.concatenate([part.arrived for part in parts]),
        )


def descend(gradient: Gradient, points: Floats) -> Descent:
    """Let every case of the points descend."""
    starts, targets = cases(points)
    curve = []
    for boxes in walk(gradient, starts, targets):
        error = errors(boxes, targets)
        curve.append(float(error.sum()))
    by_point = error.reshape(len(points), CASES)
    return Descent(np.array(curve), by_point.sum(1).numpy(), (by_point < NEAR).sum(1).double().numpy())
