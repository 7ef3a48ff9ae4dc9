"""Distance maps made beforehand: those of the loss, computed once for a target."""

import pickle
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lossmith.core import distance
from lossmith.data import DistanceMaps
from lossmith.torch import parse
from paths import in_blocks
from test_oracle import make_batch

IGNORE = 255


@pytest.mark.parametrize(
    ("spec", "spacing"),
    [
        ("boundary", None),
        ("boundary", [2.0, 0.5]),
        ("boundary(shift=True)", None),
        ("boundary(bounded=True)", [2.0, 0.5]),
        ("hausdorff", None),
        ("hausdorff", [2.0, 0.5]),
        ("boundary(shift=True, bounded=True) + 0.1*hausdorff", None),
    ],
)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_one_map_is_that_of_every_loss(task, spec, spacing):
    batch = make_batch(task, "ignore", pixels=30)
    space = (6, 5)
    logits, target = (torch.from_numpy(x.reshape(*x.shape[:-1], *space)) for x in (batch.scores, batch.target))
    target = target[:, 0] if task == "binary" and target.ndim == 4 else target
    maps = DistanceMaps(task, 3 if task == "multiclass" else None, ignore_index=IGNORE, spacing=spacing)
    phi = torch.from_numpy(maps.batch(target))
    assert phi.dtype == torch.float32
    spaced = {} if spacing is None else {"spacing": spacing}
    expected = parse(spec, task, ignore_index=IGNORE, **spaced)(logits, target)
    given = parse(spec, task, ignore_index=IGNORE, **(spaced if spec == "hausdorff" else {}))
    torch.testing.assert_close(given(logits, target, distance=phi), expected, rtol=1e-6, atol=1e-6)
    with in_blocks(16):
        torch.testing.assert_close(given(logits, target, distance=phi), expected, rtol=1e-6, atol=1e-6)


def test_a_target_is_transformed_once():
    maps, targets = DistanceMaps("binary"), np.random.default_rng(0).integers(2, size=(3, 8, 8))
    with patch.object(distance, "signed_distance", wraps=distance.signed_distance) as transform:
        first = [maps(target) for target in targets]
        again = [maps(torch.from_numpy(target.copy())) for target in targets]
        assert transform.call_count == 3
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(maps.batch(list(targets)), first)
        maps(targets[0].astype(np.uint8))
        maps(targets[0].reshape(4, 16))
        assert transform.call_count == 5


def test_what_was_used_least_recently_goes_first():
    size = 8 * 8 * 4
    maps = DistanceMaps("binary", keep=2 * size)
    first, second, third = np.random.default_rng(0).integers(2, size=(3, 8, 8))

    def made(target, maps=maps):
        with patch.object(distance, "signed_distance", wraps=distance.signed_distance) as transform:
            maps(target)
        return transform.call_count

    assert [made(target) for target in (first, second, first, third, first, second)] == [1, 1, 0, 1, 0, 1]
    none = DistanceMaps("binary", keep=0)
    assert [made(first, none), made(first, none)] == [1, 1]


@pytest.mark.parametrize(
    "handed_out",
    [
        lambda maps, target: maps(target),
        lambda maps, target: maps.batch([target, target]),
        lambda maps, target: torch.from_numpy(maps(target)),
        lambda maps, target: next(iter(DataLoader(maps.beside([(0, target)]), batch_size=None)))[2],
        lambda maps, target: next(iter(DataLoader(maps.beside([(0, target)]))))[2],
    ],
    ids=["one", "a batch", "a tensor", "a loader of samples", "a loader"],
)
def test_what_is_handed_out_may_be_written_to(handed_out):
    maps, target = DistanceMaps("binary"), torch.eye(4, dtype=torch.int64)
    expected = maps(target).copy()
    for _ in range(2):
        handed_out(maps, target)[:] = 0
    np.testing.assert_array_equal(maps(target), expected)


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
    ],
)
def test_bad_options_are_refused(error, text, options):
    with pytest.raises(error, match=text):
        DistanceMaps(**options)


def test_bad_targets_are_refused():
    for none in ([], torch.zeros(0, 4, 4, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"^targets must be at least one; got 0$"):
            DistanceMaps("binary").batch(none)
    with pytest.raises(TypeError, match=r"^target must be of integers or bool; got 'float64'$"):
        DistanceMaps("binary")(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"^target must be class indices from 0 to 2; got 7$"):
        DistanceMaps("multiclass", 3)(np.array([[0, 7]]))
    with pytest.raises(ValueError, match=r"^images of a distance map must be of at most 3 spatial axes; got 4$"):
        DistanceMaps("binary")(np.zeros((2, 2, 2, 2), dtype=int))
