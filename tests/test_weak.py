"""Losses that need no mask, or little of one, and calibration by nearby labels: values, neighbours, inputs, memory."""

import math
import re
from dataclasses import replace

import array_api_strict
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import oracle_weak
from lossmith.core.catalogue import CATALOGUE
from lossmith.core.door import receive
from lossmith.core.evaluate import evaluate
from lossmith.core.namespaces import torch as torch_namespace
from lossmith.core.namespaces.numpy import xp as numpy_namespace
from lossmith.core.namespaces.standard import Standard
from lossmith.core.spec import parse_spec
from lossmith.lab.train import loss_inputs
from lossmith.torch import (
    EntropyLoss,
    GatedCRFLoss,
    MumfordShahLoss,
    NACLLoss,
    NormalizedCutLoss,
    SizeConstraint,
    TotalVariationLoss,
    parse,
)
from oracle_weak import ORACLES, Scene
from paths import in_blocks, in_one
from test_memory_of_losses import Watch

torch.set_num_threads(1)

IGNORE = 255
VARIANTS = (
    "gated_crf",
    "gated_crf(radius=1, appearance=0.5, smoothness=0.0)",
    "gated_crf(radius=2, smoothness=0.7, sigma_xy=1.5, sigma_rgb=0.4)",
    "ncut",
    "ncut(radius=1, appearance=2.0, sigma_rgb=0.4)",
    "ncut(radius=2, smoothness=0.7, sigma_xy=1.5)",
    "mumford_shah",
    "mumford_shah(lam=0.5)",
    "mumford_shah(lam=0.3, isotropic=True)",
    "entropy",
    "tv",
    "tv(isotropic=True)",
    "nacl",
    "nacl(radius=2, distance='l2')",
    "size",
    "size(low=[0.375, 0.0, 0.25], high=[0.5, 0.125, 0.875])",
)
TASKS = ("binary", "multiclass", "multilabel")
SPACES = ((7,), (3, 4), (2, 3, 2))
MODES = ("plain", "weight", "ignore", "probs", "one_image_ignored", "channel_weight")
CASES = [
    pytest.param(variant, task, id=f"{variant}-{task}")
    for variant in VARIANTS
    for task in CATALOGUE[variant.split("(")[0]].tasks
    if not ("[" in variant and task == "binary")
]


def make_scene(task: str, mode: str, space: tuple[int, ...], seed: int = 0) -> Scene:
    rng = np.random.default_rng(seed)
    channels = 1 if task == "binary" else 3
    scores = 1.5 * rng.normal(size=(2, channels, *space))
    image = rng.random((2, 2, *space))
    shape = (2, channels, *space) if "channel" in mode and task == "multilabel" else (2, *space)
    weight = rng.choice([0.0, 0.5, 1.0, 2.0], size=shape) if "weight" in mode else np.ones((2, *space))
    if "ignore" in mode:
        weight = (rng.random((2, *space)) < 0.7).astype(float)
    if mode == "one_image_ignored":
        weight[1] = 0.0
    if mode == "probs":
        e = np.exp(scores)
        scores = e / e.sum(1, keepdims=True) if task == "multiclass" else e / (1 + e)
    labels = rng.integers(channels, size=(2, *space))
    tags = rng.random((2, channels)) < 0.5 if seed % 2 else None
    return Scene(task, scores, image, weight, mode != "probs", labels, tags)


def called_with(variant: str, scene: Scene, mode: str, *, reduction: str = "mean"):
    """The loss of a scene, and what it is called with: weights as such, or as an ignored target."""
    name = variant.split("(")[0]
    record = CATALOGUE[name]
    options = {"reduction": reduction}
    if not scene.from_logits:
        options["from_logits"] = False
    target = scene.labels if record.supervised else None
    weight = scene.weight
    if "ignore" in mode:
        target = np.where(weight > 0, scene.labels, IGNORE)
        target = np.repeat(target[:, None], scene.scores.shape[1], 1) if scene.task == "multilabel" else target
        options["ignore_index"], weight = IGNORE, None
    elif "weight" not in mode:
        weight = None
    inputs = {"image": scene.image, "tags": scene.tags}
    inputs = {key: value for key, value in inputs.items() if key in record.inputs and value is not None}
    return parse(variant, scene.task, **options), target, weight, inputs


