import contextlib
import dataclasses
import io
import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from rich.console import Console
from torch import nn

from lossmith.data import load
from lossmith.lab import compare, runs
from lossmith.lab.console import print_comparison

TESTS = Path(__file__).parent
CRACKS = "cracks(images=12, size=64)"
SMALL = {"steps": 8, "batch": 2, "crop": 32, "test": 0.35, "threads": 1, "accelerator": "cpu", "progress": False}
LOSSES = ["ce", "dice+ce", "test_compare:NotFinite"]


def tiny(*, in_channels, out_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, out_channels, 1))


class NotFinite(nn.Module):
    def forward(self, logits, _target):
        return logits.mean() * math.inf


class CutOff(nn.Module):
    """The user presses Ctrl-C in its third step."""

    steps = 0

    def forward(self, logits, _target):
        self.steps += 1
        if self.steps > 3 and not (Path.cwd() / "go-on").exists():
            raise KeyboardInterrupt
        return logits.square().mean()


class Killed(nn.Module):
    """The system ends its process, unless it is the first one."""

    def forward(self, logits, _target):
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return logits.square().mean()


def run(out, losses=("ce", "dice+ce"), data=CRACKS, **options):
    return compare(data, list(losses), out=out, **{"model": "test_compare:tiny", "seeds": 2, **SMALL, **options})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "out"
    return run(out, LOSSES, seeds=3)


def trained(monkeypatch):
    """The trials that are trained from now on."""
    done, door = [], runs.run_trial

    def spy(plan, trial, *args, **kwargs):
        done.append((trial.loss, trial.seed))
        return door(plan, trial, *args, **kwargs)

    monkeypatch.setattr(runs, "run_trial", spy)
    return done


def assert_interval(entry):
    assert set(entry) == {"mean", "low", "high"}
    assert 0 <= entry["low"] <= entry["high"] <= 1
    assert 0 <= entry["mean"] <= 1


def test_summary(finished):
    summary = json.loads((finished.out / "summary.json").read_text())
    assert summary == finished.summary
    assert set(summary) == {"losses", "verdict", "settings"}
    assert {entry["loss"] for entry in summary["losses"][:2]} == {"ce", "dice + ce"}
    scores = [entry["cross_fitted"]["f1"]["mean"] for entry in summary["losses"][:2]]
    assert scores == sorted(scores, reverse=True)
    for entry in summary["losses"][:2]:
        assert entry["trained"]
        assert entry["seeds"] == 3
        assert entry["seconds"] > 0
        assert entry["peak_memory_mb"] > 0
        for group in (entry, entry["tolerance_2px"]):
            assert_interval(group["average_precision"])
            for rule in ("at_0.5", "cross_fitted"):
                for metric in ("f1", "precision", "recall", "iou"):
                    assert_interval(group[rule][metric])
            assert 0 <= group["cross_fitted"]["threshold"] <= 1
        for rule in ("at_0.5", "cross_fitted"):
            assert_interval(entry["dataset"][rule]["f1"])
        tolerant, exact = entry["tolerance_2px"]["at_0.5"], entry["at_0.5"]
        assert tolerant["precision"]["mean"] >= exact["precision"]["mean"]
    settings = summary["settings"]
    assert settings["seeds"] == [0, 1, 2]
    assert settings["data"]["test_images"] == 4
    assert settings["steps"] == 8
    assert settings["versions"]["torch"]
    assert settings["trained_with"]["lossmith"] == [settings["versions"]["lossmith"]]
    assert "cross-fitted" in settings["threshold_rule"]


def test_a_loss_that_did_not_train_is_named_and_not_ranked(finished):
    last = finished.summary["losses"][-1]
    assert last["loss"] == "test_compare:NotFinite"
    assert not last["trained"]
    assert last["failure"] == "seed 0 at step 1, seed 1 at step 1, seed 2 at step 1"
    assert "at_0.5" not in last
    assert "test_compare:NotFinite did not train (seed 0 at step 1" in finished.verdict


