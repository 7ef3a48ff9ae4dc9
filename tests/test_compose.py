"""Losses made of losses: schedules, scales, penalties, uncertainties; one pass, named parts, and what each refuses."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lossmith.check import check
from lossmith.check.cases import case
from lossmith.check.laws import LAWS
from lossmith.torch import (
    Balanced,
    BoundaryLoss,
    BoxL1Loss,
    Constant,
    Cosine,
    CrossEntropyLoss,
    DeepSupervision,
    DiceLoss,
    Exponential,
    GIoULoss,
    HausdorffDTLoss,
    Linear,
    MSELoss,
    MumfordShahLoss,
    Regularized,
    Scheduled,
    Step,
    SumLoss,
    TopKLoss,
    UncertaintyWeighted,
    parse,
    sums,
)

CE, DICE = CrossEntropyLoss("multiclass"), DiceLoss("multiclass")


def compositions(task="multiclass"):
    """One of each, with schedules on the way."""
    ce, dice = CrossEntropyLoss(task), DiceLoss(task)
    scheduled = 0.5 * ce + Scheduled(dice + ce, Linear(0.0, 1.0, 4))
    for _ in range(3):
        scheduled.step()
    weighted = UncertaintyWeighted([ce, dice + 0.5 * ce])
    with torch.no_grad():
        weighted.log_variances.copy_(torch.tensor([0.3, -0.4]))
    fixed = torch.tensor([[0.5, -2.0]], requires_grad=True)
    return {
        "scheduled": scheduled,
        "balanced": Balanced(ce + dice, 2.0 * dice, start=0.3),
        "deep": DeepSupervision(dice + ce),
        "regularized": Regularized(ce + dice, [fixed], l1=0.1, l2=0.2),
        "uncertain": weighted,
        "nested": Scheduled(weighted, Constant(2.0)) + 0.1 * DeepSupervision(ce) + Regularized(dice, [fixed], l2=0.01),
    }


# What a composition gives up by its own definition, and why.
GIVEN_UP = {
    # `.terms` is state, and a penalty or the logarithm of a variance has a value without any batch
    "leaves_everything_as_it_was": ("scheduled", "balanced", "deep", "regularized", "uncertain", "nested"),
    "empty_predicted_empty_costs_nothing": ("regularized", "uncertain", "nested"),
    "an_empty_batch_is_harmless": ("regularized", "uncertain", "nested"),
}


@pytest.mark.parametrize(
    ("name", "task"),
    [("scheduled", "binary"), ("balanced", "multilabel"), ("deep", "multilabel"), ("regularized", "multiclass"), ("uncertain", "binary"), ("nested", "multiclass")],
)  # fmt: skip
def test_compositions_are_losses(name, task):
    """Held against the laws that an instance can be held against."""
    laws = [law for law in LAWS if law != "compiles_in_one_graph" or name == "nested"]  # which holds one of each
    report = check(compositions(task)[name], task, only=laws)
    assert {law for law, names in GIVEN_UP.items() if name in names} == {result.law for result in report.broken}


@pytest.mark.parametrize("name", compositions())
def test_parts_add_up_and_none_is_left_behind_by_a_trace(name):
    loss, batch = compositions()[name], case("multiclass", 5, 6)
    value = loss(batch.logits, batch.target)
    assert sum(loss.terms.values()).item() == pytest.approx(value.item(), rel=1e-12)
    assert not any(part.requires_grad for part in loss.terms.values())
    before = loss.terms
    torch.func.vmap(lambda z: loss(z, batch.target))(torch.stack([batch.logits] * 2))
    assert loss.terms == before
    assert pickle.loads(pickle.dumps(loss)).terms == {}
    assert copy.deepcopy(loss)(batch.logits, batch.target) == value
    assert loss.__class__.__name__ in repr(loss)


@pytest.mark.parametrize("name", compositions())
def test_ignored_pixels_and_weights_go_through(name):
    batch = case("multiclass", 5, 6)
    loss = compositions()[name]
    for part in loss.modules():
        if hasattr(part, "settings"):
            part.settings["ignore_index"] = 255
    target = torch.where(torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0)) < 0.3, 255, batch.target)
    logits = batch.leaf()
    loss(logits, target).backward()
    lost = (target == 255).unsqueeze(1).expand_as(logits)
    assert not logits.grad[lost].any()
    assert logits.grad[~lost].any()
    left = loss(batch.logits, target).item()
    weight = (target != 255).double()
    assert compositions()[name](batch.logits, batch.target, weight).item() == pytest.approx(left, rel=1e-12)


def test_nested_compositions_look_at_the_batch_once(monkeypatch):
    passes = []
    values_of = sums.values_of
    monkeypatch.setattr(sums, "values_of", lambda losses, *rest: passes.append(len(losses)) or values_of(losses, *rest))
    batch = case("multiclass", 5, 5)
    inner = Regularized(0.5 * CE + DICE, [torch.ones(2, requires_grad=True)], l2=1.0)
    loss = Scheduled(inner, Constant(1.0)) + UncertaintyWeighted([DICE, CE])
    loss(batch.logits, batch.target)
    assert passes == [4]


# Sums --------------------------------------------------------------------------------------------------------------


def test_a_sum_of_box_losses_takes_a_weight():
    pred = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1]])
    target = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]])
    weight = torch.tensor([1.0, 3.0])
    loss = GIoULoss() + 0.5 * BoxL1Loss()
    # GIoU of the first pair: 1 - 1/4; L1: 2; the second costs nothing and counts three times
    assert loss(pred, target, weight).item() == pytest.approx((0.75 + 0.5 * 2) / 4)
    assert [round(part.item(), 6) for part in loss.terms.values()] == [0.1875, 0.25]


def test_a_module_of_ones_own_gets_the_weight_if_it_takes_one():
    class Own(nn.Module):
        def forward(self, logits, target, weight=None):
            return (logits.mean() if weight is None else (logits.mean(1) * weight).mean()) * 1.0

    batch = case("multiclass", 5, 5)
    weight = torch.full((2, 5, 5), 3.0, dtype=torch.float64)
    loss = SumLoss([(2.0, Own())])
    assert loss(batch.logits, batch.target, weight).item() == pytest.approx(6 * batch.logits.mean().item())


def test_inputs_reach_whoever_takes_them():
    batch, image = case("multiclass", 6, 6), torch.randn(2, 1, 6, 6, dtype=torch.float64)
    segments = MumfordShahLoss("multiclass")
    alone = segments(batch.logits, batch.target, image=image)
    loss = CE + Scheduled(segments, Constant(0.5)) + Regularized(DICE, [torch.zeros(1)], l1=1.0)
    loss(batch.logits, batch.target, image=image)
    assert loss.terms["Constant(0.5)*mumford_shah"].item() == pytest.approx(0.5 * alone.item())
    with pytest.raises(TypeError, match=r"^an input must be one of \['image'\]; did you mean image\?; got 'imag'$"):
        loss(batch.logits, batch.target, imag=image)
    with pytest.raises(TypeError, match=r"^mumford_shah must be called with image=: "):
        loss(batch.logits, batch.target)
    with pytest.raises(TypeError, match=r"^an input must be logits, target or weight; got 'image'$"):
        (CE + DICE)(batch.logits, batch.target, image=image)


@pytest.mark.parametrize(
    "around", [lambda loss: loss, lambda loss: loss + CE, DeepSupervision, lambda loss: UncertaintyWeighted([loss, CE])]
)
def test_an_input_for_a_loss_inside_of_another_is_refused(around):
    """The boundary loss takes maps; inside of a marginal loss, on other classes, it makes its own."""
    batch, annotated = case("multiclass", 6, 6), torch.ones(2, 4, dtype=torch.bool)
    loss = around(parse("marginal(loss=boundary)", "multiclass"))
    scales = [batch.logits] * 2 if isinstance(loss, UncertaintyWeighted) else batch.logits
    targets = [batch.target] * 2 if isinstance(loss, UncertaintyWeighted) else batch.target
    loss(scales, targets, annotated=annotated)
    with pytest.raises(TypeError, match=r"^an input must be one of \['annotated'\]; got 'distance'$"):
        loss(scales, targets, annotated=annotated, distance=torch.zeros_like(batch.logits))


# Schedules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(0.5), [0.5] * 5),
        (Linear(1.0, 0.2, 4), [1.0, 0.8, 0.6, 0.4, 0.2, 0.2]),
        (Linear(0.0, 3.0, 1), [0.0, 3.0, 3.0]),
        (Cosine(1.0, 0.0, 3), [1.0, 0.75, 0.25, 0.0, 0.0]),
        (Cosine(2.0, 4.0, 2), [2.0, 3.0, 4.0, 4.0]),
        (Exponential(8.0, 0.5), [8.0, 4.0, 2.0, 1.0]),
        (Step(9.0, 1 / 3, every=2), [9.0, 9.0, 3.0, 3.0, 1.0]),
        (lambda step: 1.0 / (1.0 + step), [1.0, 1 / 2, 1 / 3]),
        (lambda step: 0.5 if step < 2 else 1, [0.5, 0.5, 1.0]),
        (lambda _: np.float32(0.25), [0.25, 0.25]),
    ],
)
def test_a_schedule_by_hand(schedule, factors):
    batch = case("binary", 5, 5)
    plain = CrossEntropyLoss("binary")(batch.logits, batch.target).item()
    loss = Scheduled(CrossEntropyLoss("binary"), schedule)
    for expected in factors:
        assert loss.factor.item() == pytest.approx(expected, abs=1e-15)
        assert loss(batch.logits, batch.target).item() == pytest.approx(expected * plain, abs=1e-15)
        loss.step()


def test_kervadecs_schedule_in_one_line():
    """From the region loss to the boundary loss by .01 an epoch: at epoch 30, .7 and .3."""
    batch = case("multiclass", 5, 5)
    loss = Scheduled(DICE, Linear(1, 0.01, 99)) + Scheduled(MSELoss("multiclass"), Linear(0, 0.99, 99))
    for _ in range(30):
        loss.step()
    value = loss(batch.logits, batch.target)
    expected = 0.7 * DICE(batch.logits, batch.target) + 0.3 * MSELoss("multiclass")(batch.logits, batch.target)
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    assert list(loss.terms) == ["Linear(1, 0.01, 99)*dice", "Linear(0, 0.99, 99)*mse"]
    assert str(loss.losses[0]).startswith("Scheduled(\n  weight=Linear(1, 0.01, 99), steps=30")


def test_a_resumed_run_goes_on():
    loss = CE + Scheduled(DICE, Linear(0.0, 1.0, 10))
    for _ in range(4):
        loss.step()
    assert {name: value.item() for name, value in loss.state_dict().items()} == {"losses.1.steps": 4}
    resumed = CE + Scheduled(DICE, Linear(0.0, 1.0, 10))
    resumed.load_state_dict(loss.state_dict())
    resumed.step()
    assert resumed.losses[1].factor.item() == 0.5
    assert loss.losses[1].factor.item() == pytest.approx(0.4), "the state was copied"


def test_a_loss_in_two_places_is_one_step_further_not_two():
    shared = Scheduled(DICE, Linear(0.0, 1.0, 10))
    loss = shared + Scheduled(shared, Constant(1.0))
    loss.step()
    assert shared.factor.item() == pytest.approx(0.1)


def test_a_compiled_loss_takes_steps_without_compiling_again():
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    batch = case("multiclass", 5, 5)
    loss = CE + Scheduled(DICE, Cosine(1.0, 0.0, 20))
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    for _ in range(12):
        torch.testing.assert_close(compiled(batch.logits, batch.target), loss(batch.logits, batch.target))
        loss.step()
    assert len(graphs) == 1


def test_a_factor_keeps_the_dtype():
    for dtype in (torch.float32, torch.float64):
        batch = case("multiclass", 5, 5, dtype=dtype)
        for name, loss in compositions().items():
            assert loss(batch.logits, batch.target).dtype == dtype, name
        maps = Scheduled(CrossEntropyLoss("multiclass", reduction="none"), Linear(1.0, 0.0, 3))
        assert maps(batch.logits, batch.target).dtype == dtype


# Balance -------------------------------------------------------------------------------------------------------------


def test_balanced_by_hand():
    """Means over an epoch's batches; lambda is their ratio in the epoch before, and a constant of the gradient."""
    batches = [case("binary", 5, 5, seed=seed) for seed in (0, 1, 2)]
    distance, dice = HausdorffDTLoss("binary"), DiceLoss("binary")
    loss, lam = Balanced(distance, dice, start=3.0), 3.0
    for epoch in (batches[:2], batches[2:], batches[:1]):
        assert loss.factor.item() == pytest.approx(lam, rel=1e-6)
        for batch in epoch:
            logits, alone = batch.leaf(), batch.leaf()
            value = loss(logits, batch.target)
            value.backward()
            expected = distance(alone, batch.target) + lam * dice(alone, batch.target)
            expected.backward()
            assert value.item() == pytest.approx(expected.item(), rel=1e-6)
            torch.testing.assert_close(logits.grad, alone.grad, rtol=1e-6, atol=1e-9)
        assert list(loss.terms) == ["hausdorff", "lambda*dice"]
        (0.5 * loss + CrossEntropyLoss("binary")).step()
        distances, dices = ([one(batch.logits, batch.target).item() for batch in epoch] for one in (distance, dice))
        lam = sum(distances) / sum(dices)


