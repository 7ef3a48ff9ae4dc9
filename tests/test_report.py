import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

import synthetic
from lossmith.lab.report import gallery, write_report
from lossmith.lab.summary import Result, Scores


class Tables(HTMLParser):
    """Cells of every table by row, without what stands small below them."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.small, self.cell = [], False, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self.cell = self.cell or tag in ("td", "th")
        self.small = self.small or tag == "small"

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ("td", "th")
        self.small = self.small and tag != "small"

    def handle_data(self, data):
        if self.cell and not self.small:
            self.tables[-1][-1][-1] += data


def numbered(entry, start):
    """The entry with means start, start + 0.001, ... in every interval, and each mean by its path."""
    means = {}

    def walk(value, path):
        if isinstance(value, dict) and {"mean", "low", "high"} <= set(value):
            means[path] = f"{start + 0.001 * len(means):.3f}"
            return {**value, "mean": float(means[path])}
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        return value

    return walk(entry, ()), means


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    done = synthetic.comparison(out, peak=None)
    entries, means = zip(
        *(numbered(e, 0.1 + 0.1 * i) for i, e in enumerate(done.result.summary["losses"])), strict=True
    )
    result = Result(done.result.fitted, done.result.at_half, {**done.result.summary, "losses": list(entries)})
    write_report(out / "page.html", done.plan, done.scores, done.records, result)
    text = (out / "page.html").read_text()
    return SimpleNamespace(text=text, tables=Tables(text).tables, means=means)


RULES = ("cross_fitted", "at_0.5")


def test_the_ranking_shows_each_score_in_its_column(page):
    titles, *rows = page.tables[0][1:]
    assert titles == [
        "loss", "F1, mean of images", "F1, all pixels", "F1, mean of images", "F1, all pixels", "average precision",
        "F1 (cross-fitted)", "Holm p",
    ]  # fmt: skip
    assert page.tables[0][0] == ["", "cross-fitted threshold", "threshold 0.5", "", "behind the leader"]
    for row, means in zip(rows, page.means, strict=True):
        paths = [path for rule in RULES for path in ((rule, "f1"), ("dataset", rule, "f1"))]
        assert row[1:6] == [means[path] for path in [*paths, ("average_precision",)]]
    assert rows[0][6] == "leader"
    assert [row[6] for row in rows[1:]] == [means[("behind_leader",)] for means in page.means[1:]]


def test_precision_recall_and_iou_are_in_their_columns(page):
    for row, means in zip(page.tables[1][2:], page.means, strict=True):
        assert row[2:] == [means[(rule, metric)] for rule in RULES for metric in ("precision", "recall", "iou")]


def test_scores_with_tolerance_are_in_their_columns(page):
    for row, means in zip(page.tables[2][2:], page.means, strict=True):
        paths = [(rule, metric) for rule in RULES for metric in ("f1", "precision", "recall")]
        assert row[1:] == [means[("tolerance_2px", *path)] for path in [*paths, ("average_precision",)]]


def test_memory_that_is_not_known_is_a_dash(page):
    assert [row[1:] for row in page.tables[3][1:]] == [["12.0", "-"]] * 3


def test_the_page_says_what_trained(page):
    assert "Trained with lossmith 7.8.9 and PyTorch 2.3.4." in re.sub(r"\s+", " ", page.text)


def test_the_gallery_shows_best_median_and_worst():
    f1 = np.array([[[0.2, 0.9, 0.5, 0.4, 0.6]], [[0.1, 0.8, 0.4, 0.3, 0.5]]])[..., None]  # losses, seeds, images
    columns = {"f1_cross_fitted": f1, "threshold_cross_fitted": np.full_like(f1, 0.5)}
    samples = [
        SimpleNamespace(name=name, image=np.zeros((3, 8, 8), np.float32), truth=np.zeros((8, 8), int))
        for name in "abcde"
    ]
    plan = SimpleNamespace(data=SimpleNamespace(test=samples, classes=("background", "crack")))
    record = SimpleNamespace(prediction=lambda number: np.zeros((1, 8, 8), np.int8))
    records = {"ce": [record], "dice": [record]}
    rows = gallery(plan, Scores(("ce", "dice"), columns, None, {}), records, ["dice", "ce"])
    assert [row.title for row in rows] == ["Best image: b", "Median image: c", "Worst image: a"]
    assert [[(tile.loss, tile.f1) for tile in row.tiles] for row in rows] == [
        [("dice", 0.8), ("ce", 0.9)],
        [("dice", 0.4), ("ce", 0.5)],
        [("dice", 0.1), ("ce", 0.2)],
    ]
