"""Errors speak of what the caller passed: its names, its shapes, the name that was meant."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import lossmith.numpy
from faces import TASKS, call
from lossmith.cli import app
from lossmith.core.catalogue import CATALOGUE, PRIORS, limits_of
from lossmith.core.inputs import INPUTS
from lossmith.core.namespaces.standard import Standard

LAST = np.zeros((2, 4, 6, 3))
LABELS = np.zeros((2, 4, 6), int)
IMAGE = "image must be of shape (2, 4, 6, k) for logits of shape (2, 4, 6, 3); got (2, 3, 6, 1)"


@pytest.mark.parametrize(
    ("name", "task", "arrays", "inputs", "text"),
    [
        ("ce", "multiclass", (LAST, LABELS[:, :3]), {}, "target must be of shape (2, 4, 6) or (2, 4, 6, 3) for multiclass logits of shape (2, 4, 6, 3); got (2, 3, 6)"),
        ("ce", "multilabel", (LAST, LABELS), {}, "target must be of shape (2, 4, 6, 3) for multilabel logits of shape (2, 4, 6, 3); got (2, 4, 6)"),
        ("ce", "multiclass", (LAST, LABELS, LABELS[:1]), {}, "weight must be of shape (2, 4, 6) for multiclass logits of shape (2, 4, 6, 3); got (1, 4, 6)"),
        ("ce", "multiclass", (LAST[..., :1], LABELS), {}, "logits of a multiclass task must have at least 2 channels; got shape (2, 4, 6, 1); one channel is task='binary'"),
        ("ce", "binary", (LAST, LABELS), {}, "target must be of shape (2, 4, 6, 3) for binary logits of shape (2, 4, 6, 3); got (2, 4, 6)"),
        ("ce", "multiclass", (np.zeros(3), np.zeros(3, int)), {}, "logits must be of shape (N, *space, C); got (3,)"),
        ("gated_crf", "multiclass", (LAST, LABELS), {"image": LAST[:, :3, :, :1]}, IMAGE),
    ],
)  # fmt: skip
def test_shapes_are_shown_as_they_were_given(name, task, arrays, inputs, text):
    with pytest.raises(ValueError, match="must") as caught:
        getattr(lossmith.numpy, name)(*arrays, task=task, axis=-1, **inputs)
    assert str(caught.value) == text


def test_classes_on_axis_1_are_shown_there():
    with pytest.raises(ValueError, match="must") as caught:
        lossmith.numpy.ce(np.moveaxis(LAST, -1, 1), LABELS[:, :3], task="multiclass")
    expected = (
        "target must be of shape (2, 4, 6) or (2, 3, 4, 6) for multiclass logits of shape (2, 3, 4, 6); got (2, 3, 6)"
    )
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DiceLoss", "dice"),
        ("dice_loss", "dice"),
        ("missing_annotation_loss", "missing"),
        ("CrossEntropyLoss", "ce"),
        ("iou_loss", "jaccard"),
        ("GIoULoss", "giou"),
        ("tverski", "tversky"),
    ],
)
def test_a_name_is_found_by_what_others_call_it(name, meant):
    with pytest.raises(AttributeError) as caught:
        getattr(lossmith.numpy, name)
    assert str(caught.value) == f"module 'lossmith.numpy' has no attribute {name!r}; did you mean {meant}?"


def test_a_name_like_no_other():
    with pytest.raises(AttributeError, match=r"has no attribute 'xyzzy'$"):
        _ = lossmith.numpy.xyzzy


def test_aliases_of_the_spec_language_are_functions_too():
    assert lossmith.numpy.iou(LAST, LABELS, task="multiclass", axis=-1) == pytest.approx(
        lossmith.numpy.jaccard(LAST, LABELS, task="multiclass", axis=-1)
    )
    assert "iou" in lossmith.numpy.__all__


def test_a_task_that_is_missing():
    with pytest.raises(ValueError, match="task must be 'binary', 'multiclass' or 'multilabel'; got None"):
        lossmith.numpy.dice(LAST, LABELS)


@pytest.mark.parametrize(
    "spec", ["shape_pca(path='x')", "0.5*ce + shape_ae(path='x')", "topk(loss=shape_pca(path='x'))"]
)
def test_a_spec_of_what_is_of_torch_alone(spec):
    name = next(name for name in PRIORS if name in spec)
    with pytest.raises(NotImplementedError) as caught:
        lossmith.numpy.parse(spec, "multiclass")
    expected = f"there is no {name} but in lossmith.torch: it is fitted to masks before use, and on PyTorch alone"
    assert str(caught.value) == expected


def test_a_parameter_whose_value_nobody_knows():
    class Traced:
        def tolist(self):
            raise TypeError("a long story")

    with pytest.raises(TypeError) as caught:
        lossmith.numpy.focal(LAST, LABELS, task="multiclass", axis=-1, gamma=Traced())
    expected = "gamma must be a constant of the trace: Python's numbers, or NumPy's; got 'a traced array'"
    assert str(caught.value) == expected


def test_the_rows_that_ask_for_distances_or_skeletons_say_so(monkeypatch):
    asked = set()
    for method in ("signed_distance", "tube"):
        original = getattr(Standard, method)

        def noted(self, *given, original=original, **named):
            asked.add(row)
            return original(self, *given, **named)

        monkeypatch.setattr(Standard, method, noted)
    for row, task in TASKS:
        call(row, task).numpy()
    assert asked == {name for name, record in CATALOGUE.items() if record.on_host}


def test_the_list_says_what_a_framework_cannot_do():
    runner = CliRunner()
    rows = {record["name"]: record for record in json.loads(runner.invoke(app, ["list", "--json"]).stdout)}
    assert rows["boundary"]["limits"] == ["Keras on TensorFlow: not with jit_compile=True"]
    assert rows["gated_crf"]["limits"] == ["Keras: called with image=, not by fit"]
    assert rows["dice"]["limits"] == rows["shape_pca"]["limits"] == []
    needing = {name for name, r in CATALOGUE.items() if r.on_host or any(INPUTS[i].required for i in r.inputs)}
    assert {name for name, record in rows.items() if record["limits"]} == needing
    listed = runner.invoke(app, ["list"]).stdout
    assert "(Keras on TensorFlow: not with jit_compile=True)" in next(
        x for x in listed.splitlines() if " hausdorff " in x
    )
    assert "Keras: called with annotated=, not by fit" in runner.invoke(app, ["show", "marginal"]).stdout
    assert limits_of(PRIORS["shape_pca"]) == ()