def test_only_calls_that_train_count():
    one, other = (case("multiclass", 5, 5, seed=seed) for seed in (0, 1))
    loss = Balanced(CE, DICE)
    loss(one.logits, one.target)
    with torch.no_grad():
        loss(other.logits, other.target)
    loss.eval()(other.logits, other.target)
    loss.train()
    torch.func.vmap(lambda z: loss(z, other.target))(torch.stack([other.logits] * 2))
    torch.func.grad(lambda z: loss(z, other.target))(other.logits)
    loss(torch.full_like(other.logits, math.nan), other.target)
    loss.step()
    expected = CE(one.logits, one.target) / DICE(one.logits, one.target)
    assert loss.factor.item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(ValueError, match=r"^calls since the last step\(\) must be at least one of finite value, in "):
        loss.step()


def test_a_mean_of_0_leaves_the_balance_as_it_was():
    batch = case("multiclass", 5, 5)
    sure = 99.0 * F.one_hot(batch.target, 4).movedim(-1, 1).double()
    for losses in ((CE, MSELoss("multiclass")), (MSELoss("multiclass"), CE)):
        loss = Balanced(*losses, start=2.0)
        loss(sure, batch.target)
        loss.step()
        assert loss.factor.item() == 2.0


def test_a_balance_goes_on_in_the_middle_of_an_epoch():
    first, second = (case("multiclass", 5, 5, seed=seed) for seed in (0, 1))
    loss = CE + Balanced(CE, DICE)
    loss(first.logits, first.target)
    assert sorted(loss.state_dict()) == ["losses.1.calls", "losses.1.factor", "losses.1.sums"]
    resumed = CE + Balanced(CE, DICE)
    resumed.load_state_dict(copy.deepcopy(loss.state_dict()))
    for one in (loss, resumed):
        one(second.logits, second.target)
        one.step()
    assert loss.losses[1].factor.item() == resumed.losses[1].factor.item() != 1.0


