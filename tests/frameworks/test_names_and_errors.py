"""Names that are looked for, parameters that Keras calls otherwise, and errors in the words of the framework."""

import jax
import keras
import numpy as np
import pytest
from jax import numpy as jnp

import lossmith.jax
import lossmith.keras
import lossmith.numpy
from lossmith.keras import DiceLoss, GatedCRFLoss, GIoULoss, parse

LOGITS = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
LABELS = np.random.default_rng(0).integers(0, 3, (2, 4, 6))
FULL = "for multiclass y_pred of shape (2, 4, 6, 3)"


@pytest.mark.parametrize(
    ("y_true", "weight", "text"),
    [
        (LABELS[:, :3], None, f"y_true must be of shape (2, 4, 6) or (2, 4, 6, 3) {FULL}; got (2, 3, 6)"),
        (LABELS[:, :3, :, None], None, f"y_true must be of shape (2, 4, 6) or (2, 4, 6, 3) {FULL}; got (2, 3, 6, 1)"),
        (LABELS, np.ones((2, 3, 6)), f"sample_weight must be of shape (2,) or (2, 4, 6) {FULL}; got (2, 3, 6)"),
        (LABELS, np.ones((2, 4, 6, 3)), f"sample_weight must be of shape (2,) or (2, 4, 6) {FULL}; got (2, 4, 6, 3)"),
        (LABELS, np.ones(1), "sample_weight must be of shape (2,), a number for each image, or one for each pixel; got (1,)"),
        (LABELS, np.ones(3), "sample_weight must be of shape (2,), a number for each image, or one for each pixel; got (3,)"),
        (LABELS, np.ones((1, 1)), "sample_weight must be of shape (2,), a number for each image, or one for each pixel; got (1, 1)"),
        (LABELS + 1, None, "y_true must be class indices from 0 to 2; got 3"),
        (LABELS, -np.ones(2), "sample_weight must be finite and >= 0 everywhere; got other values"),
    ],
)  # fmt: skip
def test_errors_name_what_keras_was_called_with(y_true, weight, text):
    for loss in (DiceLoss("multiclass"), 0.5 * DiceLoss("multiclass") + parse("ce", "multiclass")):
        with pytest.raises(ValueError, match="must") as caught:
            loss(y_true, LOGITS, weight)
        assert str(caught.value) == text


def test_errors_of_boxes_and_inputs():
    boxes = np.concatenate([np.zeros((2, 3, 2)), np.ones((2, 3, 2))], -1).astype("float32")
    for arrays, text in (
        ((boxes[:1], boxes), "y_true must be of shape (2, 3, 4) for y_pred of shape (2, 3, 4); got (1, 3, 4)"),
        ((boxes, boxes, np.ones((2, 2))), "sample_weight must be of shape (2, 3) for y_pred of shape (2, 3, 4); got (2, 2)"),
        ((boxes, boxes[..., :3]), "y_pred must be of shape (..., 4) or (..., 6); got (2, 3, 3)"),
        ((-boxes, boxes), "y_true must hold boxes with x1 <= x2 on every axis; got inverted boxes"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="must") as caught:
            GIoULoss()(*arrays)
        assert str(caught.value) == text
    with pytest.raises(
        ValueError, match=r"^image must be of shape \(2, 4, 6, k\) for y_pred of shape \(2, 4, 6, 3\); got"
    ):
        GatedCRFLoss("multiclass")(LABELS, LOGITS, image=LOGITS[:, :3])
    with pytest.raises(TypeError, match=r"gated_crf must be called with image=.*; fit has none to give, a train_step"):
        GatedCRFLoss("multiclass")(LABELS, LOGITS)


def test_one_weight_for_the_boxes_of_an_image():
    low = np.random.default_rng(1).uniform(0, 5, (2, 3, 2))
    pred, target = (np.concatenate([low, low + size], -1).astype("float32") for size in (1.0, 2.0))
    weight = np.array([1.0, 3.0], "float32")
    expected = lossmith.numpy.giou(pred, target, np.repeat(weight[:, None], 3, axis=1))
    assert float(GIoULoss()(target, pred, weight)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("dice_loss", "DiceLoss"),
        ("focal_loss", "FocalLoss"),
        ("missing_annotation_loss", "MissingAnnotationLoss"),
        ("ce", "CrossEntropyLoss"),
        ("iou", "JaccardLoss"),
        ("TverskiLoss", "TverskyLoss"),
    ],
)
def test_a_class_is_found_by_what_others_call_it(name, meant):
    with pytest.raises(AttributeError) as caught:
        getattr(lossmith.keras, name)
    assert str(caught.value) == f"module 'lossmith.keras' has no attribute {name!r}; did you mean {meant}?"
    assert hasattr(lossmith.keras, meant)


