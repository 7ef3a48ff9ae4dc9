"""One pass over the logits, nothing kept but them, nothing made that is as large as they are but the gradient."""

import gc

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from lossmith.torch import engine, parse, whole
from lossmith.torch.softmax import FEW
from paths import given, in_blocks

EXPONENTIALS = (
    "exp",
    "exp_",
    "expm1",
    "softmax",
    "_softmax",
    "_log_softmax",
    "sigmoid",
    "sigmoid_",
    "log_sigmoid_forward",
)
SEPARABLE = [
    *("ce + dice + focal", "mse", "dice(squared=True)", "dice(log=True)", "focal(alpha=0.25)", "smooth_l1", "wce"),
    *("gdice", "focal_tversky", "ce(label_smoothing=0.1)"),
]
AS_THEY_ARE = engine.SMALL, whole.CACHE
pytestmark = pytest.mark.usefixtures("walked")


class Watch(TorchDispatchMode):
    """Counts the exponentials, and sees every piece of memory that comes into use and is none of the inputs'."""

    def __init__(self, *inputs: Tensor | None) -> None:
        super().__init__()
        self.inputs = {x.untyped_storage().data_ptr() for x in inputs if x is not None}
        self.exponentials = 0
        self.made: list[tuple[str, Tensor]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in EXPONENTIALS:
            self.exponentials += args[0].numel()
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in self.inputs:
                self.made.append((name, x.detach()))  # kept, so that no address comes twice
        return out

    def sizes(self, floor: float) -> list[tuple[str, int]]:
        """Bytes of what is larger than `floor`, with the operation that made it."""
        first = {
            x.untyped_storage().data_ptr(): (name, x.untyped_storage().nbytes()) for name, x in reversed(self.made)
        }
        return [found for found in first.values() if found[1] > floor]


# One pass -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "channels"), [("multiclass", 3), ("multiclass", 11), ("multiclass", 21), ("multilabel", 3)]
)
def test_a_sum_takes_as_many_exponentials_as_one_of_its_losses(task, channels):
    counts = []
    for spec in ("dice", "dice + 0.5*jaccard + 2*tversky + gdice + dice(pool='batch')"):
        batch = given(task, channels=channels, dtype=torch.float32)
        logits, loss = batch.logits.requires_grad_(), batch.loss(spec)
        with Watch() as forward:
            value = loss(logits, batch.target)
        with Watch() as backward:
            value.backward()
        with Watch() as after:
            parts = loss.terms if "+" in spec else {}
        assert sum(parts.values()) == pytest.approx(value.item() if parts else 0, rel=1e-6)
        assert after.exponentials == 0
        counts.append((forward.exponentials, backward.exponentials))
    overlap = batch.target.numel() if channels > FEW else 0  # p of the truth alone
    assert counts[0] == counts[1] == (batch.logits.numel() + overlap, batch.logits.numel())


@pytest.mark.parametrize("channels", [3, 11, 21])
def test_pixel_losses_add_no_softmax_to_a_sum(channels):
    """Focal takes one exponential a pixel, cross-entropy none beside those of the softmax."""
    batch = given("multiclass", channels=channels, dtype=torch.float32)
    logits, pixels = batch.logits.requires_grad_(), batch.target.numel()
    with Watch() as watch:
        value = parse("ce + dice + focal", "multiclass")(logits, batch.target)
        forward = watch.exponentials
        value.backward()
    assert forward <= logits.numel() + 2 * pixels
    assert watch.exponentials - forward <= logits.numel() + 2 * pixels


# Memory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["plain", "soft", "ignore weight", "probs", "one_hot"])
@pytest.mark.parametrize(("task", "channels"), [("binary", 1), ("multiclass", 3), ("multiclass", 21)])
@pytest.mark.parametrize("spec", SEPARABLE)
def test_nothing_as_large_as_the_batch_but_the_gradient(spec, task, channels, mode):
    batch = given(task, mode, channels=channels, space=(40, 40), dtype=torch.float32)
    logits, loss = batch.logits.requires_grad_(), batch.loss(spec)
    floor = (0.9 if channels == 1 else 0.3) * logits.nbytes  # a number a pixel is as much as a binary batch
    with in_blocks(1024), Watch(logits, batch.target, batch.weight) as watch:
        value = loss(logits, batch.target, batch.weight)
        assert watch.sizes(floor) == []
        value.backward()
    assert [size for _, size in watch.sizes(floor)] == [logits.nbytes], watch.sizes(floor)