def run(variant: str, scene: Scene, mode: str, *, reduction: str = "mean"):
    """Value and gradient."""
    loss, target, weight, inputs = called_with(variant, scene, mode, reduction=reduction)
    target, weight = (None if x is None else torch.from_numpy(x) for x in (target, weight))
    logits = torch.from_numpy(scene.scores).requires_grad_()
    value = loss(logits, target, weight, **{name: torch.from_numpy(x) for name, x in inputs.items()})
    (slope,) = torch.autograd.grad(value.sum(), logits)
    return value.detach(), slope


def slow(variant: str, scene: Scene, reduction: str = "mean") -> float:
    (term,) = parse_spec(variant)
    return ORACLES[term.atom.name](scene, reduction, **term.atom.arguments)


def takes(variant: str, mode: str) -> bool:
    return not (variant.startswith("nacl") and mode == "probs")


# Values ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "task"), CASES)
def test_values_against_loops(variant, task):
    for seed, mode in enumerate(MODES):
        if takes(variant, mode):
            scene = make_scene(task, mode, SPACES[seed % 3], seed)
            for reduction in ("mean", "sum"):
                value, _ = run(variant, scene, mode, reduction=reduction)
                assert value.item() == pytest.approx(slow(variant, scene, reduction), rel=1e-9, abs=1e-12), mode


@pytest.mark.parametrize(("variant", "task"), CASES)
def test_blocks_change_nothing(variant, task):
    for seed, (mode, space) in enumerate((("plain", (5, 7)), ("weight", (3, 5, 4)), ("ignore", (40,)))):
        scene = make_scene(task, mode, space, seed)
        with in_one():
            expected = run(variant, scene, mode)
        with in_blocks():
            for got, want in zip(run(variant, scene, mode), expected, strict=True):
                torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("variant", "task"), CASES)
