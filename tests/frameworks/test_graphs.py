"""Calls outside of a graph, on TensorFlow: the first is computed as it is, others of its kind by one graph."""

import gc
import weakref

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("Keras is on another backend", allow_module_level=True)
import tensorflow as tf
from last import agree

import lossmith.numpy
from lossmith.core.namespaces import graphs
from lossmith.keras import BoundaryLoss, CrossEntropyLoss, DiceLoss, EntropyLoss, GIoULoss, parse

RNG = np.random.default_rng(4)
LOGITS = RNG.normal(size=(2, 5, 4, 3)).astype("float32")
LABELS = RNG.integers(0, 3, size=(2, 5, 4))
WEIGHT = RNG.uniform(0.5, 2.0, size=(2, 5, 4)).astype("float32")


@pytest.fixture(autouse=True)
def traces(monkeypatch):
    """What was traced, counted."""
    graphs._known.cache_clear()
    made, traced = [], graphs._traced
    monkeypatch.setattr(graphs, "_traced", lambda *given: made.append(len(given[1])) or traced(*given))
    return made


def expected(spec, *, labels=LABELS, weight=None, logits=LOGITS, **options):
    return lossmith.numpy.parse(spec, "multiclass", axis=-1, **options)(logits, labels, weight)


def test_the_second_call_makes_a_graph_and_others_share_it(traces):
    for times in range(4):
        loss = parse("0.5*ce + dice(smooth=1.0)", "multiclass")  # equal losses compute the same
        assert float(loss(LABELS, LOGITS)) == pytest.approx(expected("0.5*ce + dice(smooth=1.0)"), rel=1e-5)
        assert len(traces) == (times > 0)


@pytest.mark.parametrize(
    "other",
    [
        lambda: parse("dice", "multiclass")(LABELS, LOGITS),
        lambda: parse("dice(smooth=1.0)", "multiclass", ignore_index=2)(LABELS, LOGITS),
        lambda: parse("dice(smooth=1.0)", "multiclass", reduction="sum")(LABELS, LOGITS),
        lambda: parse("2*dice(smooth=1.0)", "multiclass")(LABELS, LOGITS),
        lambda: parse("dice(smooth=1.0)", "multilabel")(LOGITS > 0, LOGITS),
        lambda: parse("dice(smooth=1.0)", "multiclass")(LABELS, LOGITS, WEIGHT),
        lambda: parse("dice(smooth=1.0)", "multiclass")(LABELS.astype("int32"), LOGITS),
        lambda: parse("dice(smooth=1.0)", "multiclass")(LABELS, LOGITS.astype("float64")),
        lambda: parse("dice(smooth=1.0)", "multiclass")(LABELS[:1], LOGITS[:1]),
        lambda: parse("dice(smooth=1.0)", "multiclass")(LABELS[..., None], LOGITS),
    ],
    ids=["parameter", "ignore", "reduction", "coefficient", "task", "weight", "labels", "dtype", "shape", "axis"],
)
def test_what_is_different_has_a_graph_of_its_own(traces, other):
    for _ in range(2):
        parse("dice(smooth=1.0)", "multiclass")(LABELS, LOGITS)
    assert len(traces) == 1
    first = other()
    assert len(traces) == 1
    np.testing.assert_allclose(other(), first, rtol=1e-6)
    assert len(traces) == 2


def test_coefficients_and_tasks_have_graphs_of_their_own():
    one_hot = np.eye(3, dtype="float32")[LABELS]
    for spec, task in (("2*dice", "multiclass"), ("3*dice", "multiclass"), ("2*dice", "multilabel")):
        value = lossmith.numpy.parse(spec, task, axis=-1)(LOGITS, one_hot)
        for _ in range(2):
            assert float(parse(spec, task)(one_hot, LOGITS)) == pytest.approx(value, rel=1e-5)


def test_a_weight_and_an_input_are_no_constants_of_the_graph():
    losses = (parse("ce", "multiclass"), parse("boundary", "multiclass"))
    for weight in (WEIGHT, WEIGHT**2, WEIGHT**3):
        assert float(losses[0](LABELS, LOGITS, weight)) == pytest.approx(expected("ce", weight=weight), rel=1e-5)
    for factor in (1.0, 2.0, 3.0):
        distance = factor * (1.0 - LOGITS)
        value = lossmith.numpy.boundary(LOGITS, LABELS, task="multiclass", axis=-1, distance=distance)
        assert float(losses[1](LABELS, LOGITS, distance=distance)) == pytest.approx(value, rel=1e-5)


def test_bad_values_raise_in_a_graph_as_they_do_without(traces):
    loss = CrossEntropyLoss("multiclass")
    bad, negative = LABELS.copy(), WEIGHT.copy()
    bad[1, 2, 3], negative[0, 0, 0] = 3, -1.0
    for _ in range(3):
        with pytest.raises(ValueError, match=r"^y_true must be class indices from 0 to 2; got 3$"):
            loss(bad, LOGITS)
        with pytest.raises(ValueError, match=r"^sample_weight must be finite and >= 0 everywhere; got other values$"):
            loss(LABELS, LOGITS, negative)
        assert np.isfinite(loss(LABELS, LOGITS))
        assert np.isfinite(loss(LABELS, LOGITS, WEIGHT))
    assert len(traces) == 2