def test_a_step_between_a_call_and_its_backward_pass_changes_nothing():
    batch = case("multiclass", 5, 5)
    loss, logits = Balanced(CE, DICE, start=0.5).double(), batch.leaf()
    value = loss(logits, batch.target)
    loss.step()
    value.backward()
    (expected,) = torch.autograd.grad(CE(logits, batch.target) + 0.5 * DICE(logits, batch.target), logits)
    torch.testing.assert_close(logits.grad, expected)


def test_a_balance_of_maps_is_that_of_their_means():
    batch = case("multiclass", 5, 5)
    maps = [cls("multiclass", reduction="none") for cls in (CrossEntropyLoss, MSELoss)]
    loss = Balanced(*maps)
    assert loss(batch.logits, batch.target).shape == (2, 5, 5)
    loss.step()
    ce, mse = (one(batch.logits, batch.target).mean().item() for one in maps)
    assert loss.factor.item() == pytest.approx(ce / mse, rel=1e-6)


def test_a_compiled_balance_counts_without_compiling_again():
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    loss = Balanced(CE, DICE)
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    twin = copy.deepcopy(loss)
    for seed in range(3):
        batch = case("multiclass", 5, 5, seed=seed)
        torch.testing.assert_close(compiled(batch.logits, batch.target), twin(batch.logits, batch.target))
        loss.step()
        twin.step()
        assert loss.factor.item() == pytest.approx(twin.factor.item(), rel=1e-6)
    assert len(graphs) == 1
    torch.compile(torch.func.vmap(lambda z: loss(z, batch.target)), fullgraph=True, backend="eager")(batch.logits[None])
    assert loss.calls == 0


