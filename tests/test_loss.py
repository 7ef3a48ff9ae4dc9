"""Modules, sums and their terms; bad input, word for word."""

import copy
import inspect
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from lossmith.check.cases import case
from lossmith.core.catalogue import CATALOGUE
from lossmith.core.door import Batch
from lossmith.core.namespaces.torch import xp
from lossmith.torch import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    Loss,
    SumLoss,
    TverskyLoss,
    WeightedCrossEntropyLoss,
    fit,
    parse,
)
from paths import in_one

Z, T = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long)


@pytest.mark.parametrize("name", CATALOGUE)
def test_class_and_record_agree(name):
    record, cls = CATALOGUE[name], Loss.registry[name]
    assert cls.__name__ == record.cls
    task = record.tasks[0]
    loss = cls(task)
    for parameter in record.parameters:
        default = (
            getattr(loss, parameter.name) if parameter.name in ("loss", "counts") else loss.settings[parameter.name]
        )
        assert getattr(default, "spec", default) == parameter.default
        assert f"{parameter.name}" in cls.__doc__ or "as in" in cls.__doc__
        parameter.legal.check(parameter.name, parameter.default)
    with pytest.raises(ValueError, match=rf"^{name} has no parameter nonsense$"):
        cls(task, nonsense=1)


def test_a_sum_adds_its_terms():
    batch = case("multiclass", 5, 5, dtype=torch.float64)
    ce, dice, focal = CrossEntropyLoss("multiclass"), DiceLoss("multiclass"), FocalLoss("multiclass", gamma=1.0)
    total = 0.5 * ce + dice + focal * 2
    parts = [c * loss(batch.logits, batch.target) for c, loss in ((0.5, ce), (1.0, dice), (2.0, focal))]
    value = total(batch.logits, batch.target)
    assert torch.allclose(value, sum(parts), rtol=1e-14)
    assert list(total.terms) == ["0.5*ce", "dice", "2*focal(gamma=1.0)"]
    assert [part.item() for part in total.terms.values()] == pytest.approx([part.item() for part in parts], rel=1e-14)
    assert total.spec == "0.5*ce + dice + 2*focal(gamma=1.0)"


def test_a_sum_opens_the_batch_once(path, monkeypatch):
    """However it is looked at, the labels of a pixel are looked at once; so is, see test_memory_of_losses, its softmax."""
    calls = []
    look = Batch.label_flaw
    monkeypatch.setattr(Batch, "label_flaw", lambda self, values: calls.append(values.numel()) or look(self, values))
    batch = case("multiclass", 5, 5)
    parse("ce + dice + focal + tversky + gdice", "multiclass")(batch.logits, batch.target)
    assert sum(calls) == batch.target.numel()


def test_a_sum_in_one_takes_one_softmax(monkeypatch):
    calls = []
    monkeypatch.setattr(xp, "log_softmax", lambda *a, **k: calls.append(1) or torch.log_softmax(*a, dim=k["axis"]))
    monkeypatch.setattr(xp, "softmax", lambda *a, **k: pytest.fail("a second softmax"))
    batch = case("multiclass", 5, 5)
    with in_one():
        parse("ce + dice + focal + tversky + gdice", "multiclass")(batch.logits, batch.target)
    assert calls == [1]


def test_terms_of_equal_losses_are_told_apart():
    loss = CrossEntropyLoss("binary") + CrossEntropyLoss("binary")
    loss(torch.zeros(1, 1), torch.ones(1, dtype=torch.long))
    assert list(loss.terms) == ["ce", "ce #2"]


def test_sums_nest_scale_and_start_from_zero():
    a, b = CrossEntropyLoss("binary"), DiceLoss("binary")
    assert sum([a, b, 2 * a]).spec == "ce + dice + 2*ce"
    assert (2 * (a + 0.5 * b)).spec == "2*ce + dice"
    assert (a + nn.BCELoss()).extra_repr() == "ce + BCELoss"
    assert (SumLoss([(1, nn.BCELoss())]) + a).extra_repr() == "BCELoss + ce"


