"""At ties the values are those of NumPy; gradients are one of those that are right, and for most rows that of torch."""

import jax
import keras
import numpy as np
import pytest
from jax import numpy as jnp
from last import channels_first, channels_last, loss_of

if keras.backend.backend() != "tensorflow":
    pytest.skip("Keras is on another backend", allow_module_level=True)
import tensorflow as tf

from lossmith.core.catalogue import CATALOGUE
from lossmith.core.face import choose
from lossmith.core.functions import loss_of as function_of
from lossmith.core.namespaces.jax import xp
from ties import GRADIENTS_DIFFER, tied

ROWS = [(name, record.tasks[-1], "rounded") for name, record in CATALOGUE.items()]
ROWS += [(name, "multiclass", "equal") for name in GRADIENTS_DIFFER if "multiclass" in CATALOGUE[name].tasks]


def narrow(x):
    return x.astype("float32") if x is not None and x.dtype.kind == "f" else x


def agree(name, given, value, gradient):
    expected, slope = given.numpy(), given.torch()[1]
    assert float(value) == pytest.approx(expected, rel=5e-5, abs=5e-8)
    assert np.isfinite(gradient).all()
    if name not in GRADIENTS_DIFFER:
        np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-3 * max(np.abs(slope).max(), 1e-3))


@pytest.mark.parametrize(("name", "task", "kind"), ROWS)
def test_keras_on_tensorflow(name, task, kind):
    given = tied(name, task, kind)
    y_pred, y_true, weight = (narrow(channels_last(x)) for x in given.arrays)
    inputs = {key: tf.constant(narrow(channels_last(x))) for key, x in given.inputs.items()}
    y_pred = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss_of(given)(y_true, y_pred, weight, **inputs)
    agree(name, given, value, channels_first(tape.gradient(value, y_pred).numpy()))


@pytest.mark.parametrize("name", [*GRADIENTS_DIFFER, "ce", "dice", "l1", "hausdorff", "structure"])
def test_jax(name):
    given = tied(name, CATALOGUE[name].tasks[-1], "rounded")
    logits, target, weight = (None if x is None else jnp.asarray(narrow(x)) for x in given.arrays)
    inputs = {key: jnp.asarray(narrow(x)) for key, x in given.inputs.items()}
    parameters = {key: value for key, value in given.parameters.items() if key != "task"}
    loss = function_of(xp, ((1.0, choose(CATALOGUE[name], given.parameters["task"], parameters)),), 1)
    value, gradient = jax.value_and_grad(lambda logits: loss(logits, target, weight, inputs))(logits)
    agree(name, given, value, np.asarray(gradient))
