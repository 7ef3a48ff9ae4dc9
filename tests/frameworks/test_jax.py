"""The JAX face against NumPy's values and torch's gradients, inside of `jit`, `grad` and `vmap`.

Each test compiles one function that holds all of what it looks at: compiling is what takes the time.
"""

import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest
from jax import numpy as jnp

import lossmith.jax
from faces import TASKS, Call, boxes, call, direction
from lossmith.core import face
from lossmith.core.catalogue import BOXES, CATALOGUE
from lossmith.core.namespaces.jax import _compiled
from lossmith.jax import ce, dice, focal, information, missing, parse, wce
from parity import IN_LITTLE_TIME, ROWS, hold

EVERYTHING = "ignore weight class_weight"
SINGLE = [(name, record.tasks[0]) for name, record in CATALOGUE.items()]


def arrays_of(given: Call, dtype=np.float32):
    """The arrays of a call, floating ones in `dtype`: positional ones, and inputs by name."""

    def array(x):
        return None if x is None else jnp.asarray(x, dtype if x.dtype.kind == "f" else None)

    return [array(x) for x in given.arrays], {name: array(x) for name, x in given.inputs.items()}


def compiled(given: Call, dtype=np.float32, *, samples: bool = False):
    """Values of the reductions, the gradients of "mean" and "none", and those of each sample by itself."""
    (logits, *rest), inputs = arrays_of(given, dtype)
    function = getattr(lossmith.jax, given.name)

    def value(logits, rest, inputs, reduction):
        return function(logits, *rest, **inputs, **{**given.parameters, "reduction": reduction})

    def toward(logits, rest, inputs):
        terms = value(logits, rest, inputs, "none")
        return (terms * jnp.asarray(direction(terms.shape), terms.dtype)).sum()

    def alone(logits, rest, inputs):
        logits, rest, inputs = jax.tree.map(lambda x: x[None], (logits, rest, inputs))
        return value(logits, rest, inputs, "mean")

    def everything(logits, rest, inputs):
        mean, gradient = jax.value_and_grad(partial(value, reduction="mean"))(logits, rest, inputs)
        found = {"mean": mean, "gradient": gradient}
        if samples:
            return found | {"samples": jax.vmap(jax.grad(alone))(logits, rest, inputs)}
        found["sum"] = value(logits, rest, inputs, "sum")
        found["none"], found["gradient of none"] = (
            value(logits, rest, inputs, "none"),
            jax.grad(toward)(logits, rest, inputs),
        )
        return found

    return {name: np.asarray(x) for name, x in jax.jit(everything)(logits, rest, inputs).items()}


def agree(got, expected, tolerance, said):
    scale = np.abs(expected).max(initial=1e-3)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale, err_msg=said)


def check(given: Call, dtype, tolerance: float) -> None:
    found = compiled(given, dtype)
    for reduction in ("mean", "sum", "none"):
        agree(found[reduction], given.numpy(reduction=reduction), tolerance, reduction)
    agree(found["gradient"], given.torch()[1], 5 * tolerance, "gradient")
    agree(found["gradient of none"], given.torch(reduction="none")[1], 5 * tolerance, "gradient of none")


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_every_reduction_with_weights_and_ignored_pixels(name, task):
    check(call(name, task, EVERYTHING), np.float32, 2e-5)


def value_and_gradient(given: Call, dtype: str):
    """In one compiled function."""
    wide = dtype if dtype == "float64" else "float32"
    with jax.enable_x64(dtype == "float64"):
        (logits, *rest), inputs = arrays_of(given, wide)
        function = partial(getattr(lossmith.jax, given.name), **given.parameters)

        def both(logits, rest, inputs):
            found, back = jax.vjp(lambda logits: function(logits, *rest, **inputs), logits)
            return found, back(jnp.asarray(direction(found.shape), found.dtype))[0]

        arrays = logits.astype(dtype), rest, inputs
        compiled = jax.jit(both).lower(*arrays).compile(compiler_options=IN_LITTLE_TIME)
        return [np.asarray(x, np.float64) for x in compiled(*arrays)]


