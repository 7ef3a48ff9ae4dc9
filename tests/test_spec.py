import pytest
import torch
from torch import nn

from lossmith.core.spec import Atom, Term, parse_spec
from lossmith.torch import (
    CrossEntropyLoss,
    DeepSupervision,
    DiceLoss,
    GIoULoss,
    Linear,
    PCAShapePrior,
    Scheduled,
    SumLoss,
    parse,
)
from lossmith.torch.parse import inner_loss


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("ce", (Term(1.0, Atom("ce")),)),
        ("focal(gamma=2, alpha=0.25)", (Term(1.0, Atom("focal", {"gamma": 2, "alpha": 0.25})),)),
        ("0.5*ce + dice", (Term(0.5, Atom("ce")), Term(1.0, Atom("dice")))),
        ("ce*2+dice", (Term(2.0, Atom("ce")), Term(1.0, Atom("dice")))),
        ("0.5*(ce + 2*dice)", (Term(0.5, Atom("ce")), Term(1.0, Atom("dice")))),
        (
            "topk(k=0.2, loss=focal(gamma=1))",
            (Term(1.0, Atom("topk", {"k": 0.2, "loss": Atom("focal", {"gamma": 1})})),),
        ),
        ("my.module:MyLoss(width=3)", (Term(1.0, Atom("my.module:MyLoss", {"width": 3})),)),
        ("2*a:B + ce", (Term(2.0, Atom("a:B")), Term(1.0, Atom("ce")))),
        ("a:B + c:D(path='e:F/_g', n=1)", (Term(1.0, Atom("a:B")), Term(1.0, Atom("c:D", {"path": "e:F/_g", "n": 1})))),
        ("  dice(classes=[1, 2])", (Term(1.0, Atom("dice", {"classes": [1, 2]})),)),
    ],
)
def test_a_spec_is_read(text, terms):
    assert parse_spec(text) == terms


EXAMPLES = "a spec is such as 'ce', 'focal(gamma=2)', '0.5*ce + dice' or 'my.module:MyLoss'"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it cannot be read"),
        ("ce +", "it cannot be read"),
        ("ce dice", "it cannot be read"),
        ("ce - dice", "'ce - dice' is no loss"),
        ("-1*ce", "a coefficient must be > 0 and finite; got -1"),
        ("0*ce", "a coefficient must be > 0 and finite; got 0"),
        ("1e999*ce", "a coefficient must be > 0 and finite; got inf"),
        ("ce*dice", "a product needs a number and a loss"),
        ("2", "'2' is no loss"),
        ("focal(2)", "parameters are given by name, as in focal(gamma=2)"),
        ("focal(gamma=1, gamma=5)", "gamma is given twice"),
        ("focal(**{})", "parameters are given by name, as in focal(gamma=2)"),
        ("__import__('os').system('true')", "\"__import__('os').system('true')\" is no loss"),
        ("focal(gamma=1+1)", "'1 + 1' is no loss"),
    ],
)
def test_what_is_no_spec_is_refused(text, why):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        parse_spec(text)
    assert str(error.value) == f"{text!r} is not a loss spec: {why}; {EXAMPLES}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("focl", "there is no loss 'focl'; did you mean focal?"),
        ("xyz", "there is no loss 'xyz'"),
        ("focal(gama=2)", "focal has no parameter gama; did you mean gamma?"),
        ("focal(gamma=-1)", "gamma must be in [0, inf); got -1"),
        ("focal(alpha=1.3)", "alpha must be in [0, 1]; got 1.3"),
        ("dice(pool='all')", "pool must be 'image' or 'batch'; got 'all'"),
        ("lovasz_hinge", "task of lovasz_hinge must be 'binary' or 'multilabel'; got 'multiclass'"),
        ("no.such.module:Loss", "no.such.module:Loss: there is no module 'no' to import"),
        ("math:pi", f"pi of module math must be a class or function that makes a loss; got {3.141592653589793}"),
        ("torch.nn:MSELoss(width=3)", "torch.nn:MSELoss(width=3): _Loss.__init__() got an unexpected keyword argument 'width'"),
        ("builtins:dict", "builtins:dict must be a class of torch.nn.Module, or a function that returns one; got {}"),
        ("topk(loss=dice)", "loss must be a pixel loss that does not choose pixels itself; got "
         "DiceLoss(dice, task='multiclass')"),
    ],
)  # fmt: skip
def test_a_wrong_loss_is_refused(text, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        parse(text, "multiclass")
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["focal(gamma='2')", "focal(gamma=True)", "dice(squared=1)", "topk(k='all')"])
def test_a_wrong_type_is_refused(text):
    with pytest.raises(TypeError, match=r" must be .*; got "):
        parse(text, "multiclass")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("dice+ce", "dice + ce"),
        ("1.0*ce", "ce"),
        ("focal(gamma=2.0)", "focal"),
        ("iou", "jaccard"),
        ("0.5*(ce+dice)", "0.5*ce + 0.5*dice"),
        ("topk(loss=focal(gamma=2), k=0.2)", "topk(k=0.2, loss=focal)"),
        ("ce(class_weight=[1, 2, 0.5])", "ce(class_weight=[1.0, 2.0, 0.5])"),
        ("dice(classes=[2, 1])", "dice(classes=(2, 1))"),
        ("2*torch.nn:CrossEntropyLoss(label_smoothing=0.1)", "2*torch.nn:CrossEntropyLoss(label_smoothing=0.1)"),
    ],
)
def test_the_canonical_spec_is_a_fixed_point(text, canonical):
    loss = parse(text, "multiclass")
    assert loss.spec == canonical
    assert parse(loss.spec, "multiclass").spec == canonical


