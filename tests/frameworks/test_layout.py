"""An array of TensorFlow that has its classes last in memory, beside the same one that has them on axis 1."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("Keras is on another backend", allow_module_level=True)
import tensorflow as tf

from lossmith.core.namespaces.tensorflow import Tensor, xp

SHAPE = (2, 3, 4, 5)  # images, classes and two axes of space, as the definitions see them
VALUES = np.random.default_rng(2).normal(size=SHAPE).astype("float32")


def plain(values=VALUES):
    return Tensor(tf.constant(values))


def moved(values=VALUES):
    """The same array, of a tensor with its classes last."""
    axes = values.ndim
    array = xp.permute_dims(Tensor(tf.constant(np.moveaxis(values, 1, -1))), (0, axes - 1, *range(1, axes - 1)))
    assert array.last
    return array


PIXELS = VALUES.reshape(2, 3, 20)
ONE = np.abs(VALUES[:, :1]) + 0.5  # a number for each pixel
INDEX = np.abs(VALUES[:, 0] * 10).astype("int64") % 3
STAY = {  # operations whose result has its classes where its operand has them
    "with a number": lambda x: 2.0 - x / 3.0 * 0.5 + 1.0,
    "with a length": lambda x: x / x.shape[2] * x.shape[3],
    "power": lambda x: x**2 + abs_of(x) ** 1.5,
    "sign": lambda x: -x,
    "compared": lambda x: ~((x > 0.2) & (x <= 1.0)) | (x == 0.0) | (x != x),
    "exp": xp.exp,
    "sigmoid": lambda x: xp.log_sigmoid(xp.relu(x)) + xp.sigmoid(x),
    "softmax": lambda x: xp.softmax(x, axis=1),
    "log_softmax": lambda x: xp.log_softmax(x, axis=1),
    "softmax over space": lambda x: xp.softmax(x, axis=-1) - xp.log_softmax(x, axis=2),
    "where": lambda x: xp.where(x > 0, x, xp.zeros_like(x) - 1.0) + xp.where(x > 0.5, 2.0, x),
    "extremes": lambda x: xp.minimum(x, xp.ones_like(x)) + xp.maximum(x, 0.1) + xp.maximum(x, xp.exp(x)),
    "with a map of pixels": lambda x: x * plain(ONE) - plain(ONE) / x,
    "with an array of the other kind": lambda x: plain(VALUES**2) * x + x * plain(VALUES**2),
    "with a table": lambda x: x + plain(VALUES[:1, :, :1, :1]) + Tensor(tf.constant(1.5)),
    "pixels": lambda x: xp.reshape(x, (2, 3, 20)),
    "pixels and back": lambda x: xp.reshape(xp.reshape(x, (2, 3, 20)), SHAPE),
    "kept axis": lambda x: xp.sum(x, axis=1, keepdims=True) * xp.amax(x, axis=0, keepdims=True),
    "kept space": lambda x: xp.mean(x, axis=3, keepdims=True),
    "sum over an axis of space": lambda x: xp.sum(x, axis=2) + xp.sum(xp.permute_dims(x, (0, 1, 3, 2)), axis=-1),
    "slices": lambda x: x[:, :1, 1:, :] + x[1:, 2:3, :3, :],
    "slices of some axes": lambda x: x[:, 1:, ...] * x[:, :2] + x[..., :][:1, 1:, ..., 2:3],
    "dtypes": lambda x: xp.astype(xp.integers(x * 5.0), x) + xp.wide(xp.astype(x, Tensor(tf.constant(0, tf.bfloat16)))),
    "one_hot": lambda x: xp.one_hot(Tensor(tf.constant(INDEX)), 3, x) * x,
}
LEAVE = {
    "sum over pixels": lambda x: xp.sum(xp.reshape(x, (2, 3, 20)), axis=2),
    "sum over classes": lambda x: xp.sum(x, axis=1),
    "sum over images": lambda x: xp.sum(x, axis=0),
    "sum over many": lambda x: xp.sum(x, axis=(2, 3)),
    "sum of all": lambda x: xp.sum(x) + xp.sum(x, axis=None),
    "sum of all, kept": lambda x: xp.sum(x, keepdims=True),
    "any": lambda x: xp.any(x > 2.0),
    "argmax": lambda x: xp.argmax(x, axis=1),
    "argmax over space": lambda x: xp.argmax(x, axis=3),
    "a class": lambda x: x[:, 1, :, :],
    "an image": lambda x: x[0],
    "some axes": lambda x: x[1:, :2],
    "an ellipsis": lambda x: x[..., 0],
    "a class of some axes": lambda x: x[:, 1, ...] + x[:1, 2],
    "indices in many places": lambda x: x[0, 1, :, 2],
    "rows": lambda x: xp.reshape(xp.permute_dims(xp.reshape(x, (2, 3, 20)), (1, 0, 2)), (3, 40)),
    "one row": lambda x: xp.reshape(x, (1, -1)),
    "other axes": lambda x: xp.permute_dims(x, (3, 1, 0, 2)),
    "classes last": lambda x: xp.permute_dims(x, (0, 2, 3, 1)),
    "truth": lambda x: xp.take_along_axis(x, xp.expand_dims(Tensor(tf.constant(INDEX)), axis=1), axis=1),
    "truth of log_softmax": lambda x: xp.take_along_axis(
        xp.log_softmax(x, axis=1), xp.expand_dims(Tensor(tf.constant(INDEX)), axis=1), axis=1
    ),
    "with fewer axes": lambda x: x + plain(VALUES[0, 0]),
    "stacked": lambda x: xp.stack([x, plain()]),
    "joined": lambda x: xp.concat([x, plain()], axis=1),
    "padded": lambda x: xp.pad(x, 1),
    "lines": lambda x: xp.line_max(x, axis=2) + xp.line_min(x, axis=3),
    "sorted": lambda x: xp.argsort_descending(x),
}


def abs_of(x):
    return xp.abs(x)


def array_of(x):
    return x.values.numpy()


@pytest.mark.parametrize("name", [*STAY, *LEAVE])
def test_the_result_does_not_depend_on_where_the_classes_are(name):
    f = (STAY | LEAVE)[name]
    expected, got = f(plain()), f(moved())
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(array_of(got), array_of(expected), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", STAY)
def test_what_has_classes_keeps_them_last(name):
    """So nothing was moved in memory, on the way from logits that come like that to sums."""
    assert STAY[name](moved()).last


@pytest.mark.parametrize("name", ["sum over pixels", "classes last", "argmax", "a class"])
def test_nothing_is_moved_for_the_sums(name):
    graph = tf.function(lambda held: LEAVE[name](xp.permute_dims(Tensor(held), (0, 3, 1, 2))).values)
    traced = graph.get_concrete_function(tf.TensorSpec((2, 4, 5, 3), tf.float32))
    assert "Transpose" not in {operation.type for operation in traced.graph.get_operations()}


def test_unknown_lengths():
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def graph(held):
        x = xp.permute_dims(Tensor(held), (0, 3, 1, 2))
        pixels = xp.reshape(x, (x.shape[0], x.shape[1], x.shape[2] * x.shape[3]))
        assert x.last
        assert pixels.last
        return pixels.values, xp.reshape(pixels, x.shape).values

    flat, back = graph(np.moveaxis(VALUES, 1, -1))
    np.testing.assert_array_equal(flat, PIXELS)
    np.testing.assert_array_equal(back, VALUES)


def test_gradients_and_second_derivatives_of_the_truth():
    """By the kernel for them, against those of the log-softmax that is not told what is done with it."""
    index = xp.expand_dims(Tensor(tf.constant(INDEX)), axis=1)

    def derivatives(forget):
        held = tf.constant(np.moveaxis(VALUES, 1, -1))
        with tf.GradientTape() as outer:
            outer.watch(held)
            with tf.GradientTape() as inner:
                inner.watch(held)
                log_p = xp.log_softmax(xp.permute_dims(Tensor(held), (0, 3, 1, 2)), axis=1)
                log_p.scores = None if forget else log_p.scores
                total = tf.reduce_sum(tf.sin(xp.take_along_axis(log_p, index, axis=1).values))
            first = inner.gradient(total, held)
            bend = tf.reduce_sum(first * tf.cos(held))
        return first, outer.gradient(bend, held)

    for got, expected in zip(derivatives(False), derivatives(True), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