@pytest.mark.parametrize("loss", [DiceLoss("multiclass"), EntropyLoss("multiclass", ignore_index=255)])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_labels_that_are_no_whole_numbers(loss, reduction):
    loss = parse(loss.spec, "multiclass", reduction=reduction)
    labels = LABELS.astype("float32")
    for _ in range(2):
        assert np.isfinite(loss(labels, LOGITS)).all()
    with pytest.raises(ValueError, match=r"^y_true must hold class indices, whole numbers; got others$"):
        loss(labels + 0.5, LOGITS)
    assert np.isnan(tf.function(lambda *given: loss(*given))(labels + 0.5, LOGITS)).all()


def test_boxes(traces):
    loss, boxes = GIoULoss(), np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 2.0]])
    for shift in (0.0, 0.5, 1.0):
        value = lossmith.numpy.giou(boxes + shift, boxes)
        assert float(loss(boxes, boxes + shift)) == pytest.approx(value, rel=1e-6, abs=1e-7)
    assert len(traces) == 1
    with pytest.raises(ValueError, match=r"^y_true must hold boxes with x1 <= x2 on every axis; got inverted boxes$"):
        loss(boxes[:, [2, 3, 0, 1]], boxes)


def test_a_loss_of_nan_logits_is_nan():
    for _ in range(3):
        assert np.isnan(DiceLoss("multiclass")(LABELS, np.nan * LOGITS))


def test_derivatives_of_every_kind():
    """First and second ones, of a persistent tape and forward, jacobians: by the graph as without."""
    loss, logits = parse("ce + dice", "multiclass", reduction="mean"), tf.constant(LOGITS)

    def derivatives():
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(logits)
            with tf.GradientTape() as inner:
                inner.watch(logits)
                value = loss(LABELS, logits)
            first = inner.gradient(value, logits)
            bend = tf.reduce_sum(first**2)
        with tf.autodiff.ForwardAccumulator(logits, tf.cos(logits)) as forward:
            moved = loss(LABELS, logits)
        return value, first, outer.gradient(bend, logits), outer.jacobian(value, logits), forward.jvp(moved)

    without, by_graph = derivatives(), derivatives()
    for got, right in zip(by_graph, without, strict=True):
        agree(got.numpy(), right.numpy(), 1e-5, "")
    agree(float(without[4]), float(tf.reduce_sum(without[1] * tf.cos(logits))), 1e-4, "forward")


def test_the_gradient_for_the_weight():
    loss, weight = DiceLoss("multiclass", pool="batch"), tf.constant(WEIGHT)
    found = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            tape.watch(weight)
            value = loss(LABELS, LOGITS, weight)
        found.append(tape.gradient(value, weight).numpy())
    assert np.abs(found[0]).max() > 1e-5
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-7)


def test_functions_that_are_run_eagerly_are_no_graphs(traces):
    tf.config.run_functions_eagerly(True)
    try:
        values = [float(DiceLoss("multiclass")(LABELS, LOGITS)) for _ in range(3)]
    finally:
        tf.config.run_functions_eagerly(False)
    assert values == pytest.approx([expected("dice")] * 3, rel=1e-5)
    assert traces == []


def test_a_graph_holds_nothing_of_a_batch():
    loss = DiceLoss("multiclass")
    logits = tf.constant(LOGITS)
    for _ in range(3):
        loss(LABELS, logits)
    known = weakref.ref(logits)
    del logits
    gc.collect()
    assert known() is None


def test_no_more_graphs_are_kept_than_said():
    """Batches of ever new shapes have none: what comes once is not traced."""
    loss = CrossEntropyLoss("binary")
    for length in range(1, 12):
        loss(np.ones((1, length, 1)), np.ones((1, length, 1), np.float32))
    kept = graphs._known.cache_info()
    assert (kept.currsize, kept.maxsize) == (11, graphs.KEPT)


def test_distances_are_computed_in_graphs_too():
    loss = BoundaryLoss("binary")
    for labels in (LABELS > 0, LABELS > 1, LABELS == 1):
        value = lossmith.numpy.boundary(LOGITS[..., 0], labels, task="binary")
        assert float(loss(labels[..., None], LOGITS[..., :1])) == pytest.approx(value, rel=1e-5)


def test_a_wrong_shape_raises_every_time():
    loss = DiceLoss("multiclass")
    for _ in range(3):
        with pytest.raises(ValueError, match=r"^y_true must be of shape \(2, 5, 4\) or \(2, 5, 4, 3\) for multiclass"):
            loss(LABELS[:1], LOGITS)
