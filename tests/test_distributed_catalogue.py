"""Every loss of the catalogue on two processes: value and gradient are those of the whole batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from lossmith.core.catalogue import CATALOGUE
from lossmith.torch import parse
from paths import Given, given, in_blocks, in_one
from test_distributed import meet, spawned

IMAGES, SPACE = 4, (5, 6)
# Each of these that a loss has is varied: where sums are taken, and what is too slow for so small a batch.
VARIED = {"pool": ["'image'", "'batch'"], "per_image": ["True", "False"], "iterations": ["2"]}
SPECS = [
    (f"{record.name}({', '.join(chosen)})" if chosen else record.name, task)
    for record in CATALOGUE.values()
    if "process_group" in (names := [parameter.name for parameter in record.parameters])
    for chosen in product(*([f"{name}={value}" for value in VARIED[name]] for name in VARIED if name in names))
    for task in record.tasks
]


@dataclass(frozen=True)
class Run:
    """How a batch is given out to two processes."""

    mode: str
    shares: tuple[Sequence[int], Sequence[int]]
    options: dict[str, Any]
    more: bool = False  # with the inputs that a loss can do without
    dtype: torch.dtype = torch.float64


RUNS = {
    "weighted": Run("weight", ([0, 2, 3], [1]), {}, more=True),
    "none": Run("plain", ([2], [0, 1, 3]), {"reduction": "none"}),
    "one process has no images": Run("ignore", ([0, 1, 2, 3], []), {"reduction": "sum"}),
    "single precision": Run("plain", ([0, 1], [2, 3]), {}, dtype=torch.float32),
}


def batch_of(spec: str, task: str, run: Run) -> tuple[Given, dict[str, Tensor]]:
    """A batch, and what the loss is called with beside it, another for each image."""
    record = CATALOGUE[spec.partition("(")[0]]
    found = given(task, run.mode, images=IMAGES, space=SPACE, dtype=run.dtype)
    channels, generator = found.logits.shape[1], torch.Generator().manual_seed(7)
    some = torch.rand(IMAGES, channels, generator=generator) < 0.5
    known = {
        "image": torch.rand(IMAGES, 2, *SPACE, generator=generator, dtype=run.dtype),
        "annotated": some | (torch.arange(channels) == 0),
    }
    if run.more:
        known["distance"] = 4 * torch.randn(found.logits.shape, generator=generator, dtype=run.dtype)
        known["tags"] = some
    if "annotated" in record.inputs:  # an image has labels of annotated classes alone
        lost = torch.stack(
            [~row[label.clamp(max=channels - 1)] for row, label in zip(known["annotated"], found.target, strict=True)]
        )
        found = replace(found, target=torch.where(lost & (found.target < channels), 0, found.target))
    return found, {name: known[name] for name in record.inputs if name in known}


def evaluated(name: str, spec: str, task: str, images: Sequence[int], **options: Any) -> tuple[Tensor, Tensor]:
    """The value of some images of a run, and the gradient of its sum."""
    run = RUNS[name]
    found, inputs = batch_of(spec, task, run)
    part = replace(found, logits=found.logits[images].clone().requires_grad_(), target=found.target[images])
    weight = None if found.weight is None else found.weight[images]
    inputs = {name: values[images] for name, values in inputs.items()}
    loss = parse(spec, task, ignore_index=found.ignore_index, **run.options, **options)
    value = loss(part.logits, part.target, weight, **inputs)
    value.sum().backward()
    return value.detach(), part.logits.grad


def everything(rank: int, folder: str) -> None:
    """What each process finds; one goes through blocks, the other does not."""
    meet(rank, 2, folder)
    found = {}
    with in_blocks(128) if rank == 0 else in_one():
        for case in ((name, spec, task) for name in RUNS for spec, task in SPECS):
            try:
                found[case] = evaluated(*case, RUNS[case[0]].shares[rank], process_group="world")
            except Exception as error:
                error.add_note(f"in {case}")
                raise
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, tuple[Tensor, Tensor]]]:
    return spawned(everything, 2, tmp_path_factory.mktemp("catalogue"))


@pytest.mark.parametrize(("spec", "task"), SPECS)
def test_every_loss_is_that_of_the_whole_batch(found, spec, task):
    for name, run in RUNS.items():
        value, gradient = evaluated(name, spec, task, range(IMAGES))
        by_image = value.ndim > 0 and len(value) == IMAGES and "pool='batch'" not in spec
        for rank, images in enumerate(run.shares):
            own_value, own_gradient = found[rank][name, spec, task]
            same(own_value, value[images] if by_image else value, run, name)
            same(own_gradient / (1 if by_image else 2), gradient[images], run, name)


def same(own: Tensor, expected: Tensor, run: Run, said: str) -> None:
    limit = 1e-6 if run.dtype is torch.float32 else 1e-12
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(own, expected, rtol=limit, atol=limit * scale, msg=lambda text: f"{said}: {text}")
