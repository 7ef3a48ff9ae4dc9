"""Processes that share a batch, each with images of its own: value and gradient are those of the whole batch."""

import copy
import multiprocessing
import os
import pickle
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from lossmith.check.cases import case
from lossmith.torch import Balanced, DiceLoss, Loss, parse
from lossmith.torch.distributed import Group
from oracle import Batch
from paths import SEPARABLE, in_blocks, in_one
from test_oracle import TASK_VARIANTS, for_task, make_batch, takes

# name: the batch, the images of each of two processes, and whether each goes through blocks.
UNEVEN = ([0, 1, 2], [3])
SHARES: dict[str, tuple[str, tuple[list[int], list[int]], tuple[bool, bool]]] = {
    "uneven": ("plain", UNEVEN, (True, False)),
    "weighted": ("weight", ([0, 2], [1, 3]), (True, True)),
    "ignored": ("ignore", ([0], [1, 2, 3]), (False, True)),
    "one process has ignored pixels alone": ("one_image_ignored", ([0, 2, 3], [1]), (True, True)),
    "one process has no images": ("plain", ([0, 1, 2, 3], []), (True, True)),
    "background alone": ("background", ([0, 1], [2, 3]), (False, False)),
    "soft": ("soft_weight", ([0, 1], [2, 3]), (True, False)),
    "probabilities": ("probs", ([0, 1, 2], [3]), (True, True)),
}
CASES = [tuple(case.values) for case in TASK_VARIANTS] + [
    ("dice", "dice(log=True, pool='batch')", "multiclass"),
    ("dice", "dice(log=True, pool='batch', squared=True)", "multilabel"),
    ("jaccard", "jaccard(log=True, pool='batch', smooth=0.5)", "binary"),
]
REDUCED = [(name, variant, task) for name, variant, task in CASES if task == SEPARABLE[name].tasks[-1]]
SUM = "ce + wce + 0.5*dice(pool='batch') + 0.1*lovasz + focal(normalize='positives')"


def evaluated(variant: str, batch: Batch, **options: Any) -> tuple[Tensor, Tensor]:
    """The value, and the gradient of its sum."""
    loss = parse(
        for_task(variant, batch.task),
        batch.task,
        ignore_index=batch.ignore_index,
        from_logits=batch.from_logits,
        **options,
    )
    scores, target, weight = (
        None if x is None else torch.from_numpy(x) for x in (batch.scores, batch.target, batch.weight)
    )
    scores.requires_grad_()
    value = loss(scores, target, weight)
    value.sum().backward()
    return value.detach(), scores.grad


def run(case: tuple[str, str, str], mode: str, images: Sequence[int], **options: Any) -> tuple[Tensor, Tensor]:
    """A variant on a process's own images."""
    _, variant, task = case
    return evaluated(variant, share(batch_of(mode, task), images), process_group="world", **options)


def batch_of(mode: str, task: str) -> Batch:
    return make_batch(task, mode, seed=len(mode), images=4, pixels=20)


def share(batch: Batch, images: Sequence[int]) -> Batch:
    weight = None if batch.weight is None else batch.weight[images]
    return replace(batch, scores=batch.scores[images], target=batch.target[images], weight=weight)


def through(blocks: bool) -> AbstractContextManager[None]:
    """Small batches as one, or in blocks of 16 pixels."""
    return in_blocks() if blocks else in_one()


