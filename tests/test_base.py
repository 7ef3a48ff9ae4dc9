"""Data, samples, splits and class counts."""

import pickle
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from lossmith.data import Data, Sample, Samples, load
from lossmith.data import base as base_module
from lossmith.data.base import fingerprint, split

LIGHT = "import sys; {first} import lossmith.data; print(sorted({heavy} & set(sys.modules)))"
HEAVY = {"torch", "kornia", "lightning", "lightning_fabric", "matplotlib", "pyarrow", "scipy.ndimage"}


def draw(index: int, visits: list[int] | None = None) -> Sample:
    if visits is not None:
        visits.append(index)
    mask = np.full((4, 6), index % 3, dtype=np.int64)
    return Sample(f"s{index}", np.zeros((3, 4, 6), dtype=np.float32), mask, mask)


def imported(first: str) -> str:
    code = LIGHT.format(first=first, heavy=HEAVY)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_is_light() -> None:
    assert imported("") == "[]"


def test_the_light_import_test_can_fail() -> None:
    assert imported("import torch;") == "['torch']"


def test_samples_are_read_once_and_only_when_indexed() -> None:
    visits: list[int] = []
    samples = Samples(["s0", "s1", "s2"], [partial(draw, index, visits) for index in range(3)])
    assert samples.names == ("s0", "s1", "s2")
    assert len(samples) == 3
    assert visits == []
    assert samples[-1].name == "s2"
    assert samples[2] is samples[-1]
    assert visits == [2]
    assert [sample.name for sample in samples[1:]] == ["s1", "s2"]
    assert samples[1:].names == ("s1", "s2")
    with pytest.raises(IndexError):
        samples[3]


def test_samples_beyond_the_cache_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = draw(0)
    monkeypatch.setattr(base_module, "CACHE_BYTES", one.image.nbytes + one.mask.nbytes)
    visits: list[int] = []
    samples = Samples(["s0", "s1"], [partial(draw, index, visits) for index in range(2)])
    for _ in range(2):
        list(samples)
    assert visits == [0, 1, 1]


def test_samples_pickle_without_their_cache() -> None:
    samples = Samples([f"s{i}" for i in range(3)], [partial(draw, i) for i in range(3)])
    bare = len(pickle.dumps(samples))
    list(samples)
    assert len(pickle.dumps(samples)) == bare
    again = pickle.loads(pickle.dumps(samples))
    assert again.names == samples.names
    assert np.array_equal(again[1].mask, samples[1].mask)


@pytest.mark.parametrize("source", ["shapes(images=4)", "cracks(images=2, size=64)"])
def test_built_in_data_pickle(source: str) -> None:
    data = load(source)
    again: Data = pickle.loads(pickle.dumps(data))
    assert again.fingerprint == data.fingerprint
    assert np.array_equal(again.train[0].image, data.train[0].image)


@pytest.mark.parametrize(
    ("count", "test", "tested"), [(118, 0.2, 24), (2, 0.2, 1), (2, 0.9, 1), (10, 0.01, 1), (10, 0.99, 9)]
)
def test_split_is_a_partition(count: int, test: float, tested: int) -> None:
    for seed in range(3):
        first, second = split(count, seed=seed, test=test)
        assert len(second) == tested
        assert sorted(first + second) == list(range(count))


def test_split_is_the_permutation_of_its_seed() -> None:
    order = np.random.default_rng(1003).permutation(118)
    assert split(118, seed=3, test=0.2) == (sorted(order[:94]), sorted(order[94:]))
    assert split(118, seed=3, test=0.2) != split(118, seed=4, test=0.2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"test": 0.0}, "test must be in (0, 1); got 0.0"),
        ({"test": 1}, "test must be in (0, 1); got 1"),
        ({"test": float("nan")}, "test must be in (0, 1); got nan"),
        ({"test": "half"}, "test must be in (0, 1); got 'half'"),
        ({"seed": -1}, "seed must be a whole number >= 0; got -1"),
        ({"seed": 1.5}, "seed must be a whole number >= 0; got 1.5"),
        ({"seed": True}, "seed must be a whole number >= 0; got True"),
        ({"count": 1}, "data must be at least 2 images, one to train on and one to test on; got 1"),
    ],
)
def test_split_refuses(arguments: dict[str, object], text: str) -> None:
    given = {"count": 10, "seed": 0, "test": 0.2} | arguments
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        split(given.pop("count"), **given)  # type: ignore[arg-type]


def test_fingerprint_tells_parts_apart() -> None:
    assert fingerprint("a", 1) == fingerprint("a", 1)
    assert len({fingerprint("a", 1), fingerprint("a", 2), fingerprint("a1"), fingerprint("a", "1")}) == 4
    assert len(fingerprint()) == 64