def test_a_task_that_is_missing():
    with pytest.raises(ValueError, match=r"^task must be 'binary', 'multiclass' or 'multilabel'; got None$"):
        DiceLoss()


def test_what_is_of_torch_alone():
    for find in (lossmith.keras.parse, lossmith.jax.parse):
        with pytest.raises(NotImplementedError, match="there is no shape_pca but in lossmith"):
            find("ce + shape_pca(path='x')", "multiclass")


def test_reductions_as_keras_calls_them():
    weight = np.random.default_rng(1).uniform(0.5, 2, (2, 4, 6)).astype("float32")
    mean = parse("ce", "multiclass")(LABELS, LOGITS, weight)
    named = parse("ce", "multiclass", reduction="mean_with_sample_weight")
    assert named.spec == "ce"
    assert named.reduction == "mean"
    assert float(named(LABELS, LOGITS, weight)) == float(mean)
    unreduced = parse("ce", "multiclass", reduction=None)
    assert unreduced.spec == "ce(reduction='none')"
    assert tuple(unreduced(LABELS, LOGITS).shape) == (2, 4, 6)
    expected = "^reduction must be 'mean', which divides by the sum of the weights, 'sum' or 'none'; got 'sum_over_batch_size'$"
    with pytest.raises(ValueError, match=expected):
        DiceLoss("binary", reduction="sum_over_batch_size")
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none'; got 'average'"):
        DiceLoss("binary", reduction="average")
    with pytest.raises(TypeError, match="dice has no parameter dtype: it is computed in that of y_pred, or float32"):
        DiceLoss("binary", dtype="float32")


def test_float64_stays():
    if keras.backend.backend() != "jax":
        value = DiceLoss("multiclass")(LABELS, keras.ops.convert_to_tensor(LOGITS, "float64"))
        assert keras.backend.standardize_dtype(value.dtype) == "float64"
        assert float(value) == pytest.approx(lossmith.numpy.dice(LOGITS, LABELS, task="multiclass", axis=-1), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("focal", {"gamma": 2.0}),
        ("dice", {"class_weight": [1.0, 2.0, 3.0]}),
        ("dice", {"class_weight": (1.0, 2.0, 3.0)}),
    ],
)
def test_a_parameter_that_jax_traces_is_named(name, parameters):
    def loss(logits, parameters):
        return getattr(lossmith.jax, name)(logits, LABELS, task="multiclass", axis=-1, **parameters)

    (parameter,) = parameters
    expected = f"^{parameter} must be a constant of the trace: Python's numbers, or NumPy's; got 'a traced array'"
    with pytest.raises(TypeError, match=expected):
        jax.jit(loss)(LOGITS, jax.tree.map(jnp.asarray, parameters))
    with pytest.raises(TypeError, match=expected):
        jax.jit(lambda logits: loss(logits, {parameter: jnp.array(parameters[parameter])}))(LOGITS)
    outside = loss(LOGITS, {parameter: np.array(parameters[parameter])})
    np.testing.assert_allclose(jax.jit(lambda logits: loss(logits, parameters))(LOGITS), outside, rtol=1e-6)


def test_jax_shows_shapes_as_they_were_given():
    with pytest.raises(
        ValueError, match=r"^target must be of shape \(2, 4, 6\) or \(2, 4, 6, 3\) for .* \(2, 4, 6, 3\); got"
    ):
        lossmith.jax.dice(LOGITS, LABELS[:, :3], task="multiclass", axis=-1)
    assert lossmith.jax.iou(LOGITS, LABELS, task="multiclass", axis=-1) == lossmith.jax.jaccard(
        LOGITS, LABELS, task="multiclass", axis=-1
    )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow")
def test_xla_says_what_it_cannot_compile():
    import tensorflow as tf

    for spec in ("boundary", "skeleton_recall"):
        with pytest.raises(tf.errors.InvalidArgumentError, match="on_the_CPU_so_jit_compile_must_be_False"):
            tf.function(parse(spec, "multiclass"), jit_compile=True)(LABELS, LOGITS)
