"""Shape priors: what they measure, and that they stay as they were fitted."""

import pytest
import torch

from lossmith.torch import AutoEncoderShapePrior, DiceLoss, PCAShapePrior, SumLoss, parse

IGNORE = 255


@pytest.fixture(scope="module")
def masks():
    """Discs of many places and sizes, three labels."""
    generator = torch.Generator().manual_seed(0)
    x, y, r = 6 + 6 * torch.rand(3, 40, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(18), torch.arange(18), indexing="ij")
    distance = (rows - x) ** 2 + (columns - y) ** 2
    return (distance < (r / 2) ** 2).long() + (distance < (r / 4) ** 2).long()


@pytest.fixture(scope="module")
def priors(masks):
    return {
        "pca": PCAShapePrior.fit(masks, "multiclass", components=8),
        "smooth": PCAShapePrior.fit(masks, "multiclass", components=8, width=2.0),
        "ae": AutoEncoderShapePrior.fit(masks, "multiclass", components=6, width=4, epochs=3),
    }


def certain(masks, classes=3):
    return 40.0 * torch.nn.functional.one_hot(masks, classes).movedim(-1, 1).float()


NAMES = ["pca", "smooth", "ae"]


def fit_of(name, masks, task, **options):
    """A small prior."""
    if name == "pca":
        return PCAShapePrior.fit(masks, task, components=4, **options)
    return AutoEncoderShapePrior.fit(masks, task, **{"components": 4, "width": 4, "epochs": 1, **options})


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_costs_nothing_and_another_shape_something(name, priors, masks):
    prior = priors[name]
    assert prior(certain(masks), masks).item() == pytest.approx(0, abs=1e-8)
    assert prior(certain(masks.roll(1, 0)), masks).item() > 0.1


def test_pca_by_hand(priors, masks):
    """Coordinates of p - t, squared, over the variance of that coordinate of the masks."""
    prior = priors["pca"]
    maps = certain(masks).softmax(1).double().flatten(1)
    _, vectors = torch.linalg.eigh(torch.cov(maps.T))
    codes = (maps - maps.mean(0)) @ vectors[:, -8:]
    expected = ((codes[3] - codes[5]) ** 2 / codes.var(0)).mean().item()
    assert prior(certain(masks[3:4]), masks[5:6]).item() == pytest.approx(expected, rel=1e-3)


def test_without_a_target_it_is_the_distance_to_the_span(priors, masks):
    prior = priors["pca"]
    logits = torch.randn(2, 3, 18, 18, generator=torch.Generator().manual_seed(1))
    x = (logits.softmax(1) - prior.mean).flatten(1).double()
    rest = x - torch.linalg.lstsq(prior.components.double().T, x.T).solution.T @ prior.components.double()
    assert prior(logits).item() == pytest.approx((rest**2).mean().item(), rel=1e-5)
    assert prior(certain(masks)).item() < prior(logits).item()
    with pytest.raises(TypeError, match=r"^AutoEncoderShapePrior must be called with a target$"):
        priors["ae"](logits)


@pytest.mark.parametrize("name", NAMES)
def test_an_ignored_pixel_has_no_gradient_and_no_say(name, priors, masks):
    prior = priors[name]
    about = {"kind": None} | prior.settings()
    about.pop("kind")
    ignoring = type(prior).restored(prior.state_dict(), {"task": "multiclass", "ignore_index": IGNORE, **about})
    target = masks[:4].clone()
    target[:, 4:9, 3:7] = IGNORE
    logits = torch.randn(4, 3, 18, 18, generator=torch.Generator().manual_seed(1)).requires_grad_()
    value = ignoring(logits, target)
    (slope,) = torch.autograd.grad(value, logits)
    assert (slope[:, :, 4:9, 3:7] == 0).all()
    assert slope.abs().max() > 0
    other = logits.detach().clone()
    other[:, :, 4:9, 3:7] = 100.0
    assert ignoring(other, target).item() == value.item()


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_is_the_same(name, priors, masks, tmp_path):
    prior = priors[name]
    prior.save(tmp_path / "prior.safetensors")
    logits = torch.randn(40, 3, 18, 18, generator=torch.Generator().manual_seed(1))
    assert type(prior).load(tmp_path / "prior.safetensors")(logits, masks).item() == prior(logits, masks).item()


