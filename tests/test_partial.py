"""Marginal and exclusion losses: numbers worked by hand, the oracle, what is refused."""

import pickle
import warnings
from math import log
from typing import Any

import array_api_strict
import pytest
import torch
from torch import Tensor

import oracle_partial
from lossmith.core.face import SharedBatch, choose
from lossmith.core.namespaces.numpy import xp as numpy_namespace
from lossmith.core.namespaces.standard import Standard
from lossmith.torch import CrossEntropyLoss, DiceLoss, ExclusionLoss, MarginalLoss, parse
from lossmith.torch.partial import MARGINALS
from oracle import ORACLES, Batch
from paths import IGNORE, Given, given
from test_distributed import meet, spawned

TENTHS = torch.tensor([[[0.4], [0.3], [0.2], [0.1]]], dtype=torch.float64)  # one pixel, four classes
SETS = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)
MODES = ("plain", "ignore", "weight", "one_hot", "soft", "probs", "ignore weight")
WEIGHTS = [0.75, 2.5, 1.25, 0.5]
BY_IMAGE: list[tuple[str, str, dict[str, Any]]] = [
    ("ce", "ce", {}),
    ("ce(label_smoothing=0.2)", "ce", {"label_smoothing": 0.2}),
    (f"ce(class_weight={WEIGHTS})", "ce", {"class_weight": WEIGHTS}),
    ("focal(gamma=1.5)", "focal", {"gamma": 1.5}),
    ("mse", "mse", {}),
    ("smooth_l1(beta=0.3)", "smooth_l1", {"beta": 0.3}),
    ("dice", "dice", {}),
    ("dice(squared=True, smooth=0.5)", "dice", {"squared": True, "smooth": 0.5}),
    ("dice(log=True, smooth=0.1)", "dice", {"log": True, "smooth": 0.1}),
    (f"dice(empty='skip', class_weight={WEIGHTS})", "dice", {"empty": "skip", "class_weight": WEIGHTS}),
    ("jaccard(classes='present')", "jaccard", {"classes": "present"}),
    ("tversky(alpha=0.3, beta=0.7)", "tversky", {"alpha": 0.3, "beta": 0.7}),
    ("gdice(weighting='simple')", "gdice", {"weighting": "simple"}),
    ("lovasz(per_image=True, classes='all')", "lovasz", {"per_image": True, "classes": "all"}),
]
OF_THE_BATCH = (
    "focal(normalize='elements')",
    "topk(k=0.3)",
    "ohem(threshold=0.4, min_kept=5)",
    "dice(pool='batch')",
    "wce",
    "missing",
    "lovasz",
)


def batch(mode: str = "plain", annotated: Tensor = SETS) -> Given:
    """A random batch whose labels are of annotated classes."""
    found = given("multiclass", mode, channels=4, images=4, space=(3, 6))
    absent = ~annotated
    absent[:, 0] = False
    target = found.target.clone()
    for n, c in absent.nonzero():
        if target.shape == found.logits.shape:
            target[n, 0] += target[n, c]
            target[n, c] = 0
        else:
            target[n][target[n] == c] = 0
    if target.is_floating_point():
        target /= target.sum(1, keepdim=True)
    return Given("multiclass", found.logits, target, found.weight, found.ignore_index, found.from_logits)


def as_oracle(found: Given) -> Batch:
    arrays = [None if x is None else x.flatten(-2).numpy() for x in (found.logits, found.target, found.weight)]
    return Batch("multiclass", *arrays, found.ignore_index, found.from_logits)


def marginal(spec: str, found: Given, annotated: Tensor = SETS, **options: Any) -> Tensor:
    loss = MarginalLoss(loss=spec, ignore_index=found.ignore_index, from_logits=found.from_logits, **options)
    return loss(found.logits, found.target, found.weight, annotated=annotated)


def of(*classes: int) -> Tensor:
    """The annotated classes of one image of four."""
    return torch.tensor([[c in classes for c in range(4)]])


