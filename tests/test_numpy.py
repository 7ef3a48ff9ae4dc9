"""The NumPy face: float64, plain functions for every row, numbers as Python's own."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

import lossmith.numpy
from faces import TASKS, boxes, call, direction
from lossmith.core.catalogue import ALIASES, BOXES, CATALOGUE, PRIORS
from lossmith.numpy import boundary, ce, dice, focal, giou, marginal, parse, topk, wce
from lossmith.numpy.information import entropy
from parity import cases

MODES = ("plain", "ignore weight class_weight", "soft weight")


def test_there_is_a_function_for_every_row():
    assert lossmith.numpy.__all__ == sorted({*CATALOGUE, *BOXES, *ALIASES, "parse"})


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_values_of_torch(name, task):
    for mode in MODES:
        given = call(name, task, mode)
        assert given.numpy() == pytest.approx(float(given.torch()[0]), rel=1e-12, abs=1e-14), mode
    for reduction in ("sum", "none"):
        given = call(name, task, MODES[1], reduction=reduction)
        np.testing.assert_allclose(given.numpy(), given.torch()[0], rtol=1e-12, atol=1e-14, err_msg=reduction)


@pytest.mark.parametrize("name", BOXES)
def test_boxes(name):
    for reduction in ("mean", "sum", "none"):
        given = boxes(name, reduction=reduction)
        np.testing.assert_allclose(given.numpy(), given.torch()[0], rtol=1e-12, err_msg=reduction)


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_the_gradient_of_torch_by_differences(name, task):
    """Of all calls that other frameworks are held to; a map's along `direction`, as there.

    Not of boxes: some of their gradients are not those of their values, as published; see test_box.py.
    """
    rng, step = np.random.default_rng(1), 1e-6
    for case in cases(name, task):
        given = case.call
        along = rng.choice([-1.0, 1.0], size=given.logits.shape)
        if not given.parameters.get("from_logits", True):  # probabilities stay such
            along *= given.logits * (1 - given.logits)
            along -= given.logits * along.sum(axis=1, keepdims=True) * (task == "multiclass")
        ends = [replace(given, logits=given.logits + side * along).numpy() for side in (-step, step)]
        slope = ((ends[1] - ends[0]) * direction(np.shape(ends[0]))).sum() / (2 * step)
        _, gradient = given.torch()
        assert slope == pytest.approx((gradient * along).sum(), rel=1e-5, abs=2e-7), case.said


def test_every_parameter_is_somewhere_away_from_its_default():
    for name, record in {**CATALOGUE, **BOXES}.items():
        tasks = record.tasks or (None,)
        given = [case.call.parameters for task in tasks for case in cases(name, task)]
        for parameter in record.parameters:
            key = parameter.name
            if key != "process_group":
                assert any(values.get(key, parameter.default) != parameter.default for values in given), (name, key)


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_the_class_axis_is_where_it_is_said_to_be(name, task):
    for reduction in ("mean", "none"):
        given = call(name, task, "weight", reduction=reduction)
        arrays = [x if x is None or x.ndim < 4 else np.moveaxis(x, 1, -1) for x in given.arrays]
        inputs = {key: np.moveaxis(x, 1, -1) if x.ndim == 4 else x for key, x in given.inputs.items()}
        found = getattr(lossmith.numpy, name)(*arrays, axis=-1, **inputs, **given.parameters)
        expected = given.numpy()
        if np.ndim(expected) == 4:
            expected = np.moveaxis(expected, 1, -1)
        np.testing.assert_array_equal(found, expected)


def test_binary_logits_may_have_no_axis_of_classes():
    logits, target = np.linspace(-2, 2, 12).reshape(2, 2, 3), np.arange(12).reshape(2, 2, 3) % 2
    expected = dice(logits, target, task="binary")
    assert dice(logits, target, task="binary", axis=-1) == expected
    assert dice(logits[..., None], target, task="binary", axis=-1) == expected
    assert dice(logits[..., None], target[..., None], target[..., None] + 1, task="binary", axis=-1) != expected


def test_lists_and_small_floats_are_computed_in_float64():
    logits, target = [[2.0, -1.0, 0.5]], [[1, 0, 1]]
    value = focal(logits, target, task="binary")
    assert type(value) is float
    assert focal(np.array(logits, dtype=np.float16), target, task="binary") == value
    assert focal(logits, target, task="binary", reduction="none").dtype == np.float64


def test_probabilities():
    logits, target = np.array([[2.0, -1.0, 0.5]]), [[1, 0, 1]]
    probs = 1 / (1 + np.exp(-logits))
    for loss in (dice, focal):
        expected = loss(logits, target, task="binary")
        assert loss(probs, target, task="binary", from_logits=False) == pytest.approx(expected, rel=1e-12)


def test_losses_of_losses_are_given_by_spec():
    logits, target = np.array([[0.0, 3.0, -1.0, 0.5]]), np.array([[1, 1, 0, 0]])
    assert topk(logits, target, task="binary", k=1.0, loss="focal(gamma=1)") == focal(
        logits, target, task="binary", gamma=1.0
    )
    three, labels = np.array([[[1.0], [0.2], [-0.4]]]), np.array([[0]])
    everything = np.array([[True, True, True]])
    merged = marginal(three, labels, task="multiclass", loss="dice(smooth=1)", annotated=everything)
    assert merged == pytest.approx(dice(three, labels, task="multiclass", smooth=1.0))


def test_sums():
    logits, target = np.array([[0.0, 3.0, -1.0, 0.5]]), np.array([[1, 1, 0, 255]])
    found = parse("0.5*ce + dice(smooth=1.0)", "binary", ignore_index=255)(logits, target)
    named = {"task": "binary", "ignore_index": 255}
    assert found == 0.5 * ce(logits, target, **named) + dice(logits, target, smooth=1.0, **named)
    assert type(found) is float
    lasts = np.moveaxis(np.array([[[1.0, 2.0], [0.2, 0.1], [-0.4, 3.0]]]), 1, -1)
    annotated, labels = np.array([[True, True, False]]), np.array([[0, 1]])
    found = parse("ce + marginal(loss=dice)", "multiclass", axis=-1)(lasts, labels, annotated=annotated)
    parts = [ce(lasts, labels, task="multiclass", axis=-1)]
    parts.append(marginal(lasts, labels, task="multiclass", axis=-1, loss="dice", annotated=annotated))
    assert found == pytest.approx(sum(parts), rel=1e-15)
    boxes = np.array([[0.0, 0.0, 2.0, 2.0]])
    assert parse("2*giou")(boxes, boxes + 1.0) == 2 * giou(boxes, boxes + 1.0)


def test_an_input_that_is_none_is_not_given():
    logits, target = np.array([[0.0, 3.0, -1.0, 0.5]]), np.array([[1, 1, 0, 0]])
    assert boundary(logits, target, task="binary", distance=None) == boundary(logits, target, task="binary")


def test_bad_sums():
    logits = np.zeros((1, 2, 1))
    with pytest.raises(ValueError, match=r"^'ce \+' is not a loss spec: "):
        parse("ce +", "binary")
    with pytest.raises(ValueError, match=r"^task must be 'binary', 'multiclass' or 'multilabel'; got None$"):
        parse("ce + dice")
    with pytest.raises(ValueError, match=r"^task of giou, a loss of boxes, must be None; got 'binary'$"):
        parse("ce + giou", "binary")
    with pytest.raises(TypeError, match=r"^an input of a sum must be one that a loss of it takes; got 'image'$"):
        parse("ce + dice", "binary")([[0.0]], [[1]], image=[[0.0]])
    with pytest.raises(
        ValueError, match=r"^the values of a sum's losses must be of one shape; got \[\(1, 1\), \(1, 2\)\]$"
    ):
        parse("ce + dice", "multiclass", reduction="none")(logits, [[0]])
    with pytest.raises(TypeError, match=r"^dice must be called with a target$"):
        parse("entropy + dice", "multiclass")(logits)


def test_class_counts_of_a_data_set():
    logits, target = np.array([[0.0, 3.0, -1.0, 0.5]]), np.array([[1, 1, 0, 0]])
    even = wce(logits, target, task="binary", balance="inverse", counts=[[10, 20], [10, 20]])
    rare = wce(logits, target, task="binary", balance="inverse", counts=[[18, 20], [2, 20]])
    assert even != rare


@pytest.mark.parametrize(
    ("error", "text", "named"),
    [
        (TypeError, "dice has no parameter smoth; did you mean smooth?", {"smoth": 1.0}),
        (TypeError, "dice has no parameter process_group", {"process_group": None}),
        (TypeError, "dice has no parameter image", {"image": 1.0}),
        (ValueError, "smooth must be in [0, inf); got -1.0", {"smooth": -1.0}),
        (ValueError, "task must be 'binary', 'multiclass' or 'multilabel'; got 'both'", {"task": "both"}),
        (ValueError, "axis must be that of the classes of logits of shape (1, 3); got 0", {"axis": 0}),
        (ValueError, "axis must be that of the classes of logits of shape (1, 3); got 2", {"axis": 2}),
    ],
)
def test_bad_arguments(error, text, named):
    with pytest.raises(error) as caught:
        dice([[2.0, -1.0, 0.5]], [[1, 0, 1]], **{"task": "binary", **named})
    assert str(caught.value) == text


def test_bad_values_and_missing_arrays():
    with pytest.raises(ValueError, match=r"target must be class indices from 0 to 1; got 2"):
        dice(np.zeros((1, 2, 1)), [[2]], task="multiclass")
    with pytest.raises(TypeError, match=r"^dice must be called with a target$"):
        dice([[0.0]], task="binary")
    with pytest.raises(TypeError, match=r"^marginal must be called with annotated=: which classes were annotated"):
        marginal(np.zeros((1, 2, 1)), [[0]], task="multiclass")
    with pytest.raises(ValueError, match=r"^task of marginal must be 'multiclass'; got 'binary'$"):
        marginal(np.zeros((1, 1, 1)), [[0]], task="binary")
    with pytest.raises(ValueError, match=r"^loss must be the spec of one loss; got 'ce \+ dice'$"):
        topk([[0.0]], [[1]], task="binary", loss="ce + dice")
    with pytest.raises(ValueError, match=r"^ignore_index, from_logits and reduction of loss must be at their defaults"):
        topk([[0.0]], [[1]], task="binary", loss="ce(ignore_index=255)")
    with pytest.raises(ValueError, match=r"^loss must be a pixel loss that does not choose pixels itself; got dice$"):
        topk([[0.0]], [[1]], task="binary", loss="dice")


@pytest.mark.parametrize("name", [*CATALOGUE, *BOXES])
def test_a_function_says_what_it_takes(name):
    function = getattr(lossmith.numpy, name)
    record = CATALOGUE.get(name) or BOXES[name]
    known = inspect.signature(function).parameters
    assert [p.name for p in record.parameters if p.name not in known] == (["process_group"] if record.tasks else [])
    assert all(f"    {parameter}: " in function.__doc__ for parameter in known)
    assert record.formula in function.__doc__


def test_what_is_of_torch_alone_says_so():
    for prior in PRIORS.values():
        for name in (prior.name, prior.cls):
            with pytest.raises(NotImplementedError) as caught:
                getattr(lossmith.numpy, name)
            expected = f"lossmith.numpy has no {name}: it is fitted to masks before use, and on PyTorch alone"
            assert str(caught.value) == expected
    with pytest.raises(AttributeError):
        _ = lossmith.numpy.dise


def test_measures_of_information():
    assert entropy([0.5, 0.5]) == 1.0
    np.testing.assert_array_equal(entropy([[0.5, 0.5], [1.0, 0.0]], base=4), [0.5, 0.0])


def test_giou_by_hand():
    """IoU 1/3, hull 6, union 6."""
    assert giou([[0.0, 0.0, 2.0, 2.0]], [[1.0, 0.0, 3.0, 2.0]]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("loss", [lossmith.numpy.entropy, lossmith.numpy.tv, lossmith.numpy.size])
def test_a_target_that_is_not_read_must_fit_all_the_same(loss):
    logits = np.zeros((2, 3, 4, 4))
    assert loss(logits, np.full((2, 4, 4), 7), task="multiclass") == loss(logits, None, task="multiclass")
    with pytest.raises(
        ValueError, match=r"^target must be of shape \(2, 4, 4\) or \(2, 3, 4, 4\) for multiclass logits"
    ):
        loss(logits, np.zeros((2, 4, 5)), task="multiclass")