def test_a_sum_with_a_module_of_ones_own():
    batch = case("multiclass", 5, 5)
    loss = CrossEntropyLoss("multiclass") + nn.CrossEntropyLoss()
    value = loss(batch.logits, batch.target)
    assert value.item() == pytest.approx(2 * nn.functional.cross_entropy(batch.logits, batch.target).item())
    with pytest.raises(ValueError, match=r"^weight must be None in a sum with CrossEntropyLoss; got \(2, 5, 5\)$"):
        loss(batch.logits, batch.target, torch.ones(2, 5, 5))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_compiled_sum_takes_batches_of_any_size(task):
    loss = parse("ce + 0.5*dice + focal", task)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=True)
    for size in (5, 7, 9):
        batch = case(task, size, size + 1)
        torch.testing.assert_close(compiled(batch.logits, batch.target), loss(batch.logits, batch.target))


def test_sums_compile_pickle_and_transform():
    batch = case("multiclass", 5, 5)
    loss = parse("ce + 0.5*dice + lovasz", "multiclass")
    expected = loss(batch.logits, batch.target)
    terms = loss.terms
    assert torch.compile(loss, fullgraph=True, backend="aot_eager")(batch.logits, batch.target) == pytest.approx(
        expected
    )
    mapped = torch.func.vmap(lambda z: loss(z, batch.target))(torch.stack([batch.logits, 2 * batch.logits]))
    assert mapped[0].item() == pytest.approx(expected.item())
    assert loss.terms == terms, "a trace or a transform leaves no terms behind"
    for other in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert other(batch.logits, batch.target) == expected


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SumLoss([]), "terms must be at least one (coefficient, loss); got []"),
        (lambda: CrossEntropyLoss("binary") * -1, "a coefficient must be > 0 and finite; got -1.0"),
        (
            lambda: CrossEntropyLoss("binary") + DiceLoss("multiclass"),
            "the losses of a sum must be of one task; got ['binary', 'multiclass']",
        ),
        (
            lambda: (CrossEntropyLoss("multiclass", reduction="none") + DiceLoss("multiclass", reduction="none"))(Z, T),
            "the values of a sum's losses must be of one shape; got [(2, 4, 4), (2, 3)]",
        ),
    ],
)
def test_impossible_sums_are_refused(build, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        build()
    assert str(error.value) == message


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    ("task", "options", "logits", "target", "weight", "error", "message"),
    [
        ("multiclas", {}, Z, T, None, ValueError, "task must be 'binary', 'multiclass' or 'multilabel'; got 'multiclas'"),
        ("multiclass", {}, Z, T[:, :3], None, ValueError,
         "target must be of shape (2, 4, 4) or (2, 3, 4, 4) for multiclass logits of shape (2, 3, 4, 4); got (2, 3, 4)"),
        ("multiclass", {}, Z, T[:1], None, ValueError,
         "target must be of shape (2, 4, 4) or (2, 3, 4, 4) for multiclass logits of shape (2, 3, 4, 4); got (1, 4, 4)"),
        ("multilabel", {}, Z, T, None, ValueError,
         "target must be of shape (2, 3, 4, 4) for multilabel logits of shape (2, 3, 4, 4); got (2, 4, 4)"),
        ("binary", {}, Z[:, :1], T[:, None, None], None, ValueError,
         "target must be of shape (2, 4, 4) or (2, 1, 4, 4) for binary logits of shape (2, 1, 4, 4); "
         "got (2, 1, 1, 4, 4)"),
        ("binary", {}, Z, T, None, ValueError,
         "target must be of shape (2, 3, 4, 4) for binary logits of shape (2, 3, 4, 4); got (2, 4, 4); "
         "binary logits have one channel, (N, 1, *space), or none"),
        ("multiclass", {}, Z[:, :1], T, None, ValueError,
         "logits of a multiclass task must have at least 2 channels; got shape (2, 1, 4, 4); "
         "one channel is task='binary'"),
        ("multiclass", {}, Z[0, 0, 0], T[0, 0], None, ValueError, "logits must be of shape (N, C, *space); got (4,)"),
        ("multiclass", {}, Z.long(), T, None, TypeError, "logits must be floating point; got 'torch.int64'"),
        ("multiclass", {}, Z, T.float(), None, TypeError, "target must be class indices of an integer dtype; got 'torch.float32'"),
        ("multiclass", {}, Z, T + 3, None, ValueError, "target must be class indices from 0 to 2; got 3"),
        ("multiclass", {}, Z, T - 1, None, ValueError, "target must be class indices from 0 to 2; got -1"),
        ("multiclass", {"ignore_index": 9}, Z, T + 3, None, ValueError,
         "target must be class indices from 0 to 2 or ignore_index 9; got 3"),
        ("binary", {}, Z[:, 0], T + 2, None, ValueError, "target must be class indices from 0 to 1; got 2"),
        ("binary", {}, Z[:, 0], T + 1.5, None, ValueError, "target must be probabilities in [0, 1]; got 1.5"),
        ("multiclass", {}, Z, Z + 0.5, None, ValueError,
         "target must hold probabilities that sum to 1 over the classes; got other sums"),
        ("multiclass", {"ignore_index": 9}, Z, Z + 1 / 3, None, ValueError,
         "ignore_index must be None for a target of the shape of logits; got 9; give such pixels weight 0"),
        ("multiclass", {}, Z, T, Z, ValueError,
         "weight must be of shape (2, 4, 4) for multiclass logits of shape (2, 3, 4, 4); got (2, 3, 4, 4)"),
        ("multiclass", {}, Z, T, -torch.ones(2, 4, 4), ValueError, "weight must be finite and >= 0 everywhere; got other values"),
        ("multiclass", {"class_weight": [1.0, 2.0]}, Z, T, None, ValueError,
         "class_weight must be 3 numbers, one for each class; got (2,)"),
        ("multiclass", {"class_weight": [1.0, -2.0]}, Z, T, None, ValueError, "class_weight must be in [0, inf); got -2.0"),
        ("binary", {"from_logits": False}, Z[:, 0] + 2, T, None, ValueError,
         "logits must hold probabilities in [0, 1] when from_logits=False; got values outside"),
        ("multiclass", {"from_logits": False}, Z + 0.5, T, None, ValueError,
         "logits must hold probabilities that sum to 1 over the classes; got other sums"),
        ("multiclass", {"reduction": "maen"}, Z, T, None, ValueError, "reduction must be 'mean', 'sum' or 'none'; got 'maen'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(task, options, logits, target, weight, error, message):
    with pytest.raises(error) as caught:
        CrossEntropyLoss(task, **options)(logits, target, weight)
    assert str(caught.value) == message


@pytest.mark.parametrize("classes", [[3], [-1], [], [1, 1], "some"])
def test_wrong_classes_are_refused(classes):
    with pytest.raises(ValueError, match=r"^classes must be "):
        DiceLoss("multiclass", classes=classes)(Z, T)


@pytest.mark.parametrize("name", [name for name, record in CATALOGUE.items() if record.hard_targets])
def test_soft_targets_are_refused_where_they_mean_nothing(name):
    inputs = {"annotated": torch.ones(2, 3, dtype=torch.bool)} if "annotated" in CATALOGUE[name].inputs else {}
    for size in (4, 300):  # as one, and in blocks
        logits = torch.zeros(2, 3, size, size)
        with pytest.raises(ValueError, match=f"^target must be class indices or one-hot integers for {name}; got "):
            parse(name, CATALOGUE[name].tasks[-1])(logits, logits + 1 / 3, **inputs)


def test_a_bad_label_is_seen_where_it_cannot_be_read():
    """In a trace no value may be read: the loss becomes NaN, never a silent number."""
    loss = torch.compile(CrossEntropyLoss("multiclass"), fullgraph=True, backend="aot_eager")
    assert loss(Z, T).isfinite()
    assert loss(Z, T + 3).isnan()
    mapped = torch.func.vmap(DiceLoss("multiclass"), in_dims=(None, 0))(Z, torch.stack([T, T + 3]))
    assert mapped.isnan().tolist() == [False, True]


def test_class_weights_are_buffers():
    loss = CrossEntropyLoss("multiclass", class_weight=[1.0, 2.0, 3.0])
    assert list(loss.state_dict()) == ["class_weight"]
    assert loss.to(torch.float64).class_weight.dtype == torch.float64
    loss.load_state_dict({"class_weight": torch.tensor([1.0, 1.0, 1.0])})
    assert loss(Z, T).item() == pytest.approx(CrossEntropyLoss("multiclass")(Z, T).item())


def test_fit_reaches_every_weighted_term():
    counts = torch.tensor([[90, 100], [10, 50]])
    loss = parse('0.5*wce(balance="inverse") + dice', "binary")
    fit(loss, counts)
    batch = case("binary", 5, 5, dtype=torch.float64)
    direct = WeightedCrossEntropyLoss("binary", balance="inverse", counts=counts)
    weighted = CrossEntropyLoss("binary", class_weight=[100 / 180, 100 / 20])
    assert loss.losses[0](batch.logits, batch.target) == direct(batch.logits, batch.target)
    assert direct(batch.logits, batch.target).item() == pytest.approx(weighted(batch.logits, batch.target).item())
    with pytest.raises(ValueError, match=r"^counts must be of shape \(2, 2\); got \(3, 2\)$"):
        fit(WeightedCrossEntropyLoss("binary", balance="inverse"), torch.ones(3, 2))


def test_fit_leaves_counts_given_by_hand():
    loss = parse('wce(balance="inverse", counts=[[90, 100], [10, 100]])', "binary")
    fit(loss, torch.tensor([[50, 100], [50, 100]]))
    assert loss.counts.tolist() == [[90, 100], [10, 100]]


def test_a_fitted_loss_is_restored():
    fitted = WeightedCrossEntropyLoss("multiclass", balance="inverse", counts=[[5, 10], [3, 10], [2, 4]])
    restored = WeightedCrossEntropyLoss("multiclass", balance="inverse")
    restored.load_state_dict(fitted.state_dict())
    assert restored(Z, T) == fitted(Z, T)
    assert restored.counts.tolist() == fitted.counts.tolist()


def test_counts_of_other_classes_are_refused():
    loss = WeightedCrossEntropyLoss("multiclass", balance="inverse", counts=[[5, 10]] * 5)
    with pytest.raises(ValueError, match=r"^counts must be of shape \(3, 2\) for 3 channels; got \(5, 2\)$"):
        loss(Z, T)


@pytest.mark.parametrize(
    "spec",
    [
        "ce(class_weight=[1e-07, 1.0, 0.1])",
        "0.1234567*ce + dice",
        "wce(balance='inverse', counts=[[9, 10], [1, 10], [3, 10]])",
        "focal(gamma=2.5, alpha=[0.25, 0.5, 0.3])",
    ],
)
def test_a_spec_loses_nothing(spec):
    loss = parse(spec, "multiclass")
    assert loss.spec == spec
    batch = case("multiclass", 5, 5).with_logits(torch.randn(2, 3, 5, 5, dtype=torch.float64))
    target = batch.target.clamp(max=2)
    assert parse(loss.spec, "multiclass")(batch.logits, target) == loss(batch.logits, target)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            CrossEntropyLoss("multiclass", class_weight=np.array([1.0, 2, 3])),
            CrossEntropyLoss("multiclass", class_weight=[1, 2, 3]),
        ),
        (
            CrossEntropyLoss("multiclass", class_weight=(1, 2, 3)),
            CrossEntropyLoss("multiclass", class_weight=torch.tensor([1, 2, 3])),
        ),
        (
            FocalLoss("multiclass", gamma=np.int64(1), alpha=np.float64(0.25)),
            FocalLoss("multiclass", gamma=1, alpha=0.25),
        ),
        (DiceLoss("multiclass", classes=range(1, 3)), DiceLoss("multiclass", classes=[1, 2])),
    ],
)
def test_numbers_of_other_libraries_are_numbers(one, other):
    assert one(Z, T).item() == pytest.approx(other(Z, T).item())
    assert one.spec == other.spec
    assert list(one.state_dict()) == list(other.state_dict())