def test_blocks_are_what_a_batch_of_real_size_gets(monkeypatch):
    monkeypatch.setattr(engine, "SMALL", AS_THEY_ARE[0])
    monkeypatch.setattr(whole, "CACHE", AS_THEY_ARE[1])
    batch = given("multiclass", channels=8, space=(256, 256), dtype=torch.float32)
    logits, loss = batch.logits.requires_grad_(), batch.loss("ce + dice + focal")
    with Watch(logits, batch.target) as watch:
        loss(logits, batch.target).backward()
    assert [size for _, size in watch.sizes(0.3 * logits.nbytes)] == [logits.nbytes]


def living() -> list[Tensor]:
    """The tensors that Python made since the last `gc.freeze()`."""
    return [x for x in gc.get_objects() if issubclass(type(x), Tensor)]


def kept_bytes(spec, batch) -> int:
    """The size of all that is alive between forward and backward because of the graph, without the inputs."""
    saved: list[Tensor] = []
    inputs = {x.untyped_storage().data_ptr() for x in (batch.logits, batch.target, batch.weight) if x is not None}
    logits, loss = batch.logits.requires_grad_(), batch.loss(spec)
    gc.freeze()
    try:
        with saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
            value = loss(logits, batch.target, batch.weight)
        storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in [*saved, *living()]}
    finally:
        gc.unfreeze()
    value.backward()
    return sum(size for pointer, size in storages.items() if pointer not in inputs)


@pytest.mark.parametrize("mode", ["ignore weight", "soft"])
@pytest.mark.parametrize(
    ("task", "channels"), [("binary", 1), ("multiclass", 3), ("multiclass", 19), ("multiclass", 20)]
)
@pytest.mark.parametrize("spec", SEPARABLE)
def test_two_numbers_a_pixel_are_kept_for_the_backward_pass_and_only_for_many_classes(spec, task, channels, mode):
    batch = given(task, mode, channels=channels, space=(64, 64), dtype=torch.float32)
    with in_blocks(2**13):
        kept = kept_bytes(spec, batch)
    sums = 0.01 * batch.logits.nbytes
    assert kept < sums if channels < 20 else kept <= 2 * batch.logits[:, :1].nbytes + sums


def test_the_graph_dies_with_its_value():
    """Without the help of the garbage collector: memory must not wait for it."""
    batch = given("multiclass", "weight", channels=21)
    batch.run("ce + dice + mse + lovasz + topk + wce")
    gc.disable()
    gc.freeze()
    try:
        for spec in ("ce + dice + mse", "lovasz", "topk", "wce"):
            logits = batch.logits.clone().requires_grad_()
            value = parse(spec, "multiclass")(logits, batch.target, batch.weight)
            value.backward()
            del logits, value
        assert living() == []
    finally:
        gc.unfreeze()
        gc.enable()


def test_what_is_offloaded_is_let_go():
    batch = given("multiclass", "weight", channels=21)
    gc.freeze()
    try:
        logits = batch.logits.clone().requires_grad_() * 1.0
        pointer = logits.untyped_storage().data_ptr()
        with saved_tensors_hooks(lambda x: x.detach().numpy().copy(), torch.from_numpy):
            value = parse("ce + dice", "multiclass")(logits, batch.target, batch.weight)
        del logits
        assert [x.shape for x in living() if x.untyped_storage().data_ptr() == pointer] == []
    finally:
        gc.unfreeze()
    value.backward()


def test_what_looks_at_neighbours_has_nothing_of_the_last_image_beside_it(monkeypatch):
    """Blocks of whole images are large: the memory of their softmax goes before the next one's neighbours come."""
    found, through_graph = [], engine._through_graph

    def seen(walk, block, asked):
        found.append("product" in block.scratch._flat)
        return through_graph(walk, block, asked)

    monkeypatch.setattr(engine, "_through_graph", seen)
    batch = given("multiclass", images=3, space=(12, 12), dtype=torch.float32)
    with in_blocks():
        batch.run("cldice(iterations=2)")
    assert found == [False] * 3