# Scales --------------------------------------------------------------------------------------------------------------


def test_scales_by_hand():
    """Log 4, log 2 and log 4 on two scales of weight 2/3 and 1/3, where the coarse pixel has the label of its middle."""
    loss = DeepSupervision(CrossEntropyLoss("multiclass", ignore_index=255))
    target = torch.tensor([[[0, 0, 0, 255], [0, 1, 0, 255], [0, 0, 0, 0], [0, 0, 0, 2]]])
    coarse = torch.zeros(1, 4, 2, 2)
    coarse[0, 1, 0, 0] = math.log(3)  # p of class 1 is 1/2, where the middle of four pixels is the lower right one
    value = loss([torch.zeros(1, 4, 4, 4), coarse], target)
    # of the four coarse pixels one is ignored
    expected = 2 / 3 * math.log(4) + 1 / 3 * (math.log(2) + 2 * math.log(4)) / 3
    assert value.item() == pytest.approx(expected)
    assert list(loss.terms) == ["scale 0: 0.666667*ce", "scale 1: 0.333333*ce"]


@pytest.mark.parametrize("space", [(12,), (12, 9), (8, 6, 7)])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_targets_are_resampled_as_nearest_exact_does(task, space):
    batch = case(task, *space, dtype=torch.float64)
    weight = torch.rand(2, *space, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sizes = [space, tuple(n // 2 for n in space), tuple(n // 3 for n in space)]
    logits = [F.interpolate(batch.logits, size=size, mode="nearest") for size in sizes]
    inner = 0.5 * CrossEntropyLoss(task) + DiceLoss(task)
    loss = DeepSupervision(inner, weights=(1.0, 0.5, 0.25))
    expected = 0.0
    for factor, z, size in zip((1.0, 0.5, 0.25), logits, sizes, strict=True):
        hot = batch.target if task == "multilabel" else batch.target.unsqueeze(1)
        t = F.interpolate(hot.double(), size=size, mode="nearest-exact").long()
        w = F.interpolate(weight.unsqueeze(1), size=size, mode="nearest-exact").squeeze(1)
        expected += factor * inner(z, t if task == "multilabel" else t.squeeze(1), w).item()
    assert loss(logits, batch.target, weight).item() == pytest.approx(expected, rel=1e-12)
    assert len(loss.terms) == 6
    if task == "binary":
        flat = [z.squeeze(1) for z in logits]
        assert loss(flat, batch.target, weight).item() == pytest.approx(expected, rel=1e-12)
    if task == "multiclass":
        hot = F.one_hot(batch.target, 4).movedim(-1, 1)
        assert loss(logits, hot, weight).item() == pytest.approx(expected, rel=1e-12)


def test_images_are_resampled_and_lists_are_not():
    batch, image = case("multiclass", 8, 8), torch.randn(2, 1, 8, 8, dtype=torch.float64)
    logits = [batch.logits, batch.logits[..., ::2, ::2].contiguous()]
    halves = {"target": batch.target[:, 1::2, 1::2], "image": image[..., 1::2, 1::2]}
    inner = CE + MumfordShahLoss("multiclass")
    loss = DeepSupervision(inner, weights=(0.0, 1.0))
    value = loss(logits, batch.target, image=image)
    assert value == inner(logits[1], halves["target"], image=halves["image"])
    assert value == loss(logits, [batch.target, halves["target"]], image=[image, halves["image"]])
    assert list(loss.terms) == ["scale 1: ce", "scale 1: mumford_shah"]


def test_one_tensor_of_logits_is_the_plain_loss():
    batch = case("multiclass", 8, 8)
    loss = DeepSupervision(CE, weights=(0.5, 0.5))
    assert loss(batch.logits, batch.target) == CE(batch.logits, batch.target)
    with pytest.raises(ValueError, match=r"^target must be of shape \(2, 4, 4\) or .* got \(2, 8, 8\)$"):
        loss(batch.logits[..., ::2, ::2], batch.target)  # nothing is resampled to the finest scale


def test_scales_of_weight_0_are_not_looked_at():
    batch = case("multiclass", 8, 8)
    loss = DeepSupervision(CE, weights=(1.0, 0.0))
    broken = torch.full((2, 4, 4, 4), float("nan"), dtype=torch.float64, requires_grad=True)
    assert loss([batch.logits, broken], batch.target) == CE(batch.logits, batch.target)


def test_scales_compile():
    batch = case("multiclass", 8, 8)
    loss = DeepSupervision(CE + DICE)
    logits = [batch.logits, batch.logits[..., ::2, ::2].contiguous()]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits, batch.target), loss(logits, batch.target))


def test_default_weights_halve_and_sum_to_one():
    assert DeepSupervision(CE)._factors(3, single=False) == pytest.approx((4 / 7, 2 / 7, 1 / 7))


# Penalties -----------------------------------------------------------------------------------------------------------


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)).double()


