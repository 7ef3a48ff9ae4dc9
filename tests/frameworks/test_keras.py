"""The Keras face on the backend of this run, KERAS_BACKEND: what Keras does with a loss."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from last import value_and_gradient

import lossmith.keras
import lossmith.numpy
from lossmith.core import face
from lossmith.core.catalogue import BOXES, CATALOGUE
from lossmith.keras import (
    CrossEntropyLoss,
    DiceLoss,
    EntropyLoss,
    FocalLoss,
    GIoULoss,
    LovaszSoftmaxLoss,
    MissingAnnotationLoss,
    SumLoss,
    TopKLoss,
    information,
    parse,
)
from lossmith.keras.backend import NAME
from parity import ROWS, hold

pytestmark = [  # Keras makes arrays of its backend's tensors in a way that NumPy 2 regrets
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]
RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(2, 4, 3, 3)).astype("float32")
LABELS = RNG.integers(0, 3, size=(2, 4, 3))
WEIGHT = RNG.uniform(0.5, 2.0, size=(2, 4, 3)).astype("float32")


def number(value):
    return float(keras.ops.convert_to_numpy(value))


def expected(name, target=LABELS, weight=None, **parameters):
    return getattr(lossmith.numpy, name)(LOGITS, target, weight, task="multiclass", axis=-1, **parameters)


def network(classes=3, space=(None, None)):
    image = keras.Input((*space, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    return keras.Model(image, keras.layers.Conv2D(classes, 1)(x))


def compiled(loss, **options):
    model = network()
    model.compile(keras.optimizers.Adam(0.02), loss=loss, **options)
    return model


@pytest.mark.parametrize(("name", "task"), ROWS)
def test_parity(name, task):
    hold(name, task, value_and_gradient, part=16 if NAME == "jax" else 1)


def test_every_row_has_its_class():
    rows = [*CATALOGUE.values(), *BOXES.values()]
    assert set(lossmith.keras.__all__) == {record.cls for record in rows} | {"Loss", "SumLoss", "parse"}
    for record in rows:
        made = getattr(lossmith.keras, record.cls)
        assert made.record is record
        assert record.formula in made.__doc__
        assert keras.saving.get_registered_object(f"lossmith>{record.cls}") is made


@pytest.mark.parametrize(
    "labels",
    [LABELS.astype("float32"), LABELS[..., None], LABELS[..., None].astype("float32"), LABELS.astype("uint8")],
    ids=["float", "last axis", "float with a last axis", "bytes"],
)
def test_labels_come_in_many_ways(labels):
    assert number(LovaszSoftmaxLoss("multiclass")(labels, LOGITS)) == pytest.approx(expected("lovasz"), rel=1e-5)


def test_one_hot_labels_may_be_floating_numbers():
    one_hot = np.eye(3, dtype="float32")[LABELS]
    for name, loss in (("dice", DiceLoss("multiclass")), ("lovasz", LovaszSoftmaxLoss("multiclass"))):
        assert number(loss(one_hot, LOGITS)) == pytest.approx(expected(name), rel=1e-5)
    assert number(DiceLoss("binary")(LABELS[..., None] > 0, LOGITS[..., :1])) == pytest.approx(
        number(DiceLoss("binary")((LABELS > 0).astype("float32"), LOGITS[..., :1]))
    )


def test_labels_that_are_no_whole_numbers():
    with pytest.raises(ValueError, match=r"^y_true must hold class indices, whole numbers; got others$"):
        DiceLoss("multiclass")(LABELS + 0.5, LOGITS)


def test_probabilities():
    p = keras.ops.softmax(LOGITS)
    assert number(DiceLoss("multiclass", from_logits=False)(LABELS, p)) == pytest.approx(expected("dice"), rel=1e-5)


def test_the_mean_divides_by_the_weights():
    """Keras divides by the number of pixels instead: the means differ by that of the weights."""
    ours = number(CrossEntropyLoss("multiclass")(LABELS, LOGITS, WEIGHT))
    theirs = number(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, LOGITS, WEIGHT))
    assert ours == pytest.approx(expected("ce", weight=WEIGHT), rel=1e-5)
    assert ours * WEIGHT.mean() == pytest.approx(theirs, rel=1e-5)
    same = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    assert ours == pytest.approx(number(same(LABELS, LOGITS, WEIGHT)), rel=1e-5)


def test_weights_by_pixel_and_by_image():
    loss, by_image = DiceLoss("multiclass", pool="batch"), np.array([1.0, 3.0], dtype="float32")
    spread = np.broadcast_to(by_image[:, None, None], LABELS.shape)
    value = expected("dice", weight=spread, pool="batch")
    for weight in (by_image, by_image[:, None], spread, spread[..., None]):
        assert number(loss(LABELS, LOGITS, weight)) == pytest.approx(value, rel=1e-5)
    with pytest.raises(ValueError, match=r"^sample_weight must be of shape"):
        loss(LABELS, LOGITS, WEIGHT[:, :2])


def test_images_of_one_pixel():
    for truth, logits, weight in (([1.0], [0.3], [2.0]), ([1.0, 0.0], [0.3, -2.0], [1.0, 0.5])):
        arrays = [np.array(x, dtype="float32") for x in (truth, logits, weight)]
        value = lossmith.numpy.ce(arrays[1], arrays[0], arrays[2], task="binary", reduction="sum")
        assert number(CrossEntropyLoss("binary", reduction="sum")(*arrays)) == pytest.approx(value, rel=1e-6)


def test_pixels_that_keras_masks_do_not_count():
    y_pred = keras.ops.convert_to_tensor(LOGITS[:, :, 0])
    mask = keras.ops.convert_to_tensor(np.array([[True, True, False, True], [True, False, True, True]]))
    y_pred._keras_mask = mask
    value = number(CrossEntropyLoss("multiclass")(LABELS[:, :, 0], y_pred, WEIGHT[:, :, 0]))
    weight = keras.ops.convert_to_numpy(mask) * WEIGHT[:, :, 0]
    plain = CrossEntropyLoss("multiclass")(LABELS[:, :, 0], LOGITS[:, :, 0], weight)
    assert value == pytest.approx(number(plain), rel=1e-6)


def test_a_loss_without_labels():
    value = lossmith.numpy.entropy(LOGITS, task="multiclass", axis=-1)
    for y_true in (None, LABELS, np.zeros((2, 1))):
        assert number(EntropyLoss("multiclass")(y_true, LOGITS)) == pytest.approx(value, rel=1e-5)


def test_sums():
    loss = 0.5 * FocalLoss("multiclass", gamma=1.0) + DiceLoss("multiclass")
    parts = 0.5 * expected("focal", gamma=1.0) + expected("dice")
    assert number(loss(LABELS, LOGITS)) == pytest.approx(parts, rel=1e-5)
    assert (2 * loss + CrossEntropyLoss("multiclass")).spec == "focal(gamma=1.0) + 2*dice + ce"
    assert sum([DiceLoss("multiclass"), CrossEntropyLoss("multiclass")]).spec == "dice + ce"
    assert parse("0.5*focal(gamma=1.0) + dice", "multiclass").spec == loss.spec
    with pytest.raises(ValueError, match=r"^reduction of a sum's losses must be the same; got \['mean', 'sum'\]$"):
        DiceLoss("binary") + CrossEntropyLoss("binary", reduction="sum")
    with pytest.raises(ValueError, match=r"^the values of a sum's losses must be of one shape; got "):
        parse("dice + ce", "multiclass", reduction="none")(LABELS, LOGITS)
    with pytest.raises(TypeError):
        DiceLoss("binary") + 1


def opened(monkeypatch):
    """How often a batch is opened, counted."""
    times, receive = [], face.receive
    monkeypatch.setattr(face, "receive", lambda *given, **named: times.append(named) or receive(*given, **named))
    return times


def test_the_losses_of_a_sum_look_at_one_batch(monkeypatch):
    times = opened(monkeypatch)
    spec = "0.5*ce + dice + topk(k=0.5) + lovasz"
    for labels in (LABELS, LABELS.astype("float32")[..., None]):
        value = number(parse(spec, "multiclass")(labels, LOGITS, WEIGHT))
        terms = [number(parse(term, "multiclass")(labels, LOGITS, WEIGHT)) for term in spec.split(" + ")]
        assert value == pytest.approx(sum(terms), rel=1e-6)
        assert len(times) == 1 + len(terms)
        times.clear()


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("ce + dice(ignore_index=2)", {}),
        ("ce(ignore_index=1) + dice", {"ignore_index": 2}),
        ("ce + entropy", {"ignore_index": 2}),
    ],
)
def test_losses_that_look_at_a_batch_in_different_ways(monkeypatch, spec, options):
    times = opened(monkeypatch)
    value = number(parse(spec, "multiclass", **options)(LABELS, LOGITS))
    assert len(times) == 2
    assert value == pytest.approx(
        sum(number(parse(term, "multiclass", **options)(LABELS, LOGITS)) for term in spec.split(" + ")), rel=1e-6
    )


def test_a_sum_of_soft_and_hard_targets_of_probabilities():
    one_hot, p = np.eye(3, dtype="float32")[LABELS], keras.ops.softmax(LOGITS)
    loss = parse("dice + lovasz", "multiclass", from_logits=False)
    assert number(loss(one_hot, p)) == pytest.approx(expected("dice") + expected("lovasz"), rel=1e-5)
    tasks = CrossEntropyLoss("multiclass") + DiceLoss("multilabel")
    parts = number(CrossEntropyLoss("multiclass")(one_hot, LOGITS)) + number(DiceLoss("multilabel")(one_hot, LOGITS))
    assert number(tasks(one_hot, LOGITS)) == pytest.approx(parts, rel=1e-6)


def test_sums_of_boxes_and_sums_in_sums():
    boxes = np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 2.0]])
    value = number(parse("giou + 0.2*box_l1")(boxes, boxes + 0.5))
    parts = lossmith.numpy.giou(boxes + 0.5, boxes) + 0.2 * lossmith.numpy.box_l1(boxes + 0.5, boxes)
    assert value == pytest.approx(parts, rel=1e-6)
    inner = SumLoss([(2.0, DiceLoss("multiclass"))])
    assert number(SumLoss([(0.5, inner)])(LABELS, LOGITS)) == pytest.approx(expected("dice"), rel=1e-5)
    with pytest.raises(TypeError, match=r"(?m)^the inputs of giou must be none; got \['image'\]$"):
        GIoULoss()(boxes, boxes, image=boxes)
    with pytest.raises(TypeError, match=r"(?m)^an input of dice must be one of \[\]; got 'image'$"):
        DiceLoss("multiclass")(LABELS, LOGITS, image=LOGITS)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"^task must be 'binary', 'multiclass' or 'multilabel'; got 'other'$"):
        DiceLoss("other")
    with pytest.raises(TypeError, match=r"^dice has no parameter smoth; did you mean smooth\?$"):
        DiceLoss("binary", smoth=1.0)
    with pytest.raises(ValueError, match=r"^reduction must be 'mean', which divides by the sum of the weights, "):
        DiceLoss("binary", reduction="sum_over_batch_size")
    with pytest.raises(ValueError, match=r"^y_true must be class indices from 0 to 2; got 3$"):
        DiceLoss("multiclass")(LABELS * 0 + 3, LOGITS)


def test_a_loss_is_described_by_its_config():
    losses = [
        DiceLoss("multiclass", class_weight=[1.0, 2.0, 0.5], classes=(1, 2), name="mine"),
        TopKLoss("binary", k=0.2, loss="focal(gamma=1.0)"),
        GIoULoss(reduction="sum"),
        0.5 * FocalLoss("multiclass", alpha=0.25) + MissingAnnotationLoss("multiclass"),
    ]
    for loss in losses:
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert type(again) is type(loss)
        assert again.spec == loss.spec
        assert again.get_config() == loss.get_config()
    assert losses[0].get_config() == {
        "name": "mine",
        "task": "multiclass",
        "class_weight": (1.0, 2.0, 0.5),
        "classes": (1, 2),
    }
    assert losses[1].spec == "topk(k=0.2, loss=focal(gamma=1.0))"


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_training_and_saving(policy, tmp_path):
    """Batches of 3 and 2 images; the loaded model goes on."""
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(1)
        images = RNG.normal(size=(5, 8, 6, 1)).astype("float32")
        masks = (images[..., 0] > 0).astype("int32") + (images[..., 0] > 1)
        model = compiled(parse("0.5*focal + dice + topk(k=0.5)", "multiclass"))
        losses = model.fit(images, masks, batch_size=3, epochs=4, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        before = model.evaluate(images, masks, batch_size=5, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert isinstance(loaded.loss, SumLoss)
        assert loaded.evaluate(images, masks, batch_size=5, verbose=0) == pytest.approx(before, rel=1e-5)
        if policy == "float32":
            value = model.loss(masks, model.predict(images, verbose=0))
            assert number(value) == pytest.approx(before, rel=1e-5)
        loaded.fit(images[:, :6], masks[:, :6], sample_weight=np.abs(images[:, :6, :, 0]), verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", ["ce", "mse", "dice", "tversky"])
def test_keras_computes_our_loss_where_it_has_one_of_that_name(name):
    images, masks = LOGITS[..., :1], (LABELS > 0)[..., None].astype("int32")
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("adam", loss=parse(name, "binary"))
    value = getattr(lossmith.numpy, name)(images, masks, task="binary", axis=-1)
    assert model.evaluate(images, masks, verbose=0) == pytest.approx(value, rel=1e-5)


def test_distances_are_computed_where_nothing_is_compiled():
    images = RNG.normal(size=(2, 8, 6, 1)).astype("float32")
    masks = (images > 0).astype("int32")
    model = network(1)
    model.compile("adam", loss=parse("boundary + dice", "binary"), jit_compile=NAME == "jax")
    assert np.isfinite(model.fit(images, masks, verbose=0).history["loss"][0])


def test_information():
    p = keras.ops.convert_to_tensor(np.array([0.5, 0.25, 0.25], dtype="float32"))
    assert number(information.entropy(p)) == pytest.approx(1.5)
    assert number(information.kl_divergence(p, p)) == 0


def test_importing_loads_no_other_framework():
    """Keras itself looks at whether JAX is there."""
    code = (
        "import keras, sys; before = set(sys.modules); import lossmith.keras; print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert {"torch", "jax", "tensorflow"} & set(found.stdout.split()) == set()
    assert "lossmith.keras" in found.stdout.split()


@pytest.mark.skipif(NAME != "torch", reason="another backend has no engine of PyTorch")
def test_on_pytorch_the_engine_is_used(monkeypatch):
    """Which takes large batches block by block, or by compiled code."""
    from lossmith.torch import engine

    calls = []
    values = engine.values
    monkeypatch.setattr(engine, "values", lambda *given: calls.append(given) or values(*given))
    y_pred = np.zeros((2, 4, 4, 3), np.float32)
    parse("dice + ce", "multiclass")(np.zeros((2, 4, 4), np.int64), y_pred)
    assert len(calls) == 2
