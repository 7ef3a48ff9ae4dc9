"""TensorFlow: lengths that only some of a loss's arrays know, and sums of many numbers."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("Keras is on another backend", allow_module_level=True)
import tensorflow as tf

import lossmith.numpy
from lossmith.core.namespaces.tensorflow import Tensor, xp
from lossmith.keras import CrossEntropyLoss, DiceLoss, GatedCRFLoss, GIoULoss, MarginalLoss, parse

RNG = np.random.default_rng(4)
LOGITS = RNG.normal(size=(2, 4, 6, 3)).astype("float32")
LABELS = RNG.integers(0, 3, size=(2, 4, 6))
WEIGHT = RNG.uniform(0.5, 2.0, size=(2, 4, 6)).astype("float32")
COUNT = 2**24 + 2**20 + 3  # float32 cannot count so far in steps of 1


def graph(loss, *shapes, **options):
    dtypes = (tf.int64, tf.float32, tf.float32)
    specs = [tf.TensorSpec(*spec) for spec in zip(shapes, dtypes, strict=False)]
    return tf.function(loss, input_signature=specs, **options)


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 4, 6), (None, None, None, 3), (2, 4, 6)),
        ((None, None, None), (2, 4, 6, 3), (None, None, None)),
        ((None, 4, None), (None, None, 6, 3), (2, None, None)),
        ((2, 4, None), (None, None, None, 3), (None, None, 6)),
        ((None, None, None, 1), (None, 4, 6, 3), (None, None, None, 1)),
        ((None, None, None), (None, None, None, 3), (None, None, None)),
    ],
    ids=str,
)
def test_a_length_that_one_knows_is_that_of_all(shapes, compiled):
    loss = graph(parse("0.5*ce + dice", "multiclass"), *shapes, jit_compile=compiled)
    expected = lossmith.numpy.parse("0.5*ce + dice", "multiclass", axis=-1)(LOGITS, LABELS, WEIGHT)
    pairs = zip((LABELS, LOGITS, WEIGHT), shapes, strict=True)
    given = [x[..., None] if len(shape) > x.ndim else x for x, shape in pairs]
    assert float(loss(*given)) == pytest.approx(expected, rel=1e-5)


def test_binary_logits_without_an_axis_of_classes():
    labels, logits = (LABELS > 0).astype("int64"), LOGITS[..., 0]
    expected = lossmith.numpy.dice(logits, labels, WEIGHT, task="binary")
    loss = graph(DiceLoss("binary"), (2, None, None), (None, None, 6), (None, 4, None))
    assert float(loss(labels, logits, WEIGHT)) == pytest.approx(expected, rel=1e-5)


def test_inputs():
    """An image of known size, or a number for each class: that has no axes of space, be there as many or not."""
    image = RNG.normal(size=(2, 4, 6, 2)).astype("float32")
    loss = GatedCRFLoss("multiclass", radius=1)
    called = graph(lambda y_true, y_pred: loss(y_true, y_pred, image=image), (None,) * 3, (None, None, None, 3))
    expected = lossmith.numpy.gated_crf(LOGITS, LABELS, task="multiclass", axis=-1, image=image, radius=1)
    assert float(called(LABELS, LOGITS)) == pytest.approx(expected, rel=1e-4)
    annotated, marginal = np.array([[True, True, False], [True, True, True]]), MarginalLoss("multiclass")
    labels, logits = np.array([[0, 1], [2, 1]]), LOGITS[:, 0, :2]
    called = graph(lambda y_true, y_pred: marginal(y_true, y_pred, annotated=annotated), (None, 2), (None, None, 3))
    expected = lossmith.numpy.marginal(logits, labels, task="multiclass", axis=-1, annotated=annotated)
    assert float(called(labels, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
def test_one_weight_for_each_image(compiled):
    loss = graph(DiceLoss("multiclass"), (None, 4, 6), (None, None, 6, 3), (None,), jit_compile=compiled)
    expected = DiceLoss("multiclass")(LABELS, LOGITS, np.array([1.0, 3.0], "float32"))
    assert float(loss(LABELS, LOGITS, np.array([1.0, 3.0], "float32"))) == pytest.approx(float(expected), rel=1e-6)
    for count in (1, 3):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"reshape|shapes|equal lengths"):
            loss(LABELS, LOGITS, np.ones(count, "float32"))


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("shape", [(None, None, None, 3), (2, None, None, 3)], ids=str)
@pytest.mark.parametrize(
    ("labels", "logits"), [((2, 6, 4), (2, 4, 6)), ((2, 24, 1), (2, 1, 24)), ((4, 6, 2), (2, 4, 6))]
)
def test_that_lengths_differ_is_seen_when_the_graph_runs(labels, logits, shape, compiled):
    """Also where there are as many pixels."""
    loss = graph(CrossEntropyLoss("multiclass"), (None, None, None), shape, jit_compile=compiled)
    message = "Incompatible shapes|requested shape" if compiled else "must have axes of equal lengths"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loss(LABELS.reshape(labels), LOGITS.reshape(*logits, 3))


def test_that_lengths_differ_is_seen_before_it_runs_where_they_are_known():
    expected = (
        r"y_true must be of shape \(2, 4, 6\) or \(2, 4, 6, 3\) for multiclass y_pred of shape .*; got \(\?, 5, \?\)"
    )
    with pytest.raises(ValueError, match=expected):
        graph(DiceLoss("multiclass"), (None, 5, None), (2, 4, 6, 3))(LABELS[:, [0, 0, 1, 2, 3]], LOGITS)


def test_an_unknown_number_of_axes():
    message = "y_true must have a number of axes that is known before the graph runs: say it by tf.ensure_shape"
    with pytest.raises(ValueError, match=message):
        graph(DiceLoss("multiclass"), None, (None, None, None, 3))(LABELS, LOGITS)


@pytest.mark.parametrize("known", ["masks", "model", "both", "none"])
def test_fit_with_masks_or_a_model_of_unknown_size(known):
    """Masks that are decoded have no known size, a model often has one."""

    def sample(i):
        mask = tf.cast(tf.reshape((tf.range(64) + tf.cast(i, tf.int32)) % 3, (8, 8, 1)), tf.uint8)
        decoded = tf.io.decode_png(tf.io.encode_png(mask), 1)
        return tf.random.stateless_normal((8, 8, 1), [1, 2]), mask if known in ("masks", "both") else decoded

    size = 8 if known in ("model", "both") else None
    model = keras.Sequential([keras.Input((size, size, 1)), keras.layers.Conv2D(3, 1)])
    model.compile("sgd", loss=parse("ce + dice", "multiclass"))
    history = model.fit(
        tf.data.Dataset.range(4).map(sample).batch(2).repeat(), steps_per_epoch=2, shuffle=False, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()


def test_boxes():
    low = RNG.uniform(0, 5, (2, 3, 2))
    pred, target = (np.concatenate([low, low + size], -1).astype("float32") for size in (1.0, 2.0))
    specs = [tf.TensorSpec((None, 3, 4)), tf.TensorSpec((2, None, 4)), tf.TensorSpec((None,))]
    loss, weight = tf.function(GIoULoss(), input_signature=specs), np.array([1.0, 2.0], "float32")
    each = np.repeat(weight[:, None], 3, axis=1)
    assert float(loss(target, pred, weight)) == pytest.approx(lossmith.numpy.giou(pred, target, each), rel=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        loss(target[:1], pred, weight)


def columns(values):
    """The sums of pixels, classes last in memory."""
    held = tf.convert_to_tensor(values)
    return xp.sum(xp.permute_dims(Tensor(held), (0, 2, 1)), axis=2).values


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}, {"input_signature": [tf.TensorSpec((None, None, 2))]}])
@pytest.mark.parametrize("pixels", [2**20, 1000 * 1003, 2**20 + 7])
def test_a_sum_of_many_numbers(pixels, options):
    values = np.random.default_rng(1).random((1, pixels, 2), np.float32)
    found = tf.function(columns, **options)(values)
    np.testing.assert_allclose(found, values.astype("float64").sum(1), rtol=1e-6)


@pytest.mark.parametrize("pixels", [1, 1023, 1024, 1025, 3000, 4099])
def test_a_sum_and_its_gradient(pixels):
    values = np.random.default_rng(1).normal(size=(2, pixels, 3))
    held, toward = tf.constant(values), tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(held)
        found = columns(held)
    np.testing.assert_allclose(found, values.sum(1), rtol=1e-10, atol=1e-10)
    expected = np.broadcast_to(toward.numpy()[:, None], values.shape)
    np.testing.assert_array_equal(tape.gradient(found, held, toward), expected)
    kept = xp.sum(xp.permute_dims(Tensor(held), (0, 2, 1)), axis=2, keepdims=True)
    np.testing.assert_array_equal(kept.values[..., 0], found)


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "XLA"])
def test_counting_above_2_to_the_24(compiled):
    ones = tf.ones((1, COUNT, 2))
    np.testing.assert_allclose(tf.function(columns, jit_compile=compiled)(ones), COUNT, rtol=1e-7)


def test_counting_one_after_another():
    counted = xp.cumulative_sum(Tensor(tf.ones((1, COUNT))), axis=-1).values
    assert counted.dtype == tf.float32
    np.testing.assert_allclose(counted.numpy()[0, [0, 2**24, -1]], [1, 2**24 + 1, COUNT], rtol=1e-7)


@pytest.mark.parametrize("spec", ["dice", "lovasz", "mcc", "ce"])
def test_losses_of_a_million_pixels(spec):
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(1, 2**20, 2)).astype("float32"), rng.integers(0, 2, (1, 2**20))
    expected = lossmith.numpy.parse(spec, "multiclass", axis=-1)(logits, labels)
    assert float(parse(spec, "multiclass")(labels, logits)) == pytest.approx(expected, rel=1.5e-6)