def everything(rank: int, folder: str) -> None:
    """What each of two processes finds, in a file of its own."""
    meet(rank, 2, folder)
    found: dict[str, Any] = {}
    for name, (mode, shares, blocks) in SHARES.items():
        with through(blocks[rank]):
            found |= {(name, *case): run(case, mode, shares[rank]) for case in CASES if takes(case[0], mode)}
    with through(rank == 0):
        found |= {
            (reduction, *case): run(case, "plain", UNEVEN[rank], reduction=reduction)
            for case in REDUCED
            for reduction in ("sum", "none")
        }
        found["sum of losses"] = run(("", SUM, "multiclass"), "ignore", UNEVEN[1 - rank])
    found |= {"float32": [single(variant, rank, "world") for variant in SINGLE]}
    found |= {"penalty": penalty(rank, "world"), "grad": transformed(rank, "world"), "counted": collectives(rank)}
    found |= {
        "ddp": trained(rank),
        "fabric": trained_in_fabric(rank),
        "compiled": compiled(rank, "world"),
        "kept": kept(),
        "balanced": balanced(rank, "world"),
    }
    found["compiled with a group"] = compiled(rank, dist.new_group([0, 1]))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def meet(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    patience = timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world, timeout=patience)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return spawned(everything, 2, tmp_path_factory.mktemp("two"))


multiprocessing.set_forkserver_preload(["torch", "lossmith.torch"])  # loaded once for all processes


def spawned(work: Any, world: int, folder: Path) -> list[dict[str, Any]]:
    torch.multiprocessing.start_processes(work, (str(folder),), nprocs=world, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world)]


@pytest.mark.parametrize(("name", "variant", "task"), CASES)
def test_value_and_gradient_are_those_of_the_whole_batch(found, name, variant, task):
    for said, (mode, shares, _) in SHARES.items():
        if takes(name, mode):
            value, gradient = evaluated(variant, batch_of(mode, task))
            for rank, images in enumerate(shares):
                own_value, own_gradient = found[rank][said, name, variant, task]
                same(own_value, value, said)
                same(own_gradient / 2, gradient[images], said)


@pytest.mark.parametrize(("name", "variant", "task"), REDUCED)
def test_every_reduction_is_that_of_the_whole_batch(found, name, variant, task):
    batch = batch_of("plain", task)
    value, gradient = evaluated(variant, batch, reduction="sum")
    for rank, images in enumerate(UNEVEN):
        own_value, own_gradient = found[rank]["sum", name, variant, task]
        same(own_value, value)
        same(own_gradient / 2, gradient[images])
    value, gradient = evaluated(variant, batch, reduction="none")
    own = [found[rank]["none", name, variant, task] for rank in (0, 1)]
    pooled = value.shape[:1] != (4,)
    for rank, images in enumerate(UNEVEN):
        same(own[rank][0], value if pooled else value[images])
        same(own[rank][1] / (2 if pooled else 1), gradient[images])


def same(own: Tensor, expected: Tensor, said: str = "") -> None:
    np.testing.assert_allclose(own, expected, rtol=1e-12, atol=1e-13, err_msg=said)


def test_a_sum_of_losses_is_that_of_the_whole_batch(found):
    value, gradient = evaluated(SUM, batch_of("ignore", "multiclass"))
    for rank, images in enumerate(reversed(UNEVEN)):
        same(found[rank]["sum of losses"][0], value)
        same(found[rank]["sum of losses"][1] / 2, gradient[images])


SINGLE = ("ce", "dice(pool='batch')", "dice(log=True, pool='batch')", "focal(normalize='positives')", "gdice(pool='batch')",
          "lovasz", "topk(k=0.1)", "ohem(min_kept=500)")  # fmt: skip


def single(variant: str, rank: int | None, group: str | None) -> tuple[Tensor, Tensor]:
    """In float32, on images of 3 x 64 x 64: three of them go through compiled code, one does not."""
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(4, 3, 64, 64, generator=generator)
    target = torch.randint(3, (4, 64, 64), generator=generator)
    images = slice(None) if rank is None else [slice(0, 3), slice(3, 4)][rank]
    own = logits[images].clone().requires_grad_()
    value = parse(variant, "multiclass", process_group=group)(own, target[images])
    value.backward()
    return value.detach(), own.grad