def test_an_encoder_of_ones_own(masks, tmp_path):
    """The sum of each map: the discs' areas."""
    maps = certain(masks).softmax(1)
    codes = maps.flatten(2).sum(2)
    encoder = torch.nn.Sequential(torch.nn.AvgPool2d(18, divisor_override=1), torch.nn.Flatten())
    prior = AutoEncoderShapePrior("multiclass", mean=maps.mean(0), deviation=codes.std(0), encoder=encoder)
    expected = (((codes[:1] - codes[1:2]) / codes.std(0)) ** 2).mean().item()
    assert prior(certain(masks[:1]), masks[1:2]).item() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match=r"^encoder of a prior that is saved must be that of `fit`; got 'Sequential'$"):
        prior.save(tmp_path / "prior.safetensors")


def test_a_file_of_another_prior_is_refused(priors, tmp_path):
    priors["pca"].save(tmp_path / "prior.safetensors")
    with pytest.raises(ValueError, match=r"^path must be a file that AutoEncoderShapePrior.save wrote; got "):
        AutoEncoderShapePrior.load(tmp_path / "prior.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_frozen(name, priors, masks):
    loss = DiceLoss("multiclass") + 0.1 * priors[name]
    assert isinstance(loss, SumLoss)
    loss.train()
    logits = torch.zeros(4, 3, 18, 18).requires_grad_()
    loss(logits, masks[:4]).backward()
    assert logits.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert not priors[name].training
    assert set(loss.terms) == {"dice", f"0.1*{type(priors[name]).__name__}"}


@pytest.mark.parametrize("name", NAMES)
def test_autocast_half_precision_and_the_compiler(name, priors, masks):
    prior = priors[name]
    logits = torch.randn(4, 3, 18, 18, generator=torch.Generator().manual_seed(1))
    expected = prior(logits, masks[:4])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(prior(logits, masks[:4]), expected)
    half = logits.half()
    torch.testing.assert_close(prior(half, masks[:4]), prior(half.float(), masks[:4]))
    torch._dynamo.reset()
    compiled = torch.compile(prior, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits, masks[:4]), expected)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize("cls", [PCAShapePrior, AutoEncoderShapePrior])
def test_other_tasks(cls, task, masks):
    some = (masks > 0).long() if task == "binary" else torch.stack([masks > 0, masks > 1], 1).long()
    prior = cls.fit(some, task, components=4, **({"epochs": 1, "width": 4} if cls is AutoEncoderShapePrior else {}))
    maps = some if task == "multilabel" else some[:, None]
    assert prior(80.0 * maps - 40.0, some).item() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("name", ["pca", "ae"])
def test_every_form_of_logits_and_target_that_losses_take(name, masks):
    """The same numbers in another form cost the same; a soft target is one of fractions."""
    some = (masks > 0).long()
    generator = torch.Generator().manual_seed(2)
    prior, logits = fit_of(name, some, "binary"), torch.randn(5, 1, 18, 18, generator=generator)
    expected = prior(logits, some[:5])
    for target in (some[:5], some[:5, None], some[:5].bool(), some[:5].float(), some[:5, None].double()):
        assert prior(logits, target).item() == expected.item()
        assert prior(logits[:, 0], target.reshape(5, 18, 18), weight=None).item() == expected.item()
    for dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32):
        assert prior(logits, some[:5].to(dtype)).item() == expected.item()
    assert prior(logits, logits.sigmoid()).item() == pytest.approx(0, abs=1e-10)
    prior, logits = fit_of(name, masks, "multiclass"), torch.randn(5, 3, 18, 18, generator=generator)
    hot = certain(masks[:5]).long() // 40
    for target in (hot, hot.bool(), hot.float()):
        assert prior(logits, target).item() == prior(logits, masks[:5]).item()
    with pytest.raises(ValueError, match=r"^target must hold probabilities that sum to 1 over the classes; got other"):
        prior(logits, 0.5 * hot)
    assert prior(logits[:0], masks[:0]).item() == 0
    assert prior(logits * torch.nan, masks[:5]).isnan()


@pytest.mark.parametrize("name", ["pca", "ae"])
@pytest.mark.parametrize("ignored", [IGNORE, -100])
def test_ignored_pixels_of_the_masks_are_background(name, ignored, masks):
    """They make no class of their own, whatever their number; the classes may be said or found."""
    marked, plain = masks.clone(), masks.clone()
    marked[:, 3:5, 3:9], plain[:, 3:5, 3:9] = ignored, 0
    logits = torch.randn(5, 3, 18, 18, generator=torch.Generator().manual_seed(2))
    for options in ({}, {"classes": 3}):
        prior = fit_of(name, marked, "multiclass", ignore_index=ignored, **options)
        assert prior.mean.shape == (3, 18, 18)
        assert prior(logits, masks[:5]).item() == fit_of(name, plain, "multiclass")(logits, masks[:5]).item()
    sure = torch.where(marked == 2, 1, marked)
    prior = fit_of(name, sure, "binary", ignore_index=ignored)
    expected = fit_of(name, torch.where(plain == 2, 1, plain), "binary")
    assert prior(logits[:, :1], (masks[:5] > 0)).item() == expected(logits[:, :1], (masks[:5] > 0)).item()


