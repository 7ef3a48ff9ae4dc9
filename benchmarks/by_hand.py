"""Losses written by hand in JAX, TensorFlow and PyTorch, and the times of ours beside them; see frameworks.py.

KERAS_BACKEND=jax by_hand.py "Keras on JAX" binary 2.0 2 64 64 1    # prints loss, mode, ours and theirs in ms
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from frameworks import LOSSES, MODES

GAMMA = 2.0
Run = Callable[[], object]
Loss = Callable[[Any, Any], Any]  # of logits and labels


def in_jax(task: str) -> dict[str, Loss]:
    """As one would write them."""
    import jax
    from jax import numpy as jnp

    def minus_log_p(logits: Any, labels: Any) -> Any:
        if task == "binary":
            return jax.nn.relu(logits) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))
        return -jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), labels[..., None], axis=-1)

    def focal(logits: Any, labels: Any) -> Any:
        loss = minus_log_p(logits, labels)
        return ((1 - jnp.exp(-loss)) ** GAMMA * loss).mean()

    def dice(logits: Any, labels: Any) -> Any:
        if task == "binary":
            p, t = jax.nn.sigmoid(logits), labels
        else:
            p, t = jax.nn.softmax(logits, axis=-1), jax.nn.one_hot(labels, logits.shape[-1])
        return (1 - 2 * (p * t).sum((1, 2)) / (p + t).sum((1, 2))).mean()

    return _sums(lambda logits, labels: minus_log_p(logits, labels).mean(), focal, dice)


def in_tensorflow(task: str) -> dict[str, Loss]:
    """As one would write them."""
    import tensorflow as tf

    def minus_log_p(logits: Any, labels: Any) -> Any:
        if task == "binary":
            return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    def focal(logits: Any, labels: Any) -> Any:
        loss = minus_log_p(logits, labels)
        return tf.reduce_mean((1 - tf.exp(-loss)) ** GAMMA * loss)

    def dice(logits: Any, labels: Any) -> Any:
        if task == "binary":
            p, t = tf.sigmoid(logits), labels
        else:
            p, t = tf.nn.softmax(logits), tf.one_hot(labels, logits.shape[-1])
        return tf.reduce_mean(1 - 2 * tf.reduce_sum(p * t, (1, 2)) / tf.reduce_sum(p + t, (1, 2)))

    return _sums(lambda logits, labels: tf.reduce_mean(minus_log_p(logits, labels)), focal, dice)


def in_torch(task: str) -> dict[str, Loss]:
    """As one would write them."""
    from torch.nn import functional as F

    def minus_log_p(logits: Any, labels: Any, reduction: str = "none") -> Any:
        if task == "binary":
            return F.binary_cross_entropy_with_logits(logits, labels, reduction=reduction)
        return F.cross_entropy(logits.movedim(-1, 1), labels, reduction=reduction)

    def focal(logits: Any, labels: Any) -> Any:
        loss = minus_log_p(logits, labels)
        return ((1 - (-loss).exp()) ** GAMMA * loss).mean()

    def dice(logits: Any, labels: Any) -> Any:
        if task == "binary":
            p, t = logits.sigmoid(), labels
        else:
            p, t = logits.softmax(-1), F.one_hot(labels, logits.shape[-1]).to(logits.dtype)
        return (1 - 2 * (p * t).sum((1, 2)) / (p + t).sum((1, 2))).mean()

    return _sums(partial(minus_log_p, reduction="mean"), focal, dice)


def _sums(ce: Loss, focal: Loss, dice: Loss) -> dict[str, Loss]:
    both = "ce + dice"
    return {"ce": ce, "focal": focal, "dice": dice, both: lambda x, t: ce(x, t) + dice(x, t)}


def ours(framework: str, name: str, task: str) -> Loss:
    """The loss of this library."""
    if framework == "JAX":
        import lossmith.jax

        return lossmith.jax.parse(name, task, axis=-1)
    import lossmith.keras

    loss = lossmith.keras.parse(name, task)
    return lambda logits, labels: loss(labels, logits)


def runner(framework: str, mode: str, loss: Loss, logits: np.ndarray, labels: np.ndarray) -> Run:
    """Value and gradient, to be called without arguments."""
    if framework == "Keras on TensorFlow":
        return _by_tensorflow(mode, loss, logits, labels)
    if framework == "Keras on PyTorch":
        import torch

        leaf, truth = torch.tensor(logits, requires_grad=True), torch.tensor(labels)
        return lambda: torch.autograd.grad(loss(leaf, truth), leaf)
    import jax
    from jax import numpy as jnp

    step = jax.value_and_grad(loss)
    step, arrays = jax.jit(step) if mode == "jit" else step, (jnp.asarray(logits), jnp.asarray(labels))
    return lambda: jax.block_until_ready(step(*arrays))


def _by_tensorflow(mode: str, loss: Loss, logits: np.ndarray, labels: np.ndarray) -> Run:
    import tensorflow as tf

    def step(logits: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(logits, labels)
        return value, tape.gradient(value, logits)

    made = step if mode == "eager" else tf.function(step, jit_compile=mode == "XLA")
    tensors = tf.constant(logits), tf.constant(labels)
    return lambda: made(*tensors)[1].numpy()


def best(ours: Run, theirs: Run, seconds: float) -> tuple[float, float]:
    """The least time of each, measured in turn, in milliseconds."""
    for _ in range(2):  # compiled
        ours(), theirs()
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[1]) < 3:
        for run, taken in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            run()
            taken.append(1e3 * (time.perf_counter() - start))
    return min(times[0]), min(times[1])


def main(framework: str, task: str, seconds: str, *shape: str) -> None:
    """Print the times of every loss in every mode."""
    size, rng = tuple(map(int, shape)), np.random.default_rng(0)
    logits = rng.normal(size=size).astype(np.float32)
    labels = (rng.random(size) < 0.3).astype(np.float32) if task == "binary" else rng.integers(0, size[-1], size[:-1])
    made = {"Keras on TensorFlow": in_tensorflow, "Keras on PyTorch": in_torch}.get(framework, in_jax)(task)
    for name in LOSSES:
        for mode in MODES[framework]:
            runs = [runner(framework, mode, f, logits, labels) for f in (ours(framework, name, task), made[name])]
            mine, other = best(runs[0], runs[1], float(seconds))
            print(name, mode, f"{mine:.4f}", f"{other:.4f}", sep="\t", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