def test_the_callers_tensor_stays_the_callers():
    mine = torch.tensor([1.0, 2.0, 3.0])
    loss = CrossEntropyLoss("multiclass", class_weight=mine)
    loss.load_state_dict({"class_weight": torch.tensor([9.0, 9.0, 9.0])})
    assert mine.tolist() == [1, 2, 3]


@pytest.mark.parametrize("label", [True, "255", [255, 254], float("nan"), torch.tensor(2)])
def test_an_ignore_index_is_a_whole_number(label):
    with pytest.raises(TypeError, match=r"^ignore_index must be None or a whole number; got "):
        CrossEntropyLoss("multiclass", ignore_index=label)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Z, T.numpy()), "target must be a tensor; got 'ndarray'"),
        ((Z, None), "target must be a tensor; got 'NoneType'"),
        (((Z, Z), T), "logits must be a tensor; got 'tuple'"),
        ((Z, T, 2.0), "weight must be a tensor; got 'float'"),
    ],
)
def test_what_is_no_tensor_is_named(arguments, message):
    with pytest.raises(TypeError) as caught:
        DiceLoss("multiclass")(*arguments)
    assert str(caught.value) == message


def test_sums_of_logits_and_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"^from_logits of a sum's losses must be the same; got \[False, True\]$"):
        CrossEntropyLoss("binary") + DiceLoss("binary", from_logits=False)
    with pytest.raises(ValueError, match=r"^reduction of a sum's losses must be the same; got \['mean', 'sum'\]$"):
        CrossEntropyLoss("binary") + DiceLoss("binary", reduction="sum")


