"""Distance maps made beforehand: those of the loss, computed once for a target."""

import pickle
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lossmith.core import distance
from lossmith.data import DistanceMaps
from lossmith.torch import BoundaryLoss, HausdorffDTLoss
from test_oracle import make_batch

IGNORE = 255


@pytest.mark.parametrize("options", [{}, {"shift": True}, {"bounded": True}, {"spacing": [2.0, 0.5]}], ids=str)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_they_are_those_of_the_loss(task, options):
    batch = make_batch(task, "ignore", pixels=30)
    space = (6, 5)
    logits, target = (torch.from_numpy(x.reshape(*x.shape[:-1], *space)) for x in (batch.scores, batch.target))
    target = target[:, 0] if task == "binary" and target.ndim == 4 else target
    maps = DistanceMaps(task, 3 if task == "multiclass" else None, ignore_index=IGNORE, **options)
    phi = torch.from_numpy(maps.batch(target))
    assert phi.dtype == torch.float32
    losses = [BoundaryLoss] if options.keys() & {"shift", "bounded"} else [BoundaryLoss, HausdorffDTLoss]
    for cls in losses:
        expected = cls(task, ignore_index=IGNORE, **options)(logits, target)
        of_prediction = options if cls is HausdorffDTLoss else {}
        got = cls(task, ignore_index=IGNORE, **of_prediction)(logits, target, distance=phi)
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


def test_a_target_is_transformed_once():
    maps, targets = DistanceMaps("binary"), np.random.default_rng(0).integers(2, size=(3, 8, 8))
    with patch.object(distance, "signed_distance", wraps=distance.signed_distance) as transform:
        first = [maps(target) for target in targets]
        again = [maps(torch.from_numpy(target.copy())) for target in targets]
        assert transform.call_count == 3
        assert all(one is other for one, other in zip(first, again, strict=True))
        maps(targets[0].astype(np.uint8))
        maps(targets[0].reshape(4, 16))
        assert transform.call_count == 5


def test_what_was_used_least_recently_goes_first():
    size = 8 * 8 * 4
    maps = DistanceMaps("binary", keep=2 * size)
    first, second, third = np.random.default_rng(0).integers(2, size=(3, 8, 8))
    a, b = maps(first), maps(second)
    assert maps(first) is a
    maps(third)
    assert maps(first) is a
    assert maps(second) is not b
    none = DistanceMaps("binary", keep=0)
    assert none(first) is not none(first)


def test_a_data_set_hands_them_to_a_loader():
    samples = [(torch.zeros(3, 8, 8), torch.eye(8, dtype=torch.int64), f"image {i}") for i in range(4)]
    maps = DistanceMaps("multiclass", 2)
    images, targets, names, phi = next(iter(DataLoader(maps.beside(samples), batch_size=4)))
    assert (images.shape, targets.shape, phi.shape) == ((4, 3, 8, 8), (4, 8, 8), (4, 2, 8, 8))
    assert names == tuple(f"image {i}" for i in range(4)) or list(names) == [f"image {i}" for i in range(4)]
    np.testing.assert_array_equal(phi[0], maps(samples[0][1]))
    copy = pickle.loads(pickle.dumps(maps.beside(samples)))
    assert len(copy) == len(list(copy)) == 4
    np.testing.assert_array_equal(copy[-1][3], phi[3])


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (ValueError, r"^task must be 'binary', 'multiclass' or 'multilabel'; got 'both'$", {"task": "both"}),
        (TypeError, r"^classes must be a whole number >= 2; got None$", {"task": "multiclass"}),
        (ValueError, r"^classes must be None for task='binary'; got 3$", {"task": "binary", "classes": 3}),
        (ValueError, r"^spacing must be in \(0, inf\); got -1$", {"task": "binary", "spacing": [-1, 1]}),
        (TypeError, r"^bounded must be True or False; got 1$", {"task": "binary", "bounded": 1}),
    ],
)
def test_bad_options_are_refused(error, text, options):
    with pytest.raises(error, match=text):
        DistanceMaps(**options)


def test_bad_targets_are_refused():
    with pytest.raises(TypeError, match=r"^target must be of integers or bool; got 'float64'$"):
        DistanceMaps("binary")(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"^target must be class indices from 0 to 2; got 7$"):
        DistanceMaps("multiclass", 3)(np.array([[0, 7]]))
    with pytest.raises(ValueError, match=r"^images of a distance map must be of at most 3 spatial axes; got 4$"):
        DistanceMaps("binary")(np.zeros((2, 2, 2, 2), dtype=int))
