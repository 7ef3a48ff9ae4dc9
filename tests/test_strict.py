"""Every definition on array-api-strict, which refuses what some framework gets silently wrong, and on NumPy."""

from dataclasses import replace
from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch

from lossmith.core.face import SharedBatch, choose
from lossmith.core.namespaces.numpy import xp as numpy_namespace
from lossmith.core.namespaces.standard import Standard
from lossmith.torch import Loss, WeightedCrossEntropyLoss
from oracle import Batch
from paths import SEPARABLE
from test_oracle import MODES, TASK_VARIANTS, make_batch, module_of, run

NAMESPACES = {"strict": Standard(array_api_strict), "numpy": numpy_namespace}


def value_on(xp: Any, loss: Loss, batch: Batch) -> np.ndarray:
    chosen = choose(loss.record, batch.task, loss.atom.arguments)
    arrays = (None if x is None else xp.asarray(x) for x in (batch.scores, batch.target, batch.weight))
    return np.asarray(SharedBatch(xp, *arrays).value(chosen))


@pytest.mark.parametrize(("name", "variant", "task"), TASK_VARIANTS)
def test_a_definition_gives_the_value_of_torch(name, variant, task):
    for seed, mode in enumerate(MODES):
        soft = "soft" in mode or mode == "one_hot"
        if not (soft and SEPARABLE[name].hard_targets):
            batch = make_batch(task, mode, seed)
            expected = run(variant, batch)
            for namespace, xp in NAMESPACES.items():
                got = value_on(xp, module_of(variant, batch), batch)
                said = f"{mode}, {namespace}"
                np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14, err_msg=said)


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("name", SEPARABLE)
def test_reductions(name, reduction):
    for task in SEPARABLE[name].tasks:
        batch = make_batch(task, "weight")
        got = value_on(NAMESPACES["strict"], module_of(name, batch, reduction), batch)
        np.testing.assert_allclose(got, run(name, batch, reduction), rtol=1e-12, atol=1e-14, err_msg=task)


@pytest.mark.parametrize("name", SEPARABLE)
def test_images_of_two_axes_and_of_none(name):
    """Space is flattened at the door and put back by "none"."""
    for task in SEPARABLE[name].tasks:
        for space in ((2, 4), ()):
            batch = make_batch(task, "weight", images=3, pixels=8 if space else 1)
            channels = batch.scores.shape[:2]
            shaped = replace(
                batch,
                scores=batch.scores.reshape(*channels, *space),
                target=batch.target.reshape(*batch.target.shape[:-1], *space),
                weight=batch.weight.reshape(*batch.weight.shape[:-1], *space),
            )
            got = value_on(NAMESPACES["strict"], module_of(name, shaped, "none"), shaped)
            expected = run(name, shaped, "none")
            assert got.shape == tuple(expected.shape), task
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14, err_msg=task)


@pytest.mark.parametrize("balance", ["inverse", "median_frequency", "effective_number"])
def test_class_counts_of_a_data_set(balance):
    counts = {
        "binary": [[9, 12], [3, 8]],
        "multiclass": [[9, 12], [3, 8], [0, 0]],
        "multilabel": [[[9, 12], [3, 8]]] * 3,
    }
    for task in SEPARABLE["wce"].tasks:
        batch = make_batch(task, "weight")
        loss = WeightedCrossEntropyLoss(task, balance=balance, counts=counts[task])
        expected = loss(*(torch.from_numpy(x) for x in (batch.scores, batch.target, batch.weight)))
        np.testing.assert_allclose(value_on(NAMESPACES["strict"], loss, batch), expected, rtol=1e-12, err_msg=task)


@pytest.mark.parametrize("name", SEPARABLE)
def test_bool_targets_and_small_integers(name):
    """A bool times a float is what strict is most needed for."""
    task = next(task for task in ("multilabel", "binary", "multiclass") if task in SEPARABLE[name].tasks)
    batch = make_batch(task, "weight")
    expected = run(name, batch)
    for dtype in (bool, np.uint8) if task != "multiclass" else (np.uint8,):
        typed = replace(batch, target=batch.target.astype(dtype))
        got = value_on(NAMESPACES["strict"], module_of(name, typed), typed)
        np.testing.assert_allclose(got, expected, rtol=1e-12, err_msg=str(dtype))


def test_strict_refuses_what_it_is_here_to_refuse():
    xp = array_api_strict
    with pytest.raises(TypeError):
        xp.asarray([0.5]) * xp.asarray([True])
    with pytest.raises(TypeError):
        1 - xp.asarray([True])