def test_structural_risk_by_hand():
    net, batch = model(), case("multiclass", 6, 6)
    kernels = [net[0].weight, net[2].weight]
    loss = Regularized(CE, net, l1=0.1, l2=0.2)
    plain = CE(batch.logits, batch.target).item()
    l1 = sum(weight.abs().sum().item() for weight in kernels)
    l2 = sum(weight.square().sum().item() for weight in kernels)
    assert loss(batch.logits, batch.target).item() == pytest.approx(plain + 0.1 * l1 + 0.1 * l2)
    assert list(loss.terms) == ["ce", "0.1*|w|", "0.1*|w|^2"]
    everything = Regularized(CE, net, l2=0.2, biases=True)
    everything(batch.logits, batch.target)
    squares = sum(weight.square().sum().item() for weight in net.parameters())
    assert everything.terms["0.1*|w|^2"].item() == pytest.approx(0.1 * squares)


def test_l2_is_the_weight_decay_of_sgd():
    image, batch = torch.randn(2, 1, 6, 6, dtype=torch.float64), case("multiclass", 6, 6)
    ends = []
    for decay in (0.0, 0.3):
        net = model()
        loss = CE if decay else Regularized(CE, net, l2=0.3, biases=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=decay)
        for _ in range(3):
            optimizer.zero_grad()
            loss(net(image), batch.target).backward()
            optimizer.step()
        ends.append(torch.cat([weight.detach().flatten() for weight in net.parameters()]))
    torch.testing.assert_close(*ends)


