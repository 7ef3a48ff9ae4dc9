"""What a loss costs beside one written by hand in the same framework: value and gradient, ours over theirs.

    .venv-frameworks/bin/python benchmarks/frameworks.py [--quick]

JAX under `jit` and without, Keras on TensorFlow in `tf.function`, without and with XLA. Both are measured in turn, the
best of many rounds counts. The environment is that of `make test-frameworks`.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import keras
import numpy as np
import tensorflow as tf
from jax import numpy as jnp

import lossmith.jax
import lossmith.keras

CLASSES, GAMMA = 4, 2.0
SIZES = {"small": (2, 64, 64), "large": (8, 256, 256)}
GOALS = {"jit": 1.2, "tf.function": 1.2, "XLA": 1.2, "eager": 1.3}
Run = Callable[[], object]


def jax_ce(logits, labels):
    log_p = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.take_along_axis(log_p, labels[..., None], axis=-1).mean()


def jax_focal(logits, labels):
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), labels[..., None], axis=-1)
    return -((1 - jnp.exp(log_p)) ** GAMMA * log_p).mean()


def jax_dice(logits, labels):
    p, t = jax.nn.softmax(logits, axis=-1), jax.nn.one_hot(labels, CLASSES)
    overlap, size = (p * t).sum((1, 2)), (p + t).sum((1, 2))
    return (1 - 2 * overlap / size).mean()


def keras_ce(labels, logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def keras_focal(labels, logits):
    minus_log_p = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_mean((1 - tf.exp(-minus_log_p)) ** GAMMA * minus_log_p)


def keras_dice(labels, logits):
    p, t = tf.nn.softmax(logits), tf.one_hot(labels, CLASSES)
    overlap, size = tf.reduce_sum(p * t, (1, 2)), tf.reduce_sum(p + t, (1, 2))
    return tf.reduce_mean(1 - 2 * overlap / size)


def jax_sum(logits, labels):
    return jax_ce(logits, labels) + jax_dice(logits, labels)


def keras_sum(labels, logits):
    return keras_ce(labels, logits) + keras_dice(labels, logits)


LOSSES = {
    "ce": (jax_ce, keras_ce),
    "focal": (jax_focal, keras_focal),
    "dice": (jax_dice, keras_dice),
    "ce + dice": (jax_sum, keras_sum),
}


def pairs(name: str, logits: np.ndarray, labels: np.ndarray) -> dict[tuple[str, str], tuple[Run, Run]]:
    """By framework and mode: ours and theirs, each to be called without arguments."""
    in_jax, in_tf = LOSSES[name]
    ours = lossmith.jax.parse(name, "multiclass", axis=-1)
    found = {}
    arrays = jnp.asarray(logits), jnp.asarray(labels)
    for mode, made in (("jit", jax.jit), ("eager", lambda f: f)):
        steps = [made(jax.value_and_grad(f)) for f in (ours, in_jax)]
        found["JAX", mode] = tuple(lambda step=step: jax.block_until_ready(step(*arrays)) for step in steps)
    tensors = tf.constant(labels, tf.int32), tf.constant(logits)
    modes = (("tf.function", tf.function), ("XLA", partial(tf.function, jit_compile=True)), ("eager", lambda f: f))
    for mode, made in modes:
        steps = [made(_step(f)) for f in (lossmith.keras.parse(name, "multiclass"), in_tf)]
        found["TensorFlow", mode] = tuple(lambda step=step: step(*tensors)[1].numpy() for step in steps)
    return found


def _step(loss):
    def step(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, logits)
        return value, tape.gradient(value, logits)

    return step


def best(ours: Run, theirs: Run, seconds: float) -> tuple[float, float]:
    """The least time of each, measured in turn, in milliseconds."""
    ours(), theirs()  # compiled
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[1]) < 3:
        for run, taken in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            run()
            taken.append(1e3 * (time.perf_counter() - start))
    return min(times[0]), min(times[1])


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--quick", action="store_true", help="the small size, half a second each")
    quick = command.parse_args().quick
    print(f"jax {jax.__version__}, keras {keras.__version__}, tensorflow {tf.__version__}; {os.cpu_count()} cores\n")
    print(
        "| batch | loss | framework | mode | ours, ms | by hand, ms | ratio | goal |\n|---|---|---|---|---|---|---|---|"
    )
    rng = np.random.default_rng(0)
    for size in ("small",) if quick else SIZES:
        logits = rng.normal(size=(*SIZES[size], CLASSES)).astype(np.float32)
        labels = rng.integers(0, CLASSES, SIZES[size])
        shape = "x".join(map(str, logits.shape))
        for name in LOSSES:
            for (framework, mode), runs in pairs(name, logits, labels).items():
                mine, other = best(*runs, 0.5 if quick else 4.0)
                row = (shape, name, framework, mode, f"{mine:.2f}", f"{other:.2f}", f"{mine / other:.2f}", GOALS[mode])
                print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
