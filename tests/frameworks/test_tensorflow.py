"""Every row on TensorFlow by the Keras face: in graphs of which only the classes are known, eager, and under XLA."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from last import agree, channels_first, channels_last, loss_of

from faces import TASKS, boxes, call
from lossmith.core.catalogue import BOXES, CATALOGUE
from lossmith.keras import BoundaryLoss, DiceLoss

if keras.backend.backend() != "tensorflow":
    pytest.skip("Keras is on another backend", allow_module_level=True)
import tensorflow as tf

ON_THE_CPU = {"boundary", "hausdorff", "cbdice", "skeleton_recall"}  # distances and skeletons: XLA has no way to them
UNDER_XLA = [  # each row with one of its tasks, in turn
    (name, record.tasks[n % len(record.tasks)])
    for n, (name, record) in enumerate(CATALOGUE.items())
    if name not in ON_THE_CPU
]


def tensors_of(given, dtype):
    """y_true, y_pred, sample_weight and the inputs by name."""

    def tensor(x):
        if x is None:
            return None
        return tf.constant(channels_last(x), dtype if x.dtype.kind == "f" else None)

    y_pred, y_true, weight = map(tensor, given.arrays)
    return (y_true, y_pred, weight), {name: tensor(x) for name, x in given.inputs.items()}


def unknown(x, *, classes):
    """What a graph is told of a tensor: dtype and number of axes, and how many classes there are."""
    shape = [None] * len(x.shape)
    if classes:
        shape[-1] = x.shape[-1]
    return tf.TensorSpec(shape, x.dtype)


def mean_and_gradient(loss, y_true, y_pred, weight, inputs, toward=None):
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred, weight, **inputs)
    return value, tape.gradient(value, y_pred, output_gradients=toward)


def in_a_graph(given, dtype, *, maps=True, **options):
    """Everything that is looked at, by one graph."""
    (y_true, y_pred, weight), inputs = tensors_of(given, dtype)
    losses = {reduction: loss_of(given, reduction=reduction) for reduction in ("mean", "none")}
    specs = [None if x is None else unknown(x, classes=x.shape == y_pred.shape) for x in (y_true, y_pred, weight)]
    more = {name: unknown(x, classes=True) for name, x in inputs.items()}

    @tf.function(input_signature=[*specs, more], **options)
    def everything(y_true, y_pred, weight, inputs):
        mean, gradient = mean_and_gradient(losses["mean"], y_true, y_pred, weight, inputs)
        found = {"mean": mean, "gradient": gradient}
        if maps:
            found["none"] = losses["none"](y_true, y_pred, weight, **inputs)
        return found

    return {name: x.numpy() for name, x in everything(y_true, y_pred, weight, inputs).items()}


def check(given, found, tolerance):
    for reduction in [name for name in found if name != "gradient"]:
        agree(channels_first(found[reduction]), given.numpy(reduction=reduction), tolerance, reduction)
    agree(channels_first(found["gradient"]), given.torch()[1], 5 * tolerance, "gradient")


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_a_graph_that_knows_no_sizes(name, task):
    given = call(name, task, "ignore weight class_weight")
    check(given, in_a_graph(given, tf.float32), 2e-5)


@pytest.mark.parametrize(("name", "task"), UNDER_XLA)
def test_xla(name, task):
    given = call(name, task, "soft weight" if task == "binary" else "ignore weight")
    check(given, in_a_graph(given, tf.float32, maps=False, jit_compile=True), 2e-5)


def test_xla_takes_no_distances():
    given = call("boundary", "multiclass", "weight")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"PyFunc"):
        in_a_graph(given, tf.float32, maps=False, jit_compile=True)
    check(given, in_a_graph(given, tf.float32, maps=False), 2e-5)


@pytest.mark.parametrize("name", BOXES)
def test_boxes(name):
    given = boxes(name)
    (y_true, y_pred, weight), _ = tensors_of(given, tf.float64)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float64)] * 2 + [tf.TensorSpec([None], tf.float64)])
    def graph(y_true, y_pred, weight):
        return mean_and_gradient(loss_of(given), y_true, y_pred, weight, {})

    value, gradient = graph(y_true, y_pred, weight)
    agree(value.numpy(), given.numpy(), 1e-12, "graph")
    agree(gradient.numpy(), given.torch()[1], 1e-11, "gradient")
    agree(loss_of(given)(y_true, y_pred, weight).numpy(), given.numpy(), 1e-12, "eager")
    every = loss_of(given, reduction="none")(y_true, y_pred, weight)
    agree(every.numpy(), given.numpy(reduction="none"), 1e-12, "none")


def test_bad_values_make_the_loss_of_a_graph_nan():
    loss = DiceLoss("multiclass")
    graph = tf.function(lambda *given: loss(*given))
    y_true, y_pred, weight = np.array([[0, 1]]), np.zeros((1, 2, 2), np.float32), np.ones((1, 2), np.float32)
    assert np.isfinite(graph(y_true, y_pred, weight))
    assert np.isnan(graph(y_true + 1, y_pred, weight))
    assert np.isnan(graph(y_true + 0.5, y_pred, weight))
    assert np.isnan(graph(y_true, y_pred, -weight))


def test_a_graph_without_pixels():
    loss = DiceLoss("multiclass")
    spec = [tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None, None, 2], tf.float32)]
    assert tf.function(loss, input_signature=spec)(np.zeros((0, 2), np.int64), np.zeros((0, 2, 2), np.float32)) == 0


def test_the_number_of_classes_must_be_known():
    spec = [tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None, None, None], tf.float32)]
    text = r"the number of classes, the last axis of y_pred, must be known before the graph runs; got \(\?, \?, \?\)"
    with pytest.raises(ValueError, match=text):
        tf.function(DiceLoss("multiclass"), input_signature=spec).get_concrete_function()


def test_lengths_that_differ_are_seen_when_the_graph_runs():
    spec = [tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None, None, 2], tf.float32)]
    graph = tf.function(DiceLoss("multiclass"), input_signature=spec)
    with pytest.raises(tf.errors.InvalidArgumentError):
        graph(np.zeros((1, 3), np.int64), np.zeros((1, 2, 2), np.float32))


SHARED = """
import keras, numpy as np, tensorflow as tf
from lossmith.keras import parse
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
images = np.linspace(-1, 2, 24).reshape(4, 6, 1).astype("float32")
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    with strategy.scope():
        model = keras.Sequential([keras.Input((6, 1)), keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(keras.optimizers.SGD(1.0), loss=parse("ce + 0.5*focal", "binary"), jit_compile=False)
    model.fit(images, (images > 0).astype("int32"), batch_size=4, shuffle=False, verbose=0)
    print(*np.ravel(model.get_weights()[0]))
"""


def test_replicas_share_a_batch():
    found = subprocess.run([sys.executable, "-c", SHARED], capture_output=True, text=True, check=True).stdout.split()
    assert float(found[0]) == pytest.approx(float(found[1]), rel=1e-5)


def test_a_map_for_another_row_is_not_left_out():
    """BoundaryLoss takes a map made beforehand; no other loss of the sum does."""
    loss = BoundaryLoss("binary") + DiceLoss("binary")
    y_true, y_pred = np.array([[[0], [1], [1]]]), np.zeros((1, 3, 1))
    phi = np.array([[[1.0], [-1.0], [-2.0]]])
    assert float(loss(y_true, y_pred, distance=phi)) == pytest.approx(float(loss(y_true, y_pred)))
    with pytest.raises(TypeError, match=r"^an input of a sum must be one that a loss of it takes; got 'image'$"):
        loss(y_true, y_pred, image=phi)