def test_a_penalty_refers_to_the_model_and_does_not_own_it():
    net, batch = model(), case("multiclass", 6, 6)
    loss = Regularized(CE, net, l2=1.0)
    assert list(loss.parameters()) == []
    assert list(loss.state_dict()) == []
    before = loss(batch.logits, batch.target)
    with torch.no_grad():
        net[0].weight.mul_(2.0)
    assert loss(batch.logits, batch.target) > before
    pair = copy.deepcopy((net, loss))
    assert pair[1].penalised()[0] is pair[0][0].weight
    net[0].requires_grad_(False)
    assert [weight.shape for weight in loss.penalised()] == [net[2].weight.shape]
    net.requires_grad_(False)
    assert loss(batch.logits, batch.target).item() == pytest.approx(CE(batch.logits, batch.target).item())


def test_a_penalty_compiles():
    net, batch = model(), case("multiclass", 6, 6)
    loss = Regularized(CE + DICE, net, l1=0.1, l2=0.1)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(batch.logits, batch.target), loss(batch.logits, batch.target))


def test_parameters_in_half_precision_are_widened():
    batch = case("multiclass", 6, 6)
    wide = Regularized(CE, [torch.full((300, 300), 1.0, dtype=torch.float16, requires_grad=True)], l1=1.0)
    wide(batch.logits, batch.target)
    assert wide.terms["1*|w|"].item() == 90_000  # more than half precision holds


# Uncertainties -------------------------------------------------------------------------------------------------------


def test_kendalls_weights_by_hand():
    batch = case("multiclass", 5, 5)
    ce, mse = CE(batch.logits, batch.target).item(), MSELoss("multiclass")(batch.logits, batch.target).item()
    loss = UncertaintyWeighted([CE, MSELoss("multiclass")], ["classification", "regression"]).double()
    s = (0.7, -1.3)
    with torch.no_grad():
        loss.log_variances.copy_(torch.tensor(s, dtype=torch.float64))
    value = loss(batch.logits, batch.target)
    sigma = [math.exp(x / 2) for x in s]
    expected = ce / sigma[0] ** 2 + mse / (2 * sigma[1] ** 2) + math.log(sigma[0]) + math.log(sigma[1])
    assert value.item() == pytest.approx(expected)
    assert list(loss.terms) == ["ce / sigma^2", "log sigma of ce", "mse / 2 sigma^2", "log sigma of mse"]
    value.backward()
    slopes = (0.5 - math.exp(-s[0]) * ce, 0.5 - 0.5 * math.exp(-s[1]) * mse)
    assert loss.log_variances.grad.tolist() == pytest.approx(slopes)