def test_a_definition_gives_the_value_of_torch(variant, task):
    for xp in (Standard(array_api_strict), numpy_namespace):
        for seed, mode in enumerate(("plain", "weight", "ignore")):
            scene = make_scene(task, mode, (3, 4), seed)
            loss, target, weight, inputs = called_with(variant, scene, mode)
            if target is None:
                target = np.zeros(scene.scores.shape if task == "multilabel" else scene.labels.shape, dtype=int)
            elif not loss.record.supervised:
                target = np.where(target == IGNORE, IGNORE, 0)
            options = {"task": task, "ignore_index": loss.settings["ignore_index"]}
            inputs = {name: xp.asarray(value) for name, value in inputs.items()}
            arrays = (None if x is None else xp.asarray(x) for x in (scene.scores, target, weight))
            px = receive(xp, *arrays, **options, inputs=inputs).open()
            arguments = {
                name: xp.asarray(value.numpy()) if torch.is_tensor(value) else value
                for name, value in loss.asked()[1].items()
            }
            got = np.asarray(evaluate(loss.record, px, **arguments))
            np.testing.assert_allclose(got, run(variant, scene, mode)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("spec", ["gated_crf", "ncut", "mumford_shah(lam=0.5)", "tv", "entropy"])
def test_a_binary_task_is_a_softmax_of_two_classes(spec):
    scene = make_scene("binary", "plain", (4, 5))
    two = np.concatenate([np.zeros_like(scene.scores), scene.scores], axis=1)
    expected, _ = run(spec, replace(scene, task="multiclass", scores=two), "plain")
    torch.testing.assert_close(run(spec, scene, "plain")[0], expected)


def test_numbers_worked_by_hand():
    """Three pixels in a row: p = 1, 1/2, 0, colours 0, 0, 1; one step apart: exp(-1/2) with sigma_xy = 1."""
    probs, image = torch.tensor([[1.0, 0.5, 0.0]]).double(), torch.tensor([[[0.0, 0.0, 1.0]]]).double()
    options = {"from_logits": False}
    # Pairs (1, 2) and (2, 3), each seen from both ends: p_i + p_j - 2 p_i p_j = 1/2; no colour: 4 halves / 3 pixels.
    kernel = {"radius": 1, "appearance": 0.0, "smoothness": 1.0, "sigma_xy": 1.0}
    near = math.exp(-0.5)
    assert GatedCRFLoss("binary", **kernel, **options)(probs, image=image).item() == pytest.approx(2 / 3 * near)
    # With colours in units of sigma_rgb = 1 the second pair counts exp(-1/2) less.
    kernel |= {"appearance": 1.0, "smoothness": 0.0, "sigma_rgb": 1.0}
    expected = (near + near**2) / 3
    assert GatedCRFLoss("binary", **kernel, **options)(probs, image=image).item() == pytest.approx(expected)
    # Degrees 1, 2, 1 (times exp(-1/2)); foreground: cut 1/2 + 1/4 + 1/4... = p'd - p'Wp = 2 - 1 of 2; background alike.
    kernel |= {"appearance": 0.0, "smoothness": 1.0}
    assert NormalizedCutLoss("binary", **kernel, **options)(probs, image=image).item() == pytest.approx(0.5)
    # Means: foreground 0, background (0/2 + 1) / (3/2) = 2/3; (1/2) (2/3)^2 + (1/3)^2 = 1/3, over 3 pixels.
    assert MumfordShahLoss("binary", lam=0.0, **options)(probs, image=image).item() == pytest.approx(1 / 9)
    # Two steps of 1/2.
    assert TotalVariationLoss("binary", **options)(probs).item() == pytest.approx(1 / 3)
    # log 2 of the pixel in the middle.
    assert EntropyLoss("binary", **options)(probs).item() == pytest.approx(math.log(2) / 3)
    # Half of the image where a quarter may be.
    assert SizeConstraint("binary", low=0.0, high=0.25, **options)(probs).item() == pytest.approx(1 / 16)
    # Labels 0, 0, 1 of two classes: u_1 = 0, 1/3, 1/2; logits of 0: mean of u_0 and u_1 is 1/2.
    zeros = torch.zeros(1, 2, 3, dtype=torch.float64)
    assert NACLLoss("multiclass")(zeros, torch.tensor([[0, 0, 1]])).item() == pytest.approx(0.5)
    squares = (1 + (4 / 9 + 1 / 9) + 1 / 2) / 6
    assert NACLLoss("multiclass", distance="l2")(zeros, torch.tensor([[0, 0, 1]])).item() == pytest.approx(squares)


def test_gated_crf_is_the_unfolded_one():
    """As the published code computes it, with a source mask that keeps its padding out."""
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(2, 3, 9, 8, generator=generator).double().softmax(1)
    image, d = torch.rand(2, 3, 9, 8, generator=generator).double(), 11

    def unfold(x):
        return F.unfold(x, d, 1, d // 2).view(2, -1, d * d, 9, 8)

    grid = torch.stack(torch.meshgrid(torch.arange(9.0), torch.arange(8.0), indexing="ij")).double().expand(2, 2, 9, 8)

    def kernel(features):
        apart = unfold(features) - features.unsqueeze(2)
        return (-0.5 * apart**2).sum(1, keepdim=True).exp()

    k = 0.9 * kernel(torch.cat([grid / 6, image / 0.1], 1)) + 0.1 * kernel(grid / 6)
    k[:, :, d * d // 2] = 0
    k = k * unfold(torch.ones(2, 1, 9, 8).double())
    expected = (k.sum() - ((k * unfold(p)).sum(2) * p).sum()) / (2 * 9 * 8)
    torch.testing.assert_close(GatedCRFLoss("multiclass", from_logits=False)(p, image=image), expected)


# Neighbours -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["gated_crf(radius=3)", "ncut(radius=3)"])
@pytest.mark.parametrize("space", [(13, 9), (6, 5, 7), (30,)])
def test_strips_change_nothing(spec, space, monkeypatch):
    scene = make_scene("multiclass", "weight", space)
    expected = run(spec, scene, "weight")
    monkeypatch.setattr(torch_namespace, "CACHE", 3 * math.prod(scene.scores.shape) // space[0])
    for got, want in zip(run(spec, scene, "weight"), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("spec", ["gated_crf(radius=1)", "ncut(radius=1)", "mumford_shah", "tv", "nacl"])
def test_images_compile_in_one_graph(spec):
    scene = make_scene("multiclass", "weight", (5, 6))
    expected = run(spec, scene, "weight")
    torch._dynamo.reset()
    loss, target, weight, inputs = called_with(spec, scene, "weight")
    target, weight = (None if x is None else torch.from_numpy(x) for x in (target, weight))
    logits = torch.from_numpy(scene.scores).requires_grad_()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    value = compiled(logits, target, weight, **{name: torch.from_numpy(x) for name, x in inputs.items()})
    torch.testing.assert_close(value.detach(), expected[0])
    torch.testing.assert_close(torch.autograd.grad(value, logits)[0], expected[1])


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch, of forward mode
@pytest.mark.parametrize("spec", ["gated_crf(radius=2)", "ncut(radius=1)"])
def test_forward_mode_and_images_of_a_vmap(spec):
    """Function transforms reach the image, too."""
    loss, generator = parse(spec, "multiclass"), torch.Generator().manual_seed(3)
    logits, tangent = (torch.randn(2, 3, 4, 5, generator=generator).double() for _ in range(2))
    image = torch.rand(2, 2, 4, 5, generator=generator).double()
    leaf = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf, image=image), leaf)
    _, derivative = torch.func.jvp(lambda z: loss(z, image=image), (logits,), (tangent,))
    torch.testing.assert_close(derivative, (slope * tangent).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(logits, tangent)
        dual_value = torch.autograd.forward_ad.unpack_dual(loss(dual, image=image))
    torch.testing.assert_close(dual_value.tangent, (slope * tangent).sum())
    single = torch.func.vmap(lambda z, x: loss(z[None], image=x[None]))(logits, image)
    torch.testing.assert_close(single, torch.stack([loss(logits[n : n + 1], image=image[n : n + 1]) for n in (0, 1)]))


@pytest.mark.parametrize("spec", ["gated_crf", "ncut", "mumford_shah", "tv(isotropic=True)"])
def test_images_without_neighbours(spec):
    """A single pixel, no pixel and no space at all cost nothing, and have a gradient."""
    for space in ((1, 1), (), (0, 3)):
        logits = torch.full((2, 3, *space), 0.5, requires_grad=True)
        image = torch.rand(2, 1, *space)
        value = parse(spec, "multiclass")(logits, **({"image": image} if "tv" not in spec else {}))
        assert value.item() == pytest.approx(0.0, abs=1e-6), space
        assert bool(torch.autograd.grad(value, logits)[0].abs().sum() < 1e-6)


@pytest.mark.parametrize("lower", [95.0, 300.0])
@pytest.mark.parametrize("spec", ["gated_crf", "ncut", "mumford_shah"])
def test_likely_nowhere_is_no_accident(spec, lower):
    """A class whose probability underflows leaves value and gradient finite, in float32."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 6, 6, generator=generator)
    logits[:, 2] -= lower
    logits.requires_grad_()
    values = parse(spec, "multiclass", reduction="none")(logits, image=torch.rand(1, 3, 6, 6, generator=generator))
    (slope,) = torch.autograd.grad(values.mean(), logits)
    assert bool(values.isfinite().all())
    assert bool(slope.isfinite().all())
    assert bool(slope.abs().sum() > 0)
    if spec == "ncut":  # next to nothing, it is cut everywhere
        assert values[0, 2].item() == pytest.approx(1.0)


# Inputs ---------------------------------------------------------------------------------------------------------------


def test_an_ignored_pixel_is_out_at_both_ends():
    """Neither its logits nor its colour, NaN included, are seen by others."""
    generator = torch.Generator().manual_seed(0)
    logits, image = (torch.randn(1, k, 4, 5, generator=generator) for k in (3, 2))
    target = torch.zeros(1, 4, 5, dtype=torch.long)
    target[0, 1, 2] = IGNORE
    other, changed = logits.clone(), image.clone()
    other[..., 1, 2], changed[..., 1, 2] = 99.0, torch.nan
    for spec in ("gated_crf", "ncut", "mumford_shah"):
        loss = parse(spec, "multiclass", ignore_index=IGNORE)
        torch.testing.assert_close(loss(other, target, image=changed), loss(logits, target, image=image))


@pytest.mark.parametrize("spec", ["gated_crf", "ncut", "mumford_shah"])
def test_what_is_wrong_with_an_image_is_seen(spec):
    loss, logits = parse(spec, "binary"), torch.zeros(1, 1, 3, 4)
    with pytest.raises(TypeError, match=re.escape(f"{spec} must be called with image=: the image that the logits")):
        loss(logits)
    with pytest.raises(ValueError, match=r"^image must be of shape \(1, k, 3, 4\) for logits of shape \(1, 1, 3, 4\)"):
        loss(logits, image=torch.zeros(1, 3, 4, 4))
    with pytest.raises(TypeError, match=r"^image must be of a dtype that is real; got 'torch.uint8'$"):
        loss(logits, image=torch.zeros(1, 3, 3, 4, dtype=torch.uint8))
    for bad in (torch.nan, torch.inf, -torch.inf):
        image = torch.zeros(1, 3, 3, 4)
        image[0, 1, 2, 3] = bad
        assert bool(loss(logits, image=image).isnan())


def test_a_sum_with_scribbles():
    """Cross-entropy sees the labelled pixels, the others every pixel."""
    generator = torch.Generator().manual_seed(0)
    logits, image = torch.randn(2, 3, 6, 6, generator=generator), torch.rand(2, 3, 6, 6, generator=generator)
    target = torch.full((2, 6, 6), IGNORE)
    target[:, 2, :3], target[:, 4, 3:] = 1, 2
    loss = parse("ce(ignore_index=255) + 0.1*gated_crf + 0.01*entropy", "multiclass")
    expected = (
        F.cross_entropy(logits, target, ignore_index=IGNORE)
        + 0.1 * GatedCRFLoss("multiclass")(logits, image=image)
        + 0.01 * EntropyLoss("multiclass")(logits)
    )
    torch.testing.assert_close(loss(logits, target, image=image), expected)


def test_the_lab_gives_images_to_losses_that_look_at_them():
    class Own(nn.Module):
        def forward(self, logits, _target, image):
            return (logits * image).sum()

    images = torch.zeros(1, 3, 2, 2)
    assert loss_inputs(parse("ce + dice", "binary"), images) == {}
    assert loss_inputs(nn.CrossEntropyLoss(), images) == {}
    for loss in (parse("gated_crf", "binary"), parse("ce + 0.1*(0.5*ncut)", "binary"), Own()):
        assert loss_inputs(loss, images) == {"image": images}


# Parameters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        ("size(low=0.5, high=0.2)", ValueError, "low must be at most high, [0.2]; got [0.5]"),
        ("size(low=[0.1, 0.3], high=0.2)", ValueError, "low must be at most high, [0.2]; got [0.1, 0.3]"),
        ("size(low=[0.1, 0.3], high=[0.2, 0.4, 0.5])", ValueError, "low must be 3 numbers like high; got [0.1, 0.3]"),
        ("size(low=[0.1, 0.3], high=-0.5)", ValueError, "high must be in [0, 1]; got -0.5"),
        ("size(high=1.5)", ValueError, "high must be in [0, 1]; got 1.5"),
        ("gated_crf(radius=0)", ValueError, "radius must be a whole number >= 1; got 0"),
        ("ncut(sigma_rgb=0)", ValueError, "sigma_rgb must be in (0, inf); got 0"),
        ("ncut(appearance=0, smoothness=0)", ValueError, "appearance or smoothness must be > 0; got (0, 0)"),
        ("nacl(from_logits=False)", ValueError, "nacl has no parameter from_logits"),
        ("nacl(distance='l3')", ValueError, "distance must be 'l1' or 'l2'; got 'l3'"),
    ],
)
def test_wrong_parameters(spec, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        parse(spec, "multiclass")


def test_bounds_for_each_class_and_tags():
    with pytest.raises(ValueError, match=r"^low must be 3 numbers, one for each class; got \(2,\)$"):
        SizeConstraint("multiclass", low=[0.1, 0.1])(torch.zeros(1, 3, 4))
    with pytest.raises(TypeError, match=r"^tags must be of a dtype that is bool; got 'torch.int64'$"):
        SizeConstraint("multiclass")(torch.zeros(1, 3, 4), tags=torch.ones(1, 3, dtype=torch.long))
    loss = SizeConstraint("multiclass", low=[0.0, 0.1, 0.1], high=[1.0, 0.5, 0.5], reduction="none")
    assert loss.spec == "size(low=[0.0, 0.1, 0.1], high=[1.0, 0.5, 0.5], reduction='none')"
    value = loss(torch.zeros(1, 3, 4), tags=torch.tensor([[True, True, False]]))
    torch.testing.assert_close(value, torch.tensor([[0.0, 0.0, 1 / 9]]))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_a_bound_that_is_none_is_none(task):
    """Nothing is too small without `low`, nothing too large without `high`; a class without tag must still be nowhere."""
    logits = torch.randn(2, 3 - 2 * (task == "binary"), 5, 4, generator=torch.Generator().manual_seed(0))
    absent = torch.zeros(logits.shape[:2], dtype=torch.bool)
    for bounds, same in [
        ({"low": None}, {"low": 0.0}),
        ({"high": None, "low": 0.9}, {"high": 1.0, "low": 0.9}),
        ({"low": None, "high": None}, {"low": 0.0, "high": 1.0}),
    ]:
        loss, other = SizeConstraint(task, **bounds), SizeConstraint(task, **same)
        assert loss(logits).item() == other(logits).item()
        assert loss(logits, tags=absent).item() == other(logits, tags=absent).item() > 0
        assert parse(loss.spec, task)(logits).item() == loss(logits).item()
    assert SizeConstraint(task, low=None, high=None)(logits).item() == 0


# Memory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["gated_crf", "ncut"])
def test_no_array_has_an_entry_for_every_neighbour(spec):
    """120 neighbours and 4 classes: what comes into use at any time is a few images, and what is kept is less."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 64, 64, generator=generator, requires_grad=True)
    image = torch.rand(3, 3, 64, 64, generator=generator)
    loss = parse(spec, "multiclass")
    with in_blocks(2**12), Watch(logits, image) as watch:
        value = loss(logits, image=image)
        assert watch.sizes(logits.nbytes) == []
        value.backward()
    assert watch.sizes(1.01 * logits.nbytes) == []


@pytest.mark.parametrize("spec", ["gated_crf", "ncut"])
def test_nothing_is_kept_for_each_neighbour(spec):
    saved = []
    logits = torch.randn(1, 4, 32, 32, requires_grad=True)
    with in_one(), torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        parse(spec, "multiclass")(logits, image=torch.rand(1, 3, 32, 32))
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in saved}
    assert sum(storages.values()) < 10 * logits.nbytes


def test_every_parameter_is_varied():
    varied = {(t.atom.name, key) for variant in VARIANTS for t in parse_spec(variant) for key in t.atom.arguments}
    elsewhere = {"ignore_index", "reduction", "from_logits", "process_group"}
    known = {(name, p.name) for name in ORACLES for p in CATALOGUE[name].parameters if p.name not in elsewhere}
    assert varied == known
    assert set(ORACLES) == {record.name for record in CATALOGUE.values() if record.family in ("weak", "calibration")}
    assert oracle_weak.softmax([0.0, 0.0]) == [0.5, 0.5]


@pytest.mark.parametrize("spec", ["entropy", "tv", "size"])
def test_a_target_that_is_not_read_must_fit_all_the_same(spec):
    loss, logits = parse(spec, "multiclass"), torch.zeros(2, 3, 4, 4)
    assert torch.equal(loss(logits, torch.full((2, 4, 4), 7)), loss(logits))
    with pytest.raises(
        ValueError, match=r"^target must be of shape \(2, 4, 4\) or \(2, 3, 4, 4\) for multiclass logits"
    ):
        loss(logits, torch.zeros(2, 4, 5))