def test_single_precision_is_exact_to_a_millionth(found):
    for number, variant in enumerate(SINGLE):
        value, gradient = single(variant, None, None)
        for rank, images in enumerate([slice(0, 3), slice(3, 4)]):
            own_value, own_gradient = found[rank]["float32"][number]
            np.testing.assert_allclose(own_value, value, rtol=1e-6, err_msg=variant)
            bound = 1e-6 * gradient.abs().max().item()
            np.testing.assert_allclose(own_gradient / 2, gradient[images], rtol=1e-6, atol=bound, err_msg=variant)


def given(rank: int | None) -> tuple[Tensor, Tensor]:
    """The images of a process; of the whole batch for None."""
    batch = case("multiclass", 5, 5, dtype=torch.float64)
    images = slice(None) if rank is None else [slice(0, 1), slice(1, None)][rank]
    return batch.logits[images].detach(), batch.target[images]


def penalty(rank: int | None, group: str | None) -> Tensor:
    """The gradient of the squared norm of a gradient."""
    logits, target = given(rank)
    logits.requires_grad_()
    value = parse("ce + dice(pool='batch')", "multiclass", process_group=group)(logits, target)
    (gradient,) = torch.autograd.grad(value, logits, create_graph=True)
    (second,) = torch.autograd.grad((gradient**2).sum(), logits)
    return second


def test_second_derivatives_are_those_of_the_whole_batch(found):
    """The penalty of each process is on W times the gradient: the sum over processes is W^2 times that of one."""
    second = torch.cat([found[rank]["penalty"] for rank in (0, 1)])
    same(second / 4, penalty(None, None))


def balanced(rank: int | None, group: str | None) -> float:
    """The factor between two losses after an epoch of one batch."""
    loss = Balanced(*(parse(name, "multiclass", process_group=group) for name in ("hausdorff", "dice")))
    loss(*given(rank))
    loss.step()
    return loss.factor.item()


def test_losses_are_balanced_by_the_whole_batch(found):
    assert [found[rank]["balanced"] for rank in (0, 1)] == pytest.approx([balanced(None, None)] * 2, rel=1e-6)


def transformed(rank: int | None, group: str | None) -> Tensor:
    logits, target = given(rank)
    return torch.func.grad(parse("dice(pool='batch')", "multiclass", process_group=group))(logits, target)


def test_function_transforms_go_through(found):
    same(torch.cat([found[rank]["grad"] for rank in (0, 1)]) / 2, transformed(None, None))


def collectives(rank: int) -> dict[str, int]:
    """How many collectives a call makes, forward and backward."""
    made: list[str] = []
    reduce, gather = dist.all_reduce, dist.all_gather
    dist.all_reduce = lambda *args, **options: (made.append("reduce"), reduce(*args, **options))
    dist.all_gather = lambda *args, **options: (made.append("gather"), gather(*args, **options))
    logits, target = given(rank)
    logits.requires_grad_()
    counts = {}
    for spec in ("ce", "dice(pool='batch')", "dice(pool='batch', log=True)", "wce", "topk", "lovasz"):
        made.clear()
        value = parse(spec, "multiclass", process_group="world")(logits, target)
        forward = len(made)
        value.backward()
        counts[spec] = (forward, len(made) - forward)
    dist.all_reduce, dist.all_gather = reduce, gather
    return counts


def test_a_call_makes_few_collectives(found):
    channels = given(None)[0].shape[1]
    assert found[0]["counted"] == found[1]["counted"] == {
        "ce": (1, 1),
        "dice(pool='batch')": (1, 1),
        "dice(pool='batch', log=True)": (3, 2),
        "wce": (2, 1),
        "topk": (3, 1),
        "lovasz": (1 + 2 * channels, 1),
    }  # fmt: skip


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 4, 3, padding=1)).double()


def images_of(rank: int | None) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(4, 1, 6, 6, generator=generator, dtype=torch.float64)
    target = torch.randint(4, (4, 6, 6), generator=generator)
    target[3] = 255
    own = slice(None) if rank is None else [slice(0, 3), slice(3, 4)][rank]
    return images[own], target[own]


TRAINED = "ce + dice(pool='batch') + dice + lovasz"