def test_scores_are_tidy(finished):
    table = parquet.read_table(finished.out / "scores.parquet")
    assert table.equals(finished.scores)
    assert table.num_rows == 2 * 3 * 4  # losses that trained, seeds, test images
    rows = table.to_pylist()
    keys = {(row["loss"], row["seed"], row["image"], row["class"]) for row in rows}
    assert len(keys) == len(rows)
    assert {row["image"] for row in rows} == set(load(CRACKS, test=0.35).test.names)
    by_loss = [row["f1_cross_fitted"] for row in rows if row["loss"] == "dice + ce"]
    entry = next(entry for entry in finished.summary["losses"] if entry["loss"] == "dice + ce")
    assert sum(by_loss) / len(by_loss) == pytest.approx(entry["cross_fitted"]["f1"]["mean"])
    for row in rows:
        f1 = 2 * row["right_at_0.5"] / max(row["predicted_at_0.5"] + row["true_at_0.5"], 1)
        assert row["f1_at_0.5"] == pytest.approx(f1)


def test_the_terminal_shows_table_verdict_and_page(finished):
    console = Console(width=150, record=True, file=io.StringIO())
    print_comparison(finished, console)
    text = console.export_text()
    f1 = finished.summary["losses"][0]["cross_fitted"]["f1"]
    assert f"{f1['mean']:.3f} ({f1['low']:.3f}-{f1['high']:.3f})" in text
    assert "did not train" in text
    assert finished.verdict in text
    assert f"The page: {finished.report}" in text


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]


def test_report_shows_everything_and_needs_no_network(finished):
    text = finished.report.read_text()
    page = Page(text)
    assert finished.verdict.split(".")[0] in text
    for words in ("ce", "dice + ce", "test_compare:NotFinite", "cross-fitted threshold", "threshold 0.5"):
        assert words in text
    for title in ("Best image", "Median image", "Worst image"):
        assert title in text
    assert "http" not in text.replace("http-equiv", "")
    assert page.links
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert page.tags.count("svg") == 4
    assert page.tags.count("img") == 3 * 2 * (1 + 2)
    assert "script" not in page.tags
    assert finished.report.stat().st_size < 3e6
    ids = re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', text)
    assert all(f'id="{a or b}"' in text for a, b in ids)


def test_names_are_escaped(finished, tmp_path):
    data = load(CRACKS, test=0.35)
    named = dataclasses.replace(data, name="<b>&", classes=("background", "<i>"))
    text = run(tmp_path, ["ce"], data=named, seeds=1).report.read_text()
    assert "<b>&" not in text
    assert "<i>" not in text


def test_the_command_repeats_it(finished):
    command = finished.summary["settings"]["command"]
    assert command.startswith(f"lossmith compare '{CRACKS}' --loss ce --loss 'dice + ce' --loss ")
    for words in ("--seeds 3", "--steps 8", "--crop 32", "--data-seed 0", "--test 0.35", "--lr 0.003"):
        assert words in command


def test_the_same_call_again_trains_nothing(finished, monkeypatch):
    done = trained(monkeypatch)
    again = run(finished.out, LOSSES, seeds=3)
    assert done == []
    assert again.summary == finished.summary


def test_an_interrupted_comparison_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = trained(monkeypatch)
    losses = ["ce", "test_compare:CutOff"]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", losses)
    assert done == [("ce", 0), ("test_compare:CutOff", 0)]
    assert not (tmp_path / "out" / "summary.json").exists()
    done.clear()
    (tmp_path / "go-on").touch()
    run(tmp_path / "out", losses)
    assert done == [("test_compare:CutOff", 0), ("ce", 1), ("test_compare:CutOff", 1)]


def test_a_loss_and_a_seed_are_added(tmp_path, monkeypatch):
    first = run(tmp_path)
    done = trained(monkeypatch)
    more = run(tmp_path, ["ce", "mse", "dice+ce"], seeds=3)
    assert done == [("mse", 0), ("mse", 1), ("ce", 2), ("mse", 2), ("dice + ce", 2)]
    assert {entry["loss"] for entry in more.summary["losses"]} == {"ce", "mse", "dice + ce"}
    done.clear()
    less = run(tmp_path)
    assert done == []
    assert {entry["loss"] for entry in less.summary["losses"]} == {"ce", "dice + ce"}
    assert less.summary["losses"][0]["at_0.5"] == first.summary["losses"][0]["at_0.5"]