def test_at_the_best_variances_a_loss_counts_by_its_logarithm():
    batch = case("multiclass", 5, 5)
    losses = [CE, MSELoss("multiclass")]
    loss = UncertaintyWeighted(losses, ["classification", "regression"]).double()
    ce, mse = (one(batch.logits, batch.target).item() for one in losses)
    with torch.no_grad():
        loss.log_variances.copy_(torch.tensor([math.log(2 * ce), math.log(mse)], dtype=torch.float64))
    value = loss(batch.logits, batch.target)
    value.backward()
    assert loss.log_variances.grad.tolist() == pytest.approx([0.0, 0.0], abs=1e-7)
    assert value.item() == pytest.approx((1 + math.log(2 * ce)) / 2 + (1 + math.log(mse)) / 2)


def test_tasks_of_their_own_come_as_lists():
    one, two = case("multiclass", 5, 5), case("binary", 7, 4)
    weight = torch.rand(2, 7, 4, dtype=torch.float64)
    loss = UncertaintyWeighted([CE + DICE, CrossEntropyLoss("binary")])
    value = loss([one.logits, two.logits], [one.target, two.target], weight=[None, weight])
    expected = (CE + DICE)(one.logits, one.target) + CrossEntropyLoss("binary")(two.logits, two.target, weight)
    assert value.item() == pytest.approx(expected.item())
    assert "dice / sigma^2" in loss.terms
    with pytest.raises(ValueError, match=r"^the losses of a sum must be of one task; got \['binary', 'multiclass'\]$"):
        loss(one.logits, one.target)


def test_variances_are_learned_and_restored():
    batch = case("multiclass", 5, 5)
    loss = UncertaintyWeighted([CE, DICE])
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(batch.logits, batch.target)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values == sorted(values, reverse=True)
    restored = UncertaintyWeighted([CE, DICE])
    restored.load_state_dict(loss.state_dict())
    assert restored(batch.logits, batch.target) == loss(batch.logits, batch.target)


# What is refused -----------------------------------------------------------------------------------------------------