@pytest.mark.parametrize(("name", "task"), ROWS)
def test_parity(name, task):
    hold(name, task, value_and_gradient, part=16)


@pytest.mark.parametrize(("name", "task"), SINGLE)
def test_gradients_of_samples(name, task):
    given = call(name, task, "weight")
    found = compiled(given, samples=True)
    agree(found["mean"], given.numpy(), 2e-5, "mean")
    for i in range(len(given.logits)):
        arrays = [x if x is None else x[i : i + 1] for x in given.arrays]
        inputs = {key: x[i : i + 1] for key, x in given.inputs.items()}
        expected = Call(name, *arrays, inputs, given.parameters).torch()[1]
        agree(found["samples"][i : i + 1], expected, 1e-4, f"sample {i}")


@pytest.mark.parametrize("name", BOXES)
def test_boxes(name):
    given = boxes(name)
    (pred, *rest), _ = arrays_of(given)

    def value(pred, reduction):
        return getattr(lossmith.jax, name)(pred, *rest, **{**given.parameters, "reduction": reduction})

    def everything(pred):
        one = partial(value, reduction="mean")
        return {"mean": one(pred), "gradient": jax.grad(one)(pred), "none": value(pred, "none")}

    found = jax.jit(everything)(pred)
    for reduction in ("mean", "none"):
        agree(found[reduction], boxes(name, reduction=reduction).numpy(), 2e-5, reduction)
    agree(found["gradient"], given.torch()[1], 1e-4, "gradient")


LOGITS, TARGET = jnp.array([[[0.5, -1.0], [0.0, 2.0]]]), jnp.array([[0, 1]])


def test_a_value_outside_of_a_trace_is_looked_at():
    with pytest.raises(ValueError, match=r"^target must be class indices from 0 to 1; got 2$"):
        dice(LOGITS, TARGET + 1, task="multiclass")
    with pytest.raises(ValueError, match=r"^weight must be finite and >= 0 everywhere; got other values$"):
        dice(LOGITS, TARGET, -jnp.ones((1, 2)), task="multiclass")


def test_a_bad_value_is_seen_under_grad():
    with pytest.raises(ValueError, match=r"^target must be class indices from 0 to 1; got 2"):
        jax.grad(partial(dice, task="multiclass"))(LOGITS, TARGET + 1)


def test_a_loss_of_nan_logits_is_nan():
    assert np.isnan(dice(LOGITS * jnp.nan, TARGET, task="multiclass"))


def test_a_bad_value_in_a_trace_makes_the_loss_nan():
    loss = jax.jit(partial(dice, task="multiclass"))
    assert np.isfinite(loss(LOGITS, TARGET))
    assert np.isnan(loss(LOGITS, TARGET + 1))
    assert np.isnan(loss(LOGITS, TARGET, -jnp.ones((1, 2))))
    assert np.isnan(jax.jit(information.entropy)(jnp.array([0.5, 0.6])))


def test_ignored_pixels_have_no_gradient():
    loss = partial(focal, task="multiclass", ignore_index=255)
    gradient = jax.jit(jax.grad(loss))(LOGITS, jnp.array([[0, 255]]))
    assert (np.asarray(gradient)[..., 1] == 0).all()
    assert (np.asarray(gradient)[..., 0] != 0).all()


def test_a_batch_without_counted_pixels_costs_nothing():
    loss = partial(dice, task="multiclass", ignore_index=255)
    value, gradient = jax.jit(jax.value_and_grad(loss))(LOGITS, jnp.full((1, 2), 255))
    assert value == 0
    assert (np.asarray(gradient) == 0).all()


def test_half_precision_is_computed_in_float32():
    for dtype in (jnp.bfloat16, jnp.float16):
        value = jax.jit(partial(dice, task="multiclass"))(LOGITS.astype(dtype), TARGET)
        assert value.dtype == jnp.float32
        assert value == dice(LOGITS, TARGET, task="multiclass")