# Worked by hand -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "annotated", "label", "expected"),
    [
        # q = (.4 + .3 + .1, .2): the rest, and class 2.
        ("ce", of(0, 2), 0, -log(0.8)),
        ("ce", of(2), 2, -log(0.2)),  # class 0 is known whatever it says
        ("ce", of(), 0, 0.0),  # nothing annotated: nothing to learn
        ("ce(label_smoothing=0.2)", of(2), 2, -0.9 * log(0.2) - 0.1 * log(0.8)),  # .8 + .2/2: two classes are left
        ("mse", of(2), 2, (0.8**2 + 0.8**2) / 2),  # the mean over two classes, not four
        ("ce(class_weight=[1, 2, 3, 4])", of(2), 2, -log(0.2)),
        # Dice of the rest: absent, so its mean probability .8; of class 2: 1 - 2 (.2) / (.2 + 1).
        ("dice", of(2), 2, (0.8 + 2 / 3) / 2),
        ("dice(classes=[1, 2])", of(2), 2, 2 / 3),  # class 1 is not there to count
        ("dice(smooth=1.0, empty='smooth')", of(2), 0, (1 - 2.6 / 2.8 + 1 - 1 / 1.2) / 2),
    ],
)
def test_numbers(spec, annotated, label, expected):
    loss = MarginalLoss(loss=spec, from_logits=False)
    got = loss(TENTHS, torch.tensor([[label]]), annotated=annotated)
    assert got.item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_a_pooled_class_has_the_pixels_of_the_images_that_annotate_it():
    """One pixel each: the first image annotates class 1 and shows it, the second annotates nothing.

    Class 1: 1 - 2 (.3) / (.3 + 1). The rest: I = 1, P = .7 + 1, T = 1.
    """
    loss = MarginalLoss(loss="dice(pool='batch')", from_logits=False)
    value = loss(TENTHS.expand(2, 4, 1), torch.tensor([[1], [0]]), annotated=torch.cat([of(1), of()]))
    rest, one = 1 - 2 / 2.7, 1 - 0.6 / 1.3
    assert value.item() == pytest.approx((3 * 0 + rest + one) / 2, rel=1e-12)  # classes 2 and 3 have no pixels


def test_exclusion_numbers():
    """A pixel of class 1, annotated as class 2 is; e = (1, 0, 1, 1)."""
    values = [
        ExclusionLoss(form=form, from_logits=False)(TENTHS, torch.tensor([[1]]), annotated=of(1, 2)).item()
        for form in ("ce", "dice")
    ]
    assert values[0] == pytest.approx(log(1.4) + log(1.2) + log(1.1), rel=1e-12)
    assert values[1] == pytest.approx((0.8 / 1.4 + 0 + 0.4 / 1.2 + 0.2 / 1.1) / 4, rel=1e-12)
    # Of the rest: annotated classes are excluded, the background and class 3 are not.
    of_rest = ExclusionLoss(form="ce", from_logits=False)(TENTHS, torch.tensor([[0]]), annotated=of(1, 2))
    assert of_rest.item() == pytest.approx(log(1.3) + log(1.2), rel=1e-12)


# The oracle -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "name", "options"), BY_IMAGE, ids=[spec for spec, _, _ in BY_IMAGE])
def test_each_image_has_its_own_classes(path, spec, name, options):
    for mode in MODES:
        if not (mode in ("soft", "one_hot") and name == "lovasz"):
            found = batch(mode)
            expected = oracle_partial.marginal(ORACLES[name], as_oracle(found), SETS.numpy(), **options)
            assert marginal(spec, found).item() == pytest.approx(expected, rel=1e-11), mode


