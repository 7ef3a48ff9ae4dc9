import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from lossmith.data import load
from lossmith.lab.plan import Settings, Trial, make_plan
from lossmith.lab.records import Store
from lossmith.lab.score import Counts

TRIAL = Trial("dice + ce", 1)
RUN = {"loss": "dice + ce", "seed": 1, "diverged_at": None, "seconds": 1.0, "peak_memory_mb": 1.0}


@pytest.fixture(scope="module")
def plan():
    return make_plan(load("cracks(images=10, size=64)"), ["ce"], seeds=1, settings=Settings(steps=450))


def some_counts(seed):
    parts = np.random.default_rng(seed).integers(0, 99, size=(4, 2, 1, 256))
    return Counts(*parts)


def write(store, trial):
    with store.draft(trial) as draft:
        with draft.predictions() as file:
            file.add(0, np.arange(12, dtype=np.int8).reshape(1, 3, 4))
            file.add(1, np.full((1, 5, 2), -128, dtype=np.int8))
        draft.write(run=RUN, curve=np.array([2.0, 1.0]), counts=(some_counts(0), some_counts(1)))


def test_what_is_written_is_read(tmp_path):
    store = Store(tmp_path)
    assert store.find(TRIAL) is None
    write(store, TRIAL)
    record = store.find(TRIAL)
    assert record.run == RUN
    assert record.trained
    assert record.curve().tolist() == [2.0, 1.0]
    exact, near = record.counts()
    assert np.array_equal(exact.found, some_counts(0).found)
    assert np.array_equal(near.predicted, some_counts(1).predicted)
    assert record.prediction(0).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]]
    assert record.prediction(1).shape == (1, 5, 2)


def test_an_interrupted_run_leaves_nothing(tmp_path):
    store = Store(tmp_path)

    def interrupted():
        with store.draft(TRIAL) as draft:
            draft.write(run=RUN, curve=np.zeros(1), counts=())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.find(TRIAL) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_run_finished_twice_is_one_record(tmp_path):
    store = Store(tmp_path)
    write(store, TRIAL)
    write(store, TRIAL)
    assert len(list((tmp_path / "trials").rglob("run.json"))) == 1


def test_files_are_replaced_whole(tmp_path):
    store = Store(tmp_path)
    with store.replace("a.json") as path:
        path.write_text("old")

    def interrupted():
        with store.replace("a.json") as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_same_comparison_opens_again(tmp_path, plan):
    Store(tmp_path / "new" / "out").open(plan)
    Store(tmp_path / "new" / "out").open(plan)


def test_another_comparison_does_not(tmp_path, plan):
    Store(tmp_path).open(plan)
    write(Store(tmp_path), TRIAL)
    held = json.loads((tmp_path / "comparison.json").read_text())
    other = make_plan(plan.data, ["ce"], seeds=1, settings=Settings(steps=300, lr=0.01))
    text = f"out {tmp_path} holds another comparison: steps 450, now 300, lr 0.003, now 0.01"
    for door in (Store(tmp_path).check, Store(tmp_path).open):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            door(other)
    assert json.loads((tmp_path / "comparison.json").read_text()) == held


def test_a_folder_of_something_else_is_left_alone(tmp_path, plan):
    (tmp_path / "thesis.tex").write_text("")
    text = f"out must be a new or empty folder or one that holds a comparison; got {tmp_path}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Store(tmp_path).open(plan)
    with pytest.raises(ValueError, match=r"^out must be a new or empty folder or one that holds a comparison; got "):
        Store(tmp_path / "thesis.tex").open(plan)


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def another(plan):
    return make_plan(plan.data, ["ce"], seeds=1, settings=Settings(steps=300))


def test_a_comparison_without_a_finished_run_gives_way(tmp_path, plan):
    store = Store(tmp_path)
    store.open(plan)
    left = tmp_path / "trials" / TRIAL.folder.parent / f".seed-1-{dead_process()}"
    left.mkdir(parents=True)
    store.tensorboard(TRIAL).mkdir(parents=True)
    store.check(another(plan))
    assert left.exists()
    store.open(another(plan))
    assert json.loads((tmp_path / "comparison.json").read_text())["steps"] == 300
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.json"]


def test_a_comparison_in_its_first_run_does_not(tmp_path, plan):
    store = Store(tmp_path)
    store.open(plan)
    with store.draft(TRIAL), pytest.raises(ValueError, match=r"holds another comparison: steps 450, now 300$"):
        store.open(another(plan))


def test_what_a_killed_process_left_is_removed_when_its_run_starts_again(tmp_path):
    store = Store(tmp_path)
    folder = tmp_path / "trials" / TRIAL.folder.parent
    dead, alive, other = (
        folder / name for name in (f".seed-1-{dead_process()}", f".seed-1-{os.getppid()}", f".seed-11-{dead_process()}")
    )
    for left in (dead, alive, other):
        left.mkdir(parents=True)
    write(store, TRIAL)
    assert (dead.exists(), alive.exists(), other.exists()) == (False, True, True)


@pytest.mark.parametrize("text", ['{"data": "cra', "[]", "\xff"])
def test_a_damaged_comparison_is_named(tmp_path, plan, text):
    path = tmp_path / "comparison.json"
    path.write_bytes(text.encode("latin-1"))
    message = f"{path} must be a JSON object that says what was compared; it is damaged"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Store(tmp_path).open(plan)
