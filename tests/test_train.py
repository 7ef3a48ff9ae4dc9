import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import lossmith
from lossmith.data import load
from lossmith.data.augmentation import Batches
from lossmith.lab import train
from lossmith.lab.machine import Machine
from lossmith.lab.plan import Settings, make_plan
from lossmith.lab.records import Store
from lossmith.lab.train import make_loss, predict, run_trial
from lossmith.torch import class_counts

ONE_THREAD = Machine("cpu", 1)
BURST_AT = 4


def tiny(*, in_channels, out_channels):
    """A net with dropout, so that its random numbers are part of the pairing too."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, out_channels, 1)
    )


class Greedy(nn.Module):
    """Draws random numbers when made and when called, and has a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(()))

    def forward(self, logits, target):
        return ((logits[:, 0].sigmoid() - target) ** 2).mean() * (1 + self.weight**2)


class Bursting(nn.Module):
    """Not finite from its fourth call on."""

    calls = 0

    def forward(self, logits, _target):
        self.calls += 1
        return logits.square().mean() * (1.0 if self.calls < BURST_AT else math.nan)


@pytest.fixture(scope="module")
def data():
    return load("cracks(images=10, size=64)")


@pytest.fixture(scope="module")
def counts(data):
    return class_counts((sample.mask for sample in data.train), 2).numpy()


def plan_of(data, losses, **settings):
    options = {"model": "test_train:tiny", "steps": 6, "batch": 2, "crop": 32, **settings}
    return make_plan(data, losses, seeds=2, settings=Settings(**options))


def run(plan, trial, folder, counts):
    return run_trial(plan, trial, Store(folder), counts=counts, machine=ONE_THREAD, on_step=lambda *_: None)


def seen(monkeypatch, plan, folder, counts):
    """The weights at the start and the batches of each trial of `plan`."""
    weights, batches = [], []
    build, door = train.build_model, Batches.__getitem__

    def spy_build(*args, **kwargs):
        net = build(*args, **kwargs)
        weights.append({name: value.clone() for name, value in net.state_dict().items()})
        batches.append([])
        return net

    def spy_batch(self, step):
        batch = door(self, step)
        batches[-1].append([part.clone() for part in batch])
        return batch

    monkeypatch.setattr(train, "build_model", spy_build)
    monkeypatch.setattr(Batches, "__getitem__", spy_batch)
    for trial in plan.trials:
        run(plan, trial, folder, counts)
    return weights, batches


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_losses_of_a_seed_are_paired(data, counts, tmp_path, monkeypatch):
    plan = plan_of(data, ["ce", "test_train:Greedy"])
    weights, batches = seen(monkeypatch, plan, tmp_path, counts)
    assert [trial.seed for trial in plan.trials] == [0, 0, 1, 1]
    for first, second in ((0, 1), (2, 3)):
        assert same(weights[first].values(), weights[second].values())
        for a, b in zip(batches[first], batches[second], strict=True):
            assert same(a, b)
    assert not same(weights[0].values(), weights[2].values())
    assert not same(batches[0][0], batches[2][0])


def test_dropout_is_paired_too(data, counts, tmp_path, monkeypatch):
    """Making a loss draws random numbers; the masks of dropout do not depend on it."""
    plan = plan_of(data, ["ce", "test_train:Greedy"], steps=1)
    drawn = []
    monkeypatch.setattr(nn.Dropout, "forward", lambda _, x: drawn.append(torch.rand(())) or x)
    starts = []
    for trial in plan.trials[:2]:
        starts.append(len(drawn))
        run(plan, trial, tmp_path, counts)
    assert torch.equal(drawn[starts[0]], drawn[starts[1]])


def test_a_trial_run_twice_gives_the_same_bits(data, counts, tmp_path):
    plan = plan_of(data, ["ce"], model="unet", steps=3)
    first, again = (run(plan, plan.trials[0], tmp_path / name, counts) for name in "ab")
    assert np.array_equal(first.curve(), again.curve())
    assert np.array_equal(first.prediction(1), again.prediction(1))
    other = run(plan, plan.trials[1], tmp_path / "c", counts)
    assert not np.array_equal(first.curve(), other.curve())


def test_nothing_global_is_left_changed(data, counts, tmp_path):
    torch.manual_seed(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    plan = plan_of(data, ["ce"], steps=1)
    run(plan, plan.trials[0], tmp_path, counts)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_training_lowers_the_loss(data, counts, tmp_path):
    plan = plan_of(data, ["dice"], model="unet", steps=40, lr=1e-2, batch=4, crop=64)
    curve = run(plan, plan.trials[0], tmp_path, counts).curve()
    assert len(curve) == 40
    assert curve[-5:].mean() < 0.8 * curve[:5].mean()


def test_facts_of_a_run(data, counts, tmp_path):
    plan = plan_of(data, ["ce"])
    record = run(plan, plan.trials[0], tmp_path, counts)
    facts = record.run
    assert (facts["loss"], facts["seed"], facts["steps"], facts["diverged_at"]) == ("ce", 0, 6, None)
    assert facts["seconds"] > 0
    assert 50 < facts["peak_memory_mb"] < 50_000
    assert (facts["device"], facts["threads"]) == ("cpu", 1)
    assert (facts["lossmith"], facts["torch"]) == (lossmith.__version__, torch.__version__)
    events = list((tmp_path / "tensorboard").rglob("events.*"))
    assert len(events) == 1
    assert events[0].stat().st_size > 5_000  # scalars and pictures


def test_a_run_that_diverges_is_recorded(data, counts, tmp_path):
    plan = plan_of(data, ["test_train:Bursting"])
    record = run(plan, plan.trials[0], tmp_path, counts)
    assert not record.trained
    assert record.run["diverged_at"] == BURST_AT
    assert len(record.curve()) == BURST_AT


def test_progress_is_told(data, counts, tmp_path):
    plan = plan_of(data, ["ce"])
    told = []
    record = run_trial(
        plan,
        plan.trials[0],
        Store(tmp_path),
        counts=counts,
        machine=ONE_THREAD,
        on_step=lambda step, loss: told.append((step, loss)),
    )
    assert told == list(zip(range(1, 7), record.curve(), strict=True))


def test_wce_is_told_the_counts_of_the_data(counts):
    logits, target = torch.ones(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    target[0, 0] = 1
    told, other = (
        make_loss("wce(balance='inverse')", "binary", c)(logits, target) for c in (counts, counts[::-1].copy())
    )
    assert not torch.isclose(told, other)


def test_prediction_of_a_whole_image_of_any_size(data):
    sample = data.test[0]
    cut = type(sample)("cut", sample.image[:, :37, :50], sample.mask[:37, :50], sample.truth[:37, :50])
    net = nn.Conv2d(3, 1, 1).train()
    logits = predict(net, cut, torch.device("cpu"))
    expected = net(torch.from_numpy(cut.image.copy())[None])[0].detach().numpy()
    assert logits.shape == (1, 37, 50)
    assert np.allclose(logits, expected, atol=1e-6)
    assert net.training


def test_a_net_that_shrinks_its_input(data):
    text = "the model's output must be logits of shape (N, C, 64, 64); got (1, 1, 62, 62)"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        predict(nn.Conv2d(3, 1, 3), data.test[0], torch.device("cpu"))