@pytest.mark.parametrize("spec", [*OF_THE_BATCH, *sorted(set(MARGINALS) - {name for _, name, _ in BY_IMAGE})])
def test_losses_that_look_at_the_whole_batch(path, spec):
    """All images annotate the same classes, so there is one smaller problem."""
    annotated = of(1, 3).expand(4, 4)
    for mode in ("plain", "ignore weight", "probs"):
        found = batch(mode, annotated)
        small = oracle_partial.merged(as_oracle(found), annotated.numpy(), range(4))
        options = {"task": "multiclass", "ignore_index": found.ignore_index, "from_logits": found.from_logits}
        scores, target = (torch.from_numpy(x) for x in (small.scores, small.target))
        shaped = scores.unflatten(-1, (3, 6)), target.unflatten(-1, (3, 6)), found.weight
        expected = parse(spec, **options)(*shaped)
        assert marginal(spec, found, annotated).item() == pytest.approx(expected.item(), rel=1e-10), mode


@pytest.mark.parametrize("form", ["ce", "dice"])
def test_exclusion(path, form):
    for mode in ("plain", "ignore", "weight", "probs", "ignore weight"):
        found = batch(mode)
        for pool in ("image", "batch"):
            options = {"ignore_index": found.ignore_index, "from_logits": found.from_logits, "pool": pool}
            loss = ExclusionLoss(form=form, **options)
            expected = oracle_partial.exclusion(form, as_oracle(found), SETS.numpy(), pool)
            got = loss(found.logits, found.target, found.weight, annotated=SETS)
            assert got.item() == pytest.approx(expected, rel=1e-11), (mode, pool)


@pytest.mark.parametrize("spec", [spec for spec, _, _ in BY_IMAGE] + list(OF_THE_BATCH))
def test_numpy_and_strict_arrays_give_the_same(spec):
    found = batch("weight")
    loss = MarginalLoss(loss=spec)
    chosen = choose(loss.record, "multiclass", loss.atom.arguments)
    for xp in (numpy_namespace, Standard(array_api_strict)):
        *arrays, annotated = (xp.asarray(x.numpy()) for x in (found.logits, found.target, found.weight, SETS))
        got = float(SharedBatch(xp, *arrays, {"annotated": annotated}).value(chosen))
        assert got == pytest.approx(marginal(spec, found).item(), rel=1e-12)


# What holds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [spec for spec, _, _ in BY_IMAGE] + list(OF_THE_BATCH))
def test_where_everything_is_annotated_it_is_the_loss_itself(path, spec):
    found, everything = batch("ignore weight", torch.ones_like(SETS)), torch.ones_like(SETS)
    values = []
    for loss in (parse(spec, "multiclass", ignore_index=IGNORE), MarginalLoss(loss=spec, ignore_index=IGNORE)):
        logits = found.logits.clone().requires_grad_()
        inputs = {"annotated": everything} if isinstance(loss, MarginalLoss) else {}
        value = loss(logits, found.target, found.weight, **inputs)
        values.append((value.detach(), *torch.autograd.grad(value, logits)))
    torch.testing.assert_close(values[1], values[0], rtol=1e-12, atol=1e-15)


def test_how_the_rest_is_shared_out_does_not_matter():
    """Probability moved between the background and what is not annotated changes nothing, and so has no gradient."""
    probs = torch.tensor([[[0.5], [0.3], [0.2]], [[0.1], [0.3], [0.6]]], dtype=torch.float64)
    loss = MarginalLoss(loss="dice", from_logits=False, reduction="none")
    first, second = loss(probs, torch.tensor([[1], [1]]), annotated=torch.tensor([[True, True, False]] * 2))
    assert first.tolist() == pytest.approx(second.tolist())


def test_reductions(path):
    """A merged class is 0 in "none" and not counted in the mean."""
    found = batch()
    none, total, mean = (marginal("dice", found, reduction=name) for name in ("none", "sum", "mean"))
    assert none.shape == (4, 4)
    assert (none[~(SETS | of(0))] == 0).all()
    assert total.item() == pytest.approx(none.sum().item())
    assert mean.item() == pytest.approx(none.sum().item() / (4 + 3 + 2 + 1))
    assert marginal("ce", found, reduction="none").shape == (4, 3, 6)