def gradients(model: nn.Module, loss: nn.Module, rank: int | None) -> list[Tensor]:
    images, target = images_of(rank)
    loss(model(images), target).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def trained(rank: int) -> list[Tensor]:
    model = nn.parallel.DistributedDataParallel(network())
    return gradients(model, parse(TRAINED, "multiclass", ignore_index=255, process_group="world"), rank)


def trained_in_fabric(rank: int) -> list[Tensor]:
    """Lightning's loop around DDP, in processes that have met already."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    environment = LightningEnvironment()
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp", plugins=[environment], precision="64-true")
    fabric.launch()
    assert (fabric.world_size, fabric.global_rank) == (2, rank)
    model = fabric.setup(network())
    images, target = images_of(rank)
    torch.set_default_dtype(torch.float64)  # in which Fabric hands out what a model gives
    fabric.backward(parse(TRAINED, "multiclass", ignore_index=255, process_group="world")(model(images), target))
    torch.set_default_dtype(torch.float32)
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("way", ["ddp", "fabric"])
def test_what_ddp_averages_is_the_gradient_of_the_whole_batch(found, way):
    expected = gradients(network(), parse(TRAINED, "multiclass", ignore_index=255), None)
    for rank in (0, 1):
        for own, parameter in zip(found[rank][way], expected, strict=True):
            same(own, parameter)


def compiled(rank: int, group: Any) -> dict[str, Any]:
    """A compiled step breaks its graph at the loss; one that may not break says so."""
    logits, target = given(rank)
    logits.requires_grad_()
    loss = DiceLoss("multiclass", pool="batch", process_group=group)

    def step(logits: Tensor) -> Tensor:
        return 2 * loss(3 * logits, target)

    torch.compiler.reset()
    broken = torch.compile(step, backend="eager")(logits)
    torch.compiler.reset()
    try:
        torch.compile(step, backend="eager", fullgraph=True)(logits)
        refused = None
    except Exception as error:
        refused = type(error).__name__
    plain = step(logits)
    (slopes,) = torch.autograd.grad(broken, logits)
    return {
        "values": (broken.item(), plain.item()),
        "gradients": (slopes, *torch.autograd.grad(plain, logits)),
        "refused": refused,
    }


def test_a_compiled_function_has_a_graph_break_at_the_loss(found):
    for own in (found[rank][way] for rank in (0, 1) for way in ("compiled", "compiled with a group")):
        same(*own["values"])
        same(*own["gradients"])
        assert own["refused"] == "Unsupported"


def kept() -> dict[str, Any]:
    """Copies and texts of a loss with a group of its own."""
    group = dist.new_group([0, 1])
    loss = DiceLoss("binary", process_group=group)
    errors = {}
    learned = torch.ones(2, 2, requires_grad=True)
    zeros = torch.zeros(2, 2, dtype=torch.long)
    for name, ask in {
        "a learned weight": lambda: parse("topk", "binary", process_group=group)(learned.detach(), zeros, learned),
        "spec": lambda: loss.spec,
        "sum's spec": lambda: (loss + loss).spec,
        "pickle": lambda: pickle.dumps(loss),
        "other groups": lambda: loss + DiceLoss("binary"),
    }.items():
        try:
            ask()
        except (TypeError, ValueError) as error:
            errors[name] = f"{type(error).__name__}: {error}".replace(repr(group), "GROUP")
    return {
        "shares": copy.deepcopy(loss).settings["process_group"] is group,
        "repr": repr(loss).replace(repr(group), "GROUP"),
        "errors": errors,
    }


def test_a_group_is_shared_by_copies_and_cannot_be_written(found):
    assert found[0]["kept"] == {
        "shares": True,
        "repr": "DiceLoss(dice(process_group=GROUP), task='binary')",
        "errors": {
            "a learned weight": "ValueError: weight must be without gradient in a loss that sorts across processes; "
            "got 'requires_grad=True'",
            "spec": "TypeError: process_group of a spec must be None or 'world'; got GROUP",
            "sum's spec": "TypeError: process_group of a spec must be None or 'world'; got GROUP",
            "pickle": "TypeError: cannot pickle 'torch._C._distributed_c10d.ProcessGroup' object",
            "other groups": "ValueError: process_group of a sum's losses must be the same; got [GROUP, None]",
        },
    }


def three(rank: int, folder: str) -> None:
    """Three processes, of which two have a group of their own, and one a group alone."""
    meet(rank, 3, folder)
    group = [dist.new_group([0, 2]), dist.new_group([1])][rank % 2]
    batch = batch_of("weight", "multiclass")
    found = {
        "all": evaluated("dice(pool='batch')", share(batch, [[0, 3], [1], [2]][rank]), process_group="world"),
        "group": evaluated("dice(pool='batch')", share(batch, [[0, 3], [1], [2]][rank]), process_group=group),
        "gathered": gathered(rank),
    }
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def gathered(rank: int) -> tuple[tuple[Tensor, ...], slice]:
    """Rows of 2, 0 and 3 pixels."""
    pixels = torch.arange([0, 2, 2][rank], [2, 2, 5][rank], dtype=torch.float32)
    return Group("world").gather(pixels.expand(2, -1), 10 * pixels.expand(1, -1))


def test_three_processes_and_groups_among_them(tmp_path):
    found = spawned(three, 3, tmp_path)
    batch, shares = batch_of("weight", "multiclass"), [[0, 3], [1], [2]]
    value, gradient = evaluated("dice(pool='batch')", batch)
    for rank, images in enumerate(shares):
        same(found[rank]["all"][0], value)
        same(found[rank]["all"][1] / 3, gradient[images])
    value, gradient = evaluated("dice(pool='batch')", share(batch, [0, 3, 2]))
    for rank, images in ((0, [0, 1]), (2, [2])):
        same(found[rank]["group"][0], value)
        same(found[rank]["group"][1] / 2, gradient[images])
    same(found[1]["group"][0], evaluated("dice(pool='batch')", share(batch, [1]))[0])
    for rank, own in enumerate([slice(0, 2), slice(2, 2), slice(2, 5)]):
        (first, second), place = found[rank]["gathered"]
        assert place == own
        assert first.tolist() == [[0, 1, 2, 3, 4]] * 2
        assert second.tolist() == [[0, 10, 20, 30, 40]]


def test_the_world_of_one_process_is_that_process():
    logits, target = given(None)
    alone = parse("ce + dice(pool='batch') + lovasz", "multiclass", process_group="world")
    assert (
        alone.spec
        == "ce(process_group='world') + dice(pool='batch', process_group='world') + lovasz(process_group='world')"
    )
    assert parse(alone.spec, "multiclass").spec == alone.spec
    value = parse("ce + dice(pool='batch') + lovasz", "multiclass")(logits, target)
    assert alone(logits, target) == value
    assert torch.compile(alone, backend="eager", fullgraph=True)(logits, target).item() == pytest.approx(value.item())


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        ("all", ValueError, "process_group must be None, 'world' or a torch.distributed.ProcessGroup; got 'all'"),
        (-100, TypeError, "process_group must be None, 'world' or a torch.distributed.ProcessGroup; got -100"),
    ],
)
def test_what_is_no_group_is_refused(group, error, message):
    with pytest.raises(error) as raised:
        DiceLoss("binary", process_group=group)
    assert str(raised.value) == message


def test_hard_examples_are_kept_by_the_processes_of_the_loss_around():
    with pytest.raises(ValueError, match=r"^process_group of loss must be None; got 'world'$"):
        parse("topk(loss=ce(process_group='world'))", "binary")


def test_losses_of_different_processes_make_no_sum():
    with pytest.raises(ValueError, match=r"^process_group of a sum's losses must be the same; got \[None, 'world'\]$"):
        Loss.registry["ce"]("binary") + DiceLoss("binary", process_group="world")
