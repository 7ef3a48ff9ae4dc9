import pytest

from lossmith.core.spec import Atom, Term, parse_spec
from lossmith.torch import DiceLoss, SumLoss, parse


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


def test_options_reach_every_term():
    loss = parse("ce + dice", "binary", ignore_index=255, reduction="sum")
    assert isinstance(loss, SumLoss)
    assert [term.settings["ignore_index"] for term in loss.losses] == [255, 255]
    assert parse("dice", "binary").spec == DiceLoss("binary").spec
