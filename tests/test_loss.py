"""Modules, sums and their terms; bad input, word for word."""

import copy
import pickle

import pytest
import torch
from torch import nn

from lossmith.check.cases import case
from lossmith.core.catalogue import CATALOGUE
from lossmith.torch import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    Loss,
    LovaszSoftmaxLoss,
    SumLoss,
    WeightedCrossEntropyLoss,
    fit,
    parse,
)

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


def test_a_sum_opens_the_batch_once(monkeypatch):
    calls = []
    softmax = torch.log_softmax
    from lossmith.core.namespaces import torch as namespace

    monkeypatch.setitem(namespace._NAMES, "log_softmax", lambda *a, **k: calls.append(1) or softmax(*a, **k))
    monkeypatch.setitem(namespace._NAMES, "softmax", lambda *a, **k: pytest.fail("a second softmax"))
    batch = case("multiclass", 5, 5)
    parse("ce + dice + focal + tversky + lovasz", "multiclass")(batch.logits, batch.target)
    assert calls == [1]


def test_terms_of_equal_losses_are_told_apart():
    loss = CrossEntropyLoss("binary") + CrossEntropyLoss("binary")
    loss(torch.zeros(1, 1), torch.ones(1, dtype=torch.long))
    assert list(loss.terms) == ["ce", "ce #2"]


def test_sums_nest_scale_and_start_from_zero():
    a, b = CrossEntropyLoss("binary"), DiceLoss("binary")
    assert sum([a, b, 2 * a]).spec == "ce + dice + 2*ce"
    assert (2 * (a + 0.5 * b)).spec == "2*ce + dice"
    assert (a + nn.BCELoss()).spec == "ce + BCELoss"
    assert (
        nn.BCELoss() + a if hasattr(nn.BCELoss, "__add__") else SumLoss([(1, nn.BCELoss())]) + a
    ).spec == "BCELoss + ce"


def test_a_sum_with_a_module_of_ones_own():
    batch = case("multiclass", 5, 5)
    loss = CrossEntropyLoss("multiclass") + nn.CrossEntropyLoss()
    value = loss(batch.logits, batch.target)
    assert value.item() == pytest.approx(2 * nn.functional.cross_entropy(batch.logits, batch.target).item())
    with pytest.raises(ValueError, match=r"^weight must be None in a sum with CrossEntropyLoss; got \(2, 5, 5\)$"):
        loss(batch.logits, batch.target, torch.ones(2, 5, 5))


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
         "ignore_index must be None for a target of the logits' shape; got 9; give such pixels weight 0"),
        ("multiclass", {}, Z, T, Z, ValueError,
         "weight must be of shape (2, 4, 4) for multiclass logits of shape (2, 3, 4, 4); got (2, 3, 4, 4)"),
        ("multiclass", {}, Z, T, -torch.ones(2, 4, 4), ValueError, "weight must be >= 0 everywhere; got negative values"),
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


def test_a_lovasz_loss_refuses_soft_targets():
    with pytest.raises(ValueError, match=r"^target must be class indices or one-hot integers for a Lovasz loss; got "):
        LovaszSoftmaxLoss("multiclass")(Z, Z + 1 / 3)


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
        fit(loss, torch.ones(3, 2))


def test_learned_class_weights_get_a_gradient():
    batch = case("multiclass", 5, 5, dtype=torch.float32)
    loss = CrossEntropyLoss("multiclass", class_weight=torch.ones(4))
    loss.class_weight.requires_grad_()
    loss(batch.logits, batch.target).backward()
    assert loss.class_weight.grad.abs().sum() > 0