WRONG = [
    ("pca", {"width": -1}, ValueError, "width must be in [0, inf); got -1"),
    ("pca", {"width": float("nan")}, ValueError, "width must be in [0, inf); got nan"),
    ("ae", {"components": 0}, ValueError, "components must be a whole number >= 1; got 0"),
    ("ae", {"components": -1}, ValueError, "components must be a whole number >= 1; got -1"),
    ("ae", {"components": 2.0}, TypeError, "components must be a whole number >= 1; got 2.0"),
    ("ae", {"width": 0}, ValueError, "width must be a whole number >= 1; got 0"),
    ("ae", {"epochs": 0}, ValueError, "epochs must be a whole number >= 1; got 0"),
    ("ae", {"epochs": -1}, ValueError, "epochs must be a whole number >= 1; got -1"),
    ("ae", {"batch": 0}, ValueError, "batch must be a whole number >= 1; got 0"),
    ("ae", {"lr": 0}, ValueError, "lr must be in (0, inf); got 0"),
    ("ae", {"seed": -1}, ValueError, "seed must be a whole number >= 0; got -1"),
    (
        "ae",
        {"lr": 1e30},
        ValueError,
        "codes of the masks must be finite and different: other masks, or a lower lr; got ",
    ),
    ("pca", {"classes": 2}, ValueError, "masks must be class indices from 0 to 1; got 2"),
    ("pca", {"classes": 1}, ValueError, "classes must be a whole number >= 2; got 1"),
    ("pca", {"ignore_index": 0.5}, TypeError, "ignore_index must be None or a whole number; got 0.5"),
]


@pytest.mark.parametrize(("name", "options", "error", "message"), WRONG, ids=[row[3] for row in WRONG])
def test_wrong_arguments_of_a_fit_are_refused(name, options, error, message, masks):
    if name == "ae":
        options = {"components": 4, "width": 2, "epochs": 1, **options}
    with pytest.raises(error) as caught:
        (PCAShapePrior if name == "pca" else AutoEncoderShapePrior).fit(masks, "multiclass", **options)
    assert str(caught.value).startswith(message)


def test_labels_that_are_no_classes_make_no_prior(masks):
    strange = torch.where(masks == 2, IGNORE, masks)
    message = r"^classes must be given for masks of labels \[0, 1, 255\], or ignore_index one of them; got None$"
    with pytest.raises(ValueError, match=message):
        PCAShapePrior.fit(strange, "multiclass")
    with pytest.raises(ValueError, match=r"^masks must be class indices from 0 to 1; got 255$"):
        PCAShapePrior.fit(strange, "binary")
    with pytest.raises(ValueError, match=r"^classes of a binary task must be None; got 3$"):
        PCAShapePrior.fit(masks.sign(), "binary", classes=3)
    with pytest.raises(TypeError, match=r"^masks must be class indices of an integer dtype; got 'torch.float32'$"):
        PCAShapePrior.fit(masks.float(), "multiclass")


def test_volumes():
    masks = (torch.rand(6, 5, 9, 8, generator=torch.Generator().manual_seed(0)) > 0.5).long()
    prior = AutoEncoderShapePrior.fit(masks, "binary", components=2, width=2, epochs=1)
    assert prior(torch.zeros(6, 1, 5, 9, 8), masks).item() >= 0


def test_fitting_leaves_the_random_state_and_repeats(masks):
    state = torch.get_rng_state()
    one, other = (
        AutoEncoderShapePrior.fit(masks, "multiclass", components=3, width=2, epochs=1, seed=3) for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.deviation, other.deviation)