def test_a_sum_gives_it_to_those_that_take_it(path):
    found = batch()
    parts = [CrossEntropyLoss("multiclass"), MarginalLoss(loss="dice"), ExclusionLoss(form="ce")]
    total = 0.5 * parts[0] + parts[1] + parts[2]
    value = total(found.logits, found.target, annotated=SETS)
    ce = parts[0](found.logits, found.target)
    others = [loss(found.logits, found.target, annotated=SETS) for loss in parts[1:]]
    assert value.item() == pytest.approx((0.5 * ce + others[0] + others[1]).item(), rel=1e-12)


def test_vmap_over_what_is_annotated():
    found = batch()
    loss = MarginalLoss(loss="dice")
    one = torch.func.vmap(lambda z, t, a: loss(z[None], t[None], annotated=a[None]))
    expected = [loss(found.logits[n : n + 1], found.target[n : n + 1], annotated=SETS[n : n + 1]) for n in range(4)]
    torch.testing.assert_close(one(found.logits, found.target, SETS), torch.stack(expected))


SHARED = ("ce", "dice(pool='batch')", "lovasz", "topk(k=0.3)")


def of_images(images: slice, group: str | None) -> list[tuple[Tensor, Tensor]]:
    """Values and gradients on some images of a batch, of which the first annotates everything."""
    found = batch()
    values = []
    losses = [MarginalLoss(loss=spec, process_group=group) for spec in SHARED]
    for loss in [*losses, ExclusionLoss(pool="batch", process_group=group)]:
        logits = found.logits[images].clone().requires_grad_()
        value = loss(logits, found.target[images], annotated=SETS[images])
        values.append((value.detach(), *torch.autograd.grad(value, logits)))
    return values