def test_tables_by_class_are_constants_of_the_trace():
    weighted = jax.jit(partial(focal, task="multiclass", class_weight=[1.0, 3.0], alpha=np.array([0.25, 0.75])))
    assert np.isfinite(weighted(LOGITS, TARGET))
    counted = jax.jit(partial(wce, task="multiclass", balance="inverse", counts=[[10, 20], [5, 20]]))
    assert np.isfinite(counted(LOGITS, TARGET))


def test_the_class_axis_may_be_the_last():
    loss = jax.jit(partial(missing, task="multiclass", axis=-1))
    assert loss(jnp.moveaxis(LOGITS, 1, -1), TARGET) == missing(LOGITS, TARGET, task="multiclass")


def test_second_derivatives():
    def bend(logits):
        return jax.hessian(partial(dice, task="multiclass"))(logits, TARGET)

    found = np.asarray(jax.jit(bend)(LOGITS)).reshape(4, 4)
    assert np.abs(found).max() > 1e-3
    np.testing.assert_allclose(found, found.T, atol=1e-6)


def test_sums():
    loss = parse("0.5*ce + dice(smooth=1.0)", "multiclass")
    parts = 0.5 * ce(LOGITS, TARGET, task="multiclass") + dice(LOGITS, TARGET, task="multiclass", smooth=1.0)
    assert float(loss(LOGITS, TARGET)) == pytest.approx(float(parts), rel=1e-6)
    gradient = jax.vmap(jax.grad(lambda x, t: loss(x[None], t[None])))(LOGITS, TARGET)
    np.testing.assert_allclose(gradient, jax.jit(jax.grad(loss))(LOGITS, TARGET), rtol=1e-5)
    with pytest.raises(ValueError, match=r"^target must be class indices from 0 to 1; got 2$"):
        loss(LOGITS, TARGET + 1)
    last = parse("2*ce + wce(balance='inverse', counts=((10, 20), (5, 20)))", "multiclass", axis=-1, ignore_index=255)
    first = parse("2*ce + wce(balance='inverse', counts=((10, 20), (5, 20)))", "multiclass", ignore_index=255)
    target = jnp.array([[0, 255]])
    assert float(last(jnp.moveaxis(LOGITS, 1, -1), target)) == pytest.approx(float(first(LOGITS, target)), rel=1e-6)
    boxes = jnp.array([[0.0, 0.0, 2.0, 2.0]])
    assert float(parse("giou + 0.5*box_l1")(boxes, boxes + 1)) == pytest.approx(
        float(lossmith.jax.giou(boxes, boxes + 1) + 0.5 * lossmith.jax.box_l1(boxes, boxes + 1)), rel=1e-6
    )


def test_a_function_is_made_once():
    """Whoever calls it again finds it compiled, however the parameters are written."""
    _compiled.cache_clear()
    for gamma in (1.5, np.float64(1.5), np.array(1.5)):
        focal(LOGITS, TARGET, task="multiclass", gamma=gamma)
    assert _compiled.cache_info().currsize == 1
    focal(LOGITS, TARGET, task="multiclass", gamma=2.5)
    focal(LOGITS, TARGET, task="multiclass", gamma=2.5, axis=-1)
    focal(LOGITS, TARGET[:, None] + jnp.zeros((1, 2, 1)), task="multilabel", gamma=2.5)
    assert _compiled.cache_info().currsize == 4


def test_the_second_call_computes_nothing_anew(monkeypatch):
    """Neither traced nor operation by operation; that is for a NaN."""
    times, receive = [], face.receive
    monkeypatch.setattr(face, "receive", lambda *given, **named: times.append(named) or receive(*given, **named))
    for expected in (1, 1, 1):
        dice(LOGITS, TARGET, task="multiclass", smooth=0.123)
        assert len(times) == expected
    assert np.isnan(dice(LOGITS * jnp.nan, TARGET, task="multiclass", smooth=0.123))
    assert len(times) == 2


def test_importing_loads_jax_alone():
    code = "import lossmith.jax, sys; print(*[n for n in ('torch', 'keras', 'tensorflow') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