class Own(nn.Module):
    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (logits.sigmoid() - target).abs().mean()


def made_sum(task: str) -> nn.Module:
    return 0.5 * DiceLoss(task) + CrossEntropyLoss(task)


def made_schedule(task: str) -> nn.Module:
    return Scheduled(made_sum(task), Linear(1, 0, 5))


def made_deep(task: str) -> nn.Module:
    return DeepSupervision(DiceLoss(task))


def made_loss(task: str) -> nn.Module:
    return DiceLoss(task, smooth=1.0)


def made_boxes() -> nn.Module:
    return GIoULoss()


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [(name, name) for name in ("Own", "made_sum", "made_schedule", "made_deep")]
    + [("made_loss", "dice(smooth=1.0)"), ("made_boxes", "giou")],
)
def test_what_a_module_of_ones_own_makes_is_named_by_it(spec, canonical):
    task = None if spec == "made_boxes" else "binary"
    canonical = canonical if canonical[0] in "dg" else f"{__name__}:{canonical}"
    assert parse(f"{__name__}:{spec}", task).spec == canonical
    for loss in (parse(f"0.1*{__name__}:{spec}", task), SumLoss([(0.1, parse(f"{__name__}:{spec}", task))])):
        assert parse(loss.spec, task).spec == f"0.1*{canonical}"


def test_what_parse_cannot_make_has_no_spec():
    dice, masks = DiceLoss("binary"), torch.tensor([[[0, 0, 1]], [[0, 1, 1]], [[1, 1, 1]]])
    prior = PCAShapePrior.fit(masks, "binary", components=1)
    parts = {
        "Own": Own(),
        "PCAShapePrior": prior,
        "DeepSupervision": DeepSupervision(dice),
        "Linear(1, 0, 5)*dice": Scheduled(dice, Linear(1, 0, 5)),
    }
    for name, part in parts.items():
        for loss in (dice + part, dice + SumLoss([(0.1, SumLoss([(1.0, part)]))])):
            assert name in repr(loss)
            with pytest.raises(TypeError) as error:
                _ = loss.spec
            assert str(error.value) == f"a loss of a spec must be one that parse makes, or a loaded prior; got {name!r}"


@pytest.mark.parametrize(
    ("loss", "kind", "message"),
    [
        ("ce + dice", "one loss", "loss must be one loss; got 'ce + dice'"),
        (DiceLoss("binary"), "one loss", "the task of loss must be 'multiclass'; got 'binary'"),
        (DiceLoss("multiclass", process_group="world"), "one loss", "process_group of loss must be None; got 'world'"),
        ("dice(reduction='sum')", "one loss", "ignore_index, from_logits and reduction of loss must be at their "
         "defaults; got (None, True, 'sum')"),
    ],
)  # fmt: skip
def test_a_loss_inside_of_another_is_one_with_the_door_of_that(loss, kind, message):
    assert inner_loss("multiclass", "dice", kind).spec == "dice"
    with pytest.raises(ValueError) as error:  # noqa: PT011
        inner_loss("multiclass", loss, kind)
    assert str(error.value) == message


def test_options_reach_every_term():
    loss = parse("ce + dice", "binary", ignore_index=255, reduction="sum")
    assert isinstance(loss, SumLoss)
    assert [term.settings["ignore_index"] for term in loss.losses] == [255, 255]
    assert parse("dice", "binary").spec == DiceLoss("binary").spec