def test_tversky_without_weights_is_refused():
    with pytest.raises(ValueError, match=r"^alpha and beta must be not both 0; got \(0.0, 0.0\)$"):
        TverskyLoss("binary", alpha=0.0, beta=0.0)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("parameters", [{}, {"squared": True}, {"smooth": 0.5}])
def test_log_is_minus_the_log_of_the_index(parameters, soft):
    batch = case("binary", 9, 9)
    target = batch.target.double() * 0.7 + 0.1 if soft else batch.target
    plain, logged = (DiceLoss("binary", log=log, **parameters)(batch.logits[:1], target[:1]) for log in (False, True))
    assert logged.item() == pytest.approx(-math.log(1 - plain.item()), rel=1e-12)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", ["ce", "wce", "focal", "topk", "ohem", "missing"])
def test_a_class_that_is_switched_off_costs_the_same_in_every_form(name):
    """Logits of -inf for a class that never occurs; as indices, one-hot and soft target."""
    logits = torch.randn(2, 3, 8, dtype=torch.float64)
    logits[:, 2] = -math.inf
    target = torch.arange(16).reshape(2, 8) % 2
    hot = torch.nn.functional.one_hot(target, 3).movedim(-1, 1)
    loss = Loss.registry[name]("multiclass")
    values = [loss(logits, form).item() for form in (target, hot, hot.double())]
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)
    assert math.isfinite(values[0])


