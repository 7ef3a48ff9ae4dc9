"""The engine beneath the losses: its derivatives, its numbers, and what of PyTorch it goes together with."""

from functools import partial

import pytest
import torch
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from lossmith.torch import CrossEntropyLoss, DiceLoss, Loss, parse
from paths import SEPARABLE, given, in_blocks, in_one

TASKS = ("binary", "multiclass", "multilabel")
pytestmark = pytest.mark.usefixtures("walked")


# Autograd -------------------------------------------------------------------------------------------------------------

SMOOTH = [name for name in SEPARABLE if name not in ("l1", "topk", "ohem", "lovasz", "lovasz_hinge", "missing")]


@pytest.mark.parametrize(("name", "task"), [(name, task) for name in SMOOTH for task in SEPARABLE[name].tasks])
def test_first_and_second_derivatives(name, task):
    for mode in ("ignore weight", *(() if SEPARABLE[name].hard_targets else ("soft",))):
        batch = given(task, mode, space=(19,))
        function = partial(batch.loss(name), target=batch.target, weight=batch.weight)
        logits = batch.logits.requires_grad_()
        assert torch.autograd.gradcheck(function, logits, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, logits, fast_mode=True)


@pytest.mark.parametrize("spec", ["ce + dice", "focal + mse + dice(log=True)", "lovasz + topk"])
@pytest.mark.parametrize("channels", [3, 21])
def test_second_derivatives_of_one_path_are_those_of_the_other(spec, channels):
    batch = given("multiclass", "weight", channels=channels)
    logits, direction = batch.logits.requires_grad_(), torch.randn_like(batch.logits)
    found = []
    for path in (in_one, in_blocks):
        with path():
            value = parse(spec, "multiclass")(logits, batch.target, batch.weight)
        (slope,) = torch.autograd.grad(value, logits, create_graph=True)
        (bend,) = torch.autograd.grad((slope * direction).sum(), logits, create_graph=True)
        (third,) = torch.autograd.grad((bend * direction).sum(), logits, allow_unused=True)
        found.append((value, slope, bend, torch.zeros(()) if third is None else third))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-14)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch, of forward mode
@pytest.mark.parametrize("name", ["ce", "dice", "focal", "lovasz", "topk", "wce"])
def test_function_transforms(name):
    batch = given("multiclass", images=2, space=(5,))
    loss = Loss.registry[name]("multiclass")
    function = partial(loss, target=batch.target)
    hessian = torch.func.hessian(lambda z: loss(z, batch.target))(batch.logits)
    logits = batch.logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(logits, batch.target), logits, create_graph=True)
    if slope.requires_grad:
        rows = [torch.autograd.grad(g, logits, retain_graph=True)[0] for g in slope.flatten()]
        torch.testing.assert_close(hessian.reshape(30, 30), torch.stack(rows).reshape(30, 30), rtol=1e-10, atol=1e-14)
    mapped = torch.func.vmap(torch.func.grad(function))(torch.stack([batch.logits, -batch.logits]))
    torch.testing.assert_close(mapped[0], slope.detach(), rtol=1e-12, atol=1e-15)
    with forward_ad.dual_level():
        dual = loss(forward_ad.make_dual(batch.logits, torch.ones_like(batch.logits) * batch.logits), batch.target)
        tangent = forward_ad.unpack_dual(dual).tangent
    assert tangent.item() == pytest.approx((slope * batch.logits).sum().item(), rel=1e-10, abs=1e-14)