def one_of_two(rank: int, folder: str) -> None:
    meet(rank, 2, folder)
    torch.save(of_images(slice(0, 1) if rank == 0 else slice(1, 4), "world"), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_that_share_a_batch(tmp_path):
    """Also where one of them has nothing to merge."""
    shares = spawned(one_of_two, 2, tmp_path)
    for first, second, (value, slope) in zip(*shares, of_images(slice(0, 4), None), strict=True):
        torch.testing.assert_close([first[0], second[0]], [value, value])
        torch.testing.assert_close(torch.cat([first[1], second[1]]) / 2, slope)


def test_half_precision_and_far_logits():
    """The rest is merged in float32, where its probabilities underflow, too."""
    logits = torch.tensor([[[-2e4], [6e4], [-3e4]]], dtype=torch.float16)
    value = MarginalLoss()(logits, torch.tensor([[0]]), annotated=torch.tensor([[True, True, False]]))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(8e4, rel=1e-3)


@pytest.mark.parametrize("from_logits", [True, False])
def test_the_rest_is_never_more_than_certain(from_logits):
    """Rounded, the probabilities of the rest may add up to more than 1, of which focal takes a power."""
    logits = 8 * torch.randn(1, 9, 5000, generator=torch.Generator().manual_seed(0))
    logits = logits if from_logits else logits.softmax(1)
    loss = MarginalLoss(loss="focal(gamma=2.5)", from_logits=from_logits)
    value = loss(logits.requires_grad_(), torch.zeros(1, 5000).long(), annotated=torch.arange(9)[None] == 8)
    assert value.isfinite()
    assert torch.autograd.grad(value, logits)[0].isfinite().all()


def test_specs():
    for spec in ("marginal", "marginal(loss=dice(pool='batch'))", "exclusion(form='ce')", "marginal + 0.5*exclusion"):
        loss = parse(spec, "multiclass")
        assert loss.spec == spec
        assert pickle.loads(pickle.dumps(loss)).spec == spec
    assert MarginalLoss(loss=DiceLoss("multiclass")).spec == "marginal(loss=dice)"


# What is refused -----------------------------------------------------------------------------------------------------

FOREIGN = "target must be labelled with classes that are annotated in the image; got 'class 2'"


@pytest.mark.parametrize("loss", [MarginalLoss(), MarginalLoss(loss="dice"), ExclusionLoss()], ids=str)
def test_a_label_of_a_class_that_was_not_annotated(path, loss):
    logits, target = torch.randn(1, 4, 40), torch.zeros(1, 40, dtype=torch.long)
    target[0, 30] = 2
    one_hot = torch.nn.functional.one_hot(target, 4).movedim(-1, 1)
    for other in (target, one_hot, *([one_hot.double()] if not loss.record.hard_targets else [])):
        with pytest.raises(ValueError, match=f"^{FOREIGN}$"):
            loss(logits, other, annotated=of(0, 1, 3))
    assert loss(logits, target, annotated=of(0, 2)).isfinite()


def test_such_a_label_makes_the_loss_nan_where_it_cannot_be_read():
    logits, target = torch.randn(2, 1, 4, 8), torch.zeros(2, 1, 8, dtype=torch.long)
    target[1, 0, 3] = 2
    for loss in (MarginalLoss(), MarginalLoss(loss="dice"), ExclusionLoss(), ExclusionLoss(form="ce")):
        got = torch.func.vmap(lambda z, t, loss=loss: loss(z, t, annotated=of(0, 1, 3)))(logits, target)
        assert got.isnan().tolist() == [False, True]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MarginalLoss("binary"), ValueError, "task of marginal must be 'multiclass'; got 'binary'"),
        (lambda: ExclusionLoss("binary"), ValueError, "task of exclusion must be 'multiclass'; got 'binary'"),
        (lambda: MarginalLoss(loss="ce + dice"), ValueError, "loss must be one loss of the catalogue; add up"),
        (
            lambda: MarginalLoss(loss="marginal"),
            ValueError,
            "loss must be one of softmax probabilities and ",
        ),
        (
            lambda: MarginalLoss(loss="focal(one_vs_rest=True)"),
            ValueError,
            "loss must be one of softmax probabilities a",
        ),
        (lambda: MarginalLoss(loss=DiceLoss("binary")), ValueError, "the task of loss must be 'multiclass'; got 'bin"),
        (
            lambda: MarginalLoss(loss=DiceLoss("multiclass", ignore_index=0)),
            ValueError,
            r"ignore_index, from_logits and reduction of loss must be at their defaults; got \(0, True, 'mean'\)",
        ),
        (lambda: ExclusionLoss(form="mse"), ValueError, "form must be 'dice' or 'ce'; got 'mse'"),
        (
            lambda: ExclusionLoss()(torch.zeros(1, 4, 2), torch.full((1, 4, 2), 0.25), annotated=of(1)),
            ValueError,
            "target must be class indices or one-hot integers for exclusion; got 'a floating dtype'",
        ),
        (lambda: MarginalLoss()(torch.zeros(1, 4, 2), torch.zeros(1, 2).long()), TypeError, "marginal must be called"),
        (
            lambda: MarginalLoss()(torch.zeros(1, 4, 2), torch.zeros(1, 2).long(), annotated=torch.ones(4).bool()),
            ValueError,
            r"annotated must be of shape \(1, 4\); got \(4,\)",
        ),
        (
            lambda: MarginalLoss()(torch.zeros(1, 4, 2), torch.zeros(1, 2).long(), annotated=torch.ones(1, 4)),
            TypeError,
            "annotated must be of a dtype that is bool; got 'torch.float32'",
        ),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make()


def test_no_warnings_when_compiled():
    found = batch()
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = MarginalLoss(loss="dice")
        compiled = torch.compile(loss, fullgraph=True, backend="eager")
        got = compiled(found.logits, found.target, annotated=SETS)
    assert got.item() == pytest.approx(marginal("dice", found).item(), rel=1e-12)