def test_every_shape_can_be_exported():
    """No size of one axis is ever compared with that of another."""
    batch, height, width = (torch.export.Dim(name, min=2, max=64) for name in ("batch", "height", "width"))
    shapes = ({0: batch, 2: height, 3: width}, {0: batch, 1: height, 2: width})
    inputs = (torch.randn(4, 3, 16, 20), torch.zeros(4, 16, 20, dtype=torch.long))
    for name in ("ce", "dice", "lovasz"):
        program = torch.export.export(Loss.registry[name]("multiclass"), inputs, dynamic_shapes=shapes, strict=False)
        assert program.module()(Z, T).item() == pytest.approx(Loss.registry[name]("multiclass")(Z, T).item())


def test_help_shows_every_parameter():
    names = list(inspect.signature(DiceLoss).parameters)
    assert names[:2] == ["task", "smooth"]
    assert {"pool", "classes", "empty", "ignore_index", "reduction", "from_logits"} <= set(names)


def test_a_pickled_sum_does_not_carry_its_last_values():
    loss = CrossEntropyLoss("multiclass", reduction="none") + FocalLoss("multiclass", reduction="none")
    loss(torch.zeros(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.long))
    assert len(pickle.dumps(loss)) < 10_000
    assert pickle.loads(pickle.dumps(loss)).terms == {}


def test_learned_class_weights_get_a_gradient():
    batch = case("multiclass", 5, 5, dtype=torch.float32)
    loss = CrossEntropyLoss("multiclass", class_weight=torch.ones(4))
    loss.class_weight.requires_grad_()
    loss(batch.logits, batch.target).backward()
    assert loss.class_weight.grad.abs().sum() > 0