def test_a_batch_that_no_transform_touches():
    """Plain tensors inside a transform of something else."""
    batch = given("multiclass")
    loss = CrossEntropyLoss("multiclass", class_weight=[1.0, 2.0, 3.0])
    value = loss(batch.logits, batch.target)
    assert torch.func.grad(lambda a: a * loss(batch.logits, batch.target))(torch.ones(())).item() == pytest.approx(
        value.item()
    )
    mapped = torch.func.vmap(lambda a: a * loss(batch.logits, batch.target))(torch.ones(2))
    assert mapped.tolist() == pytest.approx([value.item()] * 2)
    called = partial(torch.func.functional_call, loss, args=(batch.logits, batch.target))
    weights = torch.stack([loss.class_weight, torch.ones(3)])
    mapped = torch.func.vmap(lambda w: called({"class_weight": w}))(weights)
    assert mapped[0].item() == pytest.approx(value.item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch, of forward mode
def test_class_weights_have_a_tangent():
    batch = given("multiclass")
    loss = CrossEntropyLoss("multiclass", class_weight=[1.0, 2.0, 3.0])
    loss.class_weight = loss.class_weight.double()
    tangents = []
    for path in (in_one, in_blocks):
        with path(), forward_ad.dual_level():
            weights = forward_ad.make_dual(loss.class_weight, torch.eye(3, dtype=torch.float64)[1])
            value = torch.func.functional_call(loss, {"class_weight": weights}, (batch.logits, batch.target))
            tangents.append(forward_ad.unpack_dual(value).tangent)
    assert tangents[1] is not None
    assert tangents[0].item() == pytest.approx(tangents[1].item(), rel=1e-12)


@pytest.mark.parametrize("spec", ["ce + dice", "lovasz + focal", "ohem + wce"])
def test_compiled_and_exported(spec):
    batch = given("multiclass", "weight", dtype=torch.float32)
    loss = batch.loss(spec)
    expected = batch.run(spec)
    torch.compiler.reset()
    logits = batch.logits.clone().requires_grad_()
    value = torch.compile(loss, fullgraph=True, backend="aot_eager")(logits, batch.target, batch.weight)
    torch.testing.assert_close((value.detach(), torch.autograd.grad(value, logits)[0]), expected, rtol=1e-5, atol=1e-7)
    program = torch.export.export(loss, (batch.logits, batch.target, batch.weight), strict=False)
    assert program.module()(batch.logits, batch.target, batch.weight).item() == pytest.approx(
        expected[0].item(), rel=1e-6
    )


@pytest.mark.parametrize("task", TASKS)
def test_learned_weights_and_targets_get_their_gradients(task):
    batch = given(task, "soft weight")
    found = []
    for path in (in_one, in_blocks):
        leaves = [x.clone().requires_grad_() for x in (batch.logits, batch.target, batch.weight)]
        with path():
            found.append(torch.autograd.grad(batch.loss("ce + dice(squared=True)")(*leaves), leaves))
    assert all(gradient.abs().sum() > 0 for gradient in found[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-15)
    loss = CrossEntropyLoss(task, class_weight=torch.ones(2 if task == "binary" else 3, dtype=torch.float64))
    loss.class_weight.requires_grad_()
    (loss + DiceLoss(task))(batch.logits, batch.target).backward()
    assert loss.class_weight.grad.abs().sum() > 0


def test_logits_may_be_a_parameter():
    batch = given("multiclass", "weight")
    logits = torch.nn.Parameter(batch.logits.clone())
    value = batch.loss("ce + dice")(logits, batch.target, batch.weight)
    value.backward()
    torch.testing.assert_close((value.detach(), logits.grad), batch.run("ce + dice"), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("channels", [3, 21])
def test_backward_can_come_again_but_not_after_a_change(channels):
    batch = given("multiclass", "weight", channels=channels)
    logits, loss = batch.logits.requires_grad_(), batch.loss("ce + dice + mse")
    value = loss(logits, batch.target, batch.weight)
    first = torch.autograd.grad(value, logits, retain_graph=True)[0].clone()
    loss(-logits, batch.target)
    assert torch.equal(torch.autograd.grad(value, logits, retain_graph=True)[0], first)
    for changed in (batch.target, batch.weight, logits):
        value = loss(logits, batch.target, batch.weight)
        with torch.no_grad():
            changed.add_(0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.backward()


@pytest.mark.parametrize("spec", ["ce + dice + mse", "lovasz", "topk"])
def test_saved_tensors_may_be_offloaded(spec):
    batch = given("multiclass", "weight", channels=21)
    expected = batch.run(spec)
    with saved_tensors_hooks(lambda x: x.numpy().copy(), torch.from_numpy):
        got = batch.run(spec)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    with torch.autograd.graph.save_on_cpu():
        torch.testing.assert_close(batch.run(spec), expected, rtol=0, atol=0)
    logits = batch.logits.clone().requires_grad_()
    value = checkpoint(batch.loss(spec), logits, batch.target, batch.weight, use_reentrant=False)
    assert torch.equal(torch.autograd.grad(value, logits)[0], expected[1])


@pytest.mark.parametrize("task", TASKS)
def test_without_gradients(task):
    batch = given(task, "weight")
    expected = batch.run("ce + dice + focal")[0]
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            value = batch.loss("ce + dice + focal")(batch.logits.clone().requires_grad_(), batch.target, batch.weight)
        assert not value.requires_grad
        assert torch.equal(value, expected)
    value = batch.loss("ce + dice + focal")(batch.logits, batch.target, batch.weight)
    assert not value.requires_grad


def test_a_frozen_part_of_the_logits():
    """Logits that come out of other operations, some of which need no gradient."""
    batch = given("multiclass")
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    value = batch.loss("ce + dice")(scale * batch.logits, batch.target)
    assert torch.autograd.grad(value, scale)[0].item() == pytest.approx(
        (batch.run("ce + dice")[1] * batch.logits).sum().item(), rel=1e-12
    )


@pytest.mark.parametrize("spec", ["ce + dice + focal", "mse", "lovasz", "topk", "wce"])
def test_deterministic_mode(spec):
    batch = given("multiclass", "ignore weight", channels=21, dtype=torch.float32)
    expected = batch.run(spec)
    torch.use_deterministic_algorithms(True)
    try:
        got = batch.run(spec)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("spec", ["ce + dice + focal", "dice(squared=True)", "lovasz"])
def test_autocast_leaves_sums_in_single_precision(spec, task):
    for channels in (3, 21) if task == "multiclass" else (None,):
        for images in (1, 3):
            batch = given(task, "weight", channels=channels, images=images, dtype=torch.float32)
            expected = batch.run(spec)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                got = batch.run(spec)
            torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)