def test_another_comparison_in_out_is_refused(finished):
    before = (finished.out / "summary.json").read_text()
    text = f"out {finished.out} holds another comparison: steps 8, now 9"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        run(finished.out, LOSSES, steps=9)
    assert (finished.out / "summary.json").read_text() == before


def test_two_jobs_give_what_one_gives(tmp_path, monkeypatch):
    one = run(tmp_path / "one", seeds=1)
    started, door = [], runs.Progress.start
    monkeypatch.setattr(runs.Progress, "start", lambda bars, trial: started.append(trial.loss) or door(bars, trial))
    two = run(tmp_path / "two", seeds=1, jobs=2)
    assert one.scores.equals(two.scores)
    assert two.summary["settings"]["threads"] == [1]
    assert sorted(started) == ["ce", "dice + ce"]  # a bar for each run, none left over


def test_a_process_that_is_killed_is_one_line(tmp_path):
    text = "a run's process was killed (out of memory?); finished runs are kept, the same command goes on"
    with pytest.raises(ChildProcessError, match=f"^{re.escape(text)}$"):
        run(tmp_path, ["test_compare:Killed"], jobs=2)
    drafts = list((tmp_path / "trials").glob("*/.seed-*"))
    assert drafts
    run(tmp_path, ["test_compare:Killed"])
    assert not any(draft.exists() for draft in drafts)


def test_an_error_in_a_job_is_raised_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", ["test_compare:CutOff"], jobs=2)
    left = [path for path in (tmp_path / "out" / "trials").rglob("*") if path.is_file()]
    assert left == []


def test_many_classes(tmp_path):
    done = run(tmp_path, data="shapes(images=10, size=64)", seeds=1)
    assert done.scores.num_rows == 2 * 1 * 4 * 3
    assert set(done.scores["class"].to_pylist()) == {"ellipse", "rectangle", "circle"}
    assert "other class" in done.report.read_text()
    assert "one seed cannot decide" in done.verdict


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"jobs": 0}, "jobs must be a whole number >= 1; got 0"),
        ({"threads": -1}, "threads must be a whole number >= 1; got -1"),
        ({"steps": 3, "epochs": 1}, "steps and epochs exclude each other; got steps=3 and epochs=1"),
        ({"losses": ["focal(gama=2)"]}, "focal has no parameter gama; did you mean gamma?"),
        ({"model": "unett"}, "model must be unet, unet-depthwise or module:factory; got 'unett'; did you mean unet?"),
    ],
)
def test_bad_input_is_told_before_anything_is_made(tmp_path, options, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        run(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


PROBE = """
import sys
{first}
import lossmith.lab
heavy = [name for name in ("torch", "kornia", "lightning_fabric", "matplotlib", "pyarrow") if name in sys.modules]
assert not heavy, heavy
"""


@pytest.mark.parametrize(("first", "light"), [("", True), ("import matplotlib", False)])
def test_importing_the_lab_is_light(first, light):
    code = PROBE.format(first=first)
    assert (subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0) is light


# The background jobs of a shell, and all that they start, ignore the signal: listen again.
SCRIPT = """
import signal
import sys
sys.path.insert(0, {tests!r})
from test_compare import run
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run({out!r}, ["ce", "dice"], steps=100_000, jobs={jobs}, progress=True)
"""


def press_ctrl_c(process) -> str:
    """What it wrote to stderr. An interrupt that falls into a destructor is lost; a person presses again."""
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)
        try:
            return process.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it did not stop")


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_stops_at_once_and_leaves_no_half_run(tmp_path, jobs):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(TESTS), out=str(tmp_path / "out"), jobs=jobs))
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        for _ in range(600):
            if list((tmp_path / "out").rglob("events.*")):
                break
            assert process.poll() is None
            subprocess.run(["sleep", "0.1"], check=True)
        errors = press_ctrl_c(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert errors.strip().splitlines()[-1].rstrip(":") == "KeyboardInterrupt"
    assert [path for path in (tmp_path / "out" / "trials").rglob("*") if path.is_file()] == []
