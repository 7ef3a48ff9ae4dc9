import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import lossmith
from lossmith.data import load
from lossmith.lab.plan import Settings, Trial, budget, make_plan, source_digest
from lossmith.torch import PCAShapePrior


@pytest.fixture(scope="module")
def data():
    return load("cracks(images=10, size=64)")


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"steps": 0}, "steps must be a whole number >= 1; got 0"),
        ({"batch": 1.5}, "batch must be a whole number >= 1; got 1.5"),
        ({"crop": True}, "crop must be a whole number >= 1; got True"),
        ({"tolerance": 0}, "tolerance must be a whole number >= 1; got 0"),
        ({"lr": float("nan")}, "lr must be a positive number; got nan"),
        ({"lr": -1}, "lr must be a positive number; got -1"),
        (
            {"precision": "16"},
            "precision must be one of 32-true, bf16-mixed, 16-mixed, 64-true; got '16'",
        ),
    ],
)
def test_settings_out_of_range(setting, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Settings(**setting)


def test_budget():
    assert budget(None, None, images=94, batch=8) == 450
    assert budget(7, None, images=94, batch=8) == 7
    assert budget(None, 2, images=94, batch=8) == 24
    assert budget(None, 0.5, images=94, batch=8) == 6
    text = "steps and epochs exclude each other; got steps=3 and epochs=2"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        budget(3, 2, images=94, batch=8)
    text = "epochs must be a positive number; got 0"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        budget(None, 0, images=94, batch=8)


def test_trials_pair_every_loss_with_every_seed(data):
    plan = make_plan(data, ["ce", "dice+ce"], seeds=2, settings=Settings())
    assert [(t.loss, t.seed) for t in plan.trials] == [("ce", 0), ("dice + ce", 0), ("ce", 1), ("dice + ce", 1)]


def test_identity_holds_all_but_losses_and_seeds(data):
    plan = make_plan(data, ["ce"], seeds=1, settings=Settings())
    more = make_plan(data, ["ce", "dice"], seeds=5, settings=Settings())
    assert more.identity == plan.identity
    for change in ({"steps": 7}, {"lr": 1e-2}, {"tolerance": 3}, {"model": "unet-depthwise"}, {"crop": 64}):
        other = make_plan(data, ["ce"], seeds=1, settings=replace(Settings(), **change))
        assert other.identity != plan.identity, change
    other_data = replace(data, fingerprint="0" * 64)
    assert make_plan(other_data, ["ce"], seeds=1, settings=Settings()).identity != plan.identity


def test_folders_tell_specs_apart():
    specs = ["dice+ce", "dice-ce", "focal(gamma=2)", "focal(gamma=2.0)", "a" * 300, "a" * 301, "++"]
    folders = [Trial(spec, 0).folder for spec in specs]
    assert len(set(folders)) == len(specs)
    assert all(len(folder.parts[0]) < 80 for folder in folders)
    assert str(Trial("0.5*ce + dice", 3).folder).startswith("0.5-ce-dice-")
    assert Trial("ce", 3).folder.name == "seed-3"


@pytest.mark.parametrize(
    ("losses", "seeds", "text"),
    [
        ([], 1, "losses must be a sequence of at least one spec; got []"),
        ("ce", 1, "losses must be a sequence of at least one spec; got 'ce'"),
        (["dice+ce", "dice  + ce"], 1, "losses must be different from one another; got ['dice+ce', 'dice  + ce']"),
        (["ce"], 0, "seeds must be a whole number >= 1; got 0"),
    ],
)
def test_plans_that_make_no_sense(data, losses, seeds, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make_plan(data, losses, seeds=seeds, settings=Settings())


def test_one_test_image_is_too_few(data):
    few = replace(data, test=data.test[:1])
    text = "data.test must be at least 2 images (the threshold is chosen on images not scored); got 1"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make_plan(few, ["ce"], seeds=1, settings=Settings())


def test_an_edited_loss_is_another_loss(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    source = tmp_path / "edited_loss.py"
    source.write_text("class A: ...\n")
    before = source_digest("0.5*edited_loss:A + ce")
    assert before == source_digest("edited_loss:A")
    assert Trial("edited_loss:A", 0, before).folder != Trial("edited_loss:A", 0, "").folder
    source.write_text("class A: x = 1\n")
    assert source_digest("edited_loss:A") != before
    assert source_digest("ce + dice") == ""
    assert source_digest("no_such_module:A") != ""
    assert source_digest("no_such_package.module:A") != ""


def test_a_prior_that_was_fitted_anew_is_another_loss(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    masks = (torch.arange(64).view(1, 1, 64) < torch.tensor([[[20]], [[30]], [[45]]])).long().expand(3, 64, 64)
    PCAShapePrior.fit(masks, "binary", components=1).save("prior.safetensors")
    spec = "ce + 0.1*shape_pca(path='prior.safetensors')"
    plan = make_plan(data, [spec, "ce"], seeds=1, settings=Settings())
    before = [trial.folder for trial in plan.trials]
    assert before == [trial.folder for trial in plan.trials]
    PCAShapePrior.fit(masks.flip(2), "binary", components=1).save("prior.safetensors")
    after = [trial.folder for trial in plan.trials]
    assert (after[0] == before[0], after[1] == before[1]) == (False, True)


def test_every_file_that_an_argument_names_is_watched(tmp_path):
    path = tmp_path / "weights"
    spec = f"ce + my.module:Own(inner=my.other:Own(files=['none', {str(path)!r}]))"
    nothing = source_digest(spec)
    path.write_text("1")
    one = source_digest(spec)
    path.write_text("2")
    assert len({nothing, one, source_digest(spec)}) == 3
    assert source_digest(f"ce(name={'x' * 999!r})") == ""


def test_a_loss_in_the_working_directory_is_found(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    source = (
        "from torch import nn\nclass Mine(nn.Module):\n    def forward(self, logits, target): return logits.mean()\n"
    )
    (tmp_path / "lying_here.py").write_text(source)
    assert make_plan(data, ["lying_here:Mine"], seeds=1, settings=Settings()).losses == ("lying_here:Mine",)


@pytest.mark.parametrize(("size", "crop"), [((480, 320), 256), ((192, 192), 192), ((100, 70), 64), ((9, 300), 32)])
def test_default_crop_fits_the_smallest_image(size, crop):
    from lossmith.data import Sample
    from lossmith.lab.plan import default_crop

    large, small = (np.zeros((3, *s), dtype=np.float32) for s in ((999, 999), size))
    mask = np.zeros((1, 1), dtype=np.int64)
    assert default_crop([Sample("a", large, mask, mask), Sample("b", small, mask, mask)]) == crop


def test_another_version_is_another_comparison(data, monkeypatch):
    plan = make_plan(data, ["ce"], seeds=1, settings=Settings())
    assert plan.identity["lossmith"] == lossmith.__version__
    monkeypatch.setattr("lossmith.lab.plan.__version__", "99")
    assert plan.identity["lossmith"] == "99"