def balanced_below_0():
    """After a call of modules that give 1 and -1."""

    class Own(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, logits, target):
            return torch.tensor(self.value)

    loss = Balanced(Own(1.0), Own(-1.0))
    loss(torch.zeros(1, 3, 4), torch.zeros(1, 4).long())
    return loss


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Linear(-1.0, 0.0, 3), ValueError, "start must be in [0, inf); got -1.0"),
        (lambda: Linear(1.0, 0.0, 0), ValueError, "steps must be a whole number >= 1; got 0"),
        (lambda: Step(1.0, 0.5, every=1.5), TypeError, "every must be a whole number >= 1; got 1.5"),
        (lambda: Exponential(1.0, 0.0), ValueError, "gamma must be in (0, inf); got 0.0"),
        (lambda: Scheduled(CE, 0.5), TypeError, "weight must be a schedule, such as Linear(1.0, 0.0, 100); got 0.5"),
        (lambda: Scheduled(len, Constant(1.0)), TypeError, "loss must be a module; got 'builtin_function_or_method'"),
        (
            lambda: Scheduled(CE, str).factor,
            TypeError,
            "the factor of str must be a number or a tensor; got 'str'",
        ),
        (
            lambda: Scheduled(CE, torch.atleast_1d).factor,
            ValueError,
            "the factor of atleast_1d must be of no dimensions; got (1,)",
        ),
        (lambda: Balanced(CE, len), TypeError, "other must be a module; got 'builtin_function_or_method'"),
        (lambda: Balanced(CE, DICE, start=0.0), ValueError, "start must be in (0, inf); got 0.0"),
        (
            lambda: Balanced(CE + BoundaryLoss("multiclass"), DICE),
            ValueError,
            "losses that are balanced must be never below 0; got 'boundary'",
        ),
        (
            lambda: Balanced(CE, DiceLoss("binary")),
            ValueError,
            "the losses of a sum must be of one task; got ['binary', 'multiclass']",
        ),
        (
            lambda: balanced_below_0().step(),
            ValueError,
            "the means of losses that are balanced must be >= 0; got (1.0, -1.0)",
        ),
        (
            lambda: Regularized(CrossEntropyLoss("multiclass", reduction="none"), [torch.ones(2)], l2=1.0)(
                torch.zeros(1, 3, 4), torch.zeros(1, 4).long()
            ),
            ValueError,
            "the value of a loss with a penalty must be one number; got (1, 4)",
        ),
        (
            lambda: CE + Scheduled(DiceLoss("binary"), Constant(1.0)),
            ValueError,
            "the losses of a sum must be of one task; got ['binary', 'multiclass']",
        ),
        (
            lambda: Scheduled(CrossEntropyLoss("binary", reduction="sum"), Constant(1.0)) + DiceLoss("binary"),
            ValueError,
            "reduction of a sum's losses must be the same; got ['mean', 'sum']",
        ),
        (lambda: DeepSupervision(CE, weights=(1.0, -1.0)), ValueError, "weights must be in [0, inf); got -1.0"),
        (lambda: DeepSupervision(CE, weights=(0.0, 0.0)), ValueError, "weights must be not all 0; got [0.0, 0.0]"),
        (
            lambda: DeepSupervision(CE, weights=(1.0, 1.0))([torch.zeros(1, 3, 4)] * 3, torch.zeros(1, 4).long()),
            ValueError,
            "logits must be of 2 scales, one for each weight; got 3",
        ),
        (
            lambda: DeepSupervision(CE)([], torch.zeros(1, 4).long()),
            ValueError,
            "logits must be at least one scale; got []",
        ),
        (
            lambda: DeepSupervision(CE)([torch.zeros(1, 3, 4)] * 2, [torch.zeros(1, 4).long()]),
            ValueError,
            "target must be a tensor or a list of 2, one for each scale; got 1",
        ),
        (
            lambda: DeepSupervision(CrossEntropyLoss("multiclass", reduction="none"))(
                [torch.zeros(1, 3, 4), torch.zeros(1, 3, 2)], torch.zeros(1, 4).long()
            ),
            ValueError,
            "the values of a sum's losses must be of one shape; got [(1, 4), (1, 2)]",
        ),
        (
            lambda: DeepSupervision(CE)([torch.zeros(1, 3, 4, 4)], torch.zeros(4, 4).long()),
            ValueError,
            "target must be of shape (1, 4, 4) or (1, 3, 4, 4) for multiclass logits of shape (1, 3, 4, 4); got (4, 4)",
        ),
        (lambda: Regularized(CE, model()), ValueError, "l1 and l2 must be not both 0; got (0.0, 0.0)"),
        (lambda: Regularized(CE, model(), l2=-1.0), ValueError, "l2 must be in [0, inf); got -1.0"),
        (lambda: Regularized(CE, [1.0], l1=1.0), TypeError, "model must be a module or tensors; got 'list'"),
        (lambda: UncertaintyWeighted([CE]), ValueError, "losses must be at least two; got 1"),
        (
            lambda: UncertaintyWeighted([CE, DICE], "gaussian"),
            ValueError,
            "kinds must be 'classification' or 'regression'; got 'gaussian'",
        ),
        (
            lambda: UncertaintyWeighted([CE, DICE], ["regression"]),
            ValueError,
            "kinds must be one, or one for each of 2 losses; got ['regression']",
        ),
        (
            lambda: UncertaintyWeighted([CE, DICE])([torch.zeros(1, 3, 4)], [torch.zeros(1, 4).long()] * 2),
            ValueError,
            "logits must be a list of 2, one for each loss; got 1",
        ),
        (
            lambda: UncertaintyWeighted([CE, DICE])([torch.zeros(1, 3, 4)] * 2, torch.zeros(1, 4).long()),
            ValueError,
            "target must be a list of 2, one for each loss; got 'Tensor'",
        ),
        (lambda: TopKLoss("multiclass", loss=CE + DICE), ValueError, None),
    ],
)
def test_what_cannot_be_composed_is_named(build, error, message):
    with pytest.raises(error) as caught:
        build()
    assert message is None or str(caught.value) == message


def test_what_is_shown_of_a_sum_is_what_it_is_made_of():
    loss = parse("ce + dice", "binary") + Scheduled(parse("focal + 2*dice", "binary"), Linear(1, 0, 5))
    assert loss.extra_repr() == "ce + dice + Linear(1, 0, 5)*(focal + 2*dice)"
    assert (DeepSupervision(CE) + CE).extra_repr() == "DeepSupervision + ce"
    assert list(Scheduled(CE, math.exp)._schedule) == list("exp")