def test_bad_input_is_refused(priors, masks):
    with pytest.raises(ValueError, match=r"^logits must be of shape \(N, 3, 18, 18\); got \(1, 3, 9, 9\)$"):
        priors["pca"](torch.zeros(1, 3, 9, 9), masks[:1])
    with pytest.raises(ValueError, match=r"^target must be of shape \(2, 18, 18\) or .*; got \(1, 18, 18\)$"):
        priors["pca"](torch.zeros(2, 3, 18, 18), masks[:1])
    with pytest.raises(ValueError, match=r"^target must be class indices from 0 to 2; got 9$"):
        priors["pca"](torch.zeros(1, 3, 18, 18), masks[:1] + 7)
    with pytest.raises(ValueError, match=r"^components must be a whole number from 1 to 39; got 40$"):
        PCAShapePrior.fit(masks, "multiclass", components=40)
    for loss in (priors["ae"], DiceLoss("multiclass") + priors["pca"]):
        with pytest.raises(
            ValueError, match=r"^weight must be None for a shape prior, whose codes mix all pixels; got \(1, 18, 18\)$"
        ):
            loss(torch.zeros(1, 3, 18, 18), masks[:1], torch.ones(1, 18, 18))
    with pytest.raises(TypeError, match=r"^logits must be floating point; got 'torch.int64'$"):
        priors["pca"](torch.zeros(1, 3, 18, 18).long(), masks[:1])
    with pytest.raises(TypeError, match=r"^target must be class indices of an integer dtype; got 'torch.float32'$"):
        priors["pca"](torch.zeros(1, 3, 18, 18), masks[:1].float())
    with pytest.raises(TypeError, match=r"^target must be a tensor; got 'ndarray'$"):
        priors["pca"](torch.zeros(1, 3, 18, 18), masks[:1].numpy())
    with pytest.raises(ValueError, match=r"^ignore_index must be None for a target of the shape of logits; got 255; "):
        fit_of("pca", masks, "multiclass", ignore_index=IGNORE)(certain(masks), certain(masks).long().sign())


@pytest.mark.parametrize(("name", "spec_name"), [("pca", "shape_pca"), ("ae", "shape_ae")])
def test_a_spec_names_a_saved_prior(name, spec_name, priors, masks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    priors[name].save("prior.safetensors")
    loss = parse(f"dice + 0.1*{spec_name}(path='prior.safetensors')", "multiclass")
    assert loss.spec == f"dice + 0.1*{spec_name}(path='prior.safetensors')"
    logits = torch.randn(4, 3, 18, 18, generator=torch.Generator().manual_seed(1))
    expected = DiceLoss("multiclass")(logits, masks[:4]) + 0.1 * priors[name](logits, masks[:4])
    torch.testing.assert_close(loss(logits, masks[:4]), expected)
    assert list(loss.terms) == ["dice", f"0.1*{spec_name}(path='prior.safetensors')"]


def test_the_ignored_label_of_a_spec_goes_before_that_of_the_file(priors, masks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    priors["pca"].save("prior.safetensors")
    loss = parse("dice + shape_pca(path='prior.safetensors')", "multiclass", ignore_index=IGNORE)
    inside = f"ignore_index={IGNORE}"
    assert loss.spec == f"dice({inside}) + shape_pca(path='prior.safetensors', {inside})"
    assert parse(loss.spec, "multiclass").spec == loss.spec
    target = masks[:4].clone()
    target[:, 4:9, 3:7] = IGNORE
    assert loss(certain(masks[:4]), target).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("spec", "options", "error", "message"),
    [
        ("shape_pca", {}, TypeError, "path of shape_pca must be the name of a file; got None"),
        ("shape_pca(pth='p.st')", {}, ValueError, "shape_pca has no parameter pth; did you mean path?"),
        ("shape_pca(path='p.st', ignore_index=0.5)", {}, TypeError, "ignore_index must be None or a whole number; got 0.5"),
        ("shape_ae(path='p.st')", {}, ValueError, "path must be a file that AutoEncoderShapePrior.save wrote; got 'p.st'"),
        ("shape_pca(path='text')", {}, ValueError, "path must be a file that PCAShapePrior.save wrote; got 'text'"),
        ("shape_pca(path='p.st')", {"from_logits": False}, ValueError, "from_logits with shape_pca must be True; got False"),
        ("shape_pca(path='p.st')", {"reduction": "none"}, ValueError, "reduction with shape_pca must be 'mean'; got 'none'"),
        ("shape_pca(path='p.st')", {"process_group": "world"}, ValueError, "process_group with shape_pca must be None; got 'world'"),
        ("shape_pka(path='p.st')", {}, ValueError, "there is no loss 'shape_pka'; did you mean shape_pca?"),
    ],
)  # fmt: skip
def test_a_wrong_spec_of_a_prior_is_refused(spec, options, error, message, priors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    priors["pca"].save("p.st")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(error) as caught:
        parse(spec, "multiclass", **options)
    assert str(caught.value) == message


def test_a_prior_of_another_task_is_refused(priors, tmp_path):
    path = str(tmp_path / "prior.safetensors")
    priors["pca"].save(path)
    with pytest.raises(
        ValueError, match=r"^task of the prior in .*prior.safetensors must be 'binary'; got 'multiclass'$"
    ):
        parse(f"shape_pca(path={path!r})", "binary")
